# SPDX-License-Identifier: MIT
"""Rotation of small molecules: branches are no vibrations, and their envelope is said."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqcalc.reports.comparison import write_band_comparison
from eqcalc.reports.files import describe_spectra, write_figure, write_molecular_spectra
from eqcalc.reports.molecular import molecular_spectra, spectra_of_series
from eqcalc.spectra import infrared, read_spectrum
from eqcalc.spectra.frames import branch_separation, mean_geometry, molecular_rotations
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from tests.spectra.oscillators import BOLTZMANN, angular

NUMBERS, MASSES, LENGTH = np.array([17, 1]), np.array([34.969, 1.00783]), 1.2839
VIBRATION, T, N_REPLICAS, N_FRAMES = 2890.0, 300.0, 24, 3000
REDUCED = MASSES.prod() / MASSES.sum()


def hydrogen_chloride(rng):
    """Return positions and dipoles of classical rotors at 300 K that vibrate, every fs."""
    t = np.arange(N_FRAMES, dtype=float)
    inertia = REDUCED * LENGTH**2
    # two components of the angular velocity, and a random orientation of its plane
    speed = np.hypot(*rng.normal(size=(2, N_REPLICAS))) * np.sqrt(BOLTZMANN * T / inertia)
    phase = rng.random((N_REPLICAS, 1)) * 2.0 * np.pi
    energy = rng.exponential(BOLTZMANN * T, size=(N_REPLICAS, 1))
    q = np.sqrt(2.0 * energy / REDUCED) / angular(VIBRATION)
    stretch = q * np.cos(angular(VIBRATION) * t + phase)
    turn = speed[:, None] * t + phase
    axis = np.stack([np.cos(turn), np.sin(turn), np.zeros_like(turn)], axis=-1)
    axis = np.einsum("rab,rtb->rta", Rotation.random(N_REPLICAS, random_state=3).as_matrix(), axis)
    bond = (LENGTH + stretch)[..., None] * axis
    shares = np.array([-MASSES[1], MASSES[0]]) / MASSES.sum()
    positions = shares[:, None] * bond[:, :, None]
    dipole = (0.23 + 0.2 * stretch)[..., None] * axis
    return positions, dipole


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    positions, dipole = hydrogen_chloride(np.random.default_rng(1))

    def made(name, **observables):
        provenance = {
            "model": "f" * 64,
            "level_of_theory": {"energy": "CCSD(T)", "dipole": "PBE0"},
            "molecule": {"positions_angstrom": positions[0, 0].tolist()},
        }
        header = Header(
            "NVE", T, 0.5, 2 * (N_FRAMES - 1), N_REPLICAS, 1, NUMBERS, MASSES,
            settings={"rotation": "thermal"}, provenance=provenance,
        )  # fmt: skip
        path = tmp_path_factory.mktemp("rotor") / f"{name}.h5"
        layouts = {n: Layout(v.shape[2:], u, 2 * s) for n, (v, u, s) in observables.items()}
        writer = TrajectoryWriter.create(path, header, layouts)
        for n, (values, _, _) in observables.items():
            writer.write(n, values)
        writer.close()
        return Trajectory.open(path)

    dipoles = dipole, "e*Å", 1
    return SimpleNamespace(
        dipole=dipole,
        positions=positions,
        whole=made("whole", dipole=dipoles, positions=(positions[:, ::5], "Å", 5)),
        bare=made("bare", dipole=dipoles),
    )


def listed(text):
    """Return the positions of the infrared bands in a report."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("infrared bands"))
    numbers = []
    for line in lines[start + 1 :]:
        if "cm⁻¹" not in line or "–" not in line:
            break
        numbers.append(float(line.split("cm⁻¹")[1].split("(")[0]))
    return numbers


@pytest.mark.slow
def test_branches_are_not_listed_as_vibrations(run, tmp_path):
    spectra = molecular_spectra(run.whole, resolution=20.0)
    text = describe_spectra(spectra)
    assert listed(text) == pytest.approx([VIBRATION], abs=3.0)
    assert "without rotation (eckart frame)" in text
    # the spectrum itself keeps its envelope: nothing at the origin, two maxima beside it
    around = spectra.infrared.between(VIBRATION - 150.0, VIBRATION + 150.0)
    origin = around.between(VIBRATION - 10.0, VIBRATION + 10.0).values.mean()
    assert origin < 0.5 * around.values.max()
    assert spectra.provenance["frame"] == "laboratory"
    # areas are those of the whole envelope
    inside = spectra.vibrations.infrared.integrate(2700.0, 3080.0).value
    assert inside == pytest.approx(spectra.infrared.integrate(2700.0, 3080.0).value, rel=0.03)
    names = {path.name for path in write_molecular_spectra(spectra, tmp_path, "s")}
    assert {"s-infrared.h5", "s-infrared-without-rotation.h5"} <= names
    assert read_spectrum(tmp_path / "s-infrared-without-rotation.csv").provenance["frame"] == (
        "eckart"
    )
    assert write_figure(tmp_path / "f.png", [spectra]).stat().st_size > 10_000


