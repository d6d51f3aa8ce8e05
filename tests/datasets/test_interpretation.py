# SPDX-License-Identifier: MIT
"""What files say, and what is missing, over all of their structures."""

import ase.db
import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms

from eqcalc.datasets import ConversionError, Dataset, convert
from eqcalc.molecules import IgnoredInputWarning
from eqcalc.units import convert as convert_unit
from eqcalc.validation import SeveralInputsError
from tests.errors import refused

UNITS = {"energy": "eV", "forces": "eV/Å", "dipole": "e*Å"}
HYDRONIUM = Atoms("OH3", [[0, 0, 0.1], [0.94, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]])


def run(source, **options):
    """Convert to a file beside the source, without a reference."""
    options = {"level_of_theory": "made up", "reference": None, **options}
    target = source.with_name("out.h5")
    return convert(source, target, progress=False, overwrite=True, **options)


def waters(n, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(n):
        atoms = molecule("H2O")
        atoms.positions += 0.03 * rng.normal(size=(3, 3))
        yield atoms


def text(atoms, info, forces=None, n=None, symbols=None):
    """Return a structure of an extended XYZ file."""
    columns = "species:S:1:pos:R:3" + ("" if forces is None else ":forces:R:3")
    rows = np.hstack([atoms.positions, *([] if forces is None else [forces])])
    names = symbols or atoms.get_chemical_symbols()
    lines = [f"{s} {' '.join(map(str, row))}" for s, row in zip(names, rows, strict=True)]
    head = [str(len(atoms) if n is None else n), f"Properties={columns} {info}"]
    return "\n".join([*head, *lines, ""])


# --- what is missing ------------------------------------------------------------------


def test_all_that_is_missing_is_said_at_once(tmp_path):
    path = tmp_path / "a.xyz"
    first, second = waters(2)
    path.write_text(
        text(first, "energy=-1 foo=1")
        + text(second, 'energy=-1 dipole="0 0 1" bar=2', np.zeros((3, 3)))
    )
    with refused(SeveralInputsError, file=path) as caught:
        run(path, level_of_theory=None, units={"stress": "eV/Å^3"})
    assert {error.key for error in caught.value.errors} == {
        *("units.energy", "units.dipole", "units.forces", "units.stress"),
        *("keys", "level_of_theory"),
    }
    keys = next(error for error in caught.value.errors if error.key == "keys")
    assert keys.value == ["foo", "bar"]
    assert not (tmp_path / "out.h5").exists()


def test_names_of_keys_say_units(tmp_path):
    path = tmp_path / "a.xyz"
    rng = np.random.default_rng(1)
    info = 'E_kcal_mol={:.9f} dipole_debye="0.1 0.2 {:.9f}"'
    path.write_text("".join(text(a, info.format(*rng.normal(size=2))) for a in waters(4)))
    keys = {"energy": "E_kcal_mol", "dipole": "dipole_debye"}
    labels = run(path, keys=keys).dataset[0].labels
    assert labels["dipole"][1] == pytest.approx(0.2 * 0.20819433)
    right = {"energy": "kcal/mol", "dipole": "D"}
    assert run(path, keys=keys, units=right).dataset[0].labels["energy"] == labels["energy"]
    with refused(key="units.dipole", value="e*Å", expected="D", file=path):
        run(path, keys=keys, units={"dipole": "e*Å"})
    path.write_text(path.read_text().replace("E_kcal_mol", "e_per_atom_eV"))
    with refused(key="keys.energy", value="e_per_atom_eV"):
        run(path, keys={**keys, "energy": "e_per_atom_eV"})


@pytest.mark.parametrize(
    "stated",
    [
        'units="dipole:D;energy:Hartree"',
        'units="dipole: Debye; energy: Ha"',
        'units="dipole=D, energy=hartree"',
        """units='{"dipole": "D", "energy": "Hartree"}'""",
        "dipole_unit=D energy_units=Hartree",
        "unit_dipole=debye unit_energy=a.u.",
    ],
)
def test_units_that_a_comment_states_are_obeyed_or_contradict(tmp_path, stated):
    path = tmp_path / "a.xyz"
    lengths = {"": 1.0, "length_unit=bohr": 0.529177210903, "units: positions: bohr": 0.529177}
    for other, length in lengths.items():
        if "units: " in other and "units=" in stated:
            continue
        scaled = [Atoms(a.symbols, a.positions / length) for a in waters(4)]
        info = f'dipole="0 0 1.85" {stated} {other} energy=-76.'
        path.write_text("".join(text(a, f"{info}{i}") for i, a in enumerate(scaled)))
        record = run(path).dataset[0]
        assert record.labels["dipole"][2] == pytest.approx(1.85 * 0.20819433)
        assert record.labels["energy"] == pytest.approx(-76.0 * 27.211386)
        assert record.positions == pytest.approx(next(waters(1)).positions, abs=1e-5)
    run(path, units={"dipole": "D"})
    with refused(key="units.dipole", value="e*Å", expected="D", file=path):
        run(path, units={"dipole": "e*Å"})


def test_units_that_are_not_understood_are_told(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(
        "".join(text(a, f"energy=-2000.{i} units=metal") for i, a in enumerate(waters(4)))
    )
    with pytest.warns(IgnoredInputWarning, match="metal"):
        run(path, units={"energy": "eV"})


def test_an_archive_with_keys_of_its_own_is_described_at_once(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, elements=[8, 1, 1], xyz=np.zeros((2, 3, 3)), E=np.zeros(2), mu=np.zeros((2, 3)))
    with refused(SeveralInputsError, file=path) as caught:
        run(path, level_of_theory=None)
    found = [error.key for error in caught.value.errors]
    assert sorted(found) == [
        *("keys", "level_of_theory", "numbers", "positions", "units.energy", "units.positions")
    ]
    keys = {"numbers": "elements", "positions": "xyz", "dipole": "mu"}
    with refused(key="level_of_theory.dipole"):
        units = {"positions": "Å", "energy": "eV", "dipole": "e*Å"}
        run(path, keys=keys, units=units, level_of_theory={"energy": "x"})
    with refused(file=path, key="units.forces"):  # there are none
        run(path, keys=keys, units={**UNITS, "positions": "Å"})


def test_the_first_structure_does_not_speak_for_all(tmp_path):
    """A training file that begins with isolated atoms, which have no forces."""
    path = tmp_path / "a.xyz"
    path.write_text(
        "".join(text(Atoms(s), "energy=-13.0") for s in "HO")
        + "".join(text(a, "energy=-2000", np.zeros((3, 3))) for a in waters(3))
    )
    report = run(path, units={"energy": "eV", "forces": "eV/Å"})
    assert report.dataset.present("forces").tolist() == [False, False, True, True, True]
    with ase.db.connect(tmp_path / "a.db") as database:
        for index, atoms in enumerate(waters(3)):
            results = {"energy": -2000.0, **({"forces": np.zeros((3, 3))} if index else {})}
            atoms.calc = SinglePointCalculator(atoms, **results)
            database.write(atoms)
    assert run(tmp_path / "a.db").dataset.present("forces").tolist() == [False, True, True]


def test_missing_labels_are_counted_among_what_is_kept(tmp_path):
    path = tmp_path / "a.xyz"
    dipole = ' dipole="0.1 0.2 0.3"'
    path.write_text(
        "".join(
            text(a, f"energy={'nan' if i in (1, 8) else -2000}{dipole if i < 7 else ''}")
            for i, a in enumerate(waters(10))
        )
    )
    report = run(path, units={"energy": "eV", "dipole": "e*Å"}, skip_bad=True)
    assert report.dropped == (1, 8)
    assert [p.message for p in report.validation.warnings] == ["2 of 8 structures have no dipole"]
    report = run(path, units={"energy": "eV", "dipole": "e*Å"}, accept=["nan"])
    assert report.dropped == () and report.dataset.present("energy").sum() == 8


# --- one bad structure ----------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda a: text(a, "energy=-2000", symbols="XHH"),
        lambda a: text(a, "energy=-2000", symbols=["119", "H", "H"]),
        lambda a: text(a, "energy=-2000", n=0),
        lambda a: text(a, "energy=-2000", n=2),
        lambda a: text(a, "energy=-2000", n=4),
        lambda a: text(a, "energy=-2000", n="three"),
        lambda a: text(a, "energy=-2000 charge=1 total_charge=2"),
        lambda a: text(a, "energy=-2000 charge=1e300"),
        lambda a: text(a, "energy=-2000").replace("\n", "\nH 0 0 9\n", 3),
        lambda a: text(a, 'energy=-2000 Lattice="nan 0 0 0 9 0 0 0 9"'),
        lambda a: text(a, 'energy=-2000 Lattice="1e300 0 0 0 9 0 0 0 9"'),
        lambda a: text(Atoms("OHH", a.positions[[0, 1, 1]]), "energy=-2000"),
        lambda a: text(  # the second hydrogen beside an image of the first
            Atoms("OHH", [*a.positions[:2], a.positions[1] + [8.0, 0.0, 0.1]]),
            'energy=-2000 Lattice="8 0 0 0 8 0 0 0 8"',
        ),
    ],
)
def test_only_the_bad_structure_is_left_out(tmp_path, damage):
    path = tmp_path / "a.xyz"
    good = [*waters(9)]
    parts = [text(a, f"energy={-2000 - 0.01 * i}") for i, a in enumerate(good)]
    bad = damage(next(waters(1, seed=1)))
    path.write_text("".join([*parts[:4], bad, *parts[4:]]))
    with pytest.raises(ConversionError) as caught:
        run(path, units={"energy": "eV"})
    assert 4 in caught.value.report.bad
    report = run(path, units={"energy": "eV"}, skip_bad=True)
    assert len(report.dataset) == 9
    np.testing.assert_array_equal(
        [record.positions for record in report.dataset], [atoms.positions for atoms in good]
    )


