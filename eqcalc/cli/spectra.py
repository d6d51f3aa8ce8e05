# SPDX-License-Identifier: MIT
"""The commands about spectra: harmonic, spectra, compare, assign."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    PositiveRange,
    Range,
    comma_separated_integers,
    figure_file,
    output_folder,
    positive_number,
    read_structures,
)

__all__ = ["add_spectrum_commands"]


# --- commands -------------------------------------------------------------------


def _harmonic(options: argparse.Namespace) -> None:
    import torch

    from eqcalc.harmonic import harmonic_notes, harmonic_spectrum, relax
    from eqcalc.models.checkpoint import load_model
    from eqcalc.reports.assignment import isotope_masses
    from eqcalc.trajectory import write_atomically

    potential = load_model(options.model, dtype=torch.float64)
    atoms = _read_one(options.molecule)
    atoms.set_masses(isotope_masses(atoms, _masses(options.mass)))
    if not options.as_given:
        atoms = relax(potential, atoms)
    harmonic = harmonic_spectrum(potential, atoms)
    print("\n".join([harmonic.table(), *(f"note: {note}" for note in harmonic_notes(harmonic))]))
    if options.output is not None:
        record = {"molecule": str(options.molecule), "model": potential.metadata["hash"]}
        text = json.dumps({**record, **harmonic.to_dict()}, indent=1, ensure_ascii=False)
        write_atomically(options.output, (text + "\n").encode())
    if options.figure is not None:
        harmonic.plot(options.figure, fwhm=options.fwhm, reversed_axis=options.reversed)


def _spectra(options: argparse.Namespace) -> None:
    from eqcalc.reports.files import write_series_spectra, write_spectra
    from eqcalc.trajectory import Trajectory

    estimation = {
        name: getattr(options, name)
        for name in ("lag", "resolution", "window", "estimator", "quantum_factor")
    }
    shown = {"limits": options.limits, "reversed_axis": options.reversed}
    choices: dict[str, Any] = (
        estimation
        | shown
        | {
            "scattering": {
                "laser": options.laser,
                "geometry": options.geometry,
                "anti_stokes": options.anti_stokes,
                "photon_counting": options.photon_counting,
            },
        }
    )
    if options.trajectory is not None:
        refused = [name for name in _SERIES_OPTIONS if getattr(options, name) is not None]
        if refused:
            raise ValueError(
                f"--{refused[0].replace('_', '-')} is for series of other codes; the trajectory "
                f"{options.trajectory} knows it"
            )
        trajectory = Trajectory.open(options.trajectory)
        text = write_spectra(
            trajectory, options.output, model=options.model, frame=options.frame, **choices
        )
        if options.committee is not None:
            from eqcalc.reports.committee import write_committee

            text += "\n" + write_committee(
                trajectory, options.committee, options.output, **estimation, **shown
            )
    else:
        text = write_series_spectra(options.output, **_series(options), **choices)
    print(text)


#: Options that say what a trajectory of eqcalc knows.
_SERIES_OPTIONS = (
    "dipole",
    "polarizability",
    "format",
    "interval",
    "temperature",
    "dipole_unit",
    "polarizability_unit",
    "dipole_key",
    "polarizability_key",
    "method",
    "beads",
)


def _series(options: argparse.Namespace) -> dict[str, Any]:
    """Read the series of another code that the options name."""
    from eqcalc.spectra.foreign import FORMATS, read_foreign

    if options.dipole is None and options.polarizability is None:
        raise ValueError(
            "state a trajectory of eqcalc, or --dipole or --polarizability of a series"
        )
    for name in ("format", "interval", "temperature"):
        if getattr(options, name) is None:
            raise ValueError(f"--{name} must be stated for series of another code")
    result: dict[str, Any] = {
        "interval": options.interval,
        "temperature": options.temperature,
        "method": options.method,
        "n_beads": options.beads or 1,
    }
    if options.format not in FORMATS:
        raise ValueError(f"--format: expected one of {', '.join(FORMATS)}, got {options.format!r}")
    default_units = FORMATS[options.format].units
    for name, default in zip(("dipole", "polarizability"), default_units, strict=True):
        paths = getattr(options, name)
        if paths is None:
            continue
        unit = getattr(options, f"{name}_unit") or default
        if unit is None:
            raise ValueError(f"--{name}-unit must be stated: files of this format do not say it")
        key = getattr(options, f"{name}_key")
        if options.format == "columns" and key is not None:
            key = comma_separated_integers(key, f"--{name}-key")
        result[name] = read_foreign(paths, options.format, key)
        result[f"{name}_unit"] = unit
    return result


def _compare(options: argparse.Namespace) -> None:
    from eqcalc.reports.comparison import write_comparison

    lower, upper = options.limits
    print(
        write_comparison(
            options.calculated,
            options.measured,
            options.output,
            lower=lower,
            upper=upper,
            scale_range=options.scale,
            fwhm=options.fwhm,
            names=options.name,
            unit=options.unit,
            reversed_axis=options.reversed,
        )
    )


def _assign(options: argparse.Namespace) -> None:
    from eqcalc.reports.assignment import assign, write_assignment
    from eqcalc.reports.molecular import model_of
    from eqcalc.trajectory import Trajectory

    trajectory = Trajectory.open(options.trajectory)
    potential = model_of(trajectory, options.model)
    if potential is None:
        raise ValueError(f"--model: state the model that {options.trajectory} was made with")
    found = assign(
        trajectory,
        potential,
        groups=_groups(options.group),
        isotopes=_masses(options.mass),
        lag=options.lag,
        resolution=options.resolution,
        frequency_correction=True,
    )
    print(write_assignment(found, options.output, reversed_axis=options.reversed))


# --- reading arguments ------------------------------------------------------------


def _read_one(path: Path) -> Any:
    structures = read_structures([path])
    if len(structures) != 1:
        raise ValueError(f"{path}: expected one structure, found {len(structures)}")
    return structures[0]


def _masses(texts: Sequence[str]) -> dict[str, float]:
    try:
        pairs = dict(text.split("=", 1) for text in texts)
        return {name: float(value) for name, value in pairs.items()}
    except ValueError:
        raise ValueError(f"--mass: expected for example H=2.014, got {' '.join(texts)}") from None


def _groups(texts: Sequence[str]) -> dict[str, list[int]] | None:
    try:
        pairs = dict(text.split("=", 1) for text in texts)
        return {name: [int(i) for i in value.split(",")] for name, value in pairs.items()} or None
    except ValueError:
        raise ValueError(
            f"--group: expected a name and atoms, for example OH=2,8, got {' '.join(texts)}"
        ) from None


#: What the second column of a measured spectrum may be; transmittance is converted.
_MEASURED_UNITS = (
    "arbitrary units",
    "counts",
    "absorbance",
    "transmittance",
    "T",
    "%T",
    "km/mol per cm⁻¹",
    "L/(mol cm)",
    "cm²",
)


def _measured_unit(text: str) -> str:
    known = {unit.lower(): unit for unit in _MEASURED_UNITS}
    if text.lower() not in known:
        raise argparse.ArgumentTypeError(
            f"expected one of {', '.join(_MEASURED_UNITS)}, got {text!r}"
        )
    return known[text.lower()]


# --- the parser -------------------------------------------------------------------


def add_spectrum_commands(add: Callable[..., Any]) -> None:
    """Add the commands about spectra; `add` takes name, function and help to a parser."""
    command = add("harmonic", _harmonic, "Double-harmonic IR and Raman spectrum of a molecule.")
    command.add_argument("model", type=Path)
    command.add_argument("molecule", type=Path)
    command.add_argument("--as-given", action="store_true", help="do not relax the structure first")
    _add_mass(command)
    command.add_argument("--output", type=Path, help="modes and intensities to write (.json)")
    command.add_argument("--figure", type=figure_file, help="broadened spectra (.png, .pdf, .svg)")
    command.add_argument(
        "--fwhm", type=positive_number, default=10.0, help="width of each line in the figure [cm⁻¹]"
    )
    _add_reversed(command)
    _add_spectra(add)
    _add_compare(add)
    _add_assign(add)


def _add_spectra(add: Callable[..., Any]) -> None:
    command = add("spectra", _spectra, "IR and Raman spectra, with errors, from a trajectory.")
    command.add_argument(
        "trajectory", type=Path, nargs="?", help="of eqcalc; or see 'series of other codes'"
    )
    command.add_argument("--output", type=output_folder, default=Path("spectra"), help="folder")
    command.add_argument("--model", type=Path, help="the model of the trajectory, for the sum rule")
    command.add_argument(
        "--committee",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="models whose disagreement about the dipole is shown beside the sampling error; "
        "simulate with --positions",
    )
    _add_resolution(command)
    command.add_argument(
        "--window",
        default="hann",
        help="taper of the correlation function: hann, blackman, parzen, gaussian, bartlett, "
        "hamming, rectangular (default hann)",
    )
    command.add_argument(
        "--estimator",
        default="correlation",
        help="correlation (default), welch, or multitaper (never negative, less leakage)",
    )
    command.add_argument(
        "--quantum-factor",
        default="harmonic",
        help="harmonic (default; exact for harmonic modes), standard, schofield or none",
    )
    command.add_argument(
        "--frame",
        default="laboratory",
        help="laboratory (with rotational envelope, default), eckart or corotating (without)",
    )
    command.add_argument(
        "--laser", type=positive_number, default=532.0, help="of Raman [nm] (default 532)"
    )
    command.add_argument(
        "--geometry",
        default="unpolarized",
        help="of the Raman cross-section: VV, VH, unpolarized (no analyser, default) or natural",
    )
    command.add_argument(
        "--anti-stokes", action="store_true", help="the anti-Stokes Raman cross-section"
    )
    command.add_argument(
        "--photon-counting", action="store_true", help="the detector counts photons, not power"
    )
    _add_limits(command, required=False)
    _add_reversed(command)
    series = command.add_argument_group(
        "series of other codes", "instead of a trajectory; several files are replicas"
    )
    series.add_argument("--dipole", type=Path, nargs="+", metavar="FILE")
    series.add_argument("--polarizability", type=Path, nargs="+", metavar="FILE")
    series.add_argument(
        "--format", help="columns, cp2k, extxyz, gpumd, i-pi (files of beads), schnetpack or vasp"
    )
    series.add_argument("--interval", type=positive_number, help="time between frames [fs]")
    series.add_argument("--temperature", type=positive_number, help="K")
    series.add_argument("--dipole-unit", help="such as D or e*Å, unless the format implies it")
    series.add_argument("--polarizability-unit", help="such as bohr^3, Å^3 or e^2*Å^2/eV")
    series.add_argument("--dipole-key", help="columns from 0 such as 1,2,3, or name in the file")
    series.add_argument(
        "--polarizability-key", help="six (xx,yy,zz,yz,xz,xy) or nine columns, or name"
    )
    series.add_argument("--method", help="dynamics: NVE, Langevin, RPMD, …, for what to warn of")
    series.add_argument("--beads", type=int, help="of the ring polymers")


def _add_compare(add: Callable[..., Any]) -> None:
    command = add(
        "compare", _compare, "Overlay computed spectra with a measured one, and score them."
    )
    command.add_argument("calculated", type=Path, nargs="+", help="spectra of eqcalc (.h5)")
    command.add_argument(
        "measured",
        type=Path,
        help="JCAMP-DX (.jdx), or text or .csv with wavenumber and value; transmittance is "
        "converted",
    )
    command.add_argument("--output", type=output_folder, default=Path("comparison"), help="folder")
    _add_limits(command, required=True)
    command.add_argument(
        "--scale",
        type=float,
        nargs=2,
        action=PositiveRange,
        metavar=("LOWEST", "HIGHEST"),
        help="fit one factor on all computed wavenumbers between these; it is reported",
    )
    command.add_argument(
        "--fwhm", type=positive_number, help="resolution of the instrument [cm⁻¹], to broaden with"
    )
    command.add_argument("--name", action="append", help="in the legend, once for each spectrum")
    command.add_argument(
        "--unit",
        type=_measured_unit,
        default="arbitrary units",
        help=f"of a text file's second column: {', '.join(_MEASURED_UNITS)}".replace("%", "%%"),
    )
    _add_reversed(command)


def _add_assign(add: Callable[..., Any]) -> None:
    command = add(
        "assign",
        _assign,
        "What each IR band comes from: position, area, harmonic partner, modes and atoms.",
    )
    command.add_argument("trajectory", type=Path, help="simulated with --positions")
    command.add_argument("--output", type=output_folder, default=Path("assignment"), help="folder")
    command.add_argument("--model", type=Path, help="the model of the trajectory")
    _add_resolution(command)
    command.add_argument(
        "--group",
        action="append",
        default=[],
        metavar="NAME=ATOMS",
        help="assign to a group of atoms as well (from 0): OH=2,8",
    )
    _add_mass(command, "how far harmonic partners move with an isotope: H=2.014, or 8=2.014")
    _add_reversed(command)


def _add_mass(
    command: Any, text: str = "isotope of an element, H=2.014, or of one atom (from 0), 8=2.014"
) -> None:
    command.add_argument("--mass", action="append", default=[], metavar="ATOM=AMU", help=text)


def _add_resolution(command: Any) -> None:
    group = command.add_mutually_exclusive_group()
    group.add_argument(
        "--resolution",
        type=positive_number,
        help="width given to a sharp line [cm⁻¹] (default 10 or more)",
    )
    group.add_argument("--lag", type=positive_number, help="longest correlation time [fs], instead")


def _add_limits(command: Any, *, required: bool) -> None:
    command.add_argument(
        "--limits",
        type=float,
        nargs=2,
        action=Range,
        required=required,
        metavar=("FROM", "TO"),
        help="range of wavenumbers [cm⁻¹]",
    )


def _add_reversed(command: Any) -> None:
    command.add_argument(
        "--reversed", action="store_true", help="wavenumbers fall from left to right in figures"
    )
