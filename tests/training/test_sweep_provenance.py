# SPDX-License-Identifier: MIT
"""A table says how it was made."""

import re
import subprocess

import torch

from eqcalc.training import sweeps as provenance
from eqcalc.training.sweeps import how_made, source_commit


def test_the_line_holds_command_seed_commit_versions_and_hardware(monkeypatch):
    monkeypatch.setattr("sys.argv", ["speed.py", "a file.h5"])
    line = how_made(seed=7)
    assert line.startswith("python speed.py 'a file.h5'; seed 7; commit ")
    assert f"torch {torch.__version__}; " in line
    assert line.endswith("thread(s)")


def test_a_changed_source_has_a_plus(tmp_path, monkeypatch):
    package = tmp_path / "eqcalc" / "analysis"
    package.mkdir(parents=True)
    module = package / "provenance.py"
    module.write_text("first\n")
    monkeypatch.setattr(provenance, "__file__", str(module))
    assert source_commit() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    clean = source_commit()
    assert re.fullmatch(r"[0-9a-f]{7,}", clean)
    module.write_text("second\n")
    assert source_commit() == clean + "+"
