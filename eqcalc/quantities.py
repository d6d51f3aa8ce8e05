# SPDX-License-Identifier: MIT
"""What a physical quantity is: name, shape, unit, parity and how it is reported.

Every label in a dataset, every output of a potential and every observable of a
trajectory is one of these quantities; nothing else decides a shape or a unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from eqcalc import units


@dataclass(frozen=True)
class Quantity:
    """A physical quantity of a structure or of its atoms.

    Parameters
    ----------
    name
        Key under which the quantity is stored everywhere.
    per_atom
        One value per atom (forces) rather than per structure.
    shape
        Shape of one value: ``()`` scalar, ``(3,)`` vector, ``(3, 3)`` tensor.
    unit
        Internal unit.
    parity
        Sign under inversion, (−1)^rank for a true tensor.
    report
        Units of evaluation tables, with the name of each: ``(unit, label)``.
    extensive
        Whether the quantity grows with the number of atoms, so that the
        contributions of atoms are summed; those of an intensive one are averaged.
    """

    name: str
    per_atom: bool
    shape: tuple[int, ...]
    unit: str
    parity: int
    report: tuple[tuple[str, str], ...]
    extensive: bool = True

    @property
    def rank(self) -> int:
        """Cartesian rank: 0 scalar, 1 vector, 2 tensor."""
        return len(self.shape)

    def factor_from(self, unit: str) -> float:
        """Return the factor that converts values in `unit` to the internal unit.

        Raises
        ------
        UnitError
            `unit` is unknown or is not a unit of this quantity.
        """
        try:
            return units.conversion_factor(unit, self.unit)
        except units.UnitError as error:
            raise units.UnitError(
                f"{self.name}: {error}; expected a unit such as {self.unit!r}"
            ) from None


ENERGY = Quantity("energy", False, (), "eV", +1, (("meV", "meV"), ("kcal/mol", "kcal/mol")))
FORCES = Quantity("forces", True, (3,), "eV/Å", -1, (("meV/Å", "meV/Å"), ("kcal/mol/Å",) * 2))
STRESS = Quantity("stress", False, (3, 3), "eV/Å^3", +1, (("meV/Å^3", "meV/Å³"),))
DIPOLE = Quantity("dipole", False, (3,), "e*Å", -1, (("mD", "mD"),))
POLARIZABILITY = Quantity("polarizability", False, (3, 3), "e^2*Å^2/eV", +1, (("bohr^3", "bohr³"),))

_MEV = (("meV", "meV"),)

#: Scalars of a molecule in equilibrium, as in QM9 (Ramakrishnan et al., Sci. Data
#: 1, 140022 (2014)). Its U₀ contains the zero-point energy, so that it is not the
#: potential energy whose gradient the forces are. Temperatures are 298.15 K.
MOLECULAR_SCALARS: tuple[Quantity, ...] = (
    Quantity("dipole_magnitude", False, (), "e*Å", +1, (("mD", "mD"),)),
    Quantity("isotropic_polarizability", False, (), "e^2*Å^2/eV", +1, (("bohr^3", "bohr³"),)),
    Quantity("homo_energy", False, (), "eV", +1, _MEV, extensive=False),
    Quantity("lumo_energy", False, (), "eV", +1, _MEV, extensive=False),
    Quantity("homo_lumo_gap", False, (), "eV", +1, _MEV, extensive=False),
    Quantity("electronic_spatial_extent", False, (), "Å^2", +1, (("bohr^2", "bohr²"),)),
    Quantity("zero_point_energy", False, (), "eV", +1, _MEV),
    Quantity("internal_energy_0K", False, (), "eV", +1, _MEV),
    Quantity("internal_energy", False, (), "eV", +1, _MEV),
    Quantity("enthalpy", False, (), "eV", +1, _MEV),
    Quantity("gibbs_energy", False, (), "eV", +1, _MEV),
    Quantity("heat_capacity", False, (), "eV/K", +1, (("cal/mol/K", "cal/mol/K"),)),
)

#: All quantities by name.
QUANTITIES: dict[str, Quantity] = {
    q.name: q for q in (ENERGY, FORCES, STRESS, DIPOLE, POLARIZABILITY, *MOLECULAR_SCALARS)
}


def quantity(name: str) -> Quantity:
    """Return the quantity called `name`.

    Raises
    ------
    KeyError
        No such quantity; the message lists those that exist.
    """
    try:
        return QUANTITIES[name]
    except KeyError:
        raise KeyError(f"unknown quantity {name!r}; known: {', '.join(QUANTITIES)}") from None


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Return `names`, each checked, in the order of :data:`QUANTITIES`."""
    requested = {quantity(name).name for name in names}
    return tuple(name for name in QUANTITIES if name in requested)
