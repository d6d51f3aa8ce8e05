# SPDX-License-Identifier: MIT
import pickle

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.labelling import (
    GFN2,
    ConvergenceError,
    MethodCalculator,
    MethodEvaluator,
    UnavailableQuantityError,
)
from eqcalc.units import convert
from eqcalc.validation import InvalidInputError

ALL = ("energy", "forces", "dipole", "polarizability")
# GFN2-xTB energy of the four-coordinate complex in tblite's own example, Hartree
SILANE = -3.763205560205
SILANE_POSITIONS = (
    np.array([[0, 0, 0], [1, 1, -1], [-1, -1, -1], [1, -1, 1], [-1, 1, 1]]) * 1.617683897558
)


@pytest.fixture
def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, rng=np.random.RandomState(0))
    atoms.rotate(37.0, (1, 2, 3))
    return atoms


@pytest.fixture(scope="module")
def method():
    return GFN2()


def test_energy_of_tblites_example():
    silane = ase.Atoms("SiH4", convert(SILANE_POSITIONS, "bohr", "Å"))
    energy = convert(float(GFN2().label(silane)["energy"]), "eV", "hartree")
    assert energy == pytest.approx(-3.763233750684, abs=1e-6)
    assert energy != pytest.approx(SILANE, abs=1e-6)


def test_forces_are_the_gradient(water, method):
    forces = method.label(water)["forces"]
    step = 1e-3
    for atom, axis in ((0, 2), (1, 1)):
        energies = []
        for sign in (1, -1):
            moved = water.copy()
            moved.positions[atom, axis] += sign * step
            energies.append(method.label(moved, ("energy",))["energy"])
        assert forces[atom, axis] == pytest.approx(
            -(energies[0] - energies[1]) / (2 * step), abs=2e-4
        )
    assert np.abs(forces.sum(axis=0)).max() < 1e-8


def test_dipole_points_from_minus_to_plus():
    atoms = molecule("LiF")
    axis = atoms.positions[atoms.numbers == 3][0] - atoms.positions[atoms.numbers == 9][0]
    assert GFN2().label(atoms)["dipole"] @ axis > 0.5 * np.linalg.norm(axis)


def test_dipole_and_polarizability_turn_with_the_molecule(water, method):
    labels = method.label(water, ALL)
    turned = water.copy()
    turned.rotate(71.0, (1, -1, 2))
    turned.translate([3.0, -2.0, 1.0])
    start = water.positions - water.get_center_of_mass()
    end = turned.positions - turned.get_center_of_mass()
    q = np.linalg.lstsq(start, end, rcond=None)[0]
    # a planar molecule fixes two columns only
    normal = np.cross(start[1], start[2]), np.cross(end[1], end[2])
    q = q + np.outer(normal[0], normal[1]) / (normal[0] @ normal[0])
    again = method.label(turned, ALL)
    np.testing.assert_allclose(again["dipole"], labels["dipole"] @ q, atol=1e-6)
    np.testing.assert_allclose(
        again["polarizability"], q.T @ labels["polarizability"] @ q, atol=1e-6
    )


def test_polarizability_is_the_second_derivative_of_the_energy(water):
    """The field's sign and unit: E(F) = E − μ·F − ½ F·α·F by other means than the dipole."""
    method = GFN2(field=0.1)
    labels = method.label(water, ALL)
    centred = water.copy()
    centred.positions -= water.get_center_of_mass()
    energies = [
        convert(method._singlepoint(centred, 0.0, field).get("energy"), "hartree", "eV")
        for field in ((2, 1), (2, -1))
    ]
    slope = (energies[0] - energies[1]) / 0.2
    bend = (energies[0] + energies[1] - 2 * labels["energy"]) / 0.1**2
    assert -slope == pytest.approx(labels["dipole"][2], abs=2e-4)
    assert -bend == pytest.approx(labels["polarizability"][2, 2], rel=2e-3)


def test_finite_field_is_converged(water):
    one, two = (GFN2(field=f).label(water, ALL)["polarizability"] for f in (0.02, 0.04))
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)
    assert np.linalg.eigvalsh(one)[0] > 0.0


def test_dipole_of_an_ion_is_about_its_centre_of_mass():
    atoms = molecule("H2O")
    atoms += ase.Atom("H", (0.0, 0.0, 1.08))
    atoms.info["charge"] = 1.0
    one = GFN2().label(atoms)["dipole"]
    atoms.translate([5.0, 0.0, 0.0])
    np.testing.assert_allclose(GFN2().label(atoms)["dipole"], one, atol=1e-7)
    neutral = atoms.copy()
    neutral.info["charge"] = 0.0
    assert GFN2().label(atoms)["energy"] - GFN2().label(neutral)["energy"] > 1.0


def test_labels_do_not_depend_on_history(water):
    method = GFN2()
    first = method.label(water)
    other = water.copy()
    other.rattle(0.2, rng=np.random.RandomState(1))
    method.label(other)
    again = pickle.loads(pickle.dumps(method)).label(water)
    for name in first:
        np.testing.assert_array_equal(method.label(water)[name], first[name])
        np.testing.assert_array_equal(again[name], first[name])


def test_default_labels(water, method):
    assert tuple(method.label(water)) == ("energy", "forces", "dipole")


def test_bad_input(water):
    with pytest.raises(UnavailableQuantityError) as caught:
        GFN2().label(water, ("energy", "stress"))
    assert caught.value.unavailable == ("stress",) and caught.value.available == ALL
    with pytest.raises(InvalidInputError) as wrong:
        GFN2(accuracy=-1.0)
    assert wrong.value.key == "accuracy"
    crystal = water.copy()
    crystal.cell, crystal.pbc = [9, 9, 9], True
    with pytest.raises(InvalidInputError) as periodic:
        GFN2().label(crystal)
    assert periodic.value.key == "atoms.pbc"
    collapsed = water.copy()
    collapsed.positions[1] = collapsed.positions[0]
    with pytest.raises(ConvergenceError):
        GFN2().label(collapsed)


def test_as_an_ase_calculator_and_an_evaluator(water, tmp_path):
    water.calc = MethodCalculator(GFN2())
    labels = GFN2().label(water)
    assert water.get_potential_energy() == labels["energy"]
    np.testing.assert_array_equal(water.get_forces(), labels["forces"])
    evaluator = MethodEvaluator(GFN2(), water.numbers)
    values = evaluator(torch.tensor(np.stack([water.positions] * 2)), ("forces", "dipole"))
    assert values["forces"].shape == (2, 3, 3)
    np.testing.assert_allclose(values["dipole"][1], labels["dipole"], atol=1e-12)
    assert evaluator.provenance["level_of_theory"] == "GFN2-xTB"
    trajectory = simulate(water, evaluator, output=tmp_path / "md.h5", method="NVE", steps=2,
                          temperature=300.0, timestep=0.5, observables=["dipole"], seed=1,
                          progress=False)  # fmt: skip
    dipole = trajectory.observable("dipole").values[0, 0]
    np.testing.assert_allclose(dipole, labels["dipole"], atol=1e-12)
