# SPDX-License-Identifier: MIT
"""Kill calculations at random moments, and compare them with ones that were left alone.

simulate, train, label, convert, spectra, ``ipi run`` and the compilation of kernels run in
processes that are ended by SIGKILL, SIGTERM or SIGINT: by the clock, or inside of a system
call that puts data on the disk, after a random part of it has been written, or around the
renaming of a file. The same call is repeated until it ends by itself. After every kill a
trajectory must be readable, with frames of the undisturbed run; in the end everything
must be bitwise the same, no temporary file may be left, and those that were asked to
stop must have ended with status 75 or 130.

    OMP_NUM_THREADS=1 nice -n 15 python workflows/robustness/kill.py --output FILE.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import molecule
from ase.calculators.lj import LennardJones
from torch import Tensor

import eqcalc
import eqcalc.ipi.engine
import eqcalc.training.callbacks  # what processes would import after the fork
from eqcalc.cli.program import main as command
from eqcalc.datasets import Dataset, Record, convert
from eqcalc.dynamics import Equilibration, simulate
from eqcalc.interruption import INTERRUPTED, STOPPED, terminable
from eqcalc.ipi import Strides, write_input
from eqcalc.labelling import label
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.runtime import cpp_compiler, kernel_build
from eqcalc.spectra import read_spectrum
from eqcalc.training import train
from eqcalc.trajectory import Trajectory

ATOMS = molecule("CH3CH2OH")
RUNS = {
    "NVE": {"method": "NVE", "replicas": 3},
    "Langevin": {"method": "Langevin", "replicas": 2},
    "T-RPMD": {"method": "T-RPMD", "replicas": 2, "beads": 8},
}
#: Share of the kills, by signal.
SIGNALS = {signal.SIGKILL: 0.6, signal.SIGTERM: 0.3, signal.SIGINT: 0.1}
_results: dict[str, Any] = {}
STATUSES = {signal.SIGTERM: STOPPED, signal.SIGINT: INTERRUPTED}


class Springs:
    """Every two atoms are joined by a spring; every atom has a charge."""

    numbers = torch.from_numpy(ATOMS.numbers)
    quantities = ("energy", "forces", "dipole")
    provenance = {"model": "springs"}  # noqa: RUF012

    def __init__(self) -> None:
        x = torch.from_numpy(ATOMS.positions)
        self.first, self.second = torch.triu_indices(len(x), len(x), offset=1)
        self.lengths = (x[self.first] - x[self.second]).norm(dim=-1)
        self.charges = torch.linspace(-0.4, 0.4, len(x), dtype=torch.float64)

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate configurations, see eqcalc.runtime.evaluator.Evaluator."""
        arms = positions[:, self.first] - positions[:, self.second]
        lengths = arms.norm(dim=-1)
        pull = 5.0 * (self.lengths - lengths)
        pair_forces = (pull / lengths)[..., None] * arms
        forces = torch.zeros_like(positions)
        forces.index_add_(1, self.first, pair_forces)
        forces.index_add_(1, self.second, -pair_forces)
        results = {"energy": (0.1 * pull.square()).sum(dim=-1), "forces": forces}
        if "dipole" in quantities:
            results["dipole"] = (self.charges[:, None] * positions).sum(dim=1)
        return results


# --- what is run ----------------------------------------------------------------------


@dataclass(frozen=True)
class Task:
    """A calculation: how it is run in a folder, and what its results are.

    Parameters
    ----------
    run
        Runs or continues it.
    results
        Returns its results, as bytes or text by name.
    share
        Part of all kills.
    prepare
        Puts its input into a new folder.
    partial
        Checks what is there after a kill, against the results.
    """

    run: Callable[[Path], Any]
    results: Callable[[Path], dict[str, Any]]
    share: float
    prepare: Callable[[Path], None] = lambda folder: None
    partial: Callable[[Path, dict[str, Any]], None] = lambda folder, expected: None


def simulation(name: str) -> Task:
    """Return a simulation by one of the methods."""

    def run(folder: Path) -> None:
        simulate(
            ATOMS,
            Springs(),
            output=folder / "run.h5",
            temperature=300.0,
            timestep=0.5,
            steps=400,
            seed=1,
            equilibration=Equilibration(10.0),
            observables={"dipole": 1, "positions": 3, "temperature": 7},
            checkpoint_interval=0.01,
            progress=False,
            **RUNS[name],
        )

    return Task(run, lambda folder: series(folder / "run.h5"), 0.13, partial=first_frames)


