# SPDX-License-Identifier: MIT
"""Check and time everything that runs on a GPU, and print one table.

    bash workflows/benchmarks/gpu.sh

Checks: the model on the GPU equals the model on the CPU in float64; dynamics on
the GPU conserves energy and follows the CPU's trajectory; a training step
lowers the loss. Times: model evaluations, dynamics steps and training steps for
growing batches of ethanol, PaiNN 128 × 3. Runs on the CPU too, to test itself.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from ase.build import molecule

import eqcalc
from eqcalc.dynamics import simulate
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.neighbors import all_pairs
from eqcalc.runtime import EagerEvaluator
from eqcalc.structures import Structures

ETHANOL = molecule("CH3CH2OH")
ALL = ("energy", "forces", "dipole", "polarizability")


def ethanol_potential(device: str, dtype: torch.dtype) -> Potential:
    """Return the shipped model if there is one, else one with random parameters."""
    try:
        from eqcalc.models.checkpoint import load_model
        from eqcalc.shipped import shipped_model

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
    """Compare GPU and CPU, float64 with float64 and float32 with float64."""
    numbers = torch.from_numpy(ETHANOL.numbers)
    exact = EagerEvaluator(ethanol_potential("cpu", torch.float64), numbers)
    expected = exact(distorted(7, "cpu"), ALL)
    result = {}
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 1e-3)):
        evaluator = EagerEvaluator(ethanol_potential(device, dtype), numbers)
        found = evaluator(distorted(7, device), ALL)
        for name in ALL[1:]:
            error = float((found[name].cpu() - expected[name]).abs().max())
            result[f"{name}, {str(dtype)[6:]}"] = error
            if error > tolerance:
                raise SystemExit(f"{name} on {device} in {dtype} is off by {error:.1e}")
    return result


def check_dynamics(device: str) -> dict[str, float]:
    """Run the same T-RPMD on the CPU and on the device; compare what was recorded."""
    series = {}
    for place in ("cpu", device):
        potential = ethanol_potential(place, torch.float64)
        with tempfile.TemporaryDirectory() as folder:
            trajectory = simulate(
                ETHANOL,
                EagerEvaluator(potential, torch.from_numpy(ETHANOL.numbers)),
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
    return {
        f"{name} after 40 steps": float(abs(series["cpu"][name] - series[device][name]).max())
        for name in series["cpu"]
    }


def time_model(device: str, batches: list[int]) -> list[dict[str, float]]:
    """Time evaluations of growing batches."""
    evaluator = EagerEvaluator(
        ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    )
    rows = []
    for n in batches:
        positions = distorted(n, device)
        rows.append(
            {
                "structures": n,
                "E+F ms": milliseconds(lambda p=positions: evaluator(p, ALL[:2]), device),
                "E+F+mu+alpha ms": milliseconds(lambda p=positions: evaluator(p, ALL), device),
            }
        )
    return rows


def time_dynamics(device: str, sizes: list[tuple[int, int]]) -> list[dict[str, float]]:
    """Time steps of T-RPMD with the dipole and polarizability at every fourth."""
    rows = []
    evaluator = EagerEvaluator(
        ethanol_potential(device, torch.float32), torch.from_numpy(ETHANOL.numbers)
    )
    for replicas, beads in sizes:
        times = []
        for steps in (40, 240):  # the difference is free of start-up
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
                "ms per step": 1e3 * (times[1] - times[0]) / 200.0,
            }
        )
    return rows


def time_training(device: str, batches: list[int]) -> list[dict[str, float]]:
    """Time forward, force gradient and backward; check that a few steps lower the loss."""
    rows = []
    numbers = torch.from_numpy(ETHANOL.numbers)
    labels = EagerEvaluator(ethanol_potential(device, torch.float32), numbers)
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


def main() -> None:
    """Run everything and print it as JSON after a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    options = parser.parse_args()
    device = options.device
    name = platform.processor() if device == "cpu" else torch.cuda.get_device_name()
    print(f"eqcalc {eqcalc.__version__}, torch {torch.__version__}, {device}: {name}")
    batches = [1, 4, 16] if options.quick else [1, 4, 16, 64, 256, 1024, 4096]
    sizes = [(1, 1), (2, 8)] if options.quick else [(1, 1), (1, 32), (8, 32), (64, 32)]
    results = {
        "deviation from the CPU in float64": [check_model(device)],
        "dynamics against the CPU": [check_dynamics(device)],
        "model": time_model(device, batches),
        "dynamics": time_dynamics(device, sizes),
        "training": time_training(device, [8, 16] if options.quick else [10, 100, 1000]),
    }
    for title, rows in results.items():
        print(f"\n{title}")
        for row in rows:
            print("  " + "   ".join(f"{key}: {value:.4g}" for key, value in row.items()))
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
