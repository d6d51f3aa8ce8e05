# SPDX-License-Identifier: MIT
"""Results of an earlier call leave the folder, and nothing else does."""

import json

import pytest

from eqcalc.reports.files import remove_outdated, write_series_spectra
from tests.spectra.oscillators import oscillator, vector


def put(folder, *names):
    for name in names:
        (folder / name).write_text(name)
    return [folder / name for name in names]


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_only_own_and_unchanged_files_are_removed(tmp_path):
    put(tmp_path, "spectrum-raman.txt", "thesis.tex")
    assert remove_outdated(tmp_path, put(tmp_path, "a.h5", "b.h5", "c.h5")) == []
    (tmp_path / "b.h5").write_text("a note of mine")
    removed, kept = remove_outdated(tmp_path, put(tmp_path, "a.h5"))
    assert removed.endswith("this one does not: c.h5")
    assert kept.endswith("b.h5")
    assert names(tmp_path) == ["a.h5", "b.h5", "spectrum-raman.txt", "thesis.tex"]
    assert remove_outdated(tmp_path, put(tmp_path, "a.h5")) == []


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}'])
def test_a_damaged_list_removes_nothing(tmp_path, text):
    remove_outdated(tmp_path, put(tmp_path, "a.h5"))
    (tmp_path / ".eqcalc-spectra.json").write_text(text)
    assert remove_outdated(tmp_path, []) == []
    assert names(tmp_path) == ["a.h5"]


def test_a_list_does_not_reach_out_of_its_folder(tmp_path):
    inner = tmp_path / "inner"
    inner.mkdir()
    remove_outdated(tmp_path, put(tmp_path, "a.h5"))
    files = json.loads((tmp_path / ".eqcalc-spectra.json").read_text())["files"]
    (inner / ".eqcalc-spectra.json").write_text(json.dumps({"files": {"../a.h5": files["a.h5"]}}))
    assert remove_outdated(inner, []) == []
    assert names(tmp_path) == ["a.h5", "inner"]


def test_raman_of_an_earlier_call_does_not_stay_beside_infrared_alone(tmp_path):
    x = oscillator(1500.0, n_frames=2000, n_replicas=3)
    common = {"interval": 0.5, "temperature": 300.0, "resolution": 100.0, "dipole_unit": "D"}
    tensors = x[..., None] * [1.0, 1.0, 3.0, 0.0, 0.0, 0.0]
    both = {"polarizability": tensors, "polarizability_unit": "Å^3", **common}
    write_series_spectra(tmp_path, dipole=vector(x), **both)
    assert "spectrum-raman.csv" in names(tmp_path)
    (tmp_path / "spectrum-raman-mine.csv").write_text("mine")
    text = write_series_spectra(tmp_path, dipole=vector(x), **common)
    assert f"removed from {tmp_path}" in text
    assert [name for name in names(tmp_path) if "raman" in name] == ["spectrum-raman-mine.csv"]
    assert not [name for name in names(tmp_path) if "depolarization" in name]
    assert "removed" not in (tmp_path / "summary.txt").read_text()
