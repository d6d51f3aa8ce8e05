# SPDX-License-Identifier: MIT
"""Scaled harmonic wavenumbers against the measured fundamentals of small molecules.

    python workflows/general/fundamentals.py --level gfn2 --output results/fundamentals-gfn2.json
    python workflows/general/fundamentals.py --level general \
        --beside results/fundamentals-aiqm2.json

The molecules are the neutral ones of H, C, N and O in ``data/experiment/fundamentals.csv`` that
RDKit builds from their InChI, closed shells of natural isotopes. The level is a model file or a
method of ``eqcalc label``. Fundamentals, with the degeneracy of their symmetry species, are
assigned to modes so that the deviations, in parts of the uncertainties of the table and of a level
(see ``workflows/predict/calibrate.py``), are least. One scale factor is fitted to one half of the
molecules, chosen by a hash of the InChI, and reported for the other, and vice versa.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rdkit import Chem, RDLogger
from scipy.optimize import linear_sum_assignment

from eqcalc.prediction.level import level_named
from eqcalc.prediction.structure import molecule_from
from eqcalc.spectra.experiment.fundamentals import UNCERTAINTY

EXPERIMENT = Path(__file__).parents[2] / "data" / "experiment"
COLUMNS = ("harmonic", "measured", "uncertainty")
#: Typical error of scaled harmonic wavenumbers [cm⁻¹].
LEVEL = 12.0
_DEGENERACY = {"e": 2, "t": 3, "f": 3, "π": 2, "δ": 2, "p": 2}


class Molecule(NamedTuple):
    """A molecule of the table; fundamentals and their uncertainties in cm⁻¹, and km/mol."""

    name: str
    smiles: str
    measured: np.ndarray
    uncertainty: np.ndarray
    infrared: np.ndarray  #: zero if unknown; of degenerate modes, measured together, the mean


def molecules() -> dict[str, Molecule]:
    """Return the molecules by InChI."""
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in _table("fundamentals.csv"):
        if row["inchi"]:
            rows[row["inchi"]].append(row)
    intensities = {_band(row): float(row["infrared_km/mol"]) for row in _table("intensities.csv")}
    found = {}
    for inchi, entries in rows.items():
        built = Chem.MolFromInchi(f"InChI={inchi}")
        if built is None or any(a.GetIsotope() for a in built.GetAtoms()):
            continue
        elements = {a.GetSymbol() for a in Chem.AddHs(built).GetAtoms()}
        radical = any(a.GetNumRadicalElectrons() for a in built.GetAtoms())
        if not elements <= set("HCNO") or radical or Chem.GetFormalCharge(built):
            continue
        listed = [
            (
                float(row["wavenumber_cm-1"]),
                UNCERTAINTY[row["uncertainty_class"]],
                intensities.get(_band(row), 0.0) / degenerate,
            )
            for row in entries
            for degenerate in (_DEGENERACY.get(row["symmetry"][:1].lower(), 1),)
            for _ in range(degenerate)
        ]
        name, smiles = entries[0]["name"], Chem.MolToSmiles(built)
        found[inchi] = Molecule(name, smiles, *np.array(listed).T)
    return found


def _table(name: str) -> list[dict[str, str]]:
    with (EXPERIMENT / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _band(row: Mapping[str, str]) -> tuple[str, ...]:
    return row["inchi"], row["symmetry"], row["wavenumber_cm-1"]


def assigned(
    harmonic: np.ndarray, measured: np.ndarray, uncertainty: np.ndarray, scale: float
) -> np.ndarray:
    """Return the harmonic wavenumbers assigned to the measured ones."""
    cost = np.abs(scale * harmonic[:, None] - measured) / np.hypot(LEVEL, uncertainty)
    modes, bands = linear_sum_assignment(cost)
    ordered = np.empty(len(measured))
    ordered[bands] = harmonic[modes]
    return ordered


def best_scale(molecules: Sequence[Sequence[np.ndarray]]) -> float:
    """Return the factor of least absolute deviations, assignments included.

    Each of `molecules` has harmonic and measured wavenumbers, and uncertainties of these.
    """
    scales = np.arange(0.90, 1.05, 0.0005)
    errors = [
        sum(np.abs(s * assigned(h, m, u, s) - m).sum() for h, m, u in molecules if len(h) >= len(m))
        for s in scales
    ]
    return float(scales[int(np.argmin(errors))])


def half(inchi: str) -> int:
    """Return the half of the molecules that one belongs to."""
    return hashlib.sha256(inchi.encode()).digest()[0] % 2


def main() -> None:
    """Compute, fit on each half and report on the other."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--level", required=True, help="a model file (.eqc), gfn2, dft, …")
    parser.add_argument(
        "--beside", type=Path, help="results of the level that a model was trained on"
    )
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    level = level_named(options.level)
    found: dict[str, dict] = {}
    for inchi, (name, smiles, measured, uncertainty, _) in molecules().items():
        try:
            atoms = level.relaxed(molecule_from(f"smiles:{smiles}"))
            harmonic = np.asarray(level.modes(atoms).wavenumber)
        except Exception as error:  # a molecule that a level cannot do is reported
            print(f"{name}: {type(error).__name__}: {error}")
            continue
        if len(measured) > len(harmonic):
            print(f"{name}: {len(measured)} fundamentals of {len(harmonic)} modes")
            continue
        found[inchi] = {
            "name": name,
            "harmonic": harmonic.round(2).tolist(),
            "measured": measured.tolist(),
            "uncertainty": uncertainty.tolist(),
        }
    halves: list[list[list[np.ndarray]]] = [[], []]
    for inchi, entry in found.items():
        halves[half(inchi)].append([np.array(entry[name]) for name in COLUMNS])
    scales = [best_scale(pairs) for pairs in halves]
    for inchi, entry in found.items():
        scale = scales[1 - half(inchi)]  # fitted to the other half
        harmonic, measured, uncertainty = (np.array(entry[name]) for name in COLUMNS)
        chosen = assigned(harmonic, measured, uncertainty, scale)
        entry["deviations"] = (scale * chosen - measured).tolist()
    deviations = np.concatenate([entry["deviations"] for entry in found.values()])
    sure = np.concatenate([entry["uncertainty"] for entry in found.values()]) <= UNCERTAINTY["C"]
    summary = {
        "level": level.name,
        "molecules": len(found),
        "bands": len(deviations),
        "scales": scales,
        "mean absolute deviation / cm-1": float(np.abs(deviations).mean()),
        "the same of bands measured to 6 cm-1": float(np.abs(deviations[sure]).mean()),
        "median absolute deviation / cm-1": float(np.median(np.abs(deviations))),
        "root mean square / cm-1": float(np.sqrt(np.mean(deviations**2))),
    }
    if options.beside:
        beside = json.loads(options.beside.read_text(encoding="utf-8"))
        differences = {
            entry["name"]: np.abs(np.subtract(entry["harmonic"], known["harmonic"])).mean()
            for inchi, entry in found.items()
            if (known := beside["molecules"].get(inchi))
        }
        summary |= {
            "harmonic wavenumbers beside": beside["summary"]["level"],
            "mean absolute difference / cm-1": float(np.mean([*differences.values()])),
            "largest / cm-1": dict(sorted(differences.items(), key=lambda x: -x[1])[:5]),
        }
    print(json.dumps(summary, indent=1, ensure_ascii=False))
    for entry in sorted(found.values(), key=lambda e: -np.abs(e["deviations"]).mean())[:12]:
        print(f"{entry['name']:24s} {np.abs(entry['deviations']).mean():7.1f}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"summary": summary, "molecules": found}, indent=1, ensure_ascii=False)
        options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
