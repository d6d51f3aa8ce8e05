# SPDX-License-Identifier: MIT
"""Molfiles and PDB files, with their charges, radicals and isotopes."""

from __future__ import annotations

import io
import re
from pathlib import Path

import ase.io
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers, chemical_symbols

from eqcalc.elements import element, isotope_of, with_isotopes
from eqcalc.files import read_text
from eqcalc.validation import InvalidFileError, located, number_in, numbers_in

#: Charges [e] of the codes in the atom block of a molfile.
_MOLFILE_CHARGES = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
_DOUBLET = 4  # among these codes, a radical
#: Data items of an SDF that are the total charge, and those items.
_CHARGE_ITEMS = ("charge", "total_charge", "total charge", "pubchem_total_charge")
_DATA_ITEM = re.compile(r"^>.*<([^>]+)>.*\n(.*)$", re.MULTILINE)


def read_molfile(path: Path) -> list[Atoms]:
    """Return the molecules of a molfile or SDF (CTfile formats, V2000 and V3000).

    Their ``info`` has the charge, which may be a data item such as ``> <charge>``, and the
    multiplicity.

    Raises
    ------
    InvalidFileError
        The file is damaged, or is the drawing of a molecule.
    """
    blocks = re.split(r"^\$\$\$\$.*\n?", read_text(path), flags=re.MULTILINE)
    return [_of_molfile(block) for block in blocks if block.strip()]


def _of_molfile(block: str) -> Atoms:
    lines = block.splitlines()
    if len(lines) < 4:
        raise InvalidFileError(key="molfile", value=lines, expected="four lines and the atoms")
    said: dict[str, list[tuple[int, int]]] = {"CHG": [], "RAD": [], "ISO": []}
    atoms, codes = (_of_v3000 if "V3000" in lines[3] else _of_v2000)(lines, said)
    for name, values in said.items():
        wrong = next((atom for atom, _ in values if not 1 <= atom <= len(atoms)), None)
        if wrong is not None:
            raise InvalidFileError(
                key=f"M  {name}", value=wrong, expected=f"an atom from 1 to {len(atoms)}"
            )
    if lines[1][20:22] == "2D" and len(atoms) > 1 and not atoms.positions[:, 2].any():
        raise InvalidFileError(
            "is a drawing of a molecule, without depth",
            key="line 2",
            value=lines[1].strip(),
            expected="a structure in space, 3D",
            advice="eqcalc predict takes its name or SMILES string",
        )
    charge = sum(_MOLFILE_CHARGES.get(code, 0) for code in codes)
    unpaired = codes.count(_DOUBLET)
    if said["CHG"] or said["RAD"]:  # supersede the atom block
        charge = sum(value for _, value in said["CHG"])
        unpaired = sum(value - 1 for _, value in said["RAD"])
    items = {name.lower(): value.strip() for name, value in _DATA_ITEM.findall(block)}
    stated = next((items[key] for key in _CHARGE_ITEMS if key in items), None)
    if charge or stated is None:  # not all programs write the charges of the atoms
        atoms.info["charge"] = charge
    if stated is not None:
        atoms.info["total_charge"] = stated
    if unpaired:
        atoms.info["multiplicity"] = unpaired + 1
    isotopes = {}
    for atom, mass in said["ISO"]:
        with located(section=f"atom {atom}"):
            isotopes[atom - 1] = isotope_of(atoms.symbols[atom - 1], mass)[1]
    return with_isotopes(atoms, isotopes)


def _of_v2000(lines: list[str], said: dict[str, list[tuple[int, int]]]) -> tuple[Atoms, list[int]]:
    """Return the atoms and their charge codes; add the property lines."""
    count = number_in(lines[3][:3].strip())
    if count is None or not 0 < count <= len(lines) - 4:
        raise InvalidFileError(
            key="line 4",
            value=lines[3][:60],
            expected=f"the number of atoms, at most the {len(lines) - 4} lines that follow",
        )
    numbers, positions, codes = [], [], []
    for index, line in enumerate(lines[4 : 4 + int(count)]):
        key = f"line {5 + index}"
        columns = f"{line[:10]} {line[10:20]} {line[20:30]}"
        words = [*columns.split()[:3], *line[30:].split()]
        if len(words) < 4 or None in map(number_in, words[:3]):
            words = line.split()  # not in the columns of the format
        if len(words) < 4:
            expected = "three coordinates and an element"
            raise InvalidFileError(key=key, value=line.strip()[:60], expected=expected)
        positions.append(numbers_in(" ".join(words[:3]), key))
        with located(section=key):
            number, mass = element(words[3])
        numbers.append(number)
        difference, code = (_integer(line[a:b], key) for a, b in ((34, 36), (36, 39)))
        codes.append(code)
        if difference:
            mass = round(atomic_masses[number]) + difference
        if mass is not None:
            said["ISO"].append((index + 1, round(mass)))
    superseded = any(line.startswith("M  ISO") for line in lines)
    said["ISO"] = [
        (i, m) for i, m in said["ISO"] if not superseded or lines[3 + i][31:34].strip() in "DT"
    ]
    for line in lines[4 + int(count) :]:
        if line.startswith("M  ") and line[3:6] in said:
            values = [_integer(word, line.strip()) for word in line[9:].split()]
            if len(values) % 2:
                raise InvalidFileError(key=line.strip(), expected="pairs of an atom and a value")
            said[line[3:6]] += zip(values[::2], values[1::2], strict=True)
    return Atoms(numbers, positions), codes


