# SPDX-License-Identifier: MIT
"""The choice between recordings; what records is a stand-in for a GPU."""

import warnings

import pytest
import torch

from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime import CapturedExecution, CompiledExecution, ExecutionWarning, recorded
from tests.conftest import make_potential
from tests.runtime.test_cuda_graphs import record_on_the_host

WATER = torch.tensor([8, 1, 1])


class Fused(CapturedExecution):
    name = "captured-triton"


@pytest.fixture
def nothing_measured(monkeypatch):
    monkeypatch.setattr(recorded, "_faster", {})


def choose(**options):
    return recorded.faster_recording(make_potential(**options), WATER, record=record_on_the_host)


@pytest.mark.parametrize("faster", ["captured", "captured-triton"])
def test_the_faster_is_taken_and_measured_once(monkeypatch, nothing_measured, faster):
    measured = []

    def seconds(execution, numbers):
        measured.append(execution.name)
        return 0.1 if execution.name == faster else 0.2

    monkeypatch.setattr(recorded, "CapturedTritonExecution", Fused)
    monkeypatch.setattr(recorded, "_seconds", seconds)
    assert [choose().name for _ in range(3)] == [faster] * 3
    assert sorted(measured) == ["captured", "captured-triton"]
    assert choose(features=4).name == faster  # another network is measured by itself
    assert len(measured) == 4


@pytest.mark.parametrize("faster", ["captured", "captured-triton", "eager"])
def test_a_large_molecule_may_leave_out_pairs(monkeypatch, nothing_measured, faster):
    monkeypatch.setattr(recorded, "CapturedTritonExecution", Fused)
    times = {"captured": 0.2, "captured-triton": 0.2, "eager": 0.2, faster: 0.1}
    monkeypatch.setattr(recorded, "_seconds", lambda execution, numbers: times[execution.name])
    potential, numbers = make_potential(features=4), torch.ones(STATIC_ATOMS + 1, dtype=int)
    for _ in range(2):
        execution = recorded.faster_recording(potential, numbers, record=record_on_the_host)
        assert execution.name == faster


@pytest.mark.parametrize("faster", ["captured-triton", "captured-compiled"])
def test_programs_that_exist_are_tried(monkeypatch, nothing_measured, faster):
    class Compiled(CapturedExecution):
        name = "captured-compiled"

        def __init__(self, *given, only_cached, **options):
            assert only_cached  # nothing is compiled unasked
            super().__init__(*given, **options)

    monkeypatch.setattr(recorded, "CapturedTritonExecution", Fused)
    monkeypatch.setattr(recorded, "CapturedCompiledExecution", Compiled)
    times = {"captured": 0.2, "captured-triton": 0.2, "captured-compiled": 0.2, faster: 0.1}
    monkeypatch.setattr(recorded, "_seconds", lambda execution, numbers: times[execution.name])
    monkeypatch.setattr(CompiledExecution, "in_cache", lambda *given, **options: True)
    assert [choose().name for _ in range(2)] == [faster] * 2
    monkeypatch.setattr(CompiledExecution, "in_cache", lambda *given, **options: False)
    assert choose().name == "captured-triton" or faster == "captured-compiled"


def test_the_measurement_is_a_time(nothing_measured):
    execution = CapturedExecution(make_potential(features=4), WATER, record=record_on_the_host)
    before = execution.recordings
    assert 0.0 < recorded._seconds(execution, WATER) < 60.0
    assert execution.recordings == before + 1


def test_without_kernels_there_is_one_warning_and_the_model_as_it_is(monkeypatch, nothing_measured):
    def refuse(*arguments, **options):
        raise recorded.ExecutionUnavailableError("there is no Triton")

    monkeypatch.setattr(recorded, "CapturedTritonExecution", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert choose().name == "captured"
    (warning,) = (w for w in caught if w.category is ExecutionWarning)
    assert "without fused kernels: there is no Triton" in str(warning.message)
