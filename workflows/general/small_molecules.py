# SPDX-License-Identifier: MIT
"""Labels of all small molecules of H, C, N and O, of which QM9 has few.

    python workflows/general/small_molecules.py --qm9 qm9_geometries.npz --output runs/small.h5

Every molecule of up to three atoms other than hydrogen that valences allow, a random part of those
of four, and some with formal charges (N₂O, diazomethane, nitromethane, …), as far as GFN2-xTB
keeps their bonds. Geometries about all conformers: quantum distributions, also with rotated
torsions, and classical dynamics at low temperature for the surroundings of the minima. Energies
and forces are those of AIQM2, dipoles and polarizabilities those of PTB. Molecules of QM9
whose index leaves a remainder of 5 by 12 are kept aside, as in ``data/hcno/README.md``.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase
import numpy as np
from rdkit import Chem, RDLogger
from rdkit.Chem import AllChem

from eqcalc.datasets import Record
from eqcalc.labelling import (
    GFN2,
    PTB,
    ConvergenceError,
    SamplingError,
    SamplingPlan,
    label,
    relax,
    sample,
)
from eqcalc.molecules import bonds
from eqcalc.validation import InvalidInputError

CHARGED = [
    "[C-]#[O+]",
    "[N-]=[N+]=O",
    "C=[N+]=[N-]",
    "[N-]=[N+]=N",
    "C[N+]#[C-]",
    "C#[N+][O-]",
    "C=[N+]([O-])[H]",
    "C[N+](=O)[O-]",
    "O=[N+]([O-])O",
    "C[N+]([H])([H])[O-]",
    "[O-][N+](=O)C=C",
    "CN=[N+]=[N-]",
    "CC=[N+]=[N-]",
    "C[N+](C)(C)[O-]",
    "C=[N+](C)[O-]",
    "C=C[N+]#[C-]",
    "CC#[N+][O-]",
    "CC[N+]#[C-]",
    "NC[N+]#[C-]",
    "N[N+](=O)[O-]",
]
VALENCES = {"C": 4, "N": 3, "O": 2}
PLAN = SamplingPlan(
    classical={30.0: 0.10, 150.0: 0.15},
    wigner={20.0: 0.20, 300.0: 0.15, 800.0: 0.15},
    torsional_wigner={300.0: 0.15, 600.0: 0.10},
    ring_polymer={},
    equilibration=200.0,
    interval=20.0,
    minimum_distance=0.002,
)


def grown(molecules: set[str]) -> set[str]:
    """Return the SMILES strings of `molecules` with one more atom, or one more ring."""
    larger = set()
    for smiles in molecules:
        start = Chem.MolFromSmiles(smiles)
        free = [atom.GetNumImplicitHs() for atom in start.GetAtoms()]
        for k, most in enumerate(free):
            for symbol, valence in VALENCES.items():
                for order in range(1, min(most, valence, 3) + 1):
                    mol = Chem.RWMol(start)
                    mol.AddBond(k, mol.AddAtom(Chem.Atom(symbol)), Chem.BondType.values[order])
                    larger.add(Chem.MolToSmiles(mol.GetMol()))
    return larger


def with_rings(molecules: set[str]) -> set[str]:
    """Return `molecules` and what single and double bonds between their atoms make of them."""
    found = set(molecules)
    for smiles in molecules:
        start = Chem.MolFromSmiles(smiles)
        free = [atom.GetNumImplicitHs() for atom in start.GetAtoms()]
        for i, j in itertools.combinations(range(len(free)), 2):
            for order in range(1, min(free[i], free[j], 2) + 1):
                if start.GetBondBetweenAtoms(i, j) is None:
                    mol = Chem.RWMol(start)
                    mol.AddBond(i, j, Chem.BondType.values[order])
                    found.add(Chem.MolToSmiles(mol.GetMol()))
    return found


def strained(mol: Chem.Mol) -> bool:
    """Whether a molecule has chains of three heteroatoms, or small rings with steep bonds."""
    chain = Chem.MolFromSmarts("[#7,#8;+0]~[#7,#8;+0]~[#7,#8;+0]")
    ring = Chem.MolFromSmarts("[r3,r4]=,:,#[r3,r4]=,:,#*")
    triple = Chem.MolFromSmarts("[r]#[r]")
    bridge = any(
        len(set(a) & set(b)) > 1
        for a, b in itertools.combinations(mol.GetRingInfo().AtomRings(), 2)
    )
    return bridge or any(mol.HasSubstructMatch(part) for part in (chain, ring, triple))


def connectivity(mol: Chem.Mol) -> str:
    """Return a name of the graph of all atoms, without bond orders and charges."""
    graph = Chem.RWMol()
    full = Chem.AddHs(mol)
    for atom in full.GetAtoms():
        plain = Chem.Atom(atom.GetSymbol())
        plain.SetNoImplicit(True)
        graph.AddAtom(plain)
    for bond in full.GetBonds():
        graph.AddBond(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(graph))


def graph_of(numbers: np.ndarray, positions: np.ndarray) -> str:
    """Return the connectivity of a geometry."""
    graph = Chem.RWMol()
    for number in numbers:
        atom = Chem.Atom(int(number))
        atom.SetNoImplicit(True)
        graph.AddAtom(atom)
    for i, j in bonds(ase.Atoms(numbers, positions)):
        graph.AddBond(int(i), int(j), Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(graph))


def qm9_indices(path: Path, heavy: int) -> dict[str, int]:
    """Return the index in QM9 of its molecules of up to `heavy` heavy atoms, by connectivity."""
    found = {}
    with np.load(path) as data:
        ptr, numbers, positions = data["ptr"], data["numbers"], data["positions_A"]
        for index, first, last in zip(data["gdb_id"], ptr[:-1], ptr[1:], strict=True):
            if (numbers[first:last] > 1).sum() > heavy:
                continue
            found[graph_of(numbers[first:last], positions[first:last])] = int(index)
    return found


def embedded(mol: Chem.Mol) -> ase.Atoms | None:
    """Return a structure of a molecule, or None if there is none."""
    full = Chem.AddHs(mol)
    if AllChem.EmbedMolecule(full, randomSeed=7) != 0:
        return None
    AllChem.UFFOptimizeMolecule(full, maxIters=500)
    numbers = [atom.GetAtomicNum() for atom in full.GetAtoms()]
    return ase.Atoms(numbers, full.GetConformer().GetPositions())


def stretched(atoms: ase.Atoms, method: GFN2, n: int = 24) -> list[Record]:
    """Return a diatomic molecule at bond lengths of its lowest ten vibrational levels or so."""
    relaxed = relax(atoms, method)
    records = []
    for factor in np.linspace(0.82, 1.3, n):
        moved = relaxed.copy()
        moved.set_distance(0, 1, factor * relaxed.get_distance(0, 1))
        records.append(Record.from_atoms(moved, source="bond lengths 0.82 to 1.3 times the least"))
    return records


def name_of(mol: Chem.Mol, qm9: Mapping[str, int]) -> str:
    """Return a molecule's index in QM9, or its SMILES string."""
    key = connectivity(mol)
    return f"QM9 {qm9[key]}" if key in qm9 else str(Chem.MolToSmiles(mol, isomericSmiles=False))


