# SPDX-License-Identifier: MIT
"""The parser and all commands but those of spectra and i-PI."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import eqcalc
from eqcalc.cli.arguments import (
    add_mass,
    isotopes,
    name_and_value,
    number_from_zero,
    output_folder,
    positive_count,
    positive_number,
    read_structures,
    trajectory_file,
)
from eqcalc.cli.ipi import add_ipi_commands
from eqcalc.cli.spectra import add_spectrum_commands

__all__ = ["main"]

#: Exit status of a command that was refused or failed with a known error.
FAILURE = 2
#: That of a command stopped by Ctrl-C, as shells have it.
INTERRUPTED = 128 + signal.SIGINT.value


# --- commands -------------------------------------------------------------------


def _demo(options: argparse.Namespace) -> None:
    from eqcalc.demo import demo

    result = demo(options.output, seed=options.seed, progress=not options.quiet)
    print(result.summary)
    print(f"everything is in {result.folder}")


def _label(options: argparse.Namespace) -> None:
    from eqcalc.reference.command import label_molecule, label_structures

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
        units=_assignments(options.unit),
        keys=_assignments(options.key),
        ignore=options.ignore,
        format=options.format,
        properties=options.properties,
        exclude=options.exclude,
        skip_bad=options.skip_bad,
        overwrite=options.overwrite,
        progress=not options.quiet,
    )
    print(report)


def _train(options: argparse.Namespace) -> None:
    from eqcalc.training import train

    _own_the_process(options)
    result = train(options.config, progress=not options.quiet)
    if not result.finished:
        print("the time limit came first; the same command goes on")
    print(f"the model is {result.path}")


def _evaluate(options: argparse.Namespace) -> None:
    from eqcalc.folders import make_folder
    from eqcalc.training import evaluate

    _own_the_process(options)
    if options.output is not None:
        make_folder(options.output)
    table = evaluate(
        options.model,
        options.dataset,
        split=options.split,
        precision=options.precision,
        progress=not options.quiet,
    )
    print(table)
    if options.output is not None:
        table.write(options.output)
        print(f"table and parity plots are in {options.output}")


def _sweep(options: argparse.Namespace) -> None:
    from eqcalc.analysis.sweep import summary_text, sweep

    _own_the_process(options)
    command = f"eqcalc sweep {options.config}"
    only = {axis: labels.split(";") for axis, labels in options.only}
    table = sweep(
        options.config, options.output, command=command, only=only, progress=not options.quiet
    )
    print(summary_text(table))
    print(f"every error is in {table}")


def _simulate(options: argparse.Namespace) -> None:
    from eqcalc.dynamics import (
        Equilibration,
        default_observables,
        recorded_execution,
        simulate,
    )
    from eqcalc.electrons import total_charge, warn_of_ignored
    from eqcalc.models.checkpoint import load_model
    from eqcalc.models.committee import Committee
    from eqcalc.models.compositions import check_charge
    from eqcalc.models.precision import check_precision, in_precision
    from eqcalc.runtime import CompiledEvaluator, evaluator_for

    check_precision(options.precision)
    _own_the_process(options)
    structures = read_structures(options.molecule)
    charge = total_charge(structures[0])
    warn_of_ignored(structures[0])
    execution = options.execution or recorded_execution(options.output)
    if execution == CompiledEvaluator.execution:
        print("compiling takes minutes where the cache has no program yet", file=sys.stderr)
    members = []
    for path in (options.model, *options.committee):
        model = in_precision(load_model(path, device=options.device), options.precision)
        check_charge(model.metadata, charge)
        members.append(
            evaluator_for(model, structures[0].numbers, charge=charge, execution=execution)
        )
    evaluator = Committee(members) if options.committee else members[0]
    observables = default_observables(options.timestep, evaluator.quantities)
    observables["bead_positions"] = 10 * observables["positions"]  # for the sum rule
    if options.bead_positions is not None:
        observables["bead_positions"] = max(1, round(options.bead_positions / options.timestep))
    if options.positions:
        observables["positions"] = default_observables(options.timestep, ["dipole"])["dipole"]
    trajectory = simulate(
        structures,
        evaluator,
        output=options.output,
        method=options.method,
        temperature=options.temperature,
        timestep=options.timestep,
        steps=round(1000.0 * options.time / options.timestep),
        seed=options.seed,
        replicas=options.replicas,
        beads=options.beads,
        masses=isotopes(options.mass),
        equilibration=Equilibration(options.equilibration) if options.equilibration else None,
        rotation=options.rotation,
        observables=observables,
        progress=not options.quiet,
    )
    compiled = [member for member in members if isinstance(member, CompiledEvaluator)]
    if compiled:
        made = sum(member.compilations for member in compiled)
        took = sum(member.compilation_time for member in compiled)
        print(f"programs compiled in this run: {made}, in {took:.0f} s", file=sys.stderr)
    print(trajectory)


def _ipi(options: argparse.Namespace) -> None:
    options.ipi(options)


def _info(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import read_header
    from eqcalc.reports.describe import describe_file

    if options.json:
        print(json.dumps(read_header(options.file), indent=1, ensure_ascii=False))
    else:
        print(describe_file(options.file))


def _doctor(options: argparse.Namespace) -> None:
    from eqcalc.models.checkpoint import load_model
    from eqcalc.models.precision import in_precision
    from eqcalc.runtime.doctor import diagnose
    from eqcalc.shipped import shipped_model

    _own_the_process(options)
    potential = load_model(options.model or shipped_model(), device=options.device)
    print(diagnose(in_precision(potential, options.precision), compile=options.compile))


# --- reading arguments ------------------------------------------------------------


def _assignments(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"expected NAME=VALUE, got {text!r}")
        pairs[name] = value
    return pairs


def _own_the_process(options: argparse.Namespace) -> None:
    """Make settings of the whole process, which the library leaves alone but a command may."""
    import torch

    from eqcalc.runtime.memory import keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(options.threads)


# --- the parser -------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="eqcalc",
        description="Vibrational spectra from machine-learned (ring-polymer) molecular dynamics.",
    )
    parser.add_argument("--version", action="version", version=f"eqcalc {eqcalc.__version__}")
    parser.add_argument(
        "--traceback", action="store_true", help="show where an error comes from in the code"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Callable[[argparse.Namespace], None], text: str) -> Any:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        command.add_argument("--quiet", action="store_true", help="no progress bars")
        return command

    command = add(
        "demo", _demo, "From the shipped ethanol model to its IR and Raman spectrum, in minutes."
    )
    command.add_argument("--output", type=output_folder, default=Path("eqcalc-demo"), help="folder")
    command.add_argument("--seed", type=int, default=0)
    _add_data_commands(add)
    _add_model_commands(add)
    _add_simulate(add)
    add_spectrum_commands(add)
    command = add("ipi", _ipi, "Path integrals by i-PI: write its inputs, run it, serve it.")
    add_ipi_commands(command)
    return parser


def _add_precision(command: Any) -> None:
    command.add_argument(
        "--precision",
        help="of the network: float64, float32, tf32 or bf16; see doctor (default: as stored)",
    )


def _add_threads(command: Any) -> None:
    command.add_argument(
        "--threads", type=positive_count, default=1, help="CPU threads of the network (default 1)"
    )


def _add_data_commands(add: Callable[..., Any]) -> None:
    command = add(
        "label", _label, "Sample geometries of a molecule and label them by quantum chemistry."
    )
    command.add_argument("molecule", type=Path, nargs="+", help="structure files (any ASE reads)")
    command.add_argument("target", type=Path, help="dataset to write (.h5)")
    command.add_argument("--method", choices=("gfn2", "pbe0"), default="gfn2")
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
    command.add_argument("--processes", type=positive_count, default=1)
    command.add_argument("--seed", type=int, default=0)

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


def _add_model_commands(add: Callable[..., Any]) -> None:
    command = add("train", _train, "Train a potential, or go on with a run that was stopped.")
    command.add_argument("config", type=Path, help="settings (YAML)")
    _add_threads(command)

    command = add("evaluate", _evaluate, "Errors of a model on labelled structures.")
    command.add_argument("model", type=Path)
    command.add_argument("dataset", type=Path)
    command.add_argument(
        "--split",
        help="training, validation or test, as the training divided this dataset; "
        "or NAME/PART of a split stored in it",
    )
    command.add_argument(
        "--output", type=output_folder, help="folder for the table and parity plots"
    )
    _add_precision(command)
    _add_threads(command)

    command = add("sweep", _sweep, "Train over a grid of models, targets, sizes and seeds.")
    command.add_argument("config", type=Path, help="settings and axes (YAML)")
    command.add_argument("--output", type=output_folder, required=True, help="folder of all runs")
    command.add_argument(
        "--only",
        nargs=2,
        action="append",
        default=[],
        metavar=("AXIS", "LABELS"),
        help="train a part: labels of an axis, separated by semicolons (may be repeated)",
    )
    _add_threads(command)


def _add_simulate(add: Callable[..., Any]) -> None:
    command = add("simulate", _simulate, "Molecular dynamics of many replicas, for spectra.")
    command.add_argument("model", type=Path)
    command.add_argument("molecule", type=Path, nargs="+", help="structure files; conformers too")
    command.add_argument("--output", type=trajectory_file, required=True, help="trajectory (.h5)")
    command.add_argument(
        "--method",
        default="NVE",
        help="NVE, Langevin, SVR, NHC, RPMD, T-RPMD, PA-CMD, PILE-L or PILE-G (default NVE); "
        "GLE and PI+GLE take matrices and are there in Python only",
    )
    command.add_argument(
        "--committee",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="further models, averaged with the first; the run stops where their forces disagree",
    )
    command.add_argument(
        "--temperature", type=positive_number, default=300.0, help="K (default 300)"
    )
    command.add_argument("--timestep", type=positive_number, default=0.5, help="fs (default 0.5)")
    command.add_argument(
        "--time", type=positive_number, default=5.0, help="ps of each replica (default 5)"
    )
    command.add_argument(
        "--equilibration", type=number_from_zero, default=500.0, help="fs before that (default 500)"
    )
    command.add_argument("--replicas", type=positive_count, default=16)
    command.add_argument("--beads", type=positive_count, default=1)
    add_mass(command)
    command.add_argument(
        "--rotation",
        choices=("thermal", "none"),
        default="thermal",
        help="none: start without angular momentum, for bands without rotational envelope",
    )
    command.add_argument(
        "--positions",
        action="store_true",
        help="record positions as often as the dipole, for assign and for frames of the molecule",
    )
    command.add_argument(
        "--bead-positions",
        type=positive_number,
        metavar="FS",
        help="time between positions of all beads (default 100), for committees: 1; large files",
    )
    command.add_argument("--device", default="cpu")
    command.add_argument(
        "--execution",
        metavar="NAME",
        help="of the network: fused, captured, compiled, eager or another that doctor lists; "
        "compiled takes minutes once and suits most networks (default: the fastest at hand)",
    )
    _add_precision(command)
    command.add_argument("--seed", type=int, default=0)
    _add_threads(command)

    command = add("doctor", _doctor, "Check this machine, and time every way to execute a model.")
    command.add_argument("model", type=Path, nargs="?", help="default: the shipped one")
    command.add_argument("--device", default="cpu")
    command.add_argument(
        "--compile", action="store_true", help="compile the network ahead of time, in minutes, too"
    )
    _add_precision(command)
    _add_threads(command)

    command = add("info", _info, "Say what a model, dataset, trajectory or spectrum file holds.")
    command.add_argument("file", type=Path)
    command.add_argument("--json", action="store_true", help="all of the header of a model file")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status."""
    format_before = warnings.formatwarning
    warnings.formatwarning = _warning_line
    try:
        return _run(_parser().parse_args(arguments))
    except KeyboardInterrupt:
        print(
            "eqcalc: stopped; simulate, train, label and demo go on when called again",
            file=sys.stderr,
        )
        return INTERRUPTED
    finally:
        warnings.formatwarning = format_before


def _warning_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return a warning as a user of commands reads it, without a line of code."""
    if category.__module__.startswith("eqcalc"):
        return f"eqcalc: warning: {message}\n"
    return f"{filename}: {category.__name__}: {message}\n"


def _run(options: argparse.Namespace) -> int:
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the output has enough, as `head`; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE.value
    except Exception as error:
        if options.traceback:
            raise
        print(f"eqcalc {options.command}: error: {error}", file=sys.stderr)
        return FAILURE
    return 0
