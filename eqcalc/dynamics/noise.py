# SPDX-License-Identifier: MIT
"""Random numbers as a function of the seed, the replica and the step.

Counter-based generators (Salmon et al., SC11) are stateless, so that a replica draws the same
numbers independently of other replicas and of the device, also when a run is resumed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_WORD = 2**64 - 1
_HALF_WORD = 2**32 - 1

#: Multipliers and Weyl increments of Philox 4x32 (Salmon et al., table 2 and section 4).
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_INCREMENTS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

#: Block size of draws; larger blocks cost memory, smaller ones overhead per step.
_BLOCK = 2**15

#: Purposes of the random numbers drawn on the host; each has its own streams.
_STREAMS = {"initial conditions": 1, "production momenta": 2, "thermostat variables": 3}


def replica_generator(seed: int, replica: int, purpose: str, block: int = 0) -> np.random.Generator:
    """Return a generator determined by the arguments alone.

    The seed is the key of Philox 4x64, and (block, replica, purpose) are the upper words
    of its counter, so that streams never overlap.
    """
    key = np.random.SeedSequence(seed).generate_state(2, np.uint64)
    counter = np.array([0, block & _WORD, replica, _STREAMS[purpose]], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(counter=counter, key=key))


def philox(counter: Sequence[Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Return the four random words of Philox 4x32 with 10 rounds.

    Parameters
    ----------
    counter
        Four int64 tensors, which are broadcast, with values below 2³².
    key
        Two integers below 2³².
    """
    a, b, c, d = counter
    first, second = key
    for _ in range(_ROUNDS):
        # the 64-bit products may wrap to negative numbers; their bits are correct
        p, q = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a, b = ((q >> 32) & _HALF_WORD) ^ b ^ first, q & _HALF_WORD
        c, d = ((p >> 32) & _HALF_WORD) ^ d ^ second, p & _HALF_WORD
        first = (first + _INCREMENTS[0]) & _HALF_WORD
        second = (second + _INCREMENTS[1]) & _HALF_WORD
    return a, b, c, d


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
        Device on which the numbers are drawn.

    Notes
    -----
    ``noise(step)`` is a pure function; only a block of numbers around the last step is cached.
    Numbers on different devices agree up to the rounding of logarithm and cosine.
    """

    def __init__(
        self,
        seed: int,
        replicas: Sequence[int],
        shape: tuple[int, ...],
        device: torch.device | str = "cpu",
    ) -> None:
        first, second = np.random.SeedSequence(seed).generate_state(2, np.uint32)
        self.key = int(first), int(second)
        self.shape = shape
        count = math.prod(shape)
        self.replicas = torch.tensor(list(replicas), dtype=torch.int64, device=device)
        self._index = torch.arange(math.ceil(count / 4), device=device)
        self._count = count
        self._steps = max(1, min(64, _BLOCK // max(1, count * len(self.replicas))))
        self._block: int | None = None
        self._numbers = torch.empty(0)

    def draw(self, steps: Tensor) -> Tensor:
        """Return the noise of `steps`, int64 on the device: ``[n_steps, n_replicas, *shape]``.

        Does not synchronise with the device, so that it can be captured in a CUDA graph.
        """
        step = steps.view(-1, 1, 1)
        words = philox(
            (self._index, step & _HALF_WORD, self.replicas[:, None], (step >> 32) & _HALF_WORD),
            self.key,
        )
        uniform = [(word.double() + 0.5) * 2.0**-32 for word in words]
        # Box and Muller, Ann. Math. Statist. 29, 610 (1958)
        normal = []
        for u, v in (uniform[:2], uniform[2:]):
            radius, angle = torch.sqrt(-2.0 * torch.log(u)), 2.0 * math.pi * v
            normal += [radius * torch.cos(angle), radius * torch.sin(angle)]
        numbers = torch.stack(normal, dim=-1).flatten(2)[..., : self._count]
        return numbers.reshape(len(steps), len(self.replicas), *self.shape)

    def __call__(self, step: int) -> Tensor:
        """Return the noise of `step`, ``[n_replicas, *shape]``."""
        block, index = divmod(step, self._steps)
        if block != self._block:
            first = block * self._steps
            steps = torch.arange(first, first + self._steps, device=self.replicas.device)
            self._numbers, self._block = self.draw(steps), block
        return self._numbers[index]
