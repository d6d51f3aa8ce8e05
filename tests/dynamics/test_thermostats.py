# SPDX-License-Identifier: MIT
"""Thermostats: the canonical ensemble, classical and quantum, against closed forms."""

import math

import numpy as np
import physical_validation as pv
import pytest
import torch

from eqcalc.dynamics import Equilibration, Method, simulate
from eqcalc.dynamics.initial import maxwell_boltzmann, remove_rotation, remove_translation
from eqcalc.dynamics.state import State
from eqcalc.units import BOLTZMANN, HBAR, wavenumber_to_angular_frequency
from eqcalc.validation import InvalidInputError
from tests.analytic import HarmonicWell, MorseDiatomic, ToyWater
from tests.conftest import slow

TEMPERATURE = 300.0
WAVENUMBER = 1000.0
OMEGA = wavenumber_to_angular_frequency(WAVENUMBER)
# <x²> of 1 amu at 1000 cm^-1 and 300 K [Å²]: exact, and for 16 beads.
EXACT, SIXTEEN = 0.01713855, 0.01695428
# Relative error of <x²> at P beads for 3000 cm^-1 and 300 K.
ERROR_3000 = {8: -0.256, 16: -0.0879, 32: -0.0244, 64: -0.0063}

# A drift matrix with one extra momentum, hence memory [1/fs].
COLOURED = [[0.02, 0.08], [-0.08, 0.05]]


def finite_p_square(omega, n_beads):
    """<x²>_P of unit mass: (βħ²/P) coth(Pκ/2)/(2 sinh κ), κ = 2 asinh(βħω/2P)."""
    beta = 1.0 / (BOLTZMANN * TEMPERATURE)
    kappa = 2.0 * math.asinh(beta * HBAR * omega / (2.0 * n_beads))
    return beta * HBAR**2 / n_beads / math.tanh(0.5 * n_beads * kappa) / (2.0 * math.sinh(kappa))


def test_closed_form_against_published_numbers():
    assert finite_p_square(OMEGA, 16) == pytest.approx(SIXTEEN, rel=1e-6)
    exact = HBAR / (2 * OMEGA) / math.tanh(0.5 * HBAR * OMEGA / (BOLTZMANN * TEMPERATURE))
    assert exact == pytest.approx(EXACT, rel=1e-6)
    omega = 3.0 * OMEGA
    exact = HBAR / (2 * omega) / math.tanh(0.5 * HBAR * omega / (BOLTZMANN * TEMPERATURE))
    for n_beads, error in ERROR_3000.items():
        assert finite_p_square(omega, n_beads) / exact - 1.0 == pytest.approx(error, abs=5e-4)


@pytest.mark.parametrize(
    ("method", "beads"),
    [
        (Method("Langevin", time_constant=15.0), 1),
        (Method("PILE-L", time_constant=15.0), 2),
        (Method("PILE-L", time_constant=15.0), 4),
        (Method("PILE-L", time_constant=15.0), 16),
        pytest.param(Method("PILE-L", time_constant=15.0), 64, marks=pytest.mark.slow),
        pytest.param(Method("PILE-L", time_constant=15.0, damping=0.5), 16, marks=pytest.mark.slow),
        (Method("PILE-G", time_constant=30.0), 4),
        (Method("GLE", drift=COLOURED), 1),
        (Method("PI+GLE", drift=[COLOURED] * 4), 4),
    ],
)
def test_harmonic_ring_polymer(tmp_path, method, beads):
    """<x²>_P, and the energy from the potential and from two kinetic estimators."""
    replicas, steps = 1000 // (2 + beads) + 30, 1000
    trajectory = simulate(
        HarmonicWell([OMEGA**2]).atoms,
        HarmonicWell([OMEGA**2]),
        output=tmp_path / "run.h5",
        method=method,
        temperature=TEMPERATURE,
        timestep=0.25,
        steps=steps,
        seed=3,
        replicas=replicas,
        beads=beads,
        masses=[1.0],
        translation="thermal",
        equilibration=Equilibration(150.0, method),
        observables={
            "potential_energy": 20,
            "kinetic_energy_primitive": 20,
            "kinetic_energy_virial": 20,
            "temperature": 20,
            "centroid_temperature": 20,
            "conserved_energy": 400,
        },
        progress=False,
    )

    def mean(name):
        """Mean and standard error over replicas."""
        values = trajectory.observable(name).values.mean(axis=1)
        return values.mean(), values.std() / math.sqrt(replicas)

    potential = 1.5 * OMEGA**2 * finite_p_square(OMEGA, beads)
    for name in ("potential_energy", "kinetic_energy_primitive", "kinetic_energy_virial"):
        value, error = mean(name)
        # in a harmonic well kinetic and potential energy are equal at every P
        assert value == pytest.approx(potential, abs=4 * error + 2e-3 * potential), name
        if name != "kinetic_energy_primitive" and beads > 1:
            assert error < 0.04 * potential
    for name in ("temperature", "centroid_temperature"):
        value, error = mean(name)
        assert value == pytest.approx(TEMPERATURE, abs=4 * error)
        assert error < 0.04 * TEMPERATURE
    conserved = trajectory.observable("conserved_energy").values
    assert np.abs(np.diff(conserved, axis=1)).max() < 0.1