@pytest.mark.parametrize(
    "encode", [str.encode, lambda t: t.encode("utf-16"), lambda t: b"\xef\xbb\xbf" + t.encode()]
)
def test_text_is_read_as_other_programs_write_it(tmp_path, encode):
    path = tmp_path / "a.xyz"
    content = "2\r\nenergy=-1.5D+01\r\nh 0 0 0\r\nD\t0 0 7.4D-01\r\n"
    path.write_bytes(encode(content))
    record = run(path, units={"energy": "eV"}).dataset[0]
    assert record.numbers.tolist() == [1, 1] and record.labels["energy"] == -15.0
    assert record.positions[1, 2] == 0.74
    path.write_bytes(encode(content.replace("7.4D-01", "7_4")))
    with pytest.raises(ConversionError, match="7_4"):
        run(path, units={"energy": "eV"})


# --- charges --------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["info", "total", "initial", "text"])
def test_charges_of_extended_xyz(tmp_path, where):
    path = tmp_path / "a.xyz"
    atoms = HYDRONIUM.copy()
    if where == "initial":
        atoms.set_initial_charges([0.1, 0.3, 0.3, 0.3])
        columns = ["symbols", "positions", "initial_charges"]
        ase.io.write(path, atoms, columns=columns)
    else:
        said = {"info": "charge=1", "total": "total_charge=1", "text": 'Charge="+1"'}[where]
        path.write_text(text(atoms, said))
    assert run(path).dataset[0].charge == 1.0
    assert (
        run(path, ignore=["charge", "total_charge", "Charge", "initial_charges"]).dataset[0].charge
        == 0.0
    )


