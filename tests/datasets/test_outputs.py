# SPDX-License-Identifier: MIT
"""Outputs of CP2K, Gaussian, ORCA, Psi4 and Q-Chem become labels in one frame and in our units."""

import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr, Debye, GPa, Hartree

from eqcalc.datasets import ConversionError, Dataset, convert
from eqcalc.datasets.readers import FrameError
from eqcalc.datasets.readers.outputs import OutputsReader
from eqcalc.molecules import atomic_masses

OUTPUTS = Path(__file__).parent / "excerpts" / "outputs"

CP2K = """ CP2K| version string:                                          CP2K version 9.0
 CELL| Vector a [angstrom]:      12.346     0.000     0.000   |a| =    12.345678
 CELL| Vector b [angstrom]:       0.000    10.000     0.000   |b| =    10.000000
 CELL| Vector c [angstrom]:       0.000     0.000    10.000   |c| =    10.000000
 DFT| Multiplicity                                                             1
 DFT| Charge                                                                   0
 FUNCTIONAL| BECKE88:
 FUNCTIONAL| A. Becke, Phys. Rev. A, 38, 3098 (1988)
 FUNCTIONAL| LYP:
 vdW POTENTIAL|          DFT-D3 (Version 3.1)
     Orbital Basis Set                                       TZV2P-MOLOPT-GTH-q6
     Orbital Basis Set                                       TZV2P-MOLOPT-GTH-q1

 MODULE QUICKSTEP:  ATOMIC COORDINATES IN angstrom

  Atom  Kind  Element       X           Y           Z          Z(eff)       Mass

       1     1 O    8    5.000000    5.000000    5.000000      6.00      15.9994
       2     2 H    1    5.000000    5.760000    5.590000      1.00       1.0079
       3     2 H    1    5.000000    4.240000    5.590000      1.00       1.0079

 POISSON| Periodicity                                                        XYZ

 *** SCF run converged in    11 steps ***

  Dipole moment [Debye]
    X=    0.00000000 Y=    0.00000000 Z=    1.85000000     Total=      1.85000000
 POLAR| Polarizability tensor [a.u.]
 POLAR| xx,yy,zz          9.100000000000     9.900000000000     9.500000000000
 POLAR| xy,xz,yz          0.010000000000     0.020000000000     0.030000000000
 POLAR| yx,zx,zy          0.010000000000     0.020000000000     0.030000000000
 ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:              -17.219999999999999

 ATOMIC FORCES in [a.u.]

 # Atom   Kind   Element          X              Y              Z
      1      1      O           0.00000000     0.00000000     0.02000000
      2      2      H           0.00000000     0.01000000    -0.01000000
      3      2      H           0.00000000    -0.01000000    -0.01000000
 SUM OF ATOMIC FORCES           0.00000000     0.00000000     0.00000000     0.00000000

 STRESS TENSOR [GPa]

            X               Y               Z
  X       1.00000000      0.10000000      0.20000000
  Y       0.10000000      2.00000000      0.30000000
  Z       0.20000000      0.30000000      3.00000000

  **** **** ******  **  PROGRAM ENDED AT                 2021-12-24 17:25:27.728
"""


def frames(path: Path) -> list:
    return list(OutputsReader(path))


@pytest.mark.parametrize("name", ["orca.out", "gaussian.log", "qchem.out"])
def test_three_programs_agree_on_tryptophan(name):
    reader = OutputsReader(OUTPUTS / name)
    (frame,) = reader
    assert reader.level_of_theory.upper().startswith("HF/STO-3G")
    np.testing.assert_array_equal(frame.numbers[:5], [7, 6, 6, 8, 6])
    np.testing.assert_allclose(frame.positions[0], [-0.069983, 0.332199, 0.282128], atol=1e-6)
    assert frame.values["energy"] == pytest.approx(-673.59057, abs=1e-5)
    np.testing.assert_allclose(frame.values["dipole"], [-0.4751, 0.3756, -0.8780], atol=1e-4)
    expected = [[95.115, -2.278, -3.776], [-2.278, 49.996, 30.419], [-3.776, 30.419, 77.261]]
    np.testing.assert_allclose(frame.values["polarizability"], expected, atol=2e-3)
    assert frame.values["charge"] == 0 and frame.values["multiplicity"] == 1


