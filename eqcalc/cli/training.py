# SPDX-License-Identifier: MIT
"""The commands train, evaluate and sweep."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    add_model,
    add_precision,
    add_threads,
    chosen,
    configure_process,
    option_name,
    output_file,
    output_folder,
    tell_next,
)
from eqcalc.validation import InvalidInputError


def _train(options: argparse.Namespace) -> None:
    from eqcalc.training import TrainingConfig, train
    from eqcalc.training.few_labels import described_errors
    from eqcalc.training.settings import TEMPLATE_ADVICE
    from eqcalc.training.template import write_template

    if options.template is not None:
        if options.config is not None:
            raise InvalidInputError(
                key="config", value=options.config, expected="nothing beside --template"
            )
        text = write_template(options.template, options.output, start_from=options.start_from)
        to = options.output
        print(text if to is None else f"settings: {to}")
        if to is not None:
            tell_next("train", to)
        return
    if options.config is None:
        raise InvalidInputError("missing", key="config", advice=TEMPLATE_ADVICE)
    for key in ("output", "start_from"):
        if (value := getattr(options, key)) is not None:
            expected = "only with --template"
            raise InvalidInputError(key=option_name(key), value=value, expected=expected)
    configure_process(options)
    dataset = TrainingConfig.read(options.config).data.path  # the file may move meanwhile
    result = train(options.config, progress=options.progress)
    print(f"model: {result.path}")
    if errors := result.record.get("left_out"):
        print(f"errors of structures that are left out: {described_errors(errors)}")
    if result.finished:
        tell_next("evaluate", result.path, dataset, "--split", "test")
    else:
        print("time limit reached; rerun the same command to resume")


def _evaluate(options: argparse.Namespace) -> None:
    from eqcalc.files import make_folder
    from eqcalc.harmonic import describe_smoothness
    from eqcalc.molecules import read_structures
    from eqcalc.training import evaluate

    configure_process(options)
    if options.dataset is None and not options.smoothness:
        expected = "labelled structures, or --smoothness with a molecule"
        raise InvalidInputError(key="dataset", value=None, expected=expected)
    if options.output is not None:
        make_folder(options.output)
    if options.dataset is not None:
        table = evaluate(
            options.model, options.dataset, **chosen(options, "split", "precision", "progress")
        )
        print(table)
        if options.output is not None:
            table.write(options.output)
            print(f"table and parity plots: {options.output}")
    if options.smoothness is not None:
        molecules = read_structures(options.smoothness)
        print(describe_smoothness(options.model, molecules or options.dataset))
    tell_next("harmonic", options.model, "MOLECULE.xyz")


def _sweep(options: argparse.Namespace) -> None:
    from eqcalc.training.sweeps import summary_text, sweep

    configure_process(options)
    command = f"eqcalc sweep {options.config}"
    only = {axis: labels.split(";") for axis, labels in options.only}
    table = sweep(
        options.config, options.output, command=command, only=only, progress=options.progress
    )
    print(summary_text(table))
    print(f"all errors: {table}")


def add_training_commands(add: Callable[..., Any]) -> None:
    """Add train, evaluate and sweep with their options."""
    command = add("train", _train, "Train a potential, or resume an interrupted training.")
    command.add_argument("config", type=Path, nargs="?", help="settings (YAML); see --template")
    command.add_argument(
        "--template",
        type=Path,
        metavar="DATASET",
        help="print settings for a dataset, with comments, instead of training",
    )
    command.add_argument(
        "--output", type=output_file, metavar="FILE", help="write the settings of --template here"
    )
    command.add_argument(
        "--start-from",
        metavar="MODEL",
        help="with --template: fine-tune this model, a file (.eqc) or a shipped one (hcno: the "
        "general model of molecules of H, C, N and O), in minutes and with few labels",
    )
    add_threads(command)

    command = add("evaluate", _evaluate, "Evaluate the errors of a model on labelled structures.")
    add_model(command)
    command.add_argument("dataset", type=Path, nargs="?", help="labelled structures (.h5)")
    command.add_argument(
        "--smoothness",
        type=Path,
        nargs="*",
        metavar="MOLECULE",
        help="also tell for which modes of these molecules, relaxed, anharmonic constants may be "
        "trusted (default: the lowest structure of each molecule of the dataset)",
    )
    command.add_argument(
        "--split",
        help="training, validation or test part of the split used in training; "
        "or NAME/PART of a split stored in it",
    )
    command.add_argument(
        "--output", type=output_folder, help="folder for the table and parity plots"
    )
    add_precision(command)
    add_threads(command)

    command = add("sweep", _sweep, "Train over a grid of models, targets, sizes and seeds.")
    command.add_argument("config", type=Path, help="settings and axes (YAML)")
    command.add_argument("--output", type=output_folder, required=True, help="folder of all runs")
    command.add_argument(
        "--only",
        nargs=2,
        action="append",
        default=[],
        metavar=("AXIS", "LABELS"),
        help="train only these labels of an axis, separated by semicolons (may be repeated)",
    )
    add_threads(command)
