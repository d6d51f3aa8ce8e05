# SPDX-License-Identifier: MIT
"""Molecules from files, formulas, names and SMILES strings."""

import re
import sys
from importlib import import_module

import numpy as np
import pytest
from ase.build import molecule
from ase.io import write

from eqcalc.molecules import ISOTOPES
from eqcalc.prediction import molecule_from
from tests.errors import refused


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        ("ethanol", "C2H6O"),
        ("Formic acid", "CH2O2"),
        ("CH3CH2OH", "C2H6O"),
        ("H2O", "H2O"),
        ("CH2O", "CH2O"),  # the sum formula of one molecule of the set
        ("2-butyne", "C4H6"),
        ("nitrogen", "N2"),
    ],
)
def test_names_and_formulas(text, formula):
    assert molecule_from(text).get_chemical_formula("hill") == formula


@pytest.mark.parametrize(("text", "light"), [("D2O", "H2O"), ("C6D6", "C6H6"), ("CDCl3", "CHCl3")])
def test_formulas_of_deuterated_molecules(text, light):
    atoms = molecule_from(text)
    assert atoms.get_chemical_formula("hill") == molecule_from(light).get_chemical_formula("hill")
    np.testing.assert_allclose(atoms.get_masses()[atoms.numbers == 1], 2.014, atol=1e-3)


def test_a_formula_does_not_place_deuterium():
    with refused(key="molecule", value="CH3OD") as caught:
        molecule_from("CH3OD")
    assert "[2H]" in caught.value.expected


def test_every_common_name_has_a_structure():
    pytest.importorskip("rdkit")
    from eqcalc.prediction.structure import _NAMES

    for name in _NAMES:
        assert len(molecule_from(name)) > 1


@pytest.mark.parametrize(
    ("name", "format"), [("water.xyz", "xyz"), ("POSCAR", "vasp"), ("water.pdb", "proteindatabank")]
)
def test_structure_files(tmp_path, name, format):
    atoms = molecule("H2O")
    if format == "vasp":
        atoms.center(vacuum=5.0)
    write(tmp_path / name, atoms, format=format)
    assert len(molecule_from(str(tmp_path / name))) == 3


def test_a_file_that_does_not_exist():
    with refused(key="molecule", value="water.xyz", problem="no such file"):
        molecule_from("water.xyz")


@pytest.mark.parametrize("text", ["unobtainium", "C9H99", "", "CCX"])
def test_unknown_molecules_are_refused(text):
    with refused(key="molecule", value=text):
        molecule_from(text)


def test_a_misspelled_name_is_suggested():
    with refused(key="molecule", suggestion="formaldehyde"):
        molecule_from("formaldehide")


def test_a_formula_of_several_molecules_is_refused():
    with refused(key="molecule", value="C2H6O") as caught:
        molecule_from("C2H6O")
    assert "CH3OCH3" in caught.value.expected
    assert "CH3CH2OH" in caught.value.expected


class TestSmiles:
    @pytest.fixture(autouse=True)
    def _rdkit(self):
        pytest.importorskip("rdkit")

    @pytest.mark.parametrize(
        ("text", "formula", "charge"),
        [
            ("CCO", "C2H6O", 0),
            ("C=O", "CH2O", 0),
            ("[NH4+]", "H4N", 1),
            ("O", "H2O", 0),  # the atom has no vibrations
            ("InChI=1S/CH4O/c1-2/h2H,1H3", "CH4O", 0),
        ],
    )
    def test_molecules_and_ions(self, text, formula, charge):
        atoms = molecule_from(text)
        assert atoms.get_chemical_formula("hill") == formula
        assert atoms.info["charge"] == charge

    def test_isotopes(self):
        heavy = molecule_from("[2H]O[2H]").get_masses()
        np.testing.assert_allclose(np.sort(heavy), [2.0141, 2.0141, 15.999], atol=1e-3)
        table = import_module("rdkit.Chem").GetPeriodicTable()
        for name, (element, mass) in ISOTOPES.items():
            number = {"D": 2, "T": 3}.get(name) or int(re.match(r"\d+", name)[0])
            assert mass == pytest.approx(table.GetMassForIsotope(element, number), abs=3e-6)

    def test_names_of_the_table_of_fundamentals(self):
        heavy = molecule_from("Methanol-d1")
        assert heavy.get_chemical_formula("hill") == "CH4O"
        (place,) = np.flatnonzero(heavy.get_masses().round() == 2)
        assert heavy.get_distance(int(place), int(np.flatnonzero(heavy.numbers == 8)[0])) < 1.1

    @pytest.mark.parametrize("text", ["O.O", "[Na+].[Cl-]"])
    def test_several_molecules_are_refused(self, text):
        with refused(key="molecule", value=text, expected="a single molecule"):
            molecule_from(text)

    def test_nothing_but_errors_is_told(self, capfd):
        for text in ("[H][H]", "S(F)(F)(F)(F)(F)F"):
            molecule_from(text)
        assert capfd.readouterr() == ("", "")

    def test_radical_electrons(self):
        assert molecule_from("[CH2]").info["multiplicity"] == 3
        assert molecule_from("CH2_s1A1d").info["multiplicity"] == 1  # not the ground state

    def test_a_formula_that_is_another_molecule_as_smiles_is_refused(self):
        with refused(key="molecule", expected="formula:CO or smiles:CO"):
            molecule_from("CO")
        assert len(molecule_from("formula:CO")) == 2
        assert len(molecule_from("smiles:CO")) == 6

    def test_a_symbol_twice_is_no_formula(self):
        """Diatomic molecules are O2 and N2; OO and NN are hydrogen peroxide and hydrazine."""
        assert str(molecule_from("OO").symbols) == "O2H2"
        assert str(molecule_from("NN").symbols) == "N2H4"
        assert len(molecule_from("N2")) == 2


def test_without_rdkit_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with refused(key="molecule", value="CCO") as caught:
        molecule_from("smiles:CCO")
    assert "eqcalc[predict]" in caught.value.advice
