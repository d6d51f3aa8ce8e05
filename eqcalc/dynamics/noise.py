# SPDX-License-Identifier: MIT
"""Random numbers as a function of the seed, the replica and the step."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ["GaussianNoise", "replica_generator"]

#: Number of steps whose noise is drawn at once. Part of the definition of the stream.
_BLOCK = 16
_WORD = 2**64 - 1

#: Purposes of the random numbers of a run; each has its own streams.
_STREAMS = {
    "thermostat": 0,
    "initial conditions": 1,
    "production momenta": 2,
    "thermostat variables": 3,
}


def replica_generator(seed: int, replica: int, purpose: str, block: int = 0) -> np.random.Generator:
    """Return a generator that depends on nothing but the arguments.

    Philox (Salmon et al., SC11) is counter based: the seed is its key and
    (block, replica, purpose) the upper words of its counter, so that streams never
    overlap, a replica draws the same numbers whatever runs beside it, and the position
    in the stream needs no state beyond the step number.
    """
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    counter = np.array([0, block & _WORD, replica, _STREAMS[purpose]], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


class GaussianNoise:
    """Standard normal numbers for every step of every replica.

    Parameters
    ----------
    seed
        Seed of the run.
    replicas
        Number of each replica, which selects its stream.
    shape
        Shape of the noise of one replica in one step.
    device
        Where the numbers are needed. They are drawn on the host, 16 steps at a time.

    Notes
    -----
    ``noise(step)`` is a pure function of its arguments and of the step; what is kept
    between calls is only the block of the last one.
    """

    def __init__(
        self,
        seed: int,
        replicas: Sequence[int],
        shape: tuple[int, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        self.seed = seed
        self.replicas = tuple(replicas)
        self.shape = shape
        self.device = torch.device(device)
        self._block: int | None = None
        self._numbers = torch.empty(0)

    def __call__(self, step: int) -> Tensor:
        """Return the noise of `step`, ``[n_replicas, *shape]``."""
        block, index = divmod(step, _BLOCK)
        if block != self._block:
            size = _BLOCK * math.prod(self.shape)
            drawn = np.empty((len(self.replicas), size))
            for row, replica in zip(drawn, self.replicas, strict=True):
                generator = replica_generator(self.seed, replica, "thermostat", block)
                generator.standard_normal(out=row)
            numbers = torch.from_numpy(drawn).view(len(self.replicas), _BLOCK, *self.shape)
            self._numbers = numbers.transpose(0, 1).contiguous().to(self.device)
            self._block = block
        return self._numbers[index]
