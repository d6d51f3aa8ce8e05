# SPDX-License-Identifier: MIT
"""How a run of i-PI ended."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of ``eqcalc ipi run``; those above 60 as in sysexits.h."""

    COMPLETE = 0
    #: No client answered.
    NO_CLIENT = 69
    #: The potential failed, a step took too long, or an output could not be written.
    FAILED = 70
    #: Stopped on request; the same command goes on.
    STOPPED = 75


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Parameters
    ----------
    status
        Exit status.
    message
        In words.
    step, total_steps
        Steps done, and wanted.
    """

    status: ExitStatus
    message: str
    step: int
    total_steps: int


def leave_at_once(status: int) -> None:
    """End this process without waiting for its threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
