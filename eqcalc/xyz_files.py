# SPDX-License-Identifier: MIT
"""XYZ files, plain and extended, and what their comments say of charge and spin."""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula
from numpy.typing import ArrayLike

from eqcalc.elements import element, with_isotopes
from eqcalc.files import text_lines
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, located, number_in, numbers_in

#: Statements of the charge and the spin in comments, such as "charge: +1", "q=1", "mult 2".
_NUMBER = (
    r"""["']?\s*{}\s*["']?(\d{{1,2}}[+-](?!\w)|[+-]?\d{{1,2}}(?:\.0*)?(?![\d.]|[eE][+-]?\d))"""
)
_IN_COMMENT = {
    "charge": (
        r"(?<!\w)(?:(?:total|net|tot|formal|molecular|overall|system)[ _]?)?(?:charge|chr?g)"
        + _NUMBER.format("(?:[:=(]|[-=]>|of|is)?")
        + r"|(?<!\w)q(?:_?tot(?:al)?)?"
        + _NUMBER.format("[:=]")
    ),
    "multiplicity": r"(?<!\w)(?:spin[ _])?mult(?:iplicity)?" + _NUMBER.format("[:=]?"),
    "unpaired_electrons": r"(?<!\w)(?:uhf|unpaired(?:[ _]electrons)?)" + _NUMBER.format("[:=]?"),
}
_SPIN_WORDS = ("singlet", "doublet", "triplet", "quartet", "quintet")
_SPIN_WORD = re.compile(rf"\b({'|'.join(_SPIN_WORDS)})\b", re.IGNORECASE)
_PAIR = re.compile(r"\s*\(?([+-]?\d)(?:,?\s+|(?:(?<=[+-]\d)|(?<=\(\d)),)(\d)\)?\s*")
_NAMED_PAIR = re.compile(r"\s*([+-]?\d\s+\d)\s+([A-Z][A-Za-z\d]*)\s*")
#: Both at once: "charge/mult: 1 2", "charge, multiplicity = 1, 2".
_BOTH = re.compile(
    r"charge\s*(?:[/,&]|and)?\s*(?:spin )?mult(?:iplicity)?\s*[:=]?\s*([+-]?\d)[\s,/]+(\d)\b",
    re.IGNORECASE,
)
#: "C=1 M=2", if they are possible.
_INITIALS = re.compile(r"(?<!\w)c\s*[:=]\s*([+-]?\d)[\s,;|]+m\s*[:=]\s*(\d)(?![\w.])", re.I)
#: A charge that is the whole comment.
_ALONE = re.compile(r"\s*(?:([+-]\d)|(\d)([+-]))\s*")
#: A formula with a charge: H3O+, [H3O]+, SO4^2-, Ca2+, SO4 2-.
_CHARGED_FORMULA = re.compile(
    r"(?<![\w.)\]])([\[(]{0,2}[A-Z][A-Za-z\d()\[\]]{0,80}?)"
    r"(?:(\d)[+-]|\.?[+-]|[\^({]{1,2}(?:\d?[+-]|[+-]\d)|\+\d|\+\+|--|[ ]\d[+-])"
    r"[)}\]]{0,2}(?![\w.+-])"
)
#: Subscripts, superscripts and signs as ASCII has them.
_ASCII = str.maketrans("₀₁₂₃₄₅₆₇₈₉⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻−", "01234567890123456789+--")
#: Comments that speak of an ion, or of a charge in other words; not of the atoms of SMILES.
_ION = re.compile(
    r"(?i:\b(?:cation|anion|ion|(?:de)?protonated|(?:positive|negative|sing|doub)ly[ -]charged)\b)"
    r"|(?<![\w.])(?:[A-Z][a-z]?\d*)+\.?[+-](?![\w.\]])|\][+-]|(?<![\w.+-])\d[+-](?![\w.])"
    r"|(?:^|(?<=\s))[+-]\d\s*$|\((?:[+-]\d?|\d[+-])\)|(?i:charge(?!s)\w*\W{0,3}[+-]?\d)"
    r"|(?i:(?<!\w)(?:c|ch|chg?|z)\s*[:=]\s*[+-]\d(?![\w.]))|(?<![\w-])-c [+-]?\d\b"
)
#: A pair, or a decimal number.
_UNCLEAR_PAIR = re.compile(r"\s*[+-]?\d[\s,]\d\s*")
_NEUTRAL = re.compile(r"\b(?:neutral|uncharged|no (?:net )?charge)\b", re.IGNORECASE)
#: Charges of atoms in SMILES: [NH3+], [O-].
_SMILES_CHARGE = re.compile(r"\[\d*[A-Za-z][^\[\]\s]*?(?:([+-]\d)|(\++|-+))(?::\d+)?\]")
#: Frames with pairs of numbers that all differ are counted by them.
_COUNTED = 3
#: Units of coordinates in comments, and after the number of atoms.
_UNIT = r"(bohrs?|a\.?u\.?|atomic[ _]units?|nm|angstroms?|angs?|å)(?!\w)\W*"
_UNIT_IN_COMMENT = re.compile(
    r"(?<!energy )(?<!dipole )\b(?:(?:(?:pos|length|distance|coord)[a-z]*[_ -])?units?"
    r"|coord(?:inate)?s?|positions?|geometry)\W*"
    r"(?:(?:are )?in\W+)?" + _UNIT,
    re.IGNORECASE,
)
#: Keys of units, and names of that of the positions.
_UNIT_OF = re.compile(r"(?i:(.+?)[_-]?units?|units?[_-](.+))")
_LENGTHS = re.compile(r"pos(ition)?s?|lengths?|distances?|coord(inate)?s?|geometry", re.IGNORECASE)
_PROPERTIES = re.compile(r"""\bProperties\s*=\s*["']?([^\s"']+)""")


