# SPDX-License-Identifier: MIT
"""A model for torch-sim, which moves many systems at once.

Outputs have torch-sim's names and shapes; its units, eV, Å and e, are those of eqcalc. Its cells
have vectors as columns.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from eqcalc.calculator import EqCalculator
from eqcalc.models.compositions import check_charge, warn_of_cell, warn_of_composition
from eqcalc.runtime.execution import ExecutionUnavailableError
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, known_elements

if TYPE_CHECKING or importlib.util.find_spec("torch_sim") is None:
    ModelInterface = nn.Module
else:
    from torch_sim.models.interface import ModelInterface

#: torch-sim's names of quantities (``torch_sim.typing.SystemExtras``).
_NAMES = {"dipole": "total_polarization", "polarizability": "polarizability"}
#: torch-sim's names of the total charge of a system, the preferred one first.
_CHARGES = ("total_charge", "charge")


class TorchSimModel(ModelInterface):
    """A model with the interface of torch-sim.

    Besides energy, forces and stress it returns ``total_polarization``, the dipole moment
    ``[n_systems, 3]`` e Å, and ``polarizability`` ``[n_systems, 3, 3]`` e²Å²/eV, which torch-sim
    keeps with the state (``state.total_polarization``) for its reporters. Those of periodic systems
    take read-outs of the form ``local``. Isolated systems have no stress.

    The total charge is that of the state, ``total_charge`` or ``charge`` ``[n_systems]`` e, or
    zero. The dipole moment of an ion is about its centre of mass, with standard masses.

    Parameters
    ----------
    calculator
        The model, on its device.
    dtype
        Of all outputs; the precision of the network is that of the calculator.
    compute_forces, compute_stress, compute_polarization
        What to evaluate besides the energy; stresses of periodic systems.

    Raises
    ------
    ExecutionUnavailableError
        torch-sim is not installed.

    Examples
    --------
    >>> import torch_sim as ts  # doctest: +SKIP
    >>> model = TorchSimModel(EqCalculator("ethanol"))  # doctest: +SKIP
    >>> state = ts.integrate(  # doctest: +SKIP
    ...     [atoms] * 64,
    ...     model,
    ...     integrator=ts.Integrator.nve,
    ...     n_steps=1000,
    ...     temperature=300.0,
    ...     timestep=0.0005,
    ... )
    """

    def __init__(
        self,
        calculator: EqCalculator,
        *,
        dtype: torch.dtype = torch.float64,
        compute_forces: bool = True,
        compute_stress: bool = False,
        compute_polarization: bool = True,
    ) -> None:
        if ModelInterface is nn.Module:
            raise ExecutionUnavailableError(
                "pip install 'eqcalc[torch-sim]', with Python 3.12 or newer", key="torch-sim"
            )
        super().__init__()
        calculator.potential.require_outputs(["energy"])
        self._calculator = calculator
        self._device = calculator.potential.device
        self._dtype = dtype
        self._compute_forces = compute_forces
        self._compute_stress = compute_stress
        #: Whether the dipole moment and the polarizability are evaluated.
        self.compute_polarization = compute_polarization
        self._seen: tuple[Any, ...] = ()
        self._batch: Structures | None = None
        self._available: tuple[str, ...] = ()

    @property
    def compute_forces(self) -> bool:
        """Whether forces are evaluated."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = value

    @property
    def compute_stress(self) -> bool:
        """Whether stresses of periodic systems are evaluated."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = value

    def forward(self, state: Any, **_: Any) -> dict[str, Tensor]:
        """Return the quantities of all systems of a state.

        Raises
        ------
        InvalidInputError
            The state is on another device, has charges that the model was not trained on, or is
            periodic with a cell without volume.
        UnknownElementError
            It has elements that the model does not know.
        """
        structures = self._structures(state)
        wanted = {"energy"}
        if self._compute_forces:
            wanted.add("forces")
        if self._compute_stress:
            wanted.add("stress")
        if self.compute_polarization:
            wanted.update(_NAMES)
        names = wanted.intersection(self._available)
        values = self._calculator.execution.evaluate(structures, names)
        return {
            _NAMES.get(name, name): value.detach().to(self._dtype) for name, value in values.items()
        }

    def _structures(self, state: Any) -> Structures:
        """Return a state as a batch; only positions and cells are read again in every step."""
        stated = [getattr(state, name, None) for name in _CHARGES]
        charge = next((one for one in stated if one is not None), None)
        parts = (state.atomic_numbers, state.system_idx, state.pbc, charge)
        # objects that live on cannot be mistaken for others; their versions count changes in place
        seen = tuple((part, None if part is None else part._version) for part in parts)
        if self._batch is None or any(
            one is not other or version != before
            for (one, version), (other, before) in zip(seen, self._seen, strict=True)
        ):
            self._batch = self._checked(state, charge)
            self._available = self._calculator.potential.available_for(self._batch)
            self._seen = seen
        cell = None if self._batch.cell is None else _rows(state.cell)
        return self._batch.with_positions(state.positions.detach().double(), cell)

    def _checked(self, state: Any, charge: Tensor | None) -> Structures:
        potential = self._calculator.potential
        if state.device != self._device:
            raise InvalidInputError(
                key="state.device", value=str(state.device), expected=str(self._device)
            )
        counts = torch.bincount(state.system_idx)
        known_elements(state.atomic_numbers.tolist(), potential.references.elements)
        for total in [] if charge is None else sorted(set(charge.tolist())):
            check_charge(potential.metadata, total)
        cell, pbc = _rows(state.cell), state.pbc.expand(len(counts), 3)
        if not bool(state.pbc.any()):
            molecules = state.atomic_numbers.cpu().split(counts.tolist())
            for numbers in {tuple(sorted(numbers.tolist())) for numbers in molecules}:
                warn_of_composition(potential.metadata, np.array(numbers))
        elif not bool((torch.linalg.det(cell).abs() > 1e-6).all()):
            raise InvalidInputError(
                key="state.cell", value=cell.tolist(), expected="cells with a volume"
            )
        else:
            warn_of_cell(potential.of_isolated)
        return Structures.pack(
            state.atomic_numbers, state.positions.detach().double(), counts, charge, cell, pbc
        )


def _rows(cell: Tensor) -> Tensor:
    """Return cells with their vectors as rows."""
    return cell.detach().double().transpose(-2, -1).contiguous()
