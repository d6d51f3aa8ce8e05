# SPDX-License-Identifier: MIT
"""A quantity of every frame of an extended XYZ file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import iread

from eqcalc.spectra.io.formats.base import SeriesReader, check_even, check_unrepeated, matrices
from eqcalc.validation import InvalidFileError

#: Keys of the comment line that number frames.
_TIMES = ("time", "step", "timestep", "md_step", "frame")


class ExtxyzReader(SeriesReader):
    """``"dipole"``, ``"polarizability"`` or another key of the comment line.

    The key of the time or step, which must have equal increments, is by default a common name for
    it.
    """

    name = "extxyz"
    key = "key"
    has_time_key = True

    def read_file(self, path: Path, key: str, time_key: str | None) -> np.ndarray:
        """Return the quantity `key` of the comment lines, or of the results."""
        frames: list[np.ndarray] = []
        times = []
        for index, atoms in enumerate(_structures(path)):
            results = atoms.calc.results if atoms.calc is not None else {}
            value = atoms.info.get(key, results.get(key))
            if value is None:
                raise InvalidFileError(
                    f"no {key!r}; there are: {', '.join(sorted({*atoms.info, *results}))}",
                    key=f"frame {index}",
                )
            frames.append(np.asarray(value, dtype=float).ravel())
            if time_key is None and index == 0:
                time_key = next((k for k in atoms.info if k.lower() in _TIMES), None)
            if time_key is not None:
                try:
                    times.append(float(atoms.info[time_key]))
                except (KeyError, TypeError, ValueError):
                    raise InvalidFileError(
                        key=f"frame {index}, {time_key}",
                        expected="the time or step",
                        value=atoms.info.get(time_key),
                    ) from None
        sizes = sorted({len(frame) for frame in frames})
        if sizes not in ([3], [6], [9]):
            raise InvalidFileError(key=key, expected="3, 6 or 9 numbers per frame", value=sizes)
        if times:
            check_even(times, str(time_key))
        return matrices(check_unrepeated(np.array(frames)))


def _structures(path: Path) -> Iterator[Any]:
    """Return the frames of an extended XYZ file one by one."""
    index = 0
    try:
        for atoms in iread(str(path), index=":", format="extxyz"):
            yield atoms
            index += 1
    except UnicodeDecodeError:
        raise InvalidFileError(expected="extended XYZ (text)") from None
    except (ValueError, OSError, KeyError, IndexError) as error:
        text = f"truncated, or not extended XYZ ({error})"
        raise InvalidFileError(text, key=f"frame {index}") from None
