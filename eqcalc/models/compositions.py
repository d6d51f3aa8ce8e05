# SPDX-License-Identifier: MIT
"""The compositions and charges a model was trained on, and a warning for others.

A network predicts something for any molecule whose elements it knows, even one unlike anything in
its training data. The model file therefore records the training compositions.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from ase.symbols import Symbols

from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.models.checkpoint import read_header
from eqcalc.molecules import bonded_neighbours, open_shell, total_charge
from eqcalc.validation import InvalidInputError

#: Up to this many formulas are recorded individually; beyond that, only ranges.
_LISTED = 50
#: Elements of which larger molecules have more, hydrogen and carbon; the most atoms other than
#: hydrogen of molecules for which the general model was compared with another method.
_GROWING, _COMPARED = {1, 6}, 14
#: Number of formulas listed in a message.
_TOLD = 5
#: Training data, by SHA-256, of the shipped model, which predates the record of compositions.
_RECORDED_LATER = {
    "922a575d513129737671d2631d9eb373ffd1a5a1eea43f241035416d8368810d": ("C2H6O",),
}


class UnknownCompositionWarning(UserWarning):
    """A model is used for a molecule whose composition was not among its training data."""


def formula(numbers: Iterable[int]) -> str:
    """Return the formula of a molecule in Hill order, such as ``"C2H6O"``."""
    return str(Symbols(np.asarray(list(numbers), dtype=int)).get_chemical_formula(mode="hill"))


def composition_table(numbers: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the elements and the number of atoms of each, ``[n_structures, n_elements]``.

    The arguments are those of :meth:`Compositions.of`.
    """
    elements, kind = np.unique(numbers, return_inverse=True)
    owner = np.repeat(np.arange(len(counts)), counts)
    table = np.zeros((len(counts), len(elements)), dtype=np.int64)
    np.add.at(table, (owner, kind.reshape(-1)), 1)
    return elements, table


@dataclass(frozen=True)
class Compositions:
    """The compositions that occur in a set of training data.

    Parameters
    ----------
    count
        Number of distinct compositions.
    formulas
        All formulas in Hill order; empty if there are many.
    atoms
        Smallest and largest number of atoms of a structure.
    elements
        Smallest and largest number of atoms of each element, by atomic number.
    parities
        Remainders by two of the numbers of protons: only 0 where there were neither radicals nor
        ions.
    """

    count: int
    formulas: tuple[str, ...]
    atoms: tuple[int, int]
    elements: Mapping[int, tuple[int, int]]
    parities: tuple[int, ...] = (0, 1)

    @classmethod
    def of(cls, numbers: np.ndarray, counts: np.ndarray) -> Compositions:
        """Return the compositions of structures.

        Parameters
        ----------
        numbers
            Atomic numbers of all structures, one after the other, ``[n_atoms]``.
        counts
            Number of atoms of each, ``[n_structures]``.
        """
        found, table = composition_table(numbers, counts)
        table = np.unique(table, axis=0)
        sizes = table.sum(axis=1)
        listed = [formula(np.repeat(found, row)) for row in table] if len(table) <= _LISTED else []
        return cls(
            len(table),
            tuple(sorted(listed)),
            (int(sizes.min()), int(sizes.max())),
            {
                int(z): (int(column.min()), int(column.max()))
                for z, column in zip(found, table.T, strict=True)
            },
            tuple(np.unique(table @ found.astype(np.int64) % 2).tolist()),
        )

    @classmethod
    def of_model(cls, metadata: Mapping[str, Any]) -> Compositions | None:
        """Return the compositions in the metadata of a model, or None if not recorded."""
        data = (metadata.get("training") or {}).get("dataset") or {}
        if "compositions" in data:
            record = data["compositions"]
            return cls(
                int(record["count"]),
                tuple(record["formulas"]),
                _pair(record["atoms"]),
                {atomic_numbers[name]: _pair(v) for name, v in record["elements"].items()},
                tuple(map(int, record.get("parities", cls.parities))),
            )
        if data.get("sha256") in _RECORDED_LATER:
            molecules = [Symbols.fromsymbols(text) for text in _RECORDED_LATER[data["sha256"]]]
            numbers = [molecule.numbers for molecule in molecules]
            return cls.of(np.concatenate(numbers), np.array([len(z) for z in numbers]))
        return None

    def settings(self) -> dict[str, Any]:
        """Return the compositions as JSON-able metadata of a model."""
        return {
            "count": self.count,
            "formulas": list(self.formulas),
            "atoms": list(self.atoms),
            "elements": {chemical_symbols[z]: list(span) for z, span in self.elements.items()},
            "parities": list(self.parities),
        }

    def contain(self, numbers: np.ndarray) -> bool:
        """Return whether a composition is one of these, or in their ranges if they are many."""
        if self.formulas:
            return formula(numbers) in self.formulas
        counts = dict(zip(*np.unique(numbers, return_counts=True), strict=True))
        spans = self.elements.items()
        return (
            self.atoms[0] <= len(numbers) <= self.atoms[1]
            and int(np.sum(numbers)) % 2 in self.parities
            and set(counts) <= set(self.elements)
            and all(low <= counts.get(z, 0) <= high for z, (low, high) in spans)
        )

    def __str__(self) -> str:
        if self.formulas:
            more = f" and {self.count - _TOLD} others" if self.count > _TOLD else ""
            return ", ".join(self.formulas[:_TOLD]) + more
        spans = ", ".join(
            f"{chemical_symbols[z]} {low}–{high}" for z, (low, high) in self.elements.items()
        )
        shells = ", no radicals" if self.parities == (0,) else ""
        return (
            f"{self.count} compositions of {self.atoms[0]}–{self.atoms[1]} atoms, {spans}{shells}"
        )


