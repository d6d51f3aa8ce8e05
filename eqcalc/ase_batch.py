# SPDX-License-Identifier: MIT
"""ASE scripts on several molecules at once, with batched model evaluations.

Every script runs on its own atoms and calculator. When all running scripts wait for the model,
their structures are evaluated as one batch. There are no timeouts: batches do not depend on timing;
a script that ends or fails leaves the group.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from ase import Atoms
from torch import Tensor

from eqcalc.calculator import CalculatorInputError, EqCalculator
from eqcalc.models.potential import Potential
from eqcalc.neighbors import all_pairs
from eqcalc.quantities import quantity
from eqcalc.runtime import ClosestPair, Execution, to_numpy
from eqcalc.runtime.execution import closest_of
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError

T = TypeVar("T")


def run_together(
    model: str | Path | Potential,
    structures: Sequence[Atoms],
    script: Callable[[Atoms], T],
    *,
    device: torch.device | str | None = None,
    precision: str | None = None,
) -> list[T]:
    """Run an ASE script on several molecules at once, with the model called once per step.

    The script is any function of atoms, such as an ASE optimisation or dynamics. Each call runs in
    its own thread; when all running scripts wait for forces, these are evaluated as one batch.

    Parameters
    ----------
    model, device, precision
        As for :class:`EqCalculator`.
    structures
        Isolated molecules, possibly different, all distinct objects; each gets a calculator.
    script
        Called with each structure.

    Returns
    -------
    list
        What the scripts returned.

    Raises
    ------
    CalculatorInputError
        The same object is given twice, or something else than atoms.
    Exception
        The first exception of a script, raised after all have ended.

    Examples
    --------
    >>> run_together(model, frames, lambda atoms: BFGS(atoms).run(0.01))  # doctest: +SKIP
    """
    if isinstance(structures, Atoms) or not isinstance(structures, Iterable):
        raise CalculatorInputError(key="structures", value=structures, expected="a list of atoms")
    if not callable(script):
        raise CalculatorInputError(key="script", value=script, expected="a function of atoms")
    structures = list(structures)
    first: dict[int, int] = {}
    for index, atoms in enumerate(structures):
        if not isinstance(atoms, Atoms):
            raise CalculatorInputError(key=f"structures[{index}]", value=atoms, expected="atoms")
        if first.setdefault(id(atoms), index) != index:
            raise CalculatorInputError(
                f"{first[id(atoms)]} and {index} are the same object, which two scripts cannot "
                "move at once",
                key="structures",
                advice="give copies, atoms.copy()",
            )
    alone = EqCalculator(model, device=device, precision=precision)
    executor = BatchingExecutor(alone.execution)
    calculators = [EqCalculator(alone.potential, execution=executor) for _ in structures]
    for atoms, calculator in zip(structures, calculators, strict=True):
        atoms.calc = calculator
    try:
        return executor.run(script, structures)
    finally:
        for calculator in calculators:
            calculator.execution = alone.execution


@dataclass(eq=False)
class _Request:
    """A pending request of one script."""

    script: int
    structures: Structures
    quantities: tuple[str, ...]
    values: dict[str, Tensor] | None = None
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.values is not None or self.error is not None


class BatchingExecutor:
    """An execution that batches the calls of several threads.

    :func:`run_together` is the usual way to use it.

    Parameters
    ----------
    execution
        Evaluates the batches.
    """

    name: ClassVar[str] = "batching"

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self.potential = execution.potential
        self._condition = threading.Condition()
        self._thread = threading.local()
        self._running = 0
        self._interrupted = False
        self._ended = threading.Event()
        self._waiting: list[_Request] = []
        self._last: tuple[list[Structures], Structures] | None = None
        #: Numbers of structures of the batches evaluated so far.
        self.batches: list[int] = []

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated."""
        return self._execution.parts

    def run(self, script: Callable[[T], Any], arguments: Sequence[T]) -> list[Any]:
        """Call `script` with each of the arguments, in threads, and return what they return.

        Raises
        ------
        Exception
            The first exception of a script, raised after all have ended.
        KeyboardInterrupt
            The caller was interrupted; it is raised in every script at its next evaluation,
            and here after all have ended.
        """
        results: list[Any] = [None] * len(arguments)
        errors: list[BaseException] = []

        def run_script(index: int) -> None:
            self._thread.script = index
            try:
                results[index] = script(arguments[index])
            except BaseException as error:
                errors.append(error)
            finally:
                with self._condition:
                    self._running -= 1
                    self._evaluate_if_all_wait()
                    if not self._running:
                        self._ended.set()

        self._running, self._interrupted = len(arguments), False
        self._ended.clear()
        threads = [
            threading.Thread(target=run_script, args=(index,), name=f"eqcalc-script-{index}")
            for index in range(len(arguments))
        ]
        for thread in threads:
            thread.start()
        try:
            # interrupts are handled between waits; during a join they would corrupt the thread
            while threads and not self._ended.wait(0.2):
                pass
        except KeyboardInterrupt:
            self._interrupt()
            self._ended.wait()
            raise
        finally:
            if self._ended.is_set():
                for thread in threads:
                    thread.join()
        if errors:
            raise errors[0]
        return results

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Wait for the other scripts and return the quantities; see :class:`Execution`.

        Raises
        ------
        InvalidInputError
            The structures are periodic.
        CalculatorInputError
            The call does not come from a script of :meth:`run`.
        """
        if structures.periodic:
            raise InvalidInputError(key="structures", expected="isolated molecules")
        if not hasattr(self._thread, "script"):
            raise CalculatorInputError(
                "made for a script of run_together, and used in another thread or after it",
                key="calc",
                advice="give each thread a calculator of its own, EqCalculator(model)",
            )
        request = _Request(self._thread.script, structures, tuple(quantities))
        with self._condition:
            if self._interrupted:
                raise KeyboardInterrupt
            self._waiting.append(request)
            self._evaluate_if_all_wait()
            self._condition.wait_for(lambda: request.done)
        if request.error is not None:
            raise request.error
        assert request.values is not None
        return request.values

    def closest_pair(self, structures: Structures) -> ClosestPair:
        """Return the closest pair of one molecule."""
        alone = structures.to("cpu")
        return closest_of(alone, all_pairs(alone))

    def __deepcopy__(self, memo: object) -> BatchingExecutor:
        """Return this object, so that copies of a calculator join the same batches."""
        return self

    def _interrupt(self) -> None:
        with self._condition:
            self._interrupted = True
            for request in self._waiting:
                request.error = KeyboardInterrupt()
            self._waiting = []
            self._condition.notify_all()

    def _evaluate_if_all_wait(self) -> None:
        """Evaluate if all running scripts wait; the caller holds the lock."""
        if not self._waiting or len(self._waiting) < self._running:
            return
        # in the order of the scripts, not of their arrival
        requests = sorted(self._waiting, key=lambda request: request.script)
        self._waiting = []
        for quantities in dict.fromkeys(request.quantities for request in requests):
            self._evaluate([r for r in requests if r.quantities == quantities], quantities)
        self._condition.notify_all()

    def _evaluate(self, requests: list[_Request], quantities: tuple[str, ...]) -> None:
        self.batches.append(len(requests))
        try:
            batch = self._joined([request.structures for request in requests])
            values = self._execution.evaluate(batch, quantities)
            # one transfer to the host for all
            values = {name: torch.from_numpy(v) for name, v in to_numpy(values).items()}
        except Exception as error:
            for request in requests:
                request.error = error
            return
        atom = 0
        for index, request in enumerate(requests):
            end = atom + request.structures.n_atoms
            request.values = {
                name: value[
                    slice(atom, end) if quantity(name).per_atom else slice(index, index + 1)
                ].clone()
                for name, value in values.items()
            }
            atom = end

    def _joined(self, structures: list[Structures]) -> Structures:
        """Return one batch, reusing the tensors of the last one if only positions differ."""
        positions = torch.cat([s.positions for s in structures])
        if self._last is not None:
            before, batch = self._last
            if len(before) == len(structures) and all(
                old.numbers is new.numbers and old.charge is new.charge
                for old, new in zip(before, structures, strict=True)
            ):
                return batch.with_positions(positions)
        batch = Structures.pack(
            torch.cat([s.numbers for s in structures]),
            positions,
            [s.n_atoms for s in structures],
            torch.cat([s.charge for s in structures]),
        )
        self._last = (structures, batch)
        return batch
