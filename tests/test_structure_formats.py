# SPDX-License-Identifier: MIT
"""Charge, spin and isotopes of structure files that readers of ASE leave out."""

import json
import warnings

import ase.build
import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import Bohr

from eqcalc.datasets import convert
from eqcalc.datasets.interpretation import Interpretation
from eqcalc.datasets.readers import FrameError
from eqcalc.datasets.readers.extxyz import ExtxyzReader
from eqcalc.molecules import (
    atomic_masses,
    read_structure,
    read_structures,
    total_charge,
    unpaired_electrons,
)
from eqcalc.structure_formats import check_atoms
from eqcalc.validation import InvalidFileError
from eqcalc.xyz_files import IonWarning, stated_in_comment
from tests.errors import refused

HYDRONIUM = Atoms("OH3", [[0, 0, 0.1], [0.94, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]])


def molfile(atoms, code=0, properties=()):
    """Return a molfile whose first atom has a charge code."""
    lines = [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:3} 0{code if i == 0 else 0:3}  0"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions, strict=True))
    ]
    head = ["name", "", "", f"{len(atoms):3}  0  0  0  0  0  0  0  0  0999 V2000"]
    return "\n".join([*head, *lines, *properties, "M  END", ""])


def pdb(atoms, charge):
    return "".join(
        f"HETATM{i:5} {symbol:<4} HOH A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        f"          {symbol:>2}{charge if i == 1 else '':2}\n"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), 1)
    )


@pytest.mark.parametrize(("code", "charge"), [(0, 0), (3, 1), (2, 2), (5, -1), (7, -3)])
def test_charges_in_the_atom_block_of_a_molfile(tmp_path, code, charge):
    (tmp_path / "a.mol").write_text(molfile(HYDRONIUM, code))
    assert total_charge(read_structure(tmp_path / "a.mol")) == charge


def test_property_lines_of_a_molfile_supersede_its_atom_block(tmp_path):
    (tmp_path / "a.mol").write_text(molfile(HYDRONIUM, 5, ["M  CHG  2   1   2   2  -1"]))
    assert total_charge(read_structure(tmp_path / "a.mol")) == 1.0


def test_radicals_and_isotopes_of_a_molfile(tmp_path):
    methylene = Atoms("CH2", [[0, 0, 0], [0.9, 0.5, 0], [-0.9, 0.5, 0]])
    properties = ["M  RAD  1   1   3", "M  ISO  1   2   2"]
    (tmp_path / "a.mol").write_text(molfile(methylene, 0, properties))
    read = read_structure(tmp_path / "a.mol")
    assert unpaired_electrons(read) == 2
    assert atomic_masses(read) == pytest.approx([12.011, 2.01410178, 1.008])


def test_every_molecule_of_an_sdf_is_read(tmp_path):
    """ASE reads the first of them."""
    water = Atoms("OH2", [[0, 0, 0], [0.9, 0.3, 0], [-0.9, 0.3, 0]])
    second = molfile(HYDRONIUM, 0, ["M  CHG  1   1   1"])
    (tmp_path / "a.sdf").write_text(f"{molfile(water)}$$$$\n{second}> <name>\nx\n\n$$$$\n")
    found = read_structures([tmp_path / "a.sdf"])
    assert [(len(atoms), total_charge(atoms)) for atoms in found] == [(3, 0.0), (4, 1.0)]


def v3000(atoms, values=()):
    """Return a molfile of version 3000 whose first atoms have these values."""
    rows = [
        f"M  V30 {10 + i} {symbol} {x:.4f} {y:.4f} {z:.4f} 0 {dict(enumerate(values)).get(i, '')}"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions, strict=True))
    ]
    return "\n".join(
        [
            *("name", "", "", "  0  0  0     0  0            999 V3000", "M  V30 BEGIN CTAB"),
            *(f"M  V30 COUNTS {len(atoms)} 0 0 0 0", "M  V30 BEGIN ATOM", *rows),
            *("M  V30 END ATOM", "M  V30 END CTAB", "M  END", ""),
        ]
    )


