# SPDX-License-Identifier: MIT
"""Elements and isotopes as files name them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ase import Atoms
from ase.data import atomic_masses_common, atomic_numbers

from eqcalc.validation import InvalidFileError

#: Element and mass [amu] of isotopes by name (AME2020).
ISOTOPES: dict[str, tuple[str, float]] = {
    "D": ("H", 2.01410178),
    "T": ("H", 3.01604928),
    "6Li": ("Li", 6.01512289),
    "7Li": ("Li", 7.01600344),
    "10B": ("B", 10.01293686),
    "11B": ("B", 11.00930517),
    "13C": ("C", 13.00335484),
    "15N": ("N", 15.00010890),
    "17O": ("O", 16.99913176),
    "18O": ("O", 17.99915961),
    "29Si": ("Si", 28.97649466),
    "30Si": ("Si", 29.97377014),
    "33S": ("S", 32.97145891),
    "34S": ("S", 33.96786701),
    "35Cl": ("Cl", 34.96885269),
    "37Cl": ("Cl", 36.96590257),
    "79Br": ("Br", 78.91833757),
    "81Br": ("Br", 80.91628820),
}
#: Names of atoms that are none: centres of coordinates, basis functions or lone pairs.
_DUMMIES = re.compile(
    r"(?:x+|bq|gh|q|lp|du|dum|ghost|tv)\d*|@.+|gh\(.+|.+[-(]bq\b.*|[-+]?0", re.IGNORECASE
)
#: C12, the twelfth atom of an input, is carbon; CA1 is carbon or calcium.
_LABEL = re.compile(r"([A-Z][a-z]?)\d{1,4}")
_MASS_NUMBER = re.compile(r"(\d{1,3})([A-Za-z]{1,2})")


def element(word: str) -> tuple[int, float | None]:
    """Return the atomic number of what a file calls an atom, and the mass [amu] of an isotope.

    That is a symbol in any case of letters, an atomic number, a symbol with the number of the
    atom (``C12``), or an isotope (``D``, ``T``, ``13C``).

    Raises
    ------
    InvalidFileError
        It is none of them, or a dummy or ghost atom.
    """
    isotope = _MASS_NUMBER.fullmatch(word)
    if isotope is not None:
        return isotope_of(isotope[2], int(isotope[1]))
    if word.upper() in ISOTOPES:
        symbol, mass = ISOTOPES[word.upper()]
        return atomic_numbers[symbol], mass
    label = _LABEL.fullmatch(word)
    number = atomic_numbers.get(label[1] if label else word.capitalize(), 0)
    if (
        word.isascii()
        and word.isdecimal()
        and len(word) < 4
        and int(word) < len(atomic_masses_common)
    ):
        number = int(word)
    if number:
        return number, None
    advice = ""
    if _DUMMIES.fullmatch(word):
        advice = "dummy and ghost atoms are no atoms of the molecule: remove them"
    raise InvalidFileError(
        key="element", value=word[:40], expected="the symbol or number of an element", advice=advice
    )


def isotope_of(symbol: str, mass_number: int) -> tuple[int, float]:
    """Return the atomic number and the mass [amu] of an isotope.

    Raises
    ------
    InvalidFileError
        There is no such element, or no nucleus of such a mass number.
    """
    number, _ = element(symbol)
    if not number <= mass_number <= 3 * number:
        raise InvalidFileError(
            key="isotope", value=f"{mass_number}{symbol}", expected="the mass number of a nucleus"
        )
    masses = {(atomic_numbers[name], round(mass)): mass for name, mass in ISOTOPES.values()}
    return number, masses.get((number, mass_number), float(mass_number))


def with_isotopes(atoms: Atoms, masses: Mapping[int, float]) -> Atoms:
    """Set the masses [amu] of atoms by their index, and return the atoms."""
    if masses:
        changed = atoms.get_masses()
        changed[list(masses)] = list(masses.values())
        atoms.set_masses(changed)
    return atoms
