# SPDX-License-Identifier: MIT
"""How long an evaluation takes, to choose between executions."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from torch import Tensor

__all__ = ["median_seconds"]


def median_seconds(call: Callable[[], Tensor], repeats: int = 5) -> float:
    """Return the median time of a call until its result is on the host [s].

    One call before, which may record or compile, is not counted.
    """
    times = []
    for _ in range(1 + repeats):
        begin = time.perf_counter()
        call().cpu()  # waits for the device
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:])
