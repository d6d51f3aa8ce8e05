# SPDX-License-Identifier: MIT
"""Several scripts in threads share one evaluation per step.

Every script drives its own atoms with its own calculator, as if it were alone.
When all scripts that still run wait for the model, their structures are
evaluated as one batch and everyone goes on. Nothing depends on time: a script
that ends, or fails, leaves, and the others no longer wait for it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from eqcalc.runtime.cpu_kernels import Closest
from eqcalc.runtime.evaluator import on_the_host
from eqcalc.runtime.execution import Execution
from eqcalc.structures import Structures

T = TypeVar("T")

_NOTHING = Closest(math.inf, 0, 0)


@dataclass
class _Request:
    """What one script waits for."""

    seat: int
    structures: Structures
    quantities: tuple[str, ...]
    values: dict[str, Tensor] | None = None
    closest: Closest = _NOTHING
    error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.values is not None or self.error is not None


class Rendezvous:
    """An execution that gathers the calls of several threads into one.

    :func:`eqcalc.calculator.run_together` is the usual way to use it.

    Parameters
    ----------
    execution
        What evaluates the batches.
    """

    name: ClassVar[str] = "rendezvous"

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        self._condition = threading.Condition()
        self._seat = threading.local()
        self._running = 0
        self._interrupted = False
        self._ended = threading.Event()
        self._waiting: list[_Request] = []
        self._last: tuple[list[Structures], Structures] | None = None
        #: Numbers of structures of the batches evaluated so far.
        self.batches: list[int] = []

    def run(self, script: Callable[[T], Any], arguments: Sequence[T]) -> list[Any]:
        """Call `script` with each of the arguments, in threads, and return what they return.

        Raises
        ------
        Exception
            The first that a script raised, after all have ended.
        KeyboardInterrupt
            The caller was interrupted; it is raised in every script at its next evaluation,
            and here after all have ended.
        """
        results: list[Any] = [None] * len(arguments)
        errors: list[BaseException] = []

        def attend(seat: int) -> None:
            self._seat.number = seat
            try:
                results[seat] = script(arguments[seat])
            except BaseException as error:
                errors.append(error)
            finally:
                with self._condition:
                    self._running -= 1
                    self._meet()
                    if not self._running:
                        self._ended.set()

        self._running, self._interrupted = len(arguments), False
        self._ended.clear()
        threads = [
            threading.Thread(target=attend, args=(seat,), name=f"eqcalc-script-{seat}")
            for seat in range(len(arguments))
        ]
        for thread in threads:
            thread.start()
        try:
            # an interrupt is seen between waits; one during a join would spoil the thread
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

    def evaluate(
        self, structures: Structures, quantities: Collection[str]
    ) -> tuple[dict[str, Tensor], Closest]:
        """Wait for the others, and return what was asked for; see :class:`Execution`.

        Raises
        ------
        ValueError
            The structures are periodic.
        RuntimeError
            The call does not come from a script of :meth:`run`.
        """
        if structures.periodic:
            raise ValueError("only isolated molecules are evaluated together")
        if not hasattr(self._seat, "number"):
            raise RuntimeError("a calculator made for scripts that run together was used elsewhere")
        request = _Request(self._seat.number, structures, tuple(quantities))
        with self._condition:
            if self._interrupted:
                raise KeyboardInterrupt
            self._waiting.append(request)
            self._meet()
            self._condition.wait_for(lambda: request.done)
        if request.error is not None:
            raise request.error
        assert request.values is not None
        return request.values, request.closest

    def __deepcopy__(self, memo: object) -> Rendezvous:
        """Return this one: a copy of a calculator meets the same scripts."""
        return self

    def _interrupt(self) -> None:
        with self._condition:
            self._interrupted = True
            for request in self._waiting:
                request.error = KeyboardInterrupt()
            self._waiting = []
            self._condition.notify_all()

    def _meet(self) -> None:
        """Evaluate if nobody is missing; the lock is held, since all others wait anyway."""
        if not self._waiting or len(self._waiting) < self._running:
            return
        # in the order of the scripts, whoever came first
        requests = sorted(self._waiting, key=lambda request: request.seat)
        self._waiting = []
        for quantities in dict.fromkeys(request.quantities for request in requests):
            self._evaluate([r for r in requests if r.quantities == quantities], quantities)
        self._condition.notify_all()

    def _evaluate(self, requests: list[_Request], quantities: tuple[str, ...]) -> None:
        self.batches.append(len(requests))
        try:
            batch = self._joined([request.structures for request in requests])
            values, _ = self._execution.evaluate(batch, quantities)
            # to the host for all at once
            values = {name: torch.from_numpy(v) for name, v in on_the_host(values).items()}
            positions = batch.positions.cpu()
        except Exception as error:
            for request in requests:
                request.error = error
            return
        atom = 0
        for index, request in enumerate(requests):
            end = atom + request.structures.n_atoms
            request.closest = _closest(positions[atom:end])
            request.values = {
                name: (value[atom:end] if name == "forces" else value[index : index + 1]).clone()
                for name, value in values.items()
            }
            atom = end

    def _joined(self, structures: list[Structures]) -> Structures:
        """Return one batch, with the tensors of the last one where only positions differ."""
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


def _closest(positions: Tensor) -> Closest:
    """Return the closest pair of one molecule."""
    n = len(positions)
    if n < 2:
        return _NOTHING
    distances = torch.pdist(positions)
    index = int(distances.argmin())
    first, second = (int(atoms[index]) for atoms in torch.triu_indices(n, n, offset=1))
    return Closest(float(distances[index]), first, second)
