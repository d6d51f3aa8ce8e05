# SPDX-License-Identifier: MIT
"""Fundamentals of small molecules, and recognition of the molecule of a spectrum among them.

The table is Shimanouchi's (NSRDS-NBS 39), see ``data/experiment/README.md``. A molecule is
recognised by its isotopes and the connectivity of its geometry, which are compared with the InChI
of the table: formula, connections, hydrogen atoms, isotopes and configuration of double bonds.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers
from ase.symbols import Symbols

from eqcalc.files import shipped_data
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.structure_formats import bond_ratios
from eqcalc.validation import InvalidFileError, InvalidInputError, instance, nearest

#: Largest distance of bonded atoms, in sums of covalent radii.
_BONDED = 1.25
#: Uncertainty [cm⁻¹] of the classes of the table: their upper limits.
UNCERTAINTY = {"A": 1.0, "B": 3.0, "C": 6.0, "D": 15.0, "E": 30.0}
#: Masses within this of the standard atomic mass are not isotopes [amu].
_NATURAL = 0.01


@dataclass(frozen=True, eq=False)
class _Molecule:
    """Atoms, each an element and the mass above that of the element, and their bonds."""

    atoms: tuple[tuple[int, int], ...]
    bonds: frozenset[frozenset[int]] | None  #: None if unknown
    #: two atoms of a double bond, a neighbour of each, and whether these are on the same side
    double_bonds: tuple[tuple[int, int, int, int, bool], ...] = ()
    positions: np.ndarray | None = None  #: ``[n_atoms, 3]``, Å

    def neighbours(self, atom: int) -> set[int]:
        return {other for bond in self.bonds or () if atom in bond for other in bond - {atom}}

    @property
    def composition(self) -> Counter[tuple[int, int]]:
        return Counter(self.atoms)

    @property
    def formula(self) -> str:
        return str(Symbols([z for z, _ in self.atoms]).get_chemical_formula("hill"))


@dataclass
class _Entry:
    """A molecule of the table."""

    name: str
    inchi: str
    rows: list[dict[str, str]] = field(default_factory=list)


def known_fundamentals(spectrum: Spectrum, molecule: str | None = None) -> BandList:
    """Return the measured fundamentals of the molecule of a spectrum.

    Fundamentals that symmetry makes inactive in this kind of spectrum are left out where the
    symmetry species of the molecule tell: with a centre of symmetry, or tetrahedral.

    Parameters
    ----------
    spectrum
        A computed spectrum; its provenance has the molecule.
    molecule
        Name or InChI in the table, instead of recognition.

    Raises
    ------
    InvalidInputError
        The molecule is unknown, not in the table, or one of several there.
    """
    here = _molecule_of(instance("spectrum", spectrum, Spectrum).provenance)
    if molecule is not None:
        instance("molecule", molecule, str, "a name or InChI")
    entry, note = _named(molecule, here) if molecule else _recognised(here)
    rows, inactive = _active(entry.rows, "raman" in spectrum.label.lower())
    kind = "Raman" if "raman" in spectrum.label.lower() else "infrared"
    notes = [note] if note else []
    if inactive:
        notes.append(f"{inactive} of {len(entry.rows)} fundamentals are not {kind} active")
    return BandList(
        position=np.array([float(row["wavenumber_cm-1"]) for row in rows]),
        uncertainty=np.array([UNCERTAINTY[row["uncertainty_class"]] for row in rows]),
        names=tuple(f"{row['symmetry']} {row['motion']}" for row in rows),
        label=f"fundamentals of {entry.name}",
        provenance={"molecule": entry.name, "inchi": entry.inchi},
        warnings=tuple(notes),
    )


def molecule_names() -> dict[str, str]:
    """Return the InChI of the molecules in the table by their names in lower case.

    What a name has in brackets may be left out of that without rare isotopes.
    """
    names: dict[str, str] = {}
    for entry in _table():
        if entry.inchi and "." not in entry.inchi:  # not compounds of metals
            names[entry.name.lower()] = f"InChI={entry.inchi}"
            short = entry.name.lower().partition(" (")[0]
            if "/i" not in entry.inchi:
                names.setdefault(short, f"InChI={entry.inchi}")
    return names


@cache
def _table() -> tuple[_Entry, ...]:
    """Return the entries of the table."""
    found = shipped_data("experiment", "fundamentals.csv")
    if not found:
        raise InvalidFileError(
            "the table of fundamentals is not part of this installation",
            file="fundamentals.csv",
            advice="reinstall eqcalc",
        )
    entries: dict[str, _Entry] = {}
    with found[0].open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = entries.setdefault(row["name"], _Entry(row["name"], row["inchi"]))
            entry.rows.append(row)
    return tuple(entries.values())


# --- the molecule of a spectrum -------------------------------------------------------


def _molecule_of(provenance: Mapping[str, Any]) -> _Molecule | None:
    """Return the molecule in the provenance of a spectrum, or None."""
    source = provenance.get("source")
    record = source.get("molecule", {}) if isinstance(source, Mapping) else {}
    if isinstance(source, Mapping) and source.get("charge"):
        raise InvalidInputError(
            "is an ion", key="molecule", value=source.get("formula"), expected="a neutral molecule"
        )
    if "numbers" in record:
        return _from_geometry(
            record["numbers"], record.get("masses_amu"), record.get("positions_angstrom")
        )
    if isinstance(source, Mapping) and "formula" in source:
        numbers = [int(z) for z in Symbols.fromsymbols(source["formula"]).numbers]
        shifts = [0] * len(numbers)
        for group in source.get("isotopes", ()):
            z = atomic_numbers[group["element"]]
            places = [i for i, number in enumerate(numbers) if number == z and not shifts[i]]
            for i in places[: len(group["atoms"])]:
                shifts[i] = _shift(z, group["mass_amu"])
        return _Molecule(tuple(zip(numbers, shifts, strict=True)), None)
    return None


def _from_geometry(
    numbers: Sequence[int], masses: Sequence[float] | None, positions: Any
) -> _Molecule:
    """Return a molecule whose bonds follow from distances and covalent radii."""
    shifts = [0 if masses is None else _shift(z, masses[i]) for i, z in enumerate(numbers)]
    atoms = tuple((int(z), shift) for z, shift in zip(numbers, shifts, strict=True))
    if positions is None:
        return _Molecule(atoms, None)
    places = np.asarray(positions, dtype=float)
    near = bond_ratios(np.asarray(numbers), places) < _BONDED
    hydrogen = np.asarray(numbers) == 1
    # atoms that two hydrogen atoms bridge are not bonded themselves, as in diborane
    bridged = (near[:, hydrogen].astype(int) @ near[hydrogen].astype(int)) >= 2
    pairs = np.argwhere(np.triu(near & ~bridged))
    bonds = frozenset(frozenset(map(int, pair)) for pair in pairs)
    return _Molecule(atoms, bonds, positions=places)


def _shift(number: int, mass: float) -> int:
    """Return the difference of the mass numbers of an isotope and its element."""
    standard = float(atomic_masses[number])
    return 0 if abs(mass - standard) < _NATURAL else round(mass) - round(standard)


# --- InChI ----------------------------------------------------------------------------


def parse_inchi(inchi: str) -> _Molecule:
    """Return the molecule of a standard InChI, without the prefix ``InChI=``.

    Hydrogen atoms shared by several atoms belong to the first of them. Those of several
    components (compounds of metals) have no bonds.
    """
    _, formula, *layers = inchi.split("/")
    main: dict[str, str] = {}
    isotopic: dict[str, str] = {}
    for layer in layers:
        (isotopic if isotopic or layer.startswith("i") else main)[layer[:1]] = layer[1:]
    elements: list[int] = []
    hydrogens = 0
    for part in formula.split("."):
        times, rest = re.fullmatch(r"(\d*)(.*)", part).groups()  # type: ignore[union-attr]
        for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", rest):
            n = int(times or 1) * int(count or 1)
            if symbol == "H":
                hydrogens += n
            else:
                elements += [atomic_numbers[symbol]] * n
    hydrogens += int(main.get("p", "0"))
    if "." in formula:
        # no such entry has some of its hydrogen atoms replaced
        deuterated = int("*1+1" in isotopic.get("i", ""))
        atoms = [(z, 0) for z in elements] + [(1, deuterated)] * hydrogens
        return _Molecule(tuple(atoms), None)
    bonds = _connections(main.get("c", ""))
    bridging = max((max(bond) for bond in bonds), default=0) + 1 - len(elements)
    atoms = [(z, 0) for z in elements] + [(1, 0)] * max(bridging, 0)
    attached: dict[int, list[int]] = {}
    for atom in _carriers(main.get("h", "")):
        attached.setdefault(atom, []).append(len(atoms))
        bonds.append((atom, len(atoms)))
        atoms.append((1, 0))
    _replace_isotopes(atoms, attached, isotopic)
    molecule = _Molecule(tuple(atoms), frozenset(map(frozenset, bonds)))
    stereo = tuple(
        _double_bond(molecule, int(a) - 1, int(b) - 1, sign == "-")
        for a, b, sign in re.findall(r"(\d+)-(\d+)([+-])", main.get("b") or isotopic.get("b", ""))
    )
    return _Molecule(molecule.atoms, molecule.bonds, stereo)


def _connections(layer: str) -> list[tuple[int, int]]:
    """Return the bonds of a layer such as ``1-3(4)5-2``; atoms from 0."""
    bonds, branches, before = [], [], -1
    for token in re.findall(r"\d+|[(),]", layer):
        if token == "(":
            branches.append(before)
        elif token == ",":
            before = branches[-1]
        elif token == ")":
            before = branches.pop()
        else:
            if before >= 0:
                bonds.append((before, int(token) - 1))
            before = int(token) - 1
    return bonds


def _carriers(layer: str) -> list[int]:
    """Return the atom of each hydrogen atom of a layer such as ``3H2,1-2H3``."""
    found: list[int] = []
    for count, first in re.findall(r"\(H(\d*),(\d+)[\d,]*\)", layer):
        found += [int(first) - 1] * int(count or 1)
    for places, count in re.findall(r"([\d,-]+)H(\d*)", re.sub(r"\(.*?\)", "", layer)):
        for place in places.strip(",").split(","):
            first, _, last = place.partition("-")
            for atom in range(int(first), int(last or first) + 1):
                found += [atom - 1] * int(count or 1)
    return found


def _replace_isotopes(
    atoms: list[tuple[int, int]], attached: Mapping[int, list[int]], isotopic: Mapping[str, str]
) -> None:
    """Replace isotopes of the layers ``i1+1,2D3`` and ``hD2``."""
    replaced: list[int] = []
    for place, shift, deuterium in re.findall(r"(\d+)([+-]\d+)?(D\d*)?", isotopic.get("i", "")):
        atom = int(place) - 1
        number = atoms[atom][0]
        atoms[atom] = (number, int(shift or 0))
        n = int(deuterium[1:] or 1) if deuterium else 0
        replaced += [atom] * n if number == 1 else attached.get(atom, [])[:n]
    # those without a place are on atoms other than carbon
    mobile = [h for atom, hs in attached.items() if atoms[atom][0] != 6 for h in hs]
    if match := re.fullmatch(r"D(\d*)", isotopic.get("h", "")):
        replaced += [h for h in mobile if h not in replaced][: int(match.group(1) or 1)]
    for atom in replaced:
        atoms[atom] = (1, 1)


def _double_bond(
    molecule: _Molecule, a: int, b: int, same: bool
) -> tuple[int, int, int, int, bool]:
    """Return a double bond with the neighbour of the highest number at either end."""

    def rank(atom: int) -> tuple[bool, int, int]:
        number, shift = molecule.atoms[atom]
        return number > 1, shift if number == 1 else 0, atom

    ends = [max(molecule.neighbours(i) - {a, b}, key=rank) for i in (a, b)]
    return a, b, ends[0], ends[1], same


# --- recognition ----------------------------------------------------------------------


def _mapping(known: _Molecule, found: _Molecule) -> list[int] | None:
    """Return for each atom of one molecule that of another with the same bonds, or None."""
    if len(known.bonds or ()) != len(found.bonds or ()):
        return None
    near = [[m.neighbours(i) for i in range(len(m.atoms))] for m in (known, found)]
    kinds = [
        [(m.atoms[i], sorted(m.atoms[j] for j in near[side][i])) for i in range(len(m.atoms))]
        for side, m in enumerate((known, found))
    ]
    order = sorted(range(len(known.atoms)), key=lambda i: -len(near[0][i]))
    chosen = [-1] * len(known.atoms)

    def extend(place: int) -> bool:
        if place == len(order):
            return True
        atom = order[place]
        bonded = {chosen[i] for i in near[0][atom] if chosen[i] >= 0}
        for other, kind in enumerate(kinds[1]):
            fits = other not in chosen and kind == kinds[0][atom]
            if fits and bonded == near[1][other] & set(chosen):
                chosen[atom] = other
                if extend(place + 1):
                    return True
                chosen[atom] = -1
        return False

    return chosen if extend(0) else None


def _is(known: _Molecule, here: _Molecule) -> bool:
    """Return whether a molecule is one of the table, as far as is known."""
    if known.composition != here.composition:
        return False
    if known.bonds is None or here.bonds is None or here.positions is None:
        return True
    atoms = _mapping(known, here)
    if atoms is None:
        return False
    for a, b, p, q, same in known.double_bonds:
        places = here.positions[[atoms[a], atoms[b], atoms[p], atoms[q]]]
        axis = places[1] - places[0]
        # the projector on the plane across the bond
        across = np.eye(3) - np.outer(axis, axis) / (axis @ axis)
        if ((places[2] - places[0]) @ across @ (places[3] - places[1]) > 0.0) != same:
            return False
    return True


def _recognised(here: _Molecule | None) -> tuple[_Entry, str]:
    """Return the entry of a molecule, and a note if only its formula is known."""
    choose = "choose it by name: --molecule"
    if here is None:
        raise InvalidInputError(
            "the spectrum does not say of which molecule it is", key="molecule", advice=choose
        )
    known = [(entry, parse_inchi(entry.inchi)) for entry in _table() if entry.inchi]
    same = [entry for entry, molecule in known if _is(molecule, here)]
    if len(same) == 1:
        note = "" if here.bonds is not None else f"recognised by its formula alone, {here.formula}"
        return same[0], note
    if same:
        raise InvalidInputError(
            f"{', '.join(entry.name for entry in same)} are possible",
            key="molecule",
            value=here.formula,
            advice=choose,
        )
    others = [entry.name for entry, molecule in known if molecule.formula == here.formula]
    listed = f"with this formula: {', '.join(others)}" if others else "none with this formula"
    raise InvalidInputError(
        f"not in the table of fundamentals ({listed})",
        key="molecule",
        value=here.formula,
        advice="compare with a measured spectrum or a list of bands",
    )


def _named(name: str, here: _Molecule | None) -> tuple[_Entry, str]:
    """Return the entry of a name or InChI, and a note if the spectrum is of another molecule."""
    wanted = name.removeprefix("InChI=").lower()
    for entry in _table():
        if wanted in (entry.name.lower(), entry.inchi.lower()):
            if here is None or not entry.inchi or _is(parse_inchi(entry.inchi), here):
                return entry, ""
            isotopes = Counter(parse_inchi(entry.inchi).atoms) != here.composition
            what = "other atoms or isotopes" if isotopes else "other bonds"
            return entry, f"the spectrum is of a molecule with {what}, {here.formula}"
    raise InvalidInputError(
        key="molecule",
        value=name,
        expected="a name or InChI in the table of fundamentals",
        suggestion=nearest(name, [entry.name for entry in _table()]),
    )


def _active(rows: list[dict[str, str]], raman: bool) -> tuple[list[dict[str, str]], int]:
    """Return the fundamentals that may be active, and the number of others.

    With a centre of symmetry g is Raman active and u infrared active; in the tetrahedral groups f2
    is infrared active, and a1, e and f2 are Raman active.
    """
    species = [row["symmetry"].rstrip("+-") for row in rows]
    if all(name[-1] in "gu" for name in species):
        keep = [name[-1] == ("g" if raman else "u") for name in species]
    elif "f2" in species:
        keep = [name in (("a1", "e", "f2") if raman else ("f2",)) for name in species]
    else:
        keep = [True] * len(rows)
    return [row for row, kept in zip(rows, keep, strict=True) if kept], keep.count(False)