def test_a_molfile_of_version_3000(tmp_path):
    for suffix, end in ((".mol", ""), (".sdf", "$$$$\n")):
        path = tmp_path / f"a{suffix}"
        path.write_text(v3000(HYDRONIUM, ["CHG=2", "CHG=-1"]) + end)
        read = read_structure(path)
        assert total_charge(read) == 1.0
        assert read.positions == pytest.approx(HYDRONIUM.positions, abs=1e-4)
    methylene = Atoms("CH2", [[0, 0, 0], [0.9, 0.5, 0], [-0.9, 0.5, 0]])
    text = v3000(methylene, ["RAD=3", "-\nM  V30 MASS=2"])  # which goes on in the next line
    (tmp_path / "a.mol").write_text(text.replace("M  V30 12 H", "M  V30 12 D"))
    read = read_structure(tmp_path / "a.mol")
    assert unpaired_electrons(read) == 2
    assert atomic_masses(read) == pytest.approx([12.011, 2.01410178, 2.01410178])


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("COUNTS 4", "COUNTS 5"), "M  V30 BEGIN ATOM"),
        (("END ATOM", "END"), "M  V30 BEGIN ATOM"),
        (("11 H 0.94", "11 R# 0.94"), "M  V30 11.element"),
        (("11 H 0.94", "11 H nan"), "M  V30 11"),
    ],
)
def test_a_damaged_molfile_of_version_3000_is_named(tmp_path, change, key):
    (tmp_path / "a.mol").write_text(v3000(HYDRONIUM).replace(*change))
    with pytest.raises(InvalidFileError) as found:
        read_structure(tmp_path / "a.mol")
    assert found.value.key == key and found.value.file == tmp_path / "a.mol"


@pytest.mark.parametrize(("text", "charge"), [("1+", 1), ("2-", -2), ("", 0), ("+1", 1)])
def test_charges_of_a_pdb_file(tmp_path, text, charge):
    (tmp_path / "a.pdb").write_text(pdb(HYDRONIUM, text) + "END\n")
    assert total_charge(read_structure(tmp_path / "a.pdb")) == charge


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_the_charge_of_a_row_is_not_hidden_by_its_property(tmp_path, suffix):
    """``row.charge`` of ASE is that of the initial charges, whatever the row says."""
    path = tmp_path / f"a.{suffix}"
    with ase.db.connect(path) as database:
        for shift in (0.0, 0.02):
            atoms = HYDRONIUM.copy()
            atoms.positions[0, 2] += shift
            atoms.calc = SinglePointCalculator(atoms, energy=-2090.0 + shift)
            database.write(atoms, charge=1)
    assert [total_charge(atoms) for atoms in read_structures([path])] == [1.0, 1.0]
    report = convert(path, tmp_path / "a.h5", level_of_theory="x", reference=None, progress=False)
    assert [report.dataset[i].charge for i in range(2)] == [1.0, 1.0]


def test_computed_charges_of_the_atoms_add_up_to_the_total(tmp_path):
    for charges, total in (([0.4, 0.2, 0.2, 0.2], 1), ([0.398, 0.2, 0.2, 0.2], 1), ([0.1] * 4, 0)):
        atoms = HYDRONIUM.copy()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, charges=np.array(charges))
        ase.io.write(tmp_path / "a.traj", atoms)
        assert total_charge(read_structure(tmp_path / "a.traj")) == total
        atoms.info["charge"] = 2  # what is stated counts
        assert total_charge(atoms) == 2.0


# --- what comments and texts state ----------------------------------------------------


def xyz(atoms, comment):
    rows = zip(atoms.symbols, atoms.positions, strict=True)
    lines = (f"{symbol} {x:.6f} {y:.6f} {z:.6f}" for symbol, (x, y, z) in rows)
    return "\n".join([str(len(atoms)), comment, *lines, ""])