def trained_on(metadata: Mapping[str, Any]) -> str:
    """Return the compositions, and the temperatures of the geometries, a model was trained on."""
    data = (metadata.get("training") or {}).get("dataset") or {}
    span = data.get("temperatures")
    temperatures = "not recorded" if span is None else f"{span[0]:g} to {span[1]:g} K"
    compositions = Compositions.of_model(metadata) or "not recorded"
    return f"compositions: {compositions}; temperatures of the geometries: {temperatures}"


def warn_of_composition(metadata: Mapping[str, Any], numbers: np.ndarray) -> None:
    """Warn if a molecule's composition was not among the training data of a model.

    Python shows the same warning once. A model without a record of its training data gives none.

    Parameters
    ----------
    metadata
        Metadata of the model.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    """
    if unknown := unknown_composition(metadata, numbers):
        # attributed to this line whoever calls, so that two calculators warn once
        warnings.warn(unknown, UnknownCompositionWarning, stacklevel=1)


def warn_of_cell(of_isolated: Collection[str]) -> None:
    """Warn of a periodic cell if a model's read-outs are those of isolated molecules.

    Parameters
    ----------
    of_isolated
        Such quantities; see :attr:`eqcalc.models.potential.Potential.of_isolated`.
    """
    if of_isolated:
        warnings.warn(
            f"{', '.join(of_isolated)} of the model are those of isolated molecules, and so, it "
            "seems, is what it was trained on: in a periodic cell the error of its predictions is "
            "unknown",
            UnknownCompositionWarning,
            stacklevel=1,
        )


def unknown_composition(metadata: Mapping[str, Any], numbers: np.ndarray) -> str:
    """Return what :func:`warn_of_composition` warns of; empty if there is nothing."""
    trained = Compositions.of_model(metadata)
    if trained is None or trained.contain(numbers):
        return ""
    return (
        f"{formula(numbers)} was not among the training data of the model ({trained}): it "
        "knows the elements, but the error of its predictions is unknown"
    )


def known_charges(metadata: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the total charges [e] of the structures a model was trained on."""
    return tuple(metadata.get("charges", (0.0,)))


def check_charge(metadata: Mapping[str, Any], charge: float) -> None:
    """Raise ValueError if no structure that a model was trained on had this total charge [e]."""
    known = known_charges(metadata)
    if not any(abs(charge - value) < 1e-6 for value in known):
        raise InvalidInputError(
            key="charge",
            value=charge,
            expected="a total charge [e] that the model was trained on: "
            + ", ".join(f"{value:g}" for value in known),
        )


def _pair(values: Iterable[int]) -> tuple[int, int]:
    low, high = values
    return int(low), int(high)


def general_model_knows(atoms: Atoms) -> bool:
    """Return whether the general model was trained on molecules like this one.

    It knows no groups at the ends of a linear chain, as in allene, whose twist it cannot tell, and
    no isocyanides, about which the method that it was trained on is not sure.
    """
    found = _of_general_model()
    return found is not None and found.contain(atoms.numbers) and _of_known_kind(atoms)


def general_model_extends_to(atoms: Atoms) -> bool:
    """Return whether a molecule is like those of the general model, with more carbon or hydrogen.

    Its wavenumbers agree with those of another method as well as for molecules that it was trained
    on (``workflows/general``).
    """
    found = _of_general_model()
    if found is None or found.contain(atoms.numbers):
        return False
    counts = dict(zip(*np.unique(atoms.numbers, return_counts=True), strict=True))
    if len(atoms) - counts.get(1, 0) > _COMPARED:
        return False
    ends = {z: high for z, (_, high) in found.elements.items()}
    return (
        set(counts) <= set(ends)
        and any(counts.get(z, 0) > ends[z] for z in _GROWING)
        and all(counts[z] <= ends[z] for z in set(counts) - _GROWING)
        and _of_known_kind(atoms)
    )


def _of_known_kind(atoms: Atoms) -> bool:
    """Return whether a molecule is neutral, with a closed shell, and of no unknown kind."""
    return not (total_charge(atoms) or open_shell(atoms) or unknown_kind(atoms))


def unknown_kind(atoms: Atoms) -> str:
    """Return of what kind a molecule is that the general model cannot do; empty if of none."""
    neighbours = bonded_neighbours(atoms)
    if _groups_across_a_chain(atoms, neighbours):
        return "molecules with groups at both ends of a linear chain, such as allene"
    bonded = zip(atoms.numbers, neighbours, strict=True)
    if any(z == 6 and atoms.numbers[around].tolist() == [7] for z, around in bonded):
        return "isocyanides"
    return ""


def _groups_across_a_chain(atoms: Atoms, neighbours: list[list[int]]) -> bool:
    """Return whether two groups such as CH₂ stand at the ends of a linear chain, as in allene.

    Their orientation about the chain is that of two planes, which no vector tells.
    """
    inner = {
        k
        for k, around in enumerate(neighbours)
        if len(around) == 2 and atoms.get_angle(around[0], k, around[1]) > 165.0
    }
    for end, bonded in enumerate(neighbours):
        if len(bonded) != 3:
            continue
        for first in inner & set(bonded):
            before, here = end, first
            while here in inner:
                before, here = here, next(k for k in neighbours[here] if k != before)
            if here != end and len(neighbours[here]) == 3:
                return True
    return False


@cache
def _of_general_model() -> Compositions | None:
    return Compositions.of_model(read_header(model_file(GENERAL_MODEL))["metadata"])
