# SPDX-License-Identifier: MIT
"""The command line: every command is one call of the library."""

from eqcalc.cli.main import main

__all__ = ["main"]
