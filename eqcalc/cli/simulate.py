# SPDX-License-Identifier: MIT
"""The command simulate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eqcalc.cli.arguments import (
    add_device,
    add_dynamics,
    add_mass,
    add_model,
    add_number,
    add_pairs,
    add_processes,
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

if TYPE_CHECKING:
    from ase import Atoms

    from eqcalc.trajectory import Trajectory

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
    from eqcalc.dynamics.shards import simulate_shards
    from eqcalc.reports.cell import mean_density

    configure_process(options)
    if options.processes == 1:
        trajectory = _run(options, options.output, options.replicas)
    else:
        trajectory = simulate_shards(
            _run_shard,
            _for_workers(options),
            steps=_steps(options),
            **chosen(options, "output", "replicas", "processes", "progress"),
        )
    print(trajectory)
    if ":" not in options.method and method(options.method).constant_pressure:
        print(mean_density(trajectory))
    else:
        tell_next("spectra", options.output, "--output", options.output.with_suffix(""))


def _steps(options: argparse.Namespace) -> int:
    return round(1000.0 * options.time / options.timestep)


def _for_workers(options: argparse.Namespace) -> argparse.Namespace:
    """Return the options for workers in other folders; a correction is learned before."""
    alike = argparse.Namespace(**vars(options))
    del alike.run, alike.parser
    alike.model = options.model.absolute()
    alike.committee = [path.absolute() for path in options.committee]
    alike.molecule = [path.absolute() for path in options.molecule]
    if _is_effective(options):
        structures = _structures(options)
        evaluator = _evaluator(options, structures, options.output)
        alike.correction = _correction(options, structures, evaluator, options.output).absolute()
    alike.progress = False
    return alike


def _run_shard(options: argparse.Namespace, output: Path, replicas: range) -> None:
    configure_process(options)
    _run(options, output, replicas)


def _run(options: argparse.Namespace, output: Path, replicas: int | range) -> Trajectory:
    """Run the dynamics of all replicas, or of some."""
    from eqcalc.dynamics import (
        Equilibration,
        Method,
        default_observables,
        recorded_observables,
        simulate,
        strides_at,
    )

    is_effective = _is_effective(options)
    structures = _structures(options)
    evaluator = _evaluator(options, structures, output)
    if is_effective:
        from eqcalc.centroid import corrected

        evaluator = corrected(evaluator, _correction(options, structures, evaluator, output))
    pressure = {} if options.pressure is None else {"pressure": options.pressure}
    given = {key: literal(text) for key, text in options.option}
    dynamics = Method(options.method, **{**given, **pressure})
    observables = default_observables(options.timestep, evaluator.quantities, dynamics)
    # a run of an earlier version is resumed as it was started
    recorded = recorded_observables(output)
    if options.beads > 1 or "bead_positions" in recorded:  # for the sum rule
        observables |= strides_at({"bead_positions": None}, options.timestep)
    observables = {name: recorded.get(name, stride) for name, stride in observables.items()}
    trajectory = simulate(
        structures,
        evaluator,
        output=output,
        replicas=replicas,
        method=dynamics,
        steps=_steps(options),
        masses=dict(options.mass),
        equilibration=Equilibration(options.equilibration) if options.equilibration else None,
        observables=observables | strides_at(dict(options.observables), options.timestep),
        **chosen(options, "temperature", "timestep", "seed", "beads", "rotation"),
        **chosen(options, "progress", "checkpoint_interval"),
    )
    model = getattr(evaluator, "model", evaluator)
    _report_compilations(getattr(model, "members", [model]))
    return trajectory


def _structures(options: argparse.Namespace) -> list[Atoms]:
    from eqcalc.molecules import read_structures, warn_of_ignored

    structures = read_structures(options.molecule)
    for atoms in structures:
        warn_of_ignored(atoms)
    return structures


def _evaluator(options: argparse.Namespace, structures: Sequence[Atoms], output: Path) -> Any:
    """Return the evaluator of the model, executed as in an interrupted run."""
    from eqcalc.dynamics import recorded_execution
    from eqcalc.molecules import periodic_cell, total_charge
    from eqcalc.runtime import EXECUTIONS, load_evaluator

    earlier = (output, _learned(output) / "path-integrals.h5")
    execution = options.execution or next(filter(None, map(recorded_execution, earlier)), None)
    if execution in EXECUTIONS and EXECUTIONS[execution].compiles:
        print("compiling takes minutes unless the program is in the cache", file=sys.stderr)
    return load_evaluator(
        [options.model, *options.committee],
        structures[0].numbers,
        charge=total_charge(structures[0]),
        cell=periodic_cell(structures[0]),
        execution=execution,
        **chosen(options, "device", "precision"),
    )


def _learned(output: Path) -> Path:
    """Return the folder of a correction that is learned for a trajectory."""
    return output.with_name(f"{output.stem}-correction")


def _correction(
    options: argparse.Namespace, structures: Sequence[Atoms], model: Any, output: Path
) -> Path:
    """Return the file of δV: one that is given, comes with eqcalc, or is learned now."""
    from eqcalc.centroid import CorrectionError, LearningPlan, learn_correction, shipped_correction
    from eqcalc.models.checkpoint import load_model
    from eqcalc.molecules import atomic_masses

    if options.correction is not None:
        return options.correction
    masses, folder = dict(options.mass), _learned(output)
    if options.elevated_temperature is None and options.labels is None and not folder.exists():
        of_atoms = atomic_masses(structures[0], masses)
        if (shipped := shipped_correction(model, options.temperature, of_atoms)) is not None:
            print(
                f"correction: {shipped}, which comes with eqcalc, "
                f"{CorrectionError.of(load_model(shipped))}; another is learned with "
                "--elevated-temperature or --labels"
            )
            return shipped
    plan = LearningPlan.for_molecule(
        structures[0],
        model,
        temperature=options.temperature,
        elevated=options.elevated_temperature,
        masses=masses,
        **({} if options.labels is None else {"labels": options.labels}),
    )
    file = folder / "correction.eqc"
    if not file.exists():
        print(plan.told(model, structures[0]), file=sys.stderr)
    correction = learn_correction(
        structures, model, folder, plan, masses=masses, **chosen(options, "seed", "progress")
    )
    print(f"correction: {CorrectionError.of(correction)}")
    return file


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
    add_processes(command, "processes that share the replicas")
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
