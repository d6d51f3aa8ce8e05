# SPDX-License-Identifier: MIT
"""Rigid motions, normal modes and quantum displacements of small molecules."""

import ase
import numpy as np
import pytest
import torch
from ase.build import molecule
from ase.vibrations import Vibrations
from scipy.spatial.transform import Rotation

from eqcalc.labelling import GFN2, MethodCalculator, relax
from eqcalc.normal_modes import (
    LINEAR_IN_MOTION,
    NormalModes,
    NotAMinimumError,
    inverse_inertia,
    is_linear,
    isotope_shifts,
    mode_overlap,
    principal_axes,
    quantum_variance,
    require_minimum,
    rigid_motions,
    ring_polymer_displacements,
    wigner_displacements,
)
from eqcalc.units import BOLTZMANN, HBAR, conversion_factor, wavenumber_to_angular_frequency
from tests.errors import refused
from tests.spectra import toy_water

LINEAR = ("CO2", "HCN", "C2H2")
MDYN_PER_ANGSTROM = conversion_factor("J", "eV") * 1e-18  # eV/Å²
ORIENTATIONS = Rotation.random(4, random_state=3).as_matrix()

# --- molecules ---------------------------------------------------------------------------


def finite_differences(atoms, method, step=0.005):
    """Hessian [eV/Å²] by central differences of the forces."""
    hessian = np.empty((3 * len(atoms), 3 * len(atoms)))
    moved = atoms.copy()
    for i in range(len(hessian)):
        forces = []
        for sign in (1.0, -1.0):
            moved.positions = atoms.positions
            moved.positions[i // 3, i % 3] += sign * step
            forces.append(method.label(moved, ("forces",))["forces"].ravel())
        hessian[i] = (forces[1] - forces[0]) / (2.0 * step)
    return 0.5 * (hessian + hessian.T)


def gfn2_modes(atoms):
    hessian = finite_differences(atoms, GFN2())
    return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian)


#: Valence force constants k₁, k₁₂ and k_δ/l² of CO2 in mdyn/Å, and its bond length in Å, as in
#: Herzberg, Infrared and Raman Spectra (1945), chapter II.
STRETCH, COUPLING, BEND, LENGTH = 15.5, 1.3, 0.57, 1.162
CO2 = np.array([[0.0, 0.0, -LENGTH], [0.0, 0.0, 0.0], [0.0, 0.0, LENGTH]])
CO2_MASSES = np.array([15.9949, 12.0, 15.9949])


def carbon_dioxide_energy(x, angle=0.0):
    """Valence force field of CO2 [eV] at x [3, 3]; `angle` is the equilibrium bend in radians."""
    a, b = x[0] - x[1], x[2] - x[1]
    first, second = torch.linalg.norm(a), torch.linalg.norm(b)
    # 2(1 + cos θ) is the square of the bend, and smooth where the molecule is linear
    square = 2.0 * (1.0 + a @ b / (first * second))
    bend = square if angle == 0.0 else (torch.sqrt(square) - 2.0 * np.sin(angle / 2.0)) ** 2
    d, e = first - LENGTH, second - LENGTH
    energy = STRETCH * (d**2 + e**2) / 2 + COUPLING * d * e + BEND * LENGTH**2 * bend / 2
    return energy * MDYN_PER_ANGSTROM


def carbon_dioxide(positions, angle=0.0):
    x = torch.as_tensor(np.array(positions))
    hessian = torch.func.hessian(lambda y: carbon_dioxide_energy(y, angle))(x)
    return hessian.reshape(9, 9).numpy()


def bent(name, degrees):
    """The molecule with its last atom turned about the neighbour it is bound to."""
    atoms = molecule(name)
    order = np.argsort(atoms.positions[:, 2])
    last, pivot = order[-1], order[-2]
    turn = Rotation.from_rotvec([np.radians(degrees), 0.0, 0.0])
    atoms.positions[last] = atoms.positions[pivot] + turn.apply(
        atoms.positions[last] - atoms.positions[pivot]
    )
    return atoms


