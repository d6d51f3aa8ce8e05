# SPDX-License-Identifier: MIT
"""Predictions of whole spectra."""

from shutil import _ntuple_diskusage as usage

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from eqcalc.anharmonic import Treatment
from eqcalc.cli import main
from eqcalc.cli.program import FAILURE
from eqcalc.labelling import rotate
from eqcalc.normal_modes import NormalModes
from eqcalc.prediction import molecule_from, plan, planning, predict
from eqcalc.prediction.level import level_named
from eqcalc.prediction.planning import requested_molecule
from eqcalc.prediction.workflow import _minimum, _thermal
from eqcalc.validation import InvalidInputError
from tests.anharmonic.surfaces import Water
from tests.errors import refused

pytest.importorskip("tblite")


@pytest.mark.slow
def test_water_from_its_name(tmp_path, capsys):
    assert main(["predict", "water", "--level", "gfn2", "--output", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "fundamentals of Water" in text
    assert (tmp_path / "out" / "infrared.csv").is_file()
    assert (tmp_path / "out" / "summary.txt").read_text().startswith("water: VCI at GFN2-xTB")


@pytest.mark.slow
def test_isotopes_move_the_bands():
    light, heavy = (predict("H2O", level="gfn2", isotopes=masses) for masses in ({}, {"H": 2.014}))
    ratio = (
        heavy.conformers[0].spectrum.fundamentals() / light.conformers[0].spectrum.fundamentals()
    )
    assert ((ratio > 0.71) & (ratio < 0.76)).all()
    # the bands of the gas have the area of their lines
    strong = light.conformers[0].spectrum
    area = light.infrared.integrate().value
    assert area == pytest.approx(strong.infrared_intensity.sum(), rel=0.03)


def test_a_plan_states_its_time():
    found = plan("formaldehyde", level="gfn2")
    assert found.seconds > 0.0
    assert found.points > 1000
    assert "CH2O at GFN2-xTB" in str(found)


@pytest.mark.parametrize(
    ("atoms", "value"),
    [(Atoms("He41", [[0, 0, 2 * k] for k in range(41)]), "41 atoms"), (Atoms("He"), "1 atoms")],
)
def test_sizes_are_checked(atoms, value):
    with refused(key="molecule", value=value):
        predict(atoms)


def test_radicals_are_refused():
    with refused(key="molecule", value="CH3"):
        predict("CH3")
    with refused(key="molecule"):
        predict("H2O", charge=1)
    with refused(key="molecule", value="O2"):  # its Lewis structure has no unpaired electrons
        predict("O=O")


def test_qualities():
    quick, best = (plan("methylamine", quality=quality) for quality in ("quick", "best"))
    assert (quick.treatment.coupling, best.treatment.coupling) == (2, 3)
    assert best.points > quick.points
    with refused(key="quality", value="better"):
        plan("formaldehyde", quality="better")


@pytest.mark.parametrize("quality", planning.QUALITIES)
def test_vibrations_of_large_molecules_are_harmonic(quality):
    assert planning.treatment_of(quality, 13, 33) is None
    assert (planning.treatment_of(quality, 12, 30) is None) == (quality == "harmonic")


def test_larger_molecules_are_planned():
    found = plan(molecule("trans-butane"))
    assert found.source.given == "general"
    assert found.treatment is None
    assert "harmonic" in str(found)
    assert found.conformers == 3  # of the bond in the middle
    assert found.search > 0.0


def test_a_saddle_point_is_left():
    eclipsed = rotate(molecule("C2H6"), (0, 1), 60.0)
    level = level_named("gfn2")
    assert level.modes(level.relaxed(eclipsed)).eigenvalues[0] < 0.0  # by symmetry
    relaxed, modes = _minimum(eclipsed, level)
    assert modes.eigenvalues[0] > 0.0
    assert relaxed.get_dihedral(2, 0, 1, 5) % 120.0 == pytest.approx(60.0, abs=1.0)


def test_shipped_models_are_levels_by_their_names():
    level = plan("ethanol", level="ethanol").source
    assert level.given == "ethanol"
    assert level.name.startswith("PBE0")


def test_unknown_levels_are_refused():
    with refused(key="level", value="b3lyp") as caught:
        plan("H2O", level="b3lyp")
    assert "general" in caught.value.expected
    assert "dft:" in caught.value.advice


def test_temperature_is_checked():
    with refused(key="temperature"):
        predict("H2O", temperature=-1.0)


def test_mirror_images_and_symmetry_count_in_free_energies():
    water = Water()
    modes = water.modes()
    symmetric = Atoms("OH2", water.equilibrium.numpy())
    other = symmetric.copy()
    other.set_masses([16.0, 1.008, 1.5])  # Cs instead of C2v
    kT = 300.0 * 8.617333e-5
    difference = _thermal(modes, symmetric, 300.0) - _thermal(modes, other, 300.0)
    moments = [np.log(a.get_moments_of_inertia()).sum() for a in (symmetric, other)]
    expected = kT * (np.log(2.0) - 0.5 * (moments[0] - moments[1]))
    assert difference == pytest.approx(expected, rel=1e-6)


def test_free_energy_of_a_stiffer_molecule_is_higher():
    water = Water()
    modes = water.modes()
    atoms = Atoms("OH2", water.equilibrium.numpy())
    stiffer = NormalModes(**{**vars(modes), "eigenvalues": 1.21 * modes.eigenvalues})
    difference = _thermal(stiffer, atoms, 10.0) - _thermal(modes, atoms, 10.0)
    # at 10 K the zero-point energy, a tenth of which is 467.7 cm⁻¹
    assert difference * 8065.544 == pytest.approx(0.05 * modes.wavenumber.sum(), rel=1e-3)
    assert np.isfinite(_thermal(modes, atoms, 300.0))


@pytest.mark.parametrize(
    ("name", "linear"), [("CO2", 1), ("acetylene", 1), ("formula:CO", 1), ("H2O", 0)]
)
def test_linear_molecules_have_a_vibration_more(name, linear):
    atoms = molecule_from(name)
    n_modes = 3 * len(atoms) - 6 + linear
    assert plan(name).points == Treatment.for_modes(n_modes).points(n_modes)


@pytest.mark.parametrize("atoms", [molecule("O2"), Atoms("NiO", [[0, 0, 0], [0, 0, 1.6]])])
def test_open_shells_are_refused(atoms):
    with refused(key="molecule", value=str(atoms.symbols)):
        predict(atoms)


def test_cations_of_radicals_are_closed_shells():
    assert plan("CH3", charge=1).molecule == "CH3, charge +1"


def test_isotopes_by_name():
    masses = requested_molecule("formaldehyde", {"H": "D", "0": "18O"}, None).get_masses()
    np.testing.assert_allclose(masses, [17.99916, 12.011, 2.014102, 2.014102], atol=1e-4)
    with refused(key="masses.1", value="D", expected="an isotope of C"):
        predict("formaldehyde", isotopes={"1": "D"})


class TestBeforeAnyWork:
    @pytest.fixture(autouse=True)
    def _no_work(self, monkeypatch):
        def work(*arguments, **options):
            raise AssertionError("the prediction has begun")

        monkeypatch.setattr("eqcalc.prediction.predict", work)
        monkeypatch.setattr("eqcalc.prediction.workflow.conformers", work)

    def failed(self, capsys, *arguments):
        """Return the only line of an error."""
        assert main(["predict", *map(str, arguments)]) == FAILURE
        lines = capsys.readouterr().err.splitlines()
        assert lines[-1].startswith("eqcalc predict: error: ")
        return lines[-1]

    def test_a_full_disk_is_named(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr("shutil.disk_usage", lambda folder: usage(10**12, 10**12, 10**6))
        assert str(tmp_path) in self.failed(capsys, "H2O", "--output", tmp_path)

    def test_a_folder_that_cannot_be_written_is_named(self, capsys):
        with pytest.raises(SystemExit):
            main(["predict", "H2O", "--output", "/proc/none"])
        assert "/proc/none" in capsys.readouterr().err

    def test_a_measured_file_that_is_missing_is_named(self, tmp_path, capsys):
        assert "gas.jdx" in self.failed(capsys, "H2O", "--measured", tmp_path / "gas.jdx")
        assert not (tmp_path / "predicted").exists()

    @pytest.mark.parametrize("text", ["unobtainium", "C" * 25, "CH3", "[Fe]"])
    def test_molecules_that_are_not_treated_are_named(self, capsys, text):
        self.failed(capsys, text)

    def test_a_level_is_made_once(self, tmp_path, monkeypatch):
        made, asked = [], {}

        def level_named(name):
            made.append(real(name))
            return made[-1]

        def predict(molecule, **options):
            asked.update(options)
            raise InvalidInputError(key="molecule")

        real = planning.level_named
        monkeypatch.setattr(planning, "level_named", level_named)
        monkeypatch.setattr("eqcalc.prediction.predict", predict)
        options = ["--level", "gfn2", "--quality", "best", "--output", str(tmp_path)]
        assert main(["predict", "H2O", *options]) == FAILURE
        assert [asked["level"]] == made
        assert asked["quality"] == "best"

    def test_a_plan_writes_nothing(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["predict", "H2O", "--plan"]) == 0
        assert list(tmp_path.iterdir()) == []
