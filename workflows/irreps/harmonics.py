# SPDX-License-Identifier: MIT
"""Operations and times of spherical harmonics, recursive against explicit polynomials.

    OMP_NUM_THREADS=1 python workflows/irreps/harmonics.py --output workflows/irreps/results

Writes ``harmonics.csv`` and ``harmonics.png``. Times are CPU times of values and
gradients of one degree, medians of interleaved calls on 3,600 vectors: the pairs of a
batch of 50 ethanols.
"""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from polynomials import direct_harmonics, operation_counts, recursive_harmonics
from torch import Tensor

from eqcalc.training.sweeps import how_made

VECTORS, REPEATS = 3600, 30


def seconds(evaluate: Callable[[int, Tensor], Tensor], degree: int, vectors: Tensor) -> float:
    """Return the CPU time of values and gradients."""
    inputs = vectors.clone().requires_grad_(True)
    start = time.process_time()
    evaluate(degree, inputs).square().sum().backward()
    return time.process_time() - start


def measure(largest: int) -> list[dict[str, float]]:
    """Return one row per degree."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.nn.functional.normalize(torch.randn(VECTORS, 3, generator=generator), dim=-1)
    rows = []
    for degree in range(1, largest + 1):
        times: dict[str, list[float]] = {"recursive": [], "direct": []}
        for _ in range(REPEATS):
            times["recursive"].append(seconds(recursive_harmonics, degree, vectors))
            times["direct"].append(seconds(direct_harmonics, degree, vectors))
        counts = operation_counts(degree)
        rows.append(
            {
                "degree": degree,
                "operations, recursion written out": counts.substituted,
                "operations, recursion to this degree": counts.recursive,
                "operations, polynomials": counts.direct,
                **{
                    f"ms, {name}": round(1e3 * statistics.median(values[3:]), 4)
                    for name, values in times.items()
                },
            }
        )
        print(rows[-1], flush=True)
    return rows


def draw(rows: list[dict[str, float]]) -> Figure:
    """Draw operations and times over the degree."""
    figure = Figure(figsize=(7.0, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, prefix, label in zip(
        figure.subplots(1, 2),
        ("operations, ", "ms, "),
        ("operations", "CPU time [ms]"),
        strict=True,
    ):
        for name in (key for key in rows[0] if key.startswith(prefix)):
            axes.semilogy(
                [row["degree"] for row in rows],
                [row[name] for row in rows],
                "o-",
                markersize=3.5,
                label=name.removeprefix(prefix),
            )
        axes.set_xlabel("degree $l$")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=7)
    return figure


def main() -> None:
    """Measure and write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--largest", type=int, default=10)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    rows = measure(options.largest)
    with (options.output / "harmonics.csv").open("w", newline="", encoding="utf-8") as stream:
        stream.write(f"# {how_made()}; {VECTORS} vectors\n")
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    draw(rows).savefig(options.output / "harmonics.png", dpi=150)


if __name__ == "__main__":
    main()