def oscillator(*wavenumbers):
    """Modes of unit mass, each along its own coordinate."""
    omega = np.array([wavenumber_to_angular_frequency(abs(w)) for w in wavenumbers])
    n = len(omega)
    return NormalModes(
        positions=np.zeros((n, 3)),
        masses=np.ones(n),
        eigenvalues=np.sign(wavenumbers) * omega**2,
        vectors=np.eye(3 * n)[:n].reshape(n, n, 3),
        rigid=np.empty((0, n, 3)),
        residual=np.empty(0),
    )


@pytest.fixture(scope="module")
def water():
    return relax(molecule("H2O"), GFN2(), fmax=1e-4)


@pytest.fixture(scope="module")
def modes(water):
    return gfn2_modes(water)


# --- what is linear ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-5, 1e-4, 1e-3])
def test_linear_within_the_noise_of_a_relaxation(name, noise):
    atoms = molecule(name)
    rng = np.random.default_rng(5)
    isotopes = np.where(atoms.numbers == 1, 2.014, np.where(atoms.numbers == 8, 17.999, 13.003))
    for turn in ORIENTATIONS:
        for masses in (atoms.get_masses(), isotopes):
            for _ in range(5):
                positions = atoms.positions + noise * rng.standard_normal((len(atoms), 3))
                assert is_linear(positions, masses)
                rigid = rigid_motions(positions @ turn.T + 7.0, masses)
                assert len(rigid) == 5
                assert np.allclose(rigid @ rigid.T, np.eye(5), atol=1e-12)


@pytest.mark.parametrize("degrees", [1.0, 2.0])
@pytest.mark.parametrize("name", LINEAR)
def test_a_bend_of_one_degree_is_not_linear(name, degrees):
    atoms = bent(name, degrees)
    for turn in ORIENTATIONS:
        assert len(rigid_motions(atoms.positions @ turn.T, atoms.get_masses())) == 6
    moments, _ = principal_axes(atoms.positions, atoms.get_masses())
    assert 1.3e-5 < moments[0] / moments[2] / degrees**2 < 3.1e-5


@pytest.mark.parametrize(
    ("name", "n_rigid"), [("H2O", 6), ("H2O2", 6), ("CH4", 6), ("N2", 5), ("HCl", 5), ("O", 3)]
)
def test_number_of_rigid_motions(name, n_rigid):
    atoms = molecule(name) if name != "O" else ase.Atoms("O", [[1.0, 2.0, 3.0]])
    size = 3 * len(atoms)
    for turn in ORIENTATIONS:
        found = NormalModes.from_hessian(atoms.positions @ turn.T, atoms.get_masses(), np.eye(size))
        assert (len(found.rigid), len(found)) == (n_rigid, size - n_rigid)
        assert found.linear == (n_rigid == 5)
        assert len(found.residual) == n_rigid


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("seed", [1, 2])
def test_relaxed_linear_molecule_keeps_both_bending_modes(name, seed):
    atoms = molecule(name)
    exact = gfn2_modes(relax(atoms, GFN2()))
    atoms.rattle(0.02, seed=seed)
    atoms.rotate(50.0 * seed, (1, 2, 3))
    found = gfn2_modes(relax(atoms, GFN2()))
    assert len(found) == len(exact) == 3 * len(atoms) - 5
    assert np.allclose(found.wavenumber, exact.wavenumber, atol=2.0)
    # quantum nuclei leave the axis as far in one direction as in the other
    drawn = wigner_displacements(found, 300.0, 4000, np.random.default_rng(0))
    axis = np.linalg.svd(found.positions - found.positions.mean(axis=0))[2]
    across = np.sqrt(np.mean((drawn @ axis[1:].T) ** 2, axis=(0, 1)))
    assert across[0] == pytest.approx(across[1], rel=0.05)


def test_vibrating_linear_molecule():
    """Along dynamics it is known from the minimum or from the average that CO2 is linear."""
    rng = np.random.default_rng(0)
    at_rest = NormalModes.from_hessian(CO2, CO2_MASSES, carbon_dioxide(CO2))
    moving = CO2 + wigner_displacements(at_rest, 300.0, 50, rng)
    assert not is_linear(moving, CO2_MASSES)
    assert is_linear(moving, CO2_MASSES, LINEAR_IN_MOTION)
    watery = toy_water.EQUILIBRIUM + 0.05 * rng.standard_normal((50, 3, 3))
    assert not is_linear(watery, toy_water.MASSES, LINEAR_IN_MOTION)