class IonWarning(UserWarning):
    """A comment seems to speak of an ion but states no charge, or a file beside it does."""


def stated_in_comment(comment: str, numbers: ArrayLike) -> dict[str, int]:
    """Return the charge and the spin that the comment line of an XYZ file states in words.

    They are ``charge: +1``, ``q=1``, ``mult 2``, ``uhf=1``, ``triplet`` and the like; a pair such
    as ``1 2`` or ``C=1 M=2``, if it is possible as charge and multiplicity of the atomic
    `numbers`; or a formula of the same atoms with a charge, ``H3O+``.

    Raises
    ------
    InvalidFileError
        Two statements differ.
    """
    comment = comment.translate(_ASCII)
    both = _BOTH.search(comment)
    if both is not None:
        return {"charge": int(both[1]), "multiplicity": int(both[2])}
    found = {}
    for key, form in _IN_COMMENT.items():
        values = {
            _signed(next(filter(None, match.groups())))
            for match in re.finditer(form, comment, re.IGNORECASE)
        }
        if len(values) > 1:
            raise InvalidFileError(
                key=key, value=comment.strip()[:60], expected="one statement in the comment"
            )
        if values:
            found[key] = values.pop()
    words = {word.lower() for word in _SPIN_WORD.findall(comment)}
    if len(words) == 1 and not found.keys() & {"multiplicity", "unpaired_electrons"}:
        found["multiplicity"] = 1 + _SPIN_WORDS.index(words.pop())
    name = _NAMED_PAIR.fullmatch(comment)  # as of QCElemental
    if name is not None and _composition(name[2]) == _elements(numbers):
        comment = name[1]
    pair = _PAIR.fullmatch(comment) or (None if "charge" in found else _INITIALS.search(comment))
    if pair is not None:
        charge, multiplicity = int(pair[1]), int(pair[2])
        electrons = int(np.sum(numbers)) - charge
        if multiplicity > 0 and electrons >= multiplicity - 1 and (electrons - multiplicity) % 2:
            return {"charge": charge, "multiplicity": multiplicity}
    if "charge" not in found:
        if _ALONE.fullmatch(comment):
            found["charge"] = _signed(comment.strip())
        charges = _of_formulas(comment, numbers)
        if len(charges) == 1:
            found["charge"] = charges.pop()
    return found


