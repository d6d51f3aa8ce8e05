# SPDX-License-Identifier: MIT
"""Structures in inputs of CP2K, Gaussian, NWChem, ORCA, Psi4 and Q-Chem, with charge and spin."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.cell import Cell
from ase.constraints import FixAtoms
from ase.io.zmatrix import parse_zmatrix
from ase.units import Bohr

from eqcalc.elements import element, isotope_of, with_isotopes
from eqcalc.files import text_lines
from eqcalc.validation import InvalidFileError, located, number_in

#: Units of lengths [Å] in inputs.
_LENGTHS = {
    **dict.fromkeys(("angstrom", "angstroms", "ang", "an", "a"), 1.0),
    **dict.fromkeys(("bohr", "bohrs", "au", "a.u.", "atomic"), Bohr),
    **dict.fromkeys(("nm", "nanometer", "nanometers"), 10.0),
    **dict.fromkeys(("pm", "picometer", "picometers"), 0.01),
}
_BEGINNING = 2**16  # bytes in which an input shows whose it is
#: Ends of names that are never those of inputs, in which programs repeat them.
_OUTPUTS = (".out", ".log", ".nwo", ".traj", ".db", ".json")


class ConstraintWarning(UserWarning):
    """Constraints in the input of a program are not taken over."""


#: What constrains coordinates in an input.
_CONSTRAINED = re.compile(
    r"(?:%geom\s+)?constraints?\b|frozen_\w+|fixed_\w+|&fixed_atoms|&collective|set\s+geometry:actlist",
    re.IGNORECASE,
)

# --- Gaussian -------------------------------------------------------------------------

#: An atom of an input: its element or name, and settings such as (Iso=2).
_ATOM = re.compile(r"([A-Za-z]+|\d+)([A-Za-z0-9]*)((?:-[^\s(]*)?)(?:\(([^)]*)\))?")


def read_gaussian(path: Path) -> list[Atoms]:
    """Return the geometries of an input of Gaussian, one of each job that has its own.

    Coordinates are Cartesian or a Z-matrix, in Å unless the route says ``units=au``; atoms with the
    freeze code −1 are fixed, dummy atoms left out.

    Raises
    ------
    InvalidFileError
        A line is not what it should be.
    """
    lines = [line.split("!")[0].strip() for _, line in text_lines(path)]
    links = [i for i, line in enumerate(lines) if line.lower() == "--link1--"]
    found = []
    for start, end in zip([0, *(i + 1 for i in links)], [*links, len(lines)], strict=True):
        atoms = _of_gaussian_job(lines[:end], start)
        found += [] if atoms is None else [atoms]
    if not found:
        raise InvalidFileError(
            "has no geometry of its own", expected="coordinates", advice="are they in a .chk file?"
        )
    return found


def _of_gaussian_job(lines: Sequence[str], start: int) -> Atoms | None:
    """Return the geometry of a job, or None if it takes that of a checkpoint file."""
    sections: list[list[int]] = [[]]  # the indices of the lines between blank ones
    for index in range(start, len(lines)):
        if lines[index]:
            sections[-1].append(index)
        elif sections[-1]:
            sections.append([])
    route = " ".join(lines[i] for i in sections[0] if not lines[i].startswith("%")).lower()
    if re.search(r"geom\s*=?\s*\(?[^\s)]*(?:check|modify)", route) or len(sections) < 3:
        return None
    first, *atoms = sections[2]
    charges = re.split(r"[,\s]+", lines[first])
    values = [number_in(word) for word in charges]
    if len(values) < 2 or any(value is None or value != round(value) for value in values):
        raise InvalidFileError(
            key=f"line {first + 1}", value=lines[first][:60], expected="charge and multiplicity"
        )
    bohr = re.search(r"units?\s*=?\s*\(?[^\s)]*\b(?:au|bohr)\b", route) is not None
    rows = {f"line {i + 1}": re.split(r"[,\s]+", lines[i]) for i in atoms}
    variables = [lines[i] for section in sections[2:5] for i in section]
    structure = _of_atoms(rows, Bohr if bohr else 1.0, variables)
    structure.info |= {"charge": int(charges[0]), "multiplicity": int(charges[1])}
    return structure


def _of_atoms(rows: Mapping[str, list[str]], unit: float, variables: Sequence[str] = ()) -> Atoms:
    """Return the atoms of the words of lines, by the place of each line."""
    numbers: list[int] = []
    isotopes: dict[int, float] = {}
    positions: list[list[float | None]] = []
    fixed: list[int] = []
    matrix: list[str] = []
    for key, words in rows.items():
        match = _ATOM.fullmatch(words[0])
        if match is None and re.match(r"\w+=|(?:variables|constants):?$", words[0], re.IGNORECASE):
            break  # of a Z-matrix
        if match is None:
            expected = "the symbol or number of an element"
            raise InvalidFileError(key=key, value=words[0][:40], expected=expected)
        name = match[1] if "bq" not in words[0].lower() else words[0]
        with located(section=key):
            number, mass = (0, None) if name.lower() in ("x", "xx") else element(name)
            isotope = re.search(r"iso\w*=(\d+)", match[4] or "", re.IGNORECASE)
            mass = isotope_of(name, int(isotope[1]))[1] if isotope else mass
        isotopes |= {} if mass is None else {len(numbers): mass}
        numbers.append(number)
        values = [number_in(word) for word in words[1:]]
        code = len(values) > 3 and None not in values[:4] and values[0] in (0.0, -1.0)
        fixed += [len(numbers) - 1] if code and values[0] == -1.0 else []
        if matrix or len(values) < 3 or None in values[code : code + 3]:
            matrix.append(" ".join([f"{'X' if number == 0 else match[1]}{match[2]}", *words[1:7]]))
        else:
            positions.append(values[code : code + 3])
    if matrix and positions:
        raise InvalidFileError(
            key="coordinates", value=matrix[0], expected="three numbers, as of the atoms before"
        )
    places = _of_z_matrix(matrix, variables) if matrix else np.array(positions, dtype=float)
    atoms = with_isotopes(Atoms(numbers, places * unit), isotopes)
    atoms.set_constraint(FixAtoms(fixed) if fixed else None)
    return atoms[atoms.numbers > 0]


def _of_z_matrix(rows: Sequence[str], variables: Sequence[str]) -> np.ndarray:
    """Return the positions of a Z-matrix, in its unit, with variables such as ``r=0.96``."""
    named = (re.fullmatch(r"([A-Za-z]\w*)[\s=,]+(\S+)", line) for line in variables)
    values = {match[1]: number_in(match[2]) for match in named if match}
    known = {name: value for name, value in values.items() if value is not None}
    try:
        return np.asarray(parse_zmatrix(list(rows), defs=known).positions)
    except (ValueError, RuntimeError, KeyError) as error:
        raise InvalidFileError(
            key="Z-matrix", value=str(error)[:200], expected="numbers, or variables with values"
        ) from error


# --- other programs -------------------------------------------------------------------

_Lines = Sequence[tuple[str, str]]  #: Places and texts of lines, without comments.


def reader_of_input(path: Path) -> Callable[[Path], list[Atoms]] | None:
    """Return what reads the input of CP2K, NWChem, ORCA, Psi4 or Q-Chem, as its text shows.

    None if it is no such input.
    """
    if path.suffix.lower() in _OUTPUTS:
        return None
    with path.open("rb") as stream:
        beginning = stream.read(_BEGINNING).decode(errors="replace")
    lines = [line.strip().lower() for line in beginning.splitlines()]
    for forms, read in _INPUTS.items():
        if all(any(re.match(form, line) for line in lines) for form in forms):
            return read
    return None


def _input(program: str, comment: str) -> Callable[..., Callable[[Path], list[Atoms]]]:
    """Return a decorator of what finds the structures in lines, whose comments begin so."""

    def decorate(find: Callable[[_Lines], Iterable[Atoms]]) -> Callable[[Path], list[Atoms]]:
        def read(path: Path) -> list[Atoms]:
            split = [(i, re.split(comment, line)[0].strip()) for i, line in text_lines(path)]
            lines = [(f"line {i}", line) for i, line in split if line]
            found = [*find(lines)]
            if not found:
                raise InvalidFileError(
                    f"the input of {program} has no geometry of its own",
                    expected="coordinates",
                    advice="give the file that it takes them from, or the output",
                )
            if any(_CONSTRAINED.match(line) for _, line in lines):
                warnings.warn(
                    f"{path}: constraints of the optimization are not taken over",
                    ConstraintWarning,
                    stacklevel=2,
                )
            return found

        return read

    return decorate


def _refuse_other_file(place: str, name: str, charge: str = "", multiplicity: str = "") -> None:
    """Raise the error for coordinates that are in another file."""
    stated = f", with charge={charge} multiplicity={multiplicity} in its comment" if charge else ""
    raise InvalidFileError(
        "the coordinates are in another file",
        key=place,
        value=name.strip("\"'"),
        expected="coordinates",
        advice=f"give that file{stated}",
    )


def _state(atoms: Atoms, place: str, charge: str, multiplicity: str | None = None) -> Atoms:
    """Add charge and multiplicity, as their words in a line say, to the info of atoms."""
    for key, word in (("charge", charge), ("multiplicity", multiplicity)):
        if word is None:
            continue
        value = number_in(word)
        if value is None or value != round(value):
            raise InvalidFileError(key=place, value=word[:40], expected=f"an integer {key}")
        atoms.info[key] = round(value)
    return atoms


def _cartesian(lines: _Lines, unit: float = 1.0) -> Atoms:
    """Return atoms of lines of an element and three numbers, and perhaps a mass."""
    rows: dict[str, list[str]] = {}
    masses: dict[int, float] = {}
    for place, line in lines:
        words = re.split(r"[,\s]+", re.sub(r"\b(?:mass\s*=?|M\s*=)\s*", "mass ", line))
        values = [number_in(word) for word in words[1:4]]
        if len(values) < 3 or None in values:
            expected = "an element and three numbers"
            raise InvalidFileError(key=place, value=line[:60], expected=expected)
        rest = words[4:]
        if rest[:1] == ["mass"] and (mass := number_in(" ".join(rest[1:2]))) is not None:
            masses[len(rows)] = mass
            rest = rest[2:]
        if rest:
            raise InvalidFileError(
                key=place, value=" ".join(rest)[:60], expected="nothing after the coordinates"
            )
        rows[place] = words[:4]
    return with_isotopes(_of_atoms(rows, unit), masses)


def _molecule(lines: _Lines, unit: float = 1.0) -> Atoms:
    """Return atoms of lines that are Cartesian or a Z-matrix with variables such as ``r = 0.9``."""
    named = [(p, line) for p, line in lines if re.match(r"[A-Za-z]\w*\s*=\s*\S+$", line)]
    atoms = [(p, line) for p, line in lines if (p, line) not in named]
    if atoms and all(len(line.split()) >= 4 and _numeric(line) for _, line in atoms):
        return _cartesian(atoms, unit)
    rows = {place: re.split(r"[,\s]+", line) for place, line in atoms}
    return _of_atoms(rows, unit, [line for _, line in named])


def _numeric(line: str) -> bool:
    """Return whether the words 2 to 4 of a line are numbers."""
    words = re.split(r"[,\s]+", line)[1:4]
    return all(number_in(word) is not None for word in words)


def _section(lines: _Lines, start: int, end: str) -> _Lines:
    """Return the lines after `start` up to one that matches `end`."""
    for stop in range(start + 1, len(lines)):
        if re.match(end, lines[stop][1], re.IGNORECASE):
            return lines[start + 1 : stop]
    raise InvalidFileError(
        key=lines[start][0], value=lines[start][1][:60], expected="a section that ends"
    )


@_input("ORCA", "#")
def _orca(lines: _Lines) -> Iterable[Atoms]:
    """Find ``* xyz``, ``* int``, ``* gzmt`` and ``%coords``."""
    keywords = " ".join(line for _, line in lines if line.startswith("!")).lower().split()
    unit = Bohr if "bohrs" in keywords else 1.0
    for start, (place, line) in enumerate(lines):
        words = line.lstrip("*").split()
        if line.lower().startswith("%coords"):
            yield _orca_block(lines, start, unit)
        elif line.startswith("*") and len(words) >= 3:
            kind = words[0].lower()
            if kind.endswith("file"):
                _refuse_other_file(place, words[3] if len(words) > 3 else line, *words[1:3])
            inner = _section(lines, start, r"\*")
            if kind in ("int", "internal"):
                inner = [(p, _of_internal(p, text, i)) for i, (p, text) in enumerate(inner)]
            atoms = (_cartesian if kind == "xyz" else _molecule)(inner, unit)
            yield _state(atoms, place, words[1], words[2])


def _orca_block(lines: _Lines, start: int, unit: float) -> Atoms:
    """Return the atoms of a block ``%coords``."""
    stated = {"charge": "0", "mult": "1", "ctyp": "xyz", "units": "angs"}
    for index in range(start, len(lines)):
        place, line = lines[index]
        words = line.lower().removeprefix("%coords").replace("=", " ").split()
        stated |= {key: value for key, value in pairwise(words) if key in stated}
        if words == ["coords"]:
            if stated["ctyp"] not in ("xyz", "cart", "cartesian"):
                raise InvalidFileError(key=place, value=stated["ctyp"], expected="CTyp xyz")
            unit = Bohr if stated["units"].startswith("bohr") else unit
            atoms = _cartesian(_section(lines, index, "end"), unit)
            return _state(atoms, place, stated["charge"], stated["mult"])
    raise InvalidFileError(key=lines[start][0], value="%coords", expected="coordinates")


def _of_internal(place: str, line: str, index: int) -> str:
    """Return a row of a Z-matrix of an element, three atoms, and then the three values."""
    words = line.split()
    if len(words) < 7:
        raise InvalidFileError(
            key=place, value=line[:60], expected="an element, three atoms and three numbers"
        )
    pairs = [word for pair in zip(words[1:4], words[4:7], strict=True) for word in pair]
    return " ".join([words[0], *pairs[: 2 * index]])


@_input("Q-Chem", "!")
def _qchem(lines: _Lines) -> Iterable[Atoms]:
    """Find ``$molecule``."""
    bohr = any(
        re.match(r"input_bohr\s*=?\s*(?:true|1)\b", text, re.IGNORECASE) for _, text in lines
    )
    for start, (place, line) in enumerate(lines):
        if line.lower().startswith("$isotopes"):
            expected = "none: state the masses in an XYZ file"
            raise InvalidFileError(key=place, value=line, expected=expected)
        if not line.lower().startswith("$molecule"):
            continue
        inner = _section(lines, start, r"\$end")
        if inner and inner[0][1].lower().split()[0] == "read":
            if name := inner[0][1][4:].strip():
                _refuse_other_file(inner[0][0], name)
            continue  # that of the job before
        yield from _fragments(place, inner, Bohr if bohr else 1.0)


def _fragments(place: str, lines: _Lines, unit: float) -> Iterable[Atoms]:
    """Yield the atoms of a molecule whose parts, after ``--``, have charge and multiplicity."""
    charged = [(p, text) for p, text in lines if re.fullmatch(r"[+-]?\d+[,\s]+\d+", text)]
    parts = sum(text == "--" for _, text in lines)
    atoms = _molecule([x for x in lines if x not in charged and x[1] != "--"], unit)
    words = [re.split(r"[,\s]+", text) for _, text in charged]
    if parts and len(charged) == parts + 1 and lines[1][1] != "--":  # no statement of the whole
        charge = sum(int(charge) for charge, _ in words)
        spin = sum(int(multiplicity) - 1 for _, multiplicity in words)
        words = [[str(charge), str(1 + spin)]]
    yield _state(atoms, place, *(words[0] if words else ("0",)))


@_input("Psi4", "#")
def _psi4(lines: _Lines) -> Iterable[Atoms]:
    """Find ``molecule { … }``."""
    for start, (place, line) in enumerate(lines):
        if not re.match(r"molecule\b.*\{", line, re.IGNORECASE):
            continue
        unit, inner = 1.0, []
        for where, text in _section(lines, start, r"\}"):
            words = text.lower().split()
            if words[0] == "units":
                unit = _length(where, words[-1])
            elif words[0] in ("pubchem", "input_units_to_au") or text.startswith("pubchem:"):
                raise InvalidFileError(key=where, value=text[:60], expected="coordinates")
            elif words[0] not in ("symmetry", "no_reorient", "noreorient", "no_com", "nocom"):
                inner.append((where, re.sub(r"^([A-Za-z]\w*)@([\d.]+)(.*)", r"\1\3 mass \2", text)))
        yield from _fragments(place, inner, unit)


def _length(place: str, unit: str) -> float:
    if unit.lower() not in _LENGTHS:
        raise InvalidFileError(key=place, value=unit[:40], expected="angstrom or bohr")
    return _LENGTHS[unit.lower()]


_NWCHEM_SPINS = ("singlet", "doublet", "triplet", "quartet", "quintet", "sextet", "septet")


@_input("NWChem", "#")
def _nwchem(lines: _Lines) -> Iterable[Atoms]:
    """Find ``geometry … end``, ``charge``, ``mult`` and their like."""
    lines = [
        (f"{place}, part {part}" if part else place, text.strip())
        for place, line in lines
        for part, text in enumerate(line.split(";"))
        if text.strip()
    ]
    charge, multiplicity = "0", None
    for _, line in lines:
        words = line.lower().split()
        if words[:1] == ["charge"] and len(words) == 2:
            charge = words[1]
        elif words[:1] == ["mult"] and len(words) == 2:
            multiplicity = words[1]
        elif words[:1] == ["nopen"] and len(words) == 2 and words[1].isdecimal():
            multiplicity = str(1 + int(words[1]))
        elif len(words) == 1 and words[0] in _NWCHEM_SPINS:
            multiplicity = str(1 + _NWCHEM_SPINS.index(words[0]))
    for start, (place, line) in enumerate(lines):
        words = line.lower().split()
        if words[:1] != ["geometry"]:
            continue
        unit = _length(place, words[words.index("units") + 1]) if "units" in words[:-1] else 1.0
        inner = []
        for where, text in _section(lines, start, "end"):
            first, *rest = text.lower().split()
            if first == "load":
                _refuse_other_file(where, text.split()[-1], charge, multiplicity or "1")
            if first in ("zmatrix", "zmt", "zmat", "system", "crystal") or (
                first == "symmetry" and rest[-1:] != ["c1"]
            ):
                raise InvalidFileError(
                    key=where,
                    value=text[:60],
                    expected="Cartesian coordinates of all atoms",
                    advice="give the output, or an XYZ file of it",
                )
            if first != "symmetry":
                inner.append((where, text))
        yield _state(_cartesian(inner, unit), place, charge, multiplicity)


_VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


@_input("CP2K", r"[!#]")
def _cp2k(lines: _Lines) -> Iterable[Atoms]:
    """Find ``&COORD``, ``&CELL``, ``&KIND``, ``CHARGE`` and ``MULTIPLICITY``."""
    lines = _with_variables(lines)
    places = [i for i, (_, line) in enumerate(lines) if re.match(r"&COORD\b", line, re.IGNORECASE)]
    named = [line for line in lines if line[1].upper().startswith("COORD_FILE_NAME")]
    if named and not places:
        _refuse_other_file(named[0][0], named[0][1].split()[-1])
    if len(places) > 1:
        expected = "one for the whole input"
        raise InvalidFileError(key=lines[places[1]][0], value="&COORD", expected=expected)
    stated, kinds = _cp2k_statements(lines)
    for start in places:
        unit, scaled, inner = 1.0, False, []
        for place, line in _section(lines, start, "&END"):
            first, *rest = line.split()
            if first.upper() == "UNIT":
                unit = _length(place, rest[0] if rest else "")
            elif first.upper() == "SCALED":
                scaled = not rest or rest[0].upper().strip(".") in ("T", "TRUE")
            elif first.startswith("@"):
                _refuse_other_file(place, rest[-1] if rest else line)
            else:  # the name of a molecule may follow
                inner.append((place, " ".join([kinds.get(first, first), *rest[:3]])))
        atoms = _cartesian(inner, unit)
        _set_cell(atoms, lines, scaled)
        spin = stated["MULTIPLICITY"]
        yield _state(atoms, lines[start][0], stated["CHARGE"], None if spin == "0" else spin)


def _with_variables(lines: _Lines) -> _Lines:
    """Return lines of CP2K in which variables of ``@SET`` have their values."""
    values: dict[str, str] = {}
    found = []

    def value(name: re.Match[str]) -> str:
        return values.get(name[1] or name[2], name[0])

    for place, line in lines:
        if match := re.match(r"@SET\s+(\w+)\s+(.+)", line, re.IGNORECASE):
            values[match[1]] = match[2]
        found.append((place, _VARIABLE.sub(value, line)))
    return found


def _cp2k_statements(lines: _Lines) -> tuple[dict[str, str], dict[str, str]]:
    """Return what ``&DFT`` states of charge and multiplicity, and the elements of kinds."""
    stated = {"CHARGE": "0", "MULTIPLICITY": "0"}
    kinds: dict[str, str] = {}
    sections: list[list[str]] = [[""]]
    for _, line in lines:
        first, *rest = line.split()
        key = {"MULTIP": "MULTIPLICITY"}.get(first.upper(), first.upper())
        inside, *named = sections[-1]
        if key.startswith("&END"):
            sections = sections[: max(len(sections) - 1, 1)]
        elif key.startswith("&"):
            sections.append([key, *rest])
        elif inside == "&DFT" and key in stated and rest:
            stated[key] = rest[0]
        elif inside == "&KIND" and key == "ELEMENT" and named and rest:
            kinds[named[0]] = rest[0]
    return stated, kinds


def _set_cell(atoms: Atoms, lines: _Lines, scaled: bool) -> None:
    """Set the cell of ``&CELL``, and coordinates that are multiples of it."""
    start = next(
        (i for i, (_, t) in enumerate(lines) if re.match("&CELL$", t, re.IGNORECASE)), None
    )
    if start is None:
        raise InvalidFileError(key="&CELL", expected="a cell beside &COORD")
    found: dict[str, list[float]] = {}
    periodic = "XYZ"
    for place, line in _section(lines, start, "&END"):
        key, *words = line.upper().split()
        factor = 1.0
        if words and (unit := re.fullmatch(r"\[(.*)\]", words[0])):
            factor = 1.0 if unit[1] == "DEG" else _length(place, unit[1])
            words = words[1:]
        if key == "PERIODIC":
            periodic = words[0] if words else "XYZ"
        elif key in ("A", "B", "C", "ABC", "ALPHA_BETA_GAMMA"):
            values = [number_in(word) for word in words]
            numbers = [factor * value for value in values if value is not None]
            if len(values) != 3 or len(numbers) != 3:
                raise InvalidFileError(key=place, value=line[:60], expected="three numbers")
            found[key] = numbers
    if "ABC" in found:
        atoms.cell = Cell.fromcellpar(found["ABC"] + found.get("ALPHA_BETA_GAMMA", [90.0] * 3))
    elif {"A", "B", "C"} <= found.keys():
        atoms.cell = Cell([found[key] for key in "ABC"])
    else:
        raise InvalidFileError(key="&CELL", expected="ABC, or A, B and C")
    if scaled:
        atoms.set_scaled_positions(atoms.positions)
    atoms.pbc = [axis in periodic and periodic != "NONE" for axis in "XYZ"]
    if not atoms.pbc.any():
        atoms.cell = None


#: Readers by what shows whose an input is.
_INPUTS = {
    (r"&force_eval\b",): _cp2k,
    (r"\$molecule\b",): _qchem,
    (r"molecule\b.*\{",): _psi4,
    (r"!", r"\*\s*(?:xyz|int|internal|gzmt)(?:file)?\s|%coords\b"): _orca,
    (r"geometry\b", r"task\b"): _nwchem,
}