def test_beads_about_bent_centroids_of_a_linear_molecule():
    """The out-of-plane bend of a snapshot is no rotation: beads spread along it as well."""
    at_rest = NormalModes.from_hessian(CO2, CO2_MASSES, carbon_dioxide(CO2))
    rng, kT = np.random.default_rng(0), BOLTZMANN * 300.0
    classical = kT / at_rest.eigenvalues
    found = {True: np.zeros(4), False: np.zeros(4)}
    for _ in range(30):
        q = np.sqrt(classical) * rng.standard_normal(4)
        positions = CO2 + np.einsum("k,kia->ia", q, at_rest.vectors)
        hessian = carbon_dioxide(positions)
        for linear in found:
            snapshot = NormalModes.from_hessian(positions, CO2_MASSES, hessian, linear=linear)
            assert len(snapshot) == 3 + linear
            beads = ring_polymer_displacements(snapshot, 300.0, 32, 50, rng)
            found[linear] += np.mean(at_rest.coordinates(beads) ** 2, axis=(0, 1)) / 30
    exact = quantum_variance(at_rest.angular_frequency, 300.0) - classical
    assert np.allclose(found[True], exact, rtol=0.06)
    assert found[False][:2].sum() == pytest.approx(exact[:2].sum() / 2, rel=0.1)


def test_slightly_bent_minimum_has_a_third_rotation():
    angle = np.radians(2.0)
    positions = CO2.copy()
    positions[[0, 2]] = Rotation.from_rotvec([[angle / 2, 0, 0], [-angle / 2, 0, 0]]).apply(
        CO2[[0, 2]]
    )
    found = NormalModes.from_hessian(positions, CO2_MASSES, carbon_dioxide(positions, angle))
    assert len(found) == 3
    assert np.abs(found.residual).max() < 0.1
    assert found.wavenumber[0] == pytest.approx(666.0, rel=0.01)


# --- inertia ----------------------------------------------------------------------------------


def test_moments_of_inertia_of_carbon_dioxide():
    """I = 2 m_O l²; the rotational constant is 0.39 cm⁻¹."""
    moments, axes = principal_axes(CO2 @ ORIENTATIONS[0].T + 1.0, CO2_MASSES)
    assert np.allclose(moments, np.array([0, 1, 1]) * 2 * 15.9949 * LENGTH**2, atol=1e-12)
    assert abs(axes[:, 0] @ ORIENTATIONS[0][:, 2]) == pytest.approx(1.0)
    assert 16.857629 / moments[2] == pytest.approx(0.3902, rel=2e-3)


def test_inverse_inertia_gives_the_angular_velocity():
    rng = np.random.default_rng(1)
    positions = toy_water.EQUILIBRIUM + 0.1 * rng.standard_normal((4, 3, 3))
    centre = np.einsum("i,sia->sa", toy_water.MASSES, positions) / toy_water.MASSES.sum()
    r = positions - centre[:, None]
    omega = rng.standard_normal((4, 3))
    momenta = toy_water.MASSES[:, None] * np.cross(omega[:, None], r)
    angular = np.cross(r, momenta).sum(axis=1)
    inverse = inverse_inertia(positions, toy_water.MASSES, linear=False)
    assert np.allclose(np.einsum("sab,sb->sa", inverse, angular), omega, atol=1e-12)


def test_inverse_inertia_of_linear_molecules_does_not_act_on_the_axis():
    for linear in (True, False):
        inverse = inverse_inertia(CO2, CO2_MASSES, linear=linear)
        assert np.allclose(inverse, np.diag([1, 1, 0]) / (2 * 15.9949 * LENGTH**2), atol=1e-14)
    moving = CO2 + np.outer([0.02, -0.05, 0.02], [0.0, 1.0, 0.0])
    assert inverse_inertia(moving, CO2_MASSES, linear=True)[2, 2] == pytest.approx(0.0, abs=1e-14)
    assert inverse_inertia(moving, CO2_MASSES, linear=False)[2, 2] > 1.0
    assert not inverse_inertia(np.ones((1, 3)), np.ones(1), linear=False).any()


