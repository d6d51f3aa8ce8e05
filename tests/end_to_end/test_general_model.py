# SPDX-License-Identifier: MIT
"""The shipped model of molecules of H, C, N and O: what it is good for, and where it ends."""

import warnings

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write

from eqcalc import EqCalculator
from eqcalc.cli import main
from eqcalc.files import GENERAL_MODEL, model_file
from eqcalc.harmonic import harmonic_spectrum, potential_smoothness, relax, wavenumber_errors
from eqcalc.models.checkpoint import load_model
from eqcalc.models.compositions import UnknownCompositionWarning
from eqcalc.prediction.level import ModelLevel, default_level
from eqcalc.prediction.structure import molecule_from
from eqcalc.units import convert

#: Harmonic wavenumbers of formaldehyde, CCSD(T)-F12 [cm⁻¹].
FORMALDEHYDE = (1186.7, 1268.4, 1532.8, 1777.0, 2933.8, 3005.9)


@pytest.fixture(scope="module")
def model():
    return load_model(GENERAL_MODEL, dtype=torch.float64)


@pytest.fixture(scope="module")
def formaldehyde(model):
    return relax(model, molecule("H2CO"))


@pytest.mark.slow
def test_formaldehyde_by_coupled_clusters(model, formaldehyde):
    modes = harmonic_spectrum(model, formaldehyde)
    error = modes.wavenumber - np.array(FORMALDEHYDE)
    stated = wavenumber_errors(modes, model, formaldehyde)
    assert np.abs(error).mean() < 25.0
    assert (np.abs(error) < 3.0 * stated).all()
    assert (stated < 100.0).all()
    assert potential_smoothness(model, formaldehyde).trusted.all()


@pytest.mark.slow
def test_members_disagree_alike_with_one_mode_terms(model, formaldehyde):
    modes = harmonic_spectrum(model, formaldehyde)
    found = ModelLevel(GENERAL_MODEL).model_error(modes, formaldehyde)
    stated = wavenumber_errors(modes, model, formaldehyde)
    np.testing.assert_allclose(found.wavenumber, stated, rtol=0.5)
    for error, value in zip(
        found[1:], (modes.infrared_intensity, modes.raman_activity), strict=True
    ):
        assert (error > 0.0).all()
        assert error.sum() < value.sum()


def test_dipole_and_polarizability_of_formaldehyde(formaldehyde):
    """Measured: 2.33 D, 16.7 bohr³ (CRC Handbook); the polarizability of PTB is a tenth too low."""
    calculator = EqCalculator()
    formaldehyde = formaldehyde.copy()
    formaldehyde.calc = calculator
    moment = float(np.linalg.norm(formaldehyde.get_dipole_moment()))
    assert convert(moment, "e*Å", "D") == pytest.approx(2.33, abs=0.25)
    alpha = calculator.get_polarizability(formaldehyde)
    assert convert(np.trace(alpha) / 3.0, "e^2*Å^2/eV", "bohr^3") == pytest.approx(16.0, abs=2.0)


@pytest.mark.parametrize("name", ["CH3", "C60"])
def test_it_says_where_it_ends(name):
    atoms = molecule(name)
    atoms.calc = EqCalculator()
    with pytest.warns(UnknownCompositionWarning):
        atoms.get_potential_energy()
    assert default_level(atoms) == "gfn2"


@pytest.mark.parametrize("atoms", [bulk("C", "diamond", 3.57), molecule("CH3OH", vacuum=5.0)])
def test_it_says_that_it_knows_no_cells(atoms):
    atoms.pbc = True
    atoms.calc = EqCalculator()
    with pytest.warns(UnknownCompositionWarning):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("smiles", "known"),
    [("C=C=C", False), ("C[N+]#[C-]", False), ("CC#N", True), ("C=C=O", True), ("CC#CC", True)],
)
def test_kinds_that_it_cannot_do_are_known(smiles, known):
    """Allene's twist has 865 cm⁻¹ and next to none in a network of scalars and vectors.

    The N≡C stretch of methyl isocyanide has 2166 cm⁻¹, and 150 more in the model.
    """
    pytest.importorskip("rdkit")
    atoms = molecule_from(f"smiles:{smiles}")
    assert default_level(atoms) == ("general" if known else "gfn2")


def test_it_is_the_default_where_it_knows_the_molecule():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnknownCompositionWarning)
        atoms = molecule("CH3CONH2")
        atoms.calc = EqCalculator()
        atoms.get_potential_energy()
    assert default_level(atoms) == "general"
    atoms.info["charge"] = 2
    assert default_level(atoms) == "gfn2"


@pytest.mark.slow
def test_commands_take_it_without_its_name(tmp_path, capsys):
    write(tmp_path / "water.xyz", molecule("H2O"))
    assert main(["harmonic", str(tmp_path / "water.xyz")]) == 0
    text = capsys.readouterr().out
    assert "±" in text
    assert main(["harmonic", GENERAL_MODEL, str(tmp_path / "water.xyz")]) == 0
    assert capsys.readouterr().out == text
    assert model_file("no-such-model").name == "no-such-model"
