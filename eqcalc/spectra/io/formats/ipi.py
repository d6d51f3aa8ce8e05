# SPDX-License-Identifier: MIT
"""The extras that i-PI writes for each bead, such as ``simulation.dip_00``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.files import text_lines
from eqcalc.spectra.io.formats.base import SeriesReader, check_even, matrices
from eqcalc.validation import InvalidFileError, located, numbers_in

_HEADER = re.compile(r"#\s*EXTRAS\w*\s*\(([^()]*)\)#\s*Step:\s*(\d{1,15})(?!\d)", re.IGNORECASE)


class IPIReader(SeriesReader):
    """The mean over the beads of one ring polymer; one file of a classical simulation."""

    name = "i-pi"

    def read(self, paths: Sequence[Path], key: Any, time_key: Any) -> dict[str, np.ndarray]:
        """Return the mean over the beads."""
        name = str(paths[0]) if len(paths) == 1 else f"mean of {paths[0]} … {paths[-1]}"
        beads: list[np.ndarray] = []
        first: list[int] | None = None
        found: dict[bytes, Path] = {}
        for path in paths:
            with located(file=path):
                steps, values, header = _read_bead(path)
                step, _ = check_even(steps, "step")
                self.says_steps(step, "step")
                self.says_unit([header], values.shape[1], "header")
                if first is not None and steps != first:
                    raise InvalidFileError(f"its steps differ from those of {paths[0]}")
                same = found.setdefault(hashlib.blake2b(values.tobytes()).digest(), path)
                if same != path and np.ptp(values, axis=0).any():
                    raise InvalidFileError(
                        f"the same numbers as in {same}", advice="give the file of each bead"
                    )
            first = steps
            beads.append(values)
        return {name: matrices(sum(beads[1:], start=beads[0]) / len(beads))}


def _read_bead(path: Path) -> tuple[list[int], np.ndarray, str]:
    """Return the steps, ``[n_frames, 3 or 9]``, and the last header."""
    last = ""
    steps: list[int] = []
    frames: list[list[float]] = []
    for _, line in text_lines(path):
        header = _HEADER.search(line)
        if header is not None:
            steps.append(int(header.group(2)))
            last = line
            frames.append([])
        elif line.strip() and not line.lstrip().startswith("#"):
            if not frames:
                raise InvalidFileError("numbers before the first #EXTRAS header")
            frames[-1] += numbers_in(re.sub(r"[\[\],]", " ", line), f"step {steps[-1]}")
    sizes = sorted({len(frame) for frame in frames})
    if sizes not in ([3], [9]):
        raise InvalidFileError(
            key="numbers per step",
            value=sizes,
            expected="3 or 9",
            advice="the file may be truncated",
        )
    return steps, np.array(frames), last
