# SPDX-License-Identifier: MIT
"""Report on the machine and on the speed of every execution of a model."""

from __future__ import annotations

import os
import platform
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

import eqcalc
from eqcalc.facts import grouped
from eqcalc.models.compositions import UnknownCompositionWarning
from eqcalc.models.potential import Potential
from eqcalc.models.precision import PRECISIONS, in_precision, precision_of
from eqcalc.neighbors import STATIC_ATOMS
from eqcalc.runtime.ahead_of_time import CompiledExecution
from eqcalc.runtime.cpp_compiler import bundled_library, cache_folder, compiler
from eqcalc.runtime.cuda_graphs import CapturedCompiledExecution, CapturedExecution
from eqcalc.runtime.evaluator import eager_evaluator
from eqcalc.runtime.execution import EagerExecution, ExecutionUnavailableError
from eqcalc.runtime.selection import EXECUTIONS, evaluation_seconds, evaluator_for
from eqcalc.runtime.verification import trial_molecule, trial_positions, verify

#: Atoms of the trial molecule, and the batch sizes that are timed.
_ATOMS = 9
_BATCHES = (1, 16, 64)

_WIDTH = max(len(name) for name in EXECUTIONS)


def diagnose(potential: Potential, *, seconds: float = 0.3, compile: bool = False) -> str:
    """Describe the machine, and verify and time every execution of a model.

    The trial molecule has nine atoms of the elements that the model knows.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be tested.
    seconds
        Duration of each measurement.
    compile
        Compile the model if it is not in the cache, which takes minutes.
    """
    elements = potential.references.elements
    numbers = torch.tensor([elements[k % len(elements)] for k in range(_ATOMS)])
    with warnings.catch_warnings():  # warnings about the trial molecule are of no interest
        warnings.simplefilter("ignore", UnknownCompositionWarning)
        executions = _executions(potential, numbers, seconds, compile)
        precisions = _precisions(potential, numbers)
    lines = [
        *_machine(),
        "",
        *executions,
        "",
        *precisions,
    ]
    return "\n".join(lines)


def _machine() -> list[str]:
    rows = {
        "eqcalc": f"{eqcalc.__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()} on {sys.platform}",
        "processor": f"{_processor()}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads in use",
        "GPU": _gpu(),
        "kernels": _kernels(),
        "cache": _cache(),
    }
    return [f"{name:<10} {text}" for name, text in rows.items()]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _gpu() -> str:
    if not torch.cuda.is_available():
        return "none that torch can use"
    properties = torch.cuda.get_device_properties(0)
    memory = properties.total_memory / 2**30
    return f"{properties.name}, {memory:.0f} GiB, CUDA {torch.version.cuda}"


def _kernels() -> str:
    if (bundled := bundled_library(torch.float32)) is not None:
        return f"{bundled.name} and others of the wheel"
    command = compiler()
    return f"compiled by {command}" if command else "no compiler: install g++, or set $CXX"


def _cache() -> str:
    try:
        return str(cache_folder())
    except OSError as error:
        return f"cannot be used: {error}"


def _executions(potential: Potential, numbers: Tensor, seconds: float, compile: bool) -> list[str]:
    precision = precision_of(potential)
    lines = [
        f"A molecule of {_ATOMS} atoms on {potential.device} in {precision}; energy, forces and "
        "all other quantities of the model",
        f"{'execution':<{_WIDTH}} {'start':>8} "
        + " ".join(f"{f'{n} at once':>11}" for n in _BATCHES)
        + "   deviation from eager",
    ]
    chosen: str | None = None
    parts: Mapping[str, str] = {}
    for name, kind in EXECUTIONS.items():
        possible = kind is not CapturedCompiledExecution or potential.device.type == "cuda"
        slow = kind.compiles and not CompiledExecution.in_cache(potential, numbers)
        if slow and possible and not compile:
            lines.append(
                f"{name:<{_WIDTH}} not tried: it takes minutes to compile; --compile does it"
            )
            continue
        begin = time.perf_counter()
        options = {"only_cached": not compile} if kind.compiles else {}
        try:
            execution = kind.for_molecule(potential, numbers, **options)
        except ExecutionUnavailableError as reason:
            lines.append(f"{name:<{_WIDTH}} cannot be used: {reason}")
            continue
        start = time.perf_counter() - begin
        if not kind.compiles and chosen is None:
            chosen, parts = name, execution.parts
        times = " ".join(
            f"{_milliseconds(execution, numbers, n, seconds):8.2f} ms" for n in _BATCHES
        )
        worst = max(verify(execution, (trial_molecule(potential, numbers),)).values())
        lines.append(f"{name:<{_WIDTH}} {start:6.1f} s {times}   {worst:.0e}")
        compiled = execution.captured if isinstance(execution, CapturedExecution) else execution
        if isinstance(compiled, CompiledExecution):
            lines.append(
                f"{'':<{_WIDTH}} compiled now: {compiled.compilations} programs in "
                f"{compiled.compilation_time:.0f} s; the others were in the cache"
            )
    if potential.device.type == "cuda":  # the faster of two CUDA graphs
        evaluator = evaluator_for(potential, numbers)
        chosen, parts = evaluator.execution.name, evaluator.parts
    lines.append(f"By default the {chosen} execution is used.")
    lines.append(f"It evaluates {grouped(parts)}.")
    lines.append(
        f"Executed eagerly, molecules of up to {STATIC_ATOMS} atoms have all of their pairs, "
        "larger ones the nearest; kernels skip pairs beyond the cutoff; CUDA graphs evaluate all."
    )
    if chosen == EagerExecution.name:
        lines.append(
            "For a molecule for which the model was compiled (eqcalc simulate --execution "
            "compiled), it is the compiled one."
        )
    return lines


def _precisions(potential: Potential, numbers: Tensor) -> list[str]:
    if "forces" not in potential.quantities:
        return ["The model does not predict forces, so the precisions are not compared."]
    lines = [f"{'precision':<10} relative RMS error of the forces; recommended use"]
    forces: dict[str, Tensor] = {}
    for name, purpose in PRECISIONS.items():
        try:
            evaluator = eager_evaluator(in_precision(potential, name), numbers)
        except ValueError as reason:
            lines.append(f"{name:<10} {reason}")
            continue
        forces[name] = evaluator(trial_positions(_ATOMS), ("forces",))["forces"]
        exact = forces["float64"]
        error = float((forces[name] - exact).norm() / exact.norm().clamp(min=1e-30))
        lines.append(f"{name:<10} {error:.0e}  {purpose}")
    return lines


def _milliseconds(execution: EagerExecution, numbers: Tensor, n: int, seconds: float) -> float:
    batch = trial_molecule(execution.potential, numbers, n)
    names = execution.potential.available_for(batch)
    return 1e3 * evaluation_seconds(execution, batch, names, seconds)
