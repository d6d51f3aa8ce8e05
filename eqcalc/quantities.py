# SPDX-License-Identifier: MIT
"""Physical quantities: name, shape, unit, symmetry, and how they are treated and reported.

Labels of datasets, outputs of potentials and observables of trajectories are quantities of
this table. Add your own with :func:`register_quantity`, and its read-out with
:func:`eqcalc.models.register_readout`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from eqcalc import units
from eqcalc.plugins import PLUGINS, load_plugins
from eqcalc.validation import InvalidInputError, one_of

#: Names reserved for other data of structures.
_RESERVED = {"numbers", "positions", "charge", "cell", "pbc", "source"}


@dataclass(frozen=True)
class Quantity:
    """A physical quantity of a structure or of its atoms.

    Parameters
    ----------
    name
        Name, used as the key wherever the quantity is stored.
    shape
        Shape of one value in Cartesian components: ``()`` scalar, ``(3,)`` vector,
        ``(3, 3)`` tensor.
    unit
        Internal unit, composed of eV, Å, e, amu and K.
    report
        Units of evaluation tables as ``(unit, label)``; by default the internal unit.
    parity
        Parity under inversion; by default that of a true tensor, (−1)^rank.
    per_atom
        One value per atom (forces) rather than per structure.
    extensive
        Atomic contributions are summed if extensive, averaged if intensive.
    derivative_of
        The quantity of which it is a derivative; it then has no read-out of its own.
    symmetric, traceless, positive_definite
        Properties of a tensor, which labels are checked for. The isotropic part of a tensor
        that is not traceless is shifted by element values, like scalars.
    error_per_atom
        Whether the loss, and an additional row of evaluation tables, use the error per atom.
    invariant
        Invariant compared in evaluation tables besides the components: ``"magnitude"`` (the
        norm) or ``"isotropic"`` (a third of the trace).
    of_charges
        A moment of charges: that of a periodic cell is defined modulo e times the lattice vectors
        (King-Smith and Vanderbilt, PRB 47, 1651 (1993)), and so are errors of it.
    loss_weight
        Default weight in the loss. Forces carry most of the information about the potential
        surface; the few components of dipole and polarizability would be overfitted with
        the same weight.
    recorded
        Whether dynamics records it by default, every femtosecond.
    figure
        Unit of parity plots and its label, if other than those of `report`.
    largest
        Largest component that is possible, in `unit`: beyond it labels and series are damaged.
    ipi_property, ipi_dimension
        Name of the bead average among the properties of i-PI, ``<name>_mean`` by default,
        and the dimension that i-PI uses for conversion, if any.
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
    of_charges: bool = False
    loss_weight: float = 1.0
    recorded: bool = False
    figure: tuple[str, str] | None = None
    ipi_property: str = ""
    ipi_dimension: str = ""
    largest: float = 1e9

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
    def read_out(self) -> str:
        """Name of the quantity that a model reads out for it: itself, or of which it derives."""
        return self.derivative_of or self.name

    @property
    def rank(self) -> int:
        """Cartesian rank: 0 scalar, 1 vector, 2 tensor."""
        return len(self.shape)

    @property
    def isotropic(self) -> bool:
        """Whether it has a rotation-invariant part, to which elements contribute constants."""
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
                f"{self.name}: {error}; expected a unit such as {units.common_units(self.unit)}"
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
    largest=1e5,  # even of nuclei as near as labels may have them
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
    of_charges=True,
    loss_weight=0.02,
    recorded=True,
    figure=("D", "D"),
    ipi_property="mu_mean",
    ipi_dimension="electric-dipole",
    largest=1e5,  # ions far apart in a large cell
)
POLARIZABILITY = Quantity(
    *("polarizability", (3, 3), "e^2*Å^2/eV", (("bohr^3", "bohr³"),)),
    symmetric=True,
    positive_definite=True,
    invariant="isotropic",
    loss_weight=0.05,
    recorded=True,
    ipi_property="alpha_mean",
    largest=1e6,  # of millions of atoms
)

#: What the atoms contribute to the quantities of local read-outs (`form: local`), which are sums
#: over atoms. They can be recorded, and are no labels.
ATOMIC_PARTS: dict[str, Quantity] = {
    DIPOLE.name: Quantity("atomic_dipole", (3,), DIPOLE.unit, DIPOLE.report, per_atom=True),
    POLARIZABILITY.name: Quantity(
        *("atomic_polarizability", (3, 3), POLARIZABILITY.unit, POLARIZABILITY.report),
        per_atom=True,
        symmetric=True,
    ),
}


def _scalar(
    name: str, unit: str, report: tuple[str, str] = ("meV", "meV"), *, extensive: bool = True
) -> Quantity:
    return Quantity(name, (), unit, (report,), extensive=extensive)


#: Scalars of molecules at equilibrium, as in QM9 (Ramakrishnan et al., Sci. Data
#: 1, 140022 (2014)). U₀ includes the zero-point energy and hence is not the potential
#: energy whose negative gradient are the forces. Temperatures are 298.15 K.
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
_PARTS = {part.name: part for part in ATOMIC_PARTS.values()}


def register_quantity(quantity: Quantity) -> Quantity:
    """Register a quantity for datasets, training, calculators, dynamics and i-PI.

    Parameters
    ----------
    quantity
        The quantity. Registering it again has no effect.

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
    """Return all quantities by name, including those of modules in ``EQCALC_PLUGINS``."""
    load_plugins()
    return dict(_QUANTITIES)


def quantity(name: str) -> Quantity:
    """Return the quantity called `name`.

    Raises
    ------
    InvalidInputError
        There is no such quantity.
    """
    found = _QUANTITIES.get(name) or _PARTS.get(name)
    return _QUANTITIES[named("quantity", name, known_quantities())] if found is None else found


def named(key: str, name: object, known: Iterable[str]) -> str:
    """Check that the name of a quantity is among the `known` ones, and return it.

    Raises
    ------
    InvalidInputError
        It is not; the error explains how to add a quantity.
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
    """Return `names`, checked, in the order of the table of quantities."""
    requested = {quantity(name).name for name in names}
    return tuple(name for name in (*_QUANTITIES, *_PARTS) if name in requested)
