# SPDX-License-Identifier: MIT
"""Geometry, charge and spin in inputs of programs."""

import numpy as np
import pytest

from eqcalc.molecules import read_structure, read_structures, total_charge, unpaired_electrons
from eqcalc.program_inputs import ConstraintWarning
from eqcalc.validation import ABSENT
from tests.errors import refused


def gaussian(atoms, route="# pbe1pbe/def2tzvp", charge="0 1"):
    return f"%chk=a.chk\n{route}\n\ntitle\n\n{charge}\n{atoms}\n\n"


@pytest.mark.parametrize(
    ("text", "charge", "hydrogen"),
    [
        (gaussian("O 0 0 0\nH 0 1 0\nH 1 0 0"), 0, 1.008),
        (gaussian("O,0.,0.,0.\nH,0.,1.,0.\nH,1.,0.,0.", charge="1,2"), 1, 1.008),
        (gaussian("8 0. 0. 0.\nH(Iso=2) 0. 1. 0.\nH(Iso=2) 1. 0. 0."), 0, 2.01410178),
        (gaussian("O 0 0. 0. 0.\nD -1 0. 1. 0.\nD -1 1. 0. 0. L"), 0, 2.01410178),
        (gaussian("O\nH 1 r\nH 1 r 2 a\n\nr=1.0\na=90.0"), 0, 1.008),
        (gaussian("X\nO 1 1.\nH 2 r 1 90.\nH 2 r 1 90. 3 90.\n\nr 1."), 0, 1.008),
        (
            gaussian("O 0. 0. 0.\nH 0. 1.8897261 0.\nH 1.8897261 0. 0.", route="#p hf units(au)"),
            0,
            1.008,
        ),
        (
            gaussian("O 0 0 0\nH 0 1 0\nH 1 0 0").replace("\n", "\r\n")
            + "--Link1--\n# hf geom=check\n\ntitle\n\n0 1\n\n",
            0,
            1.008,
        ),
    ],
)
def test_inputs_of_gaussian(tmp_path, text, charge, hydrogen):
    (tmp_path / "a.gjf").write_bytes(text.encode())
    read = read_structure(tmp_path / "a.gjf")
    assert sorted(read.get_all_distances()[np.triu_indices(3, 1)]) == pytest.approx(
        [1.0, 1.0, np.sqrt(2.0)], abs=1e-6
    )
    assert read.numbers.tolist() == [8, 1, 1] and total_charge(read) == charge
    assert read.get_masses()[1:] == pytest.approx(hydrogen)
    assert [list(c.index) for c in read.constraints] == ([[1, 2]] if " -1 " in text else [])


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (gaussian("O 0 0 0\nH-Bq 0 1 0"), "line 8.element"),
        (gaussian("O 0 0 0", charge="neutral"), "line 6"),
        (gaussian("O\nH 1 r"), "Z-matrix"),
        (gaussian("O 0 0 0", route="# hf geom=allcheck"), ""),
    ],
)
def test_damaged_inputs_of_gaussian(tmp_path, text, key):
    (tmp_path / "a.gjf").write_text(text)
    with refused(key=key, file=tmp_path / "a.gjf"):
        read_structure(tmp_path / "a.gjf")


#: Water with bonds of 0.96 Å and an angle of 104.5°.
WATER = "O 0.0 0.0 0.0\nH 0.0 0.0 0.96\nH 0.929422 0.0 -0.240365\n"
BOHR = "O 0 0 0\nH 0 0 1.814137\nH 1.756353 0 -0.454224\n"
Z_MATRIX = "O\nH 1 r\nH 1 r 2 a\n\nr = 0.96\na = 104.5\n"
SCALED = "OW 0 0 0 MOL1\nH 0 0 0.096\nH 0.0929422 0 -0.0240365\n"
COORDS = f"%coords\n CTyp xyz\n Charge -1\n Mult 2\n coords\n{WATER} end\nend\n"


def cp2k(*subsystem, stated=""):
    """Return an input with a force field, whose charges of atoms are none of the molecule."""
    lines = "\n".join(["&SUBSYS", *subsystem, "&END SUBSYS"])
    field = "&MM\n&CHARGE\nATOM O\nCHARGE -0.8\n&END\n&END MM\n"
    return f"&FORCE_EVAL\n&DFT\n{stated}\n&END DFT\n{field}{lines}\n&END FORCE_EVAL\n"


