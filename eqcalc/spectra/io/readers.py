# SPDX-License-Identifier: MIT
"""Readers of the series that other programs write."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.spectra.continuity import describe_repeat, repeated_frames


class SeriesError(ValueError):
    """A file does not hold the series that was expected."""


def as_paths(paths: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return one or several paths as a list."""
    found = [Path(paths)] if isinstance(paths, str | Path) else [Path(p) for p in paths]
    if not found:
        raise SeriesError("no file given")
    return found


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Return numbers, from 1, and text of the lines of a file."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from enumerate(file, 1)
    except UnicodeDecodeError:
        raise SeriesError(f"{path}: expected a text file (UTF-8), found other data") from None


def number_rows(path: Path, comments: str) -> tuple[list[int], list[list[float]]]:
    """Return line numbers and numbers of the lines that are not comments."""
    lines, rows = [], []
    for number, line in text_lines(path):
        text = line.strip()
        if not text or text[0] in comments:
            continue
        try:
            rows.append([float(word) for word in text.replace(",", " ").split()])
        except ValueError:
            raise SeriesError(
                f"{path}, line {number}: expected numbers, got {text[:60]!r}"
            ) from None
        lines.append(number)
    if len(rows) < 2:
        raise SeriesError(f"{path}: {len(rows)} lines with numbers; expected a frame on each")
    return lines, rows


def _uneven(steps: np.ndarray) -> np.ndarray:
    """Return the frames that the next one does not follow at the usual step."""
    gaps = np.diff(steps)
    usual = float(np.median(gaps))
    return np.flatnonzero((np.abs(gaps - usual) > 0.01 * abs(usual)) | (gaps <= 0.0))


def check_even(
    steps: Sequence[float] | np.ndarray, path: Path, what: str, lines: Sequence[int] = ()
) -> None:
    """Check that frames follow each other at equal steps."""
    if len(steps) < 2:
        raise SeriesError(f"{path}: fewer than two frames")
    bad = _uneven(np.asarray(steps))
    if len(bad):
        i = int(bad[0])
        place = f"line {lines[i + 1]}" if len(lines) else f"frame {i + 1}"
        raise SeriesError(
            f"{path}, {place}: {what} {steps[i + 1]:.10g} follows {steps[i]:.10g}, but "
            f"{np.median(np.diff(steps)):g} is the usual step: frames are missing or repeated (a "
            "restart?); repair the file or read its parts as replicas"
        )


def check_unrepeated(values: np.ndarray, path: Path) -> np.ndarray:
    """Return the frames of a file that does not number them, none of which is there twice."""
    repeated = repeated_frames(values)
    if repeated is not None:
        raise SeriesError(f"{path}: {describe_repeat(*repeated)} (frames count from 0)")
    return values


