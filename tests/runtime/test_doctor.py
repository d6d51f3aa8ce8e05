# SPDX-License-Identifier: MIT
"""The diagnosis names what is used, what is not, and why."""

import re
import shutil

import pytest

from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.models.compositions import UnknownCompositionWarning
from eqcalc.models.precision import PRECISIONS
from eqcalc.runtime import cpp_compiler as compiler
from eqcalc.runtime.doctor import diagnose
from tests.conftest import make_potential


@pytest.mark.skipif(compiler.compiler() is None, reason="needs a C++ compiler")
def test_all_executions_are_timed_and_the_choice_is_named():
    text = diagnose(make_potential(), seconds=0.0)
    rows = {line.split()[0]: line for line in text.splitlines() if line}
    for name in ("eager", "fused"):
        assert rows[name].count(" ms") == 3
    assert float(rows["eager"].split()[-1]) == 0.0
    assert 0.0 < float(rows["fused"].split()[-1]) < 1e-10
    assert "By default the fused execution is used." in text
    for name, purpose in PRECISIONS.items():
        assert rows[name].endswith(purpose)


def test_what_is_missing_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("EQCALC_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    compiler.kernel_library.cache_clear()
    text = diagnose(make_potential(features=4), seconds=0.0)
    compiler.kernel_library.cache_clear()
    assert re.search(
        "^fused +cannot be used: compiler: there is no C.. compiler", text, re.MULTILINE
    )
    assert re.search("^captured-compiled +cannot be used: device: ", text, re.MULTILINE)
    assert "By default the eager execution is used." in text


@pytest.mark.slow
def test_no_warning_about_the_trial_molecule(recwarn):
    potential = load_model(shipped_model("ethanol"))
    diagnose(potential, seconds=0.0)
    assert not [w for w in recwarn if issubclass(w.category, UnknownCompositionWarning)]
