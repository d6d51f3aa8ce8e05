# SPDX-License-Identifier: MIT
"""Convert an i-PI run to a trajectory like those of eqcalc's own engine."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from eqcalc import quantities
from eqcalc.files import replacing
from eqcalc.ipi.description import (
    Description,
    InputError,
    System,
    find_checkpoints,
    unstable_structure_file,
)
from eqcalc.ipi.outputs import OutputError, Records, read_extras, read_frames, read_properties
from eqcalc.ipi.units import extra_quantities, split_unit
from eqcalc.methods import METHODS
from eqcalc.spectra.series_checks import require_polarizabilities
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter
from eqcalc.trajectory.layout import UNITS
from eqcalc.units import BOLTZMANN, FEMTOSECOND, atomic_unit
from eqcalc.validation import ExistingFileError, InvalidInputError, existing_directory, located

#: i-PI's names of observables, besides the averages of extras.
_PROPERTIES = {
    "potential": "potential_energy",
    "kinetic_cv": "kinetic_energy_virial",
    "temperature": "temperature",
    "cell_h": "cell",
    "pressure_cv": "pressure",
}
_FRAMES = {"x_centroid": "positions", "v_centroid": "velocities", "positions": "bead_positions"}
_ENGINE = "i-PI"

#: Number of blocks of a single run used to estimate the error of its mean.
_BLOCKS = 5
#: Shortest block [fs], several vibrational periods.
_SHORTEST = 50.0
#: Probability of a normal variable below 3 σ.
_CERTAIN = 0.99865
_ALL = "mean kinetic temperature"
_CENTROID = "mean kinetic temperature of the centroid"
#: Relative deviations below this are not reported.
_SMALL = 0.02


class RunWarning(UserWarning):
    """A run of i-PI is not finished, has lost records, or is not at its temperature."""


def read_run(
    directory: str | Path,
    output: str | Path | None = None,
    *,
    method: str | None = None,
    extras_units: Mapping[str, str] | None = None,
) -> Trajectory:
    """Read the outputs of an i-PI simulation, even if running or killed.

    Of duplicate records of a step, left by restarts, the last is used. Several systems of one
    simulation become replicas.

    Parameters
    ----------
    directory
        Folder of the outputs, with a checkpoint or RESTART.
    output
        Trajectory file to write, ``trajectory.h5`` in the directory by default; one that was
        read from i-PI before is replaced.
    method
        Name of the dynamics, if it cannot be inferred from the thermostat.
    extras_units
        Units of ``dipole`` and ``polarizability`` among the extras of another potential than
        that of eqcalc.

    Raises
    ------
    InvalidInputError
        Records are missing, a unit is unknown, or there is no checkpoint.
    """
    folder = existing_directory(directory, "the folder of a run of i-PI")
    description = _state(folder)
    systems = _systems(description, method)
    found = [_observables(folder, description, system, extras_units) for system in systems]
    extras = extra_quantities()
    names = [name for name in (*extras, *UNITS) if all(name in each for each in found)]
    if not names:
        raise OutputError(
            "has no outputs of i-PI that eqcalc reads",
            file=folder,
            expected=f"the properties mu_mean, alpha_mean, {', '.join(_PROPERTIES)}, the "
            f"trajectories {', '.join(_FRAMES)} with format='ase', or the extras dipole and "
            "polarizability",
        )
    common = {name: _together([o[name] for o in found], name, folder) for name in names}
    progress, heat = progress_notes(description, common), temperature_notes(systems[0], common)
    for note in (*progress, *heat):
        warnings.warn(f"{folder}: {note}", RunWarning, stacklevel=2)
    path = folder / "trajectory.h5" if output is None else Path(output)
    header = _header(folder, description, systems, method, [*progress, *heat], common)
    return _write(path, header, common)


def describe_run(directory: str | Path) -> str:
    """Describe an i-PI run and its progress, without reading the outputs."""
    state = _state(Path(directory))
    systems = _systems(state, None)
    first, total = systems[0], state.total_steps
    beads = f", {first.n_beads} beads" if first.n_beads > 1 else ""
    count = f"{len(systems)} systems" if len(systems) > 1 else "1 system"
    progress = f"all {total} steps" if state.step >= total else f"{state.step} of {total} steps"
    return (
        f"run of i-PI: {first.method}, {first.temperature:g} K, {count}{beads}, "
        f"{len(first.numbers)} atoms, {progress} of {first.timestep:g} fs done at {state.file.name}"
    )


def _state(folder: Path) -> Description:
    """Return the latest checkpoint in a folder, whatever its prefix."""
    candidates: dict[str, Description] = {}
    for path in sorted(
        p for p in folder.iterdir() if p.is_file() and not p.name.startswith(("#", "."))
    ):
        if path.suffix in (".h5", ".extxyz", ".log", ".json"):
            continue
        with path.open("rb") as file:
            head = file.read(4096)
        if b"<simulation" not in head:
            continue
        try:
            description = Description.read(path)
        except InvalidInputError:
            continue
        found, _ = find_checkpoints(description)
        if found:
            candidates[description.prefix] = found[0]
    if not candidates:
        raise InputError(
            "has no checkpoint of i-PI, which says what was simulated",
            file=folder,
            advice="add <checkpoint> to <output>, or stop i-PI so that it writes RESTART",
        )
    if len(candidates) > 1:
        raise InputError(
            file=folder,
            key="prefix",
            value=sorted(candidates),
            expected="one run",
            advice="give each its own folder",
        )
    return next(iter(candidates.values()))


def _systems(description: Description, method: str | None) -> list[System]:
    systems = description.systems(method)
    first = systems[0]
    one_cell = description.is_periodic() and not description.constant_pressure
    for system in systems[1:]:
        same = (
            np.array_equal(system.numbers, first.numbers)
            and np.allclose(system.masses, first.masses)
            and (not one_cell or np.allclose(system.cell, first.cell, rtol=1e-6))
            and (system.n_beads, system.temperature, system.timestep, system.method)
            == (first.n_beads, first.temperature, first.timestep, first.method)
        )
        if not same:
            raise InputError(
                file=description.file,
                key="systems",
                value=(first.prefix, system.prefix),
                expected="replicas of each other",
            )
    return systems


def _observables(
    folder: Path,
    description: Description,
    system: System,
    extras_units: Mapping[str, str] | None,
) -> dict[str, Records]:
    """Return all observables of one system."""
    start = f"{system.prefix}_" if system.prefix else ""
    start += description.file_prefix
    n_atoms = len(system.numbers)
    averages = {q.ipi_property: name for name, q in extra_quantities().items()}
    observables = averages | _PROPERTIES
    found: dict[str, Records] = {}
    extras: dict[str, Records] = {}
    for item in description.outputs():
        path = folder / f"{start}{item.filename}"
        if item.kind == "properties":
            for name, records in read_properties(path).items():
                read = _rows(records) if name == "cell_h" else records
                found.setdefault(observables.get(name, name), read)
        elif item.kind == "trajectory":
            name = split_unit(item.what)[0]
            if name in ("extras", "extras_component_raw"):
                per_bead = name == "extras"
                paths = _bead_files(path, system.n_beads) if per_bead else [path]
                extras |= _extras(paths)
            elif name in _FRAMES and item.format == "ase":
                if name == "positions":
                    paths = _bead_files(path, system.n_beads, ".extxyz")
                    beads = [read_frames(p, n_atoms) for p in paths]
                    found[_FRAMES[name]] = _stack(beads)
                else:
                    frames = read_frames(path.with_name(path.name + ".extxyz"), n_atoms)
                    found[_FRAMES[name]] = frames
    for name, records in extras.items():
        if name not in found:
            scale = _extras_factor(name, description, extras_units)
            found[name] = Records(records.steps, records.values * scale)
            if name == "polarizability" and name in (extras_units or ()):  # of another potential
                with located(file=folder, section="extras"):
                    require_polarizabilities([found[name].values])
    return {name: records for name, records in found.items() if len(records.steps)}


def _extras(paths: Sequence[Path]) -> dict[str, Records]:
    """Return extras averaged over the files of the beads."""
    shapes = {name: q.shape for name, q in extra_quantities().items()}
    parts = [read_extras(path, shapes) for path in paths]
    names = set.intersection(*(set(part) for part in parts))
    averages = {}
    for name in names:
        stacked = _stack([part[name] for part in parts])
        averages[name] = Records(stacked.steps, stacked.values.mean(axis=1))
    return averages


def _extras_factor(
    name: str, description: Description, extras_units: Mapping[str, str] | None
) -> float:
    """Return the factor to internal units of an extra, if somebody says what its unit is."""
    if extras_units is not None and name in extras_units:
        return quantities.quantity(name).factor_from(extras_units[name])
    unit = quantities.quantity(name).unit
    if description.is_of_eqcalc():
        return atomic_unit(unit)
    raise OutputError(
        "its unit is not known: nothing in the input says that eqcalc provides it",
        file=description.file,
        key=f"extra {name}",
        advice="if eqcalc does, write <parameters> {symbols: FORMULA} into its ffsocket; if not, "
        f"state it in Python: eqcalc.read_run(folder, extras_units={{{name!r}: {unit!r}}})",
    )


def _bead_files(path: Path, n_beads: int, suffix: str = "") -> list[Path]:
    """Return the files of all beads, numbered as i-PI does."""
    digits = len(str(n_beads))
    return [path.with_name(f"{path.name}_{bead:0{digits}d}{suffix}") for bead in range(n_beads)]


def _stack(beads: Sequence[Records]) -> Records:
    """Return the records common to all beads, ``[n, n_beads, ...]``."""
    count = min(len(bead.steps) for bead in beads)
    first = beads[0].steps[:count]
    if any(not np.array_equal(bead.steps[:count], first) for bead in beads):
        raise OutputError("the files of the beads have records of different steps", key="step")
    return Records(first, np.stack([bead.values[:count] for bead in beads], axis=1))


def _together(replicas: Sequence[Records], name: str, folder: Path) -> tuple[int, np.ndarray]:
    """Return the stride and the values ``[n_replicas, n_frames, ...]``."""
    stacked = _stack(replicas)
    steps = stacked.steps
    if steps[0] != 0:
        raise OutputError(
            file=folder, key=f"first step of {name}", value=int(steps[0]), expected="0"
        )
    stride = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    return stride, np.moveaxis(stacked.values, 1, 0)


def _header(
    folder: Path,
    description: Description,
    systems: Sequence[System],
    method: str | None,
    notes: Sequence[str],
    found: Mapping[str, tuple[int, np.ndarray]],
) -> Header:
    first = systems[0]
    record = folder / f"{description.prefix}.run.json"
    provenance: dict[str, Any] = {"engine": _ENGINE}
    if record.is_file():
        try:
            models = json.loads(record.read_text(encoding="utf-8"))["provenance"]
            provenance = {**next(iter(models.values()), {}), **provenance}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OutputError(f"is damaged ({error!r})", file=record, advice="remove it") from None
    settings: dict[str, Any] = {"engine": _ENGINE, "method": {"name": first.method}}
    if notes:
        settings["notes"] = list(notes)
    if first.time_constant is not None:
        settings["method"]["time_constant"] = first.time_constant
    return Header(
        method=first.method if method is None else method,
        temperature=first.temperature,
        timestep=first.timestep,
        steps=description.total_steps,
        n_replicas=len(systems),
        n_beads=first.n_beads,
        numbers=first.numbers,
        masses=first.masses,
        cell=_mean_cell(first, found) if description.is_periodic() else None,
        settings=settings,
        provenance=provenance,
    )


def _mean_cell(system: System, found: Mapping[str, tuple[int, np.ndarray]]) -> np.ndarray:
    """Return the mean of the cells that are recorded, the last one if none are."""
    return found["cell"][1].mean(axis=(0, 1)) if "cell" in found else system.cell


def _rows(cells: Records) -> Records:
    """Return cells with vectors as rows ``[n, 3, 3]``, which i-PI prints as xx yy zz xy xz yz."""
    xx, yy, zz, xy, xz, yz = cells.values.T
    zero = np.zeros_like(xx)
    vectors = [[xx, zero, zero], [xy, yy, zero], [xz, yz, zz]]
    return Records(cells.steps, np.moveaxis(np.array(vectors), -1, 0))


def _write(path: Path, header: Header, found: Mapping[str, tuple[int, np.ndarray]]) -> Trajectory:
    """Write the trajectory, replacing an earlier reading of the same run."""
    if path.exists() and Trajectory.open(path).settings.get("engine") != _ENGINE:
        raise ExistingFileError("was not read from i-PI and is never overwritten", file=path)
    units = {name: q.unit for name, q in extra_quantities().items()} | UNITS
    layouts = {
        name: Layout(values.shape[2:], units[name], stride)
        for name, (stride, values) in found.items()
    }
    with replacing(path) as temporary:
        temporary.unlink()  # the writer makes its own
        writer = TrajectoryWriter.create(temporary, header, layouts)
        try:
            for name, (_, values) in found.items():
                writer.write(name, values)
            writer.sync()
        finally:
            writer.close()
    return Trajectory.open(path)


# --- what to know before trusting the outputs ------------------------------------------


def progress_notes(state: Description, found: Mapping[str, tuple[int, np.ndarray]]) -> list[str]:
    """Return notes on unfinished runs and missing outputs.

    `found` has the stride and values ``[n_replicas, n_frames, ...]`` of each observable.
    """
    total = state.total_steps
    last = {name: stride * (values.shape[1] - 1) for name, (stride, values) in found.items()}
    notes = []
    done = max(state.step, *last.values())
    if done < total:
        notes.append(f"the run is not finished: {done} of {total} steps are done")
    notes += [
        f"the run was stopped because the molecule in {path.name} has left the limits of the "
        "dynamics"
        for path in sorted(state.file.parent.glob(f"*{unstable_structure_file(state.prefix)}"))
    ]
    ends: dict[int, list[str]] = {}
    for name, (stride, values) in found.items():
        # the stride of a single record is not known
        if values.shape[1] > 1 and last[name] + stride <= state.step:
            ends.setdefault(last[name], []).append(name)
    for step, names in sorted(ends.items()):
        notes.append(
            f"{', '.join(names)}: the outputs end at step {step}, but {state.file.name} says that "
            f"{state.step} of {total} steps are done: the rest was lost"
        )
    return notes


def temperature_notes(system: System, found: Mapping[str, tuple[int, np.ndarray]]) -> list[str]:
    """Return a note for each mean kinetic temperature that is far from the one of the ensemble.

    Far is more than what corresponds to three standard errors, which are those of the mean
    over replicas, of a single one those over parts of it: what this run had, not what
    another would have. `found` as for :func:`progress_notes`.
    """
    series: dict[str, tuple[int, np.ndarray]] = {}
    freedom = 3 * len(system.numbers) - 3
    if freedom < 1:
        return []
    counts = {_ALL: freedom * system.n_beads, _CENTROID: freedom}
    if "temperature" in found:
        series[_ALL] = found["temperature"]
    if "velocities" in found:
        stride, velocities = found["velocities"]
        velocities = velocities / FEMTOSECOND
        twice = np.einsum("i,rfia,rfia->rf", system.masses, velocities, velocities)
        # i-PI counts the fixed centre of mass as if it were thermal, so this is better
        name = _ALL if system.n_beads == 1 else _CENTROID
        series[name] = stride, twice / (freedom * BOLTZMANN)
    notes = []
    for name, (stride, values) in series.items():
        parts = _independent(values, stride * system.timestep)
        if len(parts) < 2:
            continue
        mean, error = parts.mean(), parts.std(ddof=1) / np.sqrt(len(parts))
        limit = student.ppf(_CERTAIN, len(parts) - 1) * error
        if abs(mean - system.temperature) > max(limit, _SMALL * system.temperature):
            spread = system.temperature / np.sqrt(counts[name])
            method = METHODS.get(system.method)
            kept = method is not None and (
                not method.thermostats_centroid if name == _CENTROID else method.ensemble == "NVE"
            )
            advice = (
                "a single system keeps for long what its start had; run several (eqcalc ipi input "
                "--start)"
                if len(values) == 1 and kept and abs(mean - system.temperature) < 2.0 * spread
                else "start from equilibrium (eqcalc ipi input --equilibration), or run longer"
            )
            notes.append(
                f"the {name} is {mean:.0f} ({error:.0f}) K, not {system.temperature:g} K, and "
                f"intensities are off by about their ratio: {advice}"
            )
    return notes


def _independent(values: np.ndarray, interval: float) -> np.ndarray:
    """Return means of replicas ``[n_replicas, n_frames]``, or of parts of a long single one."""
    if len(values) > 1:
        return values.mean(axis=1)
    frames = values.shape[1]
    if frames < 2 * _BLOCKS or frames * interval < _BLOCKS * _SHORTEST:
        return np.zeros(0)
    return np.array([part.mean() for part in np.array_split(values[0], _BLOCKS)])