METHODS = [
    (Method("NVE"), 1, "thermal"),
    (Method("NVE"), 1, "none"),
    (Method("Langevin", time_constant=20.0), 1, "thermal"),
    (Method("SVR", time_constant=20.0), 1, "thermal"),
    (Method("SVR", time_constant=20.0), 1, "none"),
    (Method("NHC", time_constant=20.0), 1, "none"),
    (Method("GLE", drift=COLOURED), 1, "thermal"),
    (Method("RPMD"), 4, "thermal"),
    (Method("T-RPMD"), 4, "thermal"),
    (Method("PA-CMD", frequency=2000.0), 4, "thermal"),
    (Method("PILE-L", time_constant=20.0), 4, "thermal"),
    (Method("PILE-G", time_constant=20.0), 4, "thermal"),
    (Method("PI+GLE", drift=[COLOURED] * 4), 4, "thermal"),
]


def validate(kinetic_energies, temperature, n_atoms, resting):
    """Kinetic energies [eV] of a canonical ensemble, by the package physical_validation.

    Its strict test compares the whole distribution with Γ(f/2, k_BT), the other one mean
    and width, in standard errors.
    """
    data = pv.data.SimulationData(
        units=pv.data.UnitData(BOLTZMANN, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
        system=pv.data.SystemData(
            natoms=n_atoms, nconstraints=0, ndof_reduction_tra=min(3, resting),
            ndof_reduction_rot=resting - min(3, resting),
        ),
        ensemble=pv.data.EnsembleData("NVT", natoms=n_atoms, volume=1.0, temperature=temperature),
        observables=pv.data.ObservableData(kinetic_energy=kinetic_energies),
    )  # fmt: skip
    options = {"data_is_uncorrelated": True, "verbosity": 0}
    assert pv.kinetic_energy.distribution(data, strict=True, **options) > 1e-3
    distances = pv.kinetic_energy.distribution(data, bootstrap_seed=1, **options)
    assert max(distances) < 4.0


@pytest.mark.parametrize(
    ("method", "beads", "rotation"), METHODS, ids=[f"{m.name}-{r}" for m, _, r in METHODS]
)
@pytest.mark.parametrize("molecule", [ToyWater, *slow(MorseDiatomic)])
def test_kinetic_energy_is_canonical(tmp_path, method, beads, rotation, molecule):
    """The whole distribution with the right number of degrees of freedom."""
    evaluator, replicas = molecule(), 150
    n = len(evaluator.numbers)
    resting = 3 if rotation == "thermal" else 3 * n - (1 if n == 2 else 3)
    trajectory = simulate(
        evaluator.atoms,
        evaluator,
        output=tmp_path / "run.h5",
        method=method,
        temperature=TEMPERATURE,
        timestep=0.5,
        steps=320,
        seed=4,
        replicas=replicas,
        beads=beads,
        rotation=rotation,
        equilibration=Equilibration(200.0),
        observables={"temperature": 160, "centroid_temperature": 160},
        progress=False,
    )
    # 80 fs apart, with a thermostat of 20 fs: independent; the first frame is drawn. Without
    # a thermostat on the centroid only replicas are.
    frames = slice(1, None) if method.row.thermostats_centroid else slice(-1, None)
    for name, particles, scale in (
        ("temperature", n * beads, beads),
        ("centroid_temperature", n, 1),
    ):
        freedom = 3 * particles - resting
        values = trajectory.observable(name).values[:, frames].flatten()
        energies = 0.5 * freedom * BOLTZMANN * scale * values
        validate(energies, scale * TEMPERATURE, particles, resting)


def test_the_validation_can_fail():
    """A sample 20 % too hot, and one with Gaussian instead of canonical fluctuations."""
    rng, thermal, freedom = np.random.default_rng(3), BOLTZMANN * TEMPERATURE, 3
    hot = rng.gamma(0.5 * freedom, 1.2 * thermal, 450)
    narrow = rng.normal(0.5 * freedom * thermal, 0.1 * thermal, 450)
    for energies in (hot, narrow):
        with pytest.raises(AssertionError):
            validate(energies, TEMPERATURE, 2, 3)


@pytest.mark.slow
def test_conserved_energy_counts_the_heat(tmp_path):
    """Total energy plus heat fluctuates with Δt², however hard the thermostat works."""
    spread = {}
    for timestep in (0.25, 0.5):
        water = ToyWater()
        trajectory = simulate(
            water.atoms,
            water,
            output=tmp_path / f"{timestep}.h5",
            method=Method("PILE-L", time_constant=10.0),
            temperature=TEMPERATURE,
            timestep=timestep,
            steps=round(200 / timestep),
            seed=5,
            replicas=16,
            beads=4,
            equilibration=Equilibration(100.0),
            observables={"conserved_energy": 1, "potential_energy": 1},
            progress=False,
        )
        conserved = trajectory.observable("conserved_energy").values
        spread[timestep] = conserved.std(axis=1).mean()
        potential = trajectory.observable("potential_energy").values.std(axis=1).mean()
        assert spread[timestep] < 0.15 * potential
    assert spread[0.5] / spread[0.25] > 2.5


def test_gle_with_one_element_is_langevin():
    masses = torch.tensor([16.0, 1.0], dtype=torch.float64)
    common = {"timestep": 0.5, "temperature": 300.0, "n_beads": 1, "masses": masses}
    p = torch.randn(4, 1, 2, 3, dtype=torch.float64)
    noise = torch.randn(4, 1, 1, 2, 3, dtype=torch.float64)
    empty = p.new_zeros(4, 0, 1, 2, 3)
    coloured = Method("GLE", drift=[[0.01]]).integrator(**common).thermostat(p, empty, noise)
    white = (
        Method("Langevin", time_constant=100.0)
        .integrator(**common)
        .thermostat(p, p.new_zeros(4, 0), noise)
    )
    torch.testing.assert_close(coloured[0], white[0])
    torch.testing.assert_close(coloured[2], white[2])


def test_gle_has_the_memory_of_its_matrices():
    """<p(0) p(t)> of a free particle is k_B T m exp(−A t)_pp, and C is stationary."""
    masses = torch.ones(1, dtype=torch.float64)
    n, steps = 20000, 20
    for covariance in (None, [[500.0, 60.0], [60.0, 200.0]]):
        drift = [[0.05, 0.04], [-0.04, 0.05]]
        run = Method("GLE", drift=drift, covariance=covariance).integrator(
            timestep=1.0, temperature=300.0, n_beads=1, masses=masses, translation="thermal"
        )
        c = torch.tensor(covariance or [[300.0, 0.0], [0.0, 300.0]]) * BOLTZMANN
        rng = np.random.default_rng(1)
        start = torch.from_numpy(rng.multivariate_normal([0, 0], c.numpy(), n * 3))
        p = start[:, 0].reshape(n, 1, 1, 3)
        s = start[:, 1].reshape(n, 1, 1, 1, 3)
        first = p
        for _ in range(steps):
            noise = torch.from_numpy(rng.standard_normal((n, 2, 1, 1, 3)))
            p, s, _ = run.thermostat(p, s, noise)
        moved = torch.stack([p.flatten(), s.flatten()])
        tolerance = 4 * math.sqrt(2 / (3 * n)) * float(c.max())
        torch.testing.assert_close(torch.cov(moved), c.double(), rtol=0, atol=tolerance)
        decay = torch.linalg.matrix_exp(-torch.tensor(drift, dtype=torch.float64) * steps)
        expected = float((decay @ c.double())[0, 0])
        found = float((first * p).mean())
        assert found == pytest.approx(expected, abs=tolerance)


def test_matrices_that_make_no_sense():
    masses = torch.ones(2, dtype=torch.float64)
    common = {"timestep": 0.5, "temperature": 300.0, "masses": masses}
    cases = [
        ({"drift": [[-0.1]]}, "drift"),
        ({"drift": [[0.1]], "covariance": [[300.0, 0.0], [0.0, 300.0]]}, "covariance"),
        ({"drift": [[0.1]], "covariance": [[-300.0]]}, "covariance"),
    ]
    for matrices, key in cases:
        with pytest.raises(InvalidInputError) as caught:
            Method("GLE", **matrices).integrator(n_beads=1, **common)
        assert caught.value.key == key
    with pytest.raises(InvalidInputError) as caught:
        Method("PI+GLE", drift=[[[0.1]]] * 3).integrator(n_beads=4, **common)
    assert (caught.value.key, caught.value.value) == ("drift", [3, 1, 1])


def test_rescaling_keeps_directions_and_the_momentum_of_each_replica_apart():
    masses = torch.tensor([16.0, 1.0, 1.0], dtype=torch.float64)
    run = Method("SVR", time_constant=10.0).integrator(
        timestep=0.5, temperature=300.0, n_beads=1, masses=masses
    )
    p = torch.randn(6, 1, 3, 3, dtype=torch.float64)
    noise = torch.randn(6, 1, 1, 3, 3, dtype=torch.float64)
    moved, _, _ = run.thermostat(p, p.new_zeros(6, 0), noise)
    torch.testing.assert_close(moved.sum(dim=2), p.sum(dim=2))
    weights = masses.view(-1, 1)

    def inner(x):
        return x - weights * x.sum(dim=2, keepdim=True) / masses.sum()

    ratio = inner(moved) / inner(p)
    torch.testing.assert_close(ratio, ratio[:, :, :1, :1].expand_as(ratio))
    assert len(ratio[:, 0, 0, 0].unique()) == 6


def test_nose_hoover_conserves_its_energy_and_reverses():
    water = ToyWater()
    masses = torch.tensor(water.masses, dtype=torch.float64)
    run = Method("NHC", time_constant=20.0).integrator(
        timestep=0.25, temperature=300.0, n_beads=1, masses=masses, freedom=3
    )
    rng = np.random.default_rng(2)
    x = torch.from_numpy(water.atoms.get_positions())[None, None]
    p = maxwell_boltzmann(masses, 1, 300.0, rng)[None]
    p = remove_rotation(x, remove_translation(p, masses), masses)
    first = State.at_rest(x).with_evaluation(water)
    chain = run.thermostat.initial(p, [rng])
    first = State(**{**vars(first), "momenta": p, "auxiliary": chain})
    state, energies, noise = first, [], torch.empty(1, 0, 1, 3, 3, dtype=torch.float64)
    for _ in range(200):
        state = run.step(state, water, noise)
        energies.append(float(run.conserved_energy(state)))
    assert np.std(energies) < 1e-3
    assert torch.linalg.cross(state.positions, state.momenta).sum(dim=2).abs().max() < 1e-10
    chain = state.auxiliary * torch.tensor([1.0, -1.0]).view(1, 2, 1)
    state = State(**{**vars(state), "momenta": -state.momenta, "auxiliary": chain})
    for _ in range(200):
        state = run.step(state, water, noise)
    torch.testing.assert_close(state.positions, first.positions, rtol=0, atol=1e-9)


def test_t_rpmd_leaves_the_centroid_alone_and_pile_does_not():
    masses = torch.tensor([16.0, 1.0], dtype=torch.float64)
    momenta = torch.randn(5, 8, 2, 3, dtype=torch.float64)
    noise = torch.randn(5, 1, 8, 2, 3, dtype=torch.float64)
    for method, touched in ((Method("T-RPMD"), False), (Method("PILE-L"), True)):
        thermostat = method.integrator(
            timestep=0.5, temperature=300.0, n_beads=8, masses=masses
        ).thermostat
        moved, _, heat = thermostat(momenta, momenta.new_zeros(5, 0), noise)
        assert (moved[:, 0] == momenta[:, 0]).all().item() is not touched
        assert (moved[:, 1:] != momenta[:, 1:]).all()
        total = moved[:, 0].sum(dim=1) - momenta[:, 0].sum(dim=1)
        assert total.abs().max() < 1e-12
        before = 0.5 * (momenta.square() / masses.view(-1, 1)).sum(dim=(1, 2, 3))
        after = 0.5 * (moved.square() / masses.view(-1, 1)).sum(dim=(1, 2, 3))
        torch.testing.assert_close(heat, before - after)


def test_friction_of_the_ring_modes():
    """c_k = exp(−2λω_kΔt): measured by a step without noise."""
    masses = torch.ones(1, dtype=torch.float64)
    for method, damping in (
        (Method("T-RPMD"), 0.5),
        (Method("T-RPMD", damping=0.7), 0.7),
        (Method("PILE-L"), 1.0),
    ):
        run = method.integrator(timestep=0.5, temperature=300.0, n_beads=8, masses=masses)
        p = torch.ones(1, 8, 1, 3, dtype=torch.float64)
        moved, _, _ = run.thermostat(p, p.new_zeros(1, 0), torch.zeros(1, 1, 8, 1, 3))
        expected = torch.exp(-2.0 * damping * run.frequencies * run.timestep)
        torch.testing.assert_close(moved[0, 1:, 0, 0], expected[1:])
    run = Method("RPMD").integrator(timestep=0.5, temperature=300.0, n_beads=8, masses=masses)
    assert run.thermostat is None
