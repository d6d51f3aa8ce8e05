# SPDX-License-Identifier: MIT
"""The potential that i-PI calls: atomic units, one call, and no silent nonsense."""

import json

import numpy as np
import pytest
import torch

from eqcalc.ipi import units
from eqcalc.ipi.evaluation import BeadEvaluator, atomic_numbers, parse_quantities
from eqcalc.runtime import eager_evaluator
from eqcalc.units import atomic_unit, conversion_factor
from eqcalc.validation import InvalidInputError

ALL = ("energy", "forces", "dipole", "polarizability")


@pytest.fixture
def evaluator(potential, ethanol):
    return eager_evaluator(potential, torch.tensor(ethanol.numbers))


@pytest.fixture
def beads(ethanol):
    noise = np.random.default_rng(1).normal(scale=0.05, size=(5, len(ethanol), 3))
    return (ethanol.positions + noise) * conversion_factor("Å", "bohr")


def test_results_are_those_of_the_model_in_atomic_units(evaluator, beads):
    results = BeadEvaluator(evaluator, ALL)(beads)
    expected = evaluator(torch.from_numpy(beads * conversion_factor("bohr", "Å")), ALL)
    for i, result in enumerate(results):
        extras = json.loads(result.extras)
        found = {
            "energy": (result.energy, "Hartree", "eV"),
            "forces": (result.forces, "Hartree/bohr", "eV/Å"),
            "dipole": (extras["dipole"], "e*bohr", "e*Å"),
            "polarizability": (
                np.reshape(extras["polarizability"], (3, 3)),
                "bohr^3",
                "e^2*Å^2/eV",
            ),
        }
        for name, (value, unit, internal) in found.items():
            converted = np.asarray(value) * conversion_factor(unit, internal)
            np.testing.assert_allclose(converted, expected[name][i].numpy(), rtol=1e-12, atol=1e-12)


def test_forces_and_virial_are_derivatives_of_the_energy(evaluator, beads):
    """F = −∂V/∂r and W = −∂V/∂ε by central differences, all in atomic units."""
    evaluate = BeadEvaluator(evaluator, ("energy", "forces"))
    bead, step = beads[:1], 1e-4
    result = evaluate(bead)[0]
    moves, strains = [], []
    for sign in (1.0, -1.0):
        moved = bead.copy()
        moved[0, 2, 1] += sign * step
        moves.append(evaluate(moved)[0].energy)
        strain = np.eye(3)
        strain[0, 1] += sign * step
        strains.append(evaluate(bead @ strain.T)[0].energy)
    assert -(moves[0] - moves[1]) / (2 * step) == pytest.approx(result.forces[2, 1], abs=1e-8)
    assert -(strains[0] - strains[1]) / (2 * step) == pytest.approx(result.virial[1, 0], abs=1e-7)
    far = evaluate(bead + 1e3)[0]
    np.testing.assert_allclose(far.virial, result.virial, atol=1e-8)


def test_all_beads_are_evaluated_in_one_call(evaluator, beads):
    calls = []

    class Counting:
        numbers = evaluator.numbers
        provenance = evaluator.provenance

        def __call__(self, positions, quantities):
            calls.append((tuple(positions.shape), tuple(quantities)))
            return evaluator(positions, quantities)

    BeadEvaluator(Counting(), ("energy", "forces"))(beads)
    assert calls == [((5, 9, 3), ("energy", "forces"))]


def test_without_forces_energy_and_forces_are_zero_and_extras_are_there(evaluator, beads):
    for result in BeadEvaluator(evaluator, ("dipole",))(beads):
        assert result.energy == 0.0
        assert not result.forces.any()
        assert set(json.loads(result.extras)) == {"dipole"}
    assert BeadEvaluator(evaluator, ("energy", "forces"))(beads)[0].extras == ""


