# SPDX-License-Identifier: MIT
"""Every constant and every unit conversion of eqcalc.

Internal units are those of ASE: eV, Å, amu, elementary charge, K, and the
derived ASE time unit Å·sqrt(amu/eV) ≈ 10.18 fs, which never leaves the
dynamics. A unit is written as text, for example ``"kcal/mol/Å"``,
``"e^2*Å^2/eV"`` or ``"bohr^3"``, and is parsed into a factor to internal units
and a physical dimension, so that a force given in an energy unit is refused
instead of silently rescaled.

Constants of the spectra are CODATA values from :mod:`scipy.constants`; the
energy and length units are those of :mod:`ase.units`. The two differ by less
than 1e-8, far below any other error.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import ase.units as _ase
import numpy as np
from scipy import constants as _codata


class UnitError(ValueError):
    """A unit is unknown, or does not measure the quantity it was given for."""


# --- physical constants in internal units -------------------------------------

#: Boltzmann constant [eV/K].
BOLTZMANN: float = float(_ase.kB)
#: One femtosecond in the ASE time unit.
FEMTOSECOND: float = float(_ase.fs)
#: Reduced Planck constant [eV · ASE time unit].
HBAR: float = float(_ase._hbar * _ase.J * _ase.second)
#: Speed of light [cm/fs].
SPEED_OF_LIGHT_CM_PER_FS: float = _codata.c * 1e2 * 1e-15
#: 4πε₀ · 1 Å³ in e²Å²/eV: multiplies a polarizability volume [Å³].
POLARIZABILITY_VOLUME: float = float(1.0 / (_ase.Hartree * _ase.Bohr))
#: hc/k_B [cm · K], the second radiation constant.
SECOND_RADIATION_CONSTANT: float = _codata.h * _codata.c / _codata.k * 100.0
#: h/8π²c in cm⁻¹ amu Å²: over a moment of inertia, a rotational constant.
ROTATIONAL_CONSTANT: float = (
    _codata.h / (8.0 * math.pi**2 * _codata.c * _codata.atomic_mass * 1e-20) * 1e-2
)
#: 2c/k_B in amu, Å, fs, K, per cm⁻¹: the prefactor K of every spectrum
#: S(ν) = (K/T) ∫⟨Ẋ(0)·Ẋ(t)⟩cos(2πcνt) dt over all t.
SPECTRAL_PREFACTOR: float = (
    2.0 * SPEED_OF_LIGHT_CM_PER_FS / (_codata.k / _codata.atomic_mass * 1e20 * 1e-30)
)
#: Integrated absorption N_A/(12 ε₀c²) of |∂μ/∂Q|² = 1 e²/amu [km/mol].
INTENSITY_PER_SQUARED_CHARGE_PER_MASS: float = (
    _codata.N_A
    / (12.0 * _codata.epsilon_0 * _codata.c**2)
    * _codata.e**2
    / _codata.atomic_mass
    * 1e-3
)
#: cε₀ [S]: times αn [cm⁻¹], a conductivity [S/cm].
CONDUCTIVITY_PER_ABSORPTION: float = _codata.c * _codata.epsilon_0
#: Avogadro constant [1/mol].
AVOGADRO: float = _codata.N_A
#: Molar gas constant [J/(mol K)].
GAS_CONSTANT: float = _codata.R
#: (2π)⁴/45 · h/(8π²c) for wavenumbers in cm⁻¹ and an activity of 1 Å⁴/amu: the
#: prefactor of (ν̃₀ − ν̃)⁴/[ν̃(1 − e^−x)] in a Raman cross-section [cm²/sr].
RAMAN_CROSS_SECTION: float = (
    (2.0 * math.pi) ** 4
    / 45.0
    * _codata.h
    / (8.0 * math.pi**2 * _codata.c)
    * 1e2**3
    * 1e-40
    / _codata.atomic_mass
    * 1e4
)
#: 1 (D/Å)²/amu as an integrated absorption [km/mol].
INTENSITY_PER_SQUARED_DEBYE_PER_MASS: float = (
    INTENSITY_PER_SQUARED_CHARGE_PER_MASS * float(_ase.Debye) ** 2
)

# --- unit expressions -----------------------------------------------------------


@dataclass(frozen=True)
class Dimension:
    """Exponents of energy, length, time, charge, mass and temperature.

    Mass is kept apart from energy·time²/length² because users state amu, and
    nothing in eqcalc mixes the two.
    """

    energy: int = 0
    length: int = 0
    time: int = 0
    charge: int = 0
    mass: int = 0
    temperature: int = 0

    def _exponents(self) -> tuple[int, ...]:
        return (self.energy, self.length, self.time, self.charge, self.mass, self.temperature)

    def __mul__(self, other: Dimension) -> Dimension:
        pairs = zip(self._exponents(), other._exponents(), strict=True)
        return Dimension(*(a + b for a, b in pairs))

    def __pow__(self, exponent: int) -> Dimension:
        return Dimension(*(a * exponent for a in self._exponents()))


@dataclass(frozen=True)
class Unit:
    """A unit as a factor to internal units and a dimension."""

    factor: float
    dimension: Dimension

    def __mul__(self, other: Unit) -> Unit:
        return Unit(self.factor * other.factor, self.dimension * other.dimension)

    def __pow__(self, exponent: int) -> Unit:
        return Unit(self.factor**exponent, self.dimension**exponent)


_ENERGY = Dimension(energy=1)
_LENGTH = Dimension(length=1)
_TIME = Dimension(time=1)
_CHARGE = Dimension(charge=1)
_MASS = Dimension(mass=1)
_TEMPERATURE = Dimension(temperature=1)
_NUMBER = Dimension()
_DIPOLE = _CHARGE * _LENGTH
_POTENTIAL = _ENERGY * _CHARGE**-1

#: Spellings of each unit, its factor to internal units, and its dimension.
_TABLE: tuple[tuple[tuple[str, ...], float, Dimension], ...] = (
    (("eV", "ev", "electronvolt"), 1.0, _ENERGY),
    (("meV",), 1e-3, _ENERGY),
    (("Ha", "Hartree", "hartree", "Eh"), _ase.Hartree, _ENERGY),
    (("Ry", "Rydberg"), _ase.Rydberg, _ENERGY),
    (("kcal",), _ase.kcal, _ENERGY),
    (("cal",), 1e-3 * _ase.kcal, _ENERGY),
    (("kJ",), _ase.kJ, _ENERGY),
    (("J",), _ase.J, _ENERGY),
    (("Å", "Å", "Ang", "ang", "Angstrom", "angstrom", "A"), 1.0, _LENGTH),
    (("Bohr", "bohr", "a0", "a₀"), _ase.Bohr, _LENGTH),
    (("nm",), _ase.nm, _LENGTH),
    (("m", "meter", "metre"), _ase.m, _LENGTH),
    (("fs", "femtosecond"), _ase.fs, _TIME),
    (("ps", "picosecond"), 1e3 * _ase.fs, _TIME),
    (("e",), 1.0, _CHARGE),
    (("C", "coulomb"), _ase.C, _CHARGE),
    (("D", "Debye", "debye"), _ase.Debye, _DIPOLE),
    (("mD",), 1e-3 * _ase.Debye, _DIPOLE),
    (("V",), 1.0, _POTENTIAL),
    (("GPa",), _ase.GPa, _ENERGY * _LENGTH**-3),
    (("bar",), 1e-4 * _ase.GPa, _ENERGY * _LENGTH**-3),
    (("amu", "u", "Da"), 1.0, _MASS),
    (("K",), 1.0, _TEMPERATURE),
    (("mol",), _ase.mol, _NUMBER),
    (("1",), 1.0, _NUMBER),
    (("10",), 10.0, _NUMBER),  # 10^-30 C*m
)
_NAMED: dict[str, Unit] = {
    name: Unit(float(factor), dimension) for names, factor, dimension in _TABLE for name in names
}
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")


def parse_unit(text: str) -> Unit:
    """Parse a unit such as ``"kcal/mol/Å"``, ``"e*Å"`` or ``"e^2*Å^2/eV"``.

    Factors are joined by ``*``, ``·`` or a space and divided by ``/``, which
    acts on the one factor that follows. Exponents are integers, after ``^`` or
    ``**`` or as superscripts.

    Raises
    ------
    UnitError
        The text is empty, cannot be parsed, names an unknown unit, or is of kcal without mol.
    """
    if not isinstance(text, str) or not text.strip():
        raise UnitError(f"expected a unit such as 'eV/Å', got {text!r}")
    source = re.sub(
        r"([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)",
        lambda match: "^" + match.group(1).translate(_SUPERSCRIPTS) + " ",
        text.strip(),
    )
    source = source.replace("·", "*").replace("**", "^")
    source = re.sub(r"\s*([*/^])\s*", r"\1", source.strip())
    source = re.sub(r"\s+", "*", source)
    result = Unit(1.0, _NUMBER)
    for operator, token in re.findall(r"(^|[*/])([^*/]*)", source):
        match = re.fullmatch(r"([^\^]+)(?:\^(-?\d+))?", token)
        if match is None:
            raise UnitError(f"cannot read the unit {text!r} near {token!r}")
        name, exponent = match.group(1), int(match.group(2) or 1)
        if name not in _NAMED:
            raise UnitError(f"unknown unit {name!r}" + (f" in {text!r}" if name != text else ""))
        result = result * _NAMED[name] ** (-exponent if operator == "/" else exponent)
    if molar := re.search(r"kcal|kJ|(?<!k)cal", source if "mol" not in source else ""):
        raise UnitError(f"{text!r} is no unit of a molecule, unlike {molar.group()}/mol")
    return result


#: Spellings of units in other programs, and those here.
_SPELLINGS = (
    (r"^[×x]\s*(?=10)|^1(?=e[-+]?\d)", ""),
    (r"^e([-+]?\d+)", r"10^\1 "),
    (r"electrons?|\be(?=a\b|å|ang|bohr|nm)", "e "),
    (r"\b(coulombs?|c)[\s.·*-]*(?=m\b|met)", "C "),
    (r"\bmet(er|re)s?\b", "m"),
    (r"ang(str(o|oe|ö)ms?)?\b|å|\ba(?=\b|3|\^|\*\*)(?!0)", "Å"),
    (r"\bdebyes?\b|\bd\b", "D"),
    (r"\ba0|a₀|\bbohrs?\b", "bohr"),
    (r"(?<=[År])3", "^3"),
    (r"\bev\b", "eV"),
    (r"\bmev\b", "meV"),
    (r"\b(hartrees?|ha|eh)\b", "hartree"),
    (r"\b(rydbergs?|ry)\b", "Ry"),
    (r"\bkj\b", "kJ"),
    (r"\bgpa\b", "GPa"),
    (r"\b(v|volts?)\b", "V"),
    (r"(?<!\^)[\s.\-]+", " "),
)
#: Atomic units by name, in lower case.
_ATOMIC = ("a.u.", "a.u", "au", "atomic_unit", "atomic_units", "atomic units", "atomic unit")
#: A component at the end of a name.
_COMPONENT = re.compile(r"_[xyz]{1,2}$", re.IGNORECASE)


@functools.lru_cache(maxsize=1000)
def known_spelling(text: str, like: str) -> str | None:
    """Return the unit that a text of another program is, as known here; None if it is none.

    Parameters
    ----------
    text
        Such as ``"Debye"``, ``"e.Ang"``, ``"Bohr3"``, ``"a.u."`` or ``"10^-30 C m"``.
    like
        A unit of what it should measure.
    """
    if text.strip().lower() in _ATOMIC:
        d = parse_unit(like).dimension
        powers = {"e": d.charge, "bohr": d.length, "hartree": d.energy}
        return "*".join(f"{unit}^{n}" if n != 1 else unit for unit, n in powers.items() if n)
    name = text.strip().lower()
    for spelling, usual in _SPELLINGS:
        name = re.sub(spelling, usual, name)
    for unit in (name.strip().replace(" ", "*"), text.strip()):
        try:
            conversion_factor(unit, like)
        except UnitError:
            continue
        return unit
    return None


def unit_in_name(name: str, like: str) -> tuple[str, str | None]:
    """Return a name without the unit at its end, and the unit, or None.

    Parameters
    ----------
    name
        A key or title of a column, such as ``"dipole_debye"``, ``"mu_D_x"``, ``"alpha_bohr3"`` or
        ``"energy_kcal_mol"``.
    like
        A unit of what it measures.
    """
    component = match.group() if (match := _COMPONENT.search(name)) else ""
    words = name.removesuffix(component).split("_")
    for first in range(1, len(words)):
        tail = words[first:]
        if tail[0].lower() == "in":
            tail = tail[1:]
        if len(tail) == 1 and len(tail[0]) == 1 and tail[0] not in "DJVK":
            continue  # A, E and a are names more often than units
        said = "/".join(tail).removesuffix("/per/atom").replace("/per/", "/")
        for text in (said, said.replace("/", " "), "_".join(tail), said.replace("/", "^")):
            if tail and (unit := known_spelling(text, like)) is not None:
                return "_".join(words[:first]) + component, unit
    return name, None


_VOLUME = _LENGTH**3
_POLARIZABILITY = _DIPOLE**2 * _ENERGY**-1
#: Common units by what they measure.
_COMMON = {
    _ENERGY: "eV, meV, hartree, Ry, kcal/mol, kJ/mol",
    _LENGTH: "Å, bohr, nm",
    _ENERGY * _LENGTH**-1: "eV/Å, meV/Å, hartree/bohr, Ry/bohr, kcal/mol/Å, kJ/mol/nm",
    _ENERGY * _LENGTH**-3: "eV/Å^3, GPa, bar, hartree/bohr^3",
    _DIPOLE: "e*Å, D, e*bohr, 10^-30 C*m",
    _POLARIZABILITY: "e^2*Å^2/eV, Å^3, bohr^3",
}


def common_units(unit: str) -> str:
    """Return common units, as a text, of what a unit measures; at least the unit itself."""
    return _COMMON.get(parse_unit(unit).dimension, unit)


def conversion_factor(source: str, target: str) -> float:
    """Return the factor that takes a value in `source` to a value in `target`.

    A polarizability may be given as a volume (``"Å^3"``, ``"bohr^3"``), as
    chemists write it; it is then multiplied by 4πε₀.

    Raises
    ------
    UnitError
        One of the units is unknown, or the two measure different things.
    """
    a, b = parse_unit(source), parse_unit(target)
    factor = a.factor / b.factor
    if a.dimension == b.dimension:
        return factor
    if (a.dimension, b.dimension) == (_VOLUME, _POLARIZABILITY):
        return factor * POLARIZABILITY_VOLUME
    if (a.dimension, b.dimension) == (_POLARIZABILITY, _VOLUME):
        return factor / POLARIZABILITY_VOLUME
    raise UnitError(f"cannot convert {source!r} to {target!r}: they measure different quantities")


def atomic_unit(unit: str) -> float:
    """Return 1 atomic unit (hartree, bohr, e, electron mass) of what `unit` measures, in `unit`.

    Raises
    ------
    UnitError
        The unit is unknown.
    """
    parsed = parse_unit(unit)
    hartree, bohr = float(_ase.Hartree), float(_ase.Bohr)
    d = parsed.dimension
    exponents = {
        hartree: d.energy,
        bohr: d.length,
        HBAR / hartree: d.time,
        HBAR**2 / (hartree * bohr**2): d.mass,
    }
    above = math.prod(size**n for size, n in exponents.items() if n > 0)
    return above / math.prod(size**-n for size, n in exponents.items() if n < 0) / parsed.factor


def convert(value: Any, source: str, target: str) -> Any:
    """Return `value` (a number, array or tensor), given in `source`, expressed in `target`."""
    return value * conversion_factor(source, target)


def cell_polarizability(permittivity: Any, volume: Any) -> Any:
    """Return the polarizability V(ε∞ − 1)/4π [e²Å²/eV] of a cell.

    It is the dipole moment of the cell per macroscopic field: ε∞ − 1 = P/ε₀E.

    Parameters
    ----------
    permittivity
        ε∞ relative to that of the vacuum; a number, or tensors ``[..., 3, 3]``.
    volume
        V [Å³]; a number, or ``[...]``.
    """
    unit, scale = _isotropic(permittivity, volume)
    return (permittivity - unit) * scale


def cell_permittivity(polarizability: Any, volume: Any) -> Any:
    """Return ε∞ of a cell; the inverse of :func:`cell_polarizability`."""
    unit, scale = _isotropic(polarizability, volume)
    return unit + polarizability / scale


def _isotropic(values: Any, volume: Any) -> tuple[Any, Any]:
    """Return the unit of numbers or tensors, and the polarizability of ε∞ = 2."""
    scale = np.asarray(volume) * (POLARIZABILITY_VOLUME / (4.0 * math.pi))
    if np.ndim(values) < 2:
        return 1.0, scale
    return np.eye(3), scale[..., None, None]


# --- spectroscopy ---------------------------------------------------------------


def angular_frequency_to_wavenumber(omega: float) -> float:
    """Convert an angular frequency [1/ASE time] to a wavenumber [cm⁻¹]: ν̃ = ω/2πc."""
    return omega * FEMTOSECOND / (2.0 * math.pi * SPEED_OF_LIGHT_CM_PER_FS)


#: 1 eV as a wavenumber [cm⁻¹].
WAVENUMBER_PER_EV: float = angular_frequency_to_wavenumber(1.0) / HBAR


def wavenumber_to_angular_frequency(wavenumber: float) -> float:
    """Convert a wavenumber [cm⁻¹] to an angular frequency [1/ASE time]."""
    return wavenumber * 2.0 * math.pi * SPEED_OF_LIGHT_CM_PER_FS / FEMTOSECOND
