# SPDX-License-Identifier: MIT
"""Structures of files as ASE reads them, with the charge, spin and isotopes that it leaves out."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers
from ase.units import Bohr
from numpy.typing import ArrayLike

from eqcalc.program_outputs import Output, program_of
from eqcalc.validation import InvalidFileError, number_in, numbers_in

#: Databases of ASE.
_DATABASES = (".db", ".json")
#: Charges [e] of the codes in the atom block of a molfile.
_MOLFILE_CHARGES = {1: 3, 2: 2, 3: 1, 5: -1, 6: -2, 7: -3}
_DOUBLET = 4  # among these codes, a radical
#: Statements of the charge and the spin in comments, such as "charge: +1", "q=1", "mult 2".
_NUMBER = r"""["']?\s*{}\s*["']?(\d{{1,2}}[+-](?!\w)|[+-]?\d{{1,2}}(?:\.0*)?(?![\d.]))"""
_IN_COMMENT = {
    "charge": (
        r"(?<!\w)(?:(?:total|net|tot|formal|molecular)[ _])?(?:charge|chrg)"
        + _NUMBER.format("[:=]?")
        + r"|(?<!\w)q"
        + _NUMBER.format("[:=]")
    ),
    "multiplicity": r"(?<!\w)(?:spin[ _])?mult(?:iplicity)?" + _NUMBER.format("[:=]?"),
    "unpaired_electrons": r"(?<!\w)(?:uhf|unpaired(?:[ _]electrons)?)" + _NUMBER.format("[:=]?"),
}
_PAIR = re.compile(r"\s*([+-]?\d)\s+(\d)\s*")
#: Comments that speak of an ion.
_ION = re.compile(r"\b(?:cation|anion)\b|(?<![\w.])(?:[A-Z][a-z]?\d*)+[+-](?![\w.])")
#: Frames with pairs of numbers that all differ are counted by them.
_COUNTED = 3
#: Statements of the charge and the multiplicity in inputs and outputs of other programs.
_IN_TEXT = (
    r"^\s*Charge\s*:\s*([+-]?\d+)\s*$",  # NWChem
    r"net charge\s+([+-]?\d+)\s",  # xtb
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


class IonWarning(UserWarning):
    """A comment speaks of an ion but states no charge, or a file beside the structure does."""


def read_atoms(
    path: Path, keys: Collection[str], isotopes: Iterable[tuple[str, float]]
) -> list[Atoms]:
    """Return the structures of a file.

    Of an output of :data:`~eqcalc.program_outputs.PROGRAMS` it is the last geometry.
    Their ``info`` has the charge and multiplicity that molfiles, PDB files and inputs of other
    programs state, and of rows of a database the entries named by `keys`, in any case of letters.
    Elements and masses [amu] of `isotopes` are those of the mass numbers in molfiles.

    Raises
    ------
    InvalidFileError
        An XYZ file has fewer lines than it declares, or a molfile is damaged.
    Exception
        Of any type, by readers of ASE.
    """
    suffix = path.suffix.lower()
    if suffix in (".xyz", ".extxyz"):
        comments = _comments(path)
        found = [*ase.io.iread(path)]
        _add_comments(found, comments)
        return found
    if suffix in (".mol", ".sdf", ".sd"):
        text = path.read_text(encoding="utf-8", errors="replace")
        masses = {(symbol, round(mass)): mass for symbol, mass in isotopes}
        blocks = re.split(r"^\$\$\$\$.*\n?", text, flags=re.MULTILINE)
        return [_of_molfile(block, masses) for block in blocks if block.strip()]
    elif suffix in _DATABASES:
        return _of_database(path, keys)
    program = program_of(path)
    if program is not None:
        return [_of_output(path, program)]
    gaussian: dict[str, Any] = {"attach_calculator": True} if suffix in (".gjf", ".com") else {}
    found = [*ase.io.iread(path, **gaussian)]
    if suffix in (".pdb", ".ent"):
        for atoms, charge in zip(found, _pdb_charges(path), strict=False):
            atoms.info["charge"] = charge
    for atoms in found:  # inputs of other programs, read as parameters of a calculator
        parameters = getattr(atoms.calc, "parameters", None) or {}
        for name, key in (("charge", "charge"), ("mult", "multiplicity")):
            if parameters.get(name) is not None:
                atoms.info.setdefault(key, parameters[name])
        if gaussian:
            atoms.calc = None
        text = _text_of_output(path)
        for key, value in _in_text(text).items():
            atoms.info.setdefault(key, value)
        if _ANGSTROM.search(text):  # ASE takes bohr
            atoms.positions /= Bohr
    return found


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
    if path.suffix.lower() not in (".log", ".out", ".nwo", "", ".coord", ".tmol"):
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
        if match is not None:
            return dict(zip(("charge", "multiplicity"), map(int, match.groups()), strict=False))
    return {}


# --- XYZ ------------------------------------------------------------------------------


def stated_in_comment(comment: str, numbers: ArrayLike) -> dict[str, int]:
    """Return the charge and the spin that the comment line of an XYZ file states in words.

    They are ``charge: +1``, ``q=1``, ``mult 2``, ``uhf=1`` and the like, or a pair such as
    ``1 2``, if it is possible as charge and multiplicity of the atomic `numbers`.
    """
    found = {}
    for key, form in _IN_COMMENT.items():
        match = re.search(form, comment, re.IGNORECASE)
        if match is not None:
            text = next(filter(None, match.groups()))
            digits, sign = text.rstrip("+-"), text[-1] if text[-1] in "+-" else ""
            found[key] = int(float(f"{sign}{digits}"))
    pair = _PAIR.fullmatch(comment)
    if pair is not None:
        charge, multiplicity = int(pair[1]), int(pair[2])
        electrons = int(np.sum(numbers)) - charge
        if multiplicity > 0 and electrons >= multiplicity - 1 and (electrons - multiplicity) % 2:
            found = {"charge": charge, "multiplicity": multiplicity}
    return found


def add_stated(info: dict[str, Any], stated: Mapping[str, int]) -> None:
    """Add what a comment states to entries by key, of which flags and text are no statements."""
    for key, value in stated.items():
        said = [k for k in info if k.lower().rstrip(":") in (key, *_NAMES[key])]
        if not any(_is_number(info[k]) for k in said):
            for name in said:
                del info[name]
            info[key] = value


def _add_comments(structures: Sequence[Atoms], comments: Sequence[str]) -> None:
    """Add what comment lines state to ``info``, where ASE reads flags: ``charge 1``."""
    counted = len(set(comments)) == len(comments) >= _COUNTED
    for index, (atoms, comment) in enumerate(zip(structures, comments, strict=False)):
        pair = _PAIR.fullmatch(comment) is not None
        stated = {} if pair and counted else stated_in_comment(comment, atoms.numbers)
        add_stated(atoms.info, stated)
        unclear = not stated and ((pair and not counted) or _ION.search(comment) is not None)
        if unclear and not {key.lower() for key in atoms.info} & {"charge", *_NAMES["charge"]}:
            warnings.warn(
                f"structure {index}: the comment {comment.strip()[:60]!r} states no charge of "
                f"{atoms.symbols} that is understood; 0 is taken: write charge=1",
                IonWarning,
                stacklevel=4,
            )


#: Names under which ASE reads the same.
_NAMES = {
    "charge": {"q", "chrg", "total_charge", "net_charge", "tot_charge", "formal_charge"},
    "multiplicity": {"mult", "spin_multiplicity"},
    "unpaired_electrons": {"uhf", "unpaired"},
}


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | np.bool_ | str)


def _comments(path: Path) -> list[str]:
    """Return the comment lines of XYZ files, whose numbers of atoms and columns are right.

    With wrong ones, ASE would take time and memory.
    """
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
    place, comments = 0, []
    while place < len(lines) and re.fullmatch(r"\s*\d{1,18}\s*", lines[place]):
        count = int(lines[place])
        if count > len(lines) - place - 2:
            raise InvalidFileError(
                key=f"line {place + 1}",
                value=count,
                expected=f"the number of atoms that follow, at most {len(lines) - place - 2}",
            )
        comments.append(lines[place + 1])
        place += count + 2
        while place < len(lines) and lines[place].startswith("VEC"):
            place += 1
    return comments


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
    """Return a molecule of a molfile or SDF (CTfile formats, V2000 and V3000)."""
    lines = block.splitlines()
    if len(lines) < 4:
        raise InvalidFileError(key="molfile", value=lines, expected="four lines and the atoms")
    said: dict[str, list[tuple[int, int]]] = {"CHG": [], "RAD": [], "ISO": []}
    atoms, codes = (_of_v3000 if "V3000" in lines[3] else _of_v2000)(lines, said)
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


def _of_v2000(lines: list[str], said: dict[str, list[tuple[int, int]]]) -> tuple[Atoms, list[int]]:
    """Return the atoms, which ASE reads, and their charge codes; add the property lines."""
    atoms = next(iter(ase.io.iread(io.StringIO("\n".join(lines)), format="sdf")))
    codes = [int(line[36:39].strip() or 0) for line in lines[4 : 4 + len(atoms)]]
    for line in lines[4 + len(atoms) :]:
        if line.startswith("M  ") and line[3:6] in said:
            numbers = [int(word) for word in line[9:].split()]
            said[line[3:6]] += zip(numbers[::2], numbers[1::2], strict=True)
    return atoms, codes


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
    symbols, positions = [], []
    places = {row[0]: place for place, row in enumerate(rows[begin + 1 : end], 1)}
    for row in rows[begin + 1 : end]:
        key = f"M  V30 {row[0]}"
        symbol = {"D": "H", "T": "H"}.get(row[1], row[1]) if len(row) > 4 else ""
        if symbol not in atomic_numbers:
            raise InvalidFileError(key=key, value=" ".join(row)[:60], expected="an atom")
        symbols.append(symbol)
        positions.append(numbers_in(" ".join(row[2:5]), key))
        values = dict(word.split("=", 1) for word in row[5:] if "=" in word)
        values |= {"MASS": {"D": "2", "T": "3"}[row[1]]} if row[1] != symbol else {}
        for name, ours in (("CHG", "CHG"), ("RAD", "RAD"), ("MASS", "ISO")):
            if name in values:
                said[ours].append((places[row[0]], int(numbers_in(values[name], key)[0])))
    return Atoms(symbols, positions), []


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
