# SPDX-License-Identifier: MIT
"""The potential of eqcalc, or one that costs nothing, with a clock inside; for speed.py."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from eqcalc.ipi.eqcalc_driver import EqcalcDriver
from eqcalc.ipi.protocol import Result

__DRIVER_NAME__ = "timed"
__DRIVER_CLASS__ = "TimedDriver"

#: Hartree/bohr².
_STIFFNESS = 0.1
_EXTRAS = json.dumps({"dipole": [0.0] * 3, "polarizability": [0.0] * 9})


class TimedDriver(EqcalcDriver):
    """Adds up CPU time of the process, of the model, and of what is around the model.

    Parameters
    ----------
    calls
        The report is written at this call.
    warm
        The clocks start after this call.
    report
        Where it is written (JSON).
    free
        Hold each atom where it was at the first call, instead of calling the model.
    others
        As of EqcalcDriver.
    """

    def __init__(
        self, calls: int, warm: int, report: str, free: bool = False, **others: Any
    ) -> None:
        super().__init__(**others)
        self._calls, self._warm, self._report, self._free = calls, warm, Path(report), free
        self._count, self._start, self._inside, self._model = 0, 0.0, 0.0, 0.0
        self._home: Any = None
        evaluator = self.evaluate.evaluator

        def timed(positions: Any, names: Any) -> Any:
            begin = time.process_time()
            values = evaluator(positions, names)
            self._model += time.process_time() - begin
            return values

        timed.numbers = evaluator.numbers  # type: ignore[attr-defined]
        timed.provenance = evaluator.provenance  # type: ignore[attr-defined]
        self.evaluate.evaluator = timed  # type: ignore[assignment]

    def compute(self, cell: Any, pos: Any) -> Any:
        """Evaluate, see EqcalcDriver."""
        begin = time.process_time()
        result = self._springs(np.array(pos)) if self._free else super().compute(cell, pos)
        end = time.process_time()
        self._inside += end - begin
        self._count += 1
        if self._count == self._warm:
            self._start, self._inside, self._model = end, 0.0, 0.0
        if self._count == self._calls:
            seconds = {"all": end - self._start, "inside": self._inside, "model": self._model}
            self._report.write_text(json.dumps(seconds))
        return result

    def _springs(self, pos: np.ndarray) -> list[Result]:
        """Return forces that cost nothing and keep the molecule together."""
        extras = _EXTRAS if "dipole" in self.evaluate.quantities else ""
        if self._home is None:
            self._home = pos[0].copy()
        moved = pos - self._home
        energies = 0.5 * _STIFFNESS * np.square(moved).sum(axis=(1, 2))
        nothing = np.zeros((3, 3))
        parts = zip(energies.tolist(), -_STIFFNESS * moved, strict=True)
        return [Result(energy, forces, nothing, extras) for energy, forces in parts]
