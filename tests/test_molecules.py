# SPDX-License-Identifier: MIT
"""What ASE atoms and their files say: charge, spin, constraints, masses, isolation."""

import warnings

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.constraints import (
    ExternalForce,
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixedPlane,
    FixInternals,
    Hookean,
)

from eqcalc.datasets import Record
from eqcalc.molecules import (
    IgnoredInputWarning,
    atomic_masses,
    isolated_molecule,
    isotope_masses,
    open_shell,
    read_structure,
    read_structures,
    states_charge,
    total_charge,
    unconstrained,
    unpaired_electrons,
    warn_of_ignored,
)
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused


@pytest.fixture
def water():
    return molecule("H2O")


# --- charge and spin ------------------------------------------------------------------


def test_a_molecule_that_says_nothing_is_neutral(water):
    assert total_charge(water) == 0.0
    assert not states_charge(water)


@pytest.mark.parametrize("value", [-1, 1.0, "1", np.float32(2.0)])
def test_the_charge_is_that_of_info(water, value):
    water.info["charge"] = value
    assert total_charge(water) == float(value)
    assert states_charge(water)


def test_the_charge_is_the_sum_of_the_initial_charges_without_its_rounding_error(water):
    water.set_initial_charges([0.1, 0.2, -0.3])
    assert sum([0.1, 0.2, -0.3]) != 0.0
    assert total_charge(water) == 0.0
    water.set_initial_charges([1.7, -0.4, -0.3])
    assert total_charge(water) == 1.0
    water.info["charge"] = 1
    assert total_charge(water) == 1.0
    water.set_initial_charges([0.5, 0.0, 0.0])
    del water.info["charge"]
    assert total_charge(water) == 0.5


def test_partial_charges_as_programs_print_them_add_up_to_whole_electrons(water):
    """With four digits they are 0.9999, which neither a model nor a stated charge of 1 knows."""
    water.set_initial_charges([0.3333] * 3)
    assert total_charge(water) == 1.0
    water.info["charge"] = 1
    assert total_charge(water) == 1.0
    water.set_initial_charges([0.3, 0.3, 0.3])
    with refused(value=1.0):
        total_charge(water)


@pytest.mark.parametrize("name", ["total_charge", "Charge", "net_charge", "charge:"])
def test_names_of_other_programs_are_the_charge_too(water, name):
    water.info[name] = 1
    assert total_charge(water) == 1.0 and states_charge(water)
    water.info["charge"] = 0
    with pytest.raises(InvalidInputError) as found:
        total_charge(water)
    assert {found.value.value, *found.value.expected.split()} >= {1.0, "0"}


# "charge 1" in the comment of an XYZ file is read as the flag "charge", true
@pytest.mark.parametrize("value", ["one", None, np.nan, np.inf, [1, 2], True])
def test_a_charge_that_is_no_number_is_refused(water, value):
    water.info["charge"] = value
    with pytest.raises(InvalidInputError) as found:
        total_charge(water)
    assert "charge" in found.value.key
    assert found.value.value is value


def test_two_charges_that_disagree_are_refused(water):
    water.info["charge"] = 1
    water.set_initial_charges([0.0, 0.0, 0.0])
    with pytest.raises(InvalidInputError) as found:
        total_charge(water)
    assert found.value.value == 1.0
    water.set_initial_charges([np.nan, 0.0, 0.0])
    with pytest.raises(InvalidInputError):
        total_charge(water)


def test_moments_and_partial_charges_are_said_to_be_ignored(water):
    water.set_initial_magnetic_moments([1.0, 0.0, 0.0])
    with pytest.warns(IgnoredInputWarning, match="magnetic moments"):
        warn_of_ignored(water)
    water.set_initial_magnetic_moments(np.zeros(3))
    water.set_initial_charges([-0.8, 0.4, 0.4])
    with pytest.warns(IgnoredInputWarning, match="only their sum"):
        warn_of_ignored(water)


def test_what_is_usual_is_no_reason_to_warn(water):
    water.info |= {"charge": 1, "total_charge": 1, "spin": 0, "multiplicity": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_ignored(water)


@pytest.mark.parametrize("name", ["unpaired_electrons", "UHF", "unpaired"])
def test_the_number_of_unpaired_electrons_is_not_a_multiplicity(name):
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info={name: 2})
    assert unpaired_electrons(oxygen) == 2
    oxygen.info["multiplicity"] = 1
    with refused(value=2.0):
        unpaired_electrons(oxygen)


# --- files ----------------------------------------------------------------------------

