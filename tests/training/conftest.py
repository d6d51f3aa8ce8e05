# SPDX-License-Identifier: MIT
"""A small world with closed-form labels: water and methane in a pair potential."""

import numpy as np
import pytest
from ase.build import molecule

from eqcalc.datasets import Dataset, Record

LEVEL = "pair potential"
#: Energy of each element added to the pair potential [eV].
ATOM_ENERGY = {1: -13.6, 6: -1030.0, 8: -2041.0}
#: Isotropic polarizability of each element [e²Å²/eV].
ATOM_POLARIZABILITY = {1: 0.03, 6: 0.11, 8: 0.06}
#: What atoms add to the heat capacity [eV/K] and to the mean of an orbital energy [eV].
HEAT = {1: 1e-4, 6: 3e-4, 8: 2e-4}
ORBITAL = {1: 1.0, 6: -7.0, 8: -9.0}
CHARGE = {1: 0.2, 6: -0.8, 8: -0.4}


def pair_world(numbers, positions):
    """Energy, forces, dipole and polarizability of a Gaussian pair potential."""
    vectors = positions[:, None] - positions[None]
    i, j = np.triu_indices(len(numbers), 1)
    u = vectors[i, j]
    pair = -2.0 * np.exp(-((np.linalg.norm(u, axis=1) - 1.0) ** 2))
    d = np.linalg.norm(u, axis=1)
    slope = -2.0 * (d - 1.0) * pair
    forces = np.zeros_like(positions)
    np.add.at(forces, i, -slope[:, None] * u / d[:, None])
    np.add.at(forces, j, slope[:, None] * u / d[:, None])
    charges = np.array([CHARGE[z] for z in numbers])
    alpha = np.eye(3) * sum(ATOM_POLARIZABILITY[z] for z in numbers)
    alpha = alpha + 0.02 * np.einsum("pa,pb,p->ab", u, u, np.exp(-d))
    return {
        "energy": np.asarray(pair.sum() + sum(ATOM_ENERGY[z] for z in numbers)),
        "forces": forces,
        "dipole": (charges - charges.mean()) @ positions,
        "polarizability": alpha,
    }


def records(n, seed=0, names=("H2O", "CH4"), missing=None, shift=0.0, amplitude=0.1):
    """Distorted molecules; `missing` maps a label to a mask of the structures without it."""
    rng = np.random.default_rng(seed)
    found = []
    for k in range(n):
        atoms = molecule(names[k % len(names)])
        positions = atoms.positions + amplitude * rng.normal(size=(len(atoms), 3))
        labels = pair_world(atoms.numbers, positions)
        labels["energy"] = labels["energy"] + shift * len(atoms)
        for name, mask in (missing or {}).items():
            if mask[k]:
                del labels[name]
        found.append(Record(atoms.numbers, positions, labels))
    return found


@pytest.fixture
def dataset(tmp_path):
    return Dataset.create(tmp_path / "data.h5", records(40), level_of_theory=LEVEL)


@pytest.fixture
def settings(tmp_path, dataset):
    """Settings of a training that takes a second."""
    return {
        "output": str(tmp_path / "run"),
        "data": {"path": str(dataset.path), "training": 24, "validation": 8},
        "model": {
            "representation": {
                "name": "painn",
                "features": 8,
                "layers": 2,
                "radial_functions": 6,
                "cutoff": 4.0,
            }
        },
        "loss": ["energy", "forces"],
        "optimizer": {"batch_size": 8, "learning_rate": 0.003},
        "stopping": {"epochs": 4},
        "ema": {"decay": 0.9},
    }


@pytest.fixture
def scalars(tmp_path):
    """Sums and means over atoms, with something to learn on top."""
    labelled = []
    for record in records(40):
        size = np.square(record.positions - record.positions.mean(axis=0)).sum()
        atoms = [int(z) for z in record.numbers]
        labels = {
            "heat_capacity": np.asarray(sum(HEAT[z] for z in atoms) + 1e-5 * size),
            "homo_energy": np.asarray(np.mean([ORBITAL[z] for z in atoms]) + 0.1 * size),
            "dipole_magnitude": np.asarray(np.linalg.norm(record.labels["dipole"])),
            "electronic_spatial_extent": np.asarray(6.0 * size),
        }
        labelled.append(Record(record.numbers, record.positions, labels))
    return Dataset.create(tmp_path / "scalars.h5", labelled, level_of_theory="none")


def scalar_settings(scalars, settings, **model):
    loss = dict.fromkeys(scalars.quantities, 1.0)
    model = {**settings["model"], **model}
    data = {**settings["data"], "path": str(scalars.path)}
    return {**settings, "data": data, "loss": loss, "model": model}
