# SPDX-License-Identifier: MIT
"""The eager evaluator: a batch is what its members are."""

import platform

import pytest
import torch

from eqcalc.models.derivatives import property_derivative
from eqcalc.neighbors import STATIC_ATOMS, all_pairs
from eqcalc.runtime import eager_evaluator, evaluator_for, keep_freed_memory
from eqcalc.structures import Structures
from eqcalc.validation import UnknownElementError
from tests.errors import refused

NAMES = ("energy", "forces", "dipole", "polarizability")


@pytest.fixture
def positions(ethanol, generator):
    noise = 0.05 * torch.randn(7, 9, 3, generator=generator, dtype=torch.float64)
    return torch.tensor(ethanol.positions) + noise


@pytest.mark.parametrize("chunk", [None, 1, 2, 3, 7, 16])
def test_chunks_do_not_matter(potential, ethanol, positions, chunk):
    numbers = torch.tensor(ethanol.numbers)
    values = eager_evaluator(potential, numbers, chunk=chunk)(positions, NAMES)
    assert values["forces"].shape == (7, 9, 3)
    for index in range(7):
        alone = Structures.stack(numbers, positions[index : index + 1])
        expected = potential.evaluate(alone, all_pairs(alone), NAMES)
        for name, value in expected.items():
            torch.testing.assert_close(
                values[name][index].reshape(value.shape[0 if name == "forces" else 1 :]),
                value if name == "forces" else value[0],
                rtol=1e-11,
                atol=1e-11,
            )


def test_pairs_left_out_of_a_long_molecule_change_nothing(potential, generator):
    n = 3 * STATIC_ATOMS
    line = torch.zeros(n, 3, dtype=torch.float64)
    line[:, 0] = 1.1 * torch.arange(n)
    positions = line + 0.2 * torch.randn(2, n, 3, generator=generator, dtype=torch.float64)
    numbers = torch.tensor([1, 6, 8]).repeat(STATIC_ATOMS)
    values = eager_evaluator(potential, numbers)(positions, NAMES)
    whole = Structures.stack(numbers, positions)
    for name, value in potential.evaluate(whole, all_pairs(whole), NAMES).items():
        torch.testing.assert_close(values[name].reshape(value.shape), value, rtol=1e-10, atol=1e-10)


def test_order_of_replicas_is_kept(potential, ethanol, positions):
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers), chunk=2)
    order = torch.tensor([3, 0, 6, 1, 5, 2, 4])
    values, shuffled = evaluator(positions, NAMES), evaluator(positions[order], NAMES)
    for name in NAMES:
        torch.testing.assert_close(shuffled[name], values[name][order], rtol=1e-12, atol=1e-12)


def test_memory_layout_of_positions_does_not_matter(potential, ethanol, positions):
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers))
    expected = evaluator(positions, NAMES)
    strided = positions.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not strided.is_contiguous()
    for name, value in evaluator(strided, NAMES).items():
        assert torch.equal(value, expected[name])


def test_results_survive_the_next_call(potential, ethanol, positions):
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers))
    first = evaluator(positions, NAMES)
    kept = {name: value.clone() for name, value in first.items()}
    evaluator(positions + 0.1, NAMES)
    for name, value in kept.items():
        assert torch.equal(first[name], value)


def test_only_what_is_asked_for_is_returned_in_float64(potential, ethanol, positions):
    evaluator = eager_evaluator(potential.float(), torch.tensor(ethanol.numbers))
    values = evaluator(positions, ("dipole", "forces"))
    assert set(values) == {"dipole", "forces"}
    assert all(value.dtype == torch.float64 for value in values.values())


def test_rates_are_central_differences(potential, ethanol, positions, generator):
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers), chunk=3)
    velocities = torch.randn(7, 9, 3, generator=generator, dtype=torch.float64)
    rates = evaluator.rates(positions, velocities, ("dipole", "polarizability"))
    step = 1e-5
    for name, rate in rates.items():
        plus, minus = (
            evaluator(positions + sign * step * velocities, (name,))[name] for sign in (1.0, -1.0)
        )
        torch.testing.assert_close(rate, (plus - minus) / (2.0 * step), rtol=1e-5, atol=1e-6)


def test_polar_tensors_are_the_derivative_of_the_dipole(potential, ethanol, positions):
    numbers = torch.tensor(ethanol.numbers)
    tensors = eager_evaluator(potential, numbers, chunk=3).polar_tensors(positions)
    assert tensors.shape == (7, 9, 3, 3)
    for index in (0, 6):
        alone = Structures.stack(numbers, positions[index : index + 1])
        expected = property_derivative(potential, alone, "dipole")
        torch.testing.assert_close(tensors[index], expected, rtol=1e-10, atol=1e-12)


def test_unknown_elements_are_refused(potential):
    with pytest.raises(UnknownElementError) as error:
        eager_evaluator(potential, torch.tensor([17, 1]))
    assert error.value.unknown == (17,)
    assert error.value.known == (1, 6, 7, 8)


@pytest.mark.parametrize("make", [eager_evaluator, evaluator_for])
def test_a_charge_the_model_does_not_know_is_refused(potential, ethanol, make):
    with refused(key="charge", value=1.0):
        make(potential, torch.tensor(ethanol.numbers), charge=1.0)


def test_what_it_is_can_be_read(potential, ethanol):
    potential.metadata["charges"] = [0.0, 1.0]
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers), charge=1.0)
    for text in (repr(evaluator), evaluator._repr_html_()):
        assert "C2H6O, charge 1 e" in text
        assert "energy, forces, stress, dipole, polarizability: eager" in text
        assert "float64 on cpu" in text
    for text in (repr(potential), potential._repr_html_()):
        for fact in ("PaiNN", "H C N O", "5 Å", "float64 on cpu"):
            assert fact in text
    assert len(repr(evaluator)) < 300 and len(repr(potential)) < 300


def test_provenance_names_model_and_versions(potential, ethanol):
    potential.metadata["level_of_theory"] = "PBE0/def2-TZVP"
    provenance = eager_evaluator(potential, torch.tensor(ethanol.numbers)).provenance
    assert provenance["level_of_theory"] == "PBE0/def2-TZVP"
    assert provenance["network_precision"] == "float64"
    assert len(provenance["model"]) == 64


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt belongs to glibc")
def test_the_c_library_agrees_to_keep_memory():
    assert keep_freed_memory()