def _signed(text: str) -> int:
    """Return the charge that a text such as ``+1``, ``1+``, ``1.0`` or ``++`` states."""
    digits, sign = text.strip("+-"), "-" if "-" in text else ""
    return int(float(f"{sign}{digits or len(text)}"))


def _of_formulas(comment: str, numbers: ArrayLike) -> set[int]:
    """Return the charges of formulas with a charge that have the same atoms."""
    found, elements = set(), _elements(numbers)
    matches = (
        _CHARGED_FORMULA.finditer(comment.replace("_", "")) if re.search("[+-]", comment) else ()
    )
    for formula, digit, whole in {(match[1], match[2] or "", match[0]) for match in matches}:
        sign = whole[len(formula) :].strip(" .^(){}[]")
        # the 3 of NO3- and the 2 of Ca2+ are told apart by the atoms
        readings = [(formula, _signed(sign))]
        readings += [(formula + digit, _signed(sign.strip(digit)))] if digit else []
        found |= {charge for text, charge in readings if _composition(text) == elements}
    return {charge for charge in found if np.sum(numbers) >= charge}


def _elements(numbers: ArrayLike) -> Mapping[str, int]:
    """Return how many atoms of each element there are."""
    return Counter(chemical_symbols[number] for number in np.ravel(np.asarray(numbers)))


def _composition(formula: str) -> Mapping[str, int] | None:
    """Return how many atoms of each element are in a formula, None if it is none."""
    text = formula.replace("[", "(").replace("]", ")")
    text += ")" * (text.count("(") - text.count(")"))
    try:
        found = Counter(Formula("(" * (text.count(")") - text.count("(")) + text).count())
    except ValueError:
        return None
    for isotope in "DT":
        found["H"] += found.pop(isotope, 0)
    return +found


def unclear_charge(comment: str, numbers: ArrayLike, stated: Mapping[str, int]) -> str:
    """Return a warning of a comment that speaks of a charge which is not understood, or nothing.

    Parameters
    ----------
    comment
        Of a structure whose charge nothing states.
    numbers
        Atomic numbers.
    stated
        What :func:`stated_in_comment` has found of the spin.

    Raises
    ------
    InvalidFileError
        The neutral structure would have an odd number of electrons, as ions of closed shells that
        are taken for neutral have, and no spin is stated.
    """
    comment = comment.translate(_ASCII)
    in_smiles = [_signed(one[1] or one[2]) for one in _SMILES_CHARGE.finditer(comment)]
    pair = _PAIR.fullmatch(comment) or _UNCLEAR_PAIR.fullmatch(comment)
    speaks = sum(in_smiles) != 0 or _ION.search(comment) is not None
    named = any(word.lower().rstrip(":") in _CHARGES for word in comment.split())
    if not (speaks or pair or (named and not _NEUTRAL.search(comment))):
        return ""
    formula = Atoms(np.ravel(np.asarray(numbers))).symbols
    problem = f"{comment.strip()[:60]!r} states no charge of {formula} that is understood"
    if int(np.sum(numbers)) % 2 and not stated:
        raise InvalidFileError(
            f"{problem}, which neutral has an odd number of electrons",
            key="comment",
            advice="write charge=1 or the like into it, charge=0 if it is a radical",
        )
    return f"the comment {problem}; 0 is taken: write charge=1"


def add_stated(info: dict[str, Any], stated: Mapping[str, int]) -> None:
    """Add what a comment states to entries by key, of which flags and text are no statements."""
    initials = {key.lower(): key for key in info if key.lower() in ("c", "m")}
    if {name: info[key] for name, key in initials.items()} == {
        "c": stated.get("charge"),
        "m": stated.get("multiplicity"),
    }:
        for key in initials.values():
            del info[key]
    for key, value in stated.items():
        said = [k for k in info if k.lower().rstrip(":") in (key, *_NAMES[key])]
        if not any(_is_number(info[k]) for k in said):
            for name in said:
                del info[name]
            info[key] = value


