# SPDX-License-Identifier: MIT
"""The choice between executions on a GPU; what records, and what is fused, are stand-ins."""

import warnings

import pytest
import torch
from ase.build import bulk

from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime import (
    CapturedExecution,
    CompiledExecution,
    EagerExecution,
    ExecutionUnavailableError,
    ExecutionWarning,
    selection,
)
from eqcalc.runtime.verification import trial_molecule
from eqcalc.structures import Structures
from tests.conftest import make_potential, slow
from tests.runtime.test_cuda_graphs import capture_on_the_host

WATER = torch.tensor([8, 1, 1])


class Fused(CapturedExecution):
    name = "captured-triton"


@pytest.fixture
def nothing_measured(monkeypatch):
    monkeypatch.setattr(selection, "_faster", {})


def choose(**options):
    return selection.faster_captured(make_potential(**options), WATER, capture=capture_on_the_host)


def told_times(monkeypatch, faster):
    """Let one execution be the faster, and return the list of those that are measured."""
    measured = []

    def seconds(execution, batch):
        measured.append(execution.name)
        return 0.1 if execution.name == faster else 0.2

    monkeypatch.setattr(selection, "_seconds", seconds)
    return measured


@pytest.mark.parametrize("faster", ["captured-triton", *slow("captured")])
def test_the_faster_is_taken_and_measured_once(monkeypatch, nothing_measured, faster):
    measured = told_times(monkeypatch, faster)
    monkeypatch.setattr(selection, "CapturedTritonExecution", Fused)
    assert [choose().name for _ in range(3)] == [faster] * 3
    assert sorted(measured) == ["captured", "captured-triton"]
    assert choose(features=4).name == faster  # another network is measured by itself
    assert len(measured) == 4


@pytest.mark.parametrize("faster", ["eager", *slow("captured", "captured-triton")])
def test_a_large_molecule_may_leave_out_pairs(monkeypatch, nothing_measured, faster):
    monkeypatch.setattr(selection, "CapturedTritonExecution", Fused)
    told_times(monkeypatch, faster)
    potential, numbers = make_potential(features=4), torch.ones(STATIC_ATOMS + 1, dtype=int)
    for _ in range(2):
        execution = selection.faster_captured(potential, numbers, capture=capture_on_the_host)
        assert execution.name == faster


@pytest.mark.parametrize("faster", ["captured-compiled", *slow("captured-triton")])
def test_programs_that_exist_are_tried(monkeypatch, nothing_measured, faster):
    class Compiled(CapturedExecution):
        name = "captured-compiled"

        def __init__(self, *given, only_cached, **options):
            assert only_cached  # nothing is compiled unasked
            super().__init__(*given, **options)

    monkeypatch.setattr(selection, "CapturedTritonExecution", Fused)
    monkeypatch.setattr(selection, "CapturedCompiledExecution", Compiled)
    told_times(monkeypatch, faster)
    monkeypatch.setattr(CompiledExecution, "in_cache", lambda *given, **options: True)
    assert [choose().name for _ in range(2)] == [faster] * 2
    monkeypatch.setattr(CompiledExecution, "in_cache", lambda *given, **options: False)
    assert choose().name == "captured-triton" or faster == "captured-compiled"


def test_the_measurement_is_a_time(nothing_measured):
    execution = CapturedExecution(make_potential(features=4), WATER, capture=capture_on_the_host)
    before = execution.captures
    batch = trial_molecule(execution.potential, WATER, 2)
    assert 0.0 < selection._seconds(execution, batch) < 60.0
    assert execution.captures == before + 1


def test_without_kernels_there_is_one_warning_and_the_model_as_it_is(monkeypatch, nothing_measured):
    def refuse(*arguments, **options):
        raise ExecutionUnavailableError("there is no Triton")

    monkeypatch.setattr(selection, "CapturedTritonExecution", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert choose().name == "captured"
    (warning,) = (w for w in caught if w.category is ExecutionWarning)
    assert "without fused kernels: there is no Triton" in str(warning.message)


# --- crystals -----------------------------------------------------------------------


class FusedCrystal(EagerExecution):
    name = "triton"


@pytest.fixture
def crystals(monkeypatch, nothing_measured):
    monkeypatch.setattr(selection, "TritonExecution", FusedCrystal)


@pytest.mark.parametrize("faster", ["eager", "triton"])
def test_the_faster_for_crystals_is_taken_and_measured_once(monkeypatch, crystals, faster):
    measured = told_times(monkeypatch, faster)
    assert [selection.faster_execution(make_potential()).name for _ in range(3)] == [faster] * 3
    assert sorted(measured) == ["eager", "triton"]


def test_without_kernels_for_crystals_there_is_one_warning(monkeypatch, crystals):
    def refuse(*arguments, **options):
        raise ExecutionUnavailableError("there is no Triton")

    monkeypatch.setattr(selection, "TritonExecution", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        execution = selection.faster_execution(make_potential())
    (warning,) = (w for w in caught if w.category is ExecutionWarning)
    assert "without fused kernels: there is no Triton" in str(warning.message)
    values = execution.evaluate(Structures.from_atoms(bulk("C")), ("energy",))
    assert values["energy"].isfinite().all()


def test_a_model_without_energy_has_nothing_to_measure(crystals):
    execution = selection.faster_execution(make_potential(heads=("dipole",)))
    assert type(execution) is EagerExecution
