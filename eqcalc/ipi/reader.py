# SPDX-License-Identifier: MIT
"""A run of i-PI as a trajectory, like one that the in-process engine has written."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc import quantities, units
from eqcalc.ipi import atomic_units
from eqcalc.ipi.checkpoints import Checkpoint, find_checkpoints
from eqcalc.ipi.description import (
    Description,
    InputError,
    OutputFile,
    System,
)
from eqcalc.ipi.notes import RunWarning, progress_notes, temperature_notes
from eqcalc.ipi.outputs import (
    OutputError,
    Records,
    read_extras,
    read_frames,
    read_properties,
    split_unit,
)
from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter

#: What i-PI calls the observables.
_PROPERTIES = {
    "mu_mean": quantities.DIPOLE.name,
    "alpha_mean": quantities.POLARIZABILITY.name,
    "potential": "potential_energy",
    "kinetic_cv": "kinetic_energy_virial",
    "temperature": "temperature",
}
_FRAMES = {"x_centroid": "positions", "v_centroid": "velocities", "positions": "bead_positions"}
_UNITS = {
    quantities.DIPOLE.name: quantities.DIPOLE.unit,
    quantities.POLARIZABILITY.name: quantities.POLARIZABILITY.unit,
    "potential_energy": "eV",
    "kinetic_energy_virial": "eV",
    "temperature": "K",
    "positions": "Å",
    "bead_positions": "Å",
    "velocities": "Å/fs",
}
_EXTRAS = {quantities.DIPOLE.name: 3, quantities.POLARIZABILITY.name: 9}
_ENGINE = "i-PI"


def read_run(
    directory: str | Path,
    output: str | Path | None = None,
    *,
    method: str | None = None,
    extras_units: Mapping[str, str] | None = None,
) -> Trajectory:
    """Read the outputs of an i-PI simulation, also of one that is running or was killed.

    Of several records of a step, which a restart leaves, the last counts. Several systems
    of one simulation become replicas.

    Parameters
    ----------
    directory
        Where i-PI has written, with a checkpoint or RESTART.
    output
        Trajectory file to write, ``trajectory.h5`` in the directory by default; one that
        was read from i-PI before is replaced.
    method
        Name of the dynamics, if it is to be another than the thermostat says.
    extras_units
        Units of ``dipole`` and ``polarizability`` among the extras of another potential
        than that of eqcalc.

    Raises
    ------
    ValueError
        Records are missing, a unit is unknown, or there is no checkpoint.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder")
    state = _state(folder)
    description = state.description
    systems = _systems(description, method)
    found = [_observables(folder, description, system, extras_units) for system in systems]
    names = [name for name in _UNITS if all(name in observables for observables in found)]
    if not names:
        raise OutputError(
            f"{folder}: nothing that eqcalc knows is among the outputs of i-PI; it reads the "
            f"properties {', '.join(_PROPERTIES)}, the trajectories {', '.join(_FRAMES)} with "
            "format='ase', and the extras dipole and polarizability"
        )
    common = {name: _together([o[name] for o in found], name, folder) for name in names}
    progress, heat = progress_notes(state, common), temperature_notes(systems[0], common)
    for note in (*progress, *heat):
        warnings.warn(f"{folder}: {note}", RunWarning, stacklevel=2)
    path = folder / "trajectory.h5" if output is None else Path(output)
    header = _header(folder, description, systems, method, [*progress, *heat])
    return _write(path, header, common)


def describe_run(directory: str | Path) -> str:
    """Say what a folder of i-PI holds and how far its run is, without reading the outputs.

    Raises
    ------
    InputError
        It holds no run, or one that eqcalc does not know.
    """
    state = _state(Path(directory))
    systems = _systems(state.description, None)
    first, total = systems[0], state.description.total_steps
    beads = f", {first.n_beads} beads" if first.n_beads > 1 else ""
    count = f"{len(systems)} systems" if len(systems) > 1 else "1 system"
    progress = f"all {total} steps" if state.step >= total else f"{state.step} of {total} steps"
    return (
        f"run of i-PI: {first.method}, {first.temperature:g} K, {count}{beads}, "
        f"{len(first.numbers)} atoms, {progress} of {first.timestep:g} fs done at {state.path.name}"
    )


def _state(folder: Path) -> Checkpoint:
    """Return the latest checkpoint in a folder, whatever its prefix.

    Raises
    ------
    InputError
        There is none, or runs of several inputs have written here.
    """
    candidates: dict[str, Checkpoint] = {}
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
        except (InputError, UnicodeDecodeError):
            continue
        found, _ = find_checkpoints(folder, description)
        if found:
            candidates[description.prefix] = found[0]
    if not candidates:
        raise InputError(
            f"{folder} has no checkpoint of i-PI, which says what was simulated; add <checkpoint> "
            "to <output>, or stop i-PI so that it writes RESTART"
        )
    if len(candidates) > 1:
        raise InputError(
            f"{folder} holds the runs {', '.join(map(repr, candidates))}; give each its own folder"
        )
    return next(iter(candidates.values()))


