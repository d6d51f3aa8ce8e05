# SPDX-License-Identifier: MIT
"""Let the C library keep freed memory, for programs that own their process.

Every temporary tensor of a network pass is a few hundred kilobytes, above the
size at which glibc by default gives memory straight back to the kernel and
pays page faults to get it again. Keeping it makes passes on a CPU some 1.4
times faster. This changes the whole process, so the commands call it and the
library never does.
"""

from __future__ import annotations

import ctypes
import sys

# parameters of mallopt(3)
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_LARGEST = 2**30


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory; return whether it agreed."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _LARGEST)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST))
