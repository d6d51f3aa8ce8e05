# SPDX-License-Identifier: MIT
"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal

# Tests share their cores with each other; one thread is also what commands set by default.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule

from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.painn import PaiNNSize


@pytest.fixture(autouse=True)
def nothing_global_changes():
    """No test and no code under test may change a global setting of torch."""
    before = (
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )
    yield
    after = (
        torch.get_default_dtype(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
    )
    assert before == after


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers."""
    return torch.Generator().manual_seed(20261121)


@pytest.fixture
def ethanol() -> Atoms:
    """Ethanol, slightly distorted so that nothing is symmetric by accident."""
    atoms = molecule("CH3CH2OH")
    atoms.positions += np.random.default_rng(7).normal(scale=0.03, size=atoms.positions.shape)
    return atoms


def slow(*values):
    """Return parameters of tests that are run with the slow ones."""
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


def waters_in(cell) -> Atoms:
    """Return two molecules in a periodic cell, one of them across its boundary."""
    atoms = Atoms(cell=np.array(cell), pbc=True)
    for corner in ([0.02, 0.0, 0.03], [0.5, 0.5, 0.5]):
        water = molecule("H2O")
        water.rotate(40.0, [1.0, 2.0, 3.0])
        water.positions += corner @ atoms.cell.array
        atoms += water
    return atoms


def make_potential(
    *,
    form: type[PaiNNSize] = PaiNNConfig,
    features: int = 16,
    heads: tuple[str, ...] = ("energy", "dipole", "polarizability"),
    read_outs: dict[str, dict] | None = None,
    **options,
) -> Potential:
    """Return a small potential with reproducible random parameters, in float64."""
    config = PotentialConfig(form(features=features, **options), heads, read_outs or {})
    references = References(
        elements=(1, 6, 7, 8),
        values={
            "energy": {1: -13.6, 6: -1030.0, 7: -1480.0, 8: -2040.0},
            "polarizability": {1: 0.02, 6: 0.08, 7: 0.07, 8: 0.06},
        },
        scales={"energy": 1.7, "dipole": 0.4, "polarizability": 0.3},
    )
    state = torch.get_rng_state()
    torch.manual_seed(11)
    potential = Potential(config, references).double()
    torch.set_rng_state(state)
    return potential


@pytest.fixture
def potential() -> Potential:
    """A small random potential with all three read-outs."""
    return make_potential()


@pytest.fixture
def signals():
    """Signals as in a terminal: processes in the background ignore some."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