# --- modes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 1e-6, 1e-3])
def test_carbon_dioxide_of_herzberg(noise):
    """Wavenumbers of a linear XY2 molecule in closed form, and those of Herzberg's table."""
    rng = np.random.default_rng(4)
    m, ratio = 15.9949, 1.0 + 2.0 * 15.9949 / 12.0
    squares = [2.0 * ratio * BEND] * 2 + [STRETCH + COUPLING, ratio * (STRETCH - COUPLING)]
    # 1302.79 cm⁻¹ is the wavenumber of 1 mdyn/Å and 1 amu
    exact = 1302.79 * np.sqrt(np.array(squares) / m)
    assert np.allclose(exact, [667.3, 667.3, 1337.0, 2349.3], rtol=3e-3)
    for turn in ORIENTATIONS:
        positions = CO2 @ turn.T + noise * rng.standard_normal((3, 3))
        found = NormalModes.from_hessian(positions, CO2_MASSES, carbon_dioxide(positions))
        assert np.allclose(found.wavenumber, exact, rtol=1e-5 + 10.0 * noise)


def test_diatomic():
    """ν̃ = √(k/μ)/2πc; both atoms move."""
    stiffness, masses = 50.0, np.array([14.003, 14.003])
    for turn in ORIENTATIONS:
        u = turn[0]
        block = stiffness * np.outer(u, u)
        found = NormalModes.from_hessian(
            [-0.55 * u, 0.55 * u], masses, np.block([[block, -block]] * 2) * SIGNS
        )
        exact = np.sqrt(stiffness * 1.602176634e-19 * 1e20 / (7.0015 * 1.66053906892e-27))
        assert found.wavenumber == pytest.approx(exact / (2 * np.pi * 2.99792458e10), rel=1e-7)
        assert found.reduced_mass == pytest.approx(14.003, rel=1e-9)


SIGNS = np.repeat(np.repeat([[1.0, 1.0], [-1.0, -1.0]], 3, axis=0), 3, axis=1)


def test_wavenumbers_are_those_of_ase(water, modes, tmp_path):
    water = water.copy()
    water.calc = MethodCalculator(GFN2())
    vibrations = Vibrations(water, delta=0.005, nfree=2, name=str(tmp_path / "vib"))
    vibrations.run()
    expected = np.real(vibrations.get_frequencies())[-3:]
    np.testing.assert_allclose(modes.wavenumber, expected, atol=0.5)


def test_vectors_are_mass_weighted_orthonormal_and_internal(water, modes):
    mass = water.get_masses()
    every = np.concatenate([modes.rigid, modes.vectors])
    overlap = np.einsum("iac,a,jac->ij", every, mass, every)
    np.testing.assert_allclose(overlap, np.eye(9), atol=1e-10)
    np.testing.assert_allclose(np.einsum("a,mac->mc", mass, modes.vectors), 0.0, atol=1e-10)
    angular = np.cross(water.positions - water.get_center_of_mass(), modes.vectors)
    np.testing.assert_allclose(np.einsum("a,mac->mc", mass, angular), 0.0, atol=1e-9)


def test_orientation_and_order_of_atoms_do_not_matter():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian()
    reference = NormalModes.from_hessian(r, m, f)
    assert np.allclose(reference.wavenumber, [1386.642, 3589.662, 3669.291], atol=2e-3)
    q, p = ORIENTATIONS[1], [2, 0, 1]
    turned = NormalModes.from_hessian(
        (r @ q.T)[p] + 3.0, m[p], np.einsum("ac,bd,mcnd->manb", q, q, f)[p][:, :, p]
    )
    assert np.allclose(turned.wavenumber, reference.wavenumber, rtol=1e-9)
    assert np.allclose(turned.reduced_mass, reference.reduced_mass, rtol=1e-9)


