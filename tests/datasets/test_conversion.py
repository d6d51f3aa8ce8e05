# SPDX-License-Identifier: MIT
import lzma
import re
import sys
from pathlib import Path

import ase.db
import ase.io
import numpy as np
import pytest

from eqcalc.datasets import (
    ConversionError,
    Dataset,
    compare_labels,
    convert,
    open_reader,
)
from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.datasets.readers.ase_db import AseDatabaseReader
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

EXCERPTS = Path(__file__).parent / "excerpts"
MD17 = EXCERPTS / "md17_ethanol.xyz.xz"
KCAL = {"positions": "Å", "energy": "kcal/mol", "forces": "kcal/mol/Å"}
EV = {"positions": "Å", "energy": "eV", "forces": "eV/Å", "dipole": "e*Å"}
H2CO_KEYS = {"dipole": "D", "charge": "Q"}
# first energy in the MD17 excerpt, kcal/mol
MD17_ENERGY = -97195.01189948035
WATER = """3
Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 pbc="F F F"
O 0.0 0.0 0.1 0.0 0.0 {fz}
H 0.0 0.8 -0.5 0.0 0.1 -0.1
H 0.0 -0.8 {z} 0.0 -0.1 -0.1
"""


def run(source, tmp_path, **options):
    options.setdefault("level_of_theory", "made up")
    return convert(source, tmp_path / "out.h5", progress=False, **options)


def water(**values):
    return WATER.format(**{"fz": 0.2, "z": -0.5, **values})


# --- extended XYZ -----------------------------------------------------------------


def test_the_multiplicity_of_each_structure_is_kept(tmp_path):
    lines = ["1\nenergy=-75.0 multiplicity=3\nO 0 0 0", "1\nenergy=-74.0 spin=0\nO 0 0 0"]
    lines += ["1\nenergy=-0.5\nH 0 0 0", "1\nenergy=-0.5 multiplicity=3\nH 0 0 0"]
    (tmp_path / "a.xyz").write_text("\n".join(lines))
    report = run(
        tmp_path / "a.xyz", tmp_path, units={"energy": "eV"}, skip_bad=True, accept=["spins"]
    )
    assert [r.unpaired_electrons for r in Dataset.open(tmp_path / "out.h5")] == [2, 0, None]
    assert report.dropped == (3,)


def test_md17_excerpt(tmp_path):
    report = run(MD17, tmp_path, units=KCAL, level_of_theory="PBE+TS")
    dataset = Dataset.open(tmp_path / "out.h5")
    assert len(dataset) == 60 and report.dropped == ()
    kcal = conversion_factor("kcal/mol", "eV")
    assert dataset[0].labels["energy"] == pytest.approx(MD17_ENERGY * kcal, rel=1e-12)
    assert dataset[0].labels["forces"][0, 0] == pytest.approx(26.23068692 * kcal)
    assert dataset.provenance["units"] == KCAL
    assert report.forces is not None and report.forces.ok


def test_ase_reads_the_same(tmp_path):
    run(
        MD17,
        tmp_path,
        units={**KCAL, "energy": "eV", "forces": "eV/Å"},
        accept=["energy", "forces"],
    )
    dataset = Dataset.open(tmp_path / "out.h5")
    with lzma.open(MD17, "rt") as file:
        frames = ase.io.read(file, ":", format="extxyz")
    for record, atoms in zip(dataset, frames, strict=True):
        np.testing.assert_array_equal(record.numbers, atoms.numbers)
        np.testing.assert_array_equal(record.positions, atoms.positions)
        np.testing.assert_array_equal(record.labels["forces"], atoms.get_forces())


def test_written_by_ase(tmp_path, pbe0):
    dataset = Dataset.open(pbe0)
    path = tmp_path / "frames.extxyz"
    ase.io.write(path, [dataset.atoms(i) for i in range(30)], format="extxyz")
    run(path, tmp_path, units={**EV, "polarizability": "e^2*Å^2/eV"}, keys={"source": "source"})
    copy = Dataset.open(tmp_path / "out.h5")
    assert copy.quantities == dataset.quantities
    for name, value in copy.labels(range(30))[0].items():
        np.testing.assert_allclose(value, dataset.labels(range(30))[0][name], atol=1e-7)
    assert copy.source().tolist() == dataset.source()[:30].tolist()


