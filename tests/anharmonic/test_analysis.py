# SPDX-License-Identifier: MIT
"""Levels and intensities of molecules beside exact ones."""

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eqcalc.anharmonic import (
    AnharmonicSpectrum,
    Treatment,
    anharmonic_spectrum,
    harmonic_fundamentals,
    one_mode_fundamentals,
)
from eqcalc.normal_modes import NormalModes, NotAMinimumError
from eqcalc.spectra.double_harmonic import HarmonicSpectrum
from eqcalc.spectra.provenance import provenance_facts
from eqcalc.units import WAVENUMBER_PER_EV
from tests.anharmonic.surfaces import CarbonDioxide, Molecule, Water
from tests.errors import refused

#: Vibrational levels of the q-TIP4P/F monomer without rotation from a discrete variable
#: representation in Radau coordinates, cm⁻¹, and its zero-point energy.
EXACT = {"ν1": 1561.66, "2ν1": 3113.31, "ν2": 3709.43, "ν3": 3766.79}
EXACT_ZERO_POINT = 4609.87
#: Infrared intensities of the same levels from the exact wave functions, km/mol.
INTENSITY = {"ν1": 223.18, "2ν1": 4.68, "ν2": 135.01, "ν3": 243.42}
QUICK = Treatment(coupling=3, quanta=6, nodes=(11, 8, 6))


def lines(spectrum):
    """Return the position and the infrared intensity of each transition by its name."""
    return {
        str(found[0]): (nu, intensity)
        for nu, intensity, found in zip(
            spectrum.wavenumber, spectrum.infrared_intensity, spectrum.assignment, strict=True
        )
    }


def lines_of(spectrum):
    return [str(found[0]) for found in spectrum.assignment]


@pytest.fixture(scope="module")
def water():
    return anharmonic_spectrum(Water().modes(), Water())


def test_water_has_its_exact_levels_and_intensities(water):
    found = lines(water)
    assert water.zero_point_energy == pytest.approx(EXACT_ZERO_POINT, abs=0.02)
    for name, nu in EXACT.items():
        assert found[name][0] == pytest.approx(nu, abs=0.02)
        assert found[name][1] == pytest.approx(INTENSITY[name], rel=5e-3)


def test_terms_of_three_modes_matter_for_water(water):
    """With pairs alone the stretches are 9 and 13 cm⁻¹ off; there are no terms of four modes."""
    pairs = anharmonic_spectrum(
        Water().modes(), Water(), replace(Treatment.for_modes(3), coupling=2)
    )
    assert "coupling" not in pairs.errors
    assert "coupling" not in water.errors
    change = np.abs(pairs.fundamentals() - water.fundamentals())
    assert change.max() > 5.0


def test_the_share_of_terms_of_three_modes_is_reported():
    treatment = Treatment(coupling=3, quanta=5, nodes=(11, 7, 7))
    molecule = CarbonDioxide()
    whole, pairs = (
        anharmonic_spectrum(molecule.modes(), molecule, replace(treatment, coupling=coupling))
        for coupling in (3, 2)
    )
    change = np.abs(pairs.fundamentals() - whole.fundamentals())
    found = whole.errors["coupling"][whole.fundamental_transitions()]
    np.testing.assert_allclose(found, change, atol=0.1)
    assert change.max() > 1.0


def test_orientation_and_order_of_atoms_do_not_matter():
    rotation = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]).as_matrix()
    order = [2, 0, 1]

    class Turned(Water):
        numbers = Water.numbers[order]
        equilibrium = Water.equilibrium[order] @ torch.from_numpy(rotation)
        masses = Water.masses[order]

        def energy(self, r):
            return super().energy(r[:, np.argsort(order)])

        def dipole(self, r):
            return super().dipole(r[:, np.argsort(order)])

    water, turned = (
        anharmonic_spectrum(molecule.modes(), molecule, QUICK) for molecule in (Water(), Turned())
    )
    np.testing.assert_allclose(turned.wavenumber, water.wavenumber, atol=1e-4)
    np.testing.assert_allclose(turned.infrared_intensity, water.infrared_intensity, rtol=1e-5)


