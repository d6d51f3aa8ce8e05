# SPDX-License-Identifier: MIT
"""A run that goes on is executed as it was begun."""

import pytest
import torch

from eqcalc.dynamics import SettingsError, recorded_execution, simulate
from eqcalc.models.precision import in_precision
from eqcalc.runtime import cpp_compiler as compiler
from eqcalc.runtime import evaluator_for
from tests.conftest import make_potential

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C++ compiler")


def run(ethanol, output, execution, steps, precision="float32"):
    potential = in_precision(make_potential(), precision)
    evaluator = evaluator_for(potential, torch.tensor(ethanol.numbers), execution=execution)
    return simulate(
        ethanol,
        evaluator,
        output=output,
        method="RPMD",
        beads=4,
        replicas=3,
        temperature=300.0,
        timestep=0.25,
        steps=steps,
        seed=1,
        observables={"positions": 2, "dipole": 2},
        progress=False,
    )


def test_the_execution_is_recorded_and_another_is_refused(ethanol, tmp_path):
    output = tmp_path / "run.h5"
    assert recorded_execution(output) is None
    run(ethanol, output, "eager", 4)
    assert recorded_execution(output) == "eager"
    with pytest.raises(SettingsError, match=r"evaluator\.execution \(was 'eager', now 'fused'\)"):
        run(ethanol, output, None, 8)


def test_another_precision_is_refused(ethanol, tmp_path):
    output = tmp_path / "run.h5"
    run(ethanol, output, "eager", 2, "bf16")
    difference = r"evaluator\.network_precision \(was 'bf16', now 'tf32'\)"
    with pytest.raises(SettingsError, match=difference):
        run(ethanol, output, "eager", 4, "tf32")


def test_a_resumed_run_of_compiled_kernels_is_bitwise_the_uninterrupted_one(ethanol, tmp_path):
    whole = run(ethanol, tmp_path / "whole.h5", None, 12)
    run(ethanol, tmp_path / "parts.h5", None, 6)
    parts = run(ethanol, tmp_path / "parts.h5", recorded_execution(tmp_path / "parts.h5"), 12)
    for name in ("positions", "dipole"):
        assert (whole.observable(name).values == parts.observable(name).values).all()