COMMENTS = [
    *(
        "Properties=species:S:1:pos:R:3 charge=1+",
        "charge=1",
        "charge=+1",
        "charge: +1",
        "charge 1",
        "charge=1+",
        "Charge=1, Multiplicity=1",
    ),
    *("q=1", "Q=+1 s=0", "chrg=1", "tot_charge=1", "formal_charge=1", "net charge: 1 e"),
    *("qtot=1", "totalCharge=1", "overall charge: 1", "charge=1 E=-76.4 total_charge=1"),
    *("Charge/Mult: 1 1", "charge and multiplicity = 1, 1", "a charge of +1"),
    *("hydronium, charge +1", "H3O+ (charge=1)", "{'charge': 1}", "charge=1;mult=1", "1 1", "+1 1"),
    *("C=1 M=1", "c: +1, m: 1", "chg=1", "charge -> 1", "charge(+1)", "(1,1)", "+1,1", "+1", "1+"),
    *(
        "1 1 H3O",
        "H3O+",
        "[OH3+]",
        "H₃O⁺ at MP2",
        "H3O^+",
        "H3O 1+",
        "name=H3O+",
        "H_3O^{+}",
        "D3O(+)",
    ),
]


@pytest.mark.parametrize("comment", COMMENTS)
def test_charges_in_comments_of_xyz_files(tmp_path, comment):
    """The same where structures and where labels are read."""
    path = tmp_path / "a.xyz"
    path.write_text(xyz(HYDRONIUM, comment))
    read = read_structure(path)
    assert (total_charge(read), unpaired_electrons(read)) == (1.0, 0)
    (frame,) = ExtxyzReader(path)
    assert Interpretation({}, {"positions": "Å"}, ["s"]).record(frame).charge == 1.0


@pytest.mark.parametrize("comment", ["charge=1-", "q=1-", "charge: −1", "chrg 1-", "OH-", "HO⁻"])
def test_negative_charges_in_comments_of_xyz_files(tmp_path, comment):
    hydroxide = Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    (tmp_path / "a.xyz").write_text(xyz(hydroxide, comment))
    assert total_charge(read_structure(tmp_path / "a.xyz")) == -1.0
    (frame,) = ExtxyzReader(tmp_path / "a.xyz")
    assert Interpretation({}, {"positions": "Å"}, ["s"]).record(frame).charge == -1.0


def test_coordinates_of_turbomole_in_angstrom(tmp_path):
    rows = "".join(
        f"{x:.6f} {y:.6f} {z:.6f} {symbol.lower()}\n"
        for symbol, (x, y, z) in zip(HYDRONIUM.symbols, HYDRONIUM.positions, strict=True)
    )
    for text in (f"$coord angs\n{rows}$end\n", f"$coord\n{BOHR}$end\n"):
        (tmp_path / "coord").write_text(text)
        read = read_structure(tmp_path / "coord")
        np.testing.assert_allclose(read.positions, HYDRONIUM.positions, atol=1e-5)


@pytest.mark.parametrize(
    "comment", ["0 1", "charge=0", "q: 0", "frame 17 energy -5.0", "", "1 2 3"]
)
@pytest.mark.filterwarnings("error")
def test_comments_of_a_neutral_molecule(tmp_path, comment):
    (tmp_path / "a.xyz").write_text(xyz(ase.build.molecule("H2O"), comment))
    read = read_structure(tmp_path / "a.xyz")
    assert (total_charge(read), unpaired_electrons(read)) == (0.0, 0)


@pytest.mark.parametrize(
    "comment",
    ["hydronium cation", "0 1", "1 2", "1,1", "(+1)", "(1+) opt", "charge_DFT +1", "charge: one"],
)
def test_a_charge_that_is_not_understood_is_refused_where_neutral_is_odd(tmp_path, comment):
    path = tmp_path / "a.xyz"
    path.write_text(xyz(HYDRONIUM, comment))
    with refused(InvalidFileError, key="structure 0.comment", file=path):
        read_structure(path)
    assert [*map(type, ExtxyzReader(path))] == [FrameError]
    path.write_text(xyz(HYDRONIUM, f"{comment} doublet"))  # the radical
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", IonWarning)
        assert total_charge(read_structure(path)) == 0.0


