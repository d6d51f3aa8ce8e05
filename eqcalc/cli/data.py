# SPDX-License-Identifier: MIT
"""The commands that create datasets: label and convert."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    add_flag,
    add_number,
    add_pairs,
    add_processes,
    add_seed,
    chosen,
    literal,
    option_name,
    output_file,
    positive_count,
    tell_next,
)
from eqcalc.validation import InvalidInputError


def _label(options: argparse.Namespace) -> None:
    from eqcalc.labelling import generate, label
    from eqcalc.molecules import read_structures

    structures = read_structures(options.molecule)
    settings: dict[str, Any] = {
        "level_of_theory": _levels(options.level_of_theory),
        **chosen(options, "quantities", "processes", "progress"),
    }
    method = _method(options)
    if options.as_given:
        report = label(structures, method, options.target, **settings)
    else:
        molecule = structures[0] if len(structures) == 1 else structures
        report = generate(
            molecule, method, options.target, options.structures, seed=options.seed, **settings
        )
    print(report)
    _tell_next(options.target)


def _tell_next(dataset: Path) -> None:
    tell_next("train", "--template", dataset, "--output", dataset.with_suffix(".yaml"))


def _method(options: argparse.Namespace) -> Any:
    """Return the method, or methods by quantity, given by the options."""
    from eqcalc.labelling import as_method, method_named

    given = {key: literal(text) for key, text in options.option}
    dft = chosen(options, "functional", "basis")
    dft = {key: value for key, value in dft.items() if value is not None}
    named = [text.rpartition("=") for text in options.method or ["gfn2"]]
    if dft and "dft" not in [name for _, _, name in named]:
        raise InvalidInputError(
            "this method has none", key=f"--{next(iter(dft))}", expected="--method dft"
        )
    if len(named) == 1 and not named[0][0]:
        name = named[0][2]
        return method_named(name, {**(dft if name == "dft" else {}), **given})
    methods = {}
    for names, separator, name in named:
        if not separator:
            raise InvalidInputError(
                key="--method", value=name, expected="QUANTITY,…=NAME for each of several methods"
            )
        own = {
            key.partition(".")[2]: given.pop(key)
            for key in list(given)
            if key.partition(".")[0] in names.split(",")
        }
        methods[names] = method_named(name, {**(dft if name == "dft" else {}), **own})
    if given:
        raise InvalidInputError(
            "of which method?",
            key="--option",
            value=next(iter(given)),
            expected="the key after a quantity of its method, such as dipole.basis=def2-SVP",
        )
    return as_method(methods)


def _levels(texts: Sequence[str]) -> str | dict[str, str] | None:
    """Return a level of theory, or several by quantity: ``dipole,polarizability=PBE0``."""
    from eqcalc.quantities import known_quantities

    levels: dict[str, str] = {}
    for text in texts:
        names, separator, level = text.partition("=")
        quantities = names.split(",")
        if not separator or not set(quantities) <= set(known_quantities()):
            if len(texts) > 1:
                raise InvalidInputError(
                    key="--level-of-theory",
                    value=text,
                    expected="QUANTITY,…=TEXT for each of several levels",
                )
            return text
        levels |= dict.fromkeys(quantities, level)
    return levels or None


def _convert(options: argparse.Namespace) -> None:
    from eqcalc.datasets import Dataset, convert, export_dataset
    from eqcalc.datasets.conversion import REFERENCE
    from eqcalc.datasets.export import WRITERS

    if options.target.suffix.lower() in WRITERS:
        for name in ("level_of_theory", "unit", "ignore", "format", "option", "accept"):
            if getattr(options, name):
                raise InvalidInputError(
                    key=option_name(name),
                    value=getattr(options, name),
                    expected=f"nothing: {options.target} is written as {options.source} has it",
                )
        choices = {"keys": dict(options.key), **chosen(options, "overwrite", "progress")}
        print(export_dataset(Dataset.open(options.source), options.target, **choices))
        return
    report = convert(
        options.source,
        options.target,
        level_of_theory=_levels(options.level_of_theory),
        units=dict(options.unit),
        keys=dict(options.key),
        options=_reader_options(options),
        **chosen(options, "ignore", "format", "skip_bad", "accept", "overwrite", "progress"),
        reference=REFERENCE if options.reference else None,
    )
    print(report)
    _tell_next(options.target)


def _reader_options(options: argparse.Namespace) -> dict[str, Any]:
    stated = chosen(options, "properties", "exclude")
    given = {key: literal(text) for key, text in options.option}
    return {key: value for key, value in stated.items() if value is not None} | given


def _add_level_of_theory(command: Any, default: str) -> None:
    """Add the option that :func:`_levels` reads."""
    command.add_argument(
        "--level-of-theory",
        action="append",
        default=[],
        metavar="TEXT",
        help=f"level of theory to store, such as PBE0/def2-TZVP (default: {default}); by quantity: "
        "dipole,polarizability=TEXT",
    )


def add_data_commands(add: Callable[..., Any]) -> None:
    """Add label and convert with their options."""
    command = add(
        "label", _label, "Sample geometries of a molecule and label them by quantum chemistry."
    )
    command.add_argument(
        "molecule", type=Path, nargs="+", help="structure files (any format ASE reads)"
    )
    command.add_argument("target", type=Path, help="dataset to write (.h5)")
    command.add_argument(
        "--method",
        action="append",
        metavar="NAME",
        help="gfn2 (default), dft (PySCF), aiqm2 (MLatom, energy and forces), ptb (xtb, dipole and "
        "polarizability), ase:package.module.Calculator, package.module:Class, or the entry point "
        "of an installed package; several methods by quantity: --method energy,forces=aiqm2 "
        "--method dipole,polarizability=ptb",
    )
    text = "setting of the method, such as accuracy=0.01; for several methods QUANTITY.KEY=VALUE"
    add_pairs(command, "--option", "KEY=VALUE", text)
    command.add_argument(
        "--functional", help="exchange-correlation functional of dft (default PBE0)"
    )
    command.add_argument("--basis", help="basis set of dft (default def2-TZVP)")
    _add_level_of_theory(command, "that of the method")
    add_number(command, "--structures", 1000, "number of geometries", positive_count)
    add_flag(command, "--as-given", "label the given structures without sampling")
    command.add_argument(
        "--quantities",
        nargs="+",
        metavar="QUANTITY",
        help="quantities to label (default: all; for gfn2 energy forces dipole)",
    )
    add_processes(command, "structures labelled in parallel")
    add_seed(command)

    command = add(
        "convert",
        _convert,
        "Convert labelled structures to an eqcalc dataset, or a dataset to extended XYZ or an ASE "
        "database.",
    )
    command.add_argument(
        "source",
        type=Path,
        help="extxyz, ASE database, npz (MD17 layout), QM9 archive, or an output, or a folder of "
        "outputs, of CP2K, Gaussian, ORCA, Psi4 or Q-Chem; or an eqcalc dataset",
    )
    text = "dataset to write (.h5); of an eqcalc dataset .extxyz, .xyz or .db"
    command.add_argument("target", type=output_file, help=text)
    _add_level_of_theory(command, "as the file says")
    add_pairs(command, "--unit", "QUANTITY=UNIT", "energy=kcal/mol")
    add_pairs(command, "--key", "QUANTITY=KEY", "energy=E, to read or to write")
    command.add_argument("--ignore", nargs="*", default=[], metavar="KEY", help="keys to ignore")
    command.add_argument(
        "--format",
        help="extxyz, ase, npz, qm9 or outputs, if not clear from the suffix; or a reader of "
        "another package, package.module:Class",
    )
    add_pairs(command, "--option", "KEY=VALUE", "option of the reader")
    command.add_argument(
        "--properties", help="columns of a plain XYZ file, such as species:S:1:pos:R:3:gradient:R:3"
    )
    command.add_argument(
        "--exclude",
        type=Path,
        metavar="FILE",
        help="file with indices of QM9 molecules to leave out",
    )
    add_flag(command, "--skip-bad", "skip invalid structures instead of stopping")
    command.add_argument(
        "--accept",
        nargs="+",
        default=[],
        metavar="CHECK",
        help="checks whose failure is only reported: outliers, duplicates, lengths (no bonds), "
        "spins (other multiplicities than most of a composition), "
        "levels (outputs at other levels of theory than most), "
        "forces, dipole, polarizability (their scale); nan (such labels are missing)",
    )
    command.add_argument(
        "--no-reference",
        dest="reference",
        action="store_false",
        help="do not compare labels of a few molecules with GFN2-xTB",
    )
    add_flag(command, "--overwrite", "overwrite the output")