HYDRONIUM = Atoms("OH3", [[0, 0, 0.1], [0.94, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]])


def in_extended_xyz(path):
    atoms = HYDRONIUM.copy()
    atoms.info["charge"] = 1
    ase.io.write(path / "a.xyz", atoms)


def in_a_trajectory(path):
    atoms = HYDRONIUM.copy()
    atoms.set_initial_charges([1, 0, 0, 0])
    ase.io.write(path / "a.traj", atoms)


def in_a_column(path):
    atoms = HYDRONIUM.copy()
    atoms.set_initial_charges([0.1, 0.3, 0.3, 0.3])
    columns = ["symbols", "positions", "initial_charges"]
    ase.io.write(path / "a.extxyz", atoms, columns=columns)


def in_a_database(path):
    with ase.db.connect(path / "a.db") as database:
        database.write(HYDRONIUM, total_charge=1)


def in_the_data_of_a_database(path):
    with ase.db.connect(path / "a.db") as database:
        database.write(HYDRONIUM, data={"charge": np.array([1.0])[0]})


def as_initial_charges_of_a_database(path):
    atoms = HYDRONIUM.copy()
    atoms.set_initial_charges([1, 0, 0, 0])
    with ase.db.connect(path / "a.db") as database:
        database.write(atoms)


def in_a_molfile(path):
    lines = [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {s}   0  0"
        for s, (x, y, z) in zip("OHHH", HYDRONIUM.positions, strict=True)
    ]
    head = ["hydronium", "", "", "  4  0  0  0  0  0  0  0  0  0999 V2000"]
    (path / "a.mol").write_text("\n".join([*head, *lines, "M  CHG  1   1   1", "M  END", ""]))


@pytest.mark.parametrize(
    "write",
    [
        in_extended_xyz,
        in_a_trajectory,
        in_a_column,
        in_a_database,
        in_the_data_of_a_database,
        as_initial_charges_of_a_database,
        in_a_molfile,
    ],
)
def test_the_charge_of_a_file_is_read_wherever_it_is(tmp_path, write):
    write(tmp_path)
    (path,) = tmp_path.iterdir()
    assert total_charge(read_structure(path)) == 1.0


def test_the_charge_of_every_structure_of_a_file_is_checked(tmp_path):
    second = HYDRONIUM.copy()
    second.info["charge"] = "one"
    ase.io.write(tmp_path / "a.xyz", [HYDRONIUM, second])
    with refused(key="structure 1.atoms.info['charge']", file=tmp_path / "a.xyz"):
        read_structures([tmp_path / "a.xyz"])


# --- spin -----------------------------------------------------------------------------


def test_the_least_number_of_unpaired_electrons_is_the_default(water):
    assert unpaired_electrons(water) == 0
    water.info["charge"] = 1
    assert unpaired_electrons(water) == 1
    for charge in (0.5, 11):
        water.info["charge"] = charge
        with refused(value=float(charge)):
            unpaired_electrons(water)


@pytest.mark.parametrize(
    ("symbols", "expected"),
    [("O2", 2), ("SO", 2), ("NH", 2), ("N2", 0), ("CO", 0), ("NO", 1), ("O", 2), ("N", 3)],
)
def test_ground_states_that_are_not_singlets_are_known(symbols, expected):
    atoms = Atoms(symbols)
    atoms.positions[:, 2] = 1.2 * np.arange(len(atoms))
    assert unpaired_electrons(atoms) == expected
    if expected > 1:  # no method of closed shells
        with refused(key="unpaired_electrons", value=float(expected % 2)):
            unpaired_electrons(atoms, expected % 2)
        atoms.info["multiplicity"] = expected % 2 + 1
        assert unpaired_electrons(atoms, expected % 2) == expected % 2
        assert open_shell(atoms) == {"multiplicity": expected % 2 + 1}  # so that it stays so
        assert Record.from_atoms(atoms).atoms().info == atoms.info


@pytest.mark.parametrize(
    ("said", "expected"),
    [({"multiplicity": 3}, 2), ({"spin": 2}, 2), ({"spin": 3}, 2), ({"spin": 1}, 0)],
)
def test_a_spin_is_2s_or_2s_plus_1_as_it_fits_the_electrons(said, expected):
    oxygen = Atoms("O2", [[0, 0, 0], [0, 0, 1.2]], info=said)
    assert unpaired_electrons(oxygen) == expected