def test_signs_of_vectors_are_fixed():
    """A change of the last digits, as between machines, turns no mode round."""
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian().reshape(9, 9)
    reference = NormalModes.from_hessian(r, m, f)
    rng = np.random.default_rng(0)
    for _ in range(20):
        again = NormalModes.from_hessian(r + 1e-11 * rng.standard_normal((3, 3)), m, f)
        assert np.allclose(again.vectors, reference.vectors, atol=1e-7)
        assert np.allclose(again.rigid, reference.rigid, atol=1e-7)


def test_residual_forces_do_not_mix_with_the_vibrations():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian().reshape(9, 9)
    rigid = rigid_motions(r, m) * np.repeat(np.sqrt(m), 3)
    noise = rigid.T @ (1e-2 * np.diag(np.random.default_rng(2).normal(size=6))) @ rigid
    found = NormalModes.from_hessian(r, m, f + noise)
    assert np.allclose(found.wavenumber, [1386.642, 3589.662, 3669.291], atol=2e-3)
    assert np.abs(found.residual).max() > 20.0


def test_hessian_and_coordinates_of_the_modes():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian().reshape(9, 9)
    found = NormalModes.from_hessian(r, m, f)
    assert np.allclose(found.hessian(), f, atol=1e-4 * np.abs(f).max())
    q = np.random.default_rng(0).standard_normal((5, 3))
    displaced = np.einsum("sk,kia->sia", q, found.vectors)
    assert np.allclose(found.coordinates(displaced), q, atol=1e-12)
    assert np.allclose(found.angular_frequency**2, found.eigenvalues)


def test_saddle_point():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian()
    require_minimum(NormalModes.from_hessian(r, m, f))
    upside_down = NormalModes.from_hessian(r, m, -f)
    assert np.all(upside_down.wavenumber < 0.0)
    assert np.all(np.diff(upside_down.wavenumber) > 0.0)
    assert np.isnan(upside_down.angular_frequency).all()
    assert "3 imaginary" in repr(upside_down)
    with pytest.raises(NotAMinimumError) as error:
        require_minimum(upside_down)
    assert np.allclose(error.value.wavenumber, [-3669.291, -3589.662, -1386.642], atol=2e-3)
    with pytest.raises(NotAMinimumError):
        require_minimum(NormalModes.from_hessian(r, m, 0.0 * f))


def test_bad_input_is_refused():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian()
    skew = f.copy()
    skew[0, 0, 1, 1] += 5.0
    for attributes, arguments in (
        ({"key": "hessian", "value": [2, 3, 3, 3]}, (r, m, f[:2])),
        ({"key": "positions", "value": [2, 3]}, (r[:2], m, f)),
        ({"key": "hessian", "expected": "a symmetric matrix"}, (r, m, skew)),
        ({"key": "hessian[0, 0, 0, 0]"}, (r, m, np.nan * f)),
        ({"key": "masses", "value": (-m).tolist()}, (r, -m, f)),
    ):
        with refused(**attributes):
            NormalModes.from_hessian(*arguments)


# --- isotopes ---------------------------------------------------------------------------------


def test_isotope_shifts_obey_the_product_rule():
    r, m, f = toy_water.EQUILIBRIUM, toy_water.MASSES, toy_water.hessian()
    light = NormalModes.from_hessian(r, m, f)
    heavy = m * [1.0, 2.0, 2.0]
    shifts, changed = isotope_shifts(light, heavy)
    assert np.all(shifts < -300.0)
    # Teller–Redlich product rule, with the moments of inertia of both isotopologues
    moments = np.prod(principal_axes(r, heavy)[0] / principal_axes(r, m)[0])
    rule = np.sqrt(np.prod((m / heavy) ** 3) * (heavy.sum() / m.sum()) ** 3 * moments)
    assert np.prod(changed.wavenumber / light.wavenumber) == pytest.approx(rule, rel=1e-6)
    same, _ = isotope_shifts(light, m)
    assert np.allclose(same, 0.0, atol=1e-9)
    assert np.allclose(mode_overlap(light, light), np.eye(3), atol=1e-12)


