# SPDX-License-Identifier: MIT
"""Single-molecule and cross terms: sums that are exact, and boxes whose terms are known."""

import numpy as np
import pytest
import torch

from eqcalc.cli import main
from eqcalc.dynamics import StabilityLimits, simulate
from eqcalc.models import save_model
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import infrared, molecular_terms, raman, read_spectrum
from tests.errors import refused
from tests.models.test_local_readouts import local_potential, water_box
from tests.spectra.oscillators import oscillator, vector

TEMPERATURE, INTERVAL = 300.0, 0.5
TIGHT = {"rtol": 0.0}


class Rotors:
    """Molecules of one atom with given dipole moments ``[n_replicas, n_frames, n, 3]`` e Å."""

    temperature, timestep, n_beads, method, cell = TEMPERATURE, INTERVAL, 1, "NVE", 10.0 * np.eye(3)

    def __init__(self, dipoles, positions):
        n = dipoles.shape[2]
        self.values = {"atomic_dipole": dipoles, "positions": positions}
        self.units = {"atomic_dipole": "e*Å", "positions": "Å"}
        self.numbers, self.masses = np.full(n, 18), np.full(n, 40.0)
        self.provenance = {}

    def observables(self):
        return tuple(self.values)

    def observable(self, name):
        class Recorded:
            values, unit = self.values[name], self.units[name]
            interval = INTERVAL

        return Recorded


def same(found, expected, scale):
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-10 * np.abs(scale).max())


def test_terms_of_a_box_whose_molecules_move_together_and_apart():
    """Of four molecules two neighbours are in phase, two in antiphase, all others independent."""
    fast, slow = (vector(oscillator(nu, n_frames=3000)) for nu in (1500.0, 600.0))
    dipoles = np.stack([fast, fast, slow, -slow], axis=2)
    # 0 and 1 are 2 Å apart, across the boundary; 2 and 3 are 3 Å apart; pairs of both, 5 Å or more
    places = np.array([[0.5, 0, 0], [8.5, 0, 0], [4.5, 4.5, 0], [4.5, 4.5, 3.0]])
    positions = np.broadcast_to(places, (*dipoles.shape[:2], 4, 3))
    run = Rotors(dipoles, positions)
    options = {"lag": 400.0, "errors": "none"}
    terms = molecular_terms(run, edges=(2.5, 4.0), molecules=np.arange(4), **options)
    known = {"interval": INTERVAL, "temperature": TEMPERATURE, "unit": "e*Å", "n_molecules": 4}
    first, second = (infrared(x, **known, **options).values for x in (fast, slow))
    same(terms.total.values, 4.0 * first, first)
    same(terms.single.values, 2.0 * (first + second), first)
    same(terms.shells[0.0, 2.5].values, 2.0 * first, first)
    same(terms.shells[2.5, 4.0].values, -2.0 * second, first)
    same(terms.shells[4.0, np.inf].values, 0.0 * first, first)


