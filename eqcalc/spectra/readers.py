# SPDX-License-Identifier: MIT
"""Series of dipole moments and polarizabilities written by other codes.

Every function returns plain arrays for :func:`eqcalc.spectra.infrared` and
:func:`eqcalc.spectra.raman`. None of these files says its units, so they are
stated there. Frames that are missing, repeated (after a restart) or cut off are
errors: a gap in a series is a wrong spectrum.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

__all__ = [
    "SeriesError",
    "read_columns",
    "read_cp2k_moments",
    "read_extxyz_series",
    "read_gpumd",
    "read_ipi_extras",
    "read_schnetpack",
    "read_vasp_outcar",
]


class SeriesError(ValueError):
    """A file does not hold the series that was expected."""


def _paths(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    found = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    if not found:
        raise SeriesError("no file given")
    return found


def _rows(path: Path, comments: str) -> Iterator[tuple[int, list[float]]]:
    """Return line numbers and numbers of the lines that are not comments."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.strip()
            if not text or text[0] in comments:
                continue
            try:
                yield number, [float(word) for word in text.replace(",", " ").split()]
            except ValueError:
                raise SeriesError(
                    f"{path}, line {number}: expected numbers, got {text[:60]!r}"
                ) from None


def _even(steps: np.ndarray, path: Path, what: str) -> None:
    """Check that frames follow each other at equal steps."""
    gaps = np.diff(steps)
    if not len(gaps):
        raise SeriesError(f"{path}: fewer than two frames")
    usual = float(np.median(gaps))
    bad = np.flatnonzero(np.abs(gaps - usual) > 0.01 * abs(usual))
    if usual <= 0.0 or len(bad):
        i = int(bad[0]) if len(bad) else 0
        raise SeriesError(
            f"{path}: {what} {steps[i + 1]:g} follows {steps[i]:g}, but {usual:g} is the usual "
            "step: frames are missing or repeated (a restart?); repair the file or read its "
            "parts as replicas"
        )


def read_columns(
    paths: str | Path | Iterable[str | Path],
    columns: Sequence[int],
    *,
    time_column: int | None = None,
    comments: str = "#@!%",
) -> list[np.ndarray]:
    """Read columns of numbers: LAMMPS ``fix ave/time``, GROMACS ``.xvg``, any text table.

    Parameters
    ----------
    paths
        One file per replica.
    columns
        Numbers of the columns, from 0; three of a dipole moment, six (xx, yy,
        zz, yz, xz, xy) or nine of a polarizability.
    time_column
        Column of the time or step, which is checked to be even.
    comments
        First characters of lines that are skipped.

    Returns
    -------
    One array ``[n_frames, 3]``, ``[n_frames, 6]`` or ``[n_frames, 3, 3]`` per replica.
    """
    if len(columns) not in (3, 6, 9):
        raise SeriesError(f"columns: expected 3, 6 or 9 of them, got {len(columns)}")
    needed = max(*columns, -1 if time_column is None else time_column) + 1
    result = []
    for path in _paths(paths):
        rows = []
        for number, row in _rows(path, comments):
            if len(row) < needed:
                raise SeriesError(
                    f"{path}, line {number}: {len(row)} columns, but column {needed - 1} is asked "
                    "for (columns are numbered from 0)"
                )
            rows.append(row[:needed])
        table = np.array(rows).reshape(-1, needed)
        if time_column is not None:
            _even(table[:, time_column], path, "time")
        values = table[:, list(columns)]
        result.append(values.reshape(-1, 3, 3) if len(columns) == 9 else values)
    return result


