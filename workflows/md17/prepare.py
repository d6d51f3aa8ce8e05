# SPDX-License-Identifier: MIT
"""Make the datasets of MD17 ethanol and revised MD17 aspirin.

    python workflows/md17/prepare.py ethanol md17_ethanol.xyz runs/md17-ethanol.h5
    python workflows/md17/prepare.py aspirin rmd17_aspirin.npz runs/aspirin.h5

Ethanol is original MD17 (PBE+TS) as extended XYZ, aspirin revised MD17 (PBE/def2-SVP), the 1,000
training and 50 validation structures of its first split; energies in kcal/mol.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqcalc.datasets import Dataset, Record, convert
from eqcalc.units import conversion_factor

UNITS = {"positions": "Å", "energy": "kcal/mol", "forces": "kcal/mol/Å"}


def aspirin(path: Path) -> Iterator[Record]:
    """Yield the structures of both parts."""
    factor = conversion_factor("kcal/mol", "eV")
    with np.load(path) as archive:
        for part in ("train", "val"):
            arrays = (archive[f"{key}_{part}"] for key in "REF")
            for positions, energy, forces in zip(*arrays, strict=True):
                labels = {"energy": np.asarray(energy * factor), "forces": forces * factor}
                yield Record(archive["numbers"].astype(np.int64), positions, labels)


def main() -> None:
    """Read the arguments and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("molecule", choices=("ethanol", "aspirin"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    if options.molecule == "ethanol":
        report = convert(options.source, options.target, level_of_theory="PBE+TS", units=UNITS)
        print(report)
    else:
        provenance = {"dataset": "revised MD17, split 01", "file": options.source.name}
        dataset = Dataset.create(
            options.target,
            aspirin(options.source),
            level_of_theory="PBE/def2-SVP",
            provenance=provenance,
        )
        print(dataset)


if __name__ == "__main__":
    main()