def looks_like_time(values: np.ndarray) -> bool:
    """Return whether numbers nearly always rise by the same amount."""
    return len(_uneven(values)) <= 0.1 * len(values) and bool(np.median(np.diff(values)) > 0.0)


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
        Column of the time or step, which is checked to be even. By default the
        first one, if nearly all of it is.
    comments
        First characters of lines that are skipped.

    Returns
    -------
    One array ``[n_frames, 3]``, ``[n_frames, 6]`` or ``[n_frames, 3, 3]`` per replica.
    """
    if len(columns) not in (3, 6, 9):
        raise SeriesError(f"columns: expected 3, 6 or 9 of them, got {len(columns)}")
    if min(columns) < 0 or (time_column is not None and time_column < 0):
        raise SeriesError("columns are numbered from 0, and none is negative")
    needed = max(*columns, -1 if time_column is None else time_column) + 1
    result = []
    for path in as_paths(paths):
        lines, rows = number_rows(path, comments)
        for number, row in zip(lines, rows, strict=True):
            if len(row) < needed:
                raise SeriesError(
                    f"{path}, line {number}: {len(row)} columns, but column {needed - 1} is asked "
                    "for (columns are numbered from 0)"
                )
        table = np.array([row[:needed] for row in rows])
        times = 0 if time_column is None and 0 not in columns else time_column
        if times is not None and (time_column is not None or looks_like_time(table[:, times])):
            check_even(table[:, times], path, f"column {times}:", lines)
        values = check_unrepeated(table[:, list(columns)], path)
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
    for path in as_paths(paths):
        lines, rows = number_rows(path, "#")
        widths = {len(row) for row in rows}
        if widths not in ({4}, {7}):
            raise SeriesError(
                f"{path}: expected 4 columns (dipole.out) or 7 (polarizability.out), found "
                f"{', '.join(map(str, sorted(widths))) or 'none'}"
            )
        table = np.array(rows)
        check_even(table[:, 0], path, "step", lines)
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
    found: dict[bytes, Path] = {}
    paths = as_paths(beads)
    for path in paths:
        steps: list[int] = []
        frames: list[list[float]] = []
        for _, line in text_lines(path):
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
        check_even(steps, path, "step")
        if first and steps != first:
            raise SeriesError(f"{path}: its steps are not those of {paths[0]}")
        first = steps
        values = np.array(frames)
        same = found.setdefault(hashlib.blake2b(values.tobytes()).digest(), path)
        if same != path and np.ptp(values, axis=0).any():
            raise SeriesError(f"{path}: the same numbers as in {same}; give the file of each bead")
        total = values if total is None else total + values
    assert total is not None
    mean = total / len(paths)
    return mean.reshape(-1, 3, 3) if mean.shape[1] == 9 else mean


_CP2K_MOMENT = re.compile(r"(?<!\w)X=\s*(\S+)\s+Y=\s*(\S+)\s+Z=\s*(\S+)", re.IGNORECASE)
#: In the main output, of older and newer versions.
_CP2K_STEP = re.compile(r"(?:STEP NUMBER\s*=|MD\| Step number)\s*(\d+)")


def read_cp2k_moments(path: str | Path) -> np.ndarray:
    """Read the dipole moments ``X= … Y= … Z= …`` that CP2K prints in each step.

    Returns
    -------
    ``[n_frames, 3]``, in the unit of the file (CP2K: Debye).
    """
    path = Path(path)
    frames = []
    steps, lines = [], []
    for number, line in text_lines(path):
        match = _CP2K_MOMENT.search(line)
        if match is not None:
            try:
                frames.append([float(word) for word in match.groups()])
            except ValueError:
                raise SeriesError(
                    f"{path}, line {number}: cannot read {match.group(0)!r}"
                ) from None
        elif (step := _CP2K_STEP.search(line)) is not None:
            steps.append(int(step.group(1)))
            lines.append(number)
    if len(frames) < 2:
        raise SeriesError(f"{path}: {len(frames)} lines of the form 'X= … Y= … Z= …'")
    if steps:
        check_even(steps, path, "step", lines)
    return check_unrepeated(np.array(frames), path)


_VASP_DIPOLE = re.compile(r"dipolmoment\s+(-?\d\S*)\s+(-?\d\S*)\s+(-?\d\S*)\s+electrons")
_VASP_STEP = re.compile(r"Iteration\s+(\d+)\(")


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
    step: int | None = None
    steps, lines = [], []
    with path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if "dipolmoment" in line:
                match = _VASP_DIPOLE.search(line)
                if match is None:
                    raise SeriesError(f"{path}, line {number}: cannot read {line.strip()!r}")
                current = [float(word) for word in match.groups()]
            elif "Iteration" in line and (found := _VASP_STEP.search(line)) is not None:
                step = int(found.group(1))
            elif "TOTAL-FORCE" in line:
                if current is None:
                    raise SeriesError(
                        f"{path}, line {number}: ionic step {len(frames) + 1} has no dipole "
                        "moment; run with LDIPOL = .TRUE. or IDIPOL"
                    )
                frames.append(current)
                if step is not None:
                    steps.append(step)
                    lines.append(number)
                current = None
    if len(frames) < 2:
        raise SeriesError(f"{path}: {len(frames)} ionic steps with a dipole moment; expected more")
    if steps:
        check_even(steps, path, "ionic step", lines)
    return check_unrepeated(np.array(frames), path)


#: Keys of the comment line that number frames.
_XYZ_TIMES = ("time", "step", "timestep", "md_step", "frame")


def read_extxyz_series(path: str | Path, key: str, time_key: str | None = None) -> np.ndarray:
    """Read a quantity of every frame of an extended XYZ file.

    Parameters
    ----------
    path
        The file.
    key
        ``"dipole"``, ``"polarizability"`` or another key of the comment line.
    time_key
        Key of the time or step, which is checked to be even; by default
        ``time`` or ``step``, if they are there.

    Returns
    -------
    ``[n_frames, 3]``, ``[n_frames, 6]`` or ``[n_frames, 3, 3]``
    """
    path = Path(path)
    frames = []
    times = []
    for index, atoms in enumerate(_structures(path)):
        value = atoms.info.get(key)
        if value is None and atoms.calc is not None:
            value = atoms.calc.results.get(key)
        if value is None:
            known = sorted({*atoms.info, *(atoms.calc.results if atoms.calc is not None else ())})
            raise SeriesError(f"{path}, frame {index}: no {key!r}; there are: {', '.join(known)}")
        frames.append(np.asarray(value, dtype=float).ravel())
        if time_key is None and index == 0:
            time_key = next((k for k in atoms.info if k.lower() in _XYZ_TIMES), None)
        if time_key is not None:
            try:
                times.append(float(atoms.info[time_key]))
            except (KeyError, TypeError, ValueError):
                raise SeriesError(
                    f"{path}, frame {index}: {time_key!r}: expected the time or step, got "
                    f"{atoms.info.get(time_key)!r}"
                ) from None
    sizes = {len(frame) for frame in frames}
    if len(sizes) != 1 or not sizes <= {3, 6, 9}:
        raise SeriesError(f"{path}: {key!r} has {sorted(sizes)} numbers per frame")
    if times:
        check_even(times, path, str(time_key))
    values = check_unrepeated(np.array(frames), path)
    return values.reshape(-1, 3, 3) if sizes == {9} else values


def _structures(path: Path) -> Iterator[Any]:
    """Return the frames of an extended XYZ file one by one."""
    from ase.io import iread

    index = 0
    try:
        for atoms in iread(str(path), index=":", format="extxyz"):
            yield atoms
            index += 1
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        raise SeriesError(f"{path}: expected extended XYZ, found other data") from None
    except (ValueError, OSError, KeyError, IndexError) as error:
        raise SeriesError(
            f"{path}, frame {index}: cut off, or not extended XYZ ({error})"
        ) from None


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
    if not h5py.is_hdf5(path):
        raise SeriesError(f"{path}: expected the HDF5 file of a SchNetPack simulation")
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
    block = np.moveaxis(block.mean(1).reshape(entries - skip, *shapes[name]), 0, 1)
    for molecule in block:
        check_unrepeated(molecule, path)
    return block
