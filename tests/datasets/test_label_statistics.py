# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.datasets import Dataset, Record, statistics
from eqcalc.datasets.label_statistics import fit_element_values
from eqcalc.quantities import ENERGY

ENERGIES = {1: -13.6, 6: -1030.0, 8: -2040.0}


def test_element_energies_are_recovered():
    rng = np.random.default_rng(0)
    numbers = [rng.choice([1, 6, 8], size=rng.integers(2, 9)) for _ in range(40)]
    energies = np.array([sum(ENERGIES[z] for z in zs) for zs in numbers])
    assert fit_element_values(ENERGY, numbers, energies) == pytest.approx(ENERGIES)
    energies[3] *= 2.0
    assert fit_element_values(ENERGY, numbers, energies, robust=True) == pytest.approx(ENERGIES)
    assert fit_element_values(ENERGY, numbers, energies) != pytest.approx(ENERGIES)


def test_one_molecule(pbe0):
    dataset = Dataset.open(pbe0)
    found = statistics(dataset)
    labels, _ = dataset.labels(np.arange(len(dataset)))
    energy = labels["energy"].numpy()
    total = sum(found["energy"].element_values[int(z)] for z in dataset[0].numbers)
    assert total == pytest.approx(energy.mean(), abs=1e-6)
    assert found["energy"].rms == pytest.approx(energy.std() / 9, rel=1e-6)
    assert found["forces"].rms == pytest.approx(np.sqrt((labels["forces"].numpy() ** 2).mean()))
    known = dataset.present("polarizability")
    alpha = labels["polarizability"].numpy()[known]
    left = alpha - np.trace(alpha, axis1=1, axis2=2).mean() / 3 * np.eye(3)
    assert found["polarizability"].rms == pytest.approx(np.sqrt(np.square(left).mean()), rel=1e-6)
    assert all(label.n == dataset.present(name).sum() for name, label in found.items())


def test_missing_labels_do_not_count(tmp_path):
    alpha = np.diag([1.0, 2.0, 3.0])
    records = [
        Record(np.array([1, 1]), np.eye(2, 3), {"dipole": [3.0, 0.0, 4.0]}),
        Record(np.array([1]), np.zeros((1, 3)), {"polarizability": alpha}),
        Record(np.array([6]), np.zeros((1, 3)), {}),
    ]
    found = statistics(Dataset.create(tmp_path / "a.h5", records, level_of_theory="x"))
    assert found["dipole"].rms == pytest.approx(5.0 / np.sqrt(3.0))
    assert found["polarizability"].element_values == pytest.approx({1: 2.0})
    assert found["polarizability"].rms == pytest.approx(np.sqrt(2.0 / 9.0))
    assert set(found) == {"dipole", "polarizability"}