def series(path: Path) -> dict[str, np.ndarray]:
    """Return the observables of a trajectory."""
    trajectory = Trajectory.open(path)
    return {name: trajectory.observable(name).values for name in trajectory.observables()}


def first_frames(folder: Path, expected: dict[str, np.ndarray]) -> None:
    """Raise unless a trajectory holds the first frames of the undisturbed one."""
    if (folder / "run.h5").exists():
        for name, values in series(folder / "run.h5").items():
            same(name, values, np.ascontiguousarray(expected[name][:, : values.shape[1]]))


def records(n: int) -> list[Record]:
    """Return displaced molecules with the labels of the springs."""
    rng, springs = np.random.default_rng(0), Springs()
    x = torch.from_numpy(ATOMS.positions + 0.05 * rng.normal(size=(n, len(ATOMS), 3)))
    found = {name: value.numpy() for name, value in springs(x, ("dipole",)).items()}
    return [
        Record(ATOMS.numbers, x[i].numpy(), {name: value[i] for name, value in found.items()})
        for i in range(n)
    ]


def prepare_training(folder: Path) -> None:
    """Write the data of a training."""
    Dataset.create(folder / "data.h5", records(40), level_of_theory="springs")


def training(folder: Path) -> None:
    """Train a very small network for six epochs of six steps."""
    settings = {
        "output": str(folder / "out"),
        "data": {"path": str(folder / "data.h5"), "training": 30, "validation": 6},
        "loss": {"energy": 0.1, "forces": 1.0, "dipole": 0.1},
        "model": {"representation": {"name": "painn", "features": 8, "layers": 1}},
        "optimizer": {"batch_size": 5},
        "stopping": {"epochs": 6, "patience": None},
        "trainer": {"accelerator": "cpu"},
    }
    train(settings, progress=False)


def trained(folder: Path) -> dict[str, Any]:
    """Return the log without times, and the parameters of a training."""
    rows = [line.split(",") for line in (folder / "out" / "log.csv").read_text().splitlines()]
    hours = rows[0].index("hours")
    model = load_model(folder / "out" / "model.eqc")
    parameters = {name: value.numpy() for name, value in model.state_dict().items()}
    log = [",".join(row[:hours] + row[hours + 1 :]) for row in rows]
    return {"log": "\n".join(log), "epochs": model.metadata["training"]["epochs"], **parameters}


def labelling(folder: Path) -> None:
    """Label forty geometries in this process."""
    method = LennardJones(sigma=1.2, epsilon=0.1)
    label(records(40), method, folder / "set.h5", level_of_theory="LJ", progress=False)


def labelled(folder: Path) -> dict[str, Any]:
    """Return the arrays of a dataset."""
    dataset = Dataset.open(folder / "set.h5")
    values, _ = dataset.labels(range(len(dataset)))
    positions = dataset.structures(range(len(dataset))).positions.numpy()
    return {"positions": positions, **{name: value.numpy() for name, value in values.items()}}


def prepare_conversion(folder: Path) -> None:
    """Write an npz archive."""
    found = records(300)
    arrays = {"E": "energy", "F": "forces"}
    np.savez(
        folder / "set.npz",
        z=ATOMS.numbers,
        R=np.stack([record.positions for record in found]),
        **{key: np.stack([r.labels[name] for r in found]) for key, name in arrays.items()},
    )


def conversion(folder: Path) -> None:
    """Convert the archive, replacing the target."""
    convert(
        folder / "set.npz",
        folder / "set.h5",
        level_of_theory="springs",
        units={"positions": "Å", "energy": "eV", "forces": "eV/Å"},
        overwrite=True,
        progress=False,
    )


def prepare_spectra(folder: Path) -> None:
    """Simulate what a spectrum is made of."""
    simulation("NVE").run(folder)


def spectra(folder: Path) -> None:
    """Run ``eqcalc spectra``."""
    options = ["--output", str(folder / "spectra"), "--resolution", "300", "--quiet"]
    status = command(["spectra", str(folder / "run.h5"), *options])
    if status:
        raise SystemExit(status)


def spectrum(folder: Path) -> dict[str, Any]:
    """Return all spectra of a folder."""
    found = {}
    for path in sorted((folder / "spectra").glob("*.h5")):
        read = read_spectrum(path)
        found |= {f"{path.name} values": read.values, f"{path.name} x": read.wavenumber}
    assert found
    return found


