# SPDX-License-Identifier: MIT
"""Check and time everything that runs on a GPU, and print one table.

    bash workflows/benchmarks/gpu.sh

Checks: every execution of the model on the GPU equals the eager model on the CPU in
float64, whatever the size and layout of the batch, and leaves earlier results alone;
dynamics on the GPU follows the CPU's trajectory; a step with its noise and model as
one CUDA graph equals the step taken operation by operation; a training step lowers
the loss; Triton kernels and their derivatives equal the equations. Times: evaluations,
dynamics steps and training steps for growing batches of ethanol, PaiNN 128 × 3, each
with and without Triton kernels, and the fraction of the device's arithmetic that a large batch
achieves. A section that fails is told, and the others go on. Runs on the CPU too, to test itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import message_kernels
import torch
from ase.build import molecule
from torch.utils.flop_counter import FlopCounterMode

import eqcalc
from eqcalc.dynamics import Method, simulate
from eqcalc.dynamics.cuda_step import stepper
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.state import State
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.lnet import LNetConfig
from eqcalc.neighbors import all_pairs
from eqcalc.runtime import (
    EXECUTIONS,
    CapturedExecution,
    ExecutionUnavailableError,
    ExecutionWarning,
    FusedExecution,
    eager_evaluator,
    evaluator_for,
)
from eqcalc.structures import Structures

ETHANOL = molecule("CH3CH2OH")
ALL = ("energy", "forces", "dipole", "polarizability")
Sections = dict[str, list[dict[str, Any]]]


def ethanol_potential(device: str, dtype: torch.dtype) -> Potential:
    """Return the shipped model if there is one, else one with random parameters."""
    try:
        from eqcalc.models.checkpoint import load_model, shipped_model

        return load_model(shipped_model("ethanol"), device=device, dtype=dtype)
    except FileNotFoundError:
        torch.manual_seed(0)
        config = PotentialConfig(PaiNNConfig())
        return Potential(config, References((1, 6, 8))).to(device=device, dtype=dtype)


def distorted(n: int, device: str) -> torch.Tensor:
    """Return ``[n, 9, 3]`` positions around ethanol."""
    generator = torch.Generator().manual_seed(1)
    noise = 0.05 * torch.randn(n, 9, 3, generator=generator, dtype=torch.float64)
    return (torch.from_numpy(ETHANOL.positions) + noise).to(device)


def milliseconds(call: Callable[[], object], device: str, seconds: float = 1.0) -> float:
    """Return the median time of a call, after warming up."""

    def synchronize() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    for _ in range(3):
        call()
    synchronize()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds or len(times) < 5:
        begin = time.perf_counter()
        call()
        synchronize()
        times.append(time.perf_counter() - begin)
    return 1e3 * sorted(times)[len(times) // 2]


def check_model(device: str) -> dict[str, float]:
    """Compare every execution on the device with the eager one on the CPU in float64."""
    numbers = torch.from_numpy(ETHANOL.numbers)
    exact = eager_evaluator(ethanol_potential("cpu", torch.float64), numbers)
    result = {}
    for dtype, tolerance in ((torch.float64, 1e-6), (torch.float32, 1e-3)):
        for name, kind in EXECUTIONS.items():
            if kind.compiles:  # takes minutes; see check_compiled
                continue
            try:
                potential = ethanol_potential(device, dtype)
                evaluator = evaluator_for(potential, numbers, execution=name)
            except ExecutionUnavailableError as reason:
                if device != "cpu" and kind is not FusedExecution:
                    raise
                print(f"  {name}: not available: {reason}", flush=True)
                continue
            for n in (1, 2, 7, 128):
                x = distorted(n, "cpu")
                expected, found = exact(x, ALL), evaluator(x.to(device), ALL)
                kept = {key: value.clone() for key, value in found.items()}
                turned = x.flip(0).to(device)
                other = evaluator(turned, ALL)
                strided = x.permute(2, 0, 1).contiguous().permute(1, 2, 0).to(device)
                again = evaluator(strided, ALL)
                for key in ALL[1:]:
                    if not torch.equal(found[key], kept[key]):
                        raise SystemExit(f"{name}: the next call overwrites the {key}")
                    error = float((found[key].cpu() - expected[key]).abs().max())
                    error = max(error, float((again[key].cpu() - expected[key]).abs().max()))
                    back = other[key].cpu().flip(0)
                    error = max(error, float((back - expected[key]).abs().max()))
                    label = f"{name} {str(dtype)[6:]} {key}"
                    result[label] = max(error, result.get(label, 0.0))
                    if not error <= tolerance:
                        raise SystemExit(f"{label} on {device} is off by {error:.1e}")
            execution = evaluator.execution
            if isinstance(execution, CapturedExecution) and execution.captures != 5:
                raise SystemExit(f"{execution.captures} captures instead of 5")
    return result


def check_compiled(device: str, n: int, seconds: float) -> list[dict[str, object]]:
    """Compile PaiNN and L1Net for one batch; check and time energy, forces, μ and α.

    A network whose program is refused or disagrees is reported as not available. No other
    network is begun after so many seconds.
    """
    numbers, rows = torch.from_numpy(ETHANOL.numbers), []
    start = time.perf_counter()
    for name in ("PaiNN", "L1Net"):
        if time.perf_counter() - start > seconds:
            break
        if name == "PaiNN":
            potential = ethanol_potential(device, torch.float32)
        else:
            torch.manual_seed(0)
            config = PotentialConfig(LNetConfig())
            potential = Potential(config, References((1, 6, 8))).to(device)
        eager = eager_evaluator(potential, numbers)
        x = distorted(n, device)
        begin = time.perf_counter()
        try:
            compiled = evaluator_for(potential, numbers, execution="compiled")
            found = compiled(x, ALL)
        except ExecutionUnavailableError as reason:
            print(f"compiled {name}: not available: {reason}", flush=True)
            continue
        took = time.perf_counter() - begin
        expected, row = eager(x, ALL), {}
        executions = {"compiled": compiled}
        if device != "cpu":
            executions["captured-compiled"] = evaluator_for(
                potential, numbers, execution="captured-compiled"
            )
        for execution, evaluator in executions.items():
            found = evaluator(x, ALL)
            kept = {key: value.clone() for key, value in found.items()}
            evaluator(x.flip(0), ALL)
            error = 0.0
            for key in ALL[1:]:
                if not torch.equal(found[key], kept[key]):
                    raise SystemExit(f"{execution} {name}: the next call overwrites the {key}")
                scale = float(expected[key].abs().max())
                error = max(error, float((found[key] - expected[key]).abs().max()) / scale)
            if not error <= 1e-3:
                raise SystemExit(f"{execution} {name} on {device} is off by {error:.1e}")
            row[f"{execution} {name} relative deviation"] = error
            row[f"{execution}, one structure, E+F ms"] = milliseconds(
                lambda e=evaluator, x=x[:1]: e(x, ALL[:2]), device
            )
            row[f"{execution}, {n} structures, E+F+mu+alpha ms"] = milliseconds(
                lambda e=evaluator, x=x: e(x, ALL), device
            )
        rows.append(
            {
                **row,
                "programs compiled": compiled.execution.compilations,
                "start s": took,
                "eager ms": milliseconds(lambda e=eager, x=x: e(x, ALL), device),
            }
        )
        print(f"  {rows[-1]}", flush=True)  # the time may run out with the next network
    return rows


def check_dynamics(device: str) -> dict[str, float]:
    """Run the same T-RPMD on the CPU and on the device; compare what was recorded."""
    series = {}
    for place in ("cpu", device):
        potential = ethanol_potential(place, torch.float64)
        with tempfile.TemporaryDirectory() as folder:
            trajectory = simulate(
                ETHANOL,
                evaluator_for(potential, torch.from_numpy(ETHANOL.numbers)),
                output=Path(folder) / "run.h5",
                method="T-RPMD",
                temperature=300.0,
                timestep=0.25,
                steps=40,
                seed=3,
                replicas=2,
                beads=8,
                observables={"dipole": 4, "positions": 4, "conserved_energy": 4},
                progress=False,
            )
            series[place] = {
                name: trajectory.observable(name).values for name in trajectory.observables()
            }
    result = {
        f"{name} after 40 steps": float(abs(series["cpu"][name] - series[device][name]).max())
        for name in series["cpu"]
    }
    if not max(result.values()) < 1e-6:
        raise SystemExit(f"dynamics on {device} is not that on the CPU: {result}")
    return result


def check_steps(device: str, replicas: int, beads: int) -> dict[str, float]:
    """Compare and time whole replayed steps: kicks, ring, noise, thermostat and model.

    On a CPU, which replays nothing, both are steps taken operation by operation.
    """
    masses = torch.from_numpy(ETHANOL.get_masses()).to(device)
    method = Method("Langevin") if beads == 1 else Method("PILE-L")
    integrator = method.integrator(timestep=0.25, temperature=300.0, n_beads=beads, masses=masses)
    noise = GaussianNoise(5, range(replicas), (1, beads, 9, 3), device)
    potential, numbers = ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    eager, chosen = eager_evaluator(potential, numbers), evaluator_for(potential, numbers)
    start = torch.from_numpy(ETHANOL.positions).to(device).expand(replicas, beads, 9, 3).clone()
    first = State.at_rest(start).with_evaluation(eager)

    expected = replayed = first
    step = stepper(integrator, chosen, noise)
    with warnings.catch_warnings():  # of steps that cannot be captured
        warnings.simplefilter("error", ExecutionWarning)
        for number in range(40):
            expected = integrator.step(expected, eager, noise(number), ALL[2:])
            replayed = step(replayed, ALL[2:])
        step(first, ())
    error = float((replayed.positions - expected.positions).abs().max())
    if not error < 1e-3:
        raise SystemExit(f"replayed steps are off by {error:.1e} Å after 40 steps")
    return {
        "replicas": replicas,
        "beads": beads,
        "atoms": 9 * replicas * beads,
        "deviation Å": error,
        "E+F ms": milliseconds(lambda: step(first, ()), device),
        "E+F+mu+alpha ms": milliseconds(lambda: step(first, ALL[2:]), device),
        "E+F+mu+alpha, operation by operation ms": milliseconds(
            lambda: integrator.step(first, eager, noise(0), ALL[2:]), device
        ),
    }


def time_model(device: str, batches: list[int]) -> list[dict[str, object]]:
    """Time evaluations of growing batches with the chosen execution and the eager one."""
    potential, numbers = ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    rows = []
    for n in batches:
        x = distorted(n, device)
        row: dict[str, object] = {"structures": n}
        for evaluator in (evaluator_for(potential, numbers), eager_evaluator(potential, numbers)):
            for title, names in (("E+F", ALL[:2]), ("E+F+mu+alpha", ALL)):
                row[f"{evaluator.execution.name} {title} ms"] = milliseconds(
                    lambda e=evaluator, q=names, x=x: e(x, q), device
                )
        rows.append(row)
    return rows


def fraction_of_peak(device: str, n: int, peak: float) -> dict[str, float]:
    """Return the rate of multiplications and additions of matrices at a large batch."""
    potential, numbers = ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    evaluator = eager_evaluator(potential, numbers)
    with FlopCounterMode(display=False) as counter:
        evaluator(distorted(8, device), ALL[:2])
    operations = counter.get_total_flops() / 8.0 * n
    chosen = evaluator_for(potential, numbers)
    x = distorted(n, device)
    took = milliseconds(lambda: chosen(x, ALL[:2]), device)
    rate = operations / took * 1e-9
    return {"atoms": 9 * n, "ms": took, "TFLOP/s": rate, "fraction of peak": rate / peak}


def time_dynamics(device: str, sizes: list[tuple[int, int]]) -> list[dict[str, float]]:
    """Time steps of T-RPMD with the dipole and polarizability at every fourth.

    The difference of a long and a short run is free of the captures at their start.
    """
    rows = []
    evaluator = evaluator_for(
        ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    )
    for replicas, beads in sizes:
        times = []
        many = 40 if device == "cpu" else 2000 if replicas * beads < 500 else 400
        for steps in (40, 40 + many):
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                simulate(
                    ETHANOL,
                    evaluator,
                    output=Path(folder) / "run.h5",
                    method="T-RPMD" if beads > 1 else "NVE",
                    temperature=300.0,
                    timestep=0.25,
                    steps=steps,
                    seed=3,
                    replicas=replicas,
                    beads=beads,
                    observables={"dipole": 4, "polarizability": 4},
                    progress=False,
                )
                times.append(time.perf_counter() - start)
        rows.append(
            {
                "replicas": replicas,
                "beads": beads,
                "ms per step": 1e3 * (times[1] - times[0]) / many,
            }
        )
    return rows


def time_training(device: str, batches: list[int]) -> list[dict[str, float]]:
    """Time forward, force gradient and backward; check that a few steps lower the loss."""
    rows = []
    numbers = torch.from_numpy(ETHANOL.numbers)
    labels = eager_evaluator(ethanol_potential(device, torch.float32), numbers)
    for n in batches:
        torch.manual_seed(0)
        potential = Potential(PotentialConfig(PaiNNConfig()), References((1, 6, 8))).to(device)
        optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-3)
        stack = Structures.stack(numbers.to(device), distorted(n, device))
        pairs = all_pairs(stack)
        target = {k: v.reshape(-1, 3) for k, v in labels(distorted(n, device), ("forces",)).items()}
        losses = []

        def step(
            potential=potential, optimizer=optimizer, stack=stack, pairs=pairs, losses=losses,
            target=target,
        ) -> None:  # fmt: skip
            optimizer.zero_grad()
            values = potential.evaluate(stack, pairs, ALL, create_graph=True)
            loss = (values["forces"] - target["forces"]).square().mean()
            loss = loss + 0.0 * (values["dipole"].sum() + values["polarizability"].sum())
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())

        took = milliseconds(step, device, 2.0)
        if not losses[-1] < losses[0]:
            raise SystemExit("training does not lower the loss")
        rows.append({"batch": n, "ms": took, "structures per second": 1e3 * n / took})
    return rows


def time_kernels(
    device: str, batches: list[int], bandwidth: float
) -> dict[str, list[dict[str, object]]]:
    """Check and time the Triton kernels for messages, or say why there are none."""
    single = ethanol_potential(device, torch.float32)
    reason = message_kernels.why_not(single)
    if reason is not None:
        print(f"Triton kernels: not available: {reason}", flush=True)
        return {}

    def clock(call: Callable[[], object]) -> float:
        return milliseconds(call, device, 0.3)

    numbers = torch.from_numpy(ETHANOL.numbers)
    exact = ethanol_potential("cpu", torch.float64)
    checks: list[dict[str, object]] = [message_kernels.check_messages(device)]
    for dtype in (torch.float64, torch.float32):
        potential = ethanol_potential(device, dtype)
        checks.append(message_kernels.check_training(potential, exact, distorted(5, "cpu")))
    return {
        "Triton kernels, relative deviations": checks,
        "Triton kernels, one sum of messages": [
            message_kernels.time_messages(device, n, bandwidth, clock) for n in batches
        ],
        "Triton kernels, recorded": [
            message_kernels.time_captured(single, distorted(n, device), numbers, clock)
            for n in batches
        ],
        "Triton kernels, gradient of a loss of forces": [
            message_kernels.time_training_steps(single, distorted(n, device), numbers, clock)
            for n in batches[:-1]
        ],
    }


def main() -> None:
    """Run everything, print tables, and write each as JSON as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--peak", type=float, default=67.0, help="float32 TFLOP/s of the device (default: H200)"
    )
    parser.add_argument(
        "--bandwidth", type=float, default=4.8, help="of its memory, TB/s (default: H200)"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", nargs="+", metavar="SECTION", help="as named in the output")
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="folder for tables")
    options = parser.parse_args()
    device = options.device
    name = platform.processor() if device == "cpu" else torch.cuda.get_device_name()
    print(f"eqcalc {eqcalc.__version__}, torch {torch.__version__}, {device}: {name}")
    batches = [1, 4, 16] if options.quick else [1, 4, 16, 64, 256, 1024, 4096]
    sizes = [(1, 1), (2, 8)] if options.quick else [(1, 1), (1, 32), (8, 43), (64, 32)]
    quick = options.quick
    sections: dict[str, Callable[[], Sections]] = {
        "executions": lambda: {"deviation from the CPU in float64": [check_model(device)]},
        "trajectories": lambda: {"dynamics against the CPU": [check_dynamics(device)]},
        "steps": lambda: {"steps played back": [check_steps(device, r, p) for r, p in sizes]},
        "model": lambda: {"model": time_model(device, batches)},
        "dynamics": lambda: {"dynamics": time_dynamics(device, sizes)},
        "arithmetic": lambda: {
            "arithmetic": [fraction_of_peak(device, 16 if quick else 5556, options.peak)]
        },
        "training": lambda: {
            "training": time_training(device, [8, 16] if quick else [10, 100, 1000])
        },
        "kernels": lambda: time_kernels(device, [1, 32, 256, 5556], options.bandwidth),
        # takes minutes; no other network is begun if the first was slow
        "compiled": lambda: {"compiled": check_compiled(device, 256, 90.0)},
    }
    failed = False
    for name in options.only or [name for name in sections if name != "compiled" or not quick]:
        begin = time.perf_counter()
        try:
            results = sections[name]()
        except (Exception, SystemExit) as error:  # the other sections are of use all the same
            traceback.print_exc(limit=-3, file=sys.stdout)
            results, failed = {name: [{"FAILED": str(error)[:500]}]}, True
        for title, rows in results.items():
            print(f"\n{title}")
            for row in rows:
                cells = (f"{k}: {v if isinstance(v, str) else f'{v:.4g}'}" for k, v in row.items())
                print("  " + "   ".join(cells))
        print(f"  ({name}: {time.perf_counter() - begin:.0f} s)", flush=True)
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / f"gpu-{name}.json").write_text(json.dumps(results, indent=1))
    if failed:
        raise SystemExit("some sections failed; see above")


if __name__ == "__main__":
    main()
