# SPDX-License-Identifier: MIT
"""Where a run of i-PI can go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eqcalc.ipi.description import Description, InputError


@dataclass(frozen=True)
class Checkpoint:
    """A file from which a run can go on."""

    path: Path
    description: Description

    @property
    def step(self) -> int:
        """Steps done."""
        return self.description.step


def find_checkpoints(folder: Path, description: Description) -> tuple[list[Checkpoint], list[str]]:
    """Return the checkpoints of a run, the latest first, and what is wrong with others.

    Parameters
    ----------
    folder
        Where the run writes.
    description
        Its input.
    """
    paths = [folder / "RESTART"]
    for output in description.outputs():
        if output.kind == "checkpoint":
            stem = (
                f"{description.prefix}.{output.filename}" if description.prefix else output.filename
            )
            paths += [folder / stem] if output.overwrite else sorted(folder.glob(f"{stem}_*"))
    found, broken = [], []
    for path in paths:
        if not path.is_file():
            continue
        try:
            candidate = Description.read(path)
            if not candidate.is_checkpoint:
                raise InputError(f"{path} holds no beads")
        except (InputError, UnicodeDecodeError) as error:
            broken.append(str(error))
            continue
        if candidate.prefix == description.prefix:
            found.append(Checkpoint(path, candidate))
    return sorted(found, key=lambda checkpoint: checkpoint.step, reverse=True), broken
