# SPDX-License-Identifier: MIT
"""Draw the learning curves of a sweep, and print the errors as a table.

python workflows/qm9/curves.py runs/qm9-learning/results.csv --output workflows/qm9/results

Writes ``learning.png``: one panel per target, mean absolute error against the number of training
molecules on logarithmic axes, mean over the seeds with their standard deviation.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from eqcalc.training.sweeps import summary


def molecules(label: str) -> int:
    """Return the number of molecules of a label such as "4k"."""
    return int(label[:-1]) * 1000 if label.endswith("k") else int(label)


def draw(rows: list[dict[str, Any]]) -> Figure:
    """Draw one panel per quantity, one curve per network."""
    quantities = list(dict.fromkeys(row["quantity"] for row in rows))
    figure = Figure(figsize=(2.6 * len(quantities), 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(1, len(quantities), squeeze=False)[0]
    for axes, quantity in zip(grid, quantities, strict=True):
        mine = [row for row in rows if row["quantity"] == quantity]
        for model in dict.fromkeys(row["model"] for row in mine):
            curve = sorted(
                (molecules(row["size"]), row["mae"], row["spread"])
                for row in mine
                if row["model"] == model
            )
            size, error, spread = zip(*curve, strict=True)
            axes.errorbar(size, error, yerr=spread, marker="o", ms=3, lw=1, capsize=2, label=model)
        axes.set(xscale="log", yscale="log", xlabel="training molecules")
        axes.set_title(f"{quantity.replace('_', ' ')}\n[{mine[0]['unit']}]", fontsize=9)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.tick_params(labelsize=7, which="both")
    grid[0].set_ylabel("mean absolute error")
    grid[-1].legend(fontsize=7)
    return figure


def table(rows: list[dict[str, Any]]) -> str:
    """Return the errors in Markdown, one row per network and size."""
    quantities = list(dict.fromkeys((row["quantity"], row["unit"]) for row in rows))
    lines = [
        "| network | molecules | " + " | ".join(f"{q} [{unit}]" for q, unit in quantities) + " |",
        "|" + "---|" * (len(quantities) + 2),
    ]
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = [row for row in rows if row["model"] == model]
        for size in sorted({row["size"] for row in mine}, key=molecules):
            errors = {row["quantity"]: row for row in mine if row["size"] == size}
            cells = [
                f"{errors[q]['mae']:.3g} ± {errors[q]['spread']:.2g} ({errors[q]['runs']})"
                for q, _ in quantities
            ]
            lines.append(f"| {model} | {size} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, draw and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = summary(options.results)
    options.output.mkdir(parents=True, exist_ok=True)
    draw(rows).savefig(options.output / "learning.png", dpi=110)
    print(table(rows))


if __name__ == "__main__":
    main()
