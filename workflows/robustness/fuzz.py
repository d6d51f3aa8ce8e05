# SPDX-License-Identifier: MIT
"""Damaged and wrong files for every reader: none may hang, crash, fill the memory or pass.

    python workflows/robustness/fuzz.py --output workflows/robustness/results/fuzz.json

Valid files (:mod:`fuzz_targets`) are changed blindly (bytes flipped, cut, spliced, repeated,
numbers replaced by extremes) or with knowledge of their structure (keys, shapes, types,
attributes). Each is read in a process of its own with limits of time and memory. Input `i` of a
reader and a seed is always the same.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # tests have files of other programs
sys.path.insert(0, str(Path(__file__).parent))
from fuzz_changes import changed
from fuzz_targets import BOUNDS, POSITIVE, Target, make_targets

from eqcalc import hdf5
from eqcalc.validation import InvalidInputError

#: Time of one input [s]: of the processor, and in all.
CPU_TIME, TIME = 10, 60
#: Memory of one input above that of the modules [bytes].
MEMORY = 2**30
#: Inputs of one task.
PIECE = 10
#: Shares of inputs of targets whose reader writes a dataset, or starts a process for HDF5 files
#: that are not sealed.
SHARES = {
    **{f"dataset of {name}": 0.03 for name in ("extxyz", "npz", "ASE db", "outputs", "QM9")},
    **dict.fromkeys(("schnetpack", "dataset (hdf5)", "trajectory (hdf5)"), 0.1),
    **dict.fromkeys(("spectrum.h5 (hdf5)", "raman (hdf5)"), 0.1),
}
#: What must not happen.
FAULTS = (
    "no file named",
    "other error",
    "hang",
    "memory",
    "signal",
    "changed bytes accepted",
    "out of bounds",
)


def is_sealed(path: Path) -> bool:
    """Return whether the seal of a file of eqcalc fits its content."""
    return hdf5._damage(path) is None


def out_of_bounds(target: Target, path: Path) -> str:
    """Read a file; return what it accepted beyond physical bounds, or an empty text."""
    found = ""
    for name, values in target.read(path):
        array = np.asarray(values, dtype=float)
        if not array.size or found:
            continue
        bound = BOUNDS.get(name, BOUNDS["values"])
        if not np.isfinite(array).all() or np.abs(array).max() > bound:
            found = f"{name}: {array.ravel()[np.argmax(~(np.abs(array.ravel()) <= bound))]:g}"
        elif name in POSITIVE and array.min() < 0.0:
            found = f"{name}: {array.min():g}"
    return found


def attempt(target: Target, path: Path, is_changed: bool) -> dict[str, Any]:
    """Read a file; return what came of it."""
    try:
        beyond = out_of_bounds(target, path)
    except InvalidInputError as error:
        told = {"text": str(error)[:300], "type": type(error).__name__}
        if error.file is None and str(path) not in str(error):
            return {"result": "no file named", **told}
        return {"result": "refused" if error.key else "refused, of the whole file", **told}
    except MemoryError as error:
        return {"result": "memory", "text": str(error)[:300]}
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        text = f"{type(error).__name__}: {error}"[:300]
        return {"result": "other error", "text": f"{text} ({place})"}
    if beyond and (target.kind in ("text", "json", "yaml", "xml") or not target.sealed):
        return {"result": "out of bounds", "text": beyond}
    if target.sealed and is_changed:
        return {"result": "changed bytes accepted"}
    return {"result": "accepted"}


def in_a_process(target: Target, path: Path, is_changed: bool) -> dict[str, Any]:
    """Read a file in a process of its own, with limits of time and memory."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        os.close(reading)
        code = 1
        try:
            os.setpgid(0, 0)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(TIME)
            used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEMORY, used + 2 * MEMORY))
            resource.setrlimit(resource.RLIMIT_CPU, (CPU_TIME, CPU_TIME + 1))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.process_time()
            os.chdir(path.parent)
            warnings.simplefilter("ignore")
            found = attempt(target, path, is_changed)
            found["cpu"] = time.process_time() - start
            found["memory"] = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
            os.write(writing, json.dumps(found).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        told = stream.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        number = signal.Signals(os.WTERMSIG(status))
        kind = "hang" if number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGKILL) else "signal"
        return {"result": kind, "text": number.name}
    found = json.loads(told) if told else {"result": "signal", "text": "no answer"}
    if found.get("memory", 0) > MEMORY:
        found["result"] = "memory"
    return dict(found)