def read_gpumd(paths: str | Path | Iterable[str | Path]) -> list[np.ndarray]:
    """Read ``dipole.out`` or ``polarizability.out`` of GPUMD.

    The columns are the step and μx μy μz, or the step and αxx αyy αzz αxy αyz αzx.

    Returns
    -------
    One array ``[n_frames, 3]`` or ``[n_frames, 3, 3]`` per file.
    """
    result = []
    for path in _paths(paths):
        rows = [row for _, row in _rows(path, "#")]
        widths = {len(row) for row in rows}
        if widths not in ({4}, {7}):
            raise SeriesError(
                f"{path}: expected 4 columns (dipole.out) or 7 (polarizability.out), found "
                f"{', '.join(map(str, sorted(widths))) or 'none'}"
            )
        table = np.array(rows)
        _even(table[:, 0], path, "step")
        if widths == {4}:
            result.append(table[:, 1:])
        else:
            xx, yy, zz, xy, yz, zx = table[:, 1:].T
            tensor = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
            result.append(np.moveaxis(tensor, -1, 0))
    return result


_IPI_HEADER = re.compile(r"#\s*EXTRAS\w*\s*\(([^)]*)\)#\s*Step:\s*(\d+)", re.IGNORECASE)


def read_ipi_extras(beads: str | Path | Iterable[str | Path]) -> np.ndarray:
    """Read the extras that i-PI writes for each bead, and average them over the beads.

    Parameters
    ----------
    beads
        The file of every bead of one simulation, such as ``simulation.dip_00``
        … ``simulation.dip_31``; one file of a classical simulation.

    Returns
    -------
    ``[n_frames, 3]`` or ``[n_frames, 3, 3]``
    """
    total: np.ndarray | None = None
    first: list[int] = []
    paths = _paths(beads)
    for path in paths:
        steps: list[int] = []
        frames: list[list[float]] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            header = _IPI_HEADER.search(line)
            if header is not None:
                steps.append(int(header.group(2)))
                frames.append([])
            elif line.strip() and not line.lstrip().startswith("#"):
                if not frames:
                    raise SeriesError(f"{path}: numbers before the first #EXTRAS header")
                try:
                    frames[-1].extend(float(w) for w in re.sub(r"[\[\],]", " ", line).split())
                except ValueError:
                    raise SeriesError(
                        f"{path}, step {steps[-1]}: expected numbers, got {line.strip()[:60]!r}"
                    ) from None
        sizes = {len(frame) for frame in frames}
        if sizes not in ({3}, {9}):
            raise SeriesError(
                f"{path}: expected 3 or 9 numbers per step, found "
                f"{', '.join(map(str, sorted(sizes))) or 'none'} (a file that is cut off?)"
            )
        _even(np.array(steps, dtype=float), path, "step")
        if first and steps != first:
            raise SeriesError(f"{path}: its steps are not those of {paths[0]}")
        first = steps
        values = np.array(frames)
        total = values if total is None else total + values
    assert total is not None
    mean = total / len(paths)
    return mean.reshape(-1, 3, 3) if mean.shape[1] == 9 else mean


_CP2K_MOMENT = re.compile(
    r"X=\s*(-?\d\S*)\s+Y=\s*(-?\d\S*)\s+Z=\s*(-?\d\S*)(?:\s+Total=\s*(\S+))?", re.IGNORECASE
)


def read_cp2k_moments(path: str | Path) -> np.ndarray:
    """Read the dipole moments ``X= … Y= … Z= …`` that CP2K prints in each step.

    Returns
    -------
    ``[n_frames, 3]``, in the unit of the file (CP2K: Debye).
    """
    path = Path(path)
    frames = []
    for match in _CP2K_MOMENT.finditer(path.read_text(encoding="utf-8")):
        try:
            frames.append([float(match.group(i)) for i in (1, 2, 3)])
        except ValueError:
            raise SeriesError(f"{path}: cannot read {match.group(0)!r}") from None
    if len(frames) < 2:
        raise SeriesError(f"{path}: no lines of the form 'X= … Y= … Z= …'")
    return np.array(frames)


_VASP_DIPOLE = re.compile(r"dipolmoment\s+(-?\d\S*)\s+(-?\d\S*)\s+(-?\d\S*)\s+electrons")