def named(records: list[Record], mol: Chem.Mol, qm9: Mapping[str, int]) -> list[Record]:
    """Return records whose sources begin with the molecule."""
    name = name_of(mol, qm9)
    return [replace(record, source=f"{name}, {record.source}") for record in records]


def write_labels(geometries: list[Record], xtb: str, output: Path, sampling: Any) -> None:
    """Label structures, energy and forces by AIQM2, and the rest by PTB."""
    methods = {"energy,forces": "aiqm2", "dipole,polarizability": PTB(xtb)}
    output.parent.mkdir(parents=True, exist_ok=True)
    report = label(geometries, methods, output, provenance={"sampling": sampling})
    print(report.dataset, f"{len(report.failed)} without labels")


def chosen(qm9: Mapping[str, int], share: float = 1.0) -> list[str]:
    """Return the molecules of up to four heavy atoms, a random part of those of four.

    Left out are strained ones, and those of `qm9` that are kept aside.
    """
    one = {"C", "N", "O"}
    two = grown(one)
    three = with_rings(grown(two))
    four = sorted(with_rings(grown(three)))
    rng = np.random.default_rng(4)
    some = set(rng.choice(four, int(share * len(four)), replace=False).tolist())
    found: dict[str, str] = {}
    for smiles in [*sorted(one | two | three | some), *CHARGED, "[H][H]"]:
        mol = Chem.MolFromSmiles(smiles)
        key = connectivity(mol)
        if not strained(mol) and qm9.get(key, 0) % 12 != 5:
            found.setdefault(key, Chem.MolToSmiles(mol))
    return list(found.values())


def main() -> None:
    """Enumerate, sample and label."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--qm9", type=Path, required=True)
    parser.add_argument("--xtb", default="xtb", help="the program, 6.7 or newer")
    parser.add_argument("--share", type=float, default=0.6, help="of those of four heavy atoms")
    parser.add_argument("--structures", type=int, default=60, help="of each molecule")
    parser.add_argument("--count", action="store_true", help="say how many there are, and stop")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    RDLogger.DisableLog("rdApp.*")

    qm9 = qm9_indices(options.qm9, 4)
    smallest = chosen(qm9, options.share)
    print(f"{len(smallest)} molecules")
    if options.count:
        return

    method = GFN2()
    geometries = []
    for number, smiles in enumerate(smallest):
        mol = Chem.MolFromSmiles(smiles)
        atoms = embedded(mol)
        if atoms is None:
            continue
        heavy = mol.GetNumAtoms()
        wanted = options.structures if heavy < 4 else options.structures // 4
        try:
            if len(atoms) == 2:
                kept = records = stretched(atoms, method)
            else:
                records = sample(atoms, method, wanted, np.random.default_rng([4, number]), PLAN)
                expected = connectivity(mol)
                kept = [r for r in records if graph_of(r.numbers, r.positions) == expected]
        except (ConvergenceError, SamplingError, InvalidInputError) as error:
            print(f"{smiles}: {type(error).__name__}: {error}", flush=True)
            continue
        if len(kept) < 0.5 * len(records):
            print(f"{smiles}: GFN2-xTB does not keep its bonds", flush=True)
            continue
        geometries += named(kept, mol, qm9)
        print(f"{number + 1} of {len(smallest)}: {smiles} {len(kept)}", flush=True)
    write_labels(geometries, options.xtb, options.output, PLAN.settings())


if __name__ == "__main__":
    main()