def read_valid(target: Target, folder: Path) -> None:
    """Read the valid files, which are accepted; what a reader imports is imported once then."""
    for number, seed in enumerate(target.seeds):
        place = folder / f"{target.name}-{number}"
        place.mkdir()
        path = place / f"a{target.suffix}"
        path.write_bytes(seed)
        beyond = out_of_bounds(target, path)
        assert not beyond, (target.name, beyond)


def some(target: Target, seed: int, indices: Sequence[int], keep: Path | None) -> list[Any]:
    """Return what came of inputs of a reader."""
    results = []
    for index in indices:
        with tempfile.TemporaryDirectory(prefix="eqcalc-fuzz-") as folder:
            path = Path(folder) / f"a{target.suffix}"
            generator = np.random.default_rng([seed, index, *target.name.encode()])
            original, data, how = changed(target, generator)
            path.write_bytes(data)
            # a seal that was made anew belongs to a deliberate change
            is_changed = data != original and not (how == "hdf5" and is_sealed(path))
            found = in_a_process(target, path, is_changed)
            results.append({"reader": target.name, "index": index, "change": how, **found})
            if found["result"] in FAULTS and keep is not None:
                keep.mkdir(parents=True, exist_ok=True)
                name = f"{target.name}-{index}{target.suffix}".replace(" ", "_")
                (keep / name).write_bytes(data)
    return results


def run(
    n_inputs: int,
    seed: int = 0,
    names: Sequence[str] = (),
    keep: Path | None = None,
    processes: int = 1,
) -> dict[str, Any]:
    """Read damaged files; return counts of what came of them by reader, and the faults.

    Parameters
    ----------
    n_inputs
        Number of files in all.
    seed
        Random seed.
    names
        Readers to try; all by default.
    keep
        Folder for the files behind faults.
    processes
        Files read at a time.
    """
    with tempfile.TemporaryDirectory(prefix="eqcalc-fuzz-") as folder:
        targets = [t for t in make_targets(Path(folder)) if not names or t.name in names]
        for target in targets:
            read_valid(target, Path(folder))
    weights = np.array([SHARES.get(t.name, 1.0) for t in targets])
    # every reader has an input at least, and the one with most takes what is left
    shares = np.maximum((weights / weights.sum() * n_inputs).astype(int), 1)
    shares[np.argmax(shares)] += n_inputs - shares.sum()
    tasks = [
        (target, seed, range(first, min(first + PIECE, share)), keep)
        for target, share in zip(targets, shares.tolist(), strict=True)
        for first in range(0, share, PIECE)
    ]
    _TASKS[:] = tasks  # inherited by the processes: readers cannot be pickled
    results: list[dict[str, Any]] = []
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        for found in pool.map(_task, range(len(tasks))):
            results += found
            for result in found:
                if result["result"] in FAULTS:
                    print(json.dumps(result, ensure_ascii=False), flush=True)
            print(f"{len(results)} of {n_inputs}", flush=True)
    counts: dict[str, Counter[str]] = {target.name: Counter() for target in targets}
    for result in results:
        counts[result["reader"]][result["result"]] += 1
    whole = sum(counts.values(), Counter())
    return {
        "inputs": len(results),
        "seed": seed,
        "total": {name: whole[name] for name in ("accepted", "refused", *sorted(whole))},
        "faults": {name: whole[name] for name in FAULTS},
        "most processor time [s]": round(max(r.get("cpu", 0.0) for r in results), 2),
        "most memory [MB]": round(max(r.get("memory", 0) for r in results) / 1e6),
        "readers": {name: dict(sorted(count.items())) for name, count in counts.items()},
        "examples": [r for r in results if r["result"] in FAULTS][:200],
    }


_TASKS: list[Any] = []


def _task(number: int) -> list[Any]:
    return some(*_TASKS[number])


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="*", default=())
    parser.add_argument("--processes", type=int, default=1, help="files read at a time")
    parser.add_argument("--keep", type=Path, help="folder for the files behind faults")
    parser.add_argument("--output", type=Path, help="JSON file of the counts")
    options = parser.parse_args()

    found = run(options.inputs, options.seed, options.readers, options.keep, options.processes)
    text = json.dumps(found, indent=1, ensure_ascii=False)
    if options.output is not None:
        options.output.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(any(found["faults"].values()))


if __name__ == "__main__":
    main()
