# SPDX-License-Identifier: MIT
"""Reference values and scales at the start of a training."""

import numpy as np
import pytest
import torch

from eqcalc.datasets import Dataset, Record
from eqcalc.neighbors import all_pairs
from eqcalc.training import TrainingConfig
from eqcalc.training.initial import initial_potential, label_scales
from tests.training.conftest import HEAT, LEVEL, ORBITAL, records, scalar_settings

ENERGY = {1: -13.587, 6: -1029.831, 8: -2041.840}
FORMULAS = ([8, 1, 1], [6, 1, 1, 1, 1], [6, 8, 1, 1], [6, 6, 8, 1, 1, 1, 1, 1, 1])


def linear_world(path):
    """Structures whose energy is a sum over atoms."""
    rng = np.random.default_rng(0)
    found = []
    for k in range(12):
        numbers = np.array(FORMULAS[k % 4])
        positions = rng.normal(size=(len(numbers), 3)) * 2.0
        found.append(
            Record(numbers, positions, {"energy": np.asarray(sum(ENERGY[z] for z in numbers))})
        )
    return Dataset.create(path, found, level_of_theory=LEVEL)


def config_for(path, loss):
    representation = {"name": "painn", "features": 8, "layers": 1, "radial_functions": 4}
    return TrainingConfig.from_settings(
        {
            "output": "run",
            "data": {"path": str(path), "training": 8, "validation": 4},
            "model": {"representation": representation},
            "loss": loss,
        }
    )


def test_exact_recovery_of_element_energies(tmp_path):
    dataset = linear_world(tmp_path / "linear.h5")
    config = config_for(dataset.path, ["energy"])
    potential = initial_potential(config, dataset, np.arange(12))
    assert potential.references.values["energy"] == pytest.approx(ENERGY, rel=1e-10)
    # nothing is left to learn, and nothing is divided by it
    assert label_scales(dataset) == {"energy": 1.0}


def test_new_models_know_the_elements_of_the_training_set_only(tmp_path):
    dataset = linear_world(tmp_path / "linear.h5")
    water = np.array([0, 4, 8])
    potential = initial_potential(config_for(dataset.path, ["energy"]), dataset, water)
    assert potential.references.elements == (1, 8)


def test_scales_by_hand(tmp_path):
    numbers, positions = np.array([8, 1, 1]), np.array([[0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]])
    alpha = np.eye(3) * 0.1
    bent = alpha.copy()
    bent[0, 1] = bent[1, 0] = 0.03
    labels = [
        {
            "energy": np.asarray(-2070.0),
            "forces": np.arange(9.0).reshape(3, 3),
            "dipole": np.array([0.0, 0.0, 0.3]),
            "polarizability": bent + 0.02 * np.eye(3),
        },
        {
            "energy": np.asarray(-2067.0),
            "forces": np.arange(9.0, 18.0).reshape(3, 3),
            "polarizability": alpha - 0.02 * np.eye(3),
        },
    ]
    found = [Record(numbers, positions + k, value) for k, value in enumerate(labels)]
    dataset = Dataset.create(tmp_path / "two.h5", found, level_of_theory=LEVEL)
    scales = label_scales(dataset)
    assert scales["energy"] == pytest.approx(1.5 / 3)
    assert scales["forces"] == pytest.approx(np.sqrt(np.mean(np.arange(18.0) ** 2)))
    assert scales["dipole"] == pytest.approx(0.3 / np.sqrt(3.0))
    # six diagonal elements deviate by 0.02, two others by 0.03, of eighteen
    assert scales["polarizability"] == pytest.approx(np.sqrt((6 * 0.02**2 + 2 * 0.03**2) / 18))


def test_a_new_network_starts_with_errors_of_the_size_of_its_labels(tmp_path):
    """References and scales leave nothing of thousands of eV to the first steps."""
    dataset = Dataset.create(tmp_path / "pair.h5", records(24), level_of_theory=LEVEL)
    loss = ["energy", "forces", "dipole", "polarizability"]
    config = config_for(dataset.path, loss)
    rows = np.arange(24)
    potential = initial_potential(config, dataset, rows)
    structures = dataset.structures(rows)
    outputs = potential.evaluate(structures, all_pairs(structures), loss)
    labels, _ = dataset.labels(rows)
    scales = label_scales(dataset)
    for name in loss:
        error = outputs[name] - labels[name]
        if name == "energy":
            error = error / structures.counts
        assert float(error.square().mean().sqrt()) < 3.0 * scales[name], name


def test_the_seed_alone_decides_the_parameters(tmp_path):
    dataset = linear_world(tmp_path / "linear.h5")
    config = config_for(dataset.path, ["energy"])
    torch.manual_seed(1)
    first = initial_potential(config, dataset, np.arange(12))
    torch.manual_seed(2)
    second = initial_potential(config, dataset, np.arange(12))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_sums_and_means_of_the_elements_are_fitted(scalars, settings):
    potential = initial_potential(
        TrainingConfig.from_settings(scalar_settings(scalars, settings)), scalars, np.arange(40)
    )
    tables = potential.references.values
    assert set(tables) == {"heat_capacity", "homo_energy"}
    water = {"sum": 2 * HEAT[1] + HEAT[8], "mean": (2 * ORBITAL[1] + ORBITAL[8]) / 3.0}
    found = tables["heat_capacity"]
    assert 2 * found[1] + found[8] == pytest.approx(water["sum"], abs=5e-5)
    found = tables["homo_energy"]
    assert (2 * found[1] + found[8]) / 3.0 == pytest.approx(water["mean"], abs=0.5)


def test_given_values_of_the_elements_are_shifted_equally(scalars, settings):
    given = {"heat_capacity": {1: 0.0, 6: 2e-4, 8: 1e-4}}
    settings = scalar_settings(scalars, settings, element_values=given)
    potential = initial_potential(TrainingConfig.from_settings(settings), scalars, np.arange(40))
    table = potential.references.values["heat_capacity"]
    assert table[6] - table[1] == pytest.approx(2e-4, abs=1e-12)
    assert table[8] - table[1] == pytest.approx(1e-4, abs=1e-12)
    assert table[1] > 0.5e-4
