# SPDX-License-Identifier: MIT
from dataclasses import replace

import numpy as np
import pytest

from eqcalc.datasets import Dataset, Record, check_forces, compare_labels, validate
from eqcalc.datasets.checks import check_record
from eqcalc.quantities import known_quantities
from eqcalc.validation import InvalidInputError

WATER = np.array([[0.0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]])
NUMBERS = np.array([8, 1, 1])


def rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q


def harmonic(rng, n, spread=0.05):
    """Water in a harmonic pair potential, anywhere and in any orientation."""
    pairs = [(0, 1), (0, 2), (1, 2)]
    records = []
    for _ in range(n):
        positions = WATER + spread * rng.normal(size=(3, 3))
        energy, forces = -2000.0, np.zeros((3, 3))
        for i, j in pairs:
            bond = positions[i] - positions[j]
            length = np.linalg.norm(bond)
            stretch = length - np.linalg.norm(WATER[i] - WATER[j])
            energy += 0.5 * 30.0 * stretch**2
            forces[i] -= 30.0 * stretch * bond / length
            forces[j] += 30.0 * stretch * bond / length
        turn = rotation(rng)
        dipole = positions[0] - positions[1:].mean(axis=0)
        records.append(
            Record(
                NUMBERS,
                positions @ turn + rng.normal(size=3),
                {"energy": energy, "forces": forces @ turn, "dipole": dipole @ turn},
            )
        )
    return records


def changed(record, **labels):
    return Record(record.numbers, record.positions, {**record.labels, **labels})


def stored(tmp_path, records, name="a.h5"):
    return Dataset.create(tmp_path / name, records, level_of_theory="x", overwrite=True)


def test_good_data_have_no_problem(tmp_path, pbe0):
    assert validate(Dataset.open(pbe0)).problems == []
    assert validate(stored(tmp_path, harmonic(np.random.default_rng(0), 50))).problems == []


def test_duplicates_are_found_whatever_their_orientation(tmp_path):
    rng = np.random.default_rng(1)
    records = harmonic(rng, 30)
    for copy in (4, 4, 9):
        turned = records[copy].positions @ rotation(rng) + rng.normal(size=3)
        records.append(Record(NUMBERS, turned, records[copy].labels))
    near = records[0].positions + 1e-3 * rng.normal(size=(3, 3))
    records.append(Record(NUMBERS, near, records[0].labels))
    ion = Record(NUMBERS, records[2].positions, records[2].labels, charge=1.0)
    report = validate(stored(tmp_path, [*records, ion]))
    assert [(p.index, p.message) for p in report.errors] == [
        (30, "same geometry as structure 4"),
        (31, "same geometry as structure 4"),
        (32, "same geometry as structure 9"),
    ]


def test_outliers_of_mixed_compositions(tmp_path):
    """One structure per composition: the energy is judged by what its elements suggest."""
    rng = np.random.default_rng(2)
    energies = {1: -14.0, 6: -1030.0, 8: -2040.0}
    records = []
    for _ in range(60):
        numbers = rng.choice([1, 6, 8], size=rng.integers(4, 12))
        energy = sum(energies[z] for z in numbers) + rng.normal() * 0.3 * len(numbers)
        positions = 1.5 * np.arange(len(numbers))[:, None] + 0.1 * rng.normal(
            size=(len(numbers), 3)
        )
        records.append(Record(numbers, positions, {"energy": energy}))
    for index, factor in ((7, 1 / 27.2114), (33, 1.2)):
        records[index] = changed(records[index], energy=records[index].labels["energy"] * factor)
    assert validate(stored(tmp_path, records)).bad == [7, 33]


def test_the_charge_of_a_molecule_is_that_of_whole_electrons():
    record = harmonic(np.random.default_rng(0), 1)[0]
    half = Record(NUMBERS, record.positions, record.labels, charge=0.5)
    assert [len(check_record(one)) for one in (record, half)] == [0, 1]
    cell = 9.0 * np.eye(3)
    doped = Record(NUMBERS, record.positions, record.labels, 0.5, cell, np.ones(3, bool))
    assert check_record(doped) == []


