# SPDX-License-Identifier: MIT
"""How dynamics calls a model: replicas × beads of one molecule in one call."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

import eqcalc
from eqcalc.models.checkpoint import model_hash
from eqcalc.models.compositions import warn_of_composition
from eqcalc.models.derivatives import time_derivatives
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.neighbors import STATIC_ATOMS, Pairs, all_pairs, nearest_pairs
from eqcalc.structures import Structures


class Evaluator(Protocol):
    """A model ready to be called on many configurations of one molecule."""

    #: Atomic numbers, ``[n_atoms]``.
    numbers: Tensor
    #: Names of what it gives.
    quantities: tuple[str, ...]
    #: What the numbers come from (JSON-able): model hash, level of theory, versions.
    provenance: dict[str, Any]

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate configurations.

        Parameters
        ----------
        positions
            ``[n_structures, n_atoms, 3]`` Å, float64.
        quantities
            Names among energy, forces, dipole, polarizability.

        Returns
        -------
        dict
            float64 tensors: energy ``[n_structures]`` eV, forces
            ``[n_structures, n_atoms, 3]`` eV/Å, dipole ``[n_structures, 3]`` e·Å,
            polarizability ``[n_structures, 3, 3]`` e²Å²/eV.
        """
        ...


class EagerEvaluator:
    """The reference execution: the model as written, operation by operation.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    charge
        Its total charge [e].
    chunk
        Largest number of structures in one pass through the network. On a CPU
        a pass of moderate size stays in the caches; on other devices there is
        no limit by default.

    Raises
    ------
    ValueError
        The molecule contains an element that the model does not know.
    """

    #: Name of the execution, part of the provenance: it decides the last digits.
    execution: ClassVar[str] = "eager"
    #: Whether it may take minutes to compile the model, and looks for that in the cache.
    compiles: ClassVar[bool] = False
    #: Largest molecule whose pairs are all evaluated, whatever their distance.
    static_atoms: ClassVar[float] = STATIC_ATOMS

    def __init__(
        self,
        potential: Potential,
        numbers: Tensor,
        *,
        charge: float = 0.0,
        chunk: int | None = None,
    ) -> None:
        numbers = torch.as_tensor(numbers, dtype=torch.int64)
        strangers = sorted(set(numbers.tolist()) - set(potential.references.elements))
        if strangers:
            raise ValueError(
                f"the model does not know the elements {strangers}; it was trained on "
                f"{list(potential.references.elements)}"
            )
        warn_of_composition(potential.metadata, numbers.cpu().numpy())
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk: expected a positive integer, got {chunk}")
        self.potential = potential
        self._executed = self.executed(potential)
        self.quantities = potential.quantities
        self.device = potential.device
        self.numbers = numbers.to(self.device)
        self.charge = charge
        self.chunk = chunk or (32 if self.device.type == "cpu" else None)
        self._pairs: dict[int, Pairs] = {}
        self.provenance: dict[str, Any] = {
            "model": model_hash(potential),
            **({} if potential.file is None else {"model_file": str(potential.file)}),
            "level_of_theory": potential.metadata.get("level_of_theory"),
            "network_precision": precision_of(potential),
            "execution": self.execution,
            "device": str(self.device),
            "eqcalc": eqcalc.__version__,
            "torch": torch.__version__,
        }

    def executed(self, potential: Potential) -> Potential:
        """Return the form of the model that is called; derivatives of properties take the model."""
        return potential

    def stack(self, positions: Tensor) -> Structures:
        """Return ``[n_structures, n_atoms, 3]`` Å as structures of the molecule."""
        return Structures.stack(self.numbers, positions, self.charge)

    def _stack(self, positions: Tensor) -> tuple[Structures, Pairs]:
        stack = self.stack(positions)
        if len(self.numbers) > self.static_atoms:
            return stack, nearest_pairs(stack, self.potential.cutoff)
        if stack.n_structures not in self._pairs:
            self._pairs[stack.n_structures] = all_pairs(stack)
        return stack, self._pairs[stack.n_structures]

    def __call__(self, positions: Tensor, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`Evaluator`."""
        positions = positions.to(device=self.device, dtype=torch.float64)
        parts = []
        for block in positions.split(self.chunk or max(len(positions), 1)):
            stack, pairs = self._stack(block)
            values = self._executed.evaluate(stack, pairs, quantities)
            if "forces" in values:
                values["forces"] = values["forces"].reshape(block.shape)
            parts.append(values)
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def polar_tensors(self, positions: Tensor) -> Tensor:
        """Return exact ∂μ_c/∂r_ia of the dipole, ``[n_structures, n_atoms, 3 (a), 3 (c)]`` e."""
        parts = []
        for block in positions.split(self.chunk or max(len(positions), 1)):
            stack, pairs = self._stack(block.to(device=self.device, dtype=torch.float64))
            coordinates = stack.positions.detach().requires_grad_(True)
            dipole = self.potential(stack.with_positions(coordinates), pairs, ("dipole",))["dipole"]
            columns = [
                torch.autograd.grad(dipole[:, c].sum(), coordinates, retain_graph=c < 2)[0]
                for c in range(3)
            ]
            parts.append(torch.stack(columns, dim=-1).reshape(*block.shape, 3))
        return torch.cat(parts)

    def rates(
        self, positions: Tensor, velocities: Tensor, quantities: Collection[str]
    ) -> dict[str, Tensor]:
        """Exact time derivatives of the dipole or polarizability along velocities.

        Parameters
        ----------
        positions, velocities
            ``[n_structures, n_atoms, 3]`` in Å and Å per unit of time.
        quantities
            ``"dipole"`` and/or ``"polarizability"``.

        Returns
        -------
        dict
            Rates by the name of the quantity, per the same unit of time.
        """
        parts = []
        size = self.chunk or max(len(positions), 1)
        blocks = zip(positions.split(size), velocities.split(size), strict=True)
        for block, speed in blocks:
            stack, _ = self._stack(block.to(device=self.device, dtype=torch.float64))
            flat = speed.to(stack.positions).reshape(-1, 3)
            parts.append(time_derivatives(self.potential, stack, flat, tuple(quantities)))
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def on_the_host(values: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Return values as arrays, after a single transfer if they are on another device."""
    if all(value.device.type == "cpu" for value in values.values()):
        return {name: value.numpy() for name, value in values.items()}
    flat = torch.cat([value.flatten() for value in values.values()]).cpu()
    sizes = [value.numel() for value in values.values()]
    return {
        name: part.reshape(value.shape).numpy()
        for (name, value), part in zip(values.items(), flat.split(sizes), strict=True)
    }
