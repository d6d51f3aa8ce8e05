# SPDX-License-Identifier: MIT
"""Make the datasets of MD17 ethanol and revised MD17 aspirin.

    python workflows/md17/prepare.py ethanol md17_ethanol.xyz runs/md17-ethanol.h5
    python workflows/md17/prepare.py aspirin rmd17_aspirin.npz runs/aspirin.h5
    python workflows/md17/prepare.py aspirin runs/aspirin.h5 runs/aspirin-ptb.h5 --response ptb.h5

The last adds dipoles and polarizabilities of another dataset to the structures that it has.

Ethanol is original MD17 (PBE+TS) as extended XYZ, aspirin revised MD17 (PBE/def2-SVP), the 1,000
training and 50 validation structures of its first split; energies in kcal/mol.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from eqcalc.datasets import Dataset, Record, convert
from eqcalc.datasets.agreement import geometry_key
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


def with_response(dataset: Dataset, response: Dataset) -> Iterator[Record]:
    """Yield the structures of a dataset with the labels that another one has for them."""
    labels = {geometry_key(record): record.labels for record in response}
    for record in dataset:
        more = labels.get(geometry_key(record), {})
        yield replace(record, labels={**record.labels, **more})


def main() -> None:
    """Read the arguments and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("molecule", choices=("ethanol", "aspirin"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--response", type=Path, help="dataset with dipoles and polarizabilities")
    options = parser.parse_args()
    if options.molecule == "ethanol":
        report = convert(options.source, options.target, level_of_theory="PBE+TS", units=UNITS)
        print(report)
    elif options.response is not None:
        source, response = Dataset.open(options.source), Dataset.open(options.response)
        levels = {**source.levels_of_theory, **response.levels_of_theory}
        records = with_response(source, response)
        print(Dataset.create(options.target, records, level_of_theory=levels))
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