def test_gradients_are_negative_forces(tmp_path):
    units = {"positions": "Å", "energy": "kcal/mol", "gradients": "kcal/mol/Å"}
    lines = []
    for line in lzma.decompress(MD17.read_bytes()).decode().splitlines():
        cells = line.split()
        if len(cells) == 7:
            cells[4:] = [str(-float(x)) for x in cells[4:]]
        lines.append(" ".join(cells).replace(":forces:", ":gradient:"))
    path = tmp_path / "gradients.xyz"
    path.write_text("\n".join(lines) + "\n")
    run(path, tmp_path, units=units, keys={"gradients": "gradient"})
    convert(MD17, tmp_path / "forces.h5", units=KCAL, level_of_theory="x", progress=False)
    np.testing.assert_array_equal(
        Dataset.open(tmp_path / "out.h5")[7].labels["forces"],
        Dataset.open(tmp_path / "forces.h5")[7].labels["forces"],
    )


def test_a_wrong_sign_or_unit_of_forces_is_named(tmp_path):
    source = EXCERPTS / "h2co_ccsdt_avtz.npz"
    right = run(source, tmp_path, units=EV, keys=H2CO_KEYS, overwrite=True).forces
    assert right.conclusive and right.slope == pytest.approx(1.0, abs=0.01)
    (tmp_path / "out.h5").unlink()
    for unit in ("kcal/mol/Å", "hartree/bohr", "eV/bohr"):
        with pytest.raises(ConversionError, match=rf"mistaken unit \({unit}\)"):
            run(source, tmp_path, units={**EV, "forces": unit}, keys=H2CO_KEYS)
    units = {"positions": "Å", "energy": "eV", "gradients": "eV/Å", "dipole": "e*Å"}
    with pytest.raises(ConversionError, match="wrong sign"):
        run(source, tmp_path, units=units, keys={**H2CO_KEYS, "gradients": "F"})
    assert not list(tmp_path.iterdir())


def test_units_are_always_stated(tmp_path):
    for wrong, key in (
        ({"positions": "Å", "energy": "kcal/mol"}, "forces"),
        ({**KCAL, "forces": "kcal/mol"}, "forces"),  # of another dimension
        ({**KCAL, "dipole": "debye"}, "dipole"),  # there is none
    ):
        with pytest.raises(InvalidInputError) as caught:
            run(MD17, tmp_path, units=wrong)
        assert caught.value.key == f"units.{key}" and caught.value.file == MD17
    with pytest.raises(InvalidInputError) as unstated:
        run(MD17, tmp_path, units=KCAL, level_of_theory=None)
    assert unstated.value.key == "level_of_theory"