def test_tensors_of_gaussian_are_in_the_axes_of_the_positions():
    text = (OUTPUTS / "gaussian_turned.log").read_text()
    (frame,) = frames(OUTPUTS / "gaussian_turned.log")
    # what Gaussian 16 prints in the axes of the input, in the same file
    printed = {}
    for line in text[text.index("Alpha (input orientation)") :].splitlines():
        words = line.split()
        if words and words[0] in {"xx", "yx", "yy", "zx", "zy", "zz"}:
            printed[words[0]] = float(words[1].replace("D", "E"))
    axes = "xyz"
    expected = [[printed[axes[max(i, j)] + axes[min(i, j)]] for j in range(3)] for i in range(3)]
    np.testing.assert_allclose(frame.values["polarizability"], expected, atol=1e-3)
    standard = [68.238, 143.010, 11.343]
    assert abs(np.diag(frame.values["polarizability"]) - standard).max() > 5.0
    assert np.ptp(frame.positions[:, 1]) < 1e-5  # planar, across y; the standard one is across z
    assert np.abs(frame.values["forces"][:, 1]).max() < 1e-6


@pytest.mark.parametrize("name", ["orca", "psi4", "qchem"])
def test_forces_have_the_sign_and_unit_of_the_energies(name):
    steps = [f for f in frames(OUTPUTS / f"{name}_optimisation.out") if "forces" in f.values]
    assert len(steps) >= 3
    for a, b in pairwise(steps):
        change = b.values["energy"] - a.values["energy"]
        mean = 0.5 * (a.values["forces"] + b.values["forces"])
        work = np.sum(mean * (b.positions - a.positions)) / Bohr
        assert work == pytest.approx(-change, rel=0.2)


def test_labels_of_cp2k(tmp_path):
    (tmp_path / "water.out").write_text(CP2K)
    report = convert(tmp_path, tmp_path / "water.h5", reference=None, progress=False)
    (record,) = report.dataset
    assert report.dataset.level_of_theory == "BECKE88+LYP/TZV2P-MOLOPT-GTH DFT-D3"
    np.testing.assert_allclose(record.cell[0], [12.345678, 0.0, 0.0])
    assert record.pbc.all() and record.source == "water.out"
    labels = record.labels
    assert labels["energy"] == pytest.approx(-17.22 * Hartree)
    assert labels["forces"][0, 2] == pytest.approx(0.02 * Hartree / Bohr)
    assert labels["dipole"][2] == pytest.approx(1.85 * Debye)
    assert labels["polarizability"][0, 2] == pytest.approx(0.02 * Bohr**2 / Hartree)
    # CP2K's is positive under compression, ASE's and ours under tension
    np.testing.assert_allclose(np.diag(labels["stress"]), [-GPa, -2.0 * GPa, -3.0 * GPa])


def test_molecules_without_periodicity_have_no_cell(tmp_path):
    (tmp_path / "water.out").write_text(CP2K.replace("      XYZ", "     NONE"))
    (frame,) = frames(tmp_path / "water.out")
    assert not frame.pbc.any()


def test_dipoles_of_ions_are_about_the_centre_of_mass(tmp_path):
    ion = tmp_path / "ion.log"
    text = (OUTPUTS / "gaussian.log").read_text()
    standard = text.replace("Input orientation", "Standard orientation")
    ion.write_text(standard.replace("Charge =  0 Mult", "Charge =  1 Mult"))
    (neutral,), (charged,) = frames(OUTPUTS / "gaussian.log"), frames(ion)
    masses = atomic_masses(ase_atoms(neutral))
    centre = masses @ neutral.positions / masses.sum() / Bohr
    difference = charged.values["dipole"] - neutral.values["dipole"]
    np.testing.assert_allclose(difference, -centre, atol=1e-6)


def ase_atoms(frame):
    from ase import Atoms

    return Atoms(frame.numbers, frame.positions)