@pytest.mark.parametrize(
    ("text", "charge", "unpaired"),
    [
        (f"! B3LYP Opt # a comment\n%pal nprocs 4 end\n* xyz 1 2\n{WATER}*\n", 1, 1),
        (f"!HF Bohrs\n*xyz 0 3\n{BOHR}*\n", 0, 2),
        ("! HF\n* int 0 1\nO 0 0 0 0 0 0\nH 1 0 0 .96 0 0\nH 1 2 0 .96 104.5 0\n*\n", 0, 0),
        ("! HF\n* gzmt 0 1\nO\nH 1 0.96\nH 1 0.96 2 104.5\n*\n", 0, 0),
        (f"! HF\n{COORDS}", -1, 1),
        (f"$molecule\n1 2\n{WATER}$end\n$rem\nmethod b3lyp\n$end\n", 1, 1),
        (f"$molecule\n0 1\n{Z_MATRIX}$end\n@@@\n$molecule\nread\n$end\n", 0, 0),
        (f"$rem\ninput_bohr = true\n$end\n$molecule\n-1 2\n{BOHR}$end\n", -1, 1),
        (f"memory 2 GB\nmolecule w {{\n1 2\n{WATER}symmetry c1\nno_com\n}}\nenergy('hf')\n", 1, 1),
        (f"molecule {{\n{Z_MATRIX}}}\n", 0, 0),
        (f"molecule {{\nunits bohr\n0 3\n{BOHR}}}\n", 0, 2),
        (f"charge 1\ngeometry noautosym\n{WATER}end\ndft\n mult 2\nend\ntask dft\n", 1, 1),
        (
            f"geometry units au; {BOHR.replace(chr(10), '; ')}end\nscf; triplet; end\ntask scf\n",
            0,
            2,
        ),
        (cp2k("&CELL\nABC 10 10 10\nPERIODIC NONE\n&END", f"&COORD\n{WATER}&END COORD"), 0, 0),
        (
            "@SET L 10.0\n"
            + cp2k(
                "&CELL\nA ${L} 0 0\nB 0 $L 0\nC 0 0 10\n&END CELL",
                f"&COORD\nSCALED\n{SCALED}&END",
                "&KIND OW\nELEMENT O\n&END KIND",
                stated="CHARGE -1\nMULTIPLICITY 2",
            ),
            -1,
            None,
        ),
    ],
)
def test_inputs_of_other_programs(tmp_path, text, charge, unpaired):
    (tmp_path / "a.inp").write_text(text)
    read = read_structure(tmp_path / "a.inp")
    assert read.numbers.tolist() == [8, 1, 1] and total_charge(read) == charge
    if unpaired is None:
        assert read.pbc.all() and read.cell.lengths() == pytest.approx([10.0, 10.0, 10.0])
    else:
        assert unpaired_electrons(read) == unpaired
    assert read.get_distance(0, 1) == pytest.approx(0.96, abs=1e-5)
    assert read.get_angle(1, 0, 2) == pytest.approx(104.5, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "charge", "unpaired"),
    [
        (f"$molecule\n0 1\n--\n0 1\n{WATER}--\n0 1\nNe 0 3 0\n$end\n", 0, 0),
        (f"molecule {{\n-1 2\n{WATER}--\n1 1\nNa 0 3 0\n}}\n", 0, 1),
        (f"molecule {{\n1 1\n--\n0 1\n{WATER}--\n1 1\nNa 0 3 0\n}}\n", 1, 0),
    ],
)
def test_fragments_of_an_input(tmp_path, text, charge, unpaired):
    (tmp_path / "a.in").write_text(text)
    read = read_structure(tmp_path / "a.in")
    assert (len(read), total_charge(read), unpaired_electrons(read)) == (4, charge, unpaired)