def test_spins_that_contradict_are_refused():
    oxygen = molecule("O2")  # has two magnetic moments of 1
    assert unpaired_electrons(oxygen) == unpaired_electrons(oxygen, 2) == 2
    with refused(key="unpaired_electrons", value=0.0):
        unpaired_electrons(oxygen, 0)
    oxygen.info["multiplicity"] = 1
    with refused(key="initial magnetic moments", value=2.0):
        unpaired_electrons(oxygen)
    methyl = Atoms("CH3", np.eye(4)[:, :3])
    with refused(key="unpaired_electrons", value=0.0):
        unpaired_electrons(methyl, 0)
    assert unpaired_electrons(methyl, 3) == 3


# --- constraints ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "constraint",
    [
        FixAtoms([0, 2]),
        FixBondLengths([[0, 1]]),
        FixCartesian(1, [True, False, False]),
        Hookean(0, 1, 5.0, 1.0),
        FixInternals(bonds=[[1.0, [0, 1]]]),
        FixedPlane(0, [0, 0, 1]),
        ExternalForce(0, 1, 0.1),
    ],
)
def test_constraints_are_named(water, constraint):
    assert unconstrained(water) is water
    water.set_constraint([FixCom(), FixAtoms([])])  # constrain nothing
    assert unconstrained(water) is water
    water.set_constraint([FixCom(), constraint])
    with refused(key="atoms.constraints") as found:
        unconstrained(water)
    assert found.value.value.startswith(type(constraint).__name__)


# --- masses ---------------------------------------------------------------------------


def test_masses_are_those_of_the_atoms(water):
    np.testing.assert_array_equal(atomic_masses(water), [15.999, 1.008, 1.008])
    np.testing.assert_array_equal(atomic_masses(water, {"H": 2.014}), [15.999, 2.014, 2.014])
    np.testing.assert_array_equal(atomic_masses(water, [16, 1, 2]), [16.0, 1.0, 2.0])


@pytest.mark.parametrize("given", [{"H": 2.014, "3": 3.016}, {"3": 3.016, "H": 2.014}])
def test_an_atom_comes_before_its_element(given):
    masses = isotope_masses(molecule("CH3CH2OH"), given)
    assert masses[3] == 3.016
    assert masses[8] == 2.014
    assert masses[0] == pytest.approx(12.011)


@pytest.mark.parametrize(
    ("given", "key", "value"),
    [
        ({"D": 2.014}, "masses", "D"),
        ({"3": 2.014}, "masses", "3"),
        ({"-1": 2.014}, "masses", "-1"),
        ({"H": 0.0}, "masses.H", 0.0),
        ({"0": np.inf}, "masses.0", np.inf),
        ([16.0, 1.0], "masses", [2]),
        ([16.0, -1.0, 1.0], "masses[1]", -1.0),
        ([16.0, 1.0, np.inf], "masses[2]", np.inf),
    ],
)
def test_masses_that_make_no_sense_are_refused(water, given, key, value):
    with pytest.raises(InvalidInputError) as found:
        atomic_masses(water, given)
    assert (found.value.key, found.value.value) == (key, value)


# --- positions and cell ---------------------------------------------------------------


def test_isolated_molecules(water):
    assert isolated_molecule(water) is water
    periodic = water.copy()
    periodic.set_cell([9, 9, 9])
    assert isolated_molecule(periodic) is periodic  # a cell alone does not repeat it
    periodic.pbc = (False, False, True)
    broken = water.copy()
    broken.positions[2, 1] = np.nan
    for atoms, key in ((periodic, "atoms.pbc"), (broken, "positions[2, 1]"), (Atoms(), "atoms")):
        with pytest.raises(InvalidInputError) as found:
            isolated_molecule(atoms)
        assert found.value.key == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("1\nProperties=species:S:4294967296:pos:R:3\nH 0 0 0\n", "line 2, Properties"),
        ("1\n\nH 0 0 1e11\n", "positions of structure 0"),
    ],
)
def test_columns_and_coordinates_are_bounded(tmp_path, text, key):
    path = tmp_path / "a.xyz"
    path.write_text(text)
    with refused(InvalidFileError, file=path, key=key):
        read_structures([path])


def test_more_atoms_than_lines_are_refused_at_once(tmp_path):
    """ASE would look for each of them beyond the end of the file."""
    (tmp_path / "w.xyz").write_text("1\n\nH 0 0 0\n10937172\nH 0 0 0\nH 0 0 1\n")
    with refused(InvalidFileError, key="line 4", value=10937172, file=tmp_path / "w.xyz"):
        read_structures([tmp_path / "w.xyz"])
