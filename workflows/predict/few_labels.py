# SPDX-License-Identifier: MIT
"""Errors of models that were fitted to few labels of a molecule, whose answer is known.

    python workflows/predict/few_labels.py formaldehyde --labels 20 40 \
        --output workflows/predict/results/few-labels.json

The labels are those of GFN2-xTB, at structures that the general model proposes at once. The answer
are GFN2-xTB's own harmonic wavenumbers, fundamentals in cuts of one mode, and double-harmonic
infrared intensities. Compared are choices of structures, and fits: ``tangent_fit``, and training
the whole model for 1200 steps with five structures each. Rows that the file has are not computed
again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from eqcalc.anharmonic import one_mode_fundamentals
from eqcalc.datasets import Dataset, Record
from eqcalc.harmonic import evaluator_spectrum
from eqcalc.labelling import SamplingPlan, conformers, label, sample
from eqcalc.models.checkpoint import save_model
from eqcalc.normal_modes import wigner_displacements
from eqcalc.prediction.level import MEMBERS, FineTunedLevel, ModelLevel, level_named, start_level
from eqcalc.prediction.proposals import highest_energy, proposed
from eqcalc.prediction.structure import molecule_from
from eqcalc.training import TrainingConfig, calibrated_last_layers, tangent_fit, train

TEMPERATURE = 298.15
QUANTITIES = ("energy", "forces", "dipole")


def wigner(level: ModelLevel, minimum: Atoms, n: int, rng: np.random.Generator) -> list[Record]:
    """Return the minimum and Wigner displacements."""
    modes = level.modes(minimum)
    shifts = wigner_displacements(modes, TEMPERATURE, n - 1, rng)
    places = [modes.positions, *(modes.positions + shifts)]
    return [Record(minimum.numbers, place) for place in places]


def scaled(level: ModelLevel, minimum: Atoms, n: int, rng: np.random.Generator) -> list[Record]:
    """Return what ``eqcalc predict`` proposes."""
    return proposed(level, [(minimum, level.modes(minimum))], n, TEMPERATURE, rng)


def dynamics(level: ModelLevel, minimum: Atoms, n: int, rng: np.random.Generator) -> list[Record]:
    """Return snapshots of classical dynamics and beads of ring polymers, half of each."""
    plan = SamplingPlan(
        classical={TEMPERATURE: 0.5},
        wigner={},
        torsional_wigner={},
        ring_polymer={TEMPERATURE: 0.5},
        equilibration=200.0,
        maximum_energy=highest_energy(len(minimum)),
        minimum_distance=1e-3,
    )
    return sample([minimum], level.method, n, rng, plan)


def along_modes(
    level: ModelLevel, minimum: Atoms, n: int, rng: np.random.Generator
) -> list[Record]:
    """Return the minimum and 0.7 q to both sides along each mode, the rest as `wigner`."""
    modes = level.modes(minimum)
    shifts = 0.7 * np.concatenate([modes.steps, -modes.steps])
    places = [minimum.positions, *(minimum.positions + shifts)]
    found = [Record(minimum.numbers, place) for place in places][:n]
    if len(found) < n:
        found += wigner(level, minimum, n - len(found) + 1, rng)[1:]
    return found


def by_tangents(start: ModelLevel, labels: Dataset, seed: int, folder: Path) -> None:
    """Fit the general model and its members."""
    found = tangent_fit(start.file, labels, seed=seed)
    (folder / MEMBERS).mkdir()
    for number, member in enumerate(found.members, 1):
        save_model(member, folder / MEMBERS / f"{number}.eqc")
    save_model(found.model, folder / "model.eqc")


def by_gradients(start: ModelLevel, labels: Dataset, seed: int, folder: Path) -> None:
    """Train the general model, an eighth of the labels held out, without members."""
    order = np.random.default_rng(seed).permutation(len(labels))
    held = max(2, len(labels) // 8)
    with labels.writer(folder / "split.h5") as writer:
        writer.append(list(labels))
        writer.add_split("labels", {"validation": order[:held], "training": order[held:]})
    dataset = Dataset.open(folder / "split.h5")
    settings = {
        "output": str(folder / "training"),
        "data": {"path": str(dataset.path), "split": "labels"},
        "model": {"start_from": str(start.file)},
        "optimizer": {"batch_size": 5},
        "stopping": {"epochs": round(1200 / ((len(labels) - held) // 5)), "patience": None},
        "seed": seed,
    }
    model = train(TrainingConfig.from_settings(settings), progress=False).model
    rows = dataset.splits["labels"]
    model = calibrated_last_layers(model, dataset, rows["training"], rows["validation"])
    save_model(model, folder / "model.eqc")


CHOICES = {"scaled": scaled, "wigner": wigner, "dynamics": dynamics, "along modes": along_modes}
FITS = {"tangents": by_tangents, "gradients": by_gradients}


def answer(molecule: str) -> dict[str, Any]:
    """Return the minimum of GFN2-xTB, and what its spectrum is."""
    level = level_named("gfn2")
    atoms = molecule_from(molecule)
    lowest = conformers(atoms, level.method, rng=np.random.default_rng(0))[0]
    relaxed = level.relaxed(lowest)
    modes = level.modes(relaxed)
    evaluator = level.evaluator(relaxed)
    return {
        "atoms": relaxed,
        "harmonic": modes.wavenumber,
        "one mode": one_mode_fundamentals(modes, evaluator),
        "infrared": evaluator_spectrum(modes, evaluator).infrared_intensity,
    }


def errors(known: dict[str, Any], model: Path, *, fitted: bool) -> dict[str, Any]:
    """Return the largest errors of a model, and the largest deviations of its members."""
    level = FineTunedLevel(model, level_named("gfn2")) if fitted else ModelLevel(model)
    relaxed = level.relaxed(known["atoms"])
    modes = level.modes(relaxed)
    fundamentals = one_mode_fundamentals(modes, level.evaluator(relaxed))
    strongest = known["infrared"].max()
    found: dict[str, np.ndarray] = {
        "harmonic": modes.wavenumber - known["harmonic"],
        "one mode": fundamentals - known["one mode"],
        "infrared": (modes.infrared_intensity - known["infrared"]) / strongest,
    }
    stated = level.model_error(modes, relaxed) if fitted else None
    if stated is not None and stated.infrared is not None:
        found["stated, one mode"] = stated.wavenumber
        found["stated, infrared"] = stated.infrared / strongest
    return {name: np.round(values, 3).tolist() for name, values in found.items()}


def row(
    molecule: str, known: dict[str, Any], choice: str, fit: str, n: int, seed: int
) -> dict[str, Any]:
    """Return the errors of one model."""
    start = start_level("general", known["atoms"])
    minimum = start.relaxed(known["atoms"])
    proposals = CHOICES[choice](start, minimum, n, np.random.default_rng(seed))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        method = level_named("gfn2").method
        target = folder / "labels.h5"
        report = label(proposals, method, target, quantities=QUANTITIES, progress=False)
        labels = report.dataset
        began = time.process_time()
        FITS[fit](start, labels, seed, folder)
        seconds = time.process_time() - began
        found = errors(known, folder / "model.eqc", fitted=fit == "tangents")
    stated = {"molecule": molecule, "structures": choice, "fit": fit, "labels": n, "seed": seed}
    return {**stated, "cpu_seconds": round(seconds, 1), **found}


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("molecule")
    parser.add_argument("--labels", type=int, nargs="+", default=[20, 40, 60])
    parser.add_argument("--structures", nargs="+", choices=CHOICES, default=[*CHOICES])
    parser.add_argument("--fits", nargs="+", choices=FITS, default=["tangents"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    rows: list[dict[str, Any]] = []
    if options.output.exists():
        rows = json.loads(options.output.read_text(encoding="utf-8"))
    known = answer(options.molecule)
    keys = ("molecule", "structures", "fit", "labels", "seed")
    for n in options.labels:
        for choice in options.structures:
            for fit in options.fits:
                for seed in options.seeds:
                    asked = (options.molecule, choice, fit, n, seed)
                    if asked in [tuple(one[key] for key in keys) for one in rows]:
                        continue
                    rows.append(row(options.molecule, known, choice, fit, n, seed))
                    found = {k: np.abs(v).max() for k, v in rows[-1].items() if type(v) is list}
                    print(*asked, rows[-1]["cpu_seconds"], found, flush=True)
                    text = ",\n".join(json.dumps(one) for one in rows)
                    options.output.write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