def test_unknown_keys_are_refused(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(water().replace("energy=", "mu_norm=1.8 name=water energy="))
    units = {name: EV[name] for name in ("positions", "energy", "forces")}
    with pytest.raises(InvalidInputError, match="structure 0 has mu_norm"):
        run(path, tmp_path, units=units)
    run(path, tmp_path, units=units, ignore=["mu_norm"])
    with pytest.raises(InvalidInputError) as caught:
        run(path, tmp_path, units=units, keys={"dipol": "mu_norm"}, overwrite=True)
    assert (caught.value.key, caught.value.suggestion) == ("keys", "dipole")
    with pytest.raises(InvalidInputError, match="no structure has dip"):
        run(path, tmp_path, units=EV, keys={"dipole": "dip"}, ignore=["mu_norm"], overwrite=True)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.replace("-0.1 -0.1", "nan -0.1"), "forces of atom 2 is not finite"),
        (lambda t: t.replace("H 0.0 0.8", "H 0.0 1e999"), "positions are not finite"),
        (lambda t: t.replace("0.1 -0.1\n", "0.1\n", 1), "atom 1: expected 7 columns, got 6"),
        (lambda t: t.replace("H 0.0 0.8", "Hx 0.0 0.8"), "number of an element, got 'Hx'"),
        (lambda t: t.replace("forces:R:3", "forces:R"), "triples"),
        (lambda t: t.replace("0.8", "abc", 1), "pos: expected numbers, got 'abc'"),
        (lambda t: t.replace("energy=-1.5", "energy=high"), "energy: expected real numbers"),
        (lambda t: t.replace("energy=-1.5", 'energy="1 2"'), r"expected shape \(\), got \(2,\)"),
        (lambda t: t.replace("-0.8 -0.55", "0.79 -0.5"), "atoms 1 and 2 are 0.010 Å apart"),
        (lambda t: t.replace('"F F F"', '"T T T"'), "no Lattice"),
        (lambda t: t.replace("H 0.0 -0.8", "H 0.0 0.8").replace("pos:R:3", "pos:R:2"), "columns"),
    ],
)
def test_damaged_structures_are_reported_by_index(tmp_path, damage, message):
    path = tmp_path / "a.xyz"
    path.write_text(water() + damage(water(z=-0.55)) + water(z=-0.6))
    units = {name: EV[name] for name in ("positions", "energy", "forces")}
    with pytest.raises(ConversionError, match=message) as caught:
        run(path, tmp_path, units=units)
    assert caught.value.report.bad == [1]
    assert not (tmp_path / "out.h5").exists()
    report = run(path, tmp_path, units=units, skip_bad=True)
    assert report.dropped == (1,) and len(report.dataset) == 2
    assert report.dataset.provenance["dropped"] == [1]
    assert report.dataset[1].positions[2, 2] == -0.6
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xyz", "out.h5"]


