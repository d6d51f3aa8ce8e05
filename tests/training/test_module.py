# SPDX-License-Identifier: MIT
"""Parameter average and learning rate in closed form."""

import itertools
import math

import pytest
import torch

from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.training.module import ParameterAverage, cosine_factor

HEADS = ("energy", "dipole", "polarizability")


def tiny_potential(seed=0, heads=HEADS):
    config = PotentialConfig(PaiNNConfig(features=8, layers=2, radial_functions=6), heads)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Potential(config, References((1, 6, 8))).double()


def test_average_follows_its_recursion_also_after_a_restart():
    decay, generator = 0.8, torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    model = torch.nn.ParameterList([parameter])
    average = ParameterAverage(model, decay)
    expected = torch.zeros(4, dtype=torch.float64)
    for n in range(60):
        if n in (1, 3, 40):
            again = ParameterAverage(model, decay)
            again.load_state_dict(average.state_dict())
            average = again
        if n == 50:  # a state of its own past, too
            state = {name: value.clone() for name, value in average.state_dict().items()}
            average.update(model)
            average.load_state_dict(state)
        with torch.no_grad():
            parameter.copy_(torch.randn(4, generator=generator, dtype=torch.float64))
        average.update(model)
        d = 0.0 if n == 0 else min(decay, (1 + n) / (10 + n))
        expected = d * expected + (1 - d) * parameter.detach()
    torch.testing.assert_close(average.module[0].detach(), expected)
    assert int(average.n_averaged) == 60
    assert not any(p.requires_grad for p in average.parameters())


def test_average_of_constant_parameters_is_them():
    potential = tiny_potential()
    average = ParameterAverage(potential, 0.999)
    for _ in range(5):
        average.update(potential)
    for ours, theirs in zip(average.module.parameters(), potential.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=0.0)


def test_no_average_keeps_the_last_parameters():
    potential = tiny_potential()
    average = ParameterAverage(potential, 0.0)
    for _ in range(3):
        with torch.no_grad():
            for parameter in potential.parameters():
                parameter.add_(0.5)
        average.update(potential)
    for ours, theirs in zip(average.module.parameters(), potential.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.0, atol=1e-15)


def test_cosine_schedule():
    steps, warm_up, last = 110, 10, 0.01
    factors = [cosine_factor(k, steps, warm_up, last) for k in range(steps + 1)]
    assert factors[:10] == pytest.approx([(k + 1) / 10 for k in range(10)])
    assert factors[10] == 1.0
    assert factors[60] == pytest.approx(0.5 * (1.0 + last))
    assert factors[-1] == pytest.approx(last)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))
    assert cosine_factor(35, steps, warm_up, 0.0) == pytest.approx(
        0.5 * (1 + math.cos(math.pi / 4))
    )
