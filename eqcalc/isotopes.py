# SPDX-License-Identifier: MIT
"""Masses of isotopes, for all atoms of an element or for one atom."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

__all__ = ["isotope_masses"]


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
