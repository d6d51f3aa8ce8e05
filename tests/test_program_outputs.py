# SPDX-License-Identifier: MIT
"""Outputs of programs as structure files: their last geometry, with charge and spin."""

import re
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.cli import main
from eqcalc.cli.program import FAILURE
from eqcalc.datasets import convert
from eqcalc.labelling import GFN2, label
from eqcalc.models.checkpoint import save_model
from eqcalc.molecules import read_structure, total_charge, unpaired_electrons
from eqcalc.program_outputs import REAL, program_of
from tests.conftest import make_potential
from tests.errors import refused

OUTPUTS = Path(__file__).parent / "datasets/excerpts/outputs"
#: Where outputs state charge and multiplicity.
STATED = (
    r"(Charge =  )0( Multiplicity = )1",
    r"( Total Charge .*)0(\n Multiplicity .*)1(?=\n)",
    r"(, charge = )0(, multiplicity = )1",
    r"(\$molecule\n *)0( )1(?=\n)",
)
WATER = """                                 * O   R   C   A *
CARTESIAN COORDINATES (ANGSTROEM)
---------------------------------
{}

 Total Charge           Charge          ....    1
 Multiplicity           Mult            ....    2
FINAL SINGLE POINT ENERGY       -75.900000000000
                             ****ORCA TERMINATED NORMALLY****
"""


def as_cation(output: Path, target: Path) -> Path:
    """Write an output that states charge 1 and multiplicity 2 instead of 0 and 1."""
    text = output.read_text()
    for form in STATED:
        text = re.sub(form, r"\g<1>1\g<2>2", text)
    assert text != output.read_text()
    target.write_text(text)
    return target


@pytest.mark.parametrize("name", [path.name for path in sorted(OUTPUTS.iterdir())])
def test_charge_and_spin_of_an_output_are_those_of_its_structure(tmp_path, name):
    path = as_cation(OUTPUTS / name, tmp_path / name)
    read = read_structure(path)
    assert (total_charge(read), unpaired_electrons(read)) == (1.0, 1)
    # the same where its labels are read
    report = convert(path, tmp_path / "a.h5", reference=None, progress=False)
    last = report.dataset[len(report.dataset) - 1]
    assert (last.charge, last.unpaired_electrons) == (1.0, 1)
    np.testing.assert_array_equal(last.numbers, read.numbers)
    np.testing.assert_allclose(last.positions, read.positions, atol=1e-6)


@pytest.fixture
def water_cation(tmp_path):
    water = molecule("H2O")
    rows = zip(water.symbols, water.positions, strict=True)
    table = "\n".join(f"  {symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in rows)
    path = tmp_path / "water.out"
    path.write_text(WATER.format(table))
    return path


def test_an_ion_of_an_output_is_labelled_as_one(tmp_path, water_cation):
    ion = read_structure(water_cation)
    (record,) = label([ion], GFN2(), tmp_path / "a.h5", progress=False).dataset
    assert (record.charge, record.unpaired_electrons) == (1.0, 1)
    neutral = molecule("H2O")
    assert record.labels["energy"] - GFN2().label(neutral)["energy"] > 10.0  # eV


def test_an_ion_of_an_output_is_simulated_as_one(tmp_path, water_cation, capsys):
    save_model(make_potential(features=8), tmp_path / "model.eqc")
    arguments = ("simulate", tmp_path / "model.eqc", water_cation, "--output", tmp_path / "r.h5")
    options = ("--time", 0.001, "--replicas", 1)
    assert main([str(argument) for argument in (*arguments, *options)]) == FAILURE
    assert "charge: expected a total charge [e]" in capsys.readouterr().err


def test_an_output_without_a_geometry_is_refused(tmp_path):
    path = tmp_path / "a.out"
    path.write_text("* O   R   C   A *\nCARTESIAN COORDINATES (ANGSTROEM)\n----\n")
    with refused(file=path, expected="one with positions"):
        read_structure(path)
    path.write_text("* O   R   C   A *\n Total Charge           Charge    ....    one\n")
    with refused(file=path):
        read_structure(path)


def test_a_geometry_that_is_cut_off_is_none(tmp_path):
    """Of a calculation that still runs it is the one before; a smaller molecule is none of them."""
    text = (OUTPUTS / "orca_optimisation.out").read_text()
    heading = "CARTESIAN COORDINATES (ANGSTROEM)"
    last = text.rindex(heading)
    rows = text[last:].split("\n\n")[0].splitlines()[2:]
    cut = tmp_path / "a.out"
    cut.write_text(text[: text.index(rows[-1], last) - 1])
    before = tmp_path / "b.out"
    before.write_text(text[:last])
    np.testing.assert_array_equal(read_structure(cut).positions, read_structure(before).positions)
    cut.write_text(text[: text.index(heading) + 150])
    with refused(file=cut, expected="one with positions"):
        read_structure(cut)
    damaged = rows[-2].replace(rows[-2].split()[-1], "")
    cut.write_text(text[:last] + text[last:].replace(rows[-2], damaged))
    with refused(file=cut):
        read_structure(cut)


def test_numbers_of_an_output_are_found_in_a_time_that_grows_with_its_length(tmp_path):
    path = tmp_path / "a.out"
    path.write_text(WATER.format("  O 0.0 0.0 0.0\n  H 0.0 0.9 0.3\n  H 0.0 -0.9 0.3"))
    path.write_text(path.read_text().replace("-75.9", "1" * 300_000))
    with refused(file=path):  # it has no energy
        read_structure(path)
    found = REAL.findall("-1.5-2.25 3.0D+01x12.e5 .5 7")
    assert found == ["-1.5", "-2.25", "3.0D+01", "12.e5"]


def test_other_files_are_no_outputs(tmp_path):
    ase.io.write(tmp_path / "a.pdb", molecule("H2O"))
    assert program_of(tmp_path / "a.pdb") is None
