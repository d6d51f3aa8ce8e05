# SPDX-License-Identifier: MIT
"""Print what gpu.sh measured as one table, beside what was aimed at.

    python workflows/benchmarks/gpu_summary.py runs/gpu

Steps are those of dynamics with the model in them; a row without a number was not measured.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def steps(tables: dict[str, Any], atoms: int, key: str) -> float:
    """Return the time of a replayed step [ms]."""
    rows: Rows = tables["gpu-steps"]["steps played back"]
    return next(float(row[key]) for row in rows if row["atoms"] == atoms)


def schnetpack(tables: dict[str, Any]) -> float:
    """Return how many times longer SchNetPack's step of many beads takes."""
    rows: Rows = tables["schnetpack"]
    return min(float(row["ratio"]) for row in rows if row["output"] and row["beads"] > 1)


def compiled(tables: dict[str, Any]) -> float:
    """Return the time of energy and forces of one molecule by recorded programs [ms]."""
    return float(tables["gpu-compiled"]["compiled"][0]["captured-compiled, one structure, E+F ms"])


def water(tables: dict[str, Any], atoms: int) -> float:
    """Return the time of a box of water of about so many atoms [ms]."""
    rows = tables["scaling"]["atoms of liquid water"]
    return next(float(time) for n, time, _ in rows if abs(n - atoms) < 0.05 * atoms)


def power(tables: dict[str, Any]) -> float:
    """Return the power of the number of atoms that the time of a box of water grows as."""
    return float(tables["scaling"]["power of atoms"])


#: What, the aim, the unit, and where the number is.
TABLE: list[tuple[str, str, str, Callable[[dict[str, Any]], float]]] = [
    ("one ethanol, step, E+F", "<= 0.3", "ms", lambda t: steps(t, 9, "E+F ms")),
    ("one ethanol, E+F, recorded programs", "", "ms", compiled),
    ("3,096 atoms, step, E+F+mu+alpha", "<= 1", "ms", lambda t: steps(t, 3096, "E+F+mu+alpha ms")),
    ("18,432 atoms, step, E+F+mu+alpha", "", "ms", lambda t: steps(t, 18432, "E+F+mu+alpha ms")),
    ("3,096 atoms, SchNetPack's step / eqcalc's", ">= 20", "", schnetpack),
    (
        "50,004 atoms, E+F, fraction of float32 peak",
        ">= 0.3",
        "",
        lambda t: float(t["gpu-arithmetic"]["arithmetic"][0]["fraction of peak"]),
    ),
    ("water, 192 atoms, E+F", "", "ms", lambda t: water(t, 192)),
    ("water, 6,000 atoms, E+F", "", "ms", lambda t: water(t, 6000)),
    (
        "water, power of the number of atoms",
        "1",
        "",
        lambda t: float(t["scaling"]["power of atoms"]),
    ),
    (
        "training, batch of 100, E+F+mu+alpha",
        "",
        "structures/s",
        lambda t: next(
            float(row["structures per second"])
            for row in t["gpu-training"]["training"]
            if row["batch"] == 100
        ),
    ),
]


def main() -> None:
    """Read the tables of a folder and print the one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path("runs/gpu"), help="of tables")
    folder = parser.parse_args().folder
    tables = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    print(f"{'':46s} {'measured':>12s}  {'aim':8s}")
    for what, aim, unit, find in TABLE:
        try:
            number = f"{find(tables):12.4g}"
        except (KeyError, IndexError, StopIteration, ValueError, TypeError):
            number = f"{'not measured':>12s}"
        print(f"{what:46s} {number}  {aim:8s} {unit}")


if __name__ == "__main__":
    main()
