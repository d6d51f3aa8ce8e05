# SPDX-License-Identifier: MIT
"""Options of `eqcalc spectra` for time series of other codes."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    add_number,
    comma_separated_integers,
    number_from_zero,
    option_name,
    positive_count,
)
from eqcalc.methods import METHODS, method
from eqcalc.validation import InvalidInputError, located, raise_all

#: Options for information that an eqcalc trajectory contains or does not need.
_SERIES_OPTIONS = (
    *("dipole", "polarizability", "format", "interval", "temperature", "timestep", "skip"),
    *("dipole_unit", "polarizability_unit", "dipole_key", "polarizability_key", "time_key"),
    *("unwrap", "method", "beads"),
)
#: Options that require the positions or the model of a trajectory.
_TRAJECTORY_OPTIONS = (
    "model",
    "committee",
    "frame",
    "density_of_states",
    "group",
    "internal",
    "decompose",
)


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
    add_number(series, "--interval", None, "time between frames [fs], unless files say it")
    add_number(series, "--temperature", None, "[K]")
    series.add_argument("--dipole-unit", help="such as D or e*Å, unless the format implies it")
    series.add_argument("--polarizability-unit", help="such as bohr^3, Å^3 or e^2*Å^2/eV")
    series.add_argument(
        "--dipole-key",
        help="columns from 0 such as 1,2,3, or name in the file (default: columns if three)",
    )
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
    text = "time to skip at the start of each replica [fs]"
    add_number(series, "--skip", None, text, number_from_zero)
    text = (
        "molecules in the cell, for intensities per molecule (default 1; of a trajectory of eqcalc "
        "the groups of bonded atoms)"
    )
    add_number(series, "--molecules", None, text, positive_count)
    text = f"dynamics method, for checks and warnings: {', '.join(METHODS)}"
    series.add_argument("--method", help=text)
    add_number(series, "--beads", None, "number of beads of the ring polymers", positive_count)
    text = "velocity-Verlet time step [fs], to correct its blue shift"
    add_number(series, "--timestep", None, text)


def refuse_series_options(options: argparse.Namespace) -> None:
    """Reject series options combined with a trajectory."""
    _refuse(
        options,
        _SERIES_OPTIONS,
        "is for series of other codes, which are given by --dipole FILE and --polarizability FILE; "
        f"{options.trajectory} is read as a trajectory of eqcalc",
    )


def read_series_options(options: argparse.Namespace) -> dict[str, Any]:
    """Read the series given by the options; return arguments of `write_series_spectra`."""
    from eqcalc.spectra.io.formats import find_reader

    quantities = [name for name in ("dipole", "polarizability") if getattr(options, name)]
    if not quantities:
        raise InvalidInputError(
            key="trajectory", expected="one of eqcalc, or --dipole or --polarizability of a series"
        )
    _refuse(
        options, _TRAJECTORY_OPTIONS, "needs the positions and the model of a trajectory of eqcalc"
    )
    raise_all(_missing(options, quantities))
    if options.unwrap is not None and options.dipole is None:
        raise InvalidInputError(key="--unwrap", value=options.unwrap, expected="only with --dipole")
    result: dict[str, Any] = {
        "temperature": options.temperature,
        "method": options.method,
        "n_beads": _beads(options, quantities),
        "timestep": options.timestep,
        "frequency_correction": options.timestep is not None,
        "n_molecules": options.molecules or 1,
    }
    units = dict(zip(("dipole", "polarizability"), find_reader(options.format).units, strict=True))
    for name in quantities:
        replicas = _read(options, name)
        stated = replicas.unit or units[name]
        unit = _require(f"{name}_unit", stated, "files of this format, which do not say it")
        options.interval = result["interval"] = replicas.interval
        result[name] = _skipped(options, replicas)
        if name == "dipole" and options.unwrap is not None:
            result[name] = _unwrapped(options, result[name], unit)
        result[f"{name}_unit"] = unit
    return result


def _refuse(options: argparse.Namespace, names: Iterable[str], why: str) -> None:
    for name in names:
        if (value := getattr(options, name)) is not None:
            raise InvalidInputError(why, key=option_name(name), value=value)


def _require(name: str, value: Any, what: str) -> Any:
    if value is None:
        raise InvalidInputError(f"must be stated for {what}", key=option_name(name), value=None)
    return value


def _missing(options: argparse.Namespace, quantities: Iterable[str]) -> list[InvalidInputError]:
    """Return what is to be stated of series of another code, and is not."""
    from eqcalc.spectra.io.formats import find_reader

    expected = {
        "format": "columns, cp2k, extxyz, gpumd, i-pi, schnetpack, vasp, or a reader of your own",
        "temperature": "that of the dynamics [K]",
    }
    if options.format is not None and find_reader(options.format).key == "key":
        for name in quantities:
            expected[f"{name}_key"] = f"the name of the {name} in the file"
    return [
        InvalidInputError("must be stated", key=option_name(name), expected=text)
        for name, text in expected.items()
        if getattr(options, name) is None
    ]


def _beads(options: argparse.Namespace, quantities: Iterable[str]) -> int:
    """Return the number of beads, for i-PI the number of files.

    Both beads and method are required for ring polymers.
    """
    known = None if options.method is None else method(options.method)
    if options.format == "i-pi":
        counts = {name: len(getattr(options, name)) for name in quantities}
        beads = options.beads or max(counts.values())
        for name, count in counts.items():
            if count != beads:
                raise InvalidInputError(
                    "the mean is over the file of every bead",
                    key=option_name(name),
                    value=count,
                    expected=f"{beads} files, each given once",
                )
    else:
        beads = options.beads or 1
        if known is not None and known.ring_resonances:
            _require("beads", options.beads, options.method)
    if beads > 1:
        _require("method", options.method, f"{beads} beads: T-RPMD, PA-CMD, …")
    return int(beads)


def _read(options: argparse.Namespace, name: str) -> Any:
    """Read the replicas of one quantity."""
    from eqcalc.quantities import quantity
    from eqcalc.spectra.io.formats import find_reader, read_series
    from eqcalc.units import UnitError

    try:
        quantity(name).factor_from(getattr(options, f"{name}_unit") or quantity(name).unit)
    except UnitError as error:
        raise InvalidInputError(str(error), key=option_name(f"{name}_unit")) from None
    key, time_key = getattr(options, f"{name}_key"), options.time_key
    if find_reader(options.format).key == "columns":
        if key is not None:
            key = comma_separated_integers(key, f"--{name}-key")
        if time_key is not None:
            (time_key, *more) = comma_separated_integers(time_key, "--time-key")
            if more:
                raise InvalidInputError(
                    key="--time-key", value=options.time_key, expected="one column"
                )
    replicas = read_series(
        getattr(options, name),
        options.format,
        key,
        time_key,
        interval=options.interval,
        timestep=options.timestep,
        unit=getattr(options, f"{name}_unit"),
    )
    _require("interval", replicas.interval, "files that do not say the time between frames")
    return replicas


def _skipped(options: argparse.Namespace, replicas: Any) -> Any:
    """Return replicas without the skipped start."""
    skipped = round((options.skip or 0.0) / options.interval)
    for replica, values in replicas.items():
        if len(values) - skipped < 2:
            length = len(values) * options.interval
            raise InvalidInputError(
                key="--skip",
                value=options.skip,
                expected=f"less than the {length:g} fs of {replica}",
            )
        replicas[replica] = values[skipped:]
    return replicas


def _unwrapped(options: argparse.Namespace, replicas: dict[str, Any], unit: str) -> dict[str, Any]:
    """Return the unwrapped dipole moments of a periodic cell."""
    import numpy as np

    from eqcalc.spectra.dielectric_response import unwrap_dipole
    from eqcalc.units import conversion_factor

    if options.format == "i-pi" and len(options.dipole) > 1:
        raise InvalidInputError(
            "beads have to be unwrapped before their mean is taken", key="--unwrap"
        )
    lengths = np.array(options.unwrap)
    if len(lengths) not in (1, 3, 9):
        raise InvalidInputError(key="--unwrap", value=len(lengths), expected="1, 3 or 9 numbers")
    cell = lengths.reshape(3, 3) if len(lengths) == 9 else np.diag(np.broadcast_to(lengths, 3))
    charge = conversion_factor("e*Å", unit)
    result = {}
    for name, dipole in replicas.items():
        with located(file=name, section="--unwrap"):
            result[name] = unwrap_dipole(dipole[None], cell, charge)[0]
    return result