def test_freely_rotating_dipoles_have_no_cross_terms():
    """Of independent rotors of moment μ the integrals are those of μ²⟨ω²⟩ each, and of nothing."""
    rng = np.random.default_rng(3)
    n, frames, replicas = 8, 2000, 12
    axes, turns = rng.normal(size=(2, replicas, n, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    other = np.cross(axes, turns)
    other /= np.linalg.norm(other, axis=-1, keepdims=True)
    rate = 0.02 * rng.rayleigh(size=(replicas, 1, n, 1))  # rad/fs
    angle = rate * INTERVAL * np.arange(frames)[:, None, None]
    dipoles = 0.4 * (np.cos(angle) * axes[:, None] + np.sin(angle) * other[:, None])
    run = Rotors(dipoles, np.zeros((replicas, frames, n, 3)))
    terms = molecular_terms(run, molecules=np.arange(n), lag=300.0)
    whole, single, cross = (s.integrate() for s in (terms.total, terms.single, terms.cross))
    assert whole.value == pytest.approx(single.value + cross.value, rel=1e-10)
    assert abs(cross.value) < 4.0 * cross.error < single.value
    # the integral is proportional to ⟨ṁ²⟩, here of three components of 1 e Å/fs
    one = infrared(
        derivative=np.ones((1, 400, 3)), interval=1.0, temperature=TEMPERATURE, unit="e*Å/fs",
        lag=50.0, errors="none",
    )  # fmt: skip
    per_square = one.integrate().value / 3.0
    expected = per_square * np.mean(0.4**2 * rate**2)
    assert single.value == pytest.approx(expected, rel=0.02)


def test_pairs_that_meet_and_part_are_in_one_shell_at_a_time():
    rng = np.random.default_rng(4)
    dipoles = rng.normal(size=(3, 900, 5, 3)).cumsum(axis=1)
    positions = 3.0 * rng.normal(size=(3, 900, 5, 3)).cumsum(axis=1)
    run = Rotors(dipoles, positions)
    terms = molecular_terms(
        run, edges=(3.0, 5.0, 6.5), molecules=np.array([0, 0, 1, 1, 2]), lag=60.0
    )
    shells = sum(s.values for s in terms.shells.values())
    same(shells, terms.cross.values, terms.total.values)
    assert all(np.abs(s.values).max() > 0.0 for s in terms.shells.values())


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """A run of a model that records what its atoms contribute."""
    folder = tmp_path_factory.mktemp("box")
    atoms, potential = water_box(), local_potential()
    save_model(potential, folder / "model.eqc")
    return simulate(
        atoms,
        evaluator_for(potential, torch.tensor(atoms.numbers), cell=atoms.cell.array),
        output=folder / "run.h5",
        method="NVE",
        temperature=100.0,
        timestep=0.5,
        steps=90,
        seed=3,
        replicas=2,
        limits=StabilityLimits(bond_stretch=np.inf, energy_drift=np.inf),  # it is not trained
        observables=dict.fromkeys(
            ("dipole", "polarizability", "atomic_dipole", "atomic_polarizability", "positions"), 1
        ),
        progress=False,
    )


def test_atoms_of_a_model_add_up(box):
    for whole in ("dipole", "polarizability"):
        total = box.observable(whole).values
        parts = box.observable(f"atomic_{whole}").values
        np.testing.assert_allclose(parts.sum(axis=2), total, rtol=0.0, atol=1e-12)
        assert np.abs(parts).max() > 0.05 * np.abs(total).max()


@pytest.mark.parametrize("kind", ["infrared", "isotropic Raman"])
def test_terms_are_those_of_the_spectrum(box, kind):
    terms = molecular_terms(box, kind, edges=(3.0,), lag=15.0)
    whole = infrared(box, lag=15.0, n_molecules=4)
    if kind != "infrared":
        whole = raman(box, lag=15.0, n_molecules=4).isotropic
    same(terms.total.values, whole.values, whole.values)
    np.testing.assert_allclose(terms.total.samples, whole.samples, rtol=1e-8)
    same((terms.single + terms.cross).values, whole.values, whole.values)
    same(sum(s.values for s in terms.shells.values()), terms.cross.values, whole.values)


@pytest.mark.slow
def test_command(box, tmp_path, capsys):
    main(["spectra", str(box.path), "--output", str(tmp_path), "--lag", "15", "--decompose", "3"])
    total, single, cross, near, far = (
        read_spectrum(tmp_path / f"spectrum-infrared-{name}.h5").values
        for name in ("total", "single", "cross", "0-3A", "3-infA")
    )
    same(single + cross, total, total)
    same(near + far, cross, total)
    assert (tmp_path / "spectrum-isotropic-raman-cross.csv").exists()


def test_bad_input_is_refused(box, tmp_path):
    with refused(key="kind", value="uv"):
        molecular_terms(box, "uv")
    with refused(key="edges", value=[5.0, 3.0]):
        molecular_terms(box, edges=(5.0, 3.0))
    atoms = water_box()
    lacking = simulate(
        atoms,
        evaluator_for(local_potential(), torch.tensor(atoms.numbers), cell=atoms.cell.array),
        output=tmp_path / "a.h5", method="NVE", temperature=100.0, timestep=0.5, steps=2, seed=1,
        observables=["dipole"], progress=False,
    )  # fmt: skip
    with refused(value="atomic_dipole"):
        molecular_terms(lacking)
