# SPDX-License-Identifier: MIT
"""Make a dataset of QM9: from its archive, or from the subset as an npz file.

python workflows/qm9/prepare.py dsgdb9nsd.xyz.tar.bz2 qm9.h5 --exclude uncharacterized.txt
python workflows/qm9/prepare.py qm9_subset_14170.npz qm9.h5
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from eqcalc.datasets import Dataset, Record, convert
from eqcalc.datasets.readers.qm9 import QM9_LABELS, Qm9Reader
from eqcalc.units import conversion_factor

#: Keys of the npz file in the order of the archive.
KEYS = (
    *("A", "B", "C", "mu", "alpha", "homo", "lumo", "gap", "r2", "zpve"),
    *("u0", "u298", "h298", "g298", "cv"),
)
INTERNAL = {"hartree": "eV", "debye": "e*Å", "bohr^3": "e^2*Å^2/eV", "bohr^2": "Å^2"}


def records(path: Path) -> Iterator[Record]:
    """Yield the molecules of the npz file."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in (*KEYS, "ptr", "numbers", "positions_A")}
    labels = {}
    for key, label in zip(KEYS, QM9_LABELS, strict=True):
        if label is not None:
            name, unit = label
            labels[name] = arrays[key] * conversion_factor(unit, INTERNAL.get(unit, "eV/K"))
    for index, (start, stop) in enumerate(zip(arrays["ptr"][:-1], arrays["ptr"][1:], strict=True)):
        yield Record(
            arrays["numbers"][start:stop].astype(np.int64),
            arrays["positions_A"][start:stop],
            {name: values[index] for name, values in labels.items()},
            source="QM9",
        )


def main() -> None:
    """Read the arguments and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--exclude", type=Path, help="indices of molecules to leave out")
    options = parser.parse_args()
    if options.source.suffix == ".npz":
        provenance = {"dataset": "QM9 (CC0)", "file": options.source.name}
        level = Qm9Reader.level_of_theory
        dataset = Dataset.create(
            options.target, records(options.source), level_of_theory=level, provenance=provenance
        )
        print(dataset)
    else:
        print(convert(options.source, options.target, options={"exclude": options.exclude}))


if __name__ == "__main__":
    main()
