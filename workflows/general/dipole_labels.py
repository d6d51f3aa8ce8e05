# SPDX-License-Identifier: MIT
"""Dipole moments of small molecules by density-functional theory, to correct those of PTB.

    python workflows/general/dipole_labels.py --output runs/dipoles.h5

Of each molecule of ``small_molecules.py`` of up to two atoms other than hydrogen six structures, of
three such atoms three, and some along normal modes, which tell derivatives; PBE0/def2-TZVPD. About
4 s of CPU time each.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from along_modes import ALONG
from prepare import DISTORTED_QM9

from eqcalc.datasets import Dataset
from eqcalc.labelling import PySCF, label

DATA = Path(__file__).parents[2] / "data" / "hcno" / "hcno-aiqm2.h5"
#: Structures of each molecule by its atoms other than hydrogen: any, and along normal modes.
STRUCTURES = {0: 6, 1: 6, 2: 6, 3: 3}
ALONG_MODES = {0: 2, 1: 12, 2: 8, 3: 2}
LARGEST = 3


def chosen(dataset: Dataset, rng: np.random.Generator) -> list[int]:
    """Return the rows of structures to label."""
    everything = dataset.structures(np.arange(len(dataset)))
    heavy = (everything.numbers > 1).double()[:, None]
    sizes = everything.sum_over_atoms(heavy)[:, 0].int().numpy()
    sources = dataset.source()
    rows: dict[tuple[bool, int], list[int]] = defaultdict(list)
    taken: Counter[tuple[bool, str]] = Counter()
    for row in rng.permutation(len(dataset)).tolist():
        size, source = int(sizes[row]), str(sources[row])
        if source.startswith(DISTORTED_QM9) or size > LARGEST:
            continue
        molecule, along = source.split(", ", maxsplit=1)[0], source.endswith(ALONG)
        for kind, of_kind in ((False, STRUCTURES), (True, ALONG_MODES)):
            if (along or not kind) and taken[kind, molecule] < of_kind[size]:
                taken[kind, molecule] += 1
                rows[kind, size].append(row)
                break
    return [row for key in sorted(rows) for row in rows[key]]


def main() -> None:
    """Choose and label."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--dataset", type=Path, default=DATA)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    dataset = Dataset.open(options.dataset)
    rows = chosen(dataset, np.random.default_rng(0))
    records = [replace(dataset[row], labels={}) for row in rows]
    print(f"{len(records)} structures", flush=True)
    method = PySCF("PBE0", "def2-TZVPD")
    report = label(records, {"dipole": method}, options.output)
    print(report.dataset, f"{len(report.failed)} without labels")


if __name__ == "__main__":
    main()
