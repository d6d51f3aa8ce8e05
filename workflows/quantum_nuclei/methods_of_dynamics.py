# SPDX-License-Identifier: MIT
"""Bands of one potential by classical dynamics, T-RPMD and Te PIGS, and their table.

Te PIGS takes corrections learned by a network, one for every elevated temperature of the path
integrals. A study that is run again resumes.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eqcalc import simulate
from eqcalc.centroid import CorrectionError, LearningPlan, corrected, learn_correction
from eqcalc.trajectory import Trajectory

#: Of the spectra [K].
TEMPERATURE = 300.0
RESULTS = Path(__file__).parent / "results"

#: Name of a method, the cells of its bands, and a note.
Row = tuple[str, Sequence[float], str]


@dataclass(frozen=True)
class Study:
    """A potential, its runs, and how bands are read from them."""

    name: str
    #: Its ``atoms`` are the molecule at rest.
    potential: Any
    #: Arguments of :func:`eqcalc.simulate`.
    dynamics: Mapping[str, Any]
    #: Return the cells of the columns `heads` for a trajectory.
    bands: Callable[[Trajectory], Sequence[float]]
    heads: Sequence[str]
    #: Epochs of each correction.
    epochs: int
    #: Defaults of the options.
    elevated: float
    replicas: int

    def main(self, description: str, references: Callable[[], Iterable[Row]]) -> None:
        """Read the options, run every method and write the table, after rows of references."""
        parser = argparse.ArgumentParser(description=description.splitlines()[0])
        parser.add_argument("--output", type=Path, default=RESULTS / f"{self.name}.csv")
        parser.add_argument("--folder", type=Path, default=Path("runs") / self.name)
        parser.add_argument("--elevated", type=float, nargs="+", default=[self.elevated])
        parser.add_argument("--replicas", type=int, default=self.replicas)
        options = parser.parse_args()
        torch.set_num_threads(1)
        rows = [*references(), *self.rows(options.folder, options.elevated, options.replicas)]
        with options.output.open("w", newline="", encoding="utf-8") as file:
            file.write(f"# {' '.join(['python', *sys.argv])}\n")
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["method", *self.heads, "correction"])
            for name, found, note in rows:
                cells = [f"{value:.1f}".replace("nan", "") for value in found]
                writer.writerow([name, *cells, note])
        print(options.output.read_text(encoding="utf-8"))

    def rows(self, folder: Path, elevated: Iterable[float], replicas: int) -> Iterator[Row]:
        """Run every method."""
        potential = self.potential
        atoms = potential.atoms

        def run(name: str, evaluator: Any, method: str, **changed: int) -> Sequence[float]:
            return self.bands(
                simulate(
                    atoms,
                    evaluator,
                    output=folder / f"{name}.h5",
                    method=method,
                    temperature=TEMPERATURE,
                    seed=3,
                    **{"replicas": replicas, **self.dynamics, **changed},
                )
            )

        yield "classical", run("classical", potential, "NVE"), ""
        rings = run("t-rpmd", potential, "T-RPMD", beads=32, replicas=min(24, replicas))
        yield "T-RPMD, 32 beads", rings, ""
        for t in elevated:
            plan = LearningPlan.for_molecule(
                atoms, potential, temperature=TEMPERATURE, elevated=t, epochs=self.epochs
            )
            correction = learn_correction(atoms, potential, folder / f"{t:g}K", plan)
            found = run(f"te-pigs-{t:g}K", corrected(potential, correction), "Te-PIGS")
            yield f"Te PIGS, {t:g} K", found, str(CorrectionError.of(correction))
