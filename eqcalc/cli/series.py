# SPDX-License-Identifier: MIT
"""Options of `eqcalc spectra` for series that another code wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    comma_separated_integers,
    number_from_zero,
    positive_count,
    positive_number,
)
from eqcalc.methods import METHODS, method

#: Options that say what a trajectory of eqcalc knows, or has no need of.
_SERIES_OPTIONS = (
    *("dipole", "polarizability", "format", "interval", "temperature", "timestep", "skip"),
    *("dipole_unit", "polarizability_unit", "dipole_key", "polarizability_key", "time_key"),
    *("unwrap", "method", "beads", "molecules"),
)
#: Options that need the positions or the model of a trajectory.
_TRAJECTORY_OPTIONS = ("model", "committee", "frame")


def add_series_options(command: Any) -> None:
    """Add the group of these options to the parser of a command."""
    series = command.add_argument_group(
        "series of other codes", "instead of a trajectory; several files are replicas"
    )
    for name in ("dipole", "polarizability"):
        series.add_argument(
            f"--{name}",
            type=Path,
            nargs="+",
            metavar="FILE",
            help=f"{name} along the time, a file for every replica",
        )
    series.add_argument(
        "--format",
        help="columns, cp2k, extxyz, gpumd, i-pi (the file of every bead), schnetpack, vasp, or a "
        "reader of your own as package.module:Class",
    )
    series.add_argument("--interval", type=positive_number, help="time between frames [fs]")
    series.add_argument("--temperature", type=positive_number, help="K")
    series.add_argument("--dipole-unit", help="such as D or e*Å, unless the format implies it")
    series.add_argument("--polarizability-unit", help="such as bohr^3, Å^3 or e^2*Å^2/eV")
    series.add_argument("--dipole-key", help="columns from 0 such as 1,2,3, or name in the file")
    series.add_argument(
        "--polarizability-key", help="six (xx,yy,zz,yz,xz,xy) or nine columns, or name"
    )
    series.add_argument(
        "--time-key",
        help="column or name of the time or step, which must be even (columns, extxyz; default: "
        "the first column, or time or step, if it is there)",
    )
    series.add_argument(
        "--unwrap",
        type=float,
        nargs="+",
        metavar="LENGTH",
        help="take out jumps of the dipole by e times the cell: its length, three lengths or nine "
        "components of its vectors [Å]",
    )
    series.add_argument(
        "--skip", type=number_from_zero, help="time to leave out at the start of each replica [fs]"
    )
    series.add_argument(
        "--molecules",
        type=positive_count,
        help="in the cell that the dipole is of; the intensity is per molecule (default 1)",
    )
    series.add_argument(
        "--method",
        help=f"dynamics, for what to warn of and refuse: {', '.join(METHODS)}",
    )
    series.add_argument("--beads", type=positive_count, help="of the ring polymers")
    series.add_argument(
        "--timestep",
        type=positive_number,
        help="step of the velocity-Verlet integrator [fs], whose blue shift is then undone",
    )


def refuse_series_options(options: argparse.Namespace) -> None:
    """Refuse options of series beside a trajectory."""
    for name in _SERIES_OPTIONS:
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name.replace('_', '-')} is for series of other codes; the trajectory "
                f"{options.trajectory} knows it"
            )


def read_series_options(options: argparse.Namespace) -> dict[str, Any]:
    """Read the series that the options name; return what `write_series_spectra` takes."""
    from eqcalc.spectra.io.formats import find_reader

    if options.dipole is None and options.polarizability is None:
        raise ValueError(
            "state a trajectory of eqcalc, or --dipole or --polarizability of a series"
        )
    for name in _TRAJECTORY_OPTIONS:
        if getattr(options, name) is not None:
            raise ValueError(
                f"--{name} needs a trajectory of eqcalc, with its positions and its model; it "
                "does nothing for series of other codes"
            )
    for name in ("format", "interval", "temperature"):
        if getattr(options, name) is None:
            raise ValueError(f"--{name} must be stated for series of another code")
    reader = find_reader(options.format)
    if options.unwrap is not None and options.dipole is None:
        raise ValueError("--unwrap is for the dipole moment; state --dipole")
    result: dict[str, Any] = {
        "interval": options.interval,
        "temperature": options.temperature,
        "method": options.method,
        "n_beads": _beads(options),
        "timestep": options.timestep,
        "frequency_correction": options.timestep is not None,
        "n_molecules": options.molecules or 1,
    }
    for name, default in zip(("dipole", "polarizability"), reader.units, strict=True):
        if getattr(options, name) is None:
            continue
        unit = getattr(options, f"{name}_unit") or default
        if unit is None:
            raise ValueError(f"--{name}-unit must be stated: files of this format do not say it")
        result[name] = _read(options, name)
        if name == "dipole" and options.unwrap is not None:
            result[name] = _unwrapped(options, result[name], unit)
        result[f"{name}_unit"] = unit
    return result


def _beads(options: argparse.Namespace) -> int:
    """Return the number of beads, which is that of the files of i-PI.

    What holds for ring polymers follows from beads and method, so neither may be missing.
    """
    known = None if options.method is None else method(options.method)
    if options.format == "i-pi":
        counts = {
            name: len(paths)
            for name in ("dipole", "polarizability")
            if (paths := getattr(options, name)) is not None
        }
        beads = options.beads or max(counts.values())
        for name, count in counts.items():
            if count != beads:
                raise ValueError(
                    f"--{name}: {count} files, but {beads} beads; the mean is over the file of "
                    "every bead, each given once"
                )
    else:
        beads = options.beads or 1
        if options.beads is None and known is not None and known.ring_resonances:
            raise ValueError(f"--beads must be stated for {options.method}")
    if beads > 1 and options.method is None:
        raise ValueError(f"--method must be stated for {beads} beads: T-RPMD, PA-CMD, …")
    return int(beads)


def _read(options: argparse.Namespace, name: str) -> Any:
    """Read the replicas of one quantity, without what is to be skipped."""
    from eqcalc.spectra.io.formats import find_reader, read_series

    key, time_key = getattr(options, f"{name}_key"), options.time_key
    if find_reader(options.format).key == "columns":
        if key is not None:
            key = _columns(key, f"--{name}-key")
        if time_key is not None:
            (time_key, *more) = _columns(time_key, "--time-key")
            if more:
                raise ValueError(f"--time-key: expected one column, got {options.time_key}")
    replicas = read_series(getattr(options, name), options.format, key, time_key)
    skipped = round((options.skip or 0.0) / options.interval)
    for replica, values in replicas.items():
        if len(values) - skipped < 2:
            length = len(values) * options.interval
            raise ValueError(f"--skip: {options.skip:g} fs of {replica}, which has {length:g} fs")
        replicas[replica] = values[skipped:]
    return replicas


def _unwrapped(options: argparse.Namespace, replicas: dict[str, Any], unit: str) -> dict[str, Any]:
    """Return dipole moments of a periodic cell without jumps between branches."""
    import numpy as np

    from eqcalc.spectra.dielectric_response import unwrap_dipole
    from eqcalc.units import conversion_factor

    if options.format == "i-pi" and len(options.dipole) > 1:
        raise ValueError("--unwrap: beads have to be unwrapped before their mean is taken")
    lengths = np.array(options.unwrap)
    if len(lengths) not in (1, 3, 9):
        raise ValueError(f"--unwrap: expected 1, 3 or 9 numbers, got {len(lengths)}")
    cell = lengths.reshape(3, 3) if len(lengths) == 9 else np.diag(np.broadcast_to(lengths, 3))
    charge = conversion_factor("e*Å", unit)
    result = {}
    for name, dipole in replicas.items():
        try:
            result[name] = unwrap_dipole(dipole[None], cell, charge)[0]
        except ValueError as error:
            raise ValueError(f"--unwrap, {name}: {error}") from None
    return result


def _columns(text: str, option: str) -> list[int]:
    columns = comma_separated_integers(text, option)
    if min(columns) < 0:
        raise ValueError(f"{option}: columns are numbered from 0, got {text}")
    return columns
