# SPDX-License-Identifier: MIT
"""A model of ethanol against PBE0/def2-TZVP: errors by sampling, harmonic modes, smoothness.

    OMP_NUM_THREADS=1 python workflows/ethanol/check_model.py [--model runs/finetune-pbe0/model.eqc]

Errors are those of the 61 held-out geometries, every eighth of the first 481. The Hessians and
dipole derivatives of both conformers are differences of forces and dipoles at the level of the
labels (``data/ethanol/pbe0-def2tzvp-hessians.npz``), at its own minima; none of their geometries
was trained on. The model of version 0.2 was trained on some of the 61.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import ase
import numpy as np
import torch

from eqcalc.datasets import Dataset
from eqcalc.harmonic import harmonic_spectrum, potential_smoothness, relax
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.spectra.double_harmonic import harmonic_analysis
from eqcalc.training import evaluate

DATA = Path(__file__).parents[2] / "data" / "ethanol"
#: Modes below this wavenumber are torsions [cm⁻¹].
TORSIONS = 350.0


def errors_by_sampling(model: torch.nn.Module) -> dict[str, dict[str, float]]:
    """Return mean absolute errors of the held-out structures by the kind of their sampling."""
    dataset = Dataset.open(DATA / "pbe0-def2tzvp.h5")
    rows = np.arange(0, 481, 8)
    kinds = dataset.source()[rows]
    found = {}
    for kind in ["all", *sorted(set(kinds))]:
        chosen = rows if kind == "all" else rows[kinds == kind]
        table = evaluate(model, dataset, chosen)
        found[f"{kind} ({len(chosen)})"] = {
            f"{row.quantity} [{row.unit}]": row.mae for row in table.rows
        }
    return found


def reference(conformer: str) -> tuple[ase.Atoms, object]:
    """Return the minimum of the reference and its harmonic spectrum."""
    with np.load(DATA / "pbe0-def2tzvp-hessians.npz") as file:
        data = {k.removeprefix(f"{conformer}_"): v for k, v in file.items() if conformer in k}
        atoms = ase.Atoms(file["numbers"], data["positions"])
    return atoms, harmonic_analysis(
        data["positions"], atoms.get_masses(), data["hessian"], data["dipole_derivative"]
    )


def main() -> None:
    """Print the tables and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=shipped_model("ethanol"))
    parser.add_argument("--output", type=Path, help="results (JSON)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = load_model(arguments.model)
    results: dict[str, object] = {"errors": errors_by_sampling(model)}
    for kind, errors in results["errors"].items():
        sys.stdout.write(f"{kind}: {errors}\n")
    for conformer in ("trans", "gauche"):
        atoms, expected = reference(conformer)
        relaxed = relax(model, atoms)
        found = harmonic_spectrum(model, relaxed)
        smooth = potential_smoothness(model, relaxed)
        difference = found.wavenumber - expected.wavenumber
        torsions = expected.wavenumber < TORSIONS
        intensities = found.infrared_intensity[torsions], expected.infrared_intensity[torsions]
        results[conformer] = {
            "reference_cm-1": expected.wavenumber.tolist(),
            "model_cm-1": found.wavenumber.tolist(),
            "torsions_km/mol": [values.tolist() for values in intensities],
            "local_curvature_cm-1": smooth.local_curvature.tolist(),
            "grid_curvature_cm-1": smooth.grid_curvature.tolist(),
            "local_quartic_cm-1": smooth.local_quartic.tolist(),
            "grid_quartic_cm-1": smooth.grid_quartic.tolist(),
        }
        largest = np.abs(smooth.quartic_deviation[~torsions]).max()
        sys.stdout.write(
            f"\n{conformer}: wavenumbers differ by {np.abs(difference).mean():.1f} cm⁻¹ on "
            "average, "
            f"{np.abs(difference).max():.1f} at most\n"
            f"torsions: {np.array2string(intensities[0], precision=1)} km/mol, reference "
            f"{np.array2string(intensities[1], precision=1)}\n"
            f"|local − grid| φ_kkkk/16 of other modes: at most {largest:.1f} cm⁻¹\n"
            f"{smooth.table()}\n"
        )
    if arguments.output is not None:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        arguments.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