def _systems(description: Description, method: str | None) -> list[System]:
    systems = description.systems(method)
    first = systems[0]
    for system in systems[1:]:
        same = (
            np.array_equal(system.numbers, first.numbers)
            and np.allclose(system.masses, first.masses)
            and (system.n_beads, system.temperature, system.timestep, system.method)
            == (first.n_beads, first.temperature, first.timestep, first.method)
        )
        if not same:
            raise InputError(
                f"{description.source}: the systems {first.prefix!r} and {system.prefix!r} are not "
                "replicas of each other"
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
    start += f"{description.prefix}." if description.prefix else ""
    n_atoms = len(system.numbers)
    found: dict[str, Records] = {}
    extras: dict[str, Records] = {}
    for item in description.outputs():
        path = folder / f"{start}{item.filename}"
        if item.kind == "properties":
            for name, records in read_properties(path).items():
                found.setdefault(_PROPERTIES.get(name, name), records)
        elif item.kind == "trajectory":
            name = split_unit(item.what)[0]
            if name in ("extras", "extras_component_raw"):
                per_bead = name == "extras"
                paths = _bead_files(path, system.n_beads) if per_bead else [path]
                extras |= _extras(paths, item)
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
    return {name: records for name, records in found.items() if len(records.steps)}


def _extras(paths: Sequence[Path], item: OutputFile) -> dict[str, Records]:
    """Return extras averaged over the files of the beads."""
    parts = [read_extras(path, _EXTRAS) for path in paths]
    names = set.intersection(*(set(part) for part in parts))
    averages = {}
    for name in names:
        stacked = _stack([part[name] for part in parts])
        averages[name] = Records(stacked.steps, stacked.values.mean(axis=1))
    return averages


def _extras_factor(
    name: str, description: Description, extras_units: Mapping[str, str] | None
) -> float:
    """Return the factor to internal units of an extra.

    Raises
    ------
    OutputError
        Nobody says what its unit is.
    """
    if extras_units is not None and name in extras_units:
        return units.conversion_factor(extras_units[name], _UNITS[name])
    if description.is_of_molecules():
        return {"dipole": atomic_units.DIPOLE, "polarizability": atomic_units.POLARIZABILITY}[name]
    raise OutputError(
        f"the extra {name!r} comes from another code than eqcalc, and i-PI does not know its unit; "
        f"state it: extras_units={{{name!r}: {_UNITS[name]!r}}}"
    )


def _bead_files(path: Path, n_beads: int, suffix: str = "") -> list[Path]:
    """Return the files of all beads, numbered as i-PI does."""
    digits = len(str(n_beads))
    return [path.with_name(f"{path.name}_{bead:0{digits}d}{suffix}") for bead in range(n_beads)]


def _stack(beads: Sequence[Records]) -> Records:
    """Return the records that all beads have, ``[n, n_beads, ...]``."""
    count = min(len(bead.steps) for bead in beads)
    first = beads[0].steps[:count]
    if any(not np.array_equal(bead.steps[:count], first) for bead in beads):
        raise OutputError("the files of the beads have records of different steps")
    return Records(first, np.stack([bead.values[:count] for bead in beads], axis=1))


def _together(replicas: Sequence[Records], name: str, folder: Path) -> tuple[int, np.ndarray]:
    """Return the stride and the values ``[n_replicas, n_frames, ...]``."""
    stacked = _stack(replicas)
    steps = stacked.steps
    if steps[0] != 0:
        raise OutputError(f"{folder}: the records of {name} begin at step {steps[0]}, not at 0")
    stride = int(steps[1] - steps[0]) if len(steps) > 1 else 1
    return stride, np.moveaxis(stacked.values, 1, 0)


def _header(
    folder: Path,
    description: Description,
    systems: Sequence[System],
    method: str | None,
    notes: Sequence[str],
) -> Header:
    first = systems[0]
    record = folder / f"{description.prefix}.run.json"
    provenance: dict[str, Any] = {"engine": _ENGINE}
    if record.is_file():
        models = json.loads(record.read_text())["provenance"]
        for name in models:
            provenance = {**models[name], **provenance}
            break
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
        settings=settings,
        provenance=provenance,
    )


def _write(path: Path, header: Header, found: Mapping[str, tuple[int, np.ndarray]]) -> Trajectory:
    """Write the trajectory, replacing an earlier reading of the same run."""
    if path.exists() and Trajectory.open(path).settings.get("engine") != _ENGINE:
        raise FileExistsError(f"{path} was not read from i-PI and is never overwritten")
    layouts = {
        name: Layout(values.shape[2:], _UNITS[name], stride)
        for name, (stride, values) in found.items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    try:
        writer = TrajectoryWriter.create(temporary, header, layouts)
        try:
            for name, (_, values) in found.items():
                writer.write(name, values)
            writer.sync()
        finally:
            writer.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return Trajectory.open(path)
