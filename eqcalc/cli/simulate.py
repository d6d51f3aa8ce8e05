# SPDX-License-Identifier: MIT
"""The command simulate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    add_device,
    add_dynamics,
    add_mass,
    add_model,
    add_number,
    add_pairs,
    chosen,
    configure_process,
    literal,
    name_and_interval,
    number_from_zero,
    option_name,
    positive_count,
    tell_next,
    trajectory_file,
)
from eqcalc.methods import method, method_names
from eqcalc.validation import InvalidInputError

#: Options of methods on an effective potential.
_LEARNING = ("correction", "elevated_temperature", "labels")


def _is_effective(options: argparse.Namespace) -> bool:
    """Return whether the dynamics is that on a corrected potential; refuse its options if not."""
    is_effective = ":" not in options.method and method(options.method).effective_potential
    for name in _LEARNING:
        value = getattr(options, name)
        if value is not None and not is_effective:
            raise InvalidInputError(
                key=option_name(name), value=value, expected="--method Te-PIGS with it"
            )
    return is_effective


def _simulate(options: argparse.Namespace) -> None:
    from eqcalc.dynamics import (
        Equilibration,
        Method,
        default_observables,
        recorded_execution,
        recorded_observables,
        simulate,
        strides_at,
    )
    from eqcalc.molecules import (
        periodic_cell,
        read_structures,
        total_charge,
        warn_of_ignored,
    )
    from eqcalc.reports.cell import mean_density
    from eqcalc.runtime import EXECUTIONS, load_evaluator

    configure_process(options)
    is_effective = _is_effective(options)
    learned = options.output.with_name(f"{options.output.stem}-correction")
    structures = read_structures(options.molecule)
    for atoms in structures:
        warn_of_ignored(atoms)
    execution = options.execution or next(
        filter(None, map(recorded_execution, (options.output, learned / "path-integrals.h5"))), None
    )
    if execution in EXECUTIONS and EXECUTIONS[execution].compiles:
        print("compiling takes minutes unless the program is in the cache", file=sys.stderr)
    evaluator = load_evaluator(
        [options.model, *options.committee],
        structures[0].numbers,
        charge=total_charge(structures[0]),
        cell=periodic_cell(structures[0]),
        execution=execution,
        **chosen(options, "device", "precision"),
    )
    if is_effective:
        evaluator = _corrected(options, structures, evaluator, learned)
    pressure = {} if options.pressure is None else {"pressure": options.pressure}
    given = {key: literal(text) for key, text in options.option}
    dynamics = Method(options.method, **{**given, **pressure})
    observables = default_observables(options.timestep, evaluator.quantities, dynamics)
    # a run of an earlier version is resumed as it was started
    recorded = recorded_observables(options.output)
    if options.beads > 1 or "bead_positions" in recorded:  # for the sum rule
        observables |= strides_at({"bead_positions": None}, options.timestep)
    observables = {name: recorded.get(name, stride) for name, stride in observables.items()}
    trajectory = simulate(
        structures,
        evaluator,
        method=dynamics,
        steps=round(1000.0 * options.time / options.timestep),
        masses=dict(options.mass),
        equilibration=Equilibration(options.equilibration) if options.equilibration else None,
        observables=observables | strides_at(dict(options.observables), options.timestep),
        **chosen(options, "output", "temperature", "timestep", "seed"),
        **chosen(options, "replicas", "beads", "rotation", "progress", "checkpoint_interval"),
    )
    model = getattr(evaluator, "model", evaluator)
    _report_compilations(getattr(model, "members", [model]))
    print(trajectory)
    if dynamics.row.constant_pressure:
        print(mean_density(trajectory))
    else:
        tell_next("spectra", options.output, "--output", options.output.with_suffix(""))


def _corrected(
    options: argparse.Namespace, structures: Sequence[Any], model: Any, folder: Path
) -> Any:
    """Return V + δV, with a correction that is given, comes with eqcalc, or is learned now."""
    from eqcalc.centroid import (
        CorrectionError,
        LearningPlan,
        corrected,
        learn_correction,
        shipped_correction,
    )
    from eqcalc.models.checkpoint import load_model
    from eqcalc.molecules import atomic_masses

    if options.correction is not None:
        return corrected(model, options.correction)
    masses = dict(options.mass)
    if options.elevated_temperature is None and options.labels is None and not folder.exists():
        of_atoms = atomic_masses(structures[0], masses)
        if (shipped := shipped_correction(model, options.temperature, of_atoms)) is not None:
            print(
                f"correction: {shipped}, which comes with eqcalc, "
                f"{CorrectionError.of(load_model(shipped))}; another is learned with "
                "--elevated-temperature or --labels"
            )
            return corrected(model, shipped)
    plan = LearningPlan.for_molecule(
        structures[0],
        model,
        temperature=options.temperature,
        elevated=options.elevated_temperature,
        masses=masses,
        **({} if options.labels is None else {"labels": options.labels}),
    )
    if not (folder / "correction.eqc").exists():
        print(plan.told(model, structures[0]), file=sys.stderr)
    correction = learn_correction(
        structures, model, folder, plan, masses=masses, **chosen(options, "seed", "progress")
    )
    print(f"correction: {CorrectionError.of(correction)}")
    return corrected(model, correction)


def _report_compilations(members: Sequence[Any]) -> None:
    from eqcalc.runtime import CompiledExecution

    executions = [getattr(m.execution, "captured", m.execution) for m in members]
    compiled = [e for e in executions if isinstance(e, CompiledExecution)]
    if compiled:
        made, took = (
            sum(getattr(e, n) for e in compiled) for n in ("compilations", "compilation_time")
        )
        print(f"programs compiled in this run: {made}, in {took:.0f} s", file=sys.stderr)


def add_simulate_command(add: Callable[..., Any]) -> None:
    """Add simulate with its options."""
    names, by_name = (method_names(engine="eqcalc", by_name=short) for short in (False, True))
    command = add("simulate", _simulate, "Run molecular dynamics of many replicas, for spectra.")
    add_model(command, optional=True)
    command.add_argument(
        "molecule",
        type=Path,
        nargs="+",
        help="structure files, also several conformers; periodic ones of one cell",
    )
    command.add_argument("--output", type=trajectory_file, required=True, help="trajectory (.h5)")
    command.add_argument(
        "--method",
        default="NVE",
        help=f"{', '.join(by_name)} (default NVE), or package.module:Class, a thermostat of your "
        f"own; {' and '.join(name for name in names if name not in by_name)} need matrices and are "
        "available in Python only",
    )
    text = "parameter of the method, such as damping=0.5 of T-RPMD or one of your thermostat"
    add_pairs(command, "--option", "KEY=VALUE", text)
    command.add_argument(
        "--committee",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="further models, averaged with the first; the run stops where their forces disagree",
    )
    add_number(
        command,
        "--elevated-temperature",
        None,
        "of the path integrals from which Te-PIGS learns [K] (default 600, or --temperature)",
    )
    add_number(
        command, "--labels", None, "rings from which it learns (default 10000)", positive_count
    )
    command.add_argument(
        "--correction",
        type=Path,
        metavar="FILE",
        help="take this correction.eqc of an earlier run of Te-PIGS instead of learning one "
        "(default: one that comes with eqcalc, if it is of this model and these isotopes)",
    )
    add_dynamics(command, timestep=0.5)
    text = "of NPT, in its cells of the same shape [bar] (default 1)"
    add_number(command, "--pressure", None, text, float)
    add_number(
        command, "--equilibration", 500.0, "equilibration before each run [fs]", number_from_zero
    )
    text = "independent runs, used to estimate errors"
    add_number(command, "--replicas", 16, text, positive_count)
    add_mass(command)
    text = "wall time between checkpoints [s]; SIGTERM and Ctrl-C write one at once"
    add_number(command, "--checkpoint-interval", 10.0, text, number_from_zero)
    command.add_argument(
        "--rotation",
        choices=("thermal", "none"),
        default="thermal",
        help="none: start without angular momentum, for bands without rotational envelope",
    )
    command.add_argument(
        "--observables",
        type=name_and_interval,
        nargs="+",
        default=[],
        metavar="NAME[=FS]",
        help="record these too, or at other times between frames: any quantity of the model, "
        "dipole_rate, kinetic_energy_virial, radius_of_gyration, …, or package.module:NAME, an "
        "observable of your own (default: dipole, polarizability and positions every 1 fs, which "
        "spectra and assign take; velocities, energies and temperature every 10 fs, bead_positions "
        "every 100 fs; for a committee on path integrals bead_positions=1; for small files of "
        "large molecules positions=10)",
    )
    add_device(command)
    command.add_argument(
        "--execution",
        metavar="NAME",
        help="of the network: fused, captured, compiled, eager or another that doctor lists; "
        "compiled takes minutes once and suits most networks (default: the fastest at hand)",
    )