def test_heavy_water_obeys_the_isotope_rules(water):
    """Anharmonicities scale with 1/mass, so ω_D − ν_D is about half of ω_H − ν_H."""
    masses = [15.9949146221, 2.0141017780, 2.0141017780]
    heavy = anharmonic_spectrum(Water().modes(masses), Water(), QUICK)
    shift = water.harmonic - water.fundamentals()
    heavy_shift = heavy.harmonic - heavy.fundamentals()
    np.testing.assert_allclose(
        heavy_shift / shift, (heavy.harmonic / water.harmonic) ** 2, rtol=0.1
    )


class CarbonMonoxide(Molecule):
    """A Morse bond."""

    numbers = torch.tensor([6, 8])
    masses = np.array([12.0, 15.9949146221])
    equilibrium = torch.tensor([[0, 0, 0], [0, 0, 1.128]], dtype=torch.float64)
    depth = 11.2

    def energy(self, r):
        length = (r[:, 1] - r[:, 0]).norm(dim=-1)
        return self.depth * (1.0 - torch.exp(-2.3 * (length - 1.128))) ** 2

    def dipole(self, r):
        return 0.3 * (r[:, 1] - r[:, 0])


def test_a_bond_alone_has_its_exact_fundamental():
    bond = CarbonMonoxide()
    modes = bond.modes()
    (omega,) = modes.wavenumber
    exact = omega - 0.5 * omega**2 / (bond.depth * WAVENUMBER_PER_EV)
    np.testing.assert_allclose(one_mode_fundamentals(modes, bond), exact, atol=1e-3)
    spectrum = anharmonic_spectrum(modes, bond)
    assert spectrum.fundamentals() == pytest.approx([exact], abs=1e-3)
    # oscillators of another wavenumber span the same states
    other = replace(modes, eigenvalues=1.02 * modes.eigenvalues)
    np.testing.assert_allclose(one_mode_fundamentals(other, bond), exact, atol=0.05)


def test_the_stiffest_fundamental_is_below_the_end():
    stiff = CarbonMonoxide()
    modes = stiff.modes(np.array([1.0078, 1.0078]))
    assert modes.wavenumber > 4500.0
    assert len(anharmonic_spectrum(modes, stiff)) == 1
    treatment = Treatment.for_modes(1, upper=4000.0)
    assert len(anharmonic_spectrum(modes, stiff, treatment)) == 0


def test_a_hole_of_a_model_is_refused():
    class Hole(CarbonMonoxide):
        def energy(self, r):
            length = (r[:, 1] - r[:, 0]).norm(dim=-1)
            return torch.where(length < 1.0, -100.0, super().energy(r))

    with refused(key="molecule"):
        anharmonic_spectrum(CarbonMonoxide().modes(), Hole())


@pytest.mark.parametrize(("n_modes", "quanta"), [(3, 12), (9, 4), (15, 3), (18, 2), (30, 2)])
def test_a_small_basis_has_two_quanta_at_least(n_modes, quanta):
    found = Treatment.for_modes(n_modes, coupling=2, configurations=1000)
    assert (found.coupling, found.quanta) == (2, quanta)


def test_a_linear_molecule_of_three_atoms_has_all_terms_with_those_of_four_modes():
    molecule, counted = CarbonDioxide(), []

    def evaluate(positions, quantities):
        counted.append(len(positions))
        return molecule(positions, quantities)

    evaluate.quantities, evaluate.provenance = molecule.quantities, molecule.provenance
    evaluate.numbers = molecule.numbers
    treatment = Treatment(4, 8, (13, 11, 9))
    found = anharmonic_spectrum(molecule.modes(), evaluate, treatment)
    assert treatment.points(4) == sum(counted) - 3  # and the minimum
    assert "coupling" not in found.errors
    assert found.errors["nodes"].max() < 0.5
    fewer = anharmonic_spectrum(molecule.modes(), evaluate, replace(treatment, coupling=3))
    change = np.abs(found.wavenumber[:3] - fewer.wavenumber[:3])
    assert (change < fewer.errors["coupling"][:3]).all()


