# SPDX-License-Identifier: MIT
"""``eqcalc label`` with methods by name, by quantity and by their options."""

from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.cli import main
from eqcalc.datasets import Dataset
from eqcalc.labelling import GFN2, PySCF

FAILURE = 2


@pytest.fixture
def water(tmp_path):
    path = tmp_path / "water.xyz"
    ase.io.write(path, molecule("H2O"))
    return path


def label(water, *arguments):
    target = water.with_name("labels.h5")
    code = main(["label", str(water), str(target), "--as-given", "--quiet", *map(str, arguments)])
    return code, target


@pytest.mark.slow
def test_density_functional_theory(water):
    pytest.importorskip("pyscf")
    code, target = label(water, "--method", "dft", "--functional", "PBE", "--basis", "sto-3g")
    assert code == 0
    dataset = Dataset.open(target)
    assert dataset.level_of_theory == "PBE/sto-3g (density fitting)"
    expected = PySCF("PBE", "sto-3g").label(molecule("H2O"))
    np.testing.assert_allclose(dataset[0].labels["dipole"], expected["dipole"], atol=1e-6)


def test_an_ase_calculator(water):
    code, target = label(
        water,
        *("--method", "ase:tblite.ase.TBLite", "--quantities", "energy", "dipole"),
        *("--option", "accuracy=1e-3", "--option", "verbosity=0", "--level-of-theory", "xTB 2"),
    )
    assert code == 0
    dataset = Dataset.open(target)
    assert dataset.level_of_theory == "xTB 2" and dataset.quantities == ("energy", "dipole")
    energy = GFN2().label(molecule("H2O"))["energy"]
    assert dataset[0].labels["energy"] == pytest.approx(float(energy), abs=1e-5)


def test_methods_by_quantity(water):
    code, target = label(
        water,
        *("--method", "energy,forces=gfn2", "--method", "dipole=ase:tblite.ase.TBLite"),
        *("--option", "dipole.verbosity=0", "--option", "dipole.accuracy=0.5"),
        *("--option", "forces.accuracy=0.1", "--level-of-theory", "energy,forces=xTB"),
    )
    assert code == 0
    dataset = Dataset.open(target)
    assert dataset.levels_of_theory == {
        "energy": "xTB",
        "forces": "xTB",
        "dipole": "TBLite(verbosity=0, accuracy=0.5)",
    }
    assert dataset.provenance["method_settings"]["energy,forces"]["accuracy"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--method", "gnf2"], "did you mean 'gfn2'"),
        (["--method", "dft", "--functional", "PBEO"], "did you mean 'PBE0'"),
        (["--method", "dft", "--basis", "def2-TZPV"], "did you mean 'def2-TZVP'"),
        (["--functional", "PBE"], "--method dft"),
        (["--option", "acuracy=1"], "did you mean 'accuracy'"),
        (["--method", "enrgy=gfn2"], "did you mean 'energy'"),
        (["--method", "energy=gfn2", "--method", "dft"], "QUANTITY"),
        (["--method", "energy=gfn2", "--option", "accuracy=1"], "--option"),
        (["--quantities", "energy", "stress"], "stress"),
        (["--level-of-theory", "a", "--level-of-theory", "b"], "--level-of-theory"),
    ],
)
def test_mistakes_are_found_before_any_work(water, arguments, named, capsys):
    pytest.importorskip("pyscf")
    code, target = label(water, *arguments)
    assert code == FAILURE and not target.exists()
    message = capsys.readouterr().err
    assert named in message and "Traceback" not in message


def test_levels_of_theory_of_a_conversion(tmp_path):
    source, target = tmp_path / "a.xyz", tmp_path / "a.h5"
    atoms = molecule("H2O")
    atoms.info.update(E=-1.0, mu=np.array([0.0, 0.0, 0.4]))
    ase.io.write(source, atoms, format="extxyz")
    levels = ["--level-of-theory", "energy=CCSD(T)", "--level-of-theory", "dipole=MP2"]
    keys = ["--key", "energy=E", "--key", "dipole=mu"]
    units = ["--unit", "energy=eV", "--unit", "dipole=e*Å", "--unit", "positions=Å"]
    assert main(["convert", str(source), str(target), "--quiet", *levels, *keys, *units]) == 0
    assert Dataset.open(target).levels_of_theory == {"energy": "CCSD(T)", "dipole": "MP2"}


def test_a_dataset_becomes_extended_xyz(tmp_path, capsys):
    dataset = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"
    target = tmp_path / "a.extxyz"
    command = ["convert", str(dataset), str(target), "--quiet"]
    assert main([*command, "--unit", "energy=eV"]) == FAILURE and not target.exists()
    assert main([*command, "--key", "energy=REF_energy"]) == 0
    assert "REF_energy=-" in target.read_text("utf-8").splitlines()[1]
    capsys.readouterr()
    assert main(command) == FAILURE
    assert str(target) in capsys.readouterr().err