def test_without_positions_the_branches_are_told(run):
    text = describe_spectra(molecular_spectra(run.bare, resolution=20.0))
    (note,) = [line for line in text.splitlines() if "P and R branches" in line]
    # √(8Bk_BT/hc) of H³⁵Cl
    apart = float(note.split("about ")[1].split()[0])
    assert apart == pytest.approx(131.97, abs=4.0)  # at the first bond length, not the mean
    assert "--observables positions" in note
    # nor does a series of another code say where its atoms are
    facts = {"dipole_unit": "e*Å", "interval": 1.0, "temperature": T, "resolution": 20.0}
    text = describe_spectra(spectra_of_series(run.dipole, **facts))
    assert "if this is one molecule that rotates" in text
    text = describe_spectra(spectra_of_series(run.dipole, n_molecules=64, **facts))
    assert "rotate" not in text


def test_asked_for_a_frame_nothing_else_is_shown(run):
    spectra = molecular_spectra(run.whole, frame="corotating", resolution=20.0)
    assert spectra.vibrations is None
    assert not any("P and R" in note for note in spectra.notes)


def test_the_report_says_what_it_is_of(run):
    lines = describe_spectra(molecular_spectra(run.whole, resolution=20.0)).splitlines()
    assert lines[1] == (
        "molecule: HCl (1 Cl of 34.969 amu); level of theory: dipole: PBE0; energy: CCSD(T); "
        "model: ffffffffffff"
    )
    (note,) = [line for line in lines if "no Raman spectrum" in line]
    assert "learned dipole, energy only" in note
    series = spectra_of_series(
        run.dipole, dipole_unit="e*Å", interval=1.0, temperature=T, resolution=20.0
    )
    text = describe_spectra(series)
    assert "molecule: not stated; level of theory: not stated" in text
    assert "no Raman spectrum: no polarizability was given" in text


def test_the_frame_of_a_linear_molecule_is_continuous(run):
    """The axis is along the reference at every frame, and nothing spins about it."""
    reference = mean_geometry(run.positions[2], MASSES)
    assert np.linalg.norm(reference[1] - reference[0]) == pytest.approx(LENGTH, abs=2e-3)
    u = molecular_rotations(run.positions[2], reference, MASSES)
    seen = np.einsum("tab,tib->tia", u, run.positions[2])
    along = (reference[1] - reference[0]) / np.linalg.norm(reference[1] - reference[0])
    bond = seen[:, 1] - seen[:, 0]
    assert np.allclose(bond, np.linalg.norm(bond, axis=1)[:, None] * along, atol=1e-6)
    assert np.allclose(np.linalg.det(u), 1.0)
    found = infrared(run.whole, frame="eckart", reference=reference, resolution=20.0)
    (band,) = found.bands(0.05, lower=100.0)
    assert band.position.value == pytest.approx(VIBRATION, abs=3.0)


def test_distance_of_the_branches():
    for numbers, masses, length, expected in (
        ("HCl", MASSES, 1.2839, 131.97),
        ("CO", np.array([12.0, 15.9949]), 1.1309, 56.63),
    ):
        geometry = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, length]])
        assert branch_separation(geometry, masses, 300.0) == pytest.approx(expected, rel=2e-3), (
            numbers
        )


@pytest.mark.slow
def test_listed_bands_are_compared_with_vibrations_not_branches(run, tmp_path):
    write_molecular_spectra(molecular_spectra(run.whole, resolution=20.0), tmp_path, "s")
    (tmp_path / "list.txt").write_text(f"{VIBRATION}\n")
    write_band_comparison([tmp_path / "s-infrared.h5"], tmp_path / "list.txt", tmp_path)
    (spectrum,) = json.loads((tmp_path / "bands.json").read_text())["calculated"]
    (band,) = spectrum["bands"]
    assert band["computed_cm-1"][0] == pytest.approx(VIBRATION, abs=3.0)
    assert spectrum["not_listed_cm-1"] == []
