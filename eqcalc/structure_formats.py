# SPDX-License-Identifier: MIT
"""Structures of files as ASE reads them, with the charge, spin and isotopes that it leaves out."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import ase.db
import ase.io
from ase import Atoms

from eqcalc.validation import InvalidFileError

#: Databases of ASE.
_DATABASES = (".db", ".json")
#: Charges [e] of the codes in the atom block of a molfile.
_MOLFILE_CHARGES = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
_DOUBLET = 4  # among these codes, a radical


def read_atoms(
    path: Path, keys: Collection[str], isotopes: Iterable[tuple[str, float]]
) -> list[Atoms]:
    """Return the structures of a file.

    Their ``info`` has the charge and multiplicity that molfiles, PDB files and inputs of other
    programs state, and of rows of a database the entries named by `keys`, in any case of letters.
    Elements and masses [amu] of `isotopes` are those of the mass numbers in molfiles.

    Raises
    ------
    InvalidFileError
        An XYZ file has fewer lines than it declares, or a molfile is none of version 2000.
    Exception
        Of any type, by readers of ASE.
    """
    suffix = path.suffix.lower()
    if suffix in (".xyz", ".extxyz"):
        _check_counts(path)
    elif suffix in (".mol", ".sdf", ".sd"):
        text = path.read_text(encoding="utf-8", errors="replace")
        masses = {(symbol, round(mass)): mass for symbol, mass in isotopes}
        blocks = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
        return [_of_molfile(block, masses) for block in blocks if block.strip()]
    elif suffix in _DATABASES:
        return _of_database(path, keys)
    found = [*ase.io.iread(path)]
    if suffix in (".pdb", ".ent"):
        for atoms, charge in zip(found, _pdb_charges(path), strict=False):
            atoms.info["charge"] = charge
    for atoms in found:  # inputs of other programs, read as parameters of a calculator
        parameters = getattr(atoms.calc, "parameters", None) or {}
        if parameters.get("charge") is not None:
            atoms.info.setdefault("charge", parameters["charge"])
    return found


def _check_counts(path: Path) -> None:
    """Check numbers of atoms and columns in XYZ files, for which ASE would take time and memory."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = file.readlines()
    for number, line in enumerate(lines, 1):
        _, found, columns = line.partition("Properties=")
        if found and re.match(r"""["']?[^\s"']*:[0-9]{4}""", columns):
            raise InvalidFileError(
                key=f"line {number}",
                value=columns[:60].strip(),
                expected="Properties with fewer than 1000 columns each",
            )
    place = 0
    while place < len(lines) and re.fullmatch(r"\s*\d{1,18}\s*", lines[place]):
        count = int(lines[place])
        if count > len(lines) - place - 2:
            raise InvalidFileError(
                key=f"line {place + 1}",
                value=count,
                expected=f"the number of atoms that follow, at most {len(lines) - place - 2}",
            )
        place += count + 2
        while place < len(lines) and lines[place].startswith("VEC"):
            place += 1


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


# --- molfiles and PDB -----------------------------------------------------------------


def _of_molfile(block: str, isotopes: Mapping[tuple[str, int], float]) -> Atoms:
    """Return a molecule of a molfile or SDF (CTfile formats, V2000); ASE reads its elements."""
    lines = block.splitlines()
    if len(lines) < 4 or "V3000" in lines[3]:
        raise InvalidFileError(key="molfile", value=lines[3:4], expected="one of version V2000")
    atoms = next(iter(ase.io.iread(io.StringIO(block), format="sdf")))
    codes = [int(line[36:39].strip() or 0) for line in lines[4 : 4 + len(atoms)]]
    said: dict[str, list[tuple[int, int]]] = {"CHG": [], "RAD": [], "ISO": []}
    for line in lines[4 + len(atoms) :]:
        if line.startswith("M  ") and line[3:6] in said:
            numbers = [int(word) for word in line[9:].split()]
            said[line[3:6]] += zip(numbers[::2], numbers[1::2], strict=True)
    charge = sum(_MOLFILE_CHARGES.get(code, 0) for code in codes)
    unpaired = codes.count(_DOUBLET)
    if said["CHG"] or said["RAD"]:  # supersede the atom block
        charge = sum(value for _, value in said["CHG"])
        unpaired = sum(value - 1 for _, value in said["RAD"])
    atoms.info["charge"] = charge
    if unpaired:
        atoms.info["multiplicity"] = unpaired + 1
    masses = atoms.get_masses()
    for atom, mass in said["ISO"]:
        masses[atom - 1] = isotopes.get((atoms.symbols[atom - 1], mass), mass)
    if said["ISO"]:
        atoms.set_masses(masses)
    return atoms


def _pdb_charges(path: Path) -> list[int]:
    """Return the sum of the charges in columns 79 and 80, as 1+ or 2-, of each model."""
    totals = [0]
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("ENDMDL"):
            totals.append(0)
        elif line.startswith(("ATOM", "HETATM")) and (text := line[78:80].strip()):
            match = re.fullmatch(r"(\d)([+-])|([+-])(\d)", text)
            if match is None:
                continue
            size, sign = match.group(1) or match.group(4), match.group(2) or match.group(3)
            totals[-1] += int(f"{sign}{size}")
    return totals
