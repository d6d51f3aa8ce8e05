# SPDX-License-Identifier: MIT
"""Progress of long work: a bar on a terminal or in a notebook, else a few plain lines."""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Iterable
from typing import Any

from tqdm.std import tqdm

#: Seconds before the first line, and the longest time between two lines.
_FIRST, _LONGEST = 4.0, 600.0


class Lines(tqdm):
    """Prints a line after a few seconds and then at growing intervals, for logs of batch jobs."""

    _due = _FIRST

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Print what is done, and the expected time for the rest, if a line is due."""
        found = self.format_dict
        done, total, elapsed = found["n"], found["total"], found["elapsed"]
        if elapsed < self._due or done <= self.initial:
            return
        self._due = elapsed + min(max(elapsed, 10.0), _LONGEST)
        told = f"{self.desc.removesuffix(': ')}: {done} of {total or '?'}{found['unit']}"
        told += f" in {duration(elapsed)}"
        if total and done < total:
            left = elapsed / (done - self.initial) * (total - done)
            told += f", about {duration(left)} left"
        print(f"{told}, {self.postfix}" if self.postfix else told, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End without a line of its own."""
        self.delay = math.inf  # as if nothing had been displayed
        super().close()


def progress_bar(items: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """Return the display of a piece of work.

    Parameters
    ----------
    items
        Counted as they are taken, if given.
    shown
        Nothing is displayed otherwise.
    options
        `total`, `initial`, `desc`, `unit`, `position` of :class:`tqdm.tqdm`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about widgets that a notebook may lack
        from tqdm.auto import tqdm as automatic
    bar = any(kind.__module__ == "tqdm.notebook" for kind in automatic.__mro__)
    options["unit"] = f" {options['unit']}" if "unit" in options else ""
    if bar or sys.stderr.isatty() or not shown:
        return automatic(items, disable=not shown, mininterval=0.5, **options)
    return Lines(items, miniters=1, mininterval=1.0, delay=_FIRST, **options)


def advance(bar: tqdm, done: int) -> None:
    """Show how much is done of work that others do, such as the steps of a growing trajectory."""
    if bar.n == 0 < done:  # the time so far was that of the start, or of an earlier run
        bar.reset()
        bar.initial = bar.n = bar.last_print_n = done
    bar.update(done - bar.n)


def duration(seconds: float) -> str:
    """Return a time in the unit in which it is easily read, such as ``"12 min"``."""
    for unit, size, until in (("s", 1.0, 100.0), ("min", 60.0, 5400.0), ("h", 3600.0, 172800.0)):
        if seconds < until:
            return f"{max(seconds / size, 1.0):.2g} {unit}"
    return f"{seconds / 86400.0:.2g} days"