def test_truncated_file(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(water() + "\n".join(water(z=-0.55).splitlines()[:-1]) + "\n")
    units = {name: EV[name] for name in ("positions", "energy", "forces")}
    report = run(path, tmp_path, units=units, skip_bad=True)
    assert report.dropped == (1,)
    assert "line 6: 3 atoms announced, the file ends before" in str(report)
    packed = tmp_path / "b.xyz.xz"
    packed.write_bytes(MD17.read_bytes()[:-2000])
    report = run(packed, tmp_path, units=KCAL, skip_bad=True, overwrite=True)
    assert len(report.dataset) >= 1
    assert "damaged" in str(report) or "ends before" in str(report)


def test_periodic_structure(tmp_path):
    path = tmp_path / "a.xyz"
    atoms = ase.Atoms("NaCl", [[0, 0, 0], [2, 1, 0.5]], cell=[[4, 1, 0], [0, 5, 0], [1, 0, 6]])
    atoms.pbc = [True, True, False]
    ase.io.write(path, atoms, format="extxyz")
    run(path, tmp_path, units={"positions": "bohr"})
    record = Dataset.open(tmp_path / "out.h5")[0]
    np.testing.assert_allclose(record.cell, atoms.cell.array * conversion_factor("bohr", "Å"))
    assert record.pbc.tolist() == [True, True, False]


COLUMNS = "species:S:1:pos:R:3:gradient:R:3"


def test_plain_xyz_with_a_number_and_gradients(tmp_path):
    """The layout of the QM-22 collection: energy alone on the second line, then gradients."""
    path = tmp_path / "a.xyz"
    path.write_text("2\n -1.5\nH 0 0 0 0.0 0.0 0.5\nH 0 0 0.8 0.0 0.0 -0.5\n")
    units = {"positions": "Å", "energy": "hartree", "gradients": "hartree/bohr"}
    keys = {"energy": "comment", "gradients": "gradient"}
    with pytest.raises(ConversionError, match="expected 4 columns, got 7"):
        run(path, tmp_path, units=units, keys=keys)
    run(path, tmp_path, units=units, keys=keys, options={"properties": COLUMNS})
    record = Dataset.open(tmp_path / "out.h5")[0]
    assert record.labels["energy"] == pytest.approx(-1.5 * 27.211386, rel=1e-6)
    assert record.labels["forces"][0, 2] == pytest.approx(-0.5 * 51.422067, rel=1e-6)
    with pytest.raises(InvalidInputError) as caught:
        options = {"properties": "pos:R"}
        run(path, tmp_path, units=units, keys=keys, options=options, overwrite=True)
    assert caught.value.key == "properties" and caught.value.value == "pos:R"


# --- NumPy archives ---------------------------------------------------------------


def archive(path, pbe0, n=40, **changes):
    """Write `n` ethanol geometries in the layout of rMD17."""
    dataset = Dataset.open(pbe0).subset(range(n))
    kcal = conversion_factor("eV", "kcal/mol")
    labels = dataset.labels(range(n))[0]
    arrays = {
        "nuclear_charges": dataset[0].numbers.astype(np.uint8),
        "coords": dataset.structures(range(n)).positions.numpy().reshape(n, 9, 3),
        "energies": labels["energy"].numpy() * kcal,
        "forces": labels["forces"].numpy().reshape(n, 9, 3) * kcal,
        **changes,
    }
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return dataset


def test_revised_md17_layout(tmp_path, pbe0):
    dataset = archive(tmp_path / "a.npz", pbe0)
    run(tmp_path / "a.npz", tmp_path, units=KCAL)
    copy = Dataset.open(tmp_path / "out.h5")
    for name in ("energy", "forces"):
        np.testing.assert_allclose(
            copy.labels(range(40))[0][name], dataset.labels(range(40))[0][name], atol=1e-10
        )


def test_md17_archive_states_its_units(tmp_path, pbe0):
    source = archive(tmp_path / "a.npz", pbe0)
    with np.load(tmp_path / "a.npz") as arrays:
        np.savez(
            tmp_path / "b.npz",
            z=arrays["nuclear_charges"],
            R=arrays["coords"],
            E=arrays["energies"][:, None],
            F=arrays["forces"],
            e_unit=np.array(b"kcal/mol"),
            r_unit=np.array(b"Ang"),
            theory=np.array(b"pbe0"),
        )
    report = run(tmp_path / "b.npz", tmp_path, level_of_theory=None)
    assert report.dataset.level_of_theory == "pbe0"
    assert report.dataset[3].labels["energy"] == pytest.approx(source[3].labels["energy"])


def test_archive_with_its_own_keys(tmp_path, pbe0):
    archive(tmp_path / "a.npz", pbe0, old_energies=np.arange(40.0), md5="x")
    with pytest.raises(ValueError, match="old_energies"):
        run(tmp_path / "a.npz", tmp_path, units=KCAL)
    run(tmp_path / "a.npz", tmp_path, units=KCAL, ignore=["old_energies"])
    per_atom = {"positions": "Å", "energy_per_atom": "kcal/mol", "forces": "kcal/mol/Å"}
    with np.load(tmp_path / "a.npz") as arrays:
        energies = arrays["energies"] / 9
    archive(tmp_path / "b.npz", pbe0, energies=energies)
    run(
        tmp_path / "b.npz",
        tmp_path,
        units=per_atom,
        keys={"energy_per_atom": "energies"},
        overwrite=True,
    )
    assert Dataset.open(tmp_path / "out.h5")[0].labels["energy"] < -4000.0


def test_structures_of_several_sizes_one_after_the_other(tmp_path):
    """Water, an oxygen atom and a hydrogen molecule, with the offsets of their atoms."""
    positions = np.random.default_rng(0).normal(size=(6, 3))
    units = {key: value for key, value in EV.items() if key != "dipole"}
    arrays = {
        "z": [8, 1, 1, 8, 1, 1],
        "R": positions,
        "ptr": [0, 3, 4, 6],
        "E": [-76.0, -75.0, -1.0],
        "F": 0.1 * positions,
    }
    np.savez(tmp_path / "a.npz", **{key: np.array(value) for key, value in arrays.items()})
    run(tmp_path / "a.npz", tmp_path, units=units, accept=("forces",), reference=None)
    found = list(Dataset.open(tmp_path / "out.h5"))
    assert [r.numbers.tolist() for r in found] == [[8, 1, 1], [8], [1, 1]]
    np.testing.assert_array_equal(np.concatenate([r.positions for r in found]), positions)
    np.testing.assert_array_equal(found[2].labels["forces"], 0.1 * positions[4:])
    assert found[1].labels["energy"] == -75.0
    for wrong in ([0, 3, 4, 7], [0, 4, 3, 6], [1, 3, 6], [0.0, 3.0, 6.0]):
        np.savez(tmp_path / "b.npz", **(arrays | {"ptr": wrong}))
        with refused(InvalidFileError, key="ptr", file=tmp_path / "b.npz"):
            run(tmp_path / "b.npz", tmp_path, units=units, overwrite=True)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"coords": np.zeros((40, 9))}, "coords"),
        ({"nuclear_charges": np.ones(8, int)}, "nuclear_charges"),
        ({"nuclear_charges": None}, "numbers"),
        ({"coords": np.array([{"a": 1}])}, "coords"),
    ],
)
def test_wrong_arrays(tmp_path, pbe0, changes, key):
    archive(tmp_path / "a.npz", pbe0, **changes)
    with pytest.raises(InvalidFileError) as caught:
        run(tmp_path / "a.npz", tmp_path, units=KCAL)
    assert caught.value.key == key and caught.value.file == tmp_path / "a.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"forces": np.zeros((40, 8, 3))}, r"forces: expected shape \(9, 3\), got \(8, 3\)"),
        ({"energies": np.zeros(39)}, r"energies: expected shape \(\), got \(39,\)"),
    ],
)
def test_labels_of_a_wrong_shape(tmp_path, pbe0, changes, message):
    archive(tmp_path / "a.npz", pbe0, **changes)
    with pytest.raises(ConversionError, match=message) as caught:
        run(tmp_path / "a.npz", tmp_path, units=KCAL)
    assert caught.value.report.bad == list(range(40))