@pytest.mark.parametrize(
    "comment", ["near Na+", "radical cation", "charge transfer 1.2", "H3O+", "(+)-water"]
)
def test_ions_that_the_comment_of_a_molecule_mentions_are_warned_of(tmp_path, comment):
    path = tmp_path / "a.xyz"
    path.write_text(2 * xyz(ase.build.molecule("H2O"), comment))
    for read in (read_structures, lambda paths: [*ExtxyzReader(*paths)]):
        with pytest.warns(IonWarning) as found:
            assert len(read([path])) == 2
        assert len({str(one.message) for one in found}) == 1
    assert [*map(total_charge, read_structures([path]))] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("formula", "comment", "charge"),
    [
        *(("SO4", comment, -2) for comment in ("SO42-", "SO4 2-", "SO4^2-", "SO₄²⁻", "SO4--")),
        *(("NO3", "NO3-", -1), ("Ca", "Ca2+", 2), ("N(CH3)4", "N(CH3)4+", 1), ("HN4", "NH4+", 0)),
        *(("CH3NO2", "C[N+](=O)[O-]", 0), ("CH3CO2", "CH3COO-", -1), ("C2H6", "C2H6-1", 0)),
        *(("H2O", "H2O - run 1", 0), ("FeC6N6", "[Fe(CN)6]3-", -3)),
    ],
)
def test_charges_of_formulas_with_the_same_atoms(formula, comment, charge):
    """The 4 of SO42- and the 2 of Ca2+ are told apart by the atoms."""
    found = stated_in_comment(comment, Atoms(formula).numbers)
    assert found.get("charge", 0) == charge


@pytest.mark.parametrize(
    "comment", ["charge=1 charge=-1", "charge: 1 net charge: 2", "q=0 charge 1"]
)
def test_two_charges_in_a_comment_are_refused(tmp_path, comment):
    (tmp_path / "a.xyz").write_text(xyz(HYDRONIUM, comment))
    with refused(key="structure 0.charge", file=tmp_path / "a.xyz"):
        read_structure(tmp_path / "a.xyz")
    assert [*map(type, ExtxyzReader(tmp_path / "a.xyz"))] == [FrameError]


def test_the_charge_of_a_file_of_avogadro(tmp_path):
    positions = HYDRONIUM.positions.ravel().tolist()
    atoms = {"elements": {"number": HYDRONIUM.numbers.tolist()}, "coords": {"3d": positions}}
    stated = {"totalCharge": 1, "totalSpinMultiplicity": 1}
    (tmp_path / "a.cjson").write_text(json.dumps({"atoms": atoms, "properties": stated}))
    assert total_charge(read_structure(tmp_path / "a.cjson")) == 1.0


def test_pairs_that_count_the_frames_are_no_charges(tmp_path):
    water = ase.build.molecule("H2O")
    (tmp_path / "a.xyz").write_text("".join(xyz(water, f"0 {i}") for i in range(1, 6)))
    for read in read_structures([tmp_path / "a.xyz"]):
        assert unpaired_electrons(read) == 0
    (tmp_path / "a.xyz").write_text(xyz(water, "0 3") * 4)
    for read in read_structures([tmp_path / "a.xyz"]):
        assert unpaired_electrons(read) == 2


