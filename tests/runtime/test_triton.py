# SPDX-License-Identifier: MIT
"""Triton kernels without a GPU: interpreted, compiled, and asked for where they cannot run."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from eqcalc.models import PotentialConfig, References
from eqcalc.models.potential import Potential
from eqcalc.models.registry import representation_config
from eqcalc.neighbors import Pairs
from eqcalc.runtime import ExecutionUnavailableError
from eqcalc.runtime.triton import message as triton_message
from eqcalc.runtime.triton.execution import CapturedTritonExecution, TritonExecution
from eqcalc.structures import Structures
from tests.conftest import make_potential, slow
from tests.errors import refused

NAMES = ("energy", "forces", "dipole", "polarizability")
ROOT = Path(__file__).parents[2]
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton has no wheels for this platform"
)
INTEGERS = {"sender", "receiver", "receiver_start", "by_sender", "sender_start"}
NUMBERS = {"scalars_stride", "n_pairs", "share"}


@needs_triton
@pytest.mark.slow
def test_the_interpreted_kernels_are_right():
    """Run ``tests/runtime/interpreted`` where Triton finds the variable when it is imported."""
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, "tests/runtime/interpreted"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr


@needs_triton
@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="needs Triton's compiler")
@pytest.mark.parametrize("name", ["to_receivers", "to_senders", "to_pairs", "to_weights"])
def test_kernels_compile_for_a_gpu_without_atomic_operations(name, tmp_path, monkeypatch):
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from eqcalc.runtime.triton import kernels as triton_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(triton_kernels, name)
    constants = {
        "FEATURES": 34, "RADIAL": 3, "SCALAR": True, "CARRIED": True, "OF_RADIAL": True,
        "OF_DIRECTIONS": True, "PAIRS": 16, "WAVES": 16, "BLOCK": 32,
    }  # fmt: skip
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}

    def kind(argument):
        if argument in constants:
            return "constexpr"
        return "*i64" if argument in INTEGERS else "i32" if argument in NUMBERS else "*fp32"

    source = ASTSource(
        fn=kernel,
        signature={argument: kind(argument) for argument in kernel.arg_names},
        constexprs={(kernel.arg_names.index(key),): value for key, value in constants.items()},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_stages": 1})
    assert len(compiled.asm["cubin"]) > 1000
    assert re.search(r"\bst\.global", compiled.asm["ptx"])
    assert not re.search(r"\b(atom|red)\.", compiled.asm["ptx"])


@pytest.mark.parametrize("training", [True, *slow(False)])
def test_launches_need_no_number_on_the_host(monkeypatch, training):
    """On the meta device looking at a value is an error, as waiting is while a GPU records."""
    launches = []

    class Kernel:
        def __init__(self, name):
            self.name = name

        def __getitem__(self, grid):
            assert all(type(n) is int and n > 0 for n in (grid if isinstance(grid, tuple) else ()))
            return lambda *tensors, **constants: launches.append((self.name, grid))

    names = ("to_receivers", "to_senders", "to_pairs", "to_weights")
    kernels = SimpleNamespace(**{name: Kernel(name) for name in names})
    monkeypatch.setattr(triton_message, "_kernels", lambda: kernels)
    potential = make_potential(features=134).to("meta")
    for message in potential.representation.messages:
        message.aggregation = triton_message.sum_messages
    stack = Structures.stack(
        torch.tensor([8, 1, 1], device="meta"),
        torch.empty(5, 3, 3, dtype=torch.float64, device="meta"),
        0.0,
    )
    indices = torch.empty(30, dtype=torch.int64, device="meta")
    pairs = Pairs(indices, indices, degree=2)
    values = potential.evaluate(stack, pairs, NAMES, create_graph=training)
    assert values["forces"].shape == (15, 3)
    if training:
        values["forces"].sum().backward()
        assert potential.representation.filters.weight.grad.shape == (3 * 3 * 134, 20)
    assert {name for name, _ in launches} >= {"to_receivers", "to_senders", "to_pairs"}
    assert ("to_receivers", (15, 5)) in launches  # five blocks of 32 features
    assert ("to_pairs", (2,)) in launches  # two tiles of 16 pairs


@needs_triton
@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="interpreted, they can run")
@pytest.mark.parametrize("kind", [TritonExecution, CapturedTritonExecution])
def test_without_a_gpu_they_are_unavailable(kind, ethanol):
    with refused(ExecutionUnavailableError, key="device"):
        kind.for_molecule(make_potential(), torch.tensor(ethanol.numbers))


def test_other_networks_have_no_kernels(ethanol):
    config = PotentialConfig(representation_config({"name": "schnet", "features": 4}), ("energy",))
    potential = Potential(config, References((1, 6, 8)))
    with refused(ExecutionUnavailableError, key="network"):
        TritonExecution.for_molecule(potential, torch.tensor(ethanol.numbers))


def test_what_is_missing_is_told(monkeypatch, ethanol):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with refused(ExecutionUnavailableError, key="triton"):
        TritonExecution.for_molecule(make_potential(), torch.tensor(ethanol.numbers))
