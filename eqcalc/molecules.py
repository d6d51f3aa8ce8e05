# SPDX-License-Identifier: MIT
"""What ASE atoms say of a molecule and eqcalc takes of it: total charge and isotopes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.calculators.calculator import InputError
from ase.data import atomic_numbers

_NO_SPIN = "the model knows no spin, it gives the state it was trained on"
#: What other programs call the charge and the spin.
_IGNORED = {
    "total_charge": "the total charge is atoms.info['charge']",
    "spin": _NO_SPIN,
    "multiplicity": _NO_SPIN,
}


class IgnoredInputWarning(UserWarning):
    """The atoms carry something that the model does not depend on."""


def total_charge(atoms: Atoms) -> float:
    """Return the total charge of atoms [e].

    It is ``atoms.info["charge"]`` if given, else the sum of the initial charges.

    Raises
    ------
    InputError
        The charge is not a number, or both are given and disagree.
    """
    initial = float(atoms.get_initial_charges().sum())
    if "charge" not in atoms.info:
        return initial
    try:
        charge = float(atoms.info["charge"])
    except (TypeError, ValueError):
        raise InputError(
            f"atoms.info['charge']: expected a number, got {atoms.info['charge']!r}"
        ) from None
    if atoms.has("initial_charges") and abs(charge - initial) > 1e-6:
        raise InputError(
            f"atoms.info['charge'] is {charge:g}, but the initial charges add up to {initial:g}"
        )
    return charge


def warn_of_ignored(atoms: Atoms) -> None:
    """Warn of spins, partial charges and charges under other names, which no model here takes.

    Python shows the same warning once.
    """
    ignored = []
    if np.any(np.abs(atoms.get_initial_magnetic_moments()) > 1e-6):
        ignored.append(f"initial magnetic moments are ignored: {_NO_SPIN}")
    charges = atoms.get_initial_charges()
    if np.any(np.abs(charges) > 1e-6) and abs(charges.sum()) < 1e-6:
        ignored.append("initial charges of the atoms are ignored: only their sum, zero, counts")
    usual = {"total_charge": (total_charge(atoms),), "spin": (0, 1), "multiplicity": (1,)}
    ignored += [
        f"atoms.info[{name!r}] is ignored: {reason}"
        for name, reason in _IGNORED.items()
        if name in atoms.info and atoms.info[name] not in usual[name]
    ]
    for text in ignored:
        # attributed to this line whoever calls, so that two calculators warn once
        warnings.warn(text, IgnoredInputWarning, stacklevel=1)


def isotope_masses(atoms: Atoms, isotopes: Mapping[str, float]) -> np.ndarray:
    """Return the masses ``[n_atoms]`` [amu] of a molecule with other isotopes.

    Parameters
    ----------
    atoms
        The molecule.
    isotopes
        Mass [amu] of every atom of an element, ``{"H": 2.014}``, or of one atom by
        its index from zero, ``{"3": 2.014}``, which comes before that of its element.

    Raises
    ------
    ValueError
        There is no such element or atom, or a mass is not positive.
    """
    masses = atoms.get_masses().astype(float)
    for key, mass in sorted(isotopes.items(), key=lambda item: item[0].isdecimal()):
        if key.isdecimal():
            chosen = np.arange(len(atoms)) == int(key)
        else:
            chosen = atoms.numbers == atomic_numbers.get(key, -1)
        if not chosen.any():
            raise ValueError(
                f"masses: {key!r} is neither an element of {atoms.symbols} nor the index of an "
                f"atom (0 to {len(atoms) - 1})"
            )
        if not (np.isfinite(mass) and mass > 0.0):
            raise ValueError(f"masses: expected a positive mass in amu for {key!r}, got {mass}")
        masses[chosen] = mass
    return masses
