# SPDX-License-Identifier: MIT
"""Torsions and inversions as parts of a spectrum."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.io import read

from eqcalc.anharmonic import (
    AnharmonicSpectrum,
    LargeAmplitude,
    separated_motions,
    with_motions,
)
from eqcalc.anharmonic.internal_rotation import rotor_states
from eqcalc.calculator import EqCalculator
from eqcalc.files import model_file
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.normal_modes import NormalModes
from eqcalc.runtime import evaluator_for


def nothing(harmonic):
    """Return a spectrum without transitions."""
    return AnharmonicSpectrum(
        harmonic=harmonic,
        wavenumber=np.zeros(0),
        dipole_derivative=np.zeros((0, 3)),
        polarizability_derivative=np.zeros((0, 3, 3)),
        assignment=[],
        initial=[],
        rotational_constants=np.ones(3),
        zero_point_energy=0.0,
        errors={"basis": np.zeros(0), "coupling": np.zeros(0)},
    )


def separated(name, atoms):
    """Return modes, motions, an evaluator, and a spectrum of nothing else."""
    model = load_model(model_file(name), dtype=torch.float64)
    atoms = relax(model, atoms)
    modes = harmonic_spectrum(model, atoms)
    atoms.calc = EqCalculator(model)
    evaluator = evaluator_for(model, torch.as_tensor(atoms.numbers))
    return modes, separated_motions(atoms, modes), evaluator, nothing(modes.wavenumber)


@pytest.mark.slow
def test_torsions_of_ethanol():
    start = read(Path(__file__).parents[2] / "workflows/ethanol/ethanol.xyz")
    modes, (at_rest, motions), evaluator, empty = separated("ethanol", start)
    found = with_motions(empty, at_rest, motions, modes, evaluator)
    methyl, hydroxyl = found.fundamental_transitions()[at_rest]
    # measured: 243 and 203 cm⁻¹ (Durig, Larsen, J. Mol. Struct. 238, 195 (1990))
    assert found.wavenumber[methyl] == pytest.approx(243.0, abs=15.0)
    assert found.wavenumber[hydroxyl] == pytest.approx(203.0, abs=15.0)
    # the hydroxyl group turns its dipole, the methyl group has none
    assert found.infrared_intensity[hydroxyl] == pytest.approx(95.0, rel=0.2)
    assert found.infrared_intensity[methyl] < 0.1 * found.infrared_intensity[hydroxyl]
    assert (np.diff(found.wavenumber) >= 0.0).all()
    assert np.isnan(found.errors["coupling"]).all()
    warm = with_motions(empty, at_rest, motions, modes, evaluator, 300.0)
    hot = [t for t, start in enumerate(warm.initial) if start[0].quanta]
    assert hot
    assert np.isin(found.wavenumber[[methyl, hydroxyl]], warm.wavenumber).all()
    # what leaves the ground state is less, by its population
    again = warm.fundamental_transitions()[at_rest[1]]
    assert warm.infrared_intensity[again] < found.infrared_intensity[hydroxyl]


@pytest.mark.slow
def test_the_inversion_of_ammonia_splits_its_lines():
    modes, (at_rest, (inversion,)), evaluator, empty = separated("hcno", molecule("NH3"))
    assert at_rest == [0]
    lowest, partner, first, second = inversion.levels[:4]
    # measured: 0.8, 932 and 968 cm⁻¹ over a barrier of about 2000 cm⁻¹; heavier to invert here
    assert 0.0 < partner - lowest < second - first < 0.1 * first
    assert 1500.0 < inversion.barrier < 4000.0
    # the two wells are one molecule: what starts in one is half of either parity
    assert inversion.states.inside[:2] == pytest.approx([0.5, 0.5], abs=0.05)
    warm = with_motions(empty, at_rest, (inversion,), modes, evaluator, 300.0)
    strong = np.argsort(-warm.infrared_intensity)[:2]
    expected = [first - partner, second - lowest]  # parity changes
    assert np.sort(warm.wavenumber[strong]) == pytest.approx(np.sort(expected), abs=1e-6)
    assert {warm.state(t) for t in strong.tolist()} == {"ν1"}  # no weights of configurations
    # both together have the intensity of the harmonic mode, but for anharmonicity
    part = warm.infrared_intensity[strong].sum() / modes.infrared_intensity[0]
    assert 0.7 < part < 1.1


def test_two_equal_halves_that_turn_have_the_dipole_moment_of_the_bisector():
    """Hydrogen peroxide with charges: μ = 2qd cos(τ/2) from cis to cis, whatever frame it is in."""
    start, arm, charge = np.radians(112.0), 0.95, 0.4
    angle = 2.0 * np.pi * np.arange(36) / 36
    masses = np.array([15.9949, 15.9949, 1.0078, 1.0078])

    def structure(tau):
        ends = [[arm, 0.0, -0.8], [arm * np.cos(tau), arm * np.sin(tau), 0.8]]
        return np.array([[0.0, 0.0, -0.7], [0.0, 0.0, 0.7], *ends])

    positions = np.array([structure(start + phi) for phi in angle])
    tau = start + angle
    energy = 750.0 * (1.0 + np.cos(tau)) + 500.0 * (np.cos(2.0 * tau) - np.cos(2.0 * start))
    energy -= energy.min()
    states = rotor_states(energy, np.full(36, 40.0))
    turn = np.zeros((4, 3))
    turn[2:, 1] = -1.0, 1.0
    motion = LargeAmplitude(
        *("rotation", turn.ravel(), angle, energy, np.full(36, 40.0), positions, states),
        periodic=True,
    )
    modes = NormalModes(
        positions=positions[0],
        masses=masses,
        eigenvalues=np.ones(1),
        vectors=turn[None],
        rigid=np.zeros((6, 4, 3)),
        residual=np.zeros(6),
    )

    def evaluator(x, quantities):
        charges = torch.tensor([-charge, -charge, charge, charge], dtype=torch.float64)
        dipole = torch.einsum("i,pia->pa", charges, x)
        zero = torch.zeros((len(x), 3, 3), dtype=torch.float64)
        return {"dipole": dipole, "polarizability": zero}

    found = with_motions(nothing(np.ones(1)), [0], (motion,), modes, evaluator)
    # states of this potential by its own grid
    bisector = 2.0 * charge * arm * np.cos(0.5 * np.mod(start + states.coordinate, 2.0 * np.pi))
    lowest = states.functions[:, states.lowest]
    moments = states.functions.T @ (bisector * lowest)
    above = states.levels - states.levels[states.lowest]
    strength = above * moments**2
    strength[above < 25.0] = 0.0
    total = found.infrared_intensity.sum()
    for nu, intensity in zip(found.wavenumber, found.infrared_intensity, strict=True):
        exact = strength[np.argmin(np.abs(above - nu))] / strength.sum()
        assert intensity / total == pytest.approx(exact, abs=0.01)
    assert found.wavenumber.max() < 1500.0