@pytest.mark.parametrize("name", ["energy", "dipole"])
def test_values_that_are_not_finite_are_refused(evaluator, beads, name):
    class Broken:
        numbers = evaluator.numbers
        provenance = evaluator.provenance

        def __call__(self, positions, quantities):
            values = evaluator(positions, quantities)
            values[name][3] = float("nan")
            return values

    with pytest.raises(FloatingPointError, match=f"non-finite {name} for structure 3 of 5"):
        BeadEvaluator(Broken(), ALL)(beads)


def test_positions_are_checked(evaluator, beads):
    evaluate = BeadEvaluator(evaluator, ALL)
    with pytest.raises(InvalidInputError) as error:
        evaluate(beads[:, 1:])
    assert error.value.value == [5, 8, 3]
    beads[2, 0, 0] = np.inf
    with pytest.raises(InvalidInputError) as error:
        evaluate(beads)
    assert error.value.key == "positions[2]"


def test_what_is_not_a_quantity_is_named(evaluator):
    with pytest.raises(InvalidInputError) as error:
        BeadEvaluator(evaluator, ("energy", "velocity"))
    assert (error.value.key, error.value.value) == ("quantities", "velocity")
    with pytest.raises(InvalidInputError):
        BeadEvaluator(evaluator, ())
    assert parse_quantities("energy + forces") == ("energy", "forces")


def test_symbols():
    assert atomic_numbers("C2OH6").tolist() == [6, 6, 8, 1, 1, 1, 1, 1, 1]
    for wrong in ("", "Xy3", "ethanol.xyz"):
        with pytest.raises(InvalidInputError) as error:
            atomic_numbers(wrong)
        assert (error.value.key, error.value.value) == ("symbols", wrong)


def test_atomic_units_are_those_of_the_units_module():
    """Time and temperature are the rounded constants of i-PI; the rest is exact."""
    assert pytest.approx(0.02418884326, rel=1e-8) == units.ATOMIC_TIME
    assert pytest.approx(315775.0, rel=2e-6) == units.HARTREE_TEMPERATURE
    assert pytest.approx(1 / 1822.888486, rel=1e-8) == units.ELECTRON_MASS
    assert atomic_unit("e^2*Å^2/eV") == pytest.approx(
        conversion_factor("bohr^3", "e^2*Å^2/eV"), rel=1e-12
    )


class TestDriver:
    """The class that i-PI loads by its path."""

    @pytest.fixture
    def driver(self):
        pytest.importorskip("ipi")
        from eqcalc.ipi.eqcalc_driver import EqcalcDriver

        return EqcalcDriver

    def test_what_ipi_injects_is_swallowed_and_what_is_misspelt_is_not(self, driver, model):
        driver(model=str(model), symbols="OH2", verbosity=False)
        with pytest.raises(InvalidInputError) as error:
            driver(model=str(model), symbols="OH2", simbols="OH2")
        assert error.value.suggestion == "symbols"

    def test_lists_and_single_structures(self, driver, model, water):
        compute = driver(model=str(model), symbols="OH2")
        cell, positions = np.eye(3), water.positions / units.BOHR
        single = compute(cell, positions)
        pair = compute([cell, cell], [positions + 0.1, positions])
        np.testing.assert_allclose(pair[1].forces, single.forces, atol=1e-12)
        with pytest.raises(InvalidInputError) as error:
            compute([cell, cell], [positions, np.zeros((4, 3))])
        assert error.value.value == [3, 4]

    def test_a_quantity_that_the_model_has_not_is_named(self, driver, tmp_path):
        from eqcalc.models.checkpoint import save_model
        from tests.conftest import make_potential

        path = tmp_path / "energy.eqc"
        save_model(make_potential(features=8, heads=("energy",)), path)
        with pytest.raises(InvalidInputError) as error:
            driver(model=str(path), symbols="OH2")
        assert error.value.value == ("dipole", "polarizability")
        with pytest.raises(ValueError, match="bfloat16"):
            driver(model=str(path), symbols="OH2", quantities="energy", precision="bfloat16")