ATOMS = "\n".join(xyz(HYDRONIUM, "").splitlines()[2:])
BOHR = "".join(
    f"{x / 0.529177:.6f} {y / 0.529177:.6f} {z / 0.529177:.6f} {symbol.lower()}\n"
    for symbol, (x, y, z) in zip(HYDRONIUM.symbols, HYDRONIUM.positions, strict=True)
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("coord", f"$coord\n{BOHR}$eht charge=1 unpaired=0\n$end\n"),
        ("coord", f"$coord\n{BOHR}$eht charge=+1\n$end\n"),
        ("coord", f"$coord\n{BOHR}$set\n chrg 1\n uhf 0\n$end\n"),
        ("a.gjf", f"%chk=a\n#p b3lyp/6-31g* freq\n\ntitle\n\n1 1\n{ATOMS}\n\n"),
        ("a.com", f"#p b3lyp/6-31g*\n\ntitle\n\n1 1\n{ATOMS}\n\n"),
    ],
)
def test_charges_of_inputs_of_other_programs(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    read = read_structure(tmp_path / name)
    assert (len(read), total_charge(read), unpaired_electrons(read)) == (4, 1.0, 0)


def beside(folder, charge=None, unpaired=None, text=""):
    """Write hydronium and what xtb reads beside it; return the file and a reader of labels."""
    for name, value in ((".CHRG", charge), (".UHF", unpaired)):
        (folder / name).unlink(missing_ok=True)
        if value is not None:
            (folder / name).write_text(f"{value}\n")
    (folder / "a.xyz").write_text(xyz(HYDRONIUM, text))
    return folder / "a.xyz"


def labelled(path):
    (frame,) = ExtxyzReader(path)
    return Interpretation({}, {"positions": "Å"}, ["s"]).record(frame)


@pytest.mark.parametrize(("name", "text"), [("a.xyz", ""), ("coord", f"$coord\n{BOHR}$end\n")])
def test_what_xtb_reads_beside_a_structure_is_its_charge_and_spin(tmp_path, name, text):
    path = beside(tmp_path, " 1 ", 2)
    if text:
        path = tmp_path / name
        path.write_text(text)
    with pytest.warns(IonWarning, match=r"\.CHRG"):
        read = read_structure(path)
    assert (total_charge(read), unpaired_electrons(read)) == (1.0, 2)
    if not text:
        record = labelled(path)
        assert (record.charge, record.unpaired_electrons) == (1.0, 2)


@pytest.mark.filterwarnings("error")
def test_the_same_beside_a_structure_and_in_it_is_right(tmp_path):
    path = beside(tmp_path, 1, 0, "charge=1")
    assert total_charge(read_structure(path)) == labelled(path).charge == 1.0
    path = beside(tmp_path, 0, text="")
    assert total_charge(read_structure(path)) == 0.0


def test_what_contradicts_a_structure_beside_it_is_refused(tmp_path):
    path = beside(tmp_path, -1, text="charge=1")
    with refused(file=path, value=1.0):
        read_structure(path)
    with pytest.raises(FrameError):
        labelled(path)
    path = beside(tmp_path, 1, 1)
    with refused(file=path, value=1.0):  # an even number of electrons
        read_structure(path)
    path = beside(tmp_path, "one")
    for reader in (read_structure, ExtxyzReader):
        with refused(file=tmp_path / ".CHRG", key="charge", value="one"):
            reader(path)


def test_a_structure_without_atoms_is_refused(tmp_path):
    ase.io.write(tmp_path / "a.json", Atoms())
    with refused(InvalidFileError, key="structure 0", file=tmp_path / "a.json"):
        read_structure(tmp_path / "a.json")


# --- what files of other programs and hands write -------------------------------------

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


def water(symbols="O H H", comment="water", count="3", number=repr):
    """Return water as an XYZ file."""
    rows = [
        " ".join([symbol, *map(number, map(float, place))])
        for symbol, place in zip(symbols.split(), WATER, strict=True)
    ]
    return "\n".join([count, comment, *rows, ""])


@pytest.mark.parametrize(
    ("text", "hydrogen"),
    [
        (water("O D D"), 2.01410178),
        (water("O 2H D"), 2.01410178),
        (water("8 1 1"), 1.008),
        (water("O1 H2 H3"), 1.008),
        (water("O h H", count="3 atoms"), 1.008),
        ("\n\n" + water(), 1.008),
        (water().replace("\n", "\r"), 1.008),
        (water(number=lambda x: f"{x:.3f}".replace(".", ",")), 1.008),
        (water(number=lambda x: f"{x:.6E}".replace("E", "D")), 1.008),
        (water("O D D", comment='Properties=species:S:1:pos:R:3 pbc="F F F"'), 2.01410178),
        (water(number=lambda x: f"{x / 0.529177210903:.9f}", count="3 bohr"), 1.008),
        (
            water(
                number=lambda x: f"{x / 0.529177210903:.9f}",
                comment="# CELL(abcABC): 9 9 9 90 90 90 Step: 1 Bead: 0 positions{atomic_unit}",
            ),
            1.008,
        ),
        (water(number=lambda x: f"{x / 0.529177210903:.9f}", comment="coordinates in bohr"), 1.008),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_water_as_hands_and_programs_write_it(tmp_path, text, hydrogen, encoding):
    (tmp_path / "a.xyz").write_bytes(text.encode(encoding))
    read = read_structure(tmp_path / "a.xyz")
    assert read.numbers.tolist() == [8, 1, 1]
    assert read.positions == pytest.approx(WATER, abs=2e-6)
    assert read.get_masses()[1:] == pytest.approx(hydrogen)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (water("O H X"), "line 5.element"),
        (water("O H H-Bq"), "line 5.element"),
        (water("OW H H"), "line 3.element"),
        (water().replace("0.119", "0.1_19"), "line 3"),
        (water().replace(" 0.119", ""), "line 3"),
        (water().split("\n", 2)[2], "line 1"),
        (water(count="2"), "line 5"),
        (water(count="4"), "line 1"),
        (water().replace("-0.763", "0.763"), "structure 0.atoms 1 and 2"),
        (water(count="3 bohr"), "structure 0.atoms 0 and 1"),
        (water(comment="Properties=species:S:1:scaled:R:3"), "line 2, Properties"),
        ("", ""),
    ],
)
def test_damaged_xyz_files_are_refused_by_line(tmp_path, text, key):
    (tmp_path / "a.xyz").write_text(text)
    with refused(key=key, file=tmp_path / "a.xyz"):
        read_structure(tmp_path / "a.xyz")


def test_models_of_a_pdb_file_without_elements(tmp_path):
    """Deuterium, a C-alpha in its columns, the cell of 1 Å of NMR, an END after the models."""
    names = [" CA ", " D1 ", "HD21", "2HB ", "CL  "]
    rows = "".join(
        f"ATOM  {i:5} {name} ALA A   1    {i:8.3f}{0.0:8.3f}{0.0:8.3f}\n"
        for i, name in enumerate(names)
    )
    cell = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1\n"
    (tmp_path / "a.pdb").write_text(f"{cell}MODEL 1\n{rows}ENDMDL\nMODEL 2\n{rows}ENDMDL\nEND\n")
    models = read_structures([tmp_path / "a.pdb"])
    assert [str(atoms.symbols) for atoms in models] == ["CH3Cl", "CH3Cl"]
    assert models[1].get_masses()[1:3] == pytest.approx([2.01410178, 1.008])
    assert not models[0].pbc.any()


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        ([("CA  ", " ", "")], "line 1.name"),
        ([(" O  ", "A", "O"), (" O  ", "B", "O")], "line 2"),
        ([(" X  ", " ", "X")], "line 1.element"),
    ],
)
def test_atoms_of_a_pdb_file_that_are_not_clear(tmp_path, rows, key):
    text = "".join(
        f"ATOM      1 {name}{place}ALA A   1    {i:8.3f}{0.0:8.3f}{0.0:8.3f}{'':22}{symbol:>2}\n"
        for i, (name, place, symbol) in enumerate(rows)
    )
    (tmp_path / "a.pdb").write_text(text)
    with refused(key=key, file=tmp_path / "a.pdb"):
        read_structures([tmp_path / "a.pdb"])