def test_moments_of_the_mean_field_are_not_those_of_a_correlated_method(tmp_path):
    path = tmp_path / "mp2.out"
    path.write_text((OUTPUTS / "orca.out").read_text().replace("! hf sto-3g", "! mp2 sto-3g"))
    (frame,) = frames(path)
    assert frame.level_of_theory.startswith("MP2/STO-3G")
    assert "energy" in frame.values and not {"dipole", "polarizability"} & {*frame.values}


def test_excited_states_are_refused(tmp_path):
    path = tmp_path / "td.out"
    text = (OUTPUTS / "orca.out").read_text()
    path.write_text(text.replace("%elprop", "%tddft nroots 5 end %elprop"))
    assert isinstance(frames(path)[0], FrameError)


def folder_of(tmp_path: Path) -> Path:
    """Return five optimisations, one of which ends early, and a file of another program."""
    folder = tmp_path / "outputs"
    folder.mkdir()
    text = (OUTPUTS / "psi4_optimisation.out").read_text()
    (folder / "a.out").write_text(text)
    (folder / "cut.out").write_text(text[: text.rindex("Dipole X")])
    (folder / "else.log").write_text("a scheduler's log\n")
    (folder / "input.dat").write_text("not an output\n")
    return folder


def test_incomplete_outputs_are_named_and_skipped(tmp_path):
    folder, target = folder_of(tmp_path), tmp_path / "labels.h5"
    with pytest.raises(ConversionError) as caught:
        convert(folder, target, reference=None, progress=False, accept=["duplicates"])
    named = {p.message.split(":")[0] for p in caught.value.report.errors}
    assert named == {"cut.out", "else.log"} and not target.exists()
    report = convert(
        folder, target, reference=None, progress=False, accept=["duplicates"], skip_bad=True
    )
    sources = [record.source for record in Dataset.open(target)]
    # the last geometry of an output that ends early may lack labels
    assert sources == 3 * ["a.out"] + 2 * ["cut.out"]
    assert report.dataset.level_of_theory == "B3LYP/STO-3G"


def test_levels_of_theory_are_not_mixed(tmp_path):
    folder, target = tmp_path / "outputs", tmp_path / "labels.h5"
    folder.mkdir()
    shutil.copy(OUTPUTS / "psi4_optimisation.out", folder / "a.out")
    shutil.copy(OUTPUTS / "orca.out", folder / "b.out")
    options = {"reference": None, "progress": False, "overwrite": True}
    with pytest.raises(ConversionError) as caught:
        convert(folder, target, **options)
    (error,) = caught.value.report.errors
    assert error.message.startswith("b.out")
    assert len(convert(folder, target, skip_bad=True, **options).dataset) == 3
    accepted = convert(folder, target, accept=["levels"], **options)
    assert len(accepted.dataset) == 4 and len(accepted.validation.warnings) >= 1


def test_orientations_of_different_numbers_of_atoms_are_reported(tmp_path):
    text = (OUTPUTS / "gaussian_turned.log").read_text()
    start = text.index("Standard orientation:")
    row = re.search(r"^ +2 +\d+ +0 .*\n", text[start:], re.MULTILINE)
    path = tmp_path / "a.log"
    path.write_text(text[:start] + text[start:].replace(row.group(), " ---\n", 1))
    assert any(isinstance(frame, FrameError) for frame in frames(path))


def test_an_unconverged_energy_is_no_label(tmp_path):
    path = tmp_path / "bad.out"
    failed = " *** WARNING in qs_scf.F:542 :: SCF run NOT converged ***"
    path.write_text(CP2K.replace(" *** SCF run converged in    11 steps ***", failed))
    (error,) = frames(path)
    assert isinstance(error, FrameError) and str(error).startswith("bad.out")


def test_later_geometries_of_dynamics_are_in_other_files(tmp_path):
    path = tmp_path / "md.out"
    energy = " ENERGY| Total FORCE_EVAL ( QS ) energy [a.u.]:              -17.210000000000000\n"
    path.write_text(CP2K.replace("  **** ****", energy + "  **** ****"))
    frame, error = frames(path)
    assert frame.values["energy"] == -17.22 and isinstance(error, FrameError)
