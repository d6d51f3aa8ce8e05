# SPDX-License-Identifier: MIT
"""The distribution of the last layers: linear read-outs, members of the stated spread, files."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.harmonic import harmonic_spectrum, relax, wavenumber_errors
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.committee import Committee
from eqcalc.models.last_layers import (
    last_layer,
    last_layer_members,
    parameters_of,
    set_parameters,
    with_last_layers,
)
from eqcalc.neighbors import all_pairs
from eqcalc.runtime import evaluator_for
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

HEADS = ("energy", "dipole", "polarizability")


def spread(potential, size=0.1, seed=0):
    """The potential with random covariances."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name in HEADS:
        p = len(parameters_of(last_layer(potential, name)))
        factors[name] = size * torch.randn(p, p, generator=generator, dtype=torch.float64)
    return with_last_layers(potential, factors)


def values(potential, atoms):
    structures = Structures.from_atoms(atoms)
    return potential.evaluate(structures, all_pairs(structures), (*HEADS, "forces"))


@pytest.mark.parametrize("name", HEADS)
def test_read_outs_are_linear_in_their_last_layer(name, potential, ethanol):
    layer = last_layer(potential, name)
    generator = torch.Generator().manual_seed(1)
    first, second = torch.randn(2, len(parameters_of(layer)), generator=generator).double()

    def of(parameters):
        set_parameters(layer, parameters)
        return values(potential, ethanol)[name].detach()

    zero = of(0.0 * first)
    expected = 2.0 * (of(first) - zero) - 3.0 * (of(second) - zero)
    torch.testing.assert_close(of(2.0 * first - 3.0 * second) - zero, expected)


@pytest.mark.slow
def test_members_have_the_covariance_of_the_distribution(potential):
    model = spread(potential)
    members = last_layer_members(model, 400, seed=3)
    for name in HEADS:
        factor = dict(model.last_layers.named_buffers())[name]
        mean = parameters_of(last_layer(model, name))
        steps = torch.stack([parameters_of(last_layer(m, name)) - mean for m in members])
        expected = (factor @ factor.T).diagonal()
        # the variance of a variance of n normal numbers is 2/(n − 1)
        deviation = ((steps**2).mean(0) / expected - 1.0).numpy()
        assert abs(deviation.mean()) < 0.1
        assert np.abs(deviation).max() < 5.0 * np.sqrt(2.0 / 400)
    shared = (m.representation.state_dict().items() for m in (model, members[7]))
    for (_, own), (_, other) in zip(*shared, strict=True):
        assert torch.equal(own, other)


def test_members_are_a_committee_and_reproducible(potential, ethanol):
    model = spread(potential)
    first, again = (last_layer_members(model, 3, seed=5) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        assert torch.equal(values(one, ethanol)["forces"], values(other, ethanol)["forces"])
    numbers = torch.as_tensor(ethanol.numbers)
    committee = Committee([evaluator_for(member, numbers) for member in first])
    positions = torch.as_tensor(ethanol.positions)[None]
    found = committee(positions, ["forces", "force_disagreement"])
    assert float(found["force_disagreement"].min()) > 0.0


def test_the_distribution_is_part_of_the_file(potential, tmp_path, ethanol):
    model = spread(potential)
    save_model(model, tmp_path / "model.eqc")
    read = load_model(tmp_path / "model.eqc")
    for name, factor in model.last_layers.named_buffers():
        assert torch.equal(dict(read.last_layers.named_buffers())[name], factor)
    assert torch.equal(values(read, ethanol)["energy"], values(potential, ethanol)["energy"])
    assert len(last_layer_members(read.float(), 2)) == 2


def test_a_model_without_it_is_refused(potential):
    with refused(key="model"):
        last_layer_members(potential)
    with refused(key="n", value=1):
        last_layer_members(spread(potential), 1)


@pytest.mark.slow
def test_errors_of_wavenumbers_grow_with_the_spread():
    potential = make_potential()
    water = relax(potential, molecule("H2O"))
    modes = harmonic_spectrum(potential, water)
    small, large = (
        wavenumber_errors(modes, spread(potential, size), water, members=3) for size in (1e-5, 1e-4)
    )
    assert (small > 0.0).all()
    np.testing.assert_allclose(large / small, 10.0, rtol=0.2)
