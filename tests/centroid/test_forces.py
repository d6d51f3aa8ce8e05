# SPDX-License-Identifier: MIT
"""Forces on centroids: zero beyond the classical ones where they must be, and right elsewhere."""

import numpy as np
import pytest

from eqcalc.centroid import constrained_forces, sampled_forces
from eqcalc.datasets import Dataset
from eqcalc.dynamics import StabilityLimits
from eqcalc.dynamics.ring_polymer import ring_frequencies
from eqcalc.units import BOLTZMANN, wavenumber_to_angular_frequency
from eqcalc.validation import InvalidInputError
from tests.analytic import HarmonicWell, ToyWater

STIFFNESS = float(wavenumber_to_angular_frequency(3000.0) ** 2)  # of 1 amu


class QuarticWell(HarmonicWell):
    """V = ½ k x² + ¼ g Σ_c x_c⁴ of one atom of 1 amu."""

    quartic = 20.0

    def __init__(self):
        super().__init__([STIFFNESS])

    def energy(self, positions):
        return super().energy(positions) + 0.25 * self.quartic * positions.pow(4).sum(dim=(1, 2))

    def forces(self, positions):
        return super().forces(positions) - self.quartic * positions.pow(3)


def sampled(folder, evaluator, atoms, **changed):
    options = {"labels": 64, "replicas": 16, "equilibration": 10.0, "seed": 3, **changed}
    return sampled_forces(
        atoms, evaluator, folder, temperature=500.0, beads=4, progress=False, **options
    )


def test_a_harmonic_potential_has_no_correction_in_any_ring(tmp_path):
    """Two atoms on springs: bead means of linear forces are those of the centroid."""
    well = HarmonicWell([1.0, 2.0])
    atoms = well.atoms
    atoms.positions[1, 0] = 0.9
    dataset = sampled(tmp_path, well, atoms)
    forces = dataset.labels(np.arange(64))[0]["forces"]
    assert float(dataset.structures(np.arange(64)).positions.abs().max()) > 0.05
    assert float(forces.abs().max()) < 1e-12


def test_labels_say_what_they_are_and_are_resumed(tmp_path):
    water = ToyWater()
    dataset = sampled(tmp_path, water, water.atoms)
    assert dataset.levels_of_theory["forces"].startswith(
        "mean over 4 beads at 500 K less classical"
    )
    record = dataset.provenance["correction"]
    assert (record["elevated_temperature_K"], record["beads"]) == (500.0, 4)
    assert (record["masses_amu"], record["potential"]) == ([*water.masses], ["ToyWater"])
    split = dataset.splits["replicas"]
    assert split["validation"].tolist() == [0, 1, 2, 3, 32, 33, 34, 35]  # replicas 0 and 8
    assert sorted([*split["training"], *split["validation"]]) == list(range(64))
    assert float(dataset.labels(np.arange(64))[0]["forces"].abs().max()) > 0.05

    before, calls = dataset.path.read_bytes(), len(water.calls)
    assert isinstance(sampled(tmp_path, water, water.atoms), Dataset)
    assert dataset.path.read_bytes() == before
    assert len(water.calls) == calls
    with pytest.raises(InvalidInputError):
        sampled(tmp_path, water, water.atoms, seed=4)


@pytest.mark.slow
def test_mean_forces_are_those_of_the_potential_of_the_centroid(tmp_path):
    """The force of a weakly quartic well, −3 g x_c ⟨(x − x_c)²⟩, to first order in g."""
    well, beads, temperature = QuarticWell(), 8, 500.0
    starts = [well.atoms for _ in range(3)]
    for atoms, x in zip(starts, (0.05, 0.1, 0.15), strict=True):
        atoms.set_masses([1.0])
        atoms.positions[0, 0] = x
    found = constrained_forces(
        *(starts, well, tmp_path / "held.h5"),
        temperature=temperature,
        beads=beads,
        replicas=96,
        time=400.0,
        timestep=0.25,
        translation="thermal",
        limits=StabilityLimits(energy_drift=5.0),
        progress=False,
    )
    x = found.positions[:, 0, 0]
    np.testing.assert_allclose(x[:3], (0.05, 0.1, 0.15), atol=1e-12)
    stiffness = STIFFNESS + 3.0 * well.quartic * x[:, None] ** 2
    ring = ring_frequencies(beads, temperature).numpy()[1:]
    spread = BOLTZMANN * temperature * (1.0 / (stiffness + ring**2)).sum(axis=1)
    expected = -3.0 * well.quartic * x * spread
    score = (found.difference[:, 0, 0] - expected) / found.standard_error[:, 0, 0]
    assert np.sqrt(np.mean(score**2)) == pytest.approx(1.15, abs=0.3)  # Student's t of 8 blocks
    assert abs(score.mean()) < 4.0 / np.sqrt(len(score))
    assert np.abs(expected).min() > 2.0 * found.standard_error[:, 0, 0].mean()


def test_averages_need_blocks(tmp_path):
    water = ToyWater()
    with pytest.raises(InvalidInputError) as caught:
        constrained_forces(
            *(water.atoms, water, tmp_path / "held.h5"), temperature=500.0, beads=4, time=90.0
        )
    assert caught.value.key == "time"
