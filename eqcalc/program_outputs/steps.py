# SPDX-License-Identifier: MIT
"""The printed output of a quantum-chemistry program, as labelled geometries.

An output is scanned once for the headings of its program, and a method for each heading reads what
follows. A geometry opens a step, and labels belong to the geometry printed before them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from eqcalc.units import conversion_factor

_DEBYE = conversion_factor("debye", "e*bohr")
#: A real number, perhaps with an exponent of Fortran's. It begins before all of its digits, so that
#: the time grows with the length of a text, not its square.
REAL = re.compile(r"(?:[-+]|(?<!\d))\d+\.\d*(?:[DEde][-+]?\d+)?")
#: Calculations of excited states, whose energy, forces and moments may be of different states.
_EXCITED = re.compile(r"\btd\w*\b|\bcis|%rocis|eom|root=", re.IGNORECASE)
_SAME_FORCES = 1e-4  # hartree/bohr, of one geometry that are printed twice
_HEAD = 8  # lines between a heading and its table, at most


@dataclass(eq=False)
class Step:
    """One geometry of an output and its labels in atomic units; None for what is not printed.

    Parameters
    ----------
    numbers, positions
        ``[n_atoms]`` and ``[n_atoms, 3]``, Å; no atoms if the geometry is not printed.
    charge, multiplicity
        Of the molecule or cell.
    cell, pbc
        Å.
    oriented
        Positions in the axes in which dipole moment and polarizability are printed, Å, if those
        are others than of the positions.
    origin
        Origin of the dipole moment in its axes, bohr; None for the centre of mass.
    energy, forces, dipole, polarizability
        hartree, hartree/bohr, e bohr, bohr³.
    stress
        hartree/bohr³, positive under tension.
    level
        Level of theory of the labels, as far as the output states it.
    fault
        Why the labels are not valid.
    """

    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    positions: np.ndarray = field(default_factory=lambda: np.empty((0, 3)))
    charge: int = 0
    multiplicity: int | None = None
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None
    oriented: np.ndarray | None = None
    origin: np.ndarray | None = None
    energy: float | None = None
    forces: np.ndarray | None = None
    dipole: np.ndarray | None = None
    polarizability: np.ndarray | None = None
    stress: np.ndarray | None = None
    level: str = ""
    fault: str = ""

    def labels(self) -> dict[str, np.ndarray | float]:
        """Return the labels that were printed."""
        names = ("energy", "forces", "dipole", "polarizability", "stress")
        return {name: value for name in names if (value := getattr(self, name)) is not None}


class Output:
    """The text of an output, of one calculation or of several.

    Attributes
    ----------
    name
        The program.
    signature
        Text among the first lines of its outputs.
    finished
        Text at the end of an output that is complete.
    headings
        Regular expressions without groups for the beginning of a line, and the method that reads
        what follows.
    """

    name: ClassVar[str]
    signature: ClassVar[str]
    finished: ClassVar[str]
    headings: ClassVar[dict[str, Callable[..., None]]]

    def __init__(self, text: str) -> None:
        self.text = text
        self.steps: list[Step] = []
        self.charge = 0
        self.multiplicity: int | None = None
        self.method = self.basis = ""
        self.details: list[str] = []
        readers = list(self.headings.values())
        pattern = "^(?:" + "|".join(f"({heading})" for heading in self.headings) + ")"
        for match in re.finditer(pattern, text, re.MULTILINE):
            readers[(match.lastindex or 1) - 1](self, match.end())

    @property
    def complete(self) -> bool:
        """Whether the program reached its end."""
        return self.finished in self.text[-20_000:]

    @property
    def step(self) -> Step:
        """The step that labels belong to."""
        if not self.steps:
            self.steps.append(Step())
        return self.steps[-1]

    @property
    def level(self) -> str:
        """The level of theory that was read so far."""
        named = "/".join(filter(None, [self.method, self.basis]))
        return " ".join([named, *sorted(self.details)])

    def _open(self, numbers: list[int], positions: np.ndarray) -> None:
        self.steps.append(Step(np.array(numbers), positions, self.charge, self.multiplicity))

    def _line(self, at: int) -> str:
        """Return what follows on the line."""
        return self.text[at : self._end(at)]

    def _end(self, at: int) -> int:
        end = self.text.find("\n", at)
        return len(self.text) if end < 0 else end

    def _lines(self, at: int) -> Iterator[str]:
        """Yield the lines after this one."""
        while (at := self._end(at) + 1) < len(self.text):
            yield self.text[at : self._end(at)]

    def _table(
        self, at: int, columns: slice = slice(-3, None)
    ) -> tuple[list[list[str]], np.ndarray]:
        """Return the words of the rows of the next table, and the numbers in three columns.

        There are none if the text ends within it. ValueError: a row is damaged.
        """
        rows: list[list[str]] = []
        values: list[list[float]] = []
        for number, line in enumerate(self._lines(at)):
            words = line.split()
            same = not rows or len(words) == len(rows[0])
            if same and len(words[columns]) == 3 and all(map(REAL.fullmatch, words[columns])):
                rows.append(words)
                values.append([real(word) for word in words[columns]])
            elif rows and -2 < len(words) - len(rows[0]) < 1 and REAL.search(line):
                raise ValueError(f"{line.strip()[:60]!r} after {' '.join(rows[-1])[:60]!r}")
            elif rows or number >= _HEAD:
                break
        else:
            return [], np.empty((0, 3))
        return rows, np.array(values).reshape(-1, 3)

    def _reals(self, at: int, n: int) -> np.ndarray:
        """Return the next `n` real numbers, which may touch each other."""
        found = REAL.finditer(self.text, at)
        return np.array([real(match.group()) for match, _ in zip(found, range(n), strict=False)])

    def _read_energy(self, at: int) -> None:
        self.step.energy = float(self._reals(at, 1)[0])
        self.step.level = self.level
        if _EXCITED.search(self.step.level):
            self.step.fault = "labels of excited states are not read"

    def _read_gradient(self, at: int) -> None:
        self._set_forces(-self._table(at)[1])

    def _set_forces(self, forces: np.ndarray) -> None:
        known = self.step.forces
        if known is not None and not np.allclose(known, forces, rtol=0.0, atol=_SAME_FORCES):
            self.step.fault = "it prints forces of several geometries after one"
        self.step.forces = forces

    def _read_dipole_debye(self, at: int) -> None:
        self.step.dipole = _DEBYE * self._reals(at, 3)

    def _read_failure(self, at: int) -> None:
        self.step.fault = "its self-consistent field did not converge"


def real(text: str) -> float:
    """Return a number with an exponent of C or Fortran."""
    return float(text.upper().replace("D", "E"))
