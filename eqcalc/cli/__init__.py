# SPDX-License-Identifier: MIT
"""The command line; every command is one call of the library."""

try:
    from eqcalc.cli.program import build_parser, main
except KeyboardInterrupt:  # Ctrl-C before there is a command that could be stopped
    raise SystemExit(130) from None

__all__ = ["build_parser", "main"]
