# SPDX-License-Identifier: MIT
"""Executions of a model; the eager one is the reference.

All executions follow one protocol. An execution takes :class:`~eqcalc.structures.Structures` and
caches what does not change between calls; some are specific to a molecule.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Collection, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from eqcalc.facts import grouped
from eqcalc.models.potential import Potential
from eqcalc.neighbors import STATIC_ATOMS, NeighborList, Pairs
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, count

#: Structures per pass on a CPU, few enough to fit in its caches.
_CHUNK = 32


class ExecutionUnavailableError(InvalidInputError, RuntimeError):
    """An execution cannot be used here; `key` names the part of the model or machine at fault."""


class ExecutionWarning(UserWarning):
    """A faster execution could not be used."""


class ModelChangedError(InvalidInputError, RuntimeError):
    """A model was changed after its execution was created."""

    def __init__(
        self, problem: str = "the model has changed since its execution was created"
    ) -> None:
        super().__init__(problem, key="model", advice="create a new evaluator or calculator")


class ClosestPair(NamedTuple):
    """The closest pair of atoms of a batch; the distance is infinite without pairs."""

    distance: float  # Å
    receiver: int
    sender: int


class Execution(Protocol):
    """A model ready to be evaluated."""

    #: Name of the execution; recorded as provenance, as rounding depends on it.
    name: ClassVar[str]
    #: The model.
    potential: Potential

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity of the model is evaluated, as text."""
        ...

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Return quantities with the shapes of :meth:`Potential.evaluate`, on its device."""
        ...

    def closest_pair(self, structures: Structures) -> ClosestPair:
        """Return the closest pair of atoms; cheapest right after their evaluation."""
        ...


class EagerExecution:
    """The reference execution: eager PyTorch.

    Parameters
    ----------
    potential
        The model, on the device and in the precision to be used.
    skin
        Extra distance of the neighbour list [Å].
    chunk
        Largest number of structures per pass through the network, for molecules of equal size; by
        default 32 on a CPU, to fit in its caches, and unlimited on other devices.
    static_atoms
        Largest molecule whose pairs are all evaluated, whatever their distance.
    network
        Called instead of `potential`: the same model with custom kernels.
    """

    name: ClassVar[str] = "eager"
    #: Whether the model is compiled, which may take minutes if it is not cached.
    compiles: ClassVar[bool] = False
    #: How quantities are evaluated, as text.
    manner: ClassVar[str] = "eager"

    def __init__(
        self,
        potential: Potential,
        *,
        skin: float = 0.5,
        chunk: int | None = None,
        static_atoms: float = STATIC_ATOMS,
        network: Potential | None = None,
    ) -> None:
        if chunk is not None:
            count("chunk", chunk)
        self.potential = potential
        self._network = potential if network is None else network
        self._chunk = chunk or (_CHUNK if potential.device.type == "cpu" else None)
        self._neighbors = NeighborList(potential.cutoff, skin, static_atoms)

    @classmethod
    def for_molecule(
        cls, potential: Potential, numbers: Tensor, *, charge: float = 0.0, **options: Any
    ) -> EagerExecution:
        """Return an execution for one molecule, given by its atomic numbers."""
        return cls(potential, skin=0.0, **options)

    @property
    def parts(self) -> Mapping[str, str]:
        """How each quantity is evaluated."""
        return dict.fromkeys(self.potential.quantities, self.manner)

    def evaluate(self, structures: Structures, quantities: Collection[str]) -> dict[str, Tensor]:
        """Evaluate; see :class:`Execution`."""
        blocks: Collection[Structures] = (structures,)
        if (
            self._chunk is not None
            and structures.n_structures > self._chunk
            and structures.uniform is not None
            and not structures.periodic
        ):
            blocks = tuple(structures.split(self._chunk))
        parts = [
            self._network.evaluate(block, self._neighbors.pairs(block), quantities)
            for block in blocks
        ]
        return parts[0] if len(parts) == 1 else joined(parts)

    def closest_pair(self, structures: Structures) -> ClosestPair:
        """Return the closest pair; see :class:`Execution`."""
        return closest_of(structures, self._neighbors.pairs(structures))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({grouped(self.parts)})"


class OneMoleculeExecution(EagerExecution):
    """Class of an execution specific to a molecule; takes model, numbers and charge."""

    @classmethod
    def for_molecule(
        cls, potential: Potential, numbers: Tensor, *, charge: float = 0.0, **options: Any
    ) -> EagerExecution:
        """Return the execution of one molecule."""
        made: Callable[..., EagerExecution] = cls
        return made(potential, numbers, charge=charge, **options)


def closest_of(structures: Structures, pairs: Pairs) -> ClosestPair:
    """Return the closest of some pairs of atoms."""
    if not len(pairs.receiver):
        return ClosestPair(float("inf"), 0, 0)
    squared, index = pairs.vectors(structures).square().sum(-1).min(0, keepdim=True)
    ends = [pairs.receiver.gather(0, index), pairs.sender.gather(0, index)]
    # a single transfer from a GPU
    found, receiver, sender = torch.cat([squared, *(end.to(squared) for end in ends)]).tolist()
    return ClosestPair(found**0.5, int(receiver), int(sender))


def joined(parts: Collection[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return the values of parts of a batch as those of the batch."""
    first = next(iter(parts))
    return {name: torch.cat([part[name] for part in parts]) for name in first}


def to_numpy(values: Mapping[str, Tensor]) -> dict[str, np.ndarray]:
    """Return values as arrays, after a single transfer if they are on another device."""
    if all(value.device.type == "cpu" for value in values.values()):
        return {name: value.numpy() for name, value in values.items()}
    flat = torch.cat([value.flatten() for value in values.values()]).cpu()
    sizes = [value.numel() for value in values.values()]
    return {
        name: part.reshape(value.shape).numpy()
        for (name, value), part in zip(values.items(), flat.split(sizes), strict=True)
    }


#: Parameters of mallopt(3), and the largest block to keep.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _LARGEST = -1, -3, 2**30


def keep_freed_memory() -> bool:
    """Make the C library keep freed memory; return whether it supports that.

    Every temporary tensor of a pass through a network is a few hundred kilobytes, above the
    size at which glibc by default gives memory straight back to the kernel and pays page
    faults to get it again. Keeping it makes passes on a CPU some 1.4 times faster. This changes
    the whole process, so only eqcalc's own programs call it, never the library.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