def test_open_shells_among_closed_ones_are_named(tmp_path):
    """A triplet and a singlet of one composition have two energies for one geometry."""
    records = harmonic(np.random.default_rng(3), 30)
    for index in (4, 17):
        records[index] = replace(records[index], unpaired_electrons=2)
    hydroxyl = Record(NUMBERS[:2], WATER[:2], {"energy": -2000.0})
    records += [replace(hydroxyl, unpaired_electrons=1), hydroxyl]
    dataset = stored(tmp_path, records)
    report = validate(dataset, accept=["duplicates", "outliers"])
    assert report.bad == [4, 17]
    # a radical that states its spin is one; the other may lack its charge
    (noted,) = (p.message for p in report.warnings if p.index is None)
    assert "structure 31:" in noted
    assert validate(dataset, accept=["duplicates", "outliers", "spins"]).bad == []


def test_a_dipole_is_zero_by_symmetry_only(tmp_path):
    water = harmonic(np.random.default_rng(0), 2)
    missing = changed(water[1], dipole=np.zeros(3))
    line = Record([8, 6, 8], [[0, 0, -1.16], [0, 0, 0], [0, 0, 1.16]], {"dipole": np.zeros(3)})
    records = [changed(water[0], dipole=np.array([0.0, 0.0, 0.4])), missing, line]
    report = validate(stored(tmp_path, records))
    assert report.bad == [1]
    assert validate(Dataset.open(tmp_path / "a.h5"), accept=["outliers"]).bad == []


@pytest.mark.parametrize("scale", [1.889726, 1 / 1.889726])
def test_one_molecule_in_another_unit_of_length(tmp_path, scale):
    records = harmonic(np.random.default_rng(1), 25)
    records[7] = Record(NUMBERS, scale * records[7].positions, records[7].labels)
    assert 7 in validate(stored(tmp_path, records)).bad


def test_net_force_is_a_warning(tmp_path):
    records = harmonic(np.random.default_rng(3), 30)
    records[5] = changed(records[5], forces=records[5].labels["forces"] + [0.0, 0.0, 1.0])
    report = validate(stored(tmp_path, records))
    assert report.errors == [] and "structure 5: 3 eV/Å" in str(report.warnings[0])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({"energy": np.nan}, "energy is not finite"),
        ({"forces": np.full((3, 3), np.inf)}, "forces of atom 0 is not finite"),
        ({"polarizability": np.diag([1.0, 1.0, -1.0])}, "not positive definite"),
        ({"polarizability": [[1, 0.5, 0], [0, 1, 0], [0, 0, 1]]}, "not symmetric"),
    ],
)
def test_single_structures(labels, message):
    assert any(message in found for found in check_record(Record(NUMBERS, WATER, labels)))


def test_geometry_in_the_wrong_unit():
    (found,) = check_record(Record(NUMBERS, WATER * 0.1))
    assert "is the length unit right" in found
    assert check_record(Record(NUMBERS, WATER)) == []


@pytest.mark.parametrize("factor", [1.0, 0.0433641, 51.422, 27.2114, 1.889726, -1.0])
def test_forces_are_checked_against_energies(tmp_path, factor):
    rng = np.random.default_rng(4)
    records = [changed(r, forces=factor * r.labels["forces"]) for r in harmonic(rng, 200)]
    found = check_forces(stored(tmp_path, records), rng)
    assert found.conclusive and found.ok == (factor == 1.0)
    assert found.slope == pytest.approx(1.0 / factor, rel=0.05)
    assert ("wrong sign" in str(found)) == (factor < 0.0)
    assert ("mistaken unit" in str(found)) == (factor not in {1.0, -1.0})


def test_noise_concludes_nothing(tmp_path):
    rng = np.random.default_rng(5)
    records = [changed(r, forces=rng.normal(size=(3, 3))) for r in harmonic(rng, 100)]
    found = check_forces(stored(tmp_path, records), rng)
    assert not found.conclusive and found.ok and "not conclusive" in str(found)


def test_a_second_source_shows_debye(tmp_path):
    records = harmonic(np.random.default_rng(6), 20)
    right = stored(tmp_path, records)
    debye = [changed(r, dipole=r.labels["dipole"] / 0.20819434) for r in records]
    wrong = stored(tmp_path, debye, "b.h5")
    found = compare_labels(wrong, right, "dipole")
    assert found.slope == pytest.approx(4.803, rel=1e-3) and "(debye)" in str(found)
    for name in ("energy", "polarizability"):  # no common origin; not there
        with pytest.raises(InvalidInputError) as caught:
            compare_labels(wrong, right, name)
        assert caught.value.key == "name"
    moved = stored(tmp_path, [Record(NUMBERS, 1.1 * WATER, records[0].labels)], "c.h5")
    with pytest.raises(InvalidInputError) as apart:
        compare_labels(moved, right, "dipole")
    assert apart.value.key == "other"
    assert set(known_quantities()) >= {found.quantity}
