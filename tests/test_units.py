# SPDX-License-Identifier: MIT
"""Constants against literal values, and unit expressions."""

import math

import ase.units
import numpy as np
import pytest
from scipy.constants import elementary_charge, epsilon_0

from eqcalc import units

# literal values: CODATA through the working of the formulas by hand
SPECTRAL_PREFACTOR = 72.1134900  # 2c/k_B in amu, Å, fs, K per cm⁻¹
KM_PER_MOL_PER_E2_PER_AMU = 974.880110
SECOND_RADIATION_CONSTANT = 1.43877688  # cm K
DEBYE_PER_E_ANGSTROM = 4.80320471
KM_PER_MOL_PER_DEBYE2_PER_ANGSTROM2_PER_AMU = 42.2560615


def test_constants_have_their_literal_values():
    assert pytest.approx(SPECTRAL_PREFACTOR, rel=1e-8) == units.SPECTRAL_PREFACTOR
    assert pytest.approx(KM_PER_MOL_PER_E2_PER_AMU, rel=1e-8) == (
        units.INTENSITY_PER_SQUARED_CHARGE_PER_MASS
    )
    assert pytest.approx(SECOND_RADIATION_CONSTANT, rel=1e-8) == units.SECOND_RADIATION_CONSTANT
    assert pytest.approx(1.0 / units.BOLTZMANN * 8.617333e-5, rel=1e-6) == 1.0


def test_infrared_intensity_of_ase_is_ours_with_more_digits():
    debye = units.conversion_factor("D", "e*Å")
    ours = units.INTENSITY_PER_SQUARED_CHARGE_PER_MASS * debye**2
    assert ours == pytest.approx(KM_PER_MOL_PER_DEBYE2_PER_ANGSTROM2_PER_AMU, rel=1e-7)


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("kcal/mol", "eV", 0.0433641039),
        ("kcal/mol/Å", "eV/Å", 0.0433641039),
        ("Ha/bohr", "eV/Å", 51.42206709),
        ("e*Å", "D", DEBYE_PER_E_ANGSTROM),
        ("e a0", "D", 2.54174647),
        ("e²Å²/eV", "bohr^3", 97.17362355),
        ("Å³", "bohr³", 6.74833450),
        ("bohr^3", "Å^3", 0.148184711),
        ("e^2*Å^2*eV^-1", "Å^3", 14.39964535),
        ("ps", "fs", 1000.0),
        ("kJ/mol", "kcal/mol", 1.0 / 4.184),
        ("meV/Ang", "eV/A", 1e-3),
    ],
)
def test_conversion(source, target, factor):
    assert units.conversion_factor(source, target) == pytest.approx(factor, rel=2e-8)
    assert units.conversion_factor(target, source) == pytest.approx(1.0 / factor, rel=2e-8)


@pytest.mark.parametrize(
    "text", ["", " ", "eV/", "furlong", "eV^Å", "eV//Å", None, "2 eV", "kcal", "kJ/Å"]
)
def test_nonsense_is_refused(text):
    with pytest.raises(units.UnitError):
        units.parse_unit(text)


@pytest.mark.parametrize(("source", "target"), [("eV", "eV/Å"), ("D", "bohr^3"), ("fs", "K")])
def test_different_dimensions_are_refused(source, target):
    with pytest.raises(units.UnitError, match="different quantities"):
        units.conversion_factor(source, target)


def test_wavenumber_of_a_known_frequency():
    # 1 cm⁻¹ is a period of 33.35641 ps
    omega = units.wavenumber_to_angular_frequency(1.0)
    period = 2.0 * 3.141592653589793 / omega / ase.units.fs
    assert period == pytest.approx(33356.40952, rel=1e-9)
    assert units.angular_frequency_to_wavenumber(omega) == pytest.approx(1.0, rel=1e-14)


def test_hbar_is_that_of_ase():
    invcm = units.HBAR * units.wavenumber_to_angular_frequency(1.0)
    assert invcm == pytest.approx(ase.units.invcm, rel=1e-7)


def test_permittivity_and_polarizability_of_a_cell():
    """ε∞ = 1 + 4πα/V in the units of a volume; of tensors each component of ε∞ − 1."""
    alpha = units.cell_polarizability(3.5, 40.0 * math.pi)
    assert alpha == pytest.approx(units.convert(25.0, "Å^3", "e^2*Å^2/eV"), rel=1e-12)
    tensors = np.eye(3) + np.arange(18.0).reshape(2, 3, 3)
    volumes = np.array([10.0, 20.0])
    found = units.cell_polarizability(tensors, volumes)
    one = units.cell_polarizability(1.0 + tensors[1, 0, 1], 20.0)
    assert found[1, 0, 1] == pytest.approx(one, rel=1e-12)
    assert found[0, 0, 0] == 0.0
    np.testing.assert_allclose(units.cell_permittivity(found, volumes), tensors, rtol=1e-14)
    # P = ε₀(ε∞ − 1)E in SI, of a cube of 1 nm³ in 1 V/Å
    field, edge = 1.0, 10.0
    coulomb_metre = epsilon_0 * 2.0 * (field * 1e10) * (edge * 1e-10) ** 3
    found = units.cell_polarizability(3.0, edge**3) * field
    assert found == pytest.approx(coulomb_metre / (elementary_charge * 1e-10), rel=1e-7)


@pytest.mark.parametrize(
    ("name", "like", "rest", "factor"),
    [
        ("dipole_debye", "e*Å", "dipole", 0.20819433),
        ("mu_D_x", "e*Å", "mu_x", 0.20819433),
        ("dipole_au", "e*Å", "dipole", 0.52917721),
        ("dipole_C_m", "e*Å", "dipole", 6.2415091e28),
        ("alpha_bohr3", "Å^3", "alpha", 0.14818471),
        ("alpha_xx_au", "e^2*Å^2/eV", "alpha_xx", 0.01029086),
        ("energy_kcal_mol", "eV", "energy", 0.0433641),
        ("energy_in_Ha", "eV", "energy", 27.2113862),
        ("energy_eV_per_atom", "eV", "energy", 1.0),
        ("forces_ev_A", "eV/Å", "forces", 1.0),
        ("forces_hartree_bohr", "eV/Å", "forces", 51.4220675),
    ],
)
def test_units_at_the_end_of_names(name, like, rest, factor):
    found, unit = units.unit_in_name(name, like)
    assert found == rest
    assert units.conversion_factor(unit, like) == pytest.approx(factor, rel=1e-6)


@pytest.mark.parametrize("name", ["dipole", "dipole_vector", "energy_pbe", "mu_x", "E_a", "d_d"])
def test_names_without_a_unit(name):
    for like in ("e*Å", "eV", "Å^3", "eV/Å", "Å"):
        assert units.unit_in_name(name, like) == (name, None)


@pytest.mark.parametrize(
    ("text", "debye"),
    [("C m", 1e30), ("10^-30 C m", 1.0), ("1e-30 C·m", 1.0), ("×10⁻³⁰ C·m", 1.0)],
)
def test_dipole_moments_in_si_units(text, debye):
    unit = units.known_spelling(text, "e*Å")
    assert units.conversion_factor(unit, "D") == pytest.approx(debye / 3.33564095, rel=1e-7)


def test_common_units_measure_the_same():
    for unit in ("eV", "Å", "eV/Å", "eV/Å^3", "e*Å", "e^2*Å^2/eV"):
        for text in units.common_units(unit).split(", "):
            assert units.conversion_factor(text, unit) > 0.0
    assert units.common_units("amu") == "amu"
