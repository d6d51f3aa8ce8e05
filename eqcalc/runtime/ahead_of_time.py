# SPDX-License-Identifier: MIT
"""Models compiled ahead of time for a molecule with AOTInductor, and cached on disk."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Collection, Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.runtime import programs
from eqcalc.runtime.cpp_compiler import find, store
from eqcalc.runtime.execution import (
    ExecutionUnavailableError,
    ExecutionWarning,
    ModelChangedError,
    OneMoleculeExecution,
    joined,
)
from eqcalc.runtime.programs import Program, Specification
from eqcalc.runtime.verification import trial_molecule, verify
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
            return any(find(programs.program_key(potential, key), _SUFFIX) for key in wanted)
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
            path = find(programs.program_key(self.potential, wanted), _SUFFIX)
        except OSError as error:
            raise ExecutionUnavailableError(f"cannot be read: {error}", key="cache") from error
        if path is None:
            return False
        try:
            self._check(wanted, programs.load_program(path, self.potential.device))
        except ExecutionUnavailableError:
            path.unlink(missing_ok=True)  # any failure to load means compiling again
            raise
        return True

    def _compile(self, wanted: Specification) -> None:
        """Compile a program, cache and verify it."""
        begin = time.perf_counter()
        try:
            path = store(
                programs.program_key(self.potential, wanted),
                _SUFFIX,
                lambda target: programs.compile_program(self.potential, wanted, target),
            )
        except OSError as error:
            raise ExecutionUnavailableError(f"cannot be written: {error}", key="cache") from error
        took = time.perf_counter() - begin
        self.compilations += 1
        self.compilation_time += took
        _log.info(
            "compiled %s for %d structures in %.0f s", wanted.quantities, wanted.n_structures, took
        )
        try:
            self._check(wanted, programs.load_program(path, self.potential.device))
        except ExecutionUnavailableError:
            path.unlink(missing_ok=True)
            raise

    def _check(self, wanted: Specification, program: Program) -> None:
        self._programs[wanted] = program
        trial = trial_molecule(self.potential, self._numbers, wanted.n_structures, self._charge)
        try:
            verify(self, (trial,), wanted.quantities)
        except ExecutionUnavailableError:
            del self._programs[wanted]
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
