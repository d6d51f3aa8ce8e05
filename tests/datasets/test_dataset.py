# SPDX-License-Identifier: MIT
import json
import pickle
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from eqcalc import hdf5
from eqcalc.datasets import Dataset, DatasetWriter, Record, store_split
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

# energy [eV] of the first structure in the archive that the shipped file was converted from
FIRST_ENERGY = -4214.555369684831
LEVEL = "PBE0/def2-TZVP (density fitting)"


def equal(a: Record, b: Record) -> bool:
    return (
        np.array_equal(a.numbers, b.numbers)
        and np.array_equal(a.positions, b.positions)
        and a.labels.keys() == b.labels.keys()
        and all(np.array_equal(a.labels[name], b.labels[name]) for name in a.labels)
        and a.charge == b.charge
        and a.source == b.source
        and a.unpaired_electrons == b.unpaired_electrons
        and (a.cell is None) == (b.cell is None)
        and (a.cell is None or np.array_equal(a.cell, b.cell))
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_what_is_written_is_read(tmp_path, mixed, compressed):
    dataset = Dataset.create(
        tmp_path / "a.h5", mixed, level_of_theory="made up", compressed=compressed
    )
    assert len(dataset) == 3
    assert all(equal(a, b) for a, b in zip(dataset, mixed, strict=True))
    assert dataset.quantities == ("energy", "forces", "dipole", "polarizability")
    assert dataset.level_of_theory == "made up"
    assert equal(dataset[-1], mixed[2])
    oxygen = Record(np.array([8, 8]), np.array([[0, 0, 0], [0, 0, 1.2]]), unpaired_electrons=2)
    more = Dataset.append(tmp_path / "a.h5", [oxygen])
    assert equal(more[0], mixed[0])
    assert equal(more[3], oxygen)
    assert equal(Record.from_atoms(more.atoms(3)), oxygen)
    with pytest.raises(IndexError):
        dataset[3]


def test_batches_follow_the_indices(tmp_path, mixed):
    dataset = Dataset.create(tmp_path / "a.h5", mixed, level_of_theory="made up")
    order = [2, 0, 1, 0]
    batch = dataset.structures(order)
    values, present = dataset.labels(order)
    assert batch.counts.tolist() == [2, 3, 5, 3]
    assert batch.charge.tolist() == [0.0, 0.0, 1.0, 0.0]
    expected = np.concatenate([mixed[i].positions for i in order])
    np.testing.assert_array_equal(batch.positions.numpy(), expected)
    assert present["forces"].tolist() == [False, True, False, True]
    assert present["polarizability"].tolist() == [True, False, False, False]
    forces = torch.split(values["forces"], batch.counts.tolist())
    np.testing.assert_array_equal(forces[1].numpy(), mixed[0].labels["forces"])
    assert forces[0].isnan().all() and forces[2].isnan().all()
    assert values["energy"].isnan().tolist() == [True, False, False, False]
    assert dataset.structures(order, dtype=torch.float32).positions.dtype == torch.float32


def test_periodic_and_isolated_structures_share_a_file(tmp_path, mixed):
    crystal = Record(
        np.array([11, 17]),
        np.array([[0.0, 0, 0], [2.8, 0, 0]]),
        {"energy": -1.0, "stress": np.eye(3)},
        cell=5.6 * np.eye(3),
        pbc=np.array([True, True, False]),
    )
    dataset = Dataset.create(tmp_path / "a.h5", [*mixed, crystal], level_of_theory="x")
    assert equal(dataset[3], crystal) and equal(dataset[0], mixed[0])
    assert dataset.structures([0, 1]).cell is None
    batch = dataset.structures([0, 3])
    assert batch.pbc.tolist() == [[False] * 3, [True, True, False]]
    assert dataset[3].atoms().get_stress() == pytest.approx([1, 1, 1, 0, 0, 0])


def test_subset_is_a_view(pbe0):
    dataset = Dataset.open(pbe0)
    part = dataset.subset([5, 3, 8]).subset([2, 0])
    assert part.indices.tolist() == [8, 5]
    assert equal(part[0], dataset[8]) and equal(part[1], dataset[5])
    np.testing.assert_array_equal(
        part.labels([0, 1])[0]["dipole"], dataset.labels([8, 5])[0]["dipole"]
    )
    assert part._array("positions") is dataset._array("positions")
    mask = dataset.source() == "gfn2-md-800K"
    assert 0 < len(dataset.subset(mask)) < len(dataset)
    with pytest.raises(IndexError, match="mask"):
        dataset.subset(mask[:-1])


def test_shipped_data(pbe0):
    dataset = Dataset.open(pbe0)
    assert dataset.level_of_theory == LEVEL and dataset.elements == (1, 6, 8)
    atoms = dataset.atoms(0)
    assert atoms.get_chemical_formula() == "C2H6O"
    assert atoms.get_potential_energy() == pytest.approx(FIRST_ENERGY, abs=1e-9)
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-10
    # mean polarizability of ethanol: 5.1 Å³ (CRC Handbook, 5.11 to 5.41)
    known = np.flatnonzero(dataset.present("polarizability"))
    assert len(known) == 481
    alpha = dataset.labels(known)[0]["polarizability"]
    volume = conversion_factor("e^2*Å^2/eV", "Å^3") * alpha.diagonal(dim1=1, dim2=2).mean()
    assert 4.6 < float(volume) < 5.5


def test_other_processes_can_read_it(pbe0):
    dataset = Dataset.open(pbe0).subset([4, 2])
    dataset.labels([0])
    copy = pickle.loads(pickle.dumps(dataset))
    assert len(pickle.dumps(dataset)) < 20_000
    assert equal(copy[0], dataset[0])


def test_append_keeps_precision_splits_and_provenance(tmp_path, mixed):
    path = tmp_path / "a.h5"
    Dataset.create(
        path,
        mixed[:2],
        level_of_theory="x",
        provenance={"by": "test"},
        single_precision=("positions",),
        compressed=True,
    )
    store_split(path, "first", {"training": [1], "test": [0]})
    dataset = Dataset.append(path, mixed[2:], level_of_theory="x", provenance={"more": 1})
    assert len(dataset) == 3
    np.testing.assert_allclose(dataset[2].positions, mixed[2].positions, atol=1e-6)
    assert dataset._array("positions").dtype == np.float32 and dataset._compressed
    assert dataset.provenance == {"by": "test", "appended": [{"more": 1}]}
    assert dataset.splits["first"]["training"].tolist() == [1]
    with pytest.raises(InvalidInputError) as caught:
        Dataset.append(path, mixed, level_of_theory="y")
    assert (caught.value.value, caught.value.expected) == ("y", "x")
    assert len(Dataset.open(path)) == 3


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, mixed):
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x")
    before = path.read_bytes()

    def records():
        yield mixed[0]
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="broke"):
        Dataset.append(path, records())
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(FileExistsError):
        Dataset.create(path, mixed, level_of_theory="x")


