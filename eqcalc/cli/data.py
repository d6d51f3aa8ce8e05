# SPDX-License-Identifier: MIT
"""The commands that make datasets: label and convert."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import name_and_value, positive_count, read_structures


def _label(options: argparse.Namespace) -> None:
    from eqcalc.labelling.command import label_molecule, label_structures

    choices: dict[str, Any] = {
        "method": options.method,
        "quantities": options.quantities,
        "processes": options.processes,
        "progress": not options.quiet,
    }
    structures = read_structures(options.molecule)
    if options.as_given:
        report = label_structures(structures, options.target, **choices)
    else:
        report = label_molecule(
            structures,
            options.target,
            n_geometries=options.structures,
            seed=options.seed,
            **choices,
        )
    print(report)


def _convert(options: argparse.Namespace) -> None:
    from eqcalc.datasets import convert

    report = convert(
        options.source,
        options.target,
        level_of_theory=options.level_of_theory,
        units=dict(options.unit),
        keys=dict(options.key),
        ignore=options.ignore,
        format=options.format,
        properties=options.properties,
        exclude=options.exclude,
        skip_bad=options.skip_bad,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(report)


def add_data_commands(add: Callable[..., Any]) -> None:
    """Add label and convert with their options."""
    command = add(
        "label", _label, "Sample geometries of a molecule and label them by quantum chemistry."
    )
    command.add_argument("molecule", type=Path, nargs="+", help="structure files (any ASE reads)")
    command.add_argument("target", type=Path, help="dataset to write (.h5)")
    command.add_argument(
        "--method",
        choices=("gfn2", "pbe0"),
        default="gfn2",
        help="GFN2-xTB, or PBE0/def2-TZVP (default gfn2)",
    )
    command.add_argument(
        "--structures", type=positive_count, default=1000, help="number of geometries"
    )
    command.add_argument(
        "--as-given", action="store_true", help="label the structures of the files, sample none"
    )
    command.add_argument(
        "--quantities",
        nargs="+",
        metavar="QUANTITY",
        help="labels (default: energy forces dipole, with pbe0 also polarizability)",
    )
    command.add_argument(
        "--processes", type=positive_count, default=1, help="structures at a time (default 1)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the sampling (default 0)")

    command = add("convert", _convert, "Convert labelled structures into a dataset of eqcalc.")
    command.add_argument(
        "source", type=Path, help="extxyz, ASE database, npz (MD17 layout), or QM9 archive"
    )
    command.add_argument("target", type=Path, help="dataset to write (.h5)")
    command.add_argument(
        "--level-of-theory", help="for example PBE0/def2-TZVP, unless the file says so"
    )
    command.add_argument(
        "--unit",
        type=name_and_value,
        action="append",
        default=[],
        metavar="QUANTITY=UNIT",
        help="energy=kcal/mol",
    )
    command.add_argument(
        "--key",
        type=name_and_value,
        action="append",
        default=[],
        metavar="QUANTITY=KEY",
        help="energy=E",
    )
    command.add_argument("--ignore", nargs="*", default=[], metavar="KEY", help="keys to leave out")
    command.add_argument("--format", help="extxyz, ase, npz or qm9, if the ending does not say it")
    command.add_argument(
        "--properties", help="columns of a plain XYZ file, species:S:1:pos:R:3:gradient:R:3"
    )
    command.add_argument(
        "--exclude", type=Path, metavar="FILE", help="indices of molecules of QM9 to leave out"
    )
    command.add_argument(
        "--skip-bad", action="store_true", help="leave out bad structures instead of refusing"
    )
    command.add_argument("--overwrite", action="store_true", help="replace the target")
