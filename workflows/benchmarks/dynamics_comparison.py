# SPDX-License-Identifier: MIT
"""Time the dynamics of eqcalc beside that of SchNetPack 2: ethanol, one thread, run by run in turn.

    OMP_NUM_THREADS=1 python workflows/benchmarks/dynamics_comparison.py

Both networks are PaiNN with 128 features, 3 layers, 20 radial functions and a cutoff of
5 Å in float32; theirs has random parameters, with small forces at a low temperature so
that the molecule stays together. Compared is the CPU time of a step. "bare": energy and
forces, nothing written. "output": dipole and polarizability too, in eqcalc every fourth
step with the default observables into a trajectory, in SchNetPack every step with the
callbacks that its command attaches (HDF5 every step, checkpoint and TensorBoard every
tenth). The time of a run of eqcalc includes its start and end.

    python workflows/benchmarks/dynamics_comparison.py --device cuda --replicas 8 --beads 1 43

compares elapsed time on a GPU; it has not run on one yet. There the steps of eqcalc are
timed as the difference of a long and a short run, without the recording at their start.

SchNetPack must be importable in the same environment, as for schnetpack_comparison.py.

Measured with SchNetPack 2.2.0 and torch 2.13.0, 3 runs of each in turn on a machine shared
with other work (load 3), CPU ms per step; under a load of 7 the ratios were 7.8 to 10.6:

=====  ======  ======  ==========  =====
beads  kind    eqcalc  SchNetPack  ratio
=====  ======  ======  ==========  =====
1      bare    0.69    5.2         7.5
1      output  0.78    8.2         10.7
16     bare    5.9     41          7.3
16     output  6.1     53          8.7
64     bare    21.4    165         7.5
64     output  22.2    216         9.7
=====  ======  ======  ==========  =====
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from ase.build import molecule

import eqcalc
from eqcalc import load_model, shipped_model, simulate
from eqcalc.runtime import evaluator_for, keep_freed_memory

TEMPERATURE = 300.0  # K
COLD = 1.0  # K
STEPS = {1: 400, 16: 60, 64: 24}


def theirs(
    beads: int, folder: Path, *, output: bool, replicas: int = 1, device: str = "cpu"
) -> Callable[[int], object]:
    """Return a call that takes a number of steps with SchNetPack."""
    from schnetpack import md
    from schnetpack.md.calculators import SchNetPackCalculator
    from schnetpack.md.integrators import RingPolymer, VelocityVerlet
    from schnetpack.md.neighborlist_md import NeighborListMD
    from schnetpack.md.simulation_hooks import LangevinThermostat, PILELocalThermostat
    from schnetpack.md.simulation_hooks import callback_hooks as callbacks
    from schnetpack.transform import MatScipyNeighborList
    from schnetpack_comparison import CUTOFF, schnetpack_model

    network = schnetpack_model(response=output)
    with torch.no_grad():
        for parameter in network.output_modules[0].outnet[-1].parameters():
            parameter.mul_(1e-3)
    path = folder / f"network-{output}.pt"
    torch.save(network, path)
    properties = ["energy", "dipole_moment", "polarizability"] if output else ["energy"]
    calculator = SchNetPackCalculator(
        str(path),
        "forces",
        "kcal/mol",
        "Angstrom",
        NeighborListMD(CUTOFF, 2.0, MatScipyNeighborList),
        energy_key="energy",
        required_properties=[*properties, "forces"],
    )
    system = md.System()
    molecules = [molecule("CH3CH2OH") for _ in range(replicas)]
    system.load_molecules(molecules, beads, position_unit_input="Angstrom")
    md.MaxwellBoltzmannInit(COLD * beads).initialize_system(system)
    integrator = VelocityVerlet(0.25) if beads == 1 else RingPolymer(0.25, beads, COLD)
    thermostat = LangevinThermostat if beads == 1 else PILELocalThermostat
    hooks = [thermostat(COLD, 100.0)]
    if output:
        streams = [callbacks.MoleculeStream(True), callbacks.PropertyStream(properties)]
        hooks += [
            callbacks.Checkpoint(str(folder / f"{beads}.chk"), every_n_steps=10),
            callbacks.FileLogger(str(folder / f"{beads}.hdf5"), 100, streams),
            callbacks.TensorBoardLogger(
                str(folder / f"log-{beads}"), ["energy", "temperature"], every_n_steps=10
            ),
        ]
    simulator = md.Simulator(system, integrator, calculator, simulator_hooks=hooks, progress=False)
    return simulator.to(torch.device(device)).to(torch.float32).simulate


def ours(
    beads: int, folder: Path, *, output: bool, replicas: int = 1, device: str = "cpu"
) -> Callable[[int], object]:
    """Return a call that runs a simulation of a number of steps with eqcalc."""
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"), dtype=torch.float32, device=device)
    evaluator = evaluator_for(potential, torch.tensor(atoms.numbers))
    runs = [0]

    def run(steps: int) -> object:
        runs[0] += 1
        return simulate(
            atoms,
            evaluator,
            output=folder / f"eqcalc-{beads}-{output}-{runs[0]}.h5",
            method="Langevin" if beads == 1 else "PILE-L",
            temperature=TEMPERATURE,
            timestep=0.25,
            steps=steps,
            seed=1,
            beads=beads,
            replicas=replicas,
            observables=None if output else {"temperature": steps},
            progress=False,
        )

    return run


def milliseconds(call: Callable[[int], object], steps: int, device: str) -> float:
    """Return the time of a step: CPU time on a CPU, else elapsed time."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    call(steps)
    if device != "cpu":
        torch.cuda.synchronize()
    return 1e3 * (clock() - start) / steps


