# SPDX-License-Identifier: MIT
"""The commands predict, harmonic, anharmonic, spectra, compare, methods and assign."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqcalc.cli.arguments import (
    add_flag,
    add_mass,
    add_model,
    add_number,
    add_pairs,
    add_processes,
    add_range,
    add_text,
    argument,
    chosen,
    figure_file,
    integers,
    option_name,
    output_file,
    output_folder,
    positive_count,
    positive_number,
    tell_next,
    tell_results,
)
from eqcalc.cli.series import add_series_options, read_series_options, refuse_series_options
from eqcalc.validation import InvalidInputError, one_of

if TYPE_CHECKING:
    from ase import Atoms

    from eqcalc.trajectory import Trajectory

# --- commands -------------------------------------------------------------------


def _harmonic(options: argparse.Namespace) -> None:
    from eqcalc.harmonic import write_harmonic

    atoms = _read_molecule(options)
    names = ("output", "figure", "fwhm", "reversed_axis", "reference")
    if options.reference is not None and options.mass:
        raise InvalidInputError(
            "with a reference, masses are those of its file", key="--mass", expected="nothing"
        )
    print(
        write_harmonic(
            atoms,
            options.model,
            relaxed=not options.as_given,
            name=str(options.molecule),
            **chosen(options, *names),
        )
    )
    tell_results(options.output, options.figure)
    run = options.molecule.with_suffix(".h5").name
    tell_next("simulate", options.model, options.molecule, "--output", run)


def _predict(options: argparse.Namespace) -> None:
    from eqcalc.files import make_folder, require_space
    from eqcalc.prediction import other_levels, plan, predict, read_experiment

    names = ("level", "quality", "charge", "temperature")
    isotopes = dict(options.mass)
    asked = {"isotopes": isotopes, **chosen(options, *names)}
    asked["learning"] = _learning(options)
    measured = [read_experiment(path) for path in options.measured]
    expected = plan(options.molecule, **asked)
    print(expected, file=sys.stderr, flush=True)
    if options.plan:
        if options.level is None and expected.source.given != "general":
            also = other_levels(options.molecule, **chosen(options, "charge"), isotopes=isotopes)
            print(f"the general model does not know this molecule; levels:\n{also}")
        return
    make_folder(options.output)
    require_space(options.output, expected.space)
    asked |= {"level": expected.source, **chosen(options, "fwhm")}
    found = predict(options.molecule, progress=options.progress, **asked)
    folder = found.write(options.output, measured)
    print(found.summary(), end="")
    print(f"results: {folder}; the page to read is report.html")


def _learning(options: argparse.Namespace) -> Any:
    """Return how a model is fine-tuned, None unless the quality asks for it."""
    from eqcalc.prediction import ActiveLearning

    names = ("labels", "hours", "tolerance", "area_tolerance", "start_from", "processes")
    stated = {name: value for name, value in chosen(options, *names).items() if value is not None}
    if options.quality == "standard":
        return ActiveLearning(options.output, **stated)
    for name, value in stated.items():
        expected = "only with --quality standard"
        raise InvalidInputError(key=option_name(name), value=value, expected=expected)
    return None


def _anharmonic(options: argparse.Namespace) -> None:
    from eqcalc.anharmonic.report import write_anharmonic

    atoms = _read_molecule(options)
    choices = chosen(options, "output", "coupling", "quanta", "upper", "progress")
    print(write_anharmonic(atoms, options.model, name=str(options.molecule), **choices))
    tell_results(options.output)


def _spectra(options: argparse.Namespace) -> None:
    from eqcalc.reports.files import write_series_spectra, write_spectra

    scattering = chosen(options, "laser", "geometry", "anti_stokes", "photon_counting")
    choices = {
        **chosen(options, "lag", "resolution", "window", "estimator", "quantum_factor"),
        **chosen(options, "limits", "reversed_axis"),
        "scattering": scattering,
    }
    if options.trajectory is not None:
        refuse_series_options(options)
        trajectory = _read_trajectory(options.trajectory)
        text = write_spectra(
            trajectory,
            options.output,
            frame=options.frame or "laboratory",
            n_molecules=options.molecules,
            density_of_states=bool(options.density_of_states or options.group),
            groups=dict(options.group or ()),
            internal=options.internal or (),
            decompose=options.decompose,
            **chosen(options, "model", "committee"),
            **choices,
        )
    else:
        text = write_series_spectra(options.output, **read_series_options(options), **choices)
    print(text)
    tell_results(options.output)
    if options.trajectory is not None and trajectory.cell is None:
        tell_next("assign", options.trajectory, "--output", options.output)


def _compare(options: argparse.Namespace) -> None:
    from eqcalc.reports.comparison import write_band_comparison, write_comparison
    from eqcalc.spectra import is_band_list

    calculated, measured = list(options.calculated), None
    if not (options.fundamentals or options.molecule):
        if len(calculated) < 2:
            raise InvalidInputError(
                key="measured",
                expected="a measured spectrum or list of bands after the computed ones, or "
                "--fundamentals",
            )
        measured = calculated.pop()
    shared = {"names": options.name, **chosen(options, "reversed_axis")}
    lists = is_band_list(measured) if measured and options.bands is None else options.bands
    if measured is None or lists:
        text = write_band_comparison(
            calculated,
            measured,
            options.output,
            scale_range=options.scale,
            **chosen(options, "molecule", "limits", "window"),
            **shared,
        )
    else:
        if options.limits is None:
            raise InvalidInputError(
                key="--limits", expected="the range of wavenumbers that is compared"
            )
        lower, upper = options.limits
        text = write_comparison(
            calculated,
            measured,
            options.output,
            lower=lower,
            upper=upper,
            scale_range=options.scale,
            **chosen(options, "fwhm", "unit"),
            **shared,
        )
    print(text)
    tell_results(options.output)


def _methods(options: argparse.Namespace) -> None:
    from eqcalc.reports.method_comparison import write_method_comparison

    atoms = _read_molecule(options)
    print(write_method_comparison(atoms, options.model, options.runs, options.output))
    tell_results(options.output)


def _assign(options: argparse.Namespace) -> None:
    from eqcalc.reports.assignment import assign, write_assignment
    from eqcalc.reports.molecular import model_of
    from eqcalc.spectra import known_fundamentals, read_spectrum

    trajectory = _read_trajectory(options.trajectory)
    potential = model_of(trajectory, options.model)
    if potential is None:
        raise InvalidInputError(
            key="--model", expected=f"the model that {options.trajectory} was simulated with"
        )
    found = assign(
        trajectory,
        potential,
        groups=dict(options.group) or None,
        isotopes=dict(options.mass),
        frequency_correction=True,
        **chosen(options, "lag", "resolution", "quantum_factor", "frame"),
    )
    print(write_assignment(found, options.output, reversed_axis=options.reversed_axis))
    tell_results(options.output)
    spectra = sorted(options.output.glob("*-infrared.h5"))  # of eqcalc spectra
    if not spectra:
        tell_next("spectra", options.trajectory, "--output", options.output)
    for path in spectra[:1]:
        try:
            known_fundamentals(read_spectrum(path))
            measured = "--fundamentals"
        except InvalidInputError:  # not in the table
            measured = "MEASURED"
        tell_next("compare", path, measured, "--output", options.output)


# --- reading arguments ------------------------------------------------------------


def _read_molecule(options: argparse.Namespace) -> Atoms:
    """Return the molecule of a command with the isotopes that were asked for."""
    from eqcalc.molecules import isotope_masses, read_structure

    atoms = read_structure(options.molecule)
    atoms.set_masses(isotope_masses(atoms, dict(options.mass)))
    return atoms


def _read_trajectory(path: Path) -> Trajectory:
    from eqcalc import Trajectory, read_run

    return read_run(path) if path.is_dir() else Trajectory.open(path)


#: Quantities accepted in the second column of a measured spectrum.
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


_measured_unit = argument(lambda key, text: one_of(key, text, _MEASURED_UNITS, fold=str.lower))


# --- the parser -------------------------------------------------------------------


def add_spectrum_commands(add: Callable[..., Any]) -> None:
    """Add the commands; `add` creates a parser from name, function and help."""
    _add_predict(add)
    command = add("harmonic", _harmonic, "Double-harmonic IR and Raman spectrum of a molecule.")
    add_model(command, optional=True)
    command.add_argument("molecule", type=Path, help="structure file")
    add_flag(command, "--as-given", "do not relax the structure")
    add_mass(command)
    command.add_argument(
        "--output", type=output_file, help="output file for modes and intensities (.json)"
    )
    command.add_argument(
        "--figure", type=figure_file, help="figure of the broadened spectra (.png, .pdf, .svg)"
    )
    add_number(command, "--fwhm", 10.0, "line width in the figure [cm⁻¹]")
    _add_reversed(command)
    text = "frequency calculation of another program to compare with, mode by mode: ORCA .hess, "
    text += ".fchk, or an output"
    command.add_argument("--reference", type=Path, metavar="FILE", help=text)
    _add_anharmonic(add)
    _add_spectra(add)
    _add_compare(add)
    _add_methods(add)
    _add_assign(add)


def _add_predict(add: Callable[..., Any]) -> None:
    command = add(
        "predict", _predict, "Spectrum of a small molecule in the gas phase, from its name."
    )
    text = "structure file, formula (CH3CH2OH), common name (ethanol) or SMILES string (CCO)"
    command.add_argument("molecule", help=text)
    text = (
        "general (neutral molecules of H, C, N and O), gfn2, dft, another method of eqcalc label, "
    )
    text += "a shipped model (ethanol) or a model file (.eqc); default: general where it knows the "
    command.add_argument("--level", help=text + "molecule, else gfn2")
    text = "quick: VCI in a small basis, on terms of two modes above nine modes; standard: a model "
    text += "fine-tuned on labels of --level for this molecule; best: always terms of three modes; "
    text += "harmonic: scaled harmonic vibrations, as of all molecules of more than 12 atoms"
    qualities = ("harmonic", "quick", "standard", "best")
    command.add_argument("--quality", choices=qualities, default="quick", help=text)
    learning = command.add_argument_group("fine-tuning", "of --quality standard")
    text = "most labels of the level (default 60)"
    add_number(learning, "--labels", None, text, positive_count)
    add_number(learning, "--hours", None, "most time for the model [h] (default 1)")
    text = "fine-tune until members of the model agree about positions [cm⁻¹] (default 3)"
    add_number(learning, "--tolerance", None, text)
    text = "and about infrared intensities, of the strongest (default 0.05)"
    add_number(learning, "--area-tolerance", None, text)
    text = "model to fine-tune: a file (.eqc) or a shipped one (default general)"
    learning.add_argument("--start-from", metavar="MODEL", help=text)
    add_processes(learning, "structures labelled in parallel (default 1)", None)
    add_number(command, "--temperature", 298.15, "temperature of the gas [K]")
    add_number(command, "--fwhm", 4.0, "resolution [cm⁻¹]")
    command.add_argument("--charge", type=int, help="total charge [e] (default: as stated)")
    add_mass(command)
    text = "measured spectrum or list of bands, drawn over the computed one with its score"
    command.add_argument("--measured", type=Path, action="append", default=[], help=text)
    add_flag(command, "--plan", "print what would be done and how long it takes, and stop")
    command.add_argument("--output", type=output_folder, default=Path("predicted"), help="folder")


def _add_anharmonic(add: Callable[..., Any]) -> None:
    command = add(
        "anharmonic", _anharmonic, "Quantum vibrational spectrum of a molecule: VSCF and VCI."
    )
    add_model(command, optional=True)
    command.add_argument("molecule", type=Path, help="structure file")
    add_mass(command)
    command.add_argument(
        "--output", type=output_file, help="output file for transitions and assignments (.json)"
    )
    text = "modes in a term of the surface: 2, 3, 4 (default: 3 for molecules of few modes, "
    text += "and 4 for linear ones of three atoms)"
    command.add_argument("--coupling", type=int, choices=(2, 3, 4), help=text)
    text = "largest sum of quanta in the basis (default: what a few thousand functions allow)"
    command.add_argument("--quanta", type=int, help=text)
    text = "highest wavenumber [cm⁻¹] (default 4000, or that of the stiffest mode)"
    add_number(command, "--upper", None, text)


def _add_spectra(add: Callable[..., Any]) -> None:
    command = add("spectra", _spectra, "IR and Raman spectra, with errors, from a trajectory.")
    command.add_argument(
        "trajectory", type=Path, nargs="?", help="eqcalc trajectory, or see 'series of other codes'"
    )
    command.add_argument("--output", type=output_folder, default="spectra", help="folder")
    command.add_argument("--model", type=Path, help="model of the trajectory, for the sum rule")
    command.add_argument(
        "--committee",
        type=Path,
        nargs="+",
        metavar="MODEL",
        help="models whose disagreement about the dipole is shown beside the sampling error; "
        "path integrals need simulate --observables bead_positions=1",
    )
    text = "also the vibrational density of states, and the part of each element"
    command.add_argument("--density-of-states", action="store_true", default=None, help=text)
    text = "also the density of states of a group of atoms (from 0), such as OH=2,3"
    add_pairs(command, "--group", "NAME=ATOMS", text, integers)
    command.set_defaults(group=None)
    command.add_argument(
        "--decompose",
        type=positive_number,
        nargs="*",
        metavar="Å",
        help="also the terms of single and of different molecules of a cell, these by distance: "
        "3.5 5.5 for pairs up to 3.5 Å, to 5.5 Å, and all others; needs simulate --observables "
        "atomic_dipole, for the isotropic Raman spectrum atomic_polarizability",
    )
    command.add_argument(
        "--internal",
        nargs="+",
        metavar="COORDINATE",
        help="also power spectra of distances, angles or dihedral angles: of atoms from 0, as 0-8, "
        "0-1-8 or 3-0-1-8, or of all bonded elements, as O-H or C-O-H",
    )
    _add_resolution(command)
    text = (
        "window of the correlation function: hann, blackman, parzen, gaussian, bartlett, hamming, "
        "rectangular"
    )
    add_text(command, "--window", "hann", text)
    text = "correlation, welch, or multitaper (never negative, less leakage)"
    add_text(command, "--estimator", "correlation", text)
    _add_quantum_factor(command)
    command.add_argument(
        "--frame",
        help="laboratory (with rotational envelope, default), eckart or corotating (without)",
    )
    add_number(command, "--laser", 532.0, "of Raman [nm]")
    text = "of the Raman cross-section: VV, VH, unpolarized (no analyser) or natural"
    add_text(command, "--geometry", "unpolarized", text)
    add_flag(command, "--anti-stokes", "the anti-Stokes Raman cross-section")
    add_flag(command, "--photon-counting", "photon-counting detector")
    _add_limits(command)
    _add_reversed(command)
    add_series_options(command)


def _add_compare(add: Callable[..., Any]) -> None:
    command = add(
        "compare",
        _compare,
        "Compare computed spectra with a measured one, or their bands with a list.",
    )
    command.add_argument(
        "calculated",
        type=Path,
        nargs="+",
        metavar="FILE",
        help="spectra of eqcalc (.h5) and, last, the measured one: JCAMP-DX, or text or .csv with "
        "wavenumber and value (transmittance is converted); or a list of bands: positions, with "
        "intensities if known, or a JCAMP-DX peak table",
    )
    add_flag(command, "--fundamentals", "compare with known fundamentals of the molecule")
    command.add_argument(
        "--molecule", metavar="NAME", help="whose fundamentals, by name or InChI, if not recognised"
    )
    command.add_argument(
        "--bands",
        action=argparse.BooleanOptionalAction,
        help="the measured file is a list of bands, or (--no-bands) a curve; recognised by default",
    )
    text = "farthest a listed band may be from its computed one [cm⁻¹] (default 6 %%, at least 30)"
    add_number(command, "--window", None, text)
    command.add_argument("--output", type=output_folder, default="comparison", help="folder")
    _add_limits(command)
    text = "fit and report a scale factor of computed wavenumbers between these"
    add_range(command, "--scale", ("LOWEST", "HIGHEST"), text, positive_number)
    add_number(
        command, "--fwhm", None, "broaden computed spectra to this instrumental resolution [cm⁻¹]"
    )
    command.add_argument("--name", action="append", help="label in the legend, once per spectrum")
    command.add_argument(
        "--unit",
        type=_measured_unit,
        help="of the measured values, if the file does not say: "
        + ", ".join(_MEASURED_UNITS).replace("%", "%%"),
    )
    _add_reversed(command)


def _add_methods(add: Callable[..., Any]) -> None:
    command = add(
        "methods",
        _methods,
        "Infrared bands of one model by harmonic analysis, VCI and runs of several methods.",
    )
    add_model(command)
    command.add_argument("molecule", type=Path, help="structure file of the conformer")
    text = "trajectories of eqcalc simulate (.h5) with this model"
    command.add_argument("runs", type=Path, nargs="+", help=text)
    add_mass(command)
    command.add_argument("--output", type=output_folder, default="methods", help="folder")


def _add_assign(add: Callable[..., Any]) -> None:
    command = add(
        "assign",
        _assign,
        "Assign IR bands: position, area, harmonic partner, normal modes and atoms.",
    )
    command.add_argument("trajectory", type=Path, help="trajectory of eqcalc simulate (.h5)")
    command.add_argument("--output", type=output_folder, default="assignment", help="folder")
    command.add_argument("--model", type=Path, help="model of the trajectory")
    _add_resolution(command)
    text = "also assign to a group of atoms (from 0), such as OH=2,3"
    add_pairs(command, "--group", "NAME=ATOMS", text, integers)
    add_mass(command, "isotope shift of harmonic partners: D, 3=D, or 3=2.014")
    _add_quantum_factor(command)
    text = "eckart (without rotation), or laboratory (with the rotational envelope)"
    add_text(command, "--frame", "eckart", text)
    _add_reversed(command)


def _add_quantum_factor(command: Any) -> None:
    text = (
        "harmonic (exact for classical and ring-polymer dynamics), standard (exact for quantum "
        "thermostats and Wigner starts), schofield or none"
    )
    add_text(command, "--quantum-factor", "harmonic", text)


def _add_resolution(command: Any) -> None:
    group = command.add_mutually_exclusive_group()
    text = "width given to a sharp line [cm⁻¹] (default 10 or more)"
    add_number(group, "--resolution", None, text)
    add_number(group, "--lag", None, "longest correlation time [fs], instead")


def _add_limits(command: Any) -> None:
    text = "range of wavenumbers [cm⁻¹]"
    add_range(command, "--limits", ("FROM", "TO"), text)


def _add_reversed(command: Any) -> None:
    text = "wavenumbers decrease from left to right in figures"
    command.add_argument("--reversed", action="store_true", dest="reversed_axis", help=text)
