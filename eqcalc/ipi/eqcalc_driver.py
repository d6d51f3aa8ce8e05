# SPDX-License-Identifier: MIT
"""eqcalc as an i-PI driver: ``<pes> custom </pes>``, ``<pes_path>`` this file.

i-PI loads this file by its path under the name ``eqcalc_driver``; the script
``i-pi-py_driver -m custom -P .../eqcalc_driver.py -o model=...,symbols=...`` does the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ipi.pes.dummy import Dummy_driver

from eqcalc.ipi.evaluation import BeadEvaluator, parse_quantities
from eqcalc.ipi.protocol import Result
from eqcalc.validation import InvalidInputError, known_keys

__DRIVER_NAME__ = "eqcalc"
__DRIVER_CLASS__ = "EqcalcDriver"

#: Parameters added by i-PI.
_INJECTED = {"verbose", "verbosity"}
_PARAMETERS = (
    *("model", "symbols", "quantities", "device", "precision", "charge", "execution"),
    *("periodic", "correction"),
)


class EqcalcDriver(Dummy_driver):
    """All beads of all systems in one call of the model.

    Parameters
    ----------
    model, symbols
        Model file, and the elements in the order of the atoms, such as ``C2OH6``.
    quantities
        Quantities to evaluate, joined by ``+``. Without ``forces`` the component must have
        ``weight='0'``.
    device, precision, charge, execution
        See :func:`eqcalc.runtime.load_evaluator`.
    periodic
        The atoms fill the cell of i-PI; by default they are a molecule, whose cell is ignored.
    correction
        File of the correction of the potential for ``Te-PIGS``, if it is to be added.

    Raises
    ------
    InvalidInputError
        A parameter is unknown or invalid, or the model does not exist.
    """

    def __init__(
        self,
        model: str,
        symbols: str,
        quantities: str = "energy+forces+dipole+polarizability",
        device: str | None = None,
        precision: str | None = None,
        charge: float = 0.0,
        execution: str | None = None,
        periodic: bool = False,
        correction: str | None = None,
        **others: Any,
    ) -> None:
        unknown = {name: value for name, value in others.items() if name not in _INJECTED}
        known_keys(unknown, _PARAMETERS, section="parameters")
        self.evaluate = BeadEvaluator.load(
            str(model),
            str(symbols),
            quantities=parse_quantities(quantities),
            device=device,
            precision=precision,
            charge=float(charge),
            execution=execution,
            periodic=bool(periodic),
            correction=correction,
        )
        super().__init__(verbose=bool(others.get("verbosity", others.get("verbose", False))))

    def compute(
        self, cell: np.ndarray | list[np.ndarray], pos: np.ndarray | list[np.ndarray]
    ) -> Result | list[Result]:
        """Evaluate ``[n_atoms, 3]`` in a cell with vectors as columns [bohr], or lists of them."""
        if not isinstance(cell, list):
            return self.evaluate(np.asarray(pos)[None], np.asarray(cell)[None])[0]
        counts = sorted({len(p) for p in pos})
        if len(counts) != 1:
            raise InvalidInputError(
                key="atoms",
                value=counts,
                expected="the same molecule in all systems of a force field",
            )
        return self.evaluate(np.stack(list(pos)), np.stack(cell))