def test_all_terms_of_molecules_of_four_modes_are_taken():
    assert [Treatment.for_modes(n).coupling for n in (1, 3, 4, 6, 40)] == [3, 3, 4, 3, 2]
    assert Treatment.for_modes(4, points=100).coupling == 2
    assert Treatment.for_modes(40, points=10**12).coupling == 3


def test_bending_levels_of_a_linear_molecule_are_degenerate():
    treatment = Treatment(coupling=3, quanta=7, nodes=(11, 8, 8))
    spectrum = anharmonic_spectrum(CarbonDioxide().modes(), CarbonDioxide(), treatment)
    assert len(spectrum.harmonic) == 4
    bend = spectrum.fundamentals()[:2]
    assert bend[0] == pytest.approx(bend[1], abs=1e-2)
    intensity = {name: value[1] for name, value in lines(spectrum).items()}
    assert intensity["ν1"] == pytest.approx(intensity["ν2"], rel=1e-3)
    # the symmetric stretch and the overtone of the bend have no dipole moment
    strongest = intensity["ν4"]
    for nu, strength in zip(spectrum.wavenumber, spectrum.infrared_intensity, strict=True):
        if 1000.0 < nu < 1600.0:
            assert strength < 1e-6 * strongest


def test_fundamentals_of_harmonic_oscillators():
    turn = Rotation.from_rotvec([0.3, -1.0, 0.7]).as_matrix()
    molecule = CarbonDioxide()
    plain = molecule.modes()
    bent = NormalModes(
        positions=plain.positions @ turn.T,
        masses=plain.masses,
        eigenvalues=plain.eigenvalues,
        vectors=plain.vectors @ turn.T,
        rigid=plain.rigid @ turn.T,
        residual=plain.residual,
    )
    scale = np.array([0.9, 0.9, 0.98, 0.5])
    tensor = np.diag([0.1, 0.1, 0.5])[None] * np.ones(4)[:, None, None]
    modes = HarmonicSpectrum(
        **vars(bent),
        dipole_derivative=np.eye(4)[:, :3] @ turn.T,
        polarizability_derivative=turn @ tensor @ turn.T,
    )
    found = harmonic_fundamentals(modes, molecule, scale, temperature=600.0)
    # the last mode is moved below the third one
    np.testing.assert_allclose(found.wavenumber, (scale * plain.wavenumber)[[0, 1, 3, 2]])
    assert lines_of(found) == ["ν1", "ν2", "ν4", "ν3"]
    np.testing.assert_allclose(found.fundamentals(), scale * plain.wavenumber)
    np.testing.assert_allclose(found.infrared_intensity, modes.infrared_intensity[[0, 1, 3, 2]])
    # all levels of an oscillator: Σ_v p_v (v + 1) = 1/(1 − exp(−ħω/kT))
    more = 1.0 / (1.0 - np.exp(-1.438777 * found.wavenumber / 600.0))
    np.testing.assert_allclose(found.raman_activity, modes.raman_activity * more, rtol=1e-5)
    # the axis of the molecule is the first principal axis
    np.testing.assert_allclose(np.abs(found.dipole_derivative[3]), [1.0, 0.0, 0.0], atol=1e-9)
    cold = harmonic_fundamentals(modes, molecule, np.ones(4))
    np.testing.assert_allclose(cold.raman_activity, modes.raman_activity)
    assert cold.provenance["method"] == "harmonic"


def test_modes_at_rest_are_left_out():
    spectrum = anharmonic_spectrum(Water().modes(), Water(), at_rest=[0])
    assert {k for found in spectrum.assignment for k in found[0].quanta} == {1, 2}
    assert np.isnan(spectrum.fundamentals()[0])


