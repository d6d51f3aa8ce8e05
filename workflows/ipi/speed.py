# SPDX-License-Identifier: MIT
"""CPU time of a step of i-PI with eqcalc, and who spends it.

    OMP_NUM_THREADS=1 python workflows/ipi/speed.py

T-RPMD of ethanol with the shipped model in process, dipole and polarizability every fs.
For each number of beads, CPU milliseconds per step:

all      the whole process
model    in the network
added    in the rest of the potential of eqcalc: units, checks, JSON
i-PI     in i-PI, the remainder
share    added / (model + i-PI)
alone    all of i-PI with a potential that costs nothing; less than `i-PI`, because there
         nothing empties the caches between its steps
excess   (all − model − alone) / (model + alone), which counts that as added too
engine   the same dynamics by eqcalc's own engine, network included

Runs alternate, and the median of the repetitions is given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.ipi import Strides, write_input
from eqcalc.ipi.description import Description
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.runtime import evaluator_for, keep_freed_memory

_STRIDE = 4
_TIMESTEP = 0.25


def ipi(beads: int, steps: int, *, free: bool) -> dict[str, float]:
    """Return CPU ms per step of i-PI: all, model, added."""
    warm = steps // 4
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_input(
            folder / "input.xml",
            shipped_model("ethanol"),
            method="T-RPMD",
            steps=steps,
            atoms=molecule("CH3CH2OH"),
            beads=beads,
            timestep=_TIMESTEP,
            strides=Strides(spectra=_STRIDE, energies=0, centroid=0, checkpoint=0),
        )
        text = path.read_text()
        driver = Description(text, path).root.findtext("ffdirect/pes_path") or ""
        text = text.replace(driver.strip(), str(Path(__file__).with_name("timed_driver.py")))
        # one clock for the forces, one for the response
        for report, calls, begin in (
            ("forces", steps, warm),
            ("response", (steps - 1) // _STRIDE + 1, (warm - 1) // _STRIDE + 1),
        ):
            more = f"{{calls: {calls}, warm: {begin}, report: {folder / report}, free: {free}, "
            text = text.replace("<parameters> {", f"<parameters>{more}", 1)
        path.write_text(text)
        command = [sys.executable, "-m", "eqcalc", "ipi", "run", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        forces = json.loads((folder / "forces").read_text())
        response = json.loads((folder / "response").read_text())
    scale = 1e3 / (steps - warm)
    model = forces["model"] + response["model"]
    inside = forces["inside"] + response["inside"]
    return {
        "all": forces["all"] * scale,
        "model": model * scale,
        "added": (inside - model) * scale,
    }


def engine(beads: int, steps: int) -> float:
    """Return CPU ms per step of eqcalc's own engine."""
    atoms = molecule("CH3CH2OH")
    potential = load_model(shipped_model("ethanol"))
    evaluator = evaluator_for(potential, torch.from_numpy(atoms.numbers))
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        simulate(
            atoms,
            evaluator,
            output=Path(folder) / "run.h5",
            method="T-RPMD",
            temperature=300.0,
            timestep=_TIMESTEP,
            steps=steps,
            seed=1,
            beads=beads,
            observables={"dipole": _STRIDE, "polarizability": _STRIDE},
            progress=False,
        )
        return 1e3 * (time.process_time() - start) / steps


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--beads", type=int, nargs="+", default=[2, 8, 32, 64])
    parser.add_argument("--model-calls", type=int, default=16000, help="beads × steps of a run")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    print("beads     all   model   added    i-PI   share   alone  excess  engine")
    for beads in arguments.beads:
        steps = min(2000, max(100, arguments.model_calls // beads))
        rows = []
        for _ in range(arguments.repetitions):
            run, own = ipi(beads, steps, free=False), ipi(beads, steps, free=True)["all"]
            rest = run["all"] - run["model"] - run["added"]
            share = 100.0 * run["added"] / (run["model"] + rest)
            excess = 100.0 * (run["all"] - run["model"] - own) / (run["model"] + own)
            parts = [run["all"], run["model"], run["added"], rest, share, own, excess]
            rows.append([*parts, engine(beads, steps)])
        row = [statistics.median(column) for column in zip(*rows, strict=True)]
        formats = ("7.2f", "7.2f", "7.3f", "7.2f", "6.1f", "7.2f", "6.1f", "7.2f")
        cells = [f"{value:{form}}" for value, form in zip(row, formats, strict=True)]
        cells[4] += "%"
        cells[6] += "%"
        print(f"{beads:5d} {' '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
