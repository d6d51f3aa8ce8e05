# SPDX-License-Identifier: MIT
"""Run the replicas of a simulation in parts, in several processes or on the workers of a cluster.

Random numbers and starting structure of a replica depend on its number alone, so that a part of
a run, of replicas 4 to 7 say, is the same in whatever process it is run, but for rounding where
that depends on the size of a batch. Each part is a trajectory of its own with checkpoints, in a
folder beside the output that all workers must see; what was run when a worker is lost is continued
by another one.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from eqcalc.dynamics.checkpoint import Checkpoint, checkpoint_path
from eqcalc.dynamics.setup import FIRST_REPLICA
from eqcalc.dynamics.state import VARIABLES, State
from eqcalc.files import exclusive, make_folder, write_record
from eqcalc.progress import advance, progress_bar
from eqcalc.trajectory import Trajectory, TrajectoryWriter, steps_written
from eqcalc.validation import InvalidFileError
from eqcalc.workers import Processes, map_unordered, parallelism

Settings = TypeVar("Settings")

#: Most replicas of a part: small enough for workers that come later to take some.
_LARGEST = 8
#: Time between looks at the trajectories, or at one that another task writes [s].
_EVERY = 1.0


def simulate_shards(
    run: Callable[[Settings, Path, range], object],
    settings: Settings,
    output: str | Path,
    *,
    replicas: int,
    steps: int,
    processes: Processes,
    progress: bool = True,
) -> Trajectory:
    """Run a simulation in parts, and join them; the same call resumes.

    Parameters
    ----------
    run
        ``run(settings, output, replicas)`` calls :func:`~eqcalc.dynamics.simulate` with this
        output and these replicas, a range. Defined at the top level of a module.
    settings
        Its first argument, sent to the workers.
    output
        Trajectory of all replicas; its parts are kept in ``<output>.shards`` until all are run.
        If it exists, it is checked or extended by `run`, in this process.
    replicas, steps
        Of the whole run.
    processes
        Single-threaded processes, or the address of a Dask scheduler.
    progress
        Show the progress.

    Raises
    ------
    InvalidFileError
        The folder has parts of another number of replicas, or is not seen by a worker.
    BlockingIOError
        Another process runs the same simulation.
    """
    output = Path(output).absolute()
    folder = output.with_name(output.name + ".shards")
    if output.exists():
        run(settings, output, range(replicas))
        shutil.rmtree(folder, ignore_errors=True)  # of a call that was killed at its very end
        return Trajectory.open(output)
    make_folder(folder)
    with exclusive(folder / ".lock"):
        size = _size(folder, replicas, processes)
        parts = {
            folder / f"{first}.h5": range(first, min(first + size, replicas))
            for first in range(0, replicas, size)
        }
        with _followed(parts, steps, progress):
            for _ in map_unordered(_run_part, (run, settings), list(parts.items()), processes):
                pass
        join(list(parts), output)
    shutil.rmtree(folder)
    return Trajectory.open(output)


def join(parts: Sequence[Path], output: Path) -> None:
    """Write the replicas of several trajectories, and of their checkpoints, as those of one run.

    Raises
    ------
    InvalidFileError
        A trajectory is not complete, or is of a run with other settings.
    """
    trajectories = [Trajectory.open(path) for path in parts]
    for part in trajectories:
        if not part.complete or _common(part.settings) != _common(trajectories[0].settings):
            raise InvalidFileError(
                "is not complete, or of another run", file=part.path, key="settings"
            )
    replicas = sum(part.n_replicas for part in trajectories)
    settings = {**_common(trajectories[0].settings), "replicas": replicas}
    header = replace(trajectories[0].header, n_replicas=replicas, settings=settings)
    checkpoints = [Checkpoint.read(checkpoint_path(path)) for path in parts]
    states = [one.state for one in checkpoints]
    variables: dict[str, Any] = {
        name: torch.cat([getattr(s, name) for s in states]) for name in VARIABLES
    }
    reference = {
        name: values if values.ndim == 0 else torch.cat([c.reference[name] for c in checkpoints])
        for name, values in checkpoints[0].reference.items()
    }
    state = State(**variables, step=states[0].step)
    Checkpoint(state, checkpoints[0].frames, reference, settings).write(checkpoint_path(output))
    TrajectoryWriter.join(output, header, trajectories)


def _common(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that all parts of a run have."""
    return {key: settings[key] for key in settings if key not in ("replicas", FIRST_REPLICA)}


def _size(folder: Path, replicas: int, processes: Processes) -> int:
    """Return the number of replicas of a part, that of an interrupted run if there is one."""
    record = folder / "shards.json"
    if not record.exists():
        size = min(_LARGEST, -(-replicas // parallelism(processes)))
        write_record(record, {"replicas": replicas, "size": size})
        return size
    found = json.loads(record.read_text(encoding="utf-8"))
    if found["replicas"] != replicas:
        raise InvalidFileError(
            f"has the parts of a run of {found['replicas']} replicas",
            file=folder,
            key="replicas",
            value=replicas,
            advice="finish that run, or remove the folder to start again",
        )
    return int(found["size"])


def _run_part(
    work: tuple[Callable[[Settings, Path, range], object], Settings], part: tuple[Path, range]
) -> None:
    run, settings = work
    path, replicas = part
    if not (path.parent / "shards.json").exists():
        raise InvalidFileError(
            "is not seen by a worker", file=path.parent, advice="choose a folder that all share"
        )
    while True:
        try:
            run(settings, path, replicas)
            return
        except BlockingIOError:  # a task of a call that was interrupted still runs
            time.sleep(_EVERY)


@contextmanager
def _followed(parts: Mapping[Path, range], steps: int, progress: bool) -> Iterator[None]:
    """Show how many steps of all replicas are done, as the trajectories grow."""
    if not progress:  # no trajectory need be opened
        yield
        return
    done = threading.Event()
    replicas = sum(map(len, parts.values()))

    def written() -> int:
        return sum(len(numbers) * steps_written(path) for path, numbers in parts.items())

    def follow(bar: Any) -> None:
        while not done.wait(_EVERY):
            advance(bar, written())

    with progress_bar(
        total=replicas * steps,
        initial=written(),
        desc=f"{replicas} replicas in {len(parts)} parts",
        unit="steps",
    ) as bar:
        thread = threading.Thread(target=follow, args=(bar,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