@pytest.mark.slow
def test_a_killed_writer_leaves_the_old_file(tmp_path, mixed):
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x")
    script = f"""
import os
from eqcalc.datasets import Dataset
def records():
    yield from list(Dataset.open({str(path)!r})) * 3000
    os._exit(9)
Dataset.append({str(path)!r}, records())
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 9
    assert all(equal(a, b) for a, b in zip(Dataset.open(path), mixed, strict=True))


def test_levels_of_theory_by_quantity(tmp_path, mixed):
    levels = {"energy": "MP2", "forces": "MP2", "dipole": "DFT", "polarizability": "DFT"}
    dataset = Dataset.create(tmp_path / "a.h5", mixed, level_of_theory=levels)
    assert dataset.levels_of_theory == levels
    with pytest.raises(InvalidInputError) as several:
        _ = dataset.level_of_theory
    assert several.value.value == levels
    with pytest.raises(InvalidInputError) as unstated:
        Dataset.create(tmp_path / "b.h5", mixed, level_of_theory={"energy": "a", "forces": "b"})
    assert unstated.value.key == "level_of_theory.dipole"
    with pytest.raises(InvalidInputError) as single:
        DatasetWriter(tmp_path / "c.h5", level_of_theory="x", single_precision=("energy",))
    assert single.value.key == "single_precision"


def test_representations_tell_what_it_is(tmp_path, mixed):
    levels = {"energy": "MP2", "forces": "MP2", "dipole": "B3LYP", "polarizability": "<DFT>"}
    dataset = Dataset.create(tmp_path / "a.h5", mixed, level_of_theory=levels)
    assert dataset.formulas() == {"H2O": 1, "H4N": 1, "CO": 1}
    for fact in ("3 structures", "1 × H2O", "energy: MP2 [eV], 2 known", "dipole: B3LYP [e*Å]"):
        assert fact in repr(dataset)
    page = dataset._repr_html_()
    assert "&lt;DFT&gt;" in page and page.count("<tr>") == 5
    assert "1 structures; molecules: 1 × CO" in repr(dataset.subset([2]))


def test_units_are_read_from_the_attributes(tmp_path, mixed):
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x")
    with h5py.File(path, "r+") as file:
        file["positions"].attrs["unit"] = "bohr"
        file["labels/energy/values"].attrs["unit"] = "hartree"
    hdf5.seal(path)
    dataset = Dataset.open(path)
    bohr, hartree = conversion_factor("bohr", "Å"), conversion_factor("hartree", "eV")
    np.testing.assert_allclose(dataset[1].positions, mixed[1].positions * bohr)
    assert dataset[1].labels["energy"] == pytest.approx(mixed[1].labels["energy"] * hartree)
    with h5py.File(path, "r+") as file:
        file["labels/energy/values"].attrs["unit"] = "Å"
    hdf5.seal(path)
    with refused(InvalidFileError, file=path, key="labels/energy/values.unit", value="Å"):
        Dataset.open(path)
    with h5py.File(path, "r+") as file:
        del file["labels/energy/values"].attrs["unit"]
    hdf5.seal(path)
    with pytest.raises(InvalidFileError) as caught:
        Dataset.open(path)
    assert (caught.value.file, caught.value.key) == (path, "labels/energy/values.unit")


def test_other_files_are_refused(tmp_path, mixed):
    with pytest.raises(FileNotFoundError):
        Dataset.open(tmp_path / "none.h5")
    text = tmp_path / "text.h5"
    text.write_text("3\n\nH 0 0 0\n")
    with pytest.raises(InvalidFileError, match="not a readable HDF5"):
        Dataset.open(text)
    foreign = tmp_path / "foreign.h5"
    h5py.File(foreign, "w").close()
    with pytest.raises(InvalidFileError, match="not a dataset of eqcalc"):
        Dataset.open(foreign)
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x")
    truncated = tmp_path / "truncated.h5"
    truncated.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(InvalidFileError):
        Dataset.open(truncated)
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = 99
    hdf5.seal(path)
    with pytest.raises(InvalidFileError, match="newer"):
        Dataset.open(path)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda f: f["source"].write_direct(np.full(len(f["source"]), 7, "i4")), "source"),
        (lambda f: f["atom_counts"].write_direct(-f["atom_counts"][:]), "atom_counts"),
        (lambda f: f["charge"].write_direct(np.full(len(f["charge"]), np.nan)), "charge"),
        (lambda f: f["splits/a"].create_dataset("b", data=[0, 99]), "splits/a/b"),
    ],
)
def test_numbers_out_of_range_are_named(tmp_path, mixed, change, key):
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x")
    store_split(path, "a", {"training": [0]})
    with h5py.File(path, "r+") as file:
        change(file)
    with refused(InvalidFileError, file=path, key="seal"):
        Dataset.open(path)
    hdf5.seal(path)
    with refused(InvalidFileError, file=path, key=key):
        Dataset.open(path)


def test_an_empty_dataset_is_one(tmp_path):
    dataset = Dataset.create(tmp_path / "a.h5", [], level_of_theory="x")
    assert len(dataset) == 0 and list(dataset) == [] and dataset.quantities == ()


def test_provenance_is_plain_json(tmp_path, mixed):
    path = tmp_path / "a.h5"
    Dataset.create(path, mixed, level_of_theory="x", provenance={"x": list(range(50_000))})
    with h5py.File(path) as file:
        assert json.loads(file["provenance"][()])["x"][-1] == 49_999


def test_record_refuses_wrong_shapes():
    numbers, positions = np.array([1, 1]), np.zeros((2, 3))
    with pytest.raises(InvalidInputError) as caught:
        Record(numbers, positions, {"forces": np.zeros((3, 3))})
    assert (caught.value.key, caught.value.value) == ("forces", [3, 3])
    with pytest.raises(InvalidInputError) as caught:
        Record(numbers, np.zeros((3, 3)))
    assert caught.value.key == "positions"
    with pytest.raises(InvalidInputError) as caught:
        Record(numbers, positions, {"charges": np.zeros(2)})
    assert caught.value.value == "charges"
