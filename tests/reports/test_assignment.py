# SPDX-License-Identifier: MIT
"""Assignment of the bands of the shipped model's ethanol."""

import json

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc import load_model, shipped_model
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.reports.assignment import assign, write_assignment
from eqcalc.reports.minima import Residence, visited_minima
from eqcalc.spectra import infrared
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from tests.spectra.oscillators import BOLTZMANN, angular


@pytest.fixture(scope="module")
def potential():
    return load_model(shipped_model("ethanol"), dtype=torch.float64)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, potential):
    """Harmonic vibration, every mode at 5 K; in one replica reflected and renumbered."""
    start = molecule("CH3CH2OH")
    minimum = relax(potential, Atoms(start.numbers, start.positions), fmax=1e-5)
    harmonic = harmonic_spectrum(potential, minimum)
    rng = np.random.default_rng(2)
    omega = angular(harmonic.wavenumber)
    n_replicas, n_frames = 3, 1500
    phase = rng.random((n_replicas, 21, 1)) * 2.0 * np.pi + omega[:, None] * np.arange(n_frames)
    q = np.sqrt(2.0 * BOLTZMANN * 5.0) / omega[:, None] * np.cos(phase)
    positions = minimum.positions + np.einsum("rkt,kia->rtia", q, harmonic.vectors)
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


@pytest.mark.slow
def test_bands_of_ethanol(trajectory, potential, tmp_path):
    # the hydroxyl group: oxygen and the hydrogen at it
    groups = {"OH": [2, 3]}
    everything = assign(
        trajectory,
        potential,
        groups=groups,
        isotopes={"3": 2.014},
        resolution=40.0,
        frame="laboratory",
    )
    (found,) = everything.conformers
    assert found.replicas == (0, 1, 2)
    assert everything.fraction() == 1.0
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
    text = write_assignment(everything, tmp_path)
    assert "100 % of the time, in 3 of 3 replicas" in text
    assert "all 3 replicas stay near the minimum they start near" in text
    assert (tmp_path / "assignment-1.png").stat().st_size > 10_000
    assert (tmp_path / "assignment.json").stat().st_size > 1000


def vibration(harmonic, n_frames, rng):
    """Positions and dipoles of harmonic vibration about a minimum, every mode at 5 K."""
    omega = angular(harmonic.wavenumber)
    phase = rng.random((21, 1)) * 2.0 * np.pi + omega[:, None] * np.arange(n_frames)
    q = np.sqrt(2.0 * BOLTZMANN * 5.0) / omega[:, None] * np.cos(phase)
    positions = harmonic.positions + np.einsum("kt,kia->tia", q, harmonic.vectors)
    return positions, np.einsum("kt,ka->ta", q, harmonic.dipole_derivative)


@pytest.fixture(scope="module")
def changing(tmp_path_factory, potential):
    """Ethanol-OD: trans, gauche, one replica that changes half-way, one with a short visit."""
    trans = molecule("CH3CH2OH")
    gauche = trans.copy()
    gauche.set_dihedral(0, 1, 2, 3, 60.0, indices=[3])
    masses = trans.get_masses()
    masses[3] = 2.014
    minima = [
        relax(potential, Atoms(trans.numbers, start.positions), fmax=1e-5)
        for start in (trans, gauche)
    ]
    assert minima[0].get_dihedral(0, 1, 2, 3) == pytest.approx(180.0, abs=2.0)
    assert minima[1].get_dihedral(0, 1, 2, 3) == pytest.approx(61.0, abs=6.0)
    modes = [harmonic_spectrum(potential, minimum, masses=masses) for minimum in minima]
    rng = np.random.default_rng(5)
    parts = [[(0, 1500)], [(1, 1500)], [(0, 700), (1, 800)], [(1, 1300), (0, 200)]]
    dipole, positions = [], []
    for replica in parts:
        pieces = [vibration(modes[m], n, rng) for m, n in replica]
        positions.append(np.concatenate([r for r, _ in pieces]))
        # the permanent dipole changes with the conformer
        dipole.append(
            np.concatenate([mu + 0.2 * m for (_, mu), (m, _) in zip(pieces, replica, strict=True)])
        )
    header = Header("NVE", 5.0, 1.0, 1499, 4, 1, trans.numbers, masses)
    path = tmp_path_factory.mktemp("changing") / "run.h5"
    layouts = {"dipole": Layout((3,), "e*Å", 1), "positions": Layout((9, 3), "Å", 1)}
    writer = TrajectoryWriter.create(path, header, layouts)
    writer.write("dipole", np.stack(dipole))
    writer.write("positions", np.stack(positions))
    writer.close()
    return Trajectory.open(path)


@pytest.mark.slow
def test_replicas_that_change_their_conformer(changing, potential, tmp_path):
    found = assign(changing, potential, lag=500.0)
    assert found.n_moving == 2
    # the short visit of 200 fs is left out
    assert found.fraction() == pytest.approx(1.0 - 200.0 / 6000.0, abs=0.005)
    gauche, trans = found.conformers
    assert found.fraction(gauche) == pytest.approx(3600.0 / 6000.0, abs=0.005)
    assert trans.replicas == (0, 2)
    assert gauche.replicas == (1, 2, 3)
    # residences of one replica would be independent parts otherwise
    assert gauche.modes.total.n_independent == 3
    for conformer in (trans, gauche):
        scale = conformer.modes.total.values.max()
        assert np.abs(conformer.modes.share("remainder").values).max() < 5e-3 * scale
        stretch = next(b for b in conformer.bands if 2600.0 < b.band.position.value < 2900.0)
        # of OD: the masses of the trajectory count
        assert stretch.partner.atoms[0][0] == 3
        assert stretch.anharmonic_shift == pytest.approx(0.0, abs=5.0)
    text = write_assignment(found, tmp_path)
    assert "2 of 4 replicas do not stay near the minimum they start near" in text
    assert "97 % of the time. The other 3 %" in text
    record = json.loads((tmp_path / "assignment.json").read_text())
    assert record["replicas_that_change_their_minimum"] == 2
    assert record["conformers"][1]["residences"][1]["replica"] == 2


def test_a_lag_window_longer_than_every_stretch_is_refused(changing, potential, monkeypatch):
    short = [Residence(r, 400 * i, 400 * (i + 1), i % 2) for r in range(4) for i in range(3)]
    monkeypatch.setattr("eqcalc.reports.assignment.visited_minima", lambda *_: ([], short))
    with pytest.raises(ValueError, match="near one minimum for the 500 fs of the lag window"):
        assign(changing, potential, lag=500.0)


@pytest.mark.slow
def test_minima_that_no_replica_starts_near_are_found(changing, potential):
    positions = changing.observable("positions").values
    # the replica starts near trans: gauche is met on the way only
    minima, residences = visited_minima(changing, potential, positions[[2]])
    angles = sorted(m.atoms.get_dihedral(0, 1, 2, 3) for m in minima)
    assert angles == pytest.approx([61.0, 180.0], abs=6.0)
    assert [s.minimum for s in residences] == [0, 1]
    assert abs(residences[0].stop - 700) <= 10