def test_isotope_shifts_of_carbon_dioxide():
    """Carbon is at rest in the symmetric stretch; ν₂ and ν₃ shift by one ratio."""
    found = NormalModes.from_hessian(CO2, CO2_MASSES, carbon_dioxide(CO2))
    shifts, changed = isotope_shifts(found, np.array([15.9949, 13.00335, 15.9949]))
    ratio = np.sqrt((1 + 2 * 15.9949 / 13.00335) / (1 + 2 * 15.9949 / 12.0)) - 1.0
    assert np.allclose(shifts, found.wavenumber * ratio * [1, 1, 0, 1], atol=1e-3)
    assert len(changed) == 4


# --- quantum displacements ----------------------------------------------------------------------


def test_wigner_variance_is_that_of_a_quantum_oscillator():
    modes = oscillator(100.0, 1500.0, 3600.0)
    rng = np.random.default_rng(0)
    for temperature in (0.0, 300.0):
        drawn = wigner_displacements(modes, temperature, 100_000, rng)
        omega = np.sqrt(modes.eigenvalues)
        expected = HBAR / (2 * omega)
        if temperature:
            expected = expected / np.tanh(HBAR * omega / (2 * BOLTZMANN * temperature))
        np.testing.assert_allclose(modes.coordinates(drawn).var(axis=0), expected, rtol=0.02)
        np.testing.assert_allclose(quantum_variance(omega, temperature), expected)
    classical = quantum_variance(omega, 1e6) * omega**2
    np.testing.assert_allclose(classical, BOLTZMANN * 1e6, rtol=1e-4)


def test_soft_and_imaginary_modes_are_left_alone():
    modes = oscillator(-300.0, 100.0, 1500.0)
    drawn = wigner_displacements(modes, 300.0, 50, np.random.default_rng(0), 400.0)
    assert (modes.coordinates(drawn).std(axis=0) > 0).tolist() == [False, False, True]


def test_ring_polymer_about_a_classical_centroid_is_quantum():
    """Classical centroids plus beads have the variance of the quantum oscillator."""
    temperature, kT = 300.0, BOLTZMANN * 300.0
    modes = oscillator(100.0, 1000.0)
    rng = np.random.default_rng(1)
    drawn = ring_polymer_displacements(modes, temperature, 64, 4000, rng)
    np.testing.assert_allclose(drawn.sum(axis=1), 0.0, atol=1e-12)
    omega = np.sqrt(modes.eigenvalues)
    total = kT / omega**2 + modes.coordinates(drawn).reshape(-1, 2).var(axis=0)
    np.testing.assert_allclose(total, quantum_variance(omega, temperature), rtol=0.02)


def test_ring_polymer_of_a_free_particle():
    """The squared radius of gyration is ħ²/(12 kT) (1 − 1/P²) per mass-weighted coordinate."""
    kT, n_beads = BOLTZMANN * 300.0, 16
    modes = oscillator(1e-3)
    drawn = ring_polymer_displacements(modes, 300.0, n_beads, 20_000, np.random.default_rng(2))
    radius = modes.coordinates(drawn).var()
    assert radius == pytest.approx(HBAR**2 / (12 * kT**2) * kT * (1 - n_beads**-2), rel=0.02)


def test_neighbouring_beads_are_bound_by_springs():
    """The mean squared bond of a free ring polymer is ħ²/(P m kT) · (P − 1)/P."""
    kT, n_beads = BOLTZMANN * 300.0, 16
    rng = np.random.default_rng(3)
    drawn = ring_polymer_displacements(oscillator(1e-3), 300.0, n_beads, 20_000, rng)
    bond = drawn[..., 0, 0] - np.roll(drawn[..., 0, 0], 1, axis=1)
    expected = HBAR**2 / (n_beads * kT) * (n_beads - 1) / n_beads
    assert bond.var() == pytest.approx(expected, rel=0.02)


def test_one_bead_is_the_centroid():
    rng = np.random.default_rng(0)
    assert not ring_polymer_displacements(oscillator(500.0), 300.0, 1, 5, rng).any()


def test_draws_follow_the_generator(modes):
    draws = [wigner_displacements(modes, 300.0, 3, np.random.default_rng(s)) for s in (0, 0, 1)]
    assert np.array_equal(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])