def prepare_ipi(folder: Path) -> None:
    """Write an input of i-PI."""
    write_input(
        folder / "input.xml",
        shipped_model(),
        method="NVE",
        steps=60,
        atoms=ATOMS,
        timestep=0.5,
        strides=Strides(spectra=1, energies=5, centroid=5, checkpoint=7),
    )


def ipi(folder: Path) -> None:
    """Run ``eqcalc ipi run``, which ends the process."""
    raise SystemExit(command(["ipi", "run", str(folder / "input.xml")]))


def ipi_outputs(folder: Path) -> dict[str, Any]:
    """Return the observables of a run of i-PI."""
    with contextlib.redirect_stdout(None):
        return series(eqcalc.read_run(folder, folder.parent / f"{folder.name}-read.h5").path)


def compilation(folder: Path) -> None:
    """Compile kernels and load them."""
    os.environ["EQCALC_CACHE"] = str(folder / "cache")
    cpp_compiler.kernel_library(torch.float32)


def compiled(folder: Path) -> dict[str, Any]:
    """Return how many intact libraries there are, which is one."""
    os.environ["EQCALC_CACHE"] = str(folder / "cache")
    found = cpp_compiler.find(cpp_compiler.library_key(torch.float32), ".so")
    while left_over(folder):  # compilers that go on without their killed parent
        time.sleep(0.5)
        cpp_compiler.find(cpp_compiler.library_key(torch.float32), ".so")
    return {"libraries": int(found is not None)}


# kernels are compiled without optimisation, in a third of the time
kernel_build.FLAGS = tuple(flag.replace("-O3", "-O0") for flag in kernel_build.FLAGS)

TASKS = {
    **{f"simulate {name}": simulation(name) for name in RUNS},
    "train": Task(training, trained, 0.13, prepare_training),
    "label": Task(labelling, labelled, 0.14),
    "convert": Task(conversion, labelled, 0.12, prepare_conversion),
    "spectra": Task(spectra, spectrum, 0.08, prepare_spectra),
    "ipi run": Task(ipi, ipi_outputs, 0.08, prepare_ipi),
    "compile": Task(compilation, compiled, 0.06),
}


# --- how it dies ----------------------------------------------------------------------


def die_while_writing(call: int, fraction: float, number: int) -> None:
    """Arrange for a signal inside of the `call`-th system call that changes a file."""
    left = [call]
    write, sync, rename = os.pwrite, os.fsync, Path.replace

    def counted(action: Callable[[], object], last_words: Callable[[], object]) -> object:
        left[0] -= 1
        if left[0] == 0:
            if number == signal.SIGKILL:
                last_words()
            os.kill(os.getpid(), number)
        return action()

    def pwrite(descriptor: int, data: memoryview, place: int) -> object:
        words = len(data) // 8  # which are written whole
        part = bytes(data)[: 8 * int(fraction * words)]
        return counted(
            lambda: write(descriptor, data, place), lambda: write(descriptor, part, place)
        )

    def fsync(descriptor: int) -> object:
        return counted(lambda: sync(descriptor), lambda: None)

    def replace(self: Path, target: Path) -> object:
        after = fraction > 0.5
        return counted(
            lambda: rename(self, target), lambda: rename(self, target) if after else None
        )

    os.pwrite, os.fsync, Path.replace = pwrite, fsync, replace  # type: ignore[assignment]


def start(task: Task, folder: Path, prepare: Callable[[], None] = lambda: None) -> int:
    """Run in a process of its own; return its number.

    This process must stay without threads to be forked safely, so it computes nothing.
    """
    waiting = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
        return child
    code = 1
    try:
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        torch.set_num_threads(1)
        with terminable():
            signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
            prepare()
            task.run(folder)
        code = 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; return its exit status, or minus the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def attempt(task: Task, folder: Path, duration: float, rng: random.Random) -> str | None:
    """Run in a process that is stopped; return by which signal, or None if it has ended."""
    number = rng.choices(list(SIGNALS), list(SIGNALS.values()))[0]
    if rng.random() < 0.4:
        call, fraction = int(rng.expovariate(1 / 20)) + 1, rng.random()
        child = start(task, folder, lambda: die_while_writing(call, fraction, number))
    else:
        child = start(task, folder)
        time.sleep(rng.uniform(0.0, 1.1 * duration))
        os.kill(child, number)
    status = ended(child)
    if status == 0:
        return None
    if status not in (-number, STATUSES.get(number)) or status == -signal.SIGTERM:
        log = (folder / "log").read_text(errors="replace")
        raise AssertionError(f"ended with status {status} after signal {number}:\n{log[-3000:]}")
    return signal.Signals(number).name


