# SPDX-License-Identifier: MIT
"""The public face, and what importing it must not do."""

import subprocess
import sys

import pytest

import eqcalc


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


@pytest.mark.parametrize("name", eqcalc.__all__)
def test_every_public_name_exists(name):
    assert getattr(eqcalc, name) is not None
    assert name in dir(eqcalc)


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="nonsense"):
        _ = eqcalc.nonsense


def test_the_package_itself_imports_nothing_heavy():
    heavy = run(
        "import eqcalc, sys; "
        "print([m for m in ('torch', 'ase', 'lightning', 'h5py') if m in sys.modules])"
    )
    assert heavy == "[]"


@pytest.mark.slow
def test_importing_everything_changes_nothing_global():
    code = """
import os, random, torch, numpy
def settings():
    return (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed(),
            torch.get_float32_matmul_precision(), torch.backends.cuda.matmul.allow_tf32,
            torch.are_deterministic_algorithms_enabled(), torch.is_grad_enabled(),
            dict(os.environ), random.getstate(), str(numpy.random.get_state()))
before = settings()
import eqcalc
for name in eqcalc.__all__:
    getattr(eqcalc, name)
import eqcalc.training, eqcalc.demo, eqcalc.cli, eqcalc.labelling
print(settings() == before)
"""
    assert run(code) == "True"
