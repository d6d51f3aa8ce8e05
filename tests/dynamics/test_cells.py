# SPDX-License-Identifier: MIT
"""Dynamics of periodic cells: what is recorded does not know where the cell is cut."""

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.calculator import EqCalculator
from eqcalc.dynamics import HarmonicModes, simulate
from eqcalc.models.committee import Committee
from eqcalc.runtime import eager_evaluator, evaluator_for
from eqcalc.spectra import infrared, raman
from eqcalc.trajectory import Trajectory
from tests.analytic import ToyWater, WaterBox
from tests.conftest import make_potential
from tests.dynamics.test_simulation import run
from tests.errors import refused
from tests.models.test_local_readouts import local_potential, water_box

RECORDED = {"positions": 1, "dipole": 1, "polarizability": 1, "potential_energy": 1}


def box_run(path, atoms=None, **changes):
    box = WaterBox()
    masses = np.tile(ToyWater.masses, box.n_molecules)
    settings = {"observables": RECORDED, "replicas": 2, "masses": masses, **changes}
    return run(path, box, box.atoms if atoms is None else atoms, **settings)


def test_the_start_may_be_wrapped(tmp_path):
    """Broken molecules move as whole ones: same energies, dipoles and polarizabilities."""
    whole = box_run(tmp_path / "whole.h5")
    atoms = WaterBox().atoms
    atoms.wrap()
    assert not np.allclose(atoms.positions, WaterBox().atoms.positions)
    wrapped = box_run(tmp_path / "wrapped.h5", atoms)
    for name in ("dipole", "polarizability", "potential_energy"):
        values = [t.observable(name).values for t in (wrapped, whole)]
        np.testing.assert_allclose(*values, rtol=0.0, atol=1e-9)


def test_the_cell_is_in_the_file(tmp_path):
    trajectory = box_run(tmp_path / "a.h5")
    np.testing.assert_array_equal(trajectory.cell, WaterBox().cell.numpy())
    assert Trajectory.open(tmp_path / "a.h5").settings["cell"] == WaterBox().cell.tolist()
    assert run(tmp_path / "b.h5").cell is None


def test_extended_runs_are_bitwise_those_of_one_go(tmp_path):
    options = {"method": "Langevin", "equilibration": None}
    once = box_run(tmp_path / "once.h5", **options)
    box_run(tmp_path / "twice.h5", steps=17, **options)
    twice = box_run(tmp_path / "twice.h5", **options)
    for name in RECORDED:
        assert np.array_equal(once.observable(name).values, twice.observable(name).values)


def test_ring_polymers_in_a_cell_have_the_mean_of_their_beads(tmp_path):
    observables = {"dipole": 1, "bead_positions": 1}
    trajectory = box_run(
        tmp_path / "a.h5", method="T-RPMD", beads=3, steps=4, observables=observables
    )
    beads = torch.tensor(trajectory.observable("bead_positions").values)
    moments = WaterBox().dipole(beads.flatten(0, 2)).unflatten(0, beads.shape[:3])
    found = trajectory.observable("dipole").values
    np.testing.assert_allclose(found, moments.mean(dim=2), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"atoms": "larger"}, "structures[0].atoms.cell"),
        ({"atoms": "molecule"}, "structures[0].atoms.cell"),
        ({"atoms": "layer"}, "structures[0].atoms.pbc"),
        ({"rotation": "none"}, "rotation"),
        ({"initial": HarmonicModes(torch.zeros(1, 36, 36))}, "initial"),
    ],
)
def test_what_only_molecules_have_is_refused(tmp_path, change, key):
    atoms = WaterBox().atoms
    other = change.pop("atoms", "")
    if other == "larger":
        atoms.set_cell(1.01 * atoms.cell)
    elif other:
        atoms.pbc = other == "layer" and [True, True, False]
    with refused(key=key):
        box_run(tmp_path / "a.h5", atoms, **change)


