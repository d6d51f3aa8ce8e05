# SPDX-License-Identifier: MIT
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule

from eqcalc.datasets import Dataset, Record
from eqcalc.labelling import GFN2, ConvergenceError, SamplingPlan, generate, label

WIGNER = SamplingPlan(classical={}, wigner={300.0: 1.0}, torsional_wigner={}, ring_polymer={})


def geometries(n=20, name="H2O"):
    rng = np.random.default_rng(0)
    start = molecule(name)
    return [
        Record(start.numbers, start.positions + 0.05 * rng.normal(size=(len(start), 3)), source="x")
        for _ in range(n)
    ]


@dataclass(frozen=True)
class Fragile:
    """Fails where the first atom is right of the origin, and counts its calls in a file."""

    log: str = ""
    pause: float = 0.0

    name = "fragile"
    version = "1"
    level_of_theory = "none"
    quantities = ("energy", "forces")

    def settings(self):
        return {}

    def label(self, atoms, quantities=None):
        if self.log:
            with Path(self.log).open("a") as handle:
                handle.write("call\n")
        time.sleep(self.pause)
        if atoms.positions[0, 0] > 0.0:
            raise ConvergenceError("right of the origin")
        return {"energy": np.asarray(atoms.positions.sum()), "forces": atoms.positions}


def test_labels_are_those_of_the_method(tmp_path):
    given = [*geometries(6), *geometries(6, "NH3")]
    report = label(given, GFN2(), tmp_path / "a.h5", processes=2, progress=False)
    dataset = Dataset.open(tmp_path / "a.h5")
    assert len(dataset) == 12 and report.failed == {} and report.resumed == 0
    for record, original in zip(dataset, given, strict=True):
        np.testing.assert_array_equal(record.positions, original.positions)
        assert record.source == "x"
        for name, value in GFN2().label(original.atoms()).items():
            np.testing.assert_allclose(record.labels[name], value, rtol=0, atol=1e-10)
    assert dataset.level_of_theory == "GFN2-xTB"
    assert dataset.provenance["method_version"].startswith("tblite ")
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_failures_are_reported_and_left_out(tmp_path):
    given = geometries()
    right = [i for i, record in enumerate(given) if record.positions[0, 0] > 0.0]
    assert 0 < len(right) < 20
    report = label(given, Fragile(), tmp_path / "a.h5", progress=False)
    assert sorted(report.failed) == right
    assert len(report.dataset) == 20 - len(right)
    assert f"geometry {right[0]}: right of the origin" in str(report)
    assert list(report.dataset.provenance["not_converged"]) == [str(i) for i in right]
    with pytest.raises(ValueError, match="no geometry could be labelled"):
        label([given[i] for i in right], Fragile(), tmp_path / "b.h5", progress=False)


def test_a_killed_run_goes_on(tmp_path):
    """The process is killed half-way; nothing is labelled twice, nothing is missing."""
    log = tmp_path / "log"
    script = tmp_path / "run.py"
    script.write_text(f"""
from tests.reference.test_label import *
if __name__ == "__main__":
    label(geometries(), Fragile({str(log)!r}, 0.1), {str(tmp_path / "a.h5")!r}, progress=False)
""")
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    process = subprocess.Popen([sys.executable, script], env=environment, cwd=root)
    journal = tmp_path / "a.h5.journal"
    until = time.monotonic() + 60.0
    while time.monotonic() < until and not (
        journal.exists() and len(journal.read_text().splitlines()) > 6
    ):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "a.h5").exists()
    done = len(journal.read_text().splitlines()) - 1
    with journal.open("a") as handle:  # as if killed in the middle of a line
        handle.write('{"index": 19, "lab')
    method = Fragile(str(log), 0.0)
    report = label(geometries(), method, tmp_path / "a.h5", progress=False)
    assert report.resumed == done > 5
    # the geometry that was under way when the process was killed is the only repetition
    assert len(log.read_text().splitlines()) in {20, 21}
    assert len(report.dataset) + len(report.failed) == 20
    assert not journal.exists()
    fresh = label(geometries(), Fragile(), tmp_path / "b.h5", progress=False)
    for one, two in zip(report.dataset, fresh.dataset, strict=True):
        np.testing.assert_array_equal(one.labels["forces"], two.labels["forces"])


def test_a_journal_of_another_run_is_refused(tmp_path):
    journal = tmp_path / "a.h5.journal"
    label(geometries(3), Fragile(), tmp_path / "a.h5", progress=False)
    (tmp_path / "a.h5").unlink()
    journal.write_text(
        json.dumps({"journal_version": 1, "method": "fragile", "version": "0.9"}) + "\n"
    )
    with pytest.raises(ValueError, match="a run with other version, settings, geometries"):
        label(geometries(3), Fragile(), tmp_path / "a.h5", progress=False)
    with pytest.raises(FileExistsError):
        (tmp_path / "b.h5").touch()
        label(geometries(3), Fragile(), tmp_path / "b.h5", progress=False)


def test_generate_resumes_between_sampling_and_labelling(tmp_path, monkeypatch):
    module = sys.modules["eqcalc.labelling.generation"]

    target = tmp_path / "a.h5"
    water = molecule("H2O")
    whole = generate(water, tmp_path / "b.h5", 30, plan=WIGNER, seed=5, progress=False)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "label", killed)
        generate(water, target, 30, plan=WIGNER, seed=5, progress=False)
    with pytest.raises(ValueError, match="left by a run with another seed"):
        generate(water, target, 30, plan=WIGNER, seed=6, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(module, "sample", killed)
        report = generate(water, target, 30, plan=WIGNER, seed=5, progress=False)
    np.testing.assert_array_equal(
        report.dataset.structures(range(30)).positions,
        whole.dataset.structures(range(30)).positions,
    )
    assert report.dataset.provenance["seed"] == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_found_before_the_sampling(monkeypatch):
    monkeypatch.setattr(sys.modules["eqcalc.labelling.generation"], "sample", None)
    with pytest.raises(OSError, match=r"^/proc: nothing can be written into this folder"):
        generate(molecule("H2O"), "/proc/labels.h5", 10, plan=WIGNER, progress=False)
    with pytest.raises(OSError, match=r"^/proc: nothing can be written into this folder"):
        label(geometries(2), Fragile(), "/proc/labels.h5", progress=False)
