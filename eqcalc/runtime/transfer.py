# SPDX-License-Identifier: MIT
"""Results on their way from a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["on_the_host"]


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