def same(name: str, found: Any, expected: Any) -> None:
    """Raise unless two results are the same, bit for bit."""
    if isinstance(expected, np.ndarray):
        equal = found.shape == expected.shape and found.tobytes() == expected.tobytes()
    else:
        equal = found == expected
    if not equal:
        where = ""
        if isinstance(expected, np.ndarray) and found.shape == expected.shape:
            places = np.argwhere(found != expected)
            where = f" at {len(places)} places from {places[:1].tolist()} on, by at most "
            where += f"{np.abs(found - expected).max():.1e}"
        if isinstance(expected, str):
            lines = zip(found.splitlines(), expected.splitlines(), strict=False)
            where = f": {next(((a, b) for a, b in lines if a != b), 'in length')}"
        raise AssertionError(f"{name} differs from the undisturbed run{where}")


def left_over(folder: Path) -> list[str]:
    """Return temporary files, locks and journals in a folder and below."""
    parts = (".partial-", ".lock", ".journal", ".geometries")
    names = [path.name for path in folder.rglob("*")]
    return [name for name in names if any(part in name for part in parts)]


def kill_runs(name: str, kills: int, folder: Path, rng: random.Random) -> dict[str, Any]:
    """Kill a calculation at least `kills` times; return what was counted."""
    task, counted, faults, runs = TASKS[name], Counter[str](), [], 0
    began = time.monotonic()
    reference = folder / f"{name} undisturbed"
    reference.mkdir()
    prepared = folder / f"{name} prepared"
    prepared.mkdir()
    child = start(Task(task.prepare, task.results, 0.0), prepared)
    assert ended(child) == 0, (prepared / "log").read_text()
    (prepared / "log").unlink()
    shutil.copytree(prepared, reference, dirs_exist_ok=True)
    start_time = time.monotonic()
    status = ended(start(task, reference))
    duration = time.monotonic() - start_time
    assert status == 0, (reference / "log").read_text()
    expected = task.results(reference)
    while sum(counted.values()) < kills:
        runs += 1
        place = folder / f"{name} {runs}"
        shutil.copytree(prepared, place)
        try:
            while how := attempt(task, place, duration, rng):
                counted[how] += 1
                task.partial(place, expected)
            found = task.results(place)
            assert found.keys() == expected.keys()
            for key, value in expected.items():
                same(key, found[key], value)
            if left := left_over(place):
                raise AssertionError(f"left behind: {left}")
        except Exception as error:
            faults.append(f"run {runs}: {error}")
            counted["faulty"] += 1
        shutil.rmtree(place)
    faulty = counted.pop("faulty", 0)
    return {
        "kills": dict(counted),
        "runs": runs,
        "faulty runs": faulty,
        "faults": faults[:5],
        "seconds": round(time.monotonic() - began, 1),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="record (.json), of several calls")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        raise SystemExit("set OMP_NUM_THREADS=1: a process with threads cannot be forked safely")
    total = sum(TASKS[name].share for name in options.tasks)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.tasks:
            kills = max(1, round(options.kills * TASKS[name].share / total))
            found = kill_runs(name, kills, Path(folder), rng)
            sys.stdout.write(f"{name}: {found}\n")
            sys.stdout.flush()
            summary = record(options.output, {name: found})
    sys.stdout.write(f"{json.dumps(summary['kills'])}, faulty runs: {summary['faulty runs']}\n")
    raise SystemExit(summary["faulty runs"] > 0)


def record(path: Path | None, found: dict[str, Any]) -> dict[str, Any]:
    """Add results to those in a file, and return the summary."""
    before = json.loads(path.read_text()) if path is not None and path.exists() else _results
    _results["by calculation"] = {**before.get("by calculation", {}), **found}
    tasks = _results["by calculation"].values()
    summary = {
        "command": "OMP_NUM_THREADS=1 nice -n 15 python workflows/robustness/kill.py --output FILE",
        "eqcalc": eqcalc.__version__,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "kills": dict(sum((Counter(task["kills"]) for task in tasks), Counter())),
        "runs": sum(task["runs"] for task in tasks),
        "faulty runs": sum(task["faulty runs"] for task in tasks),
        "seconds": round(sum(task["seconds"] for task in tasks), 1),
        **_results,
    }
    if path is not None:
        path.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    return summary


if __name__ == "__main__":
    main()
