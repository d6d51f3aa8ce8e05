# SPDX-License-Identifier: MIT
"""The exponential moving average of the parameters."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ParameterAverage"]


class ParameterAverage(nn.Module):
    """A copy of a model with the average ``a ← d·a + (1 − d)·p`` of its parameters.

    After n updates d is the smaller of `decay` and (1 + n)/(10 + n): the average
    forgets the initial parameters even if the run is short. An update waits for no device.

    Parameters
    ----------
    model
        The model, which is copied.
    decay
        Largest d.
    """

    n_averaged: Tensor

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__()
        #: The copy, with averaged parameters.
        self.module = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.register_buffer("n_averaged", torch.tensor(0))
        # the same number on the host, unknown after a state was loaded
        self._updates: int | None = None
        self.register_load_state_dict_post_hook(_forget)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the present parameters of the model into the average."""
        n = int(self.n_averaged) if self._updates is None else self._updates
        ours: list[Tensor] = [*self.module.parameters()]
        theirs: list[Tensor] = [*model.parameters()]
        if n:
            d = min(self.decay, (1.0 + n) / (10.0 + n))
            torch._foreach_lerp_(ours, theirs, 1.0 - d)
        else:
            torch._foreach_copy_(ours, theirs)
        for mine, its in zip(self.module.buffers(), model.buffers(), strict=True):
            mine.copy_(its)
        self.n_averaged += 1
        self._updates = n + 1


def _forget(average: ParameterAverage, _: Any) -> None:
    average._updates = None
