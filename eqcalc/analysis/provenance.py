# SPDX-License-Identifier: MIT
"""How a table of results was made."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

__all__ = ["how_made", "source_commit"]


def source_commit() -> str:
    """Return the commit of the source, with a plus if files of the package have changed since.

    "unknown" where there is no checkout.
    """
    package = Path(__file__).parents[1]

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def how_made(device: torch.device | str = "cpu", *, seed: int = 0) -> str:
    """Return one line about the running script: command, seed, commit, versions, hardware.

    Parameters
    ----------
    device
        Where it computes.
    seed
        Of its random numbers.
    """
    if torch.device(device).type == "cuda":
        hardware = torch.cuda.get_device_name(device)
    else:
        hardware = f"{platform.machine()} CPU, {torch.get_num_threads()} thread(s)"
    return (
        f"python {shlex.join(sys.argv)}; seed {seed}; commit {source_commit()}; "
        f"torch {torch.__version__}; {hardware}"
    )
