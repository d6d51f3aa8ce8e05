# SPDX-License-Identifier: MIT
"""Damaged files for every reader: a small version of ``workflows/robustness/fuzz.py``."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "workflows" / "robustness" / "fuzz.py"


@pytest.mark.slow
def test_damaged_files_are_refused_by_name(tmp_path):
    found = tmp_path / "fuzz.json"
    command = [sys.executable, SCRIPT, "--inputs", "300", "--seed", "7", "--output", found]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    assert found.exists(), ended.stderr
    record = json.loads(found.read_text(encoding="utf-8"))
    assert record["inputs"] == 300
    assert len(record["readers"]) > 25
    assert all(record["readers"].values())
    assert record["total"]["refused"] > 100  # the changes reach the readers
    assert {name: n for name, n in record["faults"].items() if n} == {}, record["examples"]