def read_vasp_outcar(path: str | Path) -> np.ndarray:
    """Read the dipole moment of every ionic step from an OUTCAR of VASP.

    VASP prints it with ``LDIPOL`` or ``IDIPOL``, in each electronic step; the
    converged one, the last before the forces, is taken.

    Returns
    -------
    ``[n_frames, 3]``, e·Å.
    """
    path = Path(path)
    frames: list[list[float]] = []
    current: list[float] | None = None
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if "dipolmoment" in line:
                match = _VASP_DIPOLE.search(line)
                if match is None:
                    raise SeriesError(f"{path}, line {number}: cannot read {line.strip()!r}")
                current = [float(word) for word in match.groups()]
            elif "TOTAL-FORCE" in line:
                if current is None:
                    raise SeriesError(
                        f"{path}, line {number}: ionic step {len(frames) + 1} has no dipole "
                        "moment; run with LDIPOL = .TRUE. or IDIPOL"
                    )
                frames.append(current)
                current = None
    if len(frames) < 2:
        raise SeriesError(f"{path}: {len(frames)} ionic steps with a dipole moment; expected more")
    return np.array(frames)


def read_extxyz_series(path: str | Path, key: str) -> np.ndarray:
    """Read a quantity of every frame of an extended XYZ file.

    Parameters
    ----------
    path
        The file.
    key
        ``"dipole"``, ``"polarizability"`` or another key of the comment line.

    Returns
    -------
    ``[n_frames, 3]``, ``[n_frames, 6]`` or ``[n_frames, 3, 3]``
    """
    from ase.io import iread

    frames = []
    for index, atoms in enumerate(iread(str(path), index=":", format="extxyz")):
        value = atoms.info.get(key)
        if value is None and atoms.calc is not None:
            value = atoms.calc.results.get(key)
        if value is None:
            known = sorted({*atoms.info, *(atoms.calc.results if atoms.calc is not None else ())})
            raise SeriesError(f"{path}, frame {index}: no {key!r}; there are: {', '.join(known)}")
        frames.append(np.asarray(value, dtype=float).ravel())
    sizes = {len(frame) for frame in frames}
    if len(sizes) != 1 or not sizes <= {3, 6, 9}:
        raise SeriesError(f"{path}: {key!r} has {sorted(sizes)} numbers per frame")
    values = np.array(frames)
    return values.reshape(-1, 3, 3) if sizes == {9} else values


def read_schnetpack(path: str | Path, name: str, *, skip: int = 0) -> np.ndarray:
    """Read a property from the HDF5 file of a SchNetPack 2 simulation.

    The replicas of SchNetPack are the beads of a ring polymer and are averaged;
    its molecules, all alike, are returned as replicas.

    Parameters
    ----------
    path
        The file.
    name
        Such as ``"dipole_moment"`` or ``"polarizability"``.
    skip
        Frames of equilibration to leave out.

    Returns
    -------
    ``[n_molecules, n_frames, ...]``, in the units of that simulation.
    """
    import h5py

    path = Path(path)
    with h5py.File(path, "r") as file:
        if "properties" not in file or "positions" not in file["properties"].attrs:
            raise SeriesError(f"{path}: not a SchNetPack simulation with a property stream")
        data = file["properties"]
        where = json.loads(data.attrs["positions"])
        shapes = json.loads(data.attrs["shapes"])
        if name not in where:
            raise SeriesError(f"{path}: no {name!r}; there are: {', '.join(sorted(where))}")
        # the data set is longer than what was written
        record = file["molecules"].attrs if "molecules" in file else data.attrs
        entries = int(record.get("entries", len(data)))
        if entries - skip < 2:
            raise SeriesError(f"{path}: {entries} frames, of which {skip} are left out")
        block = np.asarray(data[skip:entries, :, slice(*where[name])], dtype=float)
    block = block.mean(1).reshape(entries - skip, *shapes[name])
    return np.moveaxis(block, 0, 1)