def test_padded_archive(tmp_path):
    z = np.array([[8, 1, 1], [6, 8, 0]])
    positions = np.zeros((2, 3, 3))
    positions[:, 1, 0], positions[:, 2, 1] = 1.1, 1.0
    forces = np.arange(18.0).reshape(2, 3, 3)
    np.savez(tmp_path / "a.npz", Z=z, R=positions, F=forces, N=np.array([3, 2]))
    run(tmp_path / "a.npz", tmp_path, units={"positions": "Å", "forces": "eV/Å"})
    dataset = Dataset.open(tmp_path / "out.h5")
    assert dataset.counts.tolist() == [3, 2] and dataset[1].numbers.tolist() == [6, 8]
    np.testing.assert_array_equal(dataset[1].labels["forces"], forces[1, :2])


def test_duplicates_and_outliers_are_reported(tmp_path, pbe0):
    with np.load(_saved(tmp_path, pbe0)) as arrays:
        changed = dict(arrays)
    changed["coords"][7] = changed["coords"][2]
    changed["energies"][11] += 2000.0
    changed["forces"][13, 4] *= 1e4
    np.savez(tmp_path / "a.npz", **changed)
    with pytest.raises(ConversionError) as caught:
        run(tmp_path / "a.npz", tmp_path, units=KCAL)
    text = str(caught.value)
    assert caught.value.report.bad == [7, 11, 13]
    assert "structure 7: same geometry as structure 2" in text
    off = re.search(r"structure 11: its energy is \+(\S+) eV off", text)
    assert float(off[1]) == pytest.approx(2000.0 * conversion_factor("kcal/mol", "eV"), abs=3.0)
    assert "structure 13: a force of" in text
    assert run(tmp_path / "a.npz", tmp_path, units=KCAL, skip_bad=True).dropped == (7, 11, 13)


def _saved(tmp_path, pbe0):
    archive(tmp_path / "a.npz", pbe0)
    return tmp_path / "a.npz"


