# SPDX-License-Identifier: MIT
"""What ASE atoms say of their electrons: the total charge, and what no model here takes."""

from __future__ import annotations

import warnings

import numpy as np
from ase import Atoms
from ase.calculators.calculator import InputError

__all__ = ["IgnoredInputWarning", "total_charge", "warn_of_ignored"]


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
