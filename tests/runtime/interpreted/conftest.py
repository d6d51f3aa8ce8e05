# SPDX-License-Identifier: MIT
"""These tests run in a process of their own, in which Triton interprets its kernels.

Triton decides that when it is imported, so ``tests/runtime/test_triton.py`` starts them.
"""

import os

if os.environ.get("TRITON_INTERPRET") != "1":
    collect_ignore_glob = ["test_*.py"]
