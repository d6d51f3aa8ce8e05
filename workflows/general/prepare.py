# SPDX-License-Identifier: MIT
"""Labels of distorted molecules of H, C, N and O as a dataset that is split by molecule.

    python workflows/general/prepare.py packed.npz small.h5 --output data/hcno/hcno-aiqm2.h5
    python workflows/general/prepare.py data/hcno/hcno-aiqm2.h5 more.npz --output more.h5

The files are packed labels of QM9 molecules, what ``small_molecules.py`` and ``along_modes.py``
wrote, and what this wrote before, whose structures stay in their parts. Left out are structures
about whose energy the eight networks of AIQM2 disagree by more than 0.1 eV, and those with a force
above 20 eV/Å, far beyond what dynamics meets. A hash of a molecule's index in QM9, or of its SMILES
string, says whether it is trained on, validates or is held out: no molecule is in two parts.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from along_modes import ALONG

from eqcalc.datasets import Dataset, DatasetWriter, Record
from eqcalc.units import convert

MAXIMUM_SPREAD = 0.1  # eV
MAXIMUM_FORCE = 20.0  # eV/Å
#: How the source of a distorted molecule of QM9 begins.
DISTORTED_QM9 = "harmonic quantum distribution"
LEVELS = {"energy": "AIQM2", "forces": "AIQM2", "dipole": "PTB", "polarizability": "PTB"}


def records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the part and the record of each structure of a file that is kept."""
    if path.suffix == ".npz":
        kept = packed_records(path)
    else:
        dataset = Dataset.open(path)
        if "molecules" in dataset.splits:
            part = {
                int(i): name for name, rows in dataset.splits["molecules"].items() for i in rows
            }
            yield from ((part[i], record) for i, record in enumerate(dataset))
            return
        kept = (
            (record.source.split(", ")[0].removeprefix("QM9 "), record)
            for record in dataset
            if np.linalg.norm(record.labels["forces"], axis=1).max() <= MAXIMUM_FORCE
        )
    for molecule, record in kept:
        yield part_of(molecule, int((record.numbers > 1).sum())), record


def packed_records(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the index in QM9 and the record of each structure of a packed file that is kept."""
    with np.load(path) as file:
        data = {name: file[name] for name in file}
    dipole = convert(data["dipole_au"].astype(float), "e*bohr", "e*Å")
    alpha = convert(data["polarizability_bohr3"].astype(float), "bohr^3", "e^2*Å^2/eV")
    for k, (first, last) in enumerate(zip(data["ptr"][:-1], data["ptr"][1:], strict=True)):
        forces = data["forces_eV_per_A"][first:last].astype(float)
        spread = data["nn_std_eV"][k]
        if spread > MAXIMUM_SPREAD or np.linalg.norm(forces, axis=1).max() > MAXIMUM_FORCE:
            continue
        labels = {"energy": data["energy_eV"][k], "forces": forces}
        if np.isfinite(dipole[k]).all() and np.isfinite(alpha[k]).all():
            symmetric = 0.5 * (alpha[k] + alpha[k].T)
            labels |= {"dipole": dipole[k], "polarizability": symmetric}
        yield (
            str(data["gdb_id"][k]),
            Record(
                numbers=data["numbers"][first:last].astype(int),
                positions=data["positions_A"][first:last].astype(float),
                labels=labels,
                source=f"{DISTORTED_QM9} {data['temperature_K'][k]:.0f} K",
            ),
        )


def part_of(molecule: str, heavy: int) -> str:
    """Return the part of the split to which all structures of a molecule belong.

    Molecules of up to three atoms other than hydrogen that are not in QM9 are trained on: many,
    such as N₂O, are like no other.
    """
    if not molecule.isdecimal() and heavy <= 3:
        return "training"
    share = int(hashlib.sha256(molecule.encode()).hexdigest()[:8], 16) / 16**8
    return "test" if share < 0.06 else "validation" if share < 0.08 else "training"


def emphasis(training: np.ndarray, *chosen: np.ndarray) -> np.ndarray:
    """Return the rows to train on with those of each choice once more."""
    return np.concatenate([training, *(training[which[training]] for which in chosen)])


def main() -> None:
    """Write the dataset and its splits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    parts: dict[str, list[int]] = {"training": [], "validation": [], "test": []}
    small: list[bool] = []
    along_modes: list[bool] = []
    with DatasetWriter(
        options.output,
        level_of_theory=LEVELS,
        provenance={"source": "data/hcno/README.md", "files": [p.name for p in options.files]},
        single_precision=("positions", "forces", "dipole", "polarizability"),
        compressed=True,
    ) as writer:
        for path in options.files:
            for part, record in records(path):
                writer.append(record)
                parts[part].append(len(small))
                small.append(not record.source.startswith(DISTORTED_QM9))
                along_modes.append(record.source.endswith(ALONG))
        split = {name: np.array(rows) for name, rows in parts.items()}
        writer.add_split("molecules", split)
        first = emphasis(split["training"], np.array(small), np.array(along_modes))
        writer.add_split("small", {**split, "training": first})
    dataset = Dataset.open(options.output)
    print(dataset, {name: len(rows) for name, rows in parts.items()})


if __name__ == "__main__":
    main()