def _integer(text: str, key: str) -> int:
    """Return an integer, 0 of nothing."""
    value = number_in(text.strip() or "0")
    if value is None or value != int(value):
        raise InvalidFileError(key=key, value=text.strip(), expected="an integer")
    return int(value)


def _of_v3000(lines: list[str], said: dict[str, list[tuple[int, int]]]) -> tuple[Atoms, list[int]]:
    """Return the atoms of lines ``M  V30 index type x y z map KEY=VALUE``, and add their values."""
    text = "\n".join(line[7:] for line in lines if line.startswith("M  V30 "))
    rows = [line.split() for line in re.sub(r"-\s*\n", " ", text).splitlines()]
    begin, end, counts = (
        next((i for i, row in enumerate(rows) if row[: len(start)] == start), None)
        for start in (["BEGIN", "ATOM"], ["END", "ATOM"], ["COUNTS"])
    )
    if (
        begin is None
        or end is None
        or counts is None
        or rows[counts][1:2] != [f"{end - begin - 1}"]
    ):
        expected = "a block of as many atoms as COUNTS says"
        raise InvalidFileError(key="M  V30 BEGIN ATOM", expected=expected)
    numbers, positions = [], []
    places = {row[0]: place for place, row in enumerate(rows[begin + 1 : end], 1)}
    for row in rows[begin + 1 : end]:
        key = f"M  V30 {row[0]}"
        if len(row) < 5:
            raise InvalidFileError(key=key, value=" ".join(row)[:60], expected="an atom")
        with located(section=key):
            number, mass = element(row[1])
        numbers.append(number)
        positions.append(numbers_in(" ".join(row[2:5]), key))
        values = dict(word.split("=", 1) for word in row[5:] if "=" in word)
        values |= {} if mass is None else {"MASS": f"{mass:.0f}"}
        for name, ours in (("CHG", "CHG"), ("RAD", "RAD"), ("MASS", "ISO")):
            if name in values:
                said[ours].append((places[row[0]], int(numbers_in(values[name], key)[0])))
    return Atoms(numbers, positions), []


def read_pdb(path: Path) -> list[Atoms]:
    """Return the models of a PDB file, with the sum of their charges in columns 79 and 80.

    Elements that are missing in columns 77 and 78 follow from the columns of the names, in which
    calcium (``CA``) begins before C-alpha (`` CA``). A cell of 1 Å is none, as in files of NMR.

    Raises
    ------
    InvalidFileError
        Atoms have alternate locations, or an element is missing that the name leaves open.
    """
    lines: list[str] = []
    totals, isotopes, locations = [0], [dict[int, float]()], set[str]()
    index = 0
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if line.startswith("CRYST1") and line[6:33].split() == ["1.000"] * 3:
            continue
        if line.startswith("END") and not line.startswith("ENDMDL"):
            continue
        lines.append(line)
        if line.startswith("ENDMDL"):
            totals.append(0)
            isotopes.append({})
            index = 0
        if not line.startswith(("ATOM", "HETATM")):
            continue
        key = f"line {number}"
        locations.add(line[16:17].strip())
        if len(locations) > 1:
            raise InvalidFileError(
                key=key,
                value=line.strip()[:60],
                expected="one location of every atom",
                advice="keep one of the alternate locations, in column 17",
            )
        with located(section=key):
            atomic_number, mass = element(line[76:78].strip() or _element_of_name(line[12:16]))
        if mass is not None:
            isotopes[-1][index] = mass
        symbol = chemical_symbols[atomic_number].upper()
        lines[-1] = f"{line[:76]:76}{symbol:>2}{line[78:]}"
        index += 1
        match = re.fullmatch(r"(\d)([+-])|([+-])(\d)", line[78:80].strip())
        if match is not None:
            size, sign = match.group(1) or match.group(4), match.group(2) or match.group(3)
            totals[-1] += int(f"{sign}{size}")
    text = "\n".join([*lines, ""])
    found = [*ase.io.iread(io.StringIO(text), format="proteindatabank")]
    for atoms, charge, heavy in zip(found, totals, isotopes, strict=False):
        atoms.info["charge"] = charge
        with_isotopes(atoms, heavy)
    return found


def _element_of_name(name: str) -> str:
    """Return the element of an atom's name in columns 13 to 16 of a PDB file."""
    letters = name.lstrip("0123456789 ").rstrip()
    if not name[:1].isalpha() or len(name.rstrip()) == 4:
        return letters[:1]
    both = letters[:2].capitalize()
    if both not in atomic_numbers:
        return letters[:1]
    if letters[:1] in atomic_numbers and letters[1] in "ABGDEZHN":
        raise InvalidFileError(
            key="name",
            value=name,
            expected="the element in columns 77 and 78",
            advice=f"it may be {letters[0]} or {both}",
        )
    return both