def test_data_items_of_an_sdf_state_the_charge(tmp_path):
    path = tmp_path / "a.sdf"
    for item in ("charge", "PUBCHEM_TOTAL_CHARGE"):
        path.write_text(f"{molfile(HYDRONIUM)}> <{item}>\n1\n\n$$$$\n")
        assert total_charge(read_structure(path)) == 1.0
    path.write_text(f"{molfile(HYDRONIUM, 3)}> <charge>\n-1\n\n$$$$\n")
    with refused(value=1.0, file=path):
        read_structure(path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (("  4  0", "  9  0"), "line 4"),
        ((" H   0", " R#  0"), "line 6.element"),
        (("M  END", "M  CHG  1   9   1\nM  END"), "M  CHG"),
        (("M  END", "M  ISO  1   2   9\nM  END"), "atom 2.isotope"),
    ],
)
def test_damaged_molfiles(tmp_path, change, key):
    (tmp_path / "a.mol").write_text(molfile(HYDRONIUM).replace(*change, 1))
    with refused(key=key, file=tmp_path / "a.mol"):
        read_structure(tmp_path / "a.mol")


def test_the_drawing_of_a_molecule_is_no_structure(tmp_path):
    flat = HYDRONIUM.copy()
    flat.positions[:, 2] = 0.0
    lines = molfile(flat).splitlines()
    for dimensions, is_refused in (("2D", True), ("3D", False)):
        lines[1] = f"  RDKit            {'':2}{dimensions}"[:18].ljust(20) + dimensions
        (tmp_path / "a.mol").write_text("\n".join(lines))
        if is_refused:
            with refused(key="line 2"):
                read_structure(tmp_path / "a.mol")
        else:
            assert len(read_structure(tmp_path / "a.mol")) == 4


