# SPDX-License-Identifier: MIT
"""Read the outputs of quantum-chemistry programs: one file, or a folder of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_masses

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.program_outputs import PROGRAMS, Output, Step, program_of
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, existing_directory, existing_file

_BOHR = conversion_factor("bohr", "Å")
#: Suffixes of outputs, among files of a folder that no program names itself in.
_SUFFIXES = (".out", ".log")
#: Geometries printed twice agree within this [Å].
_SAME = 1e-5


class OutputsReader:
    """Geometries and labels that CP2K, Gaussian, ORCA, Psi4 and Q-Chem have printed.

    Every geometry with labels is a structure, those of an optimisation too. Dipole moments and
    polarizabilities are turned into the axes of the positions, and dipole moments of ions are about
    the centre of mass. An output that ends early is reported, and keeps what precedes its last
    geometry.

    Parameters
    ----------
    path
        An output, or a folder of them at any depth.
    """

    keys: Mapping[str, str] = {
        name: name
        for name in ("energy", "forces", "dipole", "polarizability", "stress", "charge", "source")
    }
    units: Mapping[str, str] = {
        "positions": "Å",
        "energy": "hartree",
        "forces": "hartree/bohr",
        "dipole": "e*bohr",
        "polarizability": "bohr^3",
        "stress": "hartree/bohr^3",
    }

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if self.path.is_dir():
            files = sorted(file for file in self.path.rglob("*") if file.is_file())
        else:
            files = [existing_file(path, "the output of a program, or a folder of outputs")]
        self._steps: list[Step | FrameError] = []
        self._sources: list[str] = []
        for file in files:
            self._read(file)
        if not self._steps:
            existing_directory(self.path)
            expected = f"outputs of {', '.join(program.name for program in PROGRAMS)}"
            raise InvalidFileError("it has none", expected=expected, file=self.path)
        levels = Counter(step.level for step in self._steps if isinstance(step, Step))
        #: That of most structures.
        self.level_of_theory = levels.most_common(1)[0][0] if levels else ""

    def __len__(self) -> int:
        return len(self._steps)

    def __iter__(self) -> Iterator[Frame | FrameError]:
        for step, source in zip(self._steps, self._sources, strict=True):
            if isinstance(step, FrameError):
                yield step
            elif step.fault:
                yield FrameError(f"{source}: {step.fault}")
            elif step.oriented is not None and step.oriented.shape != step.positions.shape:
                yield FrameError(f"{source}: two orientations of different numbers of atoms")
            else:
                yield _frame(step, source)

    def _read(self, file: Path) -> None:
        """Append the steps of a file, and what is wrong with it."""
        name = file.name if file == self.path else file.relative_to(self.path).as_posix()
        program = program_of(file)
        found: list[Step | FrameError] = []
        if program is not None:
            found += _steps_of(program, file.read_text(encoding="utf-8", errors="replace"), name)
        elif file.suffix in _SUFFIXES or file == self.path:
            found += [FrameError(f"{name}: not recognised as the output of a program")]
        self._steps += found
        self._sources += [name] * len(found)


def _steps_of(program: type[Output], text: str, name: str) -> Iterator[Step | FrameError]:
    """Yield the steps of an output with labels, and what is wrong with it."""
    try:
        output = program(text)
    except (ValueError, LookupError) as error:
        yield FrameError(f"{name}: {program.name} printed what cannot be read ({error})")
        return
    steps: list[Step] = []
    for step in output.steps:
        if steps and _is_same_geometry(steps[-1], step):
            steps[-1] = _merged(steps[-1], step)
        else:
            steps.append(step)
    if not output.complete:
        yield FrameError(
            f"{name}: it ends before {program.name} does, without {program.finished!r}"
        )
        steps.pop() if steps else None
    usable = [step for step in steps if step.labels() or step.fault]
    if output.complete and not usable:
        yield FrameError(f"{name}: {program.name} printed neither an energy nor other labels")
    missing = next((step for step in usable if not len(step.numbers)), None)
    yield from (step for step in usable if len(step.numbers))
    if missing is not None:
        fault = missing.fault or "it has labels without positions"
        yield FrameError(f"{name}: {fault}")


def _merged(first: Step, second: Step) -> Step:
    """Return what is printed for one geometry at two places, the later where both have it."""
    printed = {name: value for name, value in vars(second).items() if value is not None}
    printed |= {name: getattr(second, name) or getattr(first, name) for name in ("level", "fault")}
    return replace(first, **printed)


def _is_same_geometry(one: Step, other: Step) -> bool:
    same_atoms = len(one.numbers) > 0 and np.array_equal(one.numbers, other.numbers)
    return same_atoms and np.allclose(one.positions, other.positions, rtol=0.0, atol=_SAME)


def _frame(step: Step, source: str) -> Frame:
    """Return a step as a structure whose labels are in the axes of its positions."""
    labels: dict[str, Any] = step.labels()
    rotation = np.eye(3)
    oriented = step.positions if step.oriented is None else step.oriented
    if step.oriented is not None:
        rotation = _rotation(step.oriented, step.positions)
    if step.dipole is not None:
        if step.origin is not None:
            masses = atomic_masses[step.numbers]
            center = masses @ oriented / masses.sum() / _BOHR
            labels["dipole"] = step.dipole - step.charge * (center - step.origin)
        labels["dipole"] = rotation @ labels["dipole"]
    if step.polarizability is not None:
        labels["polarizability"] = rotation @ step.polarizability @ rotation.T
    if step.multiplicity is not None:
        labels["multiplicity"] = step.multiplicity
    return Frame(
        step.numbers,
        step.positions,
        {**labels, "charge": step.charge, "source": source},
        step.cell,
        step.pbc,
        level_of_theory=step.level,
    )


def _rotation(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the rotation R, det R = 1, that minimises |fixedᵢ − R movingᵢ|, both centred.

    Kabsch, Acta Cryst. A 32, 922 (1976).
    """
    u, _, vt = np.linalg.svd((fixed - fixed.mean(0)).T @ (moving - moving.mean(0)))
    u[:, -1] *= np.linalg.det(u @ vt)
    return u @ vt
