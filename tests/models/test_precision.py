# SPDX-License-Identifier: MIT
"""Named precisions: ordered errors, exact derivatives, symmetry, no trace in global settings."""

import copy

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.calculators.calculator import InputError
from ase.io import write

from eqcalc import EqCalculator
from eqcalc.cli import main
from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.derivatives import hessian
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.models.precision import (
    PRECISIONS,
    RoundedLinear,
    _rounded,
    _tf32_allowed,
    in_precision,
    precision_of,
)
from eqcalc.runtime import ExecutionUnavailableError, FusedExecution, eager_evaluator
from tests.conftest import make_potential
from tests.errors import refused

QUANTITIES = ("energy", "forces", "dipole", "polarizability")
ROUNDED = ("tf32", "bf16")
#: Unit roundoff of the factors: half the distance of neighbouring numbers at 1.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11, "bf16": 2.0**-8}


def flags():
    """Return everything that decides how torch multiplies matrices."""
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cuda.matmul.fp32_precision,
        torch.backends.mkldnn.matmul.fp32_precision,
        torch.backends.cudnn.allow_tf32,
        torch.backends.fp32_precision,
        torch.is_autocast_enabled("cpu"),
        torch.is_autocast_enabled("cuda"),
        torch.get_default_dtype(),
    )


def evaluated(potential, ethanol, precision, quantities=QUANTITIES):
    evaluator = eager_evaluator(in_precision(potential, precision), torch.tensor(ethanol.numbers))
    return evaluator(torch.tensor(ethanol.positions)[None], quantities)


@pytest.mark.parametrize("precision", ROUNDED)
def test_factors_have_the_mantissa_of_the_type(precision, generator):
    values = torch.randn(1000, generator=generator) * 10.0 ** torch.linspace(-20, 20, 1000)
    rounded = _rounded(values, precision)
    bits = {"tf32": 10, "bf16": 7}[precision]
    mantissa, _ = torch.frexp(rounded)
    assert torch.equal(mantissa * 2 ** (bits + 1), (mantissa * 2 ** (bits + 1)).round())
    relative = ((rounded - values) / values).abs()
    assert 0.5 * UNIT_ROUNDOFF[precision] < relative.max() <= UNIT_ROUNDOFF[precision]


def test_errors_are_ordered_and_bounded(potential, ethanol):
    found = {name: evaluated(potential, ethanol, name) for name in PRECISIONS}
    offset = potential.reference("energy")[torch.tensor(ethanol.numbers)].sum()
    for quantity, exact in found["float64"].items():
        size = float((exact - offset if quantity == "energy" else exact).abs().max())
        errors = [float((found[name][quantity] - exact).abs().max()) / size for name in PRECISIONS]
        assert errors[0] == 0.0
        if quantity in ("forces", "dipole"):  # the others are a few numbers, which may be lucky
            assert errors == sorted(errors)
        for name, error in zip(tuple(PRECISIONS)[1:], errors[1:], strict=True):
            assert 2e-3 * UNIT_ROUNDOFF[name] < error < 50.0 * UNIT_ROUNDOFF[name]


@pytest.mark.parametrize("precision", ROUNDED)
def test_forces_are_the_gradient_of_the_energy(potential, ethanol, precision):
    """The work over a distance at which the energy changes by much more than its rounding."""
    numbers, at = torch.tensor(ethanol.numbers), torch.tensor(ethanol.positions)
    evaluator = eager_evaluator(in_precision(potential, precision), numbers)
    direction = evaluator(at[None], ("forces",))["forces"][0]
    direction /= direction.norm()
    # Gauss–Legendre quadrature of the force along the way
    nodes, weights = np.polynomial.legendre.leggauss(5)
    length = 0.3
    path = at + 0.5 * length * torch.tensor(nodes)[:, None, None] * direction
    along = (evaluator(path, ("forces",))["forces"] * direction).sum((1, 2))
    work = 0.5 * length * float(torch.tensor(weights) @ along)
    ends = torch.stack([at - 0.5 * length * direction, at + 0.5 * length * direction])
    before, after = evaluator(ends, ("energy",))["energy"].tolist()
    assert work > 0.1
    assert before - after == pytest.approx(work, rel=10.0 * UNIT_ROUNDOFF[precision])


