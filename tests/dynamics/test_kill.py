# SPDX-License-Identifier: MIT
"""SIGKILL at random moments, also inside writes, loses no frame and changes no bit."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "workflows" / "robustness" / "kill.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork and SIGKILL")
def test_killed_runs_end_bitwise_the_same():
    found = subprocess.run(
        [sys.executable, SCRIPT, "--kills", "8", "--tasks", "simulate T-RPMD", "convert"],
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
        env={**os.environ, "PYTHONPATH": str(SCRIPT.parents[2]), "OMP_NUM_THREADS": "1"},
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "faulty runs: 0" in found.stdout.splitlines()[-1]
