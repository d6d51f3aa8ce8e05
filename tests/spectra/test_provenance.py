# SPDX-License-Identifier: MIT
"""A spectrum says of which molecule and run it is, in every format."""

from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from ase.build import molecule as ase_molecule

from eqcalc.spectra import infrared, read_spectrum, write_spectrum
from eqcalc.spectra.provenance import (
    molecular_formula,
    provenance_facts,
    title,
    trajectory_provenance,
)
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from tests.spectra.oscillators import oscillator, vector


class Run:
    """Deuterated ethanol, as a trajectory file describes it."""

    method, temperature, timestep, n_beads = "NVE", 250.0, 0.5, 1
    numbers = np.array([6, 6, 8, 1, 1, 1, 1, 1, 1])
    masses = np.array([12.011, 12.0, 15.999, 1.008, 1.008, 1.008, 1.008, 2.014, 2.014])
    settings = {  # noqa: RUF012
        "seed": 17,
        "rotation": "none",
        "method": {"name": "NVE"},
        "equilibration": {"method": {"name": "Langevin"}, "steps": 1000},
        "structures": "[1, 9, 3] sha256 0",
    }
    provenance = {  # noqa: RUF012
        "model": "0123456789abcdef",
        "model_file": "/home/somebody/model.eqc",
        "committee": [{"model": "f" * 64, "model_file": "/home/somebody/other.eqc"}],
        "level_of_theory": {"energy": "PBE0", "dipole": "PBE0"},
        "software": {"eqcalc": "0.1.0", "torch": "2.0"},
    }

    def observables(self):
        return ("dipole",)

    def observable(self, name):
        values = vector(oscillator(1500.0, n_frames=2000, n_replicas=3))
        return SimpleNamespace(values=values, interval=0.5, start=0.0, unit="e*Å")


@pytest.fixture(scope="module")
def spectrum():
    return infrared(Run(), resolution=100.0, n_samples=10)


def test_isotopes_are_in_the_formula(spectrum):
    assert molecular_formula(spectrum.provenance) == "C ^12C H4 ^2H2 O"
    assert (
        title(spectrum.label, spectrum.provenance)
        == "C2H6O (2 H of 2.014 amu, 1 C of 12 amu), IR intensity"
    )
    source = spectrum.provenance["source"]
    assert source["masses_amu"]["H"] == [1.008, 2.014]
    assert [group["atoms"] for group in source["isotopes"]] == [[7, 8], [1]]
    run = SimpleNamespace(numbers=[8, 1, 1], masses=[15.995, 1.008, 1.008], provenance={})
    ordinary = {"source": trajectory_provenance(run)}
    assert molecular_formula(ordinary) == "H2 O"
    assert "isotopes" not in provenance_facts(ordinary)


def test_the_molecule_itself_is_kept_with_a_geometry(spectrum, tmp_path):
    """The structure a run started from, else its first frame, which beads share."""
    record = spectrum.provenance["source"]["molecule"]
    assert record == {"numbers": Run.numbers.tolist(), "masses_amu": Run.masses.tolist()}
    water, rng = ase_molecule("H2O"), np.random.default_rng(1)
    frames = water.positions + 0.01 * rng.normal(size=(2, 5, 4, 3, 3))
    frames[0, 0] += water.positions - frames[0, 0].mean(axis=0)
    header = Header("RPMD", 300.0, 0.5, 4, 2, 4, water.numbers, water.get_masses())
    for given in (None, (2.0 * water.positions).tolist()):
        stored = {} if given is None else {"molecule": {"positions_angstrom": given}}
        path = tmp_path / f"{given is None}.h5"
        known = replace(header, provenance=stored)
        writer = TrajectoryWriter.create(path, known, {"bead_positions": Layout((4, 3, 3), "Å", 1)})
        writer.write("bead_positions", frames)
        writer.close()
        found = trajectory_provenance(Trajectory.open(path))["molecule"]
        expected = water.positions if given is None else given
        assert np.allclose(found["positions_angstrom"], expected, atol=1e-6)
        assert found["numbers"] == [8, 1, 1]


def test_what_is_not_known_is_left_out():
    x = vector(oscillator(1500.0, n_frames=2000, n_replicas=2))
    series = infrared(x, interval=0.5, temperature=300.0, unit="e*Å", resolution=100.0)
    assert molecular_formula(series.provenance) is None
    assert title(series.label, series.provenance) == "IR intensity"
    assert "seed" not in provenance_facts(series.provenance)


@pytest.mark.parametrize("ending", [".h5", ".csv", ".jdx"])
def test_every_format_says_what_was_measured(spectrum, tmp_path, ending):
    path = write_spectrum(spectrum, tmp_path / f"s{ending}")
    facts = provenance_facts(read_spectrum(path).provenance)
    assert facts == provenance_facts(spectrum.provenance)
    assert facts["seed"] == "17"
    assert facts["rotation"] == "none"
    assert facts["equilibration"] == "Langevin, 500 fs"
    assert facts["dynamics"].startswith("NVE, 250 K, time step 0.5 fs, 3 replicas")
    assert facts["model"] == "0123456789ab, ffffffffffff"
    assert facts["level of theory"] == "PBE0"
    assert "torch 2.0" in facts["run with"]
    assert b"somebody" not in path.read_bytes()
    # and programs that do not know eqcalc's record can show it
    if ending == ".h5":
        with h5py.File(path) as file:
            shown = [f"{name}: {value}" for name, value in file.attrs.items()]
    else:
        shown = path.read_text().splitlines()
    label = {".h5": "{}: {}", ".csv": "# {}: {}", ".jdx": "##${}= {}"}[ending]
    for name in ("seed", "rotation", "model"):
        key = name.upper() if ending == ".jdx" else name
        assert label.format(key, facts[name]) in shown


def test_the_labels_that_jcamp_has_for_it(spectrum, tmp_path):
    lines = write_spectrum(spectrum, tmp_path / "s.jdx").read_text().splitlines()
    assert "##TITLE= C2H6O (2 H of 2.014 amu, 1 C of 12 amu), IR intensity" in lines
    assert "##MOLFORM= C ^12C H4 ^2H2 O" in lines
    # nothing of eqcalc's own: what every other reader finds
    foreign = [line for line in lines if not line.startswith("##$EQCALC")]
    (tmp_path / "foreign.jdx").write_text("\n".join(foreign))
    assert read_spectrum(tmp_path / "foreign.jdx").provenance["MOLFORM"] == "C ^12C H4 ^2H2 O"