def _add_comments(structures: Sequence[Atoms], comments: Sequence[str]) -> None:
    """Add what comment lines state to ``info``, where ASE reads flags: ``charge 1``."""
    counted = len(set(comments)) == len(comments) >= _COUNTED
    unclear: list[str] = []
    for index, (atoms, comment) in enumerate(zip(structures, comments, strict=False)):
        where = f"structure {index}"
        number = counted and (_PAIR.fullmatch(comment) or _ALONE.fullmatch(comment))
        with located(section=where):
            stated = {} if number else stated_in_comment(comment, atoms.numbers)
            add_stated(atoms.info, stated)
            said = [key for key in atoms.info if key.lower().rstrip(":") in _CHARGES]
            flags = [key for key in said if atoms.info[key] is True]
            for key in flags:  # words
                del atoms.info[key]
            if len(said) == len(flags) and not number:
                text = unclear_charge(comment, atoms.numbers, stated)
                unclear += [f"{where}: {text}"] if text else []
    if unclear:
        warnings.warn(unclear[0], IonWarning, stacklevel=4)


#: Names under which ASE reads the same.
_NAMES = {
    "charge": {"q", "chrg", "chg", "total_charge", "net_charge", "tot_charge", "formal_charge"},
    "multiplicity": {"mult", "spin_multiplicity"},
    "unpaired_electrons": {"uhf", "unpaired"},
}
_CHARGES = {"charge", *_NAMES["charge"]}


def _is_number(value: Any) -> bool:
    return not isinstance(value, bool | np.bool_ | str)


def read_xyz(path: Path) -> list[Atoms]:
    """Return the structures of an XYZ file, also packed by gzip.

    Elements may be symbols, numbers or isotopes (:func:`~eqcalc.elements.element`); coordinates may
    have decimal commas and exponents of Fortran. They are in Å, unless the comment states their
    unit or it follows the number of atoms, as in ``3 bohr``.

    Raises
    ------
    InvalidFileError
        A line is not what it should be.
    Exception
        Of any type, by the reader of ASE, of further columns.
    """
    lines = [line for _, line in text_lines(path)]
    frames: list[_Frame] = []
    place = 0
    while place < len(lines):
        if lines[place].strip():
            frames.append(_Frame(lines, place))
            place = frames[-1].end
        else:
            place += 1
    if not frames:
        raise InvalidFileError("is empty", expected="the number of atoms, a comment and the atoms")
    text = "".join(line + "\n" for frame in frames for line in frame.lines)
    found = [*ase.io.iread(io.StringIO(text), format="extxyz")]
    for atoms, frame in zip(found, frames, strict=True):
        atoms.positions *= frame.unit
        masses = atoms.arrays.pop("mass", None)
        if masses is not None:
            atoms.set_masses(masses)
        elif not atoms.has("masses"):
            with_isotopes(atoms, frame.isotopes)
    _add_comments(found, [frame.comment for frame in frames])
    return found


class _Frame:
    """The lines of a frame as ASE reads them: with element symbols and decimal points."""

    def __init__(self, lines: Sequence[str], start: int) -> None:
        #: Masses [amu] of atoms that are isotopes.
        self.isotopes: dict[int, float] = {}
        count, self.unit = _header(lines, start)
        self.comment = lines[start + 1]
        self.end = start + 2 + count
        rows = lines[start + 2 : self.end]
        named = _PROPERTIES.search(self.comment)
        if named is None:
            columns: tuple[int | None, int, int] = (0, 1, 4)
        else:
            columns = _columns(named[1], f"line {start + 2}")
        species, coordinates, width = columns
        self.unit = length_in_comment(self.comment) or self.unit
        rewritten = []
        for index, row in enumerate(rows):
            key = f"line {start + 3 + index}"
            words = row.split()
            if len(words) < width:
                expected = (
                    "an element and three coordinates" if named is None else f"{width} columns"
                )
                raise InvalidFileError(key=key, value=row.strip()[:60], expected=expected)
            if species is not None:
                with located(section=key):
                    number, mass = element(words[species])
                words[species] = chemical_symbols[number]
                self.isotopes |= {} if mass is None else {index: mass}
            three = slice(coordinates, coordinates + 3)
            words[three] = [_decimal_point(word) for word in words[three]]
            words[three] = map(repr, numbers_in(" ".join(words[three]), key))
            rewritten.append(" ".join(words[:width] if named is None else words))
        vectors = self.end
        while self.end < len(lines) and lines[self.end].startswith("VEC"):
            self.end += 1
        self.lines = [str(count), self.comment, *rewritten, *lines[vectors : self.end]]