@pytest.mark.parametrize(
    "text",
    [
        "! HF\n* xyz 0 1\nO 0 0 0\nH 0 0 0.96 M = 2.014\nH 0.93 0 -0.24 M=2.014\n*\n",
        "molecule {\nO 0 0 0\nH@2.014 0 0 0.96\nH1@2.014 0.93 0 -0.24\n}\n",
        "geometry\nO 0 0 0\nH1 0 0 .96 mass 2.014\nH2 .93 0 -.24 mass 2.014\nend\ntask scf\n",
    ],
)
def test_isotopes_of_an_input(tmp_path, text):
    (tmp_path / "a.inp").write_text(text)
    masses = read_structure(tmp_path / "a.inp").get_masses()
    assert masses == pytest.approx([15.999, 2.014, 2.014])


def test_every_geometry_of_an_input_is_read(tmp_path):
    jobs = "$new_job\n".join(f"! HF\n* xyz {charge} 2\n{WATER}*\n" for charge in (1, -1))
    (tmp_path / "a.inp").write_text(jobs)
    assert [total_charge(a) for a in read_structures([tmp_path / "a.inp"])] == [1, -1]


def test_constraints_of_an_optimization_are_told(tmp_path):
    text = f"! HF Opt\n%geom Constraints {{B 0 1 C}} end end\n* xyz 0 1\n{WATER}*\n"
    (tmp_path / "a.inp").write_text(text)
    with pytest.warns(ConstraintWarning):
        assert not read_structure(tmp_path / "a.inp").constraints


def test_a_charge_of_quantum_espresso(tmp_path):
    text = "&CONTROL\n/\n&SYSTEM\nibrav=0, nat=1, ntyp=1,\n tot_charge = {}\n/\nATOMIC_SPECIES\n"
    text += "H 1.0 H.upf\nATOMIC_POSITIONS angstrom\nH 0 0 0\nCELL_PARAMETERS angstrom\n5 0 0\n"
    path = tmp_path / "a.in"
    path.write_text(text.format("1.d0") + "0 5 0\n0 0 5\n")
    assert total_charge(read_structure(path)) == 1.0
    path.write_text(text.format("0.5") + "0 5 0\n0 0 5\n")
    with refused(key="charge", value="0.5", file=path):
        read_structure(path)


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("! HF\n* xyzfile 0 1 w.xyz\n", "line 2", "w.xyz"),
        ("! HF\n* xyz 0 1\nO 0 0 0\nH 0 0 {r}\n*\n", "line 4", "H 0 0 {r}"),
        ("! HF\n* xyz 0 1\nO 0 0 0\nH: 0 0 1\n*\n", "line 4", "H:"),
        ("! HF\n* xyz 0 x\nO 0 0 0\n*\n", "line 2", "x"),
        ("! HF\n* xyz 0 1\nO 0 0 0\n", "line 2", "* xyz 0 1"),
        ("! HF\n* int 0 1\nO 0 0 0\n*\n", "line 3", "O 0 0 0"),
        ("$molecule\nread w.xyz\n$end\n", "line 2", "w.xyz"),
        ("$molecule\nread\n$end\n", "", ABSENT),
        (f"$molecule\n0 1\n{WATER}$end\n$isotopes\n1\n$end\n", "line 7", "$isotopes"),
        ("molecule {\nO 0 0 0\n@H 0 0 1\n}\n", "line 3", "@H"),
        ("molecule {\nO 0 0 0\nunits furlong\n}\n", "line 3", "furlong"),
        ("geometry\n load w.xyz\nend\ntask scf\n", "line 2", "w.xyz"),
        ("geometry\n symmetry c2v\n O 0 0 0\nend\ntask scf\n", "line 2", "symmetry c2v"),
        ("geometry\n O 0 0 0 charge 0\nend\ntask scf\n", "line 2", "charge 0"),
        (cp2k("&TOPOLOGY\nCOORD_FILE_NAME w.xyz\n&END"), "line 13", "w.xyz"),
        (cp2k("&COORD\n@INCLUDE 'w.inc'\n&END"), "line 13", "w.inc"),
        (cp2k("&CELL\nABC 1 ${L}\n&END", f"&COORD\n{WATER}&END"), "line 13", "ABC 1 ${L}"),
        (cp2k("&COORD\nO 0 0 0\n&END"), "&CELL", ABSENT),
    ],
)
def test_what_an_input_lacks_is_named(tmp_path, text, key, value):
    path = tmp_path / "a.inp"
    path.write_text(text)
    with refused(file=path) as found:
        read_structure(path)
    assert (found.value.key.removesuffix(".element"), found.value.value) == (key, value)