def test_atoms_of_a_crystal_that_are_there_in_part(tmp_path):
    atoms = ase.build.bulk("NaCl", "rocksalt", 5.64)
    ase.io.write(tmp_path / "a.cif", atoms)
    text = (tmp_path / "a.cif").read_text().replace("  1.0000\n", "  0.5000\n")
    (tmp_path / "a.cif").write_text(text)
    with refused(key="structure 0.occupancy", file=tmp_path / "a.cif"):
        read_structure(tmp_path / "a.cif")


@pytest.mark.parametrize(
    ("comment", "unpaired"),
    [("Triplet, B3LYP", 2), ("singlet", 0), ("singlet-triplet gap", 0), ("mult=1 of triplet", 0)],
)
def test_the_spin_that_a_comment_names(tmp_path, comment, unpaired):
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nN 0 0 0\nN 0 0 1.2\n")
    assert unpaired_electrons(read_structure(path)) == unpaired


@pytest.mark.parametrize("comment", ["coordinates in bohr", "units=bohr", "geometry (a.u.)"])
def test_both_readers_of_xyz_files_obey_the_unit_of_a_comment(tmp_path, comment):
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nH 0 0 0\nH 0 0 1.4\n")
    (frame,) = ExtxyzReader(path)
    expected = [[0, 0, 0], [0, 0, 1.4 * Bohr]]
    np.testing.assert_allclose(frame.positions, expected, rtol=1e-6)
    np.testing.assert_allclose(read_structure(path).positions, expected, rtol=1e-6)


def test_a_spin_that_the_electrons_do_not_have_is_refused(tmp_path):
    path = tmp_path / "a.xyz"
    text = "3\n{}\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n"
    path.write_text(text.format("mult=2"))
    with refused(file=path, key="structure 0.atoms.info['mult']", value=1.0):
        read_structure(path)
    path.write_text(text.format("charge=40"))
    with refused(file=path, key="structure 0.charge of OH2", value=40.0):
        read_structure(path)
    path.write_text(text.format("charge=1 mult=2"))
    assert unpaired_electrons(read_structure(path)) == 1


def test_thousands_of_atoms_at_one_place_are_named_at_once(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("30001\n\nO 3 0 0\n" + "H 0 0 0.5\n" * 30_000)
    with refused(file=path, key="structure 0.atoms 1 and 2"):
        read_structure(path)


def test_cells_and_atomic_numbers_are_bounded(tmp_path):
    atoms = ase.build.bulk("NaCl", "rocksalt", 5.6)
    path = tmp_path / "POSCAR"
    ase.io.write(path, atoms, format="vasp")
    assert len(read_structure(path)) == 2
    lines = path.read_text().splitlines()
    for value, key in (("1e12", "cell of structure 0"), ("nan", "cell of structure 0[0, 1]")):
        wrong = [*lines[:2], f"0.0 {value} 2.8", *lines[3:]]
        path.write_text("\n".join(wrong) + "\n")
        with refused(file=path, key=key):
            read_structure(path)
    atoms.numbers[0] = 200
    with refused(key="atomic numbers", value=200):
        check_atoms(atoms)
