# SPDX-License-Identifier: MIT
"""The choice for crystals on a GPU; what is fused is a stand-in."""

import warnings

import pytest
from ase.build import bulk

from eqcalc.runtime import EagerExecution, ExecutionUnavailableError, ExecutionWarning
from eqcalc.runtime.triton import execution as module
from eqcalc.structures import Structures
from tests.conftest import make_potential


class Fused(EagerExecution):
    name = "triton"


@pytest.fixture(autouse=True)
def nothing_measured(monkeypatch):
    monkeypatch.setattr(module, "_faster", {})
    monkeypatch.setattr(module, "TritonExecution", Fused)


@pytest.mark.parametrize("faster", ["eager", "triton"])
def test_the_faster_is_taken_and_measured_once(monkeypatch, faster):
    measured = []

    def seconds(execution, potential):
        measured.append(execution.name)
        return 0.1 if execution.name == faster else 0.2

    monkeypatch.setattr(module, "_seconds", seconds)
    assert [module.faster_execution(make_potential()).name for _ in range(3)] == [faster] * 3
    assert sorted(measured) == ["eager", "triton"]


def test_the_measurement_is_a_time():
    potential = make_potential(features=4, layers=1)
    assert 0.0 < module._seconds(EagerExecution(potential), potential) < 60.0


def test_without_kernels_there_is_one_warning(monkeypatch):
    def refuse(*arguments, **options):
        raise ExecutionUnavailableError("there is no Triton")

    monkeypatch.setattr(module, "TritonExecution", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        execution = module.faster_execution(make_potential())
    (warning,) = (w for w in caught if w.category is ExecutionWarning)
    assert "without fused kernels: there is no Triton" in str(warning.message)
    values = execution.evaluate(Structures.from_atoms(bulk("C")), ("energy",))
    assert values["energy"].isfinite().all()


def test_a_model_without_energy_has_nothing_to_measure():
    execution = module.faster_execution(make_potential(heads=("dipole",)))
    assert type(execution) is EagerExecution
