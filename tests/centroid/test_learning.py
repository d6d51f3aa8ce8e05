# SPDX-License-Identifier: MIT
"""Corrections: learned in one folder, tested, and right on systems with known answers."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.units import Bohr, Hartree
from scipy.interpolate import CubicSpline

from eqcalc.centroid import (
    CentroidForces,
    LearningPlan,
    constrained_forces,
    corrected,
    correction_error,
    learn_correction,
    shipped_correction,
    temperature_dependence,
)
from eqcalc.dynamics import Equilibration, StabilityLimits, simulate
from eqcalc.models import load_model
from eqcalc.models.checkpoint import shipped_model
from eqcalc.models.corrected import Corrected
from eqcalc.runtime import load_evaluator
from eqcalc.spectra import infrared
from eqcalc.validation import InvalidInputError
from tests.analytic import Analytic, HarmonicWell, MorseDiatomic, ToyWater

SMALL = LearningPlan(
    *(500.0, 4), labels=32, replicas=8, equilibration=10.0, tests=2, test_time=100.0, epochs=2
)


def learned(folder, evaluator, plan=SMALL, **changed):
    return learn_correction(evaluator.atoms, evaluator, folder, plan, progress=False, **changed)


def test_a_correction_is_learned_in_one_folder_and_kept(tmp_path):
    water = ToyWater()
    correction = learned(tmp_path, water)
    assert {path.name for path in tmp_path.iterdir() if "lock" not in path.name} >= {
        *("path-integrals.h5", "centroid-forces.h5", "training", "constrained.h5"),
        "correction.eqc",
    }
    record = correction.metadata["correction"]
    assert set(record["test"]) == {"difference", "residual", "noise", "chi_square"}
    calls = len(water.calls)
    again = learned(tmp_path, water)
    assert len(water.calls) == calls
    assert again.metadata["hash"] == correction.metadata["hash"]

    both = corrected(water, tmp_path / "correction.eqc")
    x = torch.from_numpy(water.atoms.positions)[None]
    force = both(x, ("forces",))["forces"]
    assert not torch.equal(force, water(x, ("forces",))["forces"])
    assert both.provenance["correction"]["elevated_temperature_K"] == 500.0
    with pytest.raises(InvalidInputError) as caught:
        corrected(HarmonicWell([1.0] * 3, [8, 1, 1]), correction)
    assert caught.value.key == "correction"
    with pytest.raises(InvalidInputError) as caught:
        learned(tmp_path, water, replace(SMALL, beads=5))


def test_a_model_is_no_correction(potential):
    with pytest.raises(InvalidInputError) as caught:
        corrected(ToyWater(), potential)
    assert caught.value.key == "correction"


def test_the_correction_of_a_shipped_model_is_shipped(ethanol):
    """For this model, up to the temperature of its path integrals, for its isotopes."""
    model = load_evaluator(shipped_model("ethanol"), ethanol.numbers)
    masses = ethanol.get_masses()
    found = shipped_correction(model, 300.0, masses)
    record = corrected(model, found).provenance["correction"]
    assert record["test"]["residual"] < 0.3 * record["test"]["difference"]
    assert found.stat().st_size < 1_000_000
    assert shipped_correction(model, record["elevated_temperature_K"] + 1.0, masses) is None
    assert shipped_correction(model, 300.0, np.where(masses < 2.0, 2.014, masses)) is None
    other = load_evaluator(shipped_model("hcno"), ethanol.numbers)
    assert shipped_correction(other, 300.0, masses) is None
    with pytest.raises(InvalidInputError) as caught:
        corrected(other, found)
    assert caught.value.key == "correction"


def test_plans():
    """Beads are twice ħω/k_BT of the bond of HCl, and the cost is that of what is run."""
    bond = MorseDiatomic()
    options = {"temperature": 300.0, "labels": 100, "interval": 10.0, "replicas": 4}
    plan = LearningPlan.for_molecule(bond.atoms, bond, **options)
    assert (plan.temperature, plan.beads) == (600.0, 15)  # 2 · 1.4388 · 2991 / 600
    heavy = LearningPlan.for_molecule(bond.atoms, bond, masses={"H": 2.014}, **options)
    assert heavy.beads == 11
    times = 100 * 10.0 + 4 * 200.0 + 16 * (200.0 + 100.0 + 400.0)
    assert plan.evaluations == pytest.approx(2 * times * 15)
    assert "600 K, 15 beads" in plan.told(bond, bond.atoms)
    hot = LearningPlan.for_molecule(bond.atoms, bond, temperature=900.0)
    assert hot.temperature == 900.0
    with pytest.raises(InvalidInputError) as caught:
        LearningPlan.for_molecule(bond.atoms, bond, temperature=300.0, elevated=200.0)
    assert caught.value.key == "elevated_temperature"


def test_errors_are_those_beyond_the_noise():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2000, 1, 3))
    truth, noise = -0.3 * x, 0.2 * np.ones_like(x)
    measured = CentroidForces(x, truth + rng.normal(scale=0.2, size=x.shape), noise)
    perfect = correction_error(HarmonicWell([0.3]), measured)
    assert perfect.difference == pytest.approx(0.3, abs=0.02)
    assert perfect.residual < 0.04
    assert perfect.chi_square == pytest.approx(1.0, abs=0.06)
    wrong = correction_error(HarmonicWell([0.4]), measured)
    assert wrong.residual == pytest.approx(0.1, abs=0.02)
    assert wrong.chi_square == pytest.approx(1.25, abs=0.1)


@pytest.mark.slow
def test_a_network_learns_the_centroid_potential_of_a_bond(tmp_path):
    plan = LearningPlan(
        *(500.0, 12), labels=2000, replicas=40, tests=16, test_time=300.0, timestep=0.5, epochs=15
    )
    correction = learned(tmp_path, MorseDiatomic(), replace(plan, equilibration=100.0))
    test = correction.metadata["correction"]["test"]
    assert test["difference"] > 0.05
    assert test["residual"] < 0.3 * test["difference"]


@pytest.mark.slow
def test_bands_by_elevated_temperature(tmp_path):
    bond = MorseDiatomic()
    plan = {"labels": 32, "replicas": 4, "equilibration": 10.0, "tests": 2, "test_time": 100.0}
    found = temperature_dependence(
        *(bond.atoms, bond, tmp_path),
        temperature=300.0,
        elevated=(400.0, 600.0),
        time=1.0,
        timestep=0.5,
        progress=False,
        plan={**plan, "epochs": 1, "beads": 8},
    )
    assert list(found) == [400.0, 600.0]
    for elevated, band in found.items():
        assert 2500.0 < band.centroid.value < 3300.0
        stored = load_model(tmp_path / f"{elevated:g}K" / "correction.eqc")
        assert stored.metadata["correction"]["elevated_temperature_K"] == elevated


# --- a bond that may rotate in a plane ------------------------------------------------

DEPTH, LENGTH, WIDTH = 0.18748 * Hartree, 1.8324 * Bohr, 1.1605 / Bohr
MASS = 1741.1 / 1822.888486


class PlanarBond(Analytic):
    """Morse O–H in a plane (Musil et al., J. Chem. Phys. 157, 181102 (2022)), and z on a spring."""

    def __init__(self):
        super().__init__()
        self.numbers = torch.tensor([1])

    def radial(self, r):
        """Energy and force along r."""
        e = torch.exp(-WIDTH * (r - LENGTH))
        return DEPTH * (1.0 - e).square(), -2.0 * DEPTH * WIDTH * (1.0 - e) * e

    def energy(self, positions):
        r = positions[:, 0, :2].norm(dim=-1)
        return self.radial(r)[0] + 2.5 * positions[:, 0, 2].square()

    def forces(self, positions):
        flat = positions[..., :2]
        r = flat.norm(dim=-1, keepdim=True)
        return torch.cat([self.radial(r)[1] * flat / r, -5.0 * positions[..., 2:]], dim=-1)

    @property
    def atoms(self):
        return Atoms("H", positions=[(LENGTH, 0.0, 0.0)], masses=[MASS])


class RadialCorrection(PlanarBond):
    """A spline of the correction of the force along r."""

    def __init__(self, r, force):
        super().__init__()
        self.spline = CubicSpline(r, force)
        self.integral = self.spline.antiderivative()

    def radial(self, r):
        values = (-self.integral(r.numpy()), self.spline(r.numpy()))
        return tuple(torch.from_numpy(v) for v in values)

    def energy(self, positions):
        return super().energy(positions) - 2.5 * positions[:, 0, 2].square()

    def forces(self, positions):
        force = super().forces(positions)
        return torch.cat([force[..., :2], torch.zeros_like(force[..., 2:])], dim=-1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("elevated", "beads", "centroid", "tolerance"),
    [(600.0, 20, 3602.0, 5.0), (300.0, 32, 3508.0, 8.0)],
)
def test_the_band_of_a_rotating_bond(tmp_path, elevated, beads, centroid, tolerance):
    """At 300 K the exact band is at 3576 cm⁻¹, 85 cm⁻¹ wide; classically it is at 3711 cm⁻¹.

    Path integrals at the temperature itself are centroid dynamics, with its curvature problem. A
    calculation of others gave 3606 and 3512 cm⁻¹, with the shift of a time step of 0.25 fs, 4 cm⁻¹.
    """
    bond, radii, copies = PlanarBond(), np.linspace(0.80, 1.30, 21), 24
    starts = [bond.atoms for _ in radii]
    for atoms, r in zip(starts, radii, strict=True):
        atoms.positions[0, 0] = r
    common = {"limits": StabilityLimits(energy_drift=5.0), "translation": "thermal"}
    held = constrained_forces(
        *(starts, bond, tmp_path / "held.h5"),
        temperature=elevated,
        beads=beads,
        replicas=copies * len(radii),
        time=400.0,
        timestep=0.25,
        progress=False,
        **common,
    )
    difference = held.difference[:, 0, 0].reshape(copies, len(radii)).mean(axis=0)
    record = {"elevated_temperature_K": elevated}
    trajectory = simulate(
        bond.atoms,
        Corrected(bond, RadialCorrection(radii, difference), record),
        output=tmp_path / "dynamics.h5",
        method="Te-PIGS",
        temperature=300.0,
        timestep=0.5,
        steps=2000,
        seed=1,
        replicas=1000,
        equilibration=Equilibration(500.0),
        observables={"dipole": 2},
        progress=False,
        **common,
    )
    spectrum = infrared(trajectory, resolution=50.0, frequency_correction=True)
    spectrum = spectrum.between(3100.0, 4200.0)
    x, weight = spectrum.wavenumber, spectrum.values
    found = np.average(x, weights=weight)
    assert found == pytest.approx(centroid, abs=tolerance)
    assert np.sqrt(np.average((x - found) ** 2, weights=weight)) < 95.0