def test_hot_bands_start_from_excited_states():
    """At 1,500 K a fifth of the molecules bend: 2ν1 ← ν1 is half as strong as ν1 ← 0 was."""
    cold = anharmonic_spectrum(Water().modes(), Water(), QUICK)
    hot = anharmonic_spectrum(Water().modes(), Water(), QUICK, temperature=1500.0)
    names = [(str(f[0]), str(i[0])) for f, i in zip(hot.assignment, hot.initial, strict=True)]
    place = names.index(("2ν1", "ν1"))
    gap = cold.wavenumber[lines_of(cold).index("2ν1")] - cold.wavenumber[lines_of(cold).index("ν1")]
    assert hot.wavenumber[place] == pytest.approx(gap, abs=0.01)
    first = names.index(("ν1", "0"))
    population = np.exp(-1.438777 * hot.wavenumber[first] / 1500.0)
    ratio = hot.infrared_intensity[place] / hot.infrared_intensity[first]
    # a harmonic mode has twice the strength from its first excited state
    assert ratio == pytest.approx(2.0 * population * gap / hot.wavenumber[first], rel=0.1)
    assert "2ν1 (96 %) ← ν1" in hot.table()


def test_bands_of_a_gas_keep_their_area(water):
    gas = water.gas_infrared(300.0, fwhm=4.0, shape="gaussian")
    assert gas.integrate(1100.0, 2100.0).value == pytest.approx(INTENSITY["ν1"], rel=0.02)
    # P and R branches on either side of the bending vibration, whose dipole moment is along b
    assert gas.integrate(1300.0, 1550.0).value > 0.3 * INTENSITY["ν1"]
    assert gas.integrate(1570.0, 1900.0).value > 0.3 * INTENSITY["ν1"]
    assert gas.provenance["rotational_temperature_K"] == 300.0


def test_a_saddle_point_is_refused():
    modes = Water().modes()
    saddle = NormalModes(**{**vars(modes), "eigenvalues": modes.eigenvalues * [-1.0, 1.0, 1.0]})
    with pytest.raises(NotAMinimumError):
        anharmonic_spectrum(saddle, Water())


def test_nothing_left_to_treat_is_refused():
    with refused(key="molecule"):
        anharmonic_spectrum(Water().modes(), Water(), at_rest=[0, 1, 2])


def test_nodes_are_checked():
    with refused(key="nodes", value=(7, 9, 5)):
        Treatment(coupling=2, quanta=3, nodes=(7, 9, 5))


def test_the_method_is_that_of_the_nuclei():
    class Reference(Water):
        provenance: ClassVar[dict] = {"method": "GFN2-xTB", "level_of_theory": "GFN2-xTB"}

    found = anharmonic_spectrum(Water().modes(), Reference(), QUICK).provenance
    assert (found["method"], found["level_of_theory"]) == ("VCI", "GFN2-xTB")
    facts = provenance_facts({**found, "spectrum": "anharmonic"})
    assert (facts["molecule"], facts["level of theory"]) == ("H2O", "GFN2-xTB")


def test_tables_and_records(water):
    table = water.table(0.01)
    assert "ν1 (100 %)" in table
    record = water.to_dict()
    assert len(record["wavenumber_cm-1"]) == len(water) == len(record["assignment"])
    again = AnharmonicSpectrum.from_dict(json.loads(json.dumps(record)))
    assert again.table(0.01) == table
    assert json.dumps(again.to_dict()) == json.dumps(record)
    assert water.infrared(2.0).integrate(1400.0, 1700.0).value == pytest.approx(223.18, rel=0.01)
    # what is unknown is valid JSON
    unknown = replace(water, errors={"basis": np.full(len(water), np.nan)})
    text = json.dumps(unknown.to_dict(), allow_nan=False)
    assert np.isnan(AnharmonicSpectrum.from_dict(json.loads(text)).errors["basis"]).all()
    assert "nan" not in unknown.table()


def test_hot_bands_are_shown_by_their_strength_alone():
    hot = anharmonic_spectrum(CarbonDioxide().modes(), CarbonDioxide(), QUICK, temperature=700.0)
    weak = hot.infrared_intensity < 0.01 * hot.infrared_intensity.max()
    lower = np.array([bool(start[0].quanta) for start in hot.initial])
    upper = np.array([sum(found[0].quanta.values()) for found in hot.assignment])
    assert (weak & lower & (upper == 1)).any()
    assert not hot.shown(0.01)[weak & lower].any()
