# SPDX-License-Identifier: MIT
"""What a physical quantity is: name, shape, unit, symmetry and how it is treated and shown.

Every label in a dataset, every output of a potential and every observable of a
trajectory is one of these quantities. What is special about one of them is in its row
here, and the rooms read it there; one of your own is added by :func:`register_quantity`
and gets its read-out by :func:`eqcalc.models.register_readout`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from eqcalc import units
from eqcalc.plugins import PLUGINS, load_plugins
from eqcalc.validation import InvalidInputError, one_of

#: Names of what a structure has besides quantities.
_RESERVED = {"numbers", "positions", "charge", "cell", "pbc", "source"}


@dataclass(frozen=True)
class Quantity:
    """A physical quantity of a structure or of its atoms.

    Parameters
    ----------
    name
        Key under which the quantity is stored everywhere.
    shape
        Shape of one value in Cartesian components: ``()`` scalar, ``(3,)`` vector,
        ``(3, 3)`` tensor.
    unit
        Internal unit, of eV, Å, e, amu and K.
    report
        Units of evaluation tables, with the name of each: ``(unit, label)``; the internal
        unit if none are given.
    parity
        Sign under inversion; by default that of a true tensor, (−1)^rank.
    per_atom
        One value per atom (forces) rather than per structure.
    extensive
        Whether the quantity grows with the number of atoms, so that the
        contributions of atoms are summed; those of an intensive one are averaged.
    derivative_of
        The quantity whose derivative it is; it then has no read-out of its own.
    symmetric, traceless, positive_definite
        What is true of a tensor, and checked of labels. The isotropic part of one that
        is not traceless is shifted by values of the elements, as scalars are.
    error_per_atom
        Whether the loss, and a further row of evaluation tables, divide by the number of
        atoms, so that large and small structures count the same.
    invariant
        What evaluation tables compare besides the components: ``"magnitude"``, the root
        of the sum of their squares, or ``"isotropic"``, a third of the trace.
    loss_weight
        Weight in the loss where none is given. Forces hold most of the information about
        the potential surface, and are what dynamics needs; the few components of dipole
        and polarizability are overfitted when they weigh as much.
    recorded
        Whether dynamics records it every femtosecond unless told otherwise.
    figure
        Unit of parity plots and its label, where they are not those of `report`.
    ipi_property, ipi_dimension
        Name of its mean over the beads among the properties of i-PI, ``<name>_mean`` by
        default, and the dimension that i-PI converts, if it knows one.
    """

    name: str
    shape: tuple[int, ...]
    unit: str
    report: tuple[tuple[str, str], ...] = ()
    parity: int = 0
    per_atom: bool = False
    extensive: bool = True
    derivative_of: str | None = None
    symmetric: bool = False
    traceless: bool = False
    positive_definite: bool = False
    error_per_atom: bool = False
    invariant: Literal["", "magnitude", "isotropic"] = ""
    loss_weight: float = 1.0
    recorded: bool = False
    figure: tuple[str, str] | None = None
    ipi_property: str = ""
    ipi_dimension: str = ""

    def __post_init__(self) -> None:
        defaults = {
            "report": self.report or ((self.unit, self.unit),),
            "parity": self.parity or (-1) ** self.rank,
            "ipi_property": self.ipi_property or f"{self.name}_mean",
        }
        for key, value in defaults.items():
            object.__setattr__(self, key, value)
        square = self.rank == 2
        tensor = self.symmetric or self.traceless or self.positive_definite
        self._require(
            self.name.isidentifier() and self.name not in _RESERVED,
            "name",
            "a name without spaces that nothing else has",
        )
        cartesian = all(length == 3 for length in self.shape)
        self._require(cartesian, "shape", "Cartesian components: (), (3,), (3, 3), …")
        self._require(square or not tensor, "shape", "(3, 3) of a symmetric or traceless tensor")
        self._require(self.parity in (-1, 1), "parity", "1 or -1")
        self._require(
            self.invariant in ("", "magnitude") or (self.invariant == "isotropic" and square),
            "invariant",
            "'magnitude', or 'isotropic' of a tensor",
        )
        shown = self.report if self.figure is None else (*self.report, self.figure)
        for unit, _ in shown:
            self.factor_from(unit)

    def _require(self, holds: bool, key: str, expected: str) -> None:
        if not holds:
            raise InvalidInputError(
                key=f"{self.name}.{key}", value=getattr(self, key), expected=expected
            )

    @property
    def rank(self) -> int:
        """Cartesian rank: 0 scalar, 1 vector, 2 tensor."""
        return len(self.shape)

    @property
    def isotropic(self) -> bool:
        """Whether it has a part that rotations leave alone, to which atoms add values."""
        if self.derivative_of is not None:
            return False
        return self.rank == 0 or (self.rank == 2 and not self.traceless)

    def shape_of(self, n_atoms: int) -> tuple[int, ...]:
        """Return the shape of its values in a structure of `n_atoms` atoms."""
        return (n_atoms, *self.shape) if self.per_atom else self.shape

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


ENERGY = Quantity(
    *("energy", (), "eV", (("meV", "meV"), ("kcal/mol", "kcal/mol"))),
    error_per_atom=True,
    loss_weight=0.05,
    figure=("eV", "eV"),
)
FORCES = Quantity(
    *("forces", (3,), "eV/Å", (("meV/Å", "meV/Å"), ("kcal/mol/Å", "kcal/mol/Å"))),
    per_atom=True,
    derivative_of="energy",
    loss_weight=0.95,
    figure=("eV/Å", "eV/Å"),
)
STRESS = Quantity(
    *("stress", (3, 3), "eV/Å^3", (("meV/Å^3", "meV/Å³"),)),
    extensive=False,
    derivative_of="energy",
    figure=("eV/Å^3", "eV/Å³"),
)
DIPOLE = Quantity(
    *("dipole", (3,), "e*Å", (("mD", "mD"),)),
    invariant="magnitude",
    loss_weight=0.02,
    recorded=True,
    figure=("D", "D"),
    ipi_property="mu_mean",
    ipi_dimension="electric-dipole",
)
POLARIZABILITY = Quantity(
    *("polarizability", (3, 3), "e^2*Å^2/eV", (("bohr^3", "bohr³"),)),
    symmetric=True,
    positive_definite=True,
    invariant="isotropic",
    loss_weight=0.05,
    recorded=True,
    ipi_property="alpha_mean",
)


def _scalar(
    name: str, unit: str, report: tuple[str, str] = ("meV", "meV"), *, extensive: bool = True
) -> Quantity:
    return Quantity(name, (), unit, (report,), extensive=extensive)


#: Scalars of a molecule in equilibrium, as in QM9 (Ramakrishnan et al., Sci. Data
#: 1, 140022 (2014)). Its U₀ contains the zero-point energy, so that it is not the
#: potential energy whose gradient the forces are. Temperatures are 298.15 K.
MOLECULAR_SCALARS: tuple[Quantity, ...] = (
    _scalar("dipole_magnitude", "e*Å", ("mD", "mD")),
    _scalar("isotropic_polarizability", "e^2*Å^2/eV", ("bohr^3", "bohr³")),
    _scalar("homo_energy", "eV", extensive=False),
    _scalar("lumo_energy", "eV", extensive=False),
    _scalar("homo_lumo_gap", "eV", extensive=False),
    _scalar("electronic_spatial_extent", "Å^2", ("bohr^2", "bohr²")),
    _scalar("zero_point_energy", "eV"),
    _scalar("internal_energy_0K", "eV"),
    _scalar("internal_energy", "eV"),
    _scalar("enthalpy", "eV"),
    _scalar("gibbs_energy", "eV"),
    _scalar("heat_capacity", "eV/K", ("cal/mol/K", "cal/mol/K")),
)

_QUANTITIES: dict[str, Quantity] = {
    q.name: q for q in (ENERGY, FORCES, STRESS, DIPOLE, POLARIZABILITY, *MOLECULAR_SCALARS)
}


def register_quantity(quantity: Quantity) -> Quantity:
    """Make a quantity known to datasets, training, calculators, dynamics and i-PI.

    Parameters
    ----------
    quantity
        Its row. Registering the same row again changes nothing.

    Returns
    -------
    Quantity
        `quantity` itself.

    Raises
    ------
    InvalidInputError
        Another quantity has this name.
    """
    known = _QUANTITIES.setdefault(quantity.name, quantity)
    quantity._require(known == quantity, "name", "a name that no other quantity has")
    return quantity


def known_quantities() -> dict[str, Quantity]:
    """Return all quantities by name, those of the modules in ``EQCALC_PLUGINS`` included."""
    load_plugins()
    return dict(_QUANTITIES)


def quantity(name: str) -> Quantity:
    """Return the quantity called `name`.

    Raises
    ------
    InvalidInputError
        There is no such quantity.
    """
    found = _QUANTITIES.get(name)
    return _QUANTITIES[named("quantity", name, known_quantities())] if found is None else found


def named(key: str, name: object, known: Iterable[str]) -> str:
    """Return a name that is among `known` ones of quantities.

    Raises
    ------
    InvalidInputError
        It is not; the error says how one of your own is added.
    """
    try:
        return one_of(key, name, known)
    except InvalidInputError as error:
        error.advice = (
            "one of your own comes from a module that calls register_quantity and "
            f"register_readout: import it, or list it in {PLUGINS}"
        )
        raise


def ordered(names: Iterable[str]) -> tuple[str, ...]:
    """Return `names`, each checked, in the order in which quantities are listed."""
    requested = {quantity(name).name for name in names}
    return tuple(name for name in _QUANTITIES if name in requested)