@pytest.fixture(scope="module")
def model_run(tmp_path_factory):
    """A short run of a model with random parameters, at constant energy."""
    box, potential = water_box(), local_potential()
    evaluator = evaluator_for(potential, torch.tensor(box.numbers), cell=box.cell.array)
    trajectory = simulate(
        box,
        evaluator,
        output=tmp_path_factory.mktemp("model") / "run.h5",
        method="NVE",
        temperature=100.0,
        timestep=0.25,
        steps=40,
        seed=3,
        replicas=2,
        observables={**RECORDED, "stress": 20, "dipole_rate": 10, "conserved_energy": 1},
        progress=False,
    )
    return box, potential, trajectory


def test_a_model_conserves_energy_and_records_the_response_of_the_cell(model_run):
    box, potential, trajectory = model_run
    energy = trajectory.observable("conserved_energy").values
    exchanged = np.ptp(trajectory.observable("potential_energy").values, axis=1).min()
    assert np.ptp(energy, axis=1).max() < 0.02 * exchanged
    box.calc = EqCalculator(potential)
    box.positions = trajectory.observable("positions").values[1, 20]
    dipole = trajectory.observable("dipole").values[1, 20]
    np.testing.assert_allclose(box.get_dipole_moment(), dipole, atol=1e-10)
    stress = trajectory.observable("stress").values[1, 1]
    np.testing.assert_allclose(box.get_stress(voigt=False), stress, atol=1e-10)


def test_recorded_rates_are_time_derivatives(model_run):
    _, _, trajectory = model_run
    dipole, rate = (trajectory.observable(n).values for n in ("dipole", "dipole_rate"))
    numerical = (dipole[:, 11:32:10] - dipole[:, 9:30:10]) / 0.5
    np.testing.assert_allclose(rate[:, 1:4], numerical, atol=2e-2 * np.abs(rate).max())


def test_an_evaluator_without_local_read_outs_has_no_response():
    box = water_box()
    evaluator = eager_evaluator(
        make_potential(cutoff=3.0), torch.tensor(box.numbers), cell=box.cell.array
    )
    assert evaluator.quantities == ("energy", "forces", "stress")


def test_committees_have_the_cell_of_their_members():
    box, numbers = water_box(), torch.tensor(water_box().numbers)
    members = [
        eager_evaluator(local_potential(layers=n), numbers, cell=box.cell.array) for n in (1, 2)
    ]
    assert torch.equal(Committee(members).cell, torch.tensor(box.cell.array))


def test_a_molecule_that_crosses_the_boundary_leaves_no_line():
    """A vibrating molecule has the same spectra at rest and drifting, wrapped atom by atom."""
    one, edge, n = molecule("H2O"), 9.0, 400
    evaluator = eager_evaluator(local_potential(), torch.tensor(one.numbers), cell=edge * np.eye(3))
    t = 0.5 * np.arange(n)
    stretch = (
        0.03
        * np.sin(2.0 * np.pi * t / 9.37)[:, None, None]
        * np.array([[0.0, 0.0, 0.0], [0.0, 1.0, -0.7], [0.0, 0.6, 0.8]])
    )
    drift = np.einsum("t,a->ta", t, [0.11, -0.07, 0.05])[:, None]  # two edges in all
    resting = one.positions + stretch
    drifting = np.mod(resting + drift, edge)
    assert np.abs(np.diff(drifting, axis=0)).max() > 0.9 * edge
    found = []
    for positions in (resting, drifting):
        values = evaluator(torch.tensor(positions), ("dipole", "polarizability"))
        common = {"interval": 0.5, "temperature": 300.0, "lag": 60.0}
        spectra = (
            infrared(values["dipole"].numpy(), unit="e*Å", **common),
            raman(values["polarizability"].numpy(), unit="e^2*Å^2/eV", **common).activity(),
        )
        found.append([s.values for s in spectra])
    for at_rest, moving in zip(*found, strict=True):
        np.testing.assert_allclose(moving, at_rest, rtol=0.0, atol=1e-9 * at_rest.max())
