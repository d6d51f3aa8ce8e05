# SPDX-License-Identifier: MIT
"""Structures of files as ASE reads them, with the charge, spin and isotopes that it leaves out."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_masses, covalent_radii
from ase.neighborlist import natural_cutoffs, neighbor_list
from ase.units import Bohr

from eqcalc.molfiles import read_molfile, read_pdb
from eqcalc.program_inputs import read_gaussian, reader_of_input
from eqcalc.program_outputs import Output, program_of
from eqcalc.validation import InvalidFileError, number_in
from eqcalc.xyz_files import read_xyz

#: Databases of ASE.
_DATABASES = (".db", ".json")
#: Statements of the charge and the multiplicity in inputs and outputs of other programs.
_IN_TEXT = (
    r"^\s*Charge\s*:\s*([+-]?\d+)\s*$",  # NWChem
    r"net charge\s+([+-]?\d+)\s",  # xtb
    r"(?:^|,)[ \t]*tot_charge[ \t]*=[ \t]*([^\s,!/]+)",  # Quantum ESPRESSO
)
_TURBOMOLE = {
    "charge": r"^\s*\$?(?:eht.*\bcharge\s*=|charge|chrg\s*=?)\s*([+-]?\d+)",
    "unpaired_electrons": r"^\s*\$?(?:eht.*\bunpaired\s*=|uhf\s*=?)\s*(\d+)",
}
#: Coordinates of Turbomole in Å.
_ANGSTROM = re.compile(r"^\s*\$coord[ \t]+angs", re.MULTILINE | re.IGNORECASE)
#: Characters of a text that are searched for statements.
_SEARCHED = 10**7


#: Files that xtb reads beside a structure, which the names of what they state are too.
_OF_XTB = {".CHRG": "charge", ".UHF": "unpaired electrons"}


#: Atoms closer than this multiple of the sum of their covalent radii are bonded.
_BONDED = 1.5
#: Atoms closer than this multiple are upon each other; ångströms taken for bohr are.
_UPON = 0.55
#: Isotopes and masses changed for simulations are within this factor of the element's.
_HEAVIEST = 10.0
#: Largest structure whose distances are checked.
_CHECKED_ATOMS = 500


class GeometryWarning(UserWarning):
    """A geometry seems to be dissociated or in a unit other than ångström."""


def read_atoms(path: Path, keys: Collection[str]) -> list[Atoms]:
    """Return the structures of a file.

    Of an output of :data:`~eqcalc.program_outputs.PROGRAMS` it is the last geometry.
    Their ``info`` has the charge and multiplicity that molfiles, PDB files and inputs of
    programs state, and of rows of a database the entries named by `keys`, in any case of letters.

    Raises
    ------
    InvalidFileError
        The file is damaged.
    Exception
        Of any type, by readers of ASE.
    """
    suffix = Path(path.stem if path.suffix.lower() == ".gz" else path).suffix.lower()
    if suffix in _READERS:
        return _READERS[suffix](path)
    if suffix in _DATABASES:
        return _of_database(path, keys)
    program = program_of(path)
    if program is not None:
        return [_of_output(path, program)]
    read_input = reader_of_input(path)
    if read_input is not None:
        return read_input(path)
    found = [*ase.io.iread(path)]
    for atoms in found:  # inputs of other programs, read as parameters of a calculator
        parameters = getattr(atoms.calc, "parameters", None) or {}
        for name, key in (("charge", "charge"), ("mult", "multiplicity")):
            if parameters.get(name) is not None:
                atoms.info.setdefault(key, parameters[name])
        text = _text_of_output(path)
        if suffix == ".cjson":
            atoms.info |= _of_cjson(path)
        for key, value in _in_text(text).items():
            atoms.info.setdefault(key, value)
        if _ANGSTROM.search(text):  # ASE takes bohr
            atoms.positions /= Bohr
    return found


def _of_cjson(path: Path) -> dict[str, int]:
    """Return the charge and multiplicity that Avogadro writes, of which ASE reads the atoms."""
    stated = json.loads(path.read_text(encoding="utf-8")).get("properties", {})
    names = {"totalCharge": "charge", "totalSpinMultiplicity": "multiplicity"}
    return {key: stated[name] for name, key in names.items() if name in stated}


def _of_output(path: Path, program: type[Output]) -> Atoms:
    """Return the last geometry of the output of a program."""
    try:
        steps = program(path.read_text(encoding="utf-8", errors="replace")).steps
    except (ValueError, LookupError) as error:
        raise InvalidFileError(f"{program.name} printed what cannot be read ({error})") from error
    last = next((step for step in reversed(steps) if len(step.numbers)), None)
    if last is None:
        raise InvalidFileError(
            f"the output of {program.name} has no geometry", expected="one with positions"
        )
    info = {"charge": last.charge, "multiplicity": last.multiplicity}
    said = {key: value for key, value in info.items() if value is not None}
    return Atoms(last.numbers, last.positions, cell=last.cell, pbc=last.pbc, info=said)


def stated_beside(path: Path) -> dict[str, int]:
    """Return the charge ``.CHRG`` and the unpaired electrons ``.UHF`` that xtb reads beside a file.

    They are of no database, which xtb does not read.

    Raises
    ------
    InvalidFileError
        One of these files has no integer.
    """
    found = {}
    for name, what in _OF_XTB.items():
        file = path.with_name(name)
        if path.suffix.lower() in (*_DATABASES, ".traj") or not file.is_file():
            continue
        with file.open(encoding="utf-8-sig", errors="replace") as stream:
            words = stream.read(1000).split()
        value = number_in(words[0]) if words else None
        if value is None or value != round(value):
            raise InvalidFileError(
                file=file, key=what, value=" ".join(words)[:60], expected="an integer, as for xtb"
            )
        found[name] = round(value)
    return found


def _text_of_output(path: Path) -> str:
    """Return the text of inputs and outputs that state more than ASE reads; else nothing."""
    if path.suffix.lower() not in (".log", ".out", ".nwo", "", ".coord", ".tmol", ".in", ".pwi"):
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(_SEARCHED)


def _in_text(text: str) -> dict[str, int]:
    """Return the charge and spin that inputs and outputs state, of which ASE reads the atoms."""
    if re.search(r"^\s*\$coord", text, re.MULTILINE):
        lines = re.MULTILINE | re.IGNORECASE
        matches = {key: re.search(form, text, lines) for key, form in _TURBOMOLE.items()}
        return {key: int(match[1]) for key, match in matches.items() if match}
    for form in _IN_TEXT:
        match = re.search(form, text, re.MULTILINE)
        if match is None:
            continue
        charge = number_in(match[1])
        if charge is None or charge != round(charge):
            raise InvalidFileError(key="charge", value=match[1][:40], expected="an integer")
        return {"charge": round(charge)}
    return {}


# --- databases ------------------------------------------------------------------------


def stated_in_row(row: Any) -> dict[str, Any]:
    """Return the key-value pairs and data of a row of an ASE database.

    Properties of rows, such as the charge, hide pairs of the same name from
    ``row.key_value_pairs``.
    """
    pairs = {key: vars(row).get(key, value) for key, value in row.key_value_pairs.items()}
    return {**pairs, **row.data}


def _of_database(path: Path, keys: Collection[str]) -> list[Atoms]:
    found = []
    with ase.db.connect(path, use_lock_file=False) as database:
        for row in database.select(sort="id"):
            found.append(row.toatoms())
            said = stated_in_row(row)
            found[-1].info.update({k: v for k, v in said.items() if k.lower() in keys})
    return found


# --- what structures must be ----------------------------------------------------------


def check_atoms(atoms: Atoms) -> None:
    """Check that atoms are real ones at different places, with masses in amu."""
    unknown = atoms.numbers[(atoms.numbers < 0) | (atoms.numbers >= len(atomic_masses))]
    if unknown.size:
        raise InvalidFileError(key="atomic numbers", value=int(unknown[0]), expected="of elements")
    dummies = np.flatnonzero(atoms.numbers == 0)
    if dummies.size:
        raise InvalidFileError(
            key="dummy atoms", value=dummies.tolist(), expected="none", advice="remove them"
        )
    shares = [x for site in atoms.info.get("occupancy", {}).values() for x in site.values()]
    partial = [x for x in shares if isinstance(x, str) or not abs(x - 1.0) < 1e-6]
    if partial:
        raise InvalidFileError(
            key="occupancy", value=partial[0], expected="1 of every atom", advice="order the atoms"
        )
    ratios = atoms.get_masses() / atomic_masses[atoms.numbers]
    if not (np.abs(np.log(np.clip(ratios, 1e-9, 1e9))) < np.log(_HEAVIEST)).all():
        atom = int(np.argmax(np.abs(np.log(np.clip(ratios, 1e-9, 1e9)))))
        raise InvalidFileError(
            key=f"mass of atom {atom} ({atoms.symbols[atom]})",
            value=float(atoms.get_masses()[atom]),
            expected=f"a mass [amu] near {atomic_masses[atoms.numbers[atom]]:.3f}",
        )
    if atoms.pbc.any() and not abs(atoms.cell.volume) > 1e-6:
        return  # an error where the cell is needed
    _, first, place = np.unique(
        atoms.positions.round(3), axis=0, return_index=True, return_inverse=True
    )
    i, j = first[place.ravel()], np.arange(len(atoms))
    i, j, distances = i[i != j], j[i != j], np.zeros(int((i != j).sum()))
    if not i.size:  # thousands of atoms at one place have too many pairs
        i, j, distances = neighbor_list("ijd", atoms, natural_cutoffs(atoms, mult=_UPON))
    if i.size:
        near = int(np.argmin(distances))
        raise InvalidFileError(
            key=f"atoms {i[near]} and {j[near]}",
            value=f"{distances[near]:.3f} Å between {atoms.symbols[i[near]]} and "
            f"{atoms.symbols[j[near]]}",
            expected="atoms apart from each other",
            advice="are the coordinates in ångström, is an atom there twice, is the cell right?",
        )


def warn_of_distances(path: str | Path, structures: Sequence[Atoms]) -> None:
    """Warn of the first molecule in which an atom has no bonded neighbour."""
    for index, atoms in enumerate(structures):
        if not 1 < len(atoms) <= _CHECKED_ATOMS or atoms.pbc.any():
            continue
        ratios = bond_ratios(atoms.numbers, atoms.positions)
        atom = int(np.argmax(ratios.min(axis=1)))
        neighbour = int(np.argmin(ratios[atom]))
        if ratios[atom, neighbour] > _BONDED:
            where = f" of structure {index}" if len(structures) > 1 else ""
            warnings.warn(
                f"{path}: the nearest neighbour of atom {atom} ({atoms.symbols[atom]}){where} is "
                f"{atoms.symbols[neighbour]} at {atoms.get_distance(atom, neighbour):.2f} Å, too "
                "far for a bond; coordinates are taken in ångström",
                GeometryWarning,
                stacklevel=3,
            )
            return


def bond_ratios(numbers: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return distances [Å] over sums of covalent radii, ``[n_atoms, n_atoms]``.

    Bonds are near 1; the diagonal is infinite.
    """
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[numbers]
    return np.asarray(distances / (radii[:, None] + radii))


#: Readers by the end of the name; others are ASE's.
_READERS = {
    **dict.fromkeys((".xyz", ".extxyz"), read_xyz),
    **dict.fromkeys((".mol", ".sdf", ".sd"), read_molfile),
    **dict.fromkeys((".pdb", ".ent"), read_pdb),
    **dict.fromkeys((".gjf", ".com"), read_gaussian),
}
