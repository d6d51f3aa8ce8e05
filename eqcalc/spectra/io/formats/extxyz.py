# SPDX-License-Identifier: MIT
"""A quantity of every frame of an extended XYZ file."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqcalc.files import text_lines
from eqcalc.spectra.io.formats.base import SeriesReader, check_even, check_unrepeated, matrices
from eqcalc.validation import InvalidFileError, numbers_in
from eqcalc.xyz_files import stated_units

#: Keys of the comment line that number frames: with the time, or counted.
_TIMES = re.compile(r"(?:simulation_?)?time(?:_?(fs|ps|ns))?", re.IGNORECASE)
_STEPS = re.compile(r"(?:md_?|time_?)?(?:step|frame)", re.IGNORECASE)
#: key=value, key="value" or key={value}. A key begins after a blank, a quotation mark or a brace:
#: the time grows with the length of the line, not its square.
_PAIR = re.compile(r"""(?:(?<=[\s"'}])|^)([^\s="']+)\s*=\s*("[^"]*"|'[^']*'|\{[^{}]*\}|\S*)""")


class ExtxyzReader(SeriesReader):
    """``"dipole"``, ``"polarizability"`` or another key of the comment line.

    The key of the time or step, which must have equal increments, is by default a common name for
    it.
    """

    name = "extxyz"
    key = "key"
    has_time_key = True

    def read_file(self, path: Path, key: str, time_key: str | None) -> np.ndarray:
        """Return the quantity `key` of the comment lines."""
        frames: list[list[float]] = []
        times: list[float] = []
        for index, comment in enumerate(_comments(path)):
            pairs = dict(_PAIR.findall(comment))
            if key not in pairs:
                raise InvalidFileError(
                    f"no {key!r}; there are: {', '.join(sorted(pairs)) or 'none'}",
                    key=f"frame {index}",
                )
            place = f"frame {index}, {key}"
            frames.append(numbers_in(re.sub(r"_JSON|[\[\]{}\"',]", " ", pairs[key]), place))
            if index == 0:
                texts = {name: text.strip("\"'{}") for name, text in pairs.items()}
                units = [
                    f"({unit})"  # which may be a single letter
                    for name, unit in stated_units(texts).items()
                    if name.lower() in key.lower()
                ]
            if time_key is None and index == 0:
                time_key = next((k for k in pairs if _TIMES.fullmatch(k)), None) or next(
                    (k for k in pairs if _STEPS.fullmatch(k)), None
                )
            if time_key is not None:
                try:
                    times += numbers_in(pairs[time_key].strip("\"' "))
                except (KeyError, InvalidFileError):
                    raise InvalidFileError(
                        key=f"frame {index}, {time_key}",
                        expected="the time or step",
                        value=pairs.get(time_key),
                    ) from None
        sizes = sorted({len(frame) for frame in frames})
        if sizes not in ([3], [6], [9]):
            raise InvalidFileError(key=key, expected="3, 6 or 9 numbers per frame", value=sizes)
        self.says_unit([*units, key], sizes[0], f"frame 0, {key}")
        if time_key is not None:
            step, slack = check_even(times, time_key)
            if _STEPS.fullmatch(time_key):
                self.says_steps(step, time_key)
            else:
                unit = _TIMES.fullmatch(time_key)
                self.says_interval(step, unit and unit.group(1), time_key, slack)
        return matrices(check_unrepeated(np.array(frames)))


def _comments(path: Path) -> Iterator[str]:
    """Return the comment lines of the frames of an extended XYZ file."""
    lines = text_lines(path)
    for frame, (number, line) in enumerate((n, text) for n, text in lines if text.strip()):
        if re.fullmatch("[0-9]{1,9}", line.strip()) is None:
            raise InvalidFileError(
                key=f"line {number}", value=line[:60], expected="the number of atoms of a frame"
            )
        frame_lines = [text for _, text in itertools.islice(lines, 1 + int(line))]
        if len(frame_lines) <= int(line) or any(len(text.split()) < 4 for text in frame_lines[1:]):
            raise InvalidFileError("truncated, or not extended XYZ", key=f"frame {frame}")
        yield frame_lines[0]