def without_start(call: Callable[[int], object], steps: int, device: str) -> float:
    """Return the time of a step in milliseconds, without that of beginning and ending a run."""
    few = max(4, steps // 4)
    short, long = (n * milliseconds(call, n, device) for n in (few, few + steps))
    return (long - short) / steps


def main() -> None:
    """Print milliseconds per step and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beads", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--replicas", type=int, default=1, help="molecules of one call")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, help="table as numbers")
    options = parser.parse_args()
    try:
        import schnetpack
    except ModuleNotFoundError:
        raise SystemExit(
            "SchNetPack is not importable here; install it beside eqcalc, see "
            "workflows/benchmarks/schnetpack_comparison.py"
        ) from None
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    device, own_time = options.device, milliseconds
    if device == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()
    else:
        own_time = without_start
    print(
        f"eqcalc {eqcalc.__version__}, SchNetPack {schnetpack.__version__}, torch "
        f"{torch.__version__}, {device}, {options.replicas} replicas, medians of "
        f"{options.repeats} runs in turn"
    )
    rows: list[dict[str, object]] = []
    print("beads  kind      eqcalc/ms  SchNetPack/ms  ratio (quartiles)")
    with tempfile.TemporaryDirectory() as name:
        for beads in options.beads:
            for output in (False, True):
                steps = STEPS.get(beads, max(20, 1000 // beads)) if device == "cpu" else 200
                own, other = (
                    code(beads, Path(name), output=output, replicas=options.replicas, device=device)
                    for code in (ours, theirs)
                )
                own(max(4, steps // 10))
                other(max(4, steps // 10))
                times = [
                    (own_time(own, steps, device), milliseconds(other, steps, device))
                    for _ in range(options.repeats)
                ]
                low, middle, high = statistics.quantiles([b / a for a, b in times], n=4)
                mine, their = (statistics.median(column) for column in zip(*times, strict=True))
                print(
                    f"{beads:5d}  {'output' if output else 'bare':7s} {mine:11.3f} {their:14.2f}"
                    f"  {middle:5.2f} ({low:.2f} to {high:.2f})"
                )
                sys.stdout.flush()
                row = {"beads": beads, "output": output, "replicas": options.replicas}
                rows.append({**row, "eqcalc ms": mine, "SchNetPack ms": their, "ratio": middle})
                if options.json is not None:
                    options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