def test_charges_of_databases_and_archives(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        charged = HYDRONIUM.copy()
        charged.set_initial_charges([1, 0, 0, 0])
        charged.set_constraint(FixAtoms([0]))
        charged.calc = SinglePointCalculator(charged, energy=-2000.0, forces=np.full((4, 3), 0.5))
        database.write(charged)
        database.write(HYDRONIUM, total_charge=1)
        database.write(HYDRONIUM, data={"charge": np.array([1])})
    found = run(tmp_path / "a.db", accept=["duplicates"]).dataset
    assert [record.charge for record in found] == [1.0, 1.0, 1.0]
    assert (found[0].labels["forces"] == 0.5).all()  # of atoms that were held, too
    for name, value in (("charge", 1), ("Q", np.ones(1)), ("total_charge", np.array([1.0]))):
        arrays = {"z": HYDRONIUM.numbers, "R": HYDRONIUM.positions[None], name: value}
        np.savez(tmp_path / "a.npz", **arrays)
        assert run(tmp_path / "a.npz", units={"positions": "Å"}).dataset[0].charge == 1.0
    np.savez(tmp_path / "a.npz", **arrays, charge=[0])
    with pytest.raises(ConversionError, match="disagree"):
        run(tmp_path / "a.npz", units={"positions": "Å"})


# --- padding --------------------------------------------------------------------------


@pytest.mark.parametrize("pad", [0, -1])
@pytest.mark.parametrize("largest", [3, 9])
def test_padding_is_told_by_the_atomic_numbers(tmp_path, largest, pad):
    """Nine flat numbers of a polarizability are no per-atom values of nine atoms."""
    z = np.full((4, largest), pad)
    positions, forces = np.zeros((4, largest, 3)), np.zeros((4, largest, 3))
    for i, atoms in enumerate(waters(4)):
        n = 3 if i else 2
        z[i, :n], positions[i, :n] = atoms.numbers[:n], atoms.positions[:n]
        forces[i, :n] = [[0, 0, 1], [0, 0, -1], [0, 0, 0]][:n]
    alpha = np.tile(np.eye(3).ravel(), (4, 1))
    dipole = np.tile([0.1, 0.2, 0.3], (4, 1))
    path = tmp_path / "a.npz"
    kinds = z if pad else z.astype(float)
    np.savez(path, Z=kinds, R=positions, F=forces.reshape(4, -1, 3), polarizability=alpha, D=dipole)
    units = {"positions": "Å", "forces": "eV/Å", "polarizability": "Å^3", "dipole": "e*Å"}
    dataset = run(path, units=units).dataset
    assert dataset.counts.tolist() == [2, 3, 3, 3]
    for record in dataset:
        assert record.labels["dipole"].tolist() == [0.1, 0.2, 0.3]
        assert record.labels["polarizability"].shape == (3, 3)
        np.testing.assert_array_equal(record.labels["forces"][:2], [[0, 0, 1], [0, 0, -1]])


def test_arrays_in_hdf5_are_read_like_those_of_an_archive(tmp_path):
    first, second = waters(2)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["z"], file["R"] = first.numbers, [first.positions, second.positions]
        file["E"], file["Q"] = [-2079.0, -2079.1], [0.0, 0.0]
    found = run(tmp_path / "a.h5", units={"positions": "Å", "energy": "eV"}).dataset
    assert [float(record.labels["energy"]) for record in found] == [-2079.0, -2079.1]
    with refused(value="eqcalc dataset", file=tmp_path / "out.h5"):
        convert(tmp_path / "out.h5", tmp_path / "b.h5", level_of_theory="x", progress=False)


def test_values_that_were_rounded_are_refused(tmp_path):
    atoms = next(waters(1))
    arrays = {"z": atoms.numbers, "R": atoms.positions[None], "E": np.array([-2079.0])}
    units = {"positions": "Å", "energy": "eV", "forces": "eV/Å"}
    path = tmp_path / "a.npz"
    for change in (
        {"E": arrays["E"].astype("f2")},
        {"F": np.ones((1, 3, 3), "i1")},
        {"R": arrays["R"].astype("f2")},
    ):
        np.savez(path, **{**arrays, **change})
        given = {k: u for k, u in units.items() if k != "forces" or "F" in change}
        with pytest.raises(ConversionError, match="rounded"):
            run(path, units=given)


def test_a_dataset_of_one_structure_is_a_dataset(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(text(next(waters(1)), "energy=-2000"))
    assert len(run(path, units={"energy": "eV"}).dataset) == 1
    assert Dataset.open(tmp_path / "out.h5").provenance["units"] == {
        "positions": "Å",
        "energy": "eV",
    }


# --- permittivity ---------------------------------------------------------------------


def test_permittivity_of_a_cell_becomes_its_polarizability(tmp_path):
    path, edge = tmp_path / "a.xyz", 12.0
    epsilon = np.diag([1.7, 1.8, 1.9])
    listed = " ".join(map(str, epsilon.ravel()))
    cell = f'Lattice="{edge} 0 0 0 {edge} 0 0 0 {edge}" pbc="T T T"'
    (water,) = waters(1)
    path.write_text(text(water, f'epsilon="{listed}" {cell}'))
    found = run(path, keys={"permittivity": "epsilon"}).dataset[0].labels["polarizability"]
    expected = edge**3 * (epsilon - np.eye(3)) / (4.0 * np.pi)  # Å³
    np.testing.assert_allclose(convert_unit(found, "e^2*Å^2/eV", "Å^3"), expected, rtol=1e-6)


def test_molecules_have_no_permittivity(tmp_path):
    path = tmp_path / "a.xyz"
    (water,) = waters(1)
    path.write_text(text(water, 'energy=-1 epsilon="2 0 0 0 2 0 0 0 2"'))
    with pytest.raises(ConversionError, match="periodic in all directions"):
        run(path, keys={"permittivity": "epsilon"}, units={"energy": "eV"})
