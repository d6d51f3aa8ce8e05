# SPDX-License-Identifier: MIT
"""Assignment of the bands of the shipped model's ethanol."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc import load_model, shipped_model
from eqcalc.harmonic import relax
from eqcalc.reports.assignment import assign, isotope_masses, write_assignment
from eqcalc.spectra import infrared
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from tests.spectra.oscillators import BOLTZMANN, angular


@pytest.fixture(scope="module")
def potential():
    return load_model(shipped_model("ethanol"), dtype=torch.float64)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, potential):
    """Harmonic vibration, every mode at 5 K; in one replica reflected and renumbered."""
    from eqcalc.harmonic import harmonic_spectrum

    start = molecule("CH3CH2OH")
    minimum = relax(potential, Atoms(start.numbers, start.positions), fmax=1e-5)
    harmonic = harmonic_spectrum(potential, minimum)
    rng = np.random.default_rng(2)
    omega = angular(harmonic.wavenumber)
    n_replicas, n_frames = 3, 1500
    phase = rng.random((n_replicas, 21, 1)) * 2.0 * np.pi + omega[:, None] * np.arange(n_frames)
    q = np.sqrt(2.0 * BOLTZMANN * 5.0) / omega[:, None] * np.cos(phase)
    positions = minimum.positions + np.einsum("rkt,kia->rtia", q, harmonic.modes)
    # the dipole to second order would add a remainder: here it is linear
    dipole = 0.3 + np.einsum("rkt,ka->rta", q, harmonic.dipole_derivative)
    # two hydrogens of a methyl group exchange their names by a reflection
    hydrogens = np.flatnonzero(start.numbers == 1)
    mirrored = minimum.positions * np.array([1.0, 1.0, -1.0])
    distance = np.linalg.norm(mirrored[:, None] - minimum.positions[None], axis=-1)
    order = distance.argmin(0)
    assert set(order) == set(range(9))
    assert (order[hydrogens] != hydrogens).any()
    positions[0] = (positions[0] * np.array([1.0, 1.0, -1.0]))[:, order]
    dipole[0] = dipole[0] * np.array([1.0, 1.0, -1.0])
    header = Header("NVE", 5.0, 1.0, n_frames - 1, n_replicas, 1, start.numbers, start.get_masses())
    path = tmp_path_factory.mktemp("assign") / "run.h5"
    layouts = {"dipole": Layout((3,), "e*Å", 1), "positions": Layout((9, 3), "Å", 1)}
    writer = TrajectoryWriter.create(path, header, layouts)
    writer.write("dipole", dipole)
    writer.write("positions", positions)
    writer.close()
    return Trajectory.open(path)


def test_bands_of_ethanol(trajectory, potential, tmp_path):
    # the hydroxyl group: oxygen and the hydrogen at it
    groups = {"OH": [2, 3]}
    (found,) = assign(trajectory, potential, groups=groups, isotopes={"3": 2.014}, resolution=40.0)
    assert found.replicas == (0, 1, 2)
    whole = infrared(trajectory, resolution=40.0)
    scale = whole.values.max()
    assert np.allclose(found.modes.total.values, whole.values, rtol=0.0, atol=1e-9 * scale)
    remainder = found.modes.share("remainder").values
    assert np.abs(remainder).max() < 2e-3 * scale
    stretch = found.bands[-1]
    partner = stretch.partner
    assert partner.mode == 20
    assert stretch.anharmonic_shift == pytest.approx(0.0, abs=3.0)
    assert partner.atoms[0][0] == 3
    assert partner.atoms[0][1] > 0.9
    # OD: slower by nearly √2
    assert partner.isotope_shift / partner.wavenumber == pytest.approx(-0.27, abs=0.01)
    name, share = found.group_bands[-1].shares[0]
    assert name == "OH"
    assert share.value > 0.8
    text = found.table()
    assert "H3 9" in text
    assert "3 of 3 replicas" in write_assignment([found], tmp_path)
    assert (tmp_path / "assignment-1.png").stat().st_size > 10_000
    assert (tmp_path / "assignment.json").stat().st_size > 1000


def test_isotopes_by_element_and_by_atom():
    atoms = molecule("CH3CH2OH")
    masses = isotope_masses(atoms, {"H": 2.014, "3": 3.016})
    assert masses[3] == 3.016
    assert masses[8] == 2.014
    assert masses[0] == pytest.approx(12.011)