def test_the_dipole_defect_shows_against_a_second_source(tmp_path):
    datasets = []
    for name in ("ccsdt_avtz", "B3LYP_cc-pVDZ"):
        target = tmp_path / f"{name}.h5"
        source = EXCERPTS / f"h2co_{name}.npz"
        run(source, tmp_path, keys=H2CO_KEYS, units=EV, accept=["dipole"])
        (tmp_path / "out.h5").rename(target)
        datasets.append(Dataset.open(target))
    good, defective = datasets
    dipoles = compare_labels(defective, good, "dipole")
    assert dipoles.conclusive and not dipoles.ok
    assert "atomic units multiplied by the factor of debye" in str(dipoles)
    assert compare_labels(defective, good, "forces").ok
    fixed = tmp_path / "fixed.npz"
    with np.load(EXCERPTS / "h2co_B3LYP_cc-pVDZ.npz") as arrays:
        np.savez(fixed, **{**arrays, "D": arrays["D"] * 2.541746})
    convert(fixed, tmp_path / "f.h5", level_of_theory="x", keys=H2CO_KEYS, units=EV, progress=False)
    assert compare_labels(Dataset.open(tmp_path / "f.h5"), good, "dipole").ok


# --- ASE databases ----------------------------------------------------------------


def test_ase_database(tmp_path, pbe0):
    dataset = Dataset.open(pbe0)
    with ase.db.connect(tmp_path / "a.db") as database:
        for i in range(30):
            database.write(dataset.atoms(i))
    run(tmp_path / "a.db", tmp_path)
    copy = Dataset.open(tmp_path / "out.h5")
    assert copy.quantities == ("energy", "forces", "dipole")
    for name, values in copy.labels(range(30))[0].items():
        np.testing.assert_array_equal(values, dataset.labels(range(30))[0][name])


def test_schnetpack_database(tmp_path, pbe0):
    """Units are in the metadata, labels in ``data`` with a leading axis."""
    dataset = Dataset.open(pbe0)
    kcal = conversion_factor("eV", "kcal/mol")
    with ase.db.connect(tmp_path / "a.db") as database:
        for i in range(30):
            labels = dataset[i].labels
            data = {"energy": labels["energy"].reshape(1) * kcal, "F": labels["forces"] * kcal}
            bare = dataset.atoms(i)
            bare.calc = None
            database.write(bare, data=data)
        database.metadata = {
            "_property_unit_dict": {"energy": "kcal/mol", "F": "kcal/mol/Ang"},
            "_distance_unit": "Ang",
        }
    with pytest.raises(ValueError, match="structure 0 has F"):
        run(tmp_path / "a.db", tmp_path)
    run(tmp_path / "a.db", tmp_path, keys={"forces": "F"})
    copy = Dataset.open(tmp_path / "out.h5")
    for name, values in copy.labels(range(30))[0].items():
        np.testing.assert_allclose(values, dataset.labels(range(30))[0][name], atol=1e-10)


def test_not_a_database(tmp_path):
    path = tmp_path / "a.db"
    path.write_bytes(b"SQLite format 3\0" + bytes(200))
    with pytest.raises(InvalidFileError) as caught:
        AseDatabaseReader(path)
    assert caught.value.file == path and caught.value.expected == "an ASE database"


# --- any of them ------------------------------------------------------------------


def test_formats(tmp_path):
    for name, format in (("a.dat", None), ("a.cif", "cif")):
        with pytest.raises(InvalidInputError) as unknown:
            open_reader(tmp_path / name, format=format)
        assert unknown.value.key == "format" and "qm9" in unknown.value.expected
    with pytest.raises(FileNotFoundError):
        open_reader(tmp_path / "a.xyz")
    with pytest.raises(InvalidInputError) as option:
        open_reader(MD17, numbers="z")
    assert option.value.key == "extxyz.numbers"


OWN_READER = """
import numpy as np
from pathlib import Path
from eqcalc.datasets.readers import Frame, FrameError

class Lines:
    keys = {"energy": "E"}
    units = {"positions": "bohr", "energy": "hartree"}
    level_of_theory = "by hand"

    def __init__(self, path, *, scale=1.0):
        self.path, self.scale = Path(path), scale

    def __iter__(self):
        for line in self.path.read_text().splitlines():
            try:
                length, energy = map(float, line.split())
            except ValueError:
                yield FrameError(f"not two numbers: {line}")
                continue
            yield Frame(np.array([1, 1]), np.eye(3)[:2] * self.scale * length, {"E": energy})
"""


