# SPDX-License-Identifier: MIT
"""Evaluations, energy gradient included, traced and compiled ahead of time.

Tracing runs the model once on fake tensors and records every operation, the backward pass included,
as one flat graph for one molecule and one batch size, in which all pairs are constants. PyTorch's
AOTInductor compiles the graph through C++, or Triton on a GPU, into a package that runs without
Python.
"""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import platform
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

import eqcalc
from eqcalc.models.checkpoint import model_hash
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.neighbors import all_pairs
from eqcalc.runtime.cpp_compiler import compiler, processor, require_compiler
from eqcalc.runtime.execution import ExecutionUnavailableError
from eqcalc.runtime.verification import trial_positions
from eqcalc.structures import Structures

_PACKAGE = Path(eqcalc.__file__).parent
#: Settings that determine the traced operations.
_SOURCES = ("models", "structures.py", "neighbors.py", "runtime/programs.py")

#: Positions ``[n_structures, n_atoms, 3]`` Å to the quantities of the specification, in order.
Program = Callable[[Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class Specification:
    """Molecule, batch size and quantities of a program.

    Parameters
    ----------
    numbers
        Atomic numbers of the molecule.
    charge
        Its total charge [e].
    n_structures
        Number of structures.
    quantities
        Names of its outputs, forces as ``[n_structures, n_atoms, 3]``.
    """

    numbers: tuple[int, ...]
    charge: float
    n_structures: int
    quantities: tuple[str, ...]


def program_key(potential: Potential, specification: Specification) -> str:
    """Return a name that identifies everything the content of a program depends on."""
    device = potential.device
    description = {
        "specification": asdict(specification),
        "model": model_hash(potential),
        "precision": precision_of(potential),
        "device": device.type,
        "gpu": _gpu(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "versions": [eqcalc.__version__, torch.__version__, _sources()],
        "compiler": compiler(),
        "machine": [platform.machine(), platform.system(), processor()],
    }
    text = json.dumps(description, sort_keys=True)
    return f"program-{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def compile_program(potential: Potential, specification: Specification, target: Path) -> None:
    """Trace and compile a program; this takes from half a minute to several minutes.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    specification
        Molecule, batch size and quantities.
    target
        Package to write.

    Raises
    ------
    ExecutionUnavailableError
        The model cannot be traced, because its operations depend on the positions,
        or compiled.
    """
    if precision_of(potential) not in ("float32", "float64"):
        raise ExecutionUnavailableError(
            "a model in this precision cannot be compiled",
            key="precision",
            value=precision_of(potential),
            expected="float32 or float64",
        )
    exported = trace(potential, specification)
    require_compiler()
    # the number of threads is compiled in and therefore part of the key
    settings = {"cpp.threads": torch.get_num_threads()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside PyTorch
            torch._inductor.aoti_compile_and_package(
                exported, package_path=str(target), inductor_configs=settings
            )
    except Exception as error:  # each stage of the compiler raises its own types
        raise ExecutionUnavailableError(
            f"PyTorch cannot compile it: {_first(error)}", key="model"
        ) from error


def trace(potential: Potential, specification: Specification) -> torch.export.ExportedProgram:
    """Return the graph of an evaluation, backward pass included.

    Raises
    ------
    ExecutionUnavailableError
        The operations depend on the positions.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    names, n = specification.quantities, specification.n_structures
    numbers = torch.tensor(specification.numbers, device=potential.device)
    # other positions than those of the verification
    positions = trial_positions(len(numbers), n + 1)[1:].to(potential.device)
    network = copy.deepcopy(potential).requires_grad_(False)
    stack = Structures.stack(numbers, positions, specification.charge)
    pairs = all_pairs(stack)

    def evaluate(positions: Tensor) -> tuple[Tensor, ...]:
        values = network.evaluate(stack.with_positions(positions.reshape(-1, 3)), pairs, names)
        if "forces" in values:
            values["forces"] = values["forces"].reshape(positions.shape)
        return tuple(values[name] for name in names)

    try:
        with (
            warnings.catch_warnings(),
            torch.inference_mode(False),
            torch.enable_grad(),
            # tracing is per thread, and autograd on a GPU would use another
            torch.autograd.set_multithreading_enabled(False),
        ):
            warnings.simplefilter("ignore")
            evaluate(positions)  # fills cached tables, which tracing would leave without values
            # with fake tensors a dependence on values is an error
            graph = make_fx(evaluate, tracing_mode="fake", _allow_non_fake_inputs=True)(positions)
            _sum_instead_of_scattering(graph)
            return torch.export.export(graph, (positions,))
    except Exception as error:
        raise ExecutionUnavailableError(
            "cannot be traced, for example because it searches neighbours for each structure: "
            f"{_first(error)}",
            key=type(potential.representation).__name__,
        ) from error


def _sum_instead_of_scattering(graph: GraphModule) -> None:
    """Replace scatters to constant indices, each occurring equally often, by sums.

    The backward pass of a gather over pairs is a scatter-add to atoms, which is serial. As the
    pairs are constant, they can be sorted by atom, and the sum along a dimension is vectorized.
    """
    aten = torch.ops.aten
    for node in graph.graph.find_nodes(op="call_function", target=aten.index_add.default):
        target, dimension, index, values = node.args
        if target.target is not aten.new_zeros.default or dimension or index.op != "get_attr":
            continue
        place, size = getattr(graph, index.target), target.args[1]
        counts = torch.bincount(place, minlength=size[0])
        if not bool((counts == counts[0]).all()):
            continue
        order = torch.argsort(place, stable=True)
        name = f"order_of_{node.name}"
        graph.register_buffer(name, order)
        with graph.graph.inserting_before(node):
            given = (values, 0, graph.graph.get_attr(name))
            ordered = graph.graph.call_function(aten.index_select.default, given)
            shape = [size[0], int(counts[0]), *size[1:]]
            split = graph.graph.call_function(aten.reshape.default, (ordered, shape))
            total = graph.graph.call_function(aten.sum.dim_IntList, (split, [1]))
        node.replace_all_uses_with(total)
    graph.graph.eliminate_dead_code()
    graph.recompile()


def load_program(path: Path, device: torch.device) -> Program:
    """Load the program of a package.

    Raises
    ------
    ExecutionUnavailableError
        It cannot be loaded.
    """
    options: dict[str, Any] = {}
    if device.type == "cuda" and device.index is not None:
        options["device_index"] = device.index
    try:
        package = torch._inductor.aoti_load_package(str(path), **options)
    except Exception as error:
        raise ExecutionUnavailableError(
            f"cannot be loaded: {_first(error)}", key="program", file=path
        ) from error

    def program(positions: Tensor) -> Sequence[Tensor]:
        with torch.no_grad():
            values: Sequence[Tensor] = package(positions)
        return values

    return program


def _gpu(device: torch.device) -> list[Any]:
    properties = torch.cuda.get_device_properties(device)
    return [properties.name, properties.major, properties.minor, torch.version.cuda]


@functools.cache
def _sources() -> str:
    digest = hashlib.sha256()
    for name in _SOURCES:
        place = _PACKAGE / name
        for source in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
