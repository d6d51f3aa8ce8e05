# SPDX-License-Identifier: MIT
"""Charge, masses and structure files of molecules given as ASE atoms.

The total charge is ``atoms.info["charge"]``, or else the sum of the initial charges. Spins
and partial charges are ignored, since no model depends on them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii
from numpy.typing import ArrayLike

from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    finite,
    located,
    positive,
    shape,
)

#: Charges closer than this [e] are equal; sums of partial charges have rounding errors.
_SAME_CHARGE = 1e-6
_NO_SPIN = "the model does not depend on the spin; it describes the state it was trained on"
#: Names of charge and spin in other programs.
_IGNORED = {
    "total_charge": "the total charge is atoms.info['charge']",
    "spin": _NO_SPIN,
    "multiplicity": _NO_SPIN,
}


#: Atoms closer than this multiple of the sum of their covalent radii are bonded.
_BONDED = 1.5
#: Largest structure whose distances are checked.
_CHECKED_ATOMS = 500


class IgnoredInputWarning(UserWarning):
    """The atoms have properties that the model ignores."""


class GeometryWarning(UserWarning):
    """A geometry seems to be dissociated or in a unit other than ångström."""


# --- charge and spin ------------------------------------------------------------------


def total_charge(atoms: Atoms) -> float:
    """Return the total charge of atoms [e].

    It is ``atoms.info["charge"]`` if given, else the sum of the initial charges, rounded to
    an integer if it is close to one.

    Raises
    ------
    InvalidInputError
        The charge is not a finite number, or both are given and disagree.
    """
    summed = 0.0
    if atoms.has("initial_charges"):
        summed = float(finite("initial charges", atoms.get_initial_charges()).sum())
    if abs(summed - round(summed)) < _SAME_CHARGE:
        summed = float(round(summed))
    if "charge" not in atoms.info:
        return summed
    given = atoms.info["charge"]
    try:
        charge = float(given)  # may be text in files of other programs
    except (TypeError, ValueError):
        charge = math.nan
    if not math.isfinite(charge):
        raise InvalidInputError(key="atoms.info['charge']", value=given, expected="a number")
    if atoms.has("initial_charges") and abs(charge - summed) > _SAME_CHARGE:
        raise InvalidInputError(
            key="atoms.info['charge']",
            value=charge,
            expected=f"the sum of the initial charges of the atoms, {summed:g}",
        )
    return charge


def states_charge(atoms: Atoms) -> bool:
    """Return whether atoms specify their charge, or :func:`total_charge` is a default."""
    return "charge" in atoms.info or bool(atoms.has("initial_charges"))


def warn_of_ignored(atoms: Atoms) -> None:
    """Warn of spins, partial charges and charges under other names, which are ignored.

    Python shows identical warnings once.
    """
    ignored = []
    if np.any(np.abs(atoms.get_initial_magnetic_moments()) > 1e-6):
        ignored.append(f"initial magnetic moments are ignored: {_NO_SPIN}")
    charges = atoms.get_initial_charges()
    if np.any(np.abs(charges) > _SAME_CHARGE) and abs(charges.sum()) < _SAME_CHARGE:
        ignored.append("initial charges of the atoms are ignored: only their sum, zero, counts")
    usual = {"total_charge": (total_charge(atoms),), "spin": (0, 1), "multiplicity": (1,)}
    ignored += [
        f"atoms.info[{name!r}] is ignored: {reason}"
        for name, reason in _IGNORED.items()
        if name in atoms.info and atoms.info[name] not in usual[name]
    ]
    for text in ignored:
        # attributed to this line for all callers, so that two calculators warn once
        warnings.warn(text, IgnoredInputWarning, stacklevel=1)


# --- masses ---------------------------------------------------------------------------


def atomic_masses(
    atoms: Atoms, masses: ArrayLike | Mapping[str, float] | None = None
) -> np.ndarray:
    """Return masses ``[n_atoms]`` [amu].

    Parameters
    ----------
    atoms
        The molecule; its masses are the default.
    masses
        One mass per atom, or isotopes as in :func:`isotope_masses`.

    Raises
    ------
    InvalidInputError
        There is no such element or atom, or a mass is missing or not positive.
    """
    if masses is None or isinstance(masses, Mapping):
        values = isotope_masses(atoms, masses or {})
    else:
        values = np.asarray(masses, dtype=float)
    values = finite("masses", shape("masses", values, (len(atoms),)))
    if not (values > 0.0).all():
        atom = int(np.argmin(values))
        raise InvalidInputError(
            key=f"masses[{atom}]", value=float(values[atom]), expected="a positive number [amu]"
        )
    return values


def isotope_masses(atoms: Atoms, isotopes: Mapping[str, float]) -> np.ndarray:
    """Return the masses ``[n_atoms]`` [amu] of a molecule with other isotopes.

    Parameters
    ----------
    atoms
        The molecule.
    isotopes
        Mass [amu] of all atoms of an element, ``{"H": 2.014}``, or of one atom by its index
        from zero, ``{"3": 2.014}``, which takes precedence.

    Raises
    ------
    InvalidInputError
        There is no such element or atom, or a mass is not positive.
    """
    masses = atoms.get_masses().astype(float)
    for key, mass in sorted(isotopes.items(), key=lambda item: item[0].isdecimal()):
        if key.isdecimal():
            chosen = np.arange(len(atoms)) == int(key)
        else:
            chosen = atoms.numbers == atomic_numbers.get(key, -1)
        if not chosen.any():
            raise InvalidInputError(
                key="masses",
                value=key,
                expected=f"an element of {atoms.symbols}, or the index of an atom "
                f"(0 to {len(atoms) - 1})",
            )
        masses[chosen] = positive(f"masses.{key}", mass, unit="amu")
    return masses


# --- positions and cell ---------------------------------------------------------------


def isolated_molecule(atoms: Atoms) -> Atoms:
    """Check that atoms are an isolated molecule with finite positions, and return them.

    Raises
    ------
    InvalidInputError
        There are no atoms, they are periodic, or a position is not finite.
    """
    if len(atoms) == 0:
        raise InvalidInputError(key="atoms", value=0, expected="at least one atom")
    if atoms.pbc.any():
        raise InvalidInputError(
            f"{atoms.symbols} is periodic",
            key="atoms.pbc",
            value=atoms.pbc.tolist(),
            expected="an isolated molecule",
            advice="for a molecule in a box set atoms.pbc = False, or write the file without its "
            "cell",
        )
    finite("positions", atoms.positions)
    return atoms


# --- structure files ------------------------------------------------------------------


def read_structure(path: str | Path) -> Atoms:
    """Read a file with a single structure, in any format that ASE reads.

    Raises
    ------
    InvalidFileError
        The file does not exist or does not contain exactly one structure.
    """
    structures = read_structures([path])
    if len(structures) != 1:
        raise InvalidFileError(file=path, value=len(structures), expected="one structure")
    return structures[0]


def read_structures(paths: Sequence[str | Path]) -> list[Atoms]:
    """Read the structures of files, in any format that ASE reads.

    Warns if an atom of a molecule has no bonded neighbour, for example if coordinates are in
    bohr.

    Raises
    ------
    InvalidFileError
        A file does not exist or contains no structures.
    InvalidInputError
        A position is not finite.
    """
    structures: list[Atoms] = []
    for path in paths:
        existing_file(path, "a structure file, such as .xyz")
        try:
            found = [*ase.io.iread(path)]
            first = found[0]
        except Exception as error:  # readers of ASE raise errors of many types
            raise InvalidFileError(
                f"ASE cannot read it ({type(error).__name__}: {error})",
                file=path,
                expected="a structure file, such as .xyz",
            ) from error
        with located(file=path):
            for index, atoms in enumerate(found):
                finite(f"positions of structure {index}", atoms.positions)
        _warn_of_distances(path, first)
        structures.extend(found)
    return structures


def _warn_of_distances(path: str | Path, atoms: Atoms) -> None:
    """Warn if an atom of a molecule has no bonded neighbour."""
    if not 1 < len(atoms) <= _CHECKED_ATOMS or atoms.pbc.any():
        return
    distances = atoms.get_all_distances()
    np.fill_diagonal(distances, np.inf)
    radii = covalent_radii[atoms.numbers]
    ratios = distances / (radii[:, None] + radii)
    atom = int(np.argmax(ratios.min(axis=1)))
    neighbour = int(np.argmin(ratios[atom]))
    if ratios[atom, neighbour] > _BONDED:
        warnings.warn(
            f"{path}: the nearest neighbour of atom {atom} ({atoms.symbols[atom]}) is "
            f"{atoms.symbols[neighbour]} at {distances[atom, neighbour]:.2f} Å, too far for a "
            "bond; coordinates are taken in ångström",
            GeometryWarning,
            stacklevel=3,
        )
