# SPDX-License-Identifier: MIT
"""Train over a grid of models, targets, sizes and seeds, with one table of results."""

from __future__ import annotations

import copy
import csv
import io
import itertools
import math
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.files import make_folder, write_atomically
from eqcalc.training.config import TrainingConfig
from eqcalc.training.data import split_dataset
from eqcalc.training.fit import train
from eqcalc.training.run_folder import RunFolder, hardware, require_start
from eqcalc.training.settings import read_yaml, require, section_of
from eqcalc.training.template import open_dataset
from eqcalc.validation import InvalidFileError, located, one_of


def source_commit() -> str:
    """Return the commit of the source, with a plus if the package has uncommitted changes.

    "unknown" if it is not a git checkout.
    """
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def how_made(device: torch.device | str = "cpu", *, seed: int = 0) -> str:
    """Return one line about the running script: command, seed, commit, versions, hardware."""
    return (
        f"python {shlex.join(sys.argv)}; seed {seed}; commit {source_commit()}; "
        f"torch {torch.__version__}; {hardware(device)}"
    )


#: Columns of the table besides the axes.
COLUMNS = (
    *("quantity", "unit", "mae", "rmse", "n", "parameters", "epochs", "hours"),
    *("hardware", "commit", "command"),
)


@dataclass(frozen=True)
class Run:
    """One combination: its label on each axis, and its settings without the output folder."""

    labels: Mapping[str, str]
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder."""
        return "/".join(label.replace(" ", "-") for label in self.labels.values())


@dataclass(frozen=True)
class Sweep:
    """Common settings, and, by axis and label, the settings that differ, by dotted key.

    Paths are relative to `folder`.
    """

    base: Mapping[str, Any]
    axes: Mapping[str, Mapping[str, Mapping[str, Any]]]
    folder: Path

    @classmethod
    def read(cls, path: str | Path) -> Sweep:
        """Read a YAML file and check the settings of every training."""
        path = Path(path)
        settings = read_yaml(path)
        with located(file=path):
            if not isinstance(settings, dict) or set(settings) != {"base", "axes"}:
                raise InvalidFileError(expected="the sections base and axes", value=settings)
            base, axes = settings["base"], _axes(settings["axes"])
            require(isinstance(base, Mapping), "base", "a mapping of settings", base)
            expected = "no folder, which is that of eqcalc sweep --output"
            require("output" not in base, "base.output", expected, base.get("output"))
            found = cls(base, axes, path.parent)
            for run in found.runs():
                with located(section=run.name):
                    found.config(run, Path("none"))
        return found

    def runs(self) -> Iterator[Run]:
        """Yield all combinations, the last axis varying fastest."""
        for choice in itertools.product(*self.axes.values()):
            labels = dict(zip(self.axes, choice, strict=True))
            settings: dict[str, Any] = copy.deepcopy(dict(self.base))
            for axis, label in labels.items():
                # copied, since other axes may modify them
                for key, value in copy.deepcopy(dict(self.axes[axis][label])).items():
                    section, last = section_of(settings, key)
                    if isinstance(value, Mapping) and isinstance(section.get(last), dict):
                        section[last] |= value
                    else:
                        section[last] = value
            yield Run(labels, settings)

    def selected(self, only: Mapping[str, Sequence[str]]) -> list[Run]:
        """Return the combinations whose labels are among those of `only`; see :func:`sweep`."""
        for axis, labels in only.items():
            for label in labels:
                one_of(f"only.{axis}", label, self.axes[one_of("only", axis, self.axes)])
        return [
            run
            for run in self.runs()
            if all(run.labels[axis] in labels for axis, labels in only.items())
        ]

    def config(self, run: Run, output: Path) -> TrainingConfig:
        """Return the settings of one training into its folder below `output`."""
        settings = {**run.settings, "output": str((output / run.name).resolve())}
        return TrainingConfig.from_settings(settings, folder=self.folder)


def sweep(
    settings: Sweep | str | Path,
    output: str | Path,
    *,
    command: str,
    only: Mapping[str, Sequence[str]] | None = None,
    progress: bool = True,
) -> Path:
    """Train all unfinished combinations, and write the table.

    Parameters
    ----------
    settings
        The sweep or its YAML file.
    output
        Folder of the trainings and of ``results.csv``.
    command
        The command, recorded in the table.
    only
        Labels to train, by axis; by default all. Rows of other combinations remain in the
        table, so that parts of a sweep can run in parallel or on several machines.
    progress
        Show the progress.

    Returns
    -------
    Path
        The table, updated after every training.

    Raises
    ------
    InvalidInputError
        `only` contains an unknown axis or label, or a training has invalid settings.
    """
    settings = settings if isinstance(settings, Sweep) else Sweep.read(settings)
    runs = settings.selected(only or {})
    output = Path(output)
    make_folder(output)
    table = output / "results.csv"
    commit = source_commit()  # of the source as loaded now
    for run in runs:
        config = settings.config(run, output)
        noted = config.output / "commits.txt"
        with located(section=run.name):
            _require_data(config)
            if not RunFolder(config).finished():
                _note(noted, commit)
            result = train(config, progress=progress)
        if result.finished:
            commits = " ".join(noted.read_text(encoding="utf-8").split())
            made = {"hardware": result.record["hardware"], "commit": commits, "command": command}
            _update(table, settings, run, _rows(result.record, made))
    return table


def _rows(record: Mapping[str, Any], made: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the errors of a training as table rows, without the axis labels."""
    how = {"parameters": record["parameters"], "epochs": record["epochs"], **made}
    how["hours"] = round(record["hours"], 4)
    return [
        {**row, **{key: f"{row[key]:.6g}" for key in ("mae", "rmse")}, **how}
        for row in record["test"]
    ]