def _header(lines: Sequence[str], start: int) -> tuple[int, float]:
    """Return the number of atoms of a frame, and the unit of its coordinates [Å]."""
    key, words = f"line {start + 1}", lines[start].split()
    match = re.fullmatch(r"\s*(\d{1,18})(?:\s+(\S.*))?", lines[start])
    unit = match[2].strip().lower() if match and match[2] else "angstrom"
    known = re.fullmatch(_UNIT, unit)
    if match is None or not (known or unit.startswith("atom")):
        advice = (
            "write the number of atoms and a comment, which may be empty, in lines of their own"
        )
        if start:
            advice = "is the number of atoms of the structure before it right?"
        raise InvalidFileError(
            key=key,
            value=" ".join(words)[:60],
            expected="the number of atoms of a structure",
            advice=advice,
        )
    count, after = int(match[1]), len(lines) - start - 2
    if count > after:
        raise InvalidFileError(
            key=key,
            value=count,
            expected=f"the number of atoms that follow, at most {max(after, 0)}",
            advice="is the file cut off, or does it lack the comment, which may be an empty line?",
        )
    return count, _length(unit) if known else 1.0


def length_in_comment(comment: str) -> float | None:
    """Return the unit of coordinates that the comment of an XYZ file states [Å], None if none."""
    stated = _UNIT_IN_COMMENT.search(comment)
    return _length(stated[1]) if stated else None


def stated_units(texts: Mapping[str, str]) -> dict[str, str]:
    """Return units by key: of ``units="dipole: D; energy: Ha"`` and of ``dipole_unit=D``.

    Parameters
    ----------
    texts
        Texts of the comment of an extended XYZ file by key.
    """
    found: dict[str, str] = {}
    names: list[str] = []
    # commas separate names of one unit, too
    for part in re.split("[;,]", re.sub(r"[{}\"']", "", texts.get("units", ""))):
        name, separator, unit = re.sub("[=:]", ":", part, count=1).partition(":")
        names.append(name.strip())
        if separator:
            found |= dict.fromkeys(names, unit.strip())
            names = []
    for key, text in texts.items():
        match = _UNIT_OF.fullmatch(key)
        if match is not None and number_in(text) is None:
            found[match[1] or match[2]] = text.strip()
    lengths = [unit for name, unit in found.items() if _LENGTHS.fullmatch(name)]
    return found | dict.fromkeys(["positions"] if lengths else [], "".join(lengths[-1:]))


def _length(unit: str) -> float:
    """Return a unit of length as a file names it, in Å."""
    if unit.lower().startswith(("b", "a.", "au", "atomic")):
        return conversion_factor("bohr", "Å")
    return 10.0 if unit.lower() == "nm" else 1.0


def _columns(properties: str, key: str) -> tuple[int | None, int, int]:
    """Return the columns of the symbols, if any, and coordinates, and how many there are."""
    parts = properties.split(":")
    names, counts = parts[::3], parts[2::3]
    if len(parts) % 3 or not all(re.fullmatch("[0-9]{1,3}", count) for count in counts):
        raise InvalidFileError(
            key=f"{key}, Properties",
            value=properties[:60],
            expected="triples of name, type and number of columns below 1000, species:S:1:pos:R:3",
        )
    starts, width = {}, 0
    for name, count in zip(names, counts, strict=True):
        starts[name.lower()] = width
        width += int(count)
    coordinates = starts.get("pos", starts.get("positions"))
    numbers = next((starts[name] for name in ("z", "numbers") if name in starts), None)
    species = next((starts[name] for name in ("species", "symbols") if name in starts), None)
    if coordinates is None or (species is None and numbers is None):
        raise InvalidFileError(
            key=f"{key}, Properties", value=properties[:60], expected="species:S:1 and pos:R:3"
        )
    return species, coordinates, width


def _decimal_point(word: str) -> str:
    return word.replace(",", ".") if re.fullmatch(r"[+-]?\d*,\d+", word) else word