@pytest.mark.parametrize("precision", ROUNDED)
def test_rotated_forces_differ_by_rounding_only(potential, ethanol, precision):
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = ethanol.copy()
    turned.positions = ethanol.positions @ rotation.T
    forces, others = (evaluated(potential, a, precision)["forces"][0] for a in (ethanol, turned))
    deviation = (others - forces @ torch.tensor(rotation.T)).abs().max() / forces.abs().max()
    assert 0.0 < deviation < 20.0 * UNIT_ROUNDOFF[precision]


@pytest.mark.parametrize("precision", ROUNDED)
def test_second_and_forward_derivatives(potential, ethanol, precision, generator):
    numbers, at = torch.tensor(ethanol.numbers), torch.tensor(ethanol.positions)[None]
    velocities = torch.randn(at.shape, generator=generator, dtype=torch.float64)
    rounded, exact = (
        eager_evaluator(p, numbers) for p in (in_precision(potential, precision), potential)
    )
    tolerance = 50.0 * UNIT_ROUNDOFF[precision]
    found, expected = (e.rates(at, velocities, ("dipole",))["dipole"] for e in (rounded, exact))
    assert 0.0 < (found - expected).abs().max() < tolerance * expected.abs().max()
    found, expected = (hessian(e.potential, e.stack(at)) for e in (rounded, exact))
    assert 0.0 < (found - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize("precision", ROUNDED)
def test_no_global_setting_is_changed(potential, ethanol, precision, monkeypatch):
    before, seen = flags(), []
    original = RoundedLinear.forward

    def watched(self, values):
        seen.append(flags())
        return original(self, values)

    monkeypatch.setattr(RoundedLinear, "forward", watched)
    evaluated(potential, ethanol, precision)
    assert seen
    assert {before, *seen, flags()} == {before}


@pytest.mark.parametrize("chosen", ["highest", "high", "medium"])
def test_what_the_caller_has_chosen_comes_back(chosen):
    """On a GPU products are made within this; here it only sets and restores the flag."""
    original = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(chosen)
        before = flags()
        with _tf32_allowed():
            assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert flags() == before
        with pytest.raises(RuntimeError, match="inside"), _tf32_allowed():
            raise RuntimeError("inside")
        assert flags() == before
    finally:
        torch.set_float32_matmul_precision(original)


def test_a_precision_is_left_again(potential, ethanol):
    single = in_precision(potential, "float32")
    back = in_precision(in_precision(single, "bf16"), "float32")
    assert precision_of(back) == "float32"
    assert back.state_dict().keys() == potential.state_dict().keys()
    for one, other in zip(back.parameters(), single.parameters(), strict=True):
        assert torch.equal(one, other)
    found, expected = (evaluated(p, ethanol, None) for p in (back, single))
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_the_model_given_is_not_changed(potential):
    before = copy.deepcopy(potential.state_dict())
    for name in PRECISIONS:
        assert precision_of(in_precision(potential, name)) == name
    assert in_precision(potential, "float64") is potential
    assert in_precision(potential, None) is potential
    assert precision_of(potential) == "float64"
    assert all(parameter.requires_grad for parameter in potential.parameters())
    for name, value in potential.state_dict().items():
        assert torch.equal(value, before[name])


def test_unknown_precisions_and_networks_are_refused(potential):
    with refused(key="precision", value="f16"):
        in_precision(potential, "f16")
    with pytest.raises(InputError, match="expected one of float64, float32, tf32, bf16"):
        EqCalculator(potential, precision="half")
    schnet = Potential(
        PotentialConfig(SchNetConfig(features=8), ("energy",)), References(elements=(1, 6, 8))
    )
    with refused(key="precision", value="bf16", expected="float32 or float64"):
        in_precision(schnet, "bf16")
    assert precision_of(in_precision(schnet, "float64")) == "float64"


def test_commands_refuse_unknown_precisions_before_any_work(tmp_path, capsys):
    water = tmp_path / "water.xyz"
    write(water, molecule("H2O"))
    command = ["simulate", "m.eqc", str(water), "--output", str(tmp_path / "run.h5")]
    assert main([*command, "--precision", "half"]) == 2
    assert "expected one of float64, float32, tf32, bf16, got 'half'" in capsys.readouterr().err


def test_precision_is_part_of_the_provenance(ethanol):
    numbers = torch.tensor(ethanol.numbers)
    model = make_potential(features=8)
    for name in PRECISIONS:
        evaluator = eager_evaluator(in_precision(model, name), numbers)
        assert evaluator.provenance["network_precision"] == name
    with refused(ExecutionUnavailableError, key="precision", value="tf32"):
        FusedExecution(in_precision(model, "tf32"))
