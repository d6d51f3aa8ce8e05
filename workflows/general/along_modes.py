# SPDX-License-Identifier: MIT
"""Labels along the normal modes of small molecules.

    python workflows/general/along_modes.py --qm9 qm9_geometries.npz --output runs/modes.h5

Molecules of up to four atoms other than hydrogen, of which most predictions are wanted, and some
larger ones with double bonds, each mode of the minimum of GFN2-xTB displaced beside small
displacements of all others: once, or where there are double bonds twice. The twist of such a
bond and the bending out of a plane are where a network of vectors errs most: the orientation of a
plane is no vector, so that only distances across the bond tell it (allene's twist had an
imaginary wavenumber in a model that knew 55 distorted structures of it). Energies and forces are
those of AIQM2, dipoles and polarizabilities those of PTB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rdkit import Chem, RDLogger
from small_molecules import (
    chosen,
    connectivity,
    embedded,
    graph_of,
    name_of,
    named,
    qm9_indices,
    write_labels,
)

from eqcalc.datasets import Dataset, Record
from eqcalc.labelling import GFN2, ConvergenceError, finite_difference_modes, relax
from eqcalc.normal_modes import wigner_displacements
from eqcalc.validation import InvalidInputError

#: Larger molecules.
CONJUGATED = [
    "C=CC=C",
    "CC(=C)C",
    "C=CC=O",
    "O=CC=O",
    "CC=C=C",
    "C=CC#C",
    "C=CC#N",
    "C/C=C/C",
    "C/C=C\\C",
    "CC=CC=C",
    "C=CCC=C",
    "C=C(C)C=C",
    "c1ccccc1",
    "c1ccncc1",
    "c1cc[nH]c1",
    "c1ccoc1",
    "c1cnc[nH]1",
    "c1cn[nH]c1",
    "c1cocn1",
    "c1cnoc1",
    "c1cnccn1",
    "c1ccnnc1",
    "c1ncncn1",
    "c1cncnc1",
    "C1=CCC=C1",
    "C1=CCCC1",
    "CC(=O)C=C",
    "COC=C",
    "CC=NC",
    "NC=O",
    "CC(N)=O",
    "C=CC(=O)O",
    "C=CC(N)=O",
    "OC=O",
    "CC(=O)O",
    "COC=O",
    "CN=C=O",
    "C=C=C=O",
    "CC=C=O",
    "O=C=C=C=O",
    "N#CC=CC#N",
    "C1=COC=C1",
    "Cc1ccccc1",
    "Nc1ccccc1",
    "Oc1ccccc1",
]
ALONG = "along a normal mode"
#: Dimensionless displacements of one mode.
DISPLACEMENTS = (-1.5, -0.75, 0.75, 1.5)
#: Share of the quantum displacement at 5 K of all other modes.
REST = 0.4
#: Lowest wavenumber of modes that are displaced [cm⁻¹].
LOWEST = 80.0
#: A double bond, aromatic or not, that is none of a carbonyl group.
DOUBLE = Chem.MolFromSmarts("[#6,#7]=,:[#6,#7]")


def displaced(mol: Chem.Mol, method: GFN2, rng: np.random.Generator) -> list[Record]:
    """Return structures displaced along each mode of a molecule."""
    atoms = embedded(mol)
    if atoms is None:
        return []
    minimum = relax(atoms, method)
    if graph_of(minimum.numbers, minimum.positions) != connectivity(mol):
        return []
    modes = finite_difference_modes(minimum, method)
    times = 2 if mol.HasSubstructMatch(DOUBLE) else 1
    records = []
    for k in np.flatnonzero(modes.wavenumber > LOWEST):
        for displacement in rng.choice(DISPLACEMENTS, times, replace=False):
            rest = REST * wigner_displacements(modes, 5.0, 1, rng, LOWEST)[0]
            rest -= modes.coordinates(rest)[k] * modes.vectors[k]
            moved = minimum.copy()
            moved.positions += displacement * modes.steps[k] + rest
            records.append(Record.from_atoms(moved, source=ALONG))
    return records


def main() -> None:
    """Enumerate, displace and label."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--qm9", type=Path, required=True)
    parser.add_argument("--xtb", default="xtb", help="the program, 6.7 or newer")
    parser.add_argument(
        "--known", type=Path, help="dataset whose molecules along modes are left out"
    )
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")
    known = set()
    if options.known:
        sources = (record.source.split(", ") for record in Dataset.open(options.known))
        known = {molecule for molecule, *how in sources if how == [ALONG]}
    qm9 = qm9_indices(options.qm9, 7)
    method, geometries = GFN2(), []
    for number, smiles in enumerate(dict.fromkeys([*chosen(qm9), *CONJUGATED])):
        mol = Chem.MolFromSmiles(smiles)
        if name_of(mol, qm9) in known:
            continue
        try:
            records = displaced(mol, method, np.random.default_rng([5, number]))
        except (ConvergenceError, InvalidInputError) as error:
            print(f"{smiles}: {type(error).__name__}: {error}", flush=True)
            continue
        geometries += named(records, mol, qm9)
        print(f"{smiles} {len(records)}", flush=True)
    sampling = {"along normal modes": list(DISPLACEMENTS)}
    write_labels(geometries, options.xtb, options.output, sampling)


if __name__ == "__main__":
    main()
