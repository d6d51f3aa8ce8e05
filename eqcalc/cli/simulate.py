# SPDX-License-Identifier: MIT
"""The command of molecular dynamics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eqcalc.cli.arguments import (
    add_mass,
    add_precision,
    add_seed,
    add_threads,
    configure_process,
    name_and_interval,
    number_from_zero,
    positive_count,
    positive_number,
    trajectory_file,
)
from eqcalc.methods import method_names


def _simulate(options: argparse.Namespace) -> None:
    from eqcalc.dynamics import (
        Equilibration,
        default_observables,
        recorded_execution,
        simulate,
        strides_of,
    )
    from eqcalc.models.checkpoint import load_model
    from eqcalc.models.committee import Committee
    from eqcalc.models.compositions import check_charge
    from eqcalc.models.precision import check_precision, in_precision
    from eqcalc.molecules import read_structures, total_charge, warn_of_ignored
    from eqcalc.runtime import (
        EXECUTIONS,
        CapturedExecution,
        CompiledExecution,
        evaluator_for,
    )

    check_precision(options.precision)
    configure_process(options)
    structures = read_structures(options.molecule)
    charge = total_charge(structures[0])
    warn_of_ignored(structures[0])
    execution = options.execution or recorded_execution(options.output)
    if execution in EXECUTIONS and EXECUTIONS[execution].compiles:
        print("compiling takes minutes unless the program is in the cache", file=sys.stderr)
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
    for name, interval in options.observables:
        (stride,) = strides_of([name], options.timestep).values()
        if interval is not None:
            stride = max(1, round(interval / options.timestep))
        observables[name] = stride
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
        masses=dict(options.mass),
        equilibration=Equilibration(options.equilibration) if options.equilibration else None,
        rotation=options.rotation,
        observables=observables,
        progress=not options.quiet,
    )
    executions = [member.execution for member in members]
    executed = [e.recorded if isinstance(e, CapturedExecution) else e for e in executions]
    compiled = [execution for execution in executed if isinstance(execution, CompiledExecution)]
    if compiled:
        made = sum(member.compilations for member in compiled)
        took = sum(member.compilation_time for member in compiled)
        print(f"programs compiled in this run: {made}, in {took:.0f} s", file=sys.stderr)
    print(trajectory)


def add_simulate_command(add: Callable[..., Any]) -> None:
    """Add simulate with its options."""
    names, by_name = (method_names(engine="eqcalc", by_name=short) for short in (False, True))
    command = add("simulate", _simulate, "Molecular dynamics of many replicas, for spectra.")
    command.add_argument("model", type=Path, help="model file (.eqc)")
    command.add_argument("molecule", type=Path, nargs="+", help="structure files; conformers too")
    command.add_argument("--output", type=trajectory_file, required=True, help="trajectory (.h5)")
    command.add_argument(
        "--method",
        default="NVE",
        help=f"{', '.join(by_name)} (default NVE), or package.module:Class, a thermostat of your "
        f"own; {' and '.join(name for name in names if name not in by_name)} need matrices and are "
        "available in Python only",
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
        "--temperature", type=positive_number, default=300.0, help="[K] (default 300)"
    )
    command.add_argument(
        "--timestep", type=positive_number, default=0.5, help="time step [fs] (default 0.5)"
    )
    command.add_argument(
        "--time", type=positive_number, default=5.0, help="length of each replica [ps] (default 5)"
    )
    command.add_argument(
        "--equilibration",
        type=number_from_zero,
        default=500.0,
        help="before that [fs] (default 500)",
    )
    command.add_argument(
        "--replicas",
        type=positive_count,
        default=16,
        help="independent runs, from which errors are estimated (default 16)",
    )
    command.add_argument(
        "--beads", type=positive_count, default=1, help="per ring polymer; 1: classical nuclei"
    )
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
    command.add_argument(
        "--observables",
        type=name_and_interval,
        nargs="+",
        default=[],
        metavar="NAME[=FS]",
        help="what to record besides the default, with the time between frames: any quantity of "
        "the model, dipole_rate, kinetic_energy_virial, radius_of_gyration, …, or "
        "package.module:NAME, an observable of your own",
    )
    command.add_argument("--device", default="cpu", help="cpu, cuda or cuda:1 (default cpu)")
    command.add_argument(
        "--execution",
        metavar="NAME",
        help="of the network: fused, captured, compiled, eager or another that doctor lists; "
        "compiled takes minutes once and suits most networks (default: the fastest at hand)",
    )
    add_precision(command)
    add_seed(command)
    add_threads(command)
