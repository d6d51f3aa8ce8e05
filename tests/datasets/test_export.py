# SPDX-License-Identifier: MIT
"""Datasets written for others are read back to the last bit, by us and by ASE."""

import resource

import ase.db
import ase.io
import numpy as np
import pytest

from eqcalc.datasets import Dataset, Record, convert, export_dataset, open_reader
from eqcalc.datasets.interpretation import Interpretation
from eqcalc.validation import ExistingFileError, InvalidInputError
from tests.errors import refused

KEYS = {"energy": "REF_energy", "forces": "REF_forces", "charge": "total_charge"}


@pytest.fixture
def dataset(tmp_path, mixed):
    """Molecules of different labels and charge, an open shell, and a cell with a stress."""
    rng = np.random.default_rng(5)
    stress = rng.normal(size=(3, 3))
    mixed += [
        Record(np.array([8]), np.zeros((1, 3)), {"energy": -np.pi}, unpaired_electrons=2),
        Record(
            np.array([6, 1]),
            rng.normal(size=(2, 3)),
            {"energy": 1e-7 / 3.0, "stress": stress + stress.T},
            cell=rng.normal(size=(3, 3)),
            pbc=np.array([True, True, False]),
            source='of a "name"',
        ),
    ]
    levels = {"energy": "A/B", "forces": "A/B", "stress": "A/B"}
    levels |= {"dipole": "C: D", "polarizability": "C: D"}
    return Dataset.create(tmp_path / "data.h5", mixed, level_of_theory=levels)


def read_back(path, keys=None):
    reader = open_reader(path)
    meaning = Interpretation(
        keys or {},
        {},
        usual=reader.keys,
        usual_units=reader.units,
        units_by_key=getattr(reader, "units_by_key", {}),
    )
    records = [meaning.record(frame, i) for i, frame in enumerate(reader)]
    assert not meaning.problems()
    return records


@pytest.mark.parametrize("keys", [{}, KEYS], ids=["names", "keys of MACE"])
@pytest.mark.parametrize("suffix", ["extxyz", "db"])
def test_read_back_to_the_last_bit(dataset, tmp_path, suffix, keys):
    target = tmp_path / f"out.{suffix}"
    told = export_dataset(dataset, target, keys=keys)
    assert all(unit in told for unit in ("eV/Å", "e*Å", "e^2*Å^2/eV"))
    found = read_back(target, {k: v for k, v in keys.items() if k != "charge"})
    assert len(found) == len(dataset)
    for one, other in zip(found, dataset, strict=True):
        assert one.labels.keys() == other.labels.keys()
        for name, value in other.labels.items():
            np.testing.assert_array_equal(one.labels[name], value)
        for name in ("numbers", "positions", "charge", "cell", "pbc", "unpaired_electrons"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.source == other.source


@pytest.mark.parametrize("suffix", ["extxyz", "db"])
def test_a_round_trip_needs_no_statements(pbe0, tmp_path, suffix):
    some = Dataset.open(pbe0).subset(np.arange(20))
    export_dataset(some, tmp_path / f"out.{suffix}")
    convert(tmp_path / f"out.{suffix}", tmp_path / "back.h5", reference=None, progress=False)
    back = Dataset.open(tmp_path / "back.h5")
    assert back.levels_of_theory == some.levels_of_theory
    assert back.source().tolist() == some.source().tolist()
    for name, value in back.labels(np.arange(20))[0].items():
        np.testing.assert_array_equal(value, some.labels(np.arange(20))[0][name])


def test_levels_by_quantity_are_stated(dataset, tmp_path):
    for suffix in ("extxyz", "db"):
        export_dataset(dataset, tmp_path / f"out.{suffix}")
        stated = open_reader(tmp_path / f"out.{suffix}").level_of_theory
        assert stated == "energy, forces, stress: A/B; dipole, polarizability: C: D"


def test_ase_reads_the_same(dataset, tmp_path):
    for suffix in ("extxyz", "db"):
        export_dataset(dataset, tmp_path / f"out.{suffix}")
        for atoms, record in zip(
            ase.io.read(tmp_path / f"out.{suffix}", ":"), dataset, strict=True
        ):
            np.testing.assert_array_equal(atoms.positions, record.positions)
            for name in {"energy", "forces", "dipole"} & record.labels.keys():
                np.testing.assert_array_equal(atoms.calc.results[name], record.labels[name])
            if "stress" in record.labels:
                found = atoms.get_stress(voigt=False)
                np.testing.assert_array_equal(found, record.labels["stress"])


def test_rows_have_what_schnetpack_loads(dataset, tmp_path):
    """All properties of the metadata in ``row.data``, as arrays with an axis."""
    export_dataset(dataset, tmp_path / "out.db")
    with ase.db.connect(tmp_path / "out.db") as database:
        units = database.metadata["_property_unit_dict"]
        assert units["forces"] == "eV/Ang" and database.metadata["_distance_unit"] == "Ang"
        row = next(database.select(id=1))
        assert row.data["energy"].shape == (1,) and row.data["forces"].shape == (3, 3)


def test_keys_of_absent_quantities_serve_any_dataset(tmp_path):
    record = Record(np.array([8]), np.zeros((1, 3)), {"energy": -np.pi})
    oxygen = Dataset.create(tmp_path / "o.h5", [record], level_of_theory={"energy": "A/B"})
    target = tmp_path / "o.extxyz"
    export_dataset(oxygen, target, keys={**KEYS, "stress": "REF_stress"})
    assert ase.io.read(target).info["REF_energy"] == -np.pi


@pytest.mark.parametrize("suffix", ["extxyz", "db"])
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path, suffix):
    """Files cannot be larger than 20 kB meanwhile."""
    records = [Record(np.array([8]), np.zeros((1, 3)), {"energy": -np.pi})] * 500
    dataset = Dataset.create(tmp_path / "o.h5", records, level_of_theory="A/B")
    target = tmp_path / "results" / f"o.{suffix}"
    target.parent.mkdir()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            export_dataset(dataset, target, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(target)
    assert list(target.parent.iterdir()) == []


def test_nothing_is_overwritten_and_names_are_checked(dataset, tmp_path):
    target = tmp_path / "out.extxyz"
    target.write_text("mine")
    with refused(ExistingFileError, file=target):
        export_dataset(dataset, target)
    with refused(InvalidInputError, key="keys", value="enrgy"):
        export_dataset(dataset, tmp_path / "other.db", keys={"enrgy": "E"})
    with refused(InvalidInputError, key="target", value="out.cif"):
        export_dataset(dataset, tmp_path / "out.cif")
    assert target.read_text() == "mine"
    export_dataset(dataset, target, overwrite=True)
    assert len(read_back(target)) == len(dataset)