def summary(table: str | Path) -> list[dict[str, Any]]:
    """Average the errors of a table over the axis ``seed``.

    Returns
    -------
    list of dict
        The other axes, ``quantity``, ``unit``, mean ``mae``, its standard deviation ``spread``
        over the seeds (NaN for a single run), and ``runs``.
    """
    with Path(table).open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    groups: dict[tuple[tuple[str, str], ...], list[float]] = {}
    for row in rows:
        axes = [key for key in row if key not in COLUMNS and key != "seed"]
        key = tuple((name, row[name]) for name in (*axes, "quantity", "unit"))
        groups.setdefault(key, []).append(float(row["mae"]))
    return [
        {
            **dict(key),
            "mae": float(np.mean(values)),
            "spread": float(np.std(values, ddof=1)) if len(values) > 1 else math.nan,
            "runs": len(values),
        }
        for key, values in groups.items()
    ]


def summary_text(table: str | Path) -> str:
    """Return :func:`summary` as a table in Markdown."""
    rows = summary(table)
    if not rows:
        return "no results yet"
    axes = [key for key in rows[0] if key not in {"mae", "spread", "runs"}]
    lines = [
        "| " + " | ".join([*axes, "MAE", "± over seed", "runs"]) + " |",
        "|" + "---|" * (len(axes) + 3),
    ]
    for row in rows:
        numbers = [f"{row['mae']:.4g}", f"{row['spread']:.2g}", str(row["runs"])]
        lines.append("| " + " | ".join([*(row[axis] for axis in axes), *numbers]) + " |")
    return "\n".join(lines)


def _axes(axes: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the axes of a file, checked, with names converted to text."""
    require(isinstance(axes, Mapping) and len(axes) > 0, "axes", "a mapping of axes", axes)
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for axis, choices in axes.items():
        key, expected = f"axes.{axis}", "labels with the settings of each"
        require(isinstance(choices, Mapping) and len(choices) > 0, key, expected, choices)
        found[str(axis)] = {}
        for label, stated in choices.items():
            where = f"{key}.{label}"
            values = {} if stated is None else stated
            whole = isinstance(values, Mapping) and all(isinstance(name, str) for name in values)
            require(whole, where, "settings such as {data.training: 100}", values)
            a_name = "/" not in str(label) and str(label) not in {"", ".", ".."}
            require(a_name, where, "a label that can name a folder", label)
            found[str(axis)][str(label)] = dict(values)
        require(len(found[str(axis)]) == len(choices), key, "labels that differ", list(choices))
    return found


def _require_data(config: TrainingConfig) -> None:
    """Reject a training whose files are missing or that has no test structures."""
    require_start(config)
    n = len(split_dataset(open_dataset(config.data.path), config.data).test)
    require(n > 0, "data.test", "test structures, by which a sweep judges its models", n)


def _note(path: Path, commit: str) -> None:
    """Append a commit to those a training has run with, unless it is the last one."""
    known = path.read_text(encoding="utf-8").split() if path.exists() else []
    if known[-1:] != [commit]:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "\n".join([*known, commit]) + "\n")


def _update(path: Path, sweep: Sweep, run: Run, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the rows of a run in the table; rows of other runs are unchanged."""
    kept: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                kept.setdefault(tuple(row.get(axis, "") for axis in sweep.axes), []).append(row)
    kept[tuple(run.labels.values())] = [{**run.labels, **row} for row in rows]
    text = io.StringIO()
    columns = [*sweep.axes, *COLUMNS]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for one in sweep.runs():
        writer.writerows(kept.get(tuple(one.labels.values()), []))
    write_atomically(path, text.getvalue())