@pytest.mark.parametrize("name", ["own_reader:Lines", "lines"])
def test_a_reader_from_outside(tmp_path, monkeypatch, name):
    """One file beside eqcalc, named by its place or announced as an entry point."""
    (tmp_path / "own_reader.py").write_text(OWN_READER)
    announced = tmp_path / "own_reader-1.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: own-reader\nVersion: 1\n")
    (announced / "entry_points.txt").write_text("[eqcalc.readers]\nlines = own_reader:Lines\n")
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "bonds.dat"
    source.write_text("1.0 -1.1\nnothing\n1.2 -1.2\n")
    report = convert(
        source,
        tmp_path / "out.h5",
        format=name,
        options={"scale": 2.0},
        skip_bad=True,
        progress=False,
    )
    sys.modules.pop("own_reader")
    assert report.dropped == (1,) and report.dataset.level_of_theory == "by hand"
    assert report.dataset[1].labels["energy"] == pytest.approx(-1.2 * 27.211386, rel=1e-6)
    assert report.dataset[1].positions[0, 0] == pytest.approx(2.4 * 0.529177, rel=1e-6)


def test_empty_file(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("\n\n")
    with pytest.raises(ConversionError, match="no structure"):
        run(path, tmp_path, units={"positions": "Å"})


def test_target_is_not_overwritten_by_accident(tmp_path):
    (tmp_path / "out.h5").write_text("precious")
    with pytest.raises(FileExistsError):
        run(MD17, tmp_path, units=KCAL)
    assert (tmp_path / "out.h5").read_text() == "precious"


def test_frames_are_streamed():
    frames = iter(open_reader(MD17))
    assert isinstance(next(frames), Frame) and not isinstance(next(frames), FrameError)


# --- the target and the units stated --------------------------------------------------


def test_a_missing_folder_is_made(tmp_path):
    convert(
        MD17,
        tmp_path / "new" / "deep" / "out.h5",
        units=KCAL,
        level_of_theory="PBE+TS",
        progress=False,
    )
    assert len(Dataset.open(tmp_path / "new" / "deep" / "out.h5")) == 60


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_named_without_scratch_files():
    with pytest.raises(OSError, match=r"^/proc: ") as error:
        convert(MD17, "/proc/out.h5", units=KCAL, level_of_theory="PBE+TS", progress=False)
    assert "partial" not in str(error.value)


@pytest.mark.parametrize(("name", "meant"), [("enrgy", "energy"), ("zzz", None)])
def test_a_unit_of_an_unknown_quantity_is_named(tmp_path, name, meant):
    with pytest.raises(InvalidInputError) as caught:
        run(MD17, tmp_path, units={**KCAL, name: "eV"})
    assert (caught.value.key, caught.value.value) == ("units", name)
    assert caught.value.suggestion == meant


def test_unreadable_sources_are_named(tmp_path):
    known = {"level_of_theory": "PBE", "units": {"positions": "Å", "energy": "eV"}}
    target = tmp_path / "d.h5"
    source = tmp_path / "a.xyz"
    for text, message in (
        ("", r"a\.xyz: .* it is empty"),
        ("2\nenergy=1.0\nH 0 0 0\n", r"a\.xyz: .*2 atoms announced, the file ends before"),
        ("hello\n", r"a\.xyz: .*line 1: expected the number of atoms"),
    ):
        source.write_text(text)
        with pytest.raises(ValueError, match=message):
            convert(source, target, **known)
        assert not target.exists()
    archive = tmp_path / "a.npz"
    archive.write_text("hello\n")
    for path, what in (
        (lambda: convert(tmp_path, target, format="extxyz", **known), "an extended XYZ file"),
        (lambda: Dataset.open(tmp_path), "a dataset (.h5)"),
        (lambda: convert(archive, target, **known), "an npz archive"),
    ):
        with pytest.raises(InvalidFileError) as caught:
            path()
        assert caught.value.expected.startswith(what)
