# SPDX-License-Identifier: MIT
"""Models compiled ahead of time for a molecule with AOTInductor, and cached on disk."""

from __future__ import annotations

import copy
import functools
import hashlib
import json
import logging
import platform
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.fx import GraphModule

import eqcalc
from eqcalc.models.checkpoint import model_hash
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.neighbors import all_pairs
from eqcalc.runtime.cpp_compiler import compiler, find, processor, require_compiler, store
from eqcalc.runtime.execution import (
    ExecutionUnavailableError,
    ExecutionWarning,
    ModelChangedError,
    OneMoleculeExecution,
    joined,
)
from eqcalc.runtime.verification import trial_molecule, trial_positions, verify
from eqcalc.structures import Structures

_SUFFIX = ".pt2"


_log = logging.getLogger(__name__)

#: Structures per pass on a CPU, few enough to fit in its caches.
_PASS = 8
#: Largest number of structures per pass on other devices.
_LARGEST = 4096


class CompiledExecution(OneMoleculeExecution):
    """Execution of one molecule with programs compiled for it.

    A program has a fixed batch size. To keep their number small, a CPU evaluates eight structures
    at a time and the rest one by one, or padded to eight if there are more than four; other devices
    pad to a power of two. One set of programs computes energy and forces, another all quantities of
    the model: at most four programs per molecule on a CPU. Each is compiled when first needed,
    verified against the eager execution and cached on disk; later processes load it from there and
    verify it again.

    Parameters
    ----------
    potential
        The model, in float32 or float64.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    only_cached
        Never compile: batches without a cached program are executed eagerly.

    Raises
    ------
    ExecutionUnavailableError
        The model cannot be compiled here, or a program disagrees with the eager execution. Later
        calls that need a new program may raise it too.
    """

    name: ClassVar[str] = "compiled"
    manner: ClassVar[str] = "program compiled for the molecule"
    compiles: ClassVar[bool] = True

    def __init__(
        self,
        potential: Potential,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        only_cached: bool = False,
    ) -> None:
        super().__init__(potential, skin=0.0)
        self.only_cached = only_cached
        self._numbers = torch.as_tensor(numbers, dtype=torch.int64)
        self._charge = charge
        #: Number of programs compiled rather than loaded from the cache, and the time spent [s].
        self.compilations, self.compilation_time = 0, 0.0
        self._sets = _quantities(potential, self._numbers)
        self._programs: dict[Specification, Program | None] = {}
        self._parameters = list(potential.parameters())
        self._versions = [parameter._version for parameter in self._parameters]
        self._program(_usual(potential.device), self._sets[-1])

    @classmethod
    def in_cache(cls, potential: Potential, numbers: Tensor, *, charge: float = 0.0) -> bool:
        """Return whether the cache has a loadable program for the molecule."""
        numbers = torch.as_tensor(numbers, dtype=torch.int64)
        wanted = [
            _specification(numbers, charge, n, names)
            for n in sorted({1, _usual(potential.device)})
            for names in _quantities(potential, numbers)
        ]
        try:
            return any(find(program_key(potential, key), _SUFFIX) for key in wanted)
        except OSError:
            return False

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate copies of the molecule; see :class:`~eqcalc.runtime.Execution`.

        Raises
        ------
        ModelChangedError
            The parameters of the model have changed since.
        """
        if self._versions != [parameter._version for parameter in self._parameters]:
            raise ModelChangedError
        self.potential.require_outputs(quantities, structures)
        names = next(names for names in self._sets if set(names) >= set(quantities))
        shape = (structures.n_structures, len(self._numbers), 3)
        positions = structures.positions.detach().reshape(shape)
        parts = []
        for block, size in _blocks(positions):
            program = self._program(size, names)
            if program is None:
                stack = Structures.stack(self._numbers, block, self._charge)
                parts.append(super().evaluate(stack, names))
                continue
            padding = block[-1:].expand(size - len(block), -1, -1)
            # programs assume contiguous input and do not check it
            values = dict(zip(names, program(torch.cat([block, padding])), strict=True))
            # copied, as a program may reuse its memory
            part = {name: value[: len(block)].clone() for name, value in values.items()}
            if "forces" in part:
                part["forces"] = part["forces"].reshape(-1, 3)
            parts.append(part)
        values = joined(parts)
        return {name: values[name] for name in quantities}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_programs": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._versions = [parameter._version for parameter in self._parameters]

    def _program(self, n_structures: int, names: tuple[str, ...]) -> Program | None:
        """Return a program, or None if it is not cached and compiling is off."""
        wanted = _specification(self._numbers, self._charge, n_structures, names)
        if wanted not in self._programs:
            try:
                found = self._load(wanted)
            except ExecutionUnavailableError as reason:
                if self.only_cached and self._programs:  # not at the start
                    warnings.warn(
                        f"evaluating {n_structures} structures eagerly: {reason}",
                        ExecutionWarning,
                        stacklevel=4,
                    )
                elif self.only_cached:
                    raise
                found = False
            if not found and self.only_cached:
                self._programs[wanted] = None
            elif not found:
                self._compile(wanted)
        return self._programs[wanted]

    def _load(self, wanted: Specification) -> bool:
        """Load a program from the cache and verify it; return whether there is one."""
        try:
            path = find(program_key(self.potential, wanted), _SUFFIX)
        except OSError as error:
            raise ExecutionUnavailableError(f"cannot be read: {error}", key="cache") from error
        if path is not None:
            self._adopt(wanted, path)
        return path is not None

    def _compile(self, wanted: Specification) -> None:
        """Compile a program, cache and verify it."""
        begin = time.perf_counter()
        try:
            path = store(
                program_key(self.potential, wanted),
                _SUFFIX,
                lambda target: compile_program(self.potential, wanted, target),
            )
        except OSError as error:
            raise ExecutionUnavailableError(f"cannot be written: {error}", key="cache") from error
        took = time.perf_counter() - begin
        self.compilations += 1
        self.compilation_time += took
        _log.info(
            "compiled %s for %d structures in %.0f s", wanted.quantities, wanted.n_structures, took
        )
        self._adopt(wanted, path)

    def _adopt(self, wanted: Specification, path: Path) -> None:
        """Load a program and verify it; one that fails is deleted, to be compiled again."""
        trial = trial_molecule(self.potential, self._numbers, wanted.n_structures, self._charge)
        try:
            self._programs[wanted] = load_program(path, self.potential.device)
            verify(self, (trial,), wanted.quantities)
        except ExecutionUnavailableError:
            self._programs.pop(wanted, None)
            path.unlink(missing_ok=True)
            raise


def _quantities(potential: Potential, numbers: Tensor) -> list[tuple[str, ...]]:
    """Return the sets of quantities that have programs, the smaller one first."""
    everything = potential.available_for(trial_molecule(potential, numbers, 1))
    small = tuple(name for name in everything if name in ("energy", "forces"))
    return list(dict.fromkeys([small, everything])) if small else [everything]


def _specification(
    numbers: Tensor, charge: float, n_structures: int, names: tuple[str, ...]
) -> Specification:
    return Specification(tuple(numbers.tolist()), float(charge), n_structures, names)


def _usual(device: torch.device) -> int:
    """Return the batch size of the program compiled on construction."""
    return _PASS if device.type == "cpu" else 1


def _blocks(positions: Tensor) -> Iterator[tuple[Tensor, int]]:
    """Split structures into blocks, each with the batch size of its program."""
    if positions.device.type != "cpu":
        for block in positions.split(_LARGEST):
            yield block, 1 << (len(block) - 1).bit_length()
        return
    for block in positions.split(_PASS):
        if len(block) > _PASS // 2:
            yield block, _PASS
        else:
            for single in block.split(1):
                yield single, 1


# --- programs: traced, energy gradient included, and compiled -----------------------

# Tracing runs the model once on fake tensors and records every operation, the backward pass
# included, as one flat graph for one molecule and one batch size, in which all pairs are constants.
# PyTorch's AOTInductor compiles the graph through C++, or Triton on a GPU, into a package that runs
# without Python.

_PACKAGE = Path(eqcalc.__file__).parent
#: Settings that determine the traced operations.
_SOURCES = ("models", "structures.py", "neighbors.py", "runtime/ahead_of_time.py")

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
