# SPDX-License-Identifier: MIT
"""AIQM2 and PTB by programs that the user installs."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.labelling import AIQM2, PTB, ConvergenceError, method_named
from eqcalc.units import convert
from eqcalc.validation import InvalidInputError

WATER = ase.Atoms("OHH", [[0.0, 0.0, 0.1], [0.0, 0.76, -0.5], [0.0, -0.75, -0.48]])
# what xtb 6.7.0 says of it
OUTPUT = """\
    Molecular dipole moment (a.u.)
    X        Y        Z
 --------------------------------------
  -0.0000   0.0052  -0.8090
 --------------------------------------
    Numerical polarizability tensor: (a.u.)
         X         Y         Z
    X    5.7441    0.0000    0.0000
    Y    0.0000    8.4089   -0.0821
    Z    0.0000   -0.0821    7.5034
 --------------------------------------
"""


def program(folder: Path, output: str, version: str = "6.7.0") -> str:
    """Return the path of a program that answers like xtb."""
    path = folder / "xtb"
    path.write_text(
        f"#!/bin/sh\nif [ $1 = --version ]; then echo '* xtb version {version} (a)'\n"
        f"else cat <<'END'\n{output}END\nfi\n",
        encoding="utf-8",
    )
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_ptb_reads_moments_in_atomic_units(tmp_path):
    method = method_named("ptb", {"program": program(tmp_path, OUTPUT)})
    labels = method.label(WATER)
    assert method.version == "xtb 6.7.0"
    np.testing.assert_allclose(labels["dipole"], np.array([0, 0.0052, -0.8090]) * 0.529177, 1e-5)
    alpha = convert(labels["polarizability"], "e^2*Å^2/eV", "bohr^3")
    np.testing.assert_allclose(np.diag(alpha), [5.7441, 8.4089, 7.5034])
    np.testing.assert_allclose(alpha[1, 2], -0.0821)


def test_polarizability_that_is_not_positive_is_not_a_label(tmp_path):
    method = PTB(program(tmp_path, OUTPUT.replace("5.7441", "-5.744")))
    with pytest.raises(ConvergenceError):
        method.label(WATER)


def test_output_without_results_is_not_a_label(tmp_path):
    with pytest.raises(ConvergenceError):
        PTB(program(tmp_path, "abnormal termination of xtb\n")).label(WATER)


@pytest.mark.parametrize("version", ["6.5.1", "none"])
def test_xtb_that_ignores_ptb_is_refused(tmp_path, version):
    with pytest.raises(InvalidInputError) as info:
        PTB(program(tmp_path, OUTPUT, version)).label(WATER)
    assert info.value.key == "program"


def test_missing_program_is_named(tmp_path):
    with pytest.raises(InvalidInputError) as info:
        PTB(str(tmp_path / "xtb")).label(WATER)
    assert info.value.value == str(tmp_path / "xtb")


@pytest.mark.parametrize("atoms", [molecule("SH2"), molecule("OH"), ase.Atoms("OH")])
def test_aiqm2_refuses_what_it_was_not_made_for(atoms):
    with pytest.raises(InvalidInputError) as info:
        AIQM2().label(atoms)
    assert info.value.key == "molecule"


def test_aiqm2_forces_are_the_gradient_of_its_energy_in_the_plane_of_formaldehyde(
    tmp_path, monkeypatch
):
    for name in ("mlatom", "torchani", "dftd4", "tblite"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    method, step, carbon, out = AIQM2(), 5e-3, 0, 0
    planar = ase.Atoms("COHH", [[0, 0, -0.53], [0, 0, 0.67], [0, 0.93, -1.12], [0, -0.93, -1.12]])
    energies, forces = [], []
    for shift in (-step, 0.0, step):
        moved = planar.copy()
        moved.positions[carbon, out] += shift
        labels = method.label(moved)
        energies.append(float(labels["energy"]))
        forces.append(labels["forces"][carbon, out])
    curvature = (energies[0] - 2 * energies[1] + energies[2]) / step**2
    np.testing.assert_allclose(-(forces[2] - forces[0]) / (2 * step), curvature, rtol=0.01)
    assert not list(tmp_path.iterdir())  # what its programs write stays nowhere
    assert 15.0 < curvature < 19.0  # eV/Å²; the out-of-plane bending near 1160 cm⁻¹


def test_ptb_of_water_turns_with_the_molecule():
    if shutil.which("xtb") is None:
        pytest.skip("no xtb")
    method = PTB()
    try:
        assert method.version
    except InvalidInputError:
        pytest.skip("xtb is too old")
    turned = WATER.copy()
    turned.rotate(90, "x")
    first, second = method.label(WATER), method.label(turned)
    np.testing.assert_allclose(first["dipole"][2], -second["dipole"][1], atol=1e-3)
