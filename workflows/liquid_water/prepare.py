# SPDX-License-Identifier: MIT
"""Make the dataset of liquid water: energies and forces of some frames, response of others.

Close contacts (``contacts.py``) join the training; GFN2-xTB labels them (``eqcalc[label]``).

    python workflows/liquid_water/prepare.py runs/liquid-water.h5

writes the dataset and beside it ``liquid-water.xyz``, a frame to start dynamics from. Where the
arrays are from and how their units were found is said in ``data/water/README.md``.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import ase.io
import numpy as np
from contacts import contacts

from eqcalc.datasets import DatasetWriter, Record
from eqcalc.units import cell_polarizability, conversion_factor

DATA = Path(__file__).resolve().parents[2] / "data" / "water"
#: Structures of each part: cells with forces, cells with response, close contacts.
PARTS = {"training": (360, 800, 800), "validation": (20, 50, 0), "test": (20, 150, 0)}


def with_forces(path: Path) -> Iterator[Record]:
    """Yield cells of 64 molecules with energies [eV] and forces [eV/Å]."""
    with np.load(path) as archive:
        a = {name: archive[name] for name in archive.files}
    for i, positions in enumerate(a["positions_A"]):
        labels = {"energy": a["energy_eV"][i], "forces": a["forces_eV_per_A"][i]}
        yield Record(
            a["numbers"], positions, labels, cell=a["cell_A"][i], pbc=True, source="64 H2O"
        )


def with_response(path: Path) -> Iterator[Record]:
    """Yield cells of 32 molecules with dipole moments [e bohr] and ε∞."""
    factor = conversion_factor("e*bohr", "e*Å")
    with np.load(path) as archive:
        a = {name: archive[name] for name in archive.files}
    for i, positions in enumerate(a["positions_A"]):
        cell = np.diag(a["cell_A"][i])
        tensor = 0.5 * (a["epsilon_inf"][i] + a["epsilon_inf"][i].T)
        labels = {
            "dipole": factor * a["dipole_upstream"][i],
            "polarizability": cell_polarizability(tensor, abs(np.linalg.det(cell))),
        }
        yield Record(a["numbers"], positions, labels, cell=cell, pbc=True, source="32 H2O")


def split(sizes: tuple[int, ...], seed: int = 0) -> dict[str, np.ndarray]:
    """Return the indices of each part, drawn at random from every kind of structures."""
    rng, offset = np.random.default_rng(seed), 0
    parts: dict[str, list[np.ndarray]] = {name: [] for name in PARTS}
    for kind, size in enumerate(sizes):
        order, first = offset + rng.permutation(size), 0
        for name, counts in PARTS.items():
            parts[name].append(order[first : first + counts[kind]])
            first += counts[kind]
        offset += size
    return {name: np.sort(np.concatenate(rows)) for name, rows in parts.items()}


def main() -> None:
    """Read the arguments and write the dataset."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    first = list(with_forces(DATA / "water64-energies-forces.npz"))
    second = list(with_response(DATA / "water32-dipole-permittivity.npz"))
    third = list(contacts(first, PARTS["training"][2]))
    options.target.parent.mkdir(parents=True, exist_ok=True)
    levels = {
        "energy": "functional not stated (DeePMD-kit example water)",
        "forces": "functional not stated (DeePMD-kit example water); close contacts: GFN2-xTB",
        "dipole": "functional not stated (Kapil, water_bulk)",
        "polarizability": "functional not stated (Kapil, water_bulk)",
    }
    with DatasetWriter(
        options.target,
        level_of_theory=levels,
        provenance={"sources": "data/water/README.md"},
        overwrite=True,
    ) as writer:
        writer.append(first)
        writer.append(second)
        writer.append(third)
        writer.add_split("liquid", split((len(first), len(second), len(third))))
    start = options.target.with_suffix(".xyz")
    ase.io.write(start, first[-1].atoms(), format="extxyz", columns=["symbols", "positions"])
    print(
        f"{len(first)} cells with forces, {len(second)} with response and {len(third)} close "
        f"contacts in {options.target}"
    )


if __name__ == "__main__":
    main()
