# SPDX-License-Identifier: MIT
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from tblite.ase import TBLite

from eqcalc.datasets import Dataset, Record
from eqcalc.files import exclusive
from eqcalc.labelling import (
    GFN2,
    ConvergenceError,
    OtherRunError,
    SamplingPlan,
    UnavailableQuantityError,
    generate,
    label,
)
from eqcalc.labelling.conformer_search import relax
from eqcalc.labelling.sampling import finite_difference_modes, sample
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

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
        labels = {"energy": np.asarray(atoms.positions.sum()), "forces": atoms.positions}
        return {name: labels[name] for name in quantities or self.quantities}


@pytest.mark.slow
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
    assert report.failed[right[0]] == "right of the origin"
    assert list(report.dataset.provenance["not_converged"]) == [str(i) for i in right]
    with pytest.raises(InvalidInputError, match="right of the origin"):
        label([given[i] for i in right], Fragile(), tmp_path / "b.h5", progress=False)


@pytest.mark.slow
def test_a_killed_run_goes_on(tmp_path):
    """The process is killed half-way; nothing is labelled twice, nothing is missing."""
    log = tmp_path / "log"
    script = tmp_path / "run.py"
    script.write_text(f"""
from tests.labelling.test_labels import *
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


@pytest.mark.parametrize(
    "line",
    [
        *("{", "[1]", '{"x": 1}', "[" * 100_000, '{"index": 0}\t00000000'),
        '{"index": 0, "labels": {"energy": 1e300}}',
        '{"index": Infinity}',
    ],
)
def test_a_damaged_journal_is_named(tmp_path, line):
    journal = tmp_path / "a.h5.journal"
    for text in (f"{{}}\n{line}\n", "null\n"):
        journal.write_text(text)
        with refused(InvalidFileError, file=journal):
            label([molecule("H2O")], "gfn2", tmp_path / "a.h5", progress=False)


@pytest.mark.parametrize("suffix", [".journal", ".geometries"])
def test_a_run_killed_at_its_very_end_is_finished(tmp_path, monkeypatch, suffix):
    """After the dataset has been written, before what was kept to resume is removed."""
    unlink = Path.unlink

    def killed(self, **options):
        if self.name == f"a.h5{suffix}":
            raise KeyboardInterrupt
        unlink(self, **options)

    def run():
        target = tmp_path / "a.h5"
        return generate(molecule("H2O"), "gfn2", target, 3, plan=WIGNER, progress=False)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "unlink", killed)
        run()
    written = (tmp_path / "a.h5").read_bytes()
    report = run()
    assert (len(report.dataset), report.failed) == (3, {})
    assert (tmp_path / "a.h5").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]
    with refused(InvalidFileError, file=tmp_path / "a.h5"):
        run()


def test_a_target_is_labelled_by_one_process_at_a_time(tmp_path):
    with exclusive(tmp_path / ".a.h5.lock"), pytest.raises(BlockingIOError):
        label([molecule("H2O")], "gfn2", tmp_path / "a.h5", progress=False)


def test_a_journal_of_another_run_is_refused(tmp_path):
    journal = tmp_path / "a.h5.journal"
    label(geometries(3), Fragile(), tmp_path / "a.h5", progress=False)
    (tmp_path / "a.h5").unlink()
    journal.write_text(
        json.dumps({"journal_version": 1, "method": "fragile", "version": "0.9"}) + "\n"
    )
    with pytest.raises(OtherRunError) as caught:
        label(geometries(3), Fragile(), tmp_path / "a.h5", progress=False)
    assert caught.value.file == journal
    assert caught.value.different[:3] == ("version", "settings", "geometries")
    with pytest.raises(FileExistsError):
        (tmp_path / "b.h5").touch()
        label(geometries(3), Fragile(), tmp_path / "b.h5", progress=False)


@pytest.mark.slow
def test_generate_resumes_between_sampling_and_labelling(tmp_path, monkeypatch):
    module = sys.modules["eqcalc.labelling.labels"]
    target = tmp_path / "a.h5"
    water = molecule("H2O")
    whole = generate(water, "gfn2", tmp_path / "b.h5", 30, plan=WIGNER, seed=5, progress=False)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "label", killed)
        generate(water, "gfn2", target, 30, plan=WIGNER, seed=5, progress=False)
    with pytest.raises(OtherRunError) as caught:
        generate(water, "gfn2", target, 30, plan=WIGNER, seed=6, progress=False)
    assert caught.value.different == ("seed",)
    with monkeypatch.context() as patch:
        patch.setattr(module, "sample", killed)
        report = generate(water, "gfn2", target, 30, plan=WIGNER, seed=5, progress=False)
    np.testing.assert_array_equal(
        report.dataset.structures(range(30)).positions,
        whole.dataset.structures(range(30)).positions,
    )
    assert report.dataset.provenance["seed"] == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5", "b.h5"]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_found_before_the_sampling(monkeypatch):
    monkeypatch.setattr(sys.modules["eqcalc.labelling.labels"], "sample", None)
    with pytest.raises(OSError, match=r"^/proc: "):
        generate(molecule("H2O"), "gfn2", "/proc/labels.h5", 10, plan=WIGNER, progress=False)
    with pytest.raises(OSError, match=r"^/proc: "):
        label(geometries(2), Fragile(), "/proc/labels.h5", progress=False)


def test_structures_are_labelled_as_given(tmp_path):
    ion = molecule("NH3")
    ion += molecule("H2O")[1]
    ion.positions[-1] = [0.0, 0.0, 1.2]
    ion.info["charge"] = 1.0
    given = [molecule("H2O"), ion, molecule("CH4")]
    dataset = label(given, "gfn2", tmp_path / "a.h5", progress=False).dataset
    assert dataset.counts.tolist() == [3, 5, 5]
    assert [record.charge for record in dataset] == [0.0, 1.0, 0.0]
    np.testing.assert_array_equal(dataset[1].positions, ion.positions)
    assert dataset[1].labels["energy"] == GFN2().label(ion)["energy"]


def test_open_shells_have_the_spin_they_state_or_that_of_the_ground_state(tmp_path):
    """The energies are those of tblite with the number of unpaired electrons set."""
    methyl = ase.Atoms("CH3", molecule("CH3").positions)
    triplet, silent = molecule("O2"), ase.Atoms("O2", molecule("O2").positions)
    singlet = ase.Atoms("O2", silent.positions, info={"multiplicity": 1})
    report = label([methyl, triplet, singlet], "gfn2", tmp_path / "a.h5", progress=False)
    energies = [float(record.labels["energy"]) for record in report.dataset]
    assert float(GFN2().label(silent)["energy"]) == energies[1]  # its ground state
    for atoms, energy, spin in zip((methyl, silent, singlet), energies, (1, 2, 0), strict=True):
        assert energy == float(GFN2(unpaired_electrons=spin).label(atoms)["energy"])
    assert abs(energies[2] - energies[1]) > 0.01
    assert report.dataset.provenance["unpaired_electrons"] == {"0": 1, "1": 1, "2": 1}
    with refused(key="geometries[1].unpaired_electrons", value=0.0):
        label([singlet, methyl], GFN2(unpaired_electrons=0), tmp_path / "b.h5", progress=False)


@pytest.mark.parametrize("stated", ["info", "initial charges"])
def test_samples_of_an_ion_keep_its_charge_and_spin(stated):
    ion = molecule("H2O")
    if stated == "info":
        ion.info["charge"] = 1
    else:
        ion.set_initial_charges([1.0, 0.0, 0.0])
    plan = replace(WIGNER, wigner={300.0: 1.0})
    records = sample(ion, GFN2(accuracy=1.0), 3, np.random.default_rng(0), plan)
    assert [record.charge for record in records] == [1.0, 1.0, 1.0]
    second = molecule("H2O")
    with refused(key="molecule[1].charge", value=0.0):
        sample([ion, second], GFN2(), 3, np.random.default_rng(0), plan)


def test_a_constrained_molecule_is_not_sampled_but_labelled_with_all_forces(tmp_path):
    held = molecule("H2O")
    held.positions[1] += 0.1
    held.set_constraint(FixAtoms([0, 1]))
    with refused(key="atoms.constraints", value="FixAtoms(indices=[0, 1])"):
        generate(held, "gfn2", tmp_path / "a.h5", 10, plan=WIGNER, progress=False)
    for work in (relax, finite_difference_modes):
        with refused(key="atoms.constraints"):
            work(held, GFN2())
    for method in ("gfn2", TBLite(verbosity=0)):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.h5"
        labelled = label([held], method, path, progress=False).dataset[0]
        assert np.abs(labelled.labels["forces"][:2]).max() > 1.0


@pytest.mark.slow
def test_molecule_is_sampled(tmp_path):
    """Every default source takes part, from the conformer search on."""
    report = generate(molecule("H2O"), "gfn2", tmp_path / "a.h5", 12, seed=3, progress=False)
    assert len(report.dataset) == 12 and report.failed == {}
    assert {s.rsplit(" ", 2)[0] for s in report.dataset.sources} == {
        "Langevin dynamics",
        "Wigner displacement",
        "ring-polymer bead",
    }
    assert report.dataset.provenance["seed"] == 3


def test_two_methods_in_one_call(tmp_path):
    """Forces of one, dipoles of another, and the level of theory of each quantity."""
    loose = GFN2(accuracy=100.0, electronic_temperature=5000.0)
    given = [molecule("H2O"), molecule("NH3")]
    report = label(
        given,
        {"energy,forces": Fragile(), "dipole,polarizability": loose},
        tmp_path / "a.h5",
        level_of_theory={"dipole": "hot"},
        processes=1,
        progress=False,
    )
    dataset = report.dataset
    kept = [i for i in range(2) if i not in report.failed]
    assert dataset.levels_of_theory == {
        "energy": "none",
        "forces": "none",
        "dipole": "hot",
        "polarizability": "GFN2-xTB",
    }
    for record, index in zip(dataset, kept, strict=True):
        hot = loose.label(given[index], ("dipole", "polarizability"))
        for name, value in hot.items():
            np.testing.assert_allclose(record.labels[name], value, rtol=1e-12)
        np.testing.assert_array_equal(record.labels["forces"], record.positions)
    settings = dataset.provenance["method_settings"]
    assert settings["dipole,polarizability"]["electronic_temperature"] == 5000.0


def test_quantities_are_chosen_before_any_work(tmp_path):
    given = geometries(2)
    dataset = label(
        given, "gfn2", tmp_path / "a.h5", quantities=("dipole", "energy"), progress=False
    ).dataset
    assert dataset.quantities == ("energy", "dipole")
    with pytest.raises(UnavailableQuantityError) as caught:
        label(given, "gfn2", tmp_path / "b.h5", quantities=("energy", "stress"), progress=False)
    assert caught.value.unavailable == ("stress",) and "dipole" in caught.value.available
    with pytest.raises(InvalidInputError) as wrong:
        label(given, "gfn2", tmp_path / "b.h5", level_of_theory={"dipol": "x"}, progress=False)
    assert wrong.value.key == "level_of_theory" and wrong.value.suggestion == "dipole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.h5"]


def test_what_is_wrong_with_the_method_shows_before_the_sampling(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["eqcalc.labelling.labels"], "sample", None)
    ion = molecule("CH4")
    ion.info["charge"] = 1.0
    with pytest.raises(InvalidInputError) as caught:
        generate(ion, EMT(), tmp_path / "a.h5", 10, plan=WIGNER, progress=False)
    assert caught.value.key == "charge of CH4"


# --- comparison with a fast method ----------------------------------------------------


@pytest.mark.parametrize(("name", "sampler"), [("H2O", "EqCalculator"), ("HCl", "GFN2-xTB")])
def test_the_general_model_samples_what_it_knows(tmp_path, name, sampler):
    plan = SamplingPlan(classical={}, wigner={300.0: 1.0}, torsional_wigner={}, ring_polymer={})
    atoms = molecule(name)
    report = generate(atoms, GFN2(), tmp_path / "a.h5", 3, plan=plan, progress=False)
    assert report.dataset.provenance["sampled_with"] == sampler
    assert report.dataset.level_of_theory == "GFN2-xTB"
