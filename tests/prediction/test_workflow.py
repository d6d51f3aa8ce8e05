# SPDX-License-Identifier: MIT
"""Predictions of whole spectra."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from eqcalc.cli import main
from eqcalc.normal_modes import NormalModes
from eqcalc.prediction import plan, predict
from eqcalc.prediction.workflow import _is_chiral, _thermal
from tests.anharmonic.surfaces import Water
from tests.errors import refused

pytest.importorskip("tblite")


@pytest.mark.slow
def test_water_from_its_name(tmp_path, capsys):
    assert main(["predict", "water", "--output", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "fundamentals of Water" in text
    assert (tmp_path / "out" / "infrared.csv").is_file()
    assert (tmp_path / "out" / "summary.txt").read_text().startswith("water: VCI at GFN2-xTB")


@pytest.mark.slow
def test_isotopes_move_the_bands():
    light, heavy = (predict("H2O", isotopes=masses) for masses in ({}, {"H": 2.014}))
    ratio = (
        heavy.conformers[0].spectrum.fundamentals() / light.conformers[0].spectrum.fundamentals()
    )
    assert ((ratio > 0.71) & (ratio < 0.76)).all()
    # the bands of the gas have the area of their lines
    strong = light.conformers[0].spectrum
    area = light.infrared.integrate().value
    assert area == pytest.approx(strong.infrared_intensity.sum(), rel=0.03)


def test_a_plan_states_its_time():
    found = plan("formaldehyde")
    assert found.seconds > 0.0
    assert found.points > 1000
    assert "CH2O at GFN2-xTB" in str(found)


@pytest.mark.parametrize(
    ("atoms", "value"),
    [(molecule("C6H6") + Atoms("He", [[0, 0, 5]]), "13 atoms"), (Atoms("He"), "1 atoms")],
)
def test_sizes_are_checked(atoms, value):
    with refused(key="molecule", value=value):
        predict(atoms)


def test_radicals_are_refused():
    with refused(key="molecule", value="CH3"):
        predict("CH3")
    with refused(key="molecule"):
        predict("H2O", charge=1)


def test_temperature_is_checked():
    with refused(key="temperature"):
        predict("H2O", temperature=-1.0)


def test_mirror_images():
    chiral = molecule("H2O2")
    assert _is_chiral(chiral)
    assert not _is_chiral(molecule("CH3CH2OH"))
    assert not _is_chiral(molecule("H2O"))


def test_free_energy_of_a_stiffer_molecule_is_higher():
    water = Water()
    modes = water.modes()
    atoms = Atoms("OH2", water.equilibrium.numpy())
    stiffer = NormalModes(**{**vars(modes), "eigenvalues": 1.21 * modes.eigenvalues})
    difference = _thermal(stiffer, atoms, 10.0) - _thermal(modes, atoms, 10.0)
    # at 10 K the zero-point energy, a tenth of which is 467.7 cm⁻¹
    assert difference * 8065.544 == pytest.approx(0.05 * modes.wavenumber.sum(), rel=1e-3)
    assert np.isfinite(_thermal(modes, atoms, 300.0))
