# SPDX-License-Identifier: MIT
"""Model files: faithful, and refused for the right reason when they are not."""

import json
import os
import pickle
import struct

import pytest
import safetensors.torch
import torch

from eqcalc.models import checkpoint
from eqcalc.models.checkpoint import (
    load_model,
    model_hash,
    read_checked,
    read_header,
    save_model,
)
from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from eqcalc.validation import InvalidFileError, MissingFileError
from tests.conftest import make_potential
from tests.errors import refused

NAMES = ("energy", "forces", "dipole", "polarizability")


@pytest.fixture
def saved(tmp_path, potential):
    potential.metadata = {"level_of_theory": "none", "training": {"epochs": 3}}
    path = tmp_path / "model.eqc"
    save_model(potential, path)
    return path


def rewrite_header(path, change):
    """Edit the JSON in the header of a model file by hand, leaving the tensors alone."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    outer = json.loads(data[8 : 8 + length])
    header = json.loads(outer["__metadata__"]["eqcalc"])
    change(header)
    outer["__metadata__"]["eqcalc"] = json.dumps(header)
    text = json.dumps(outer).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_round_trip_is_exact(saved, potential, ethanol):
    loaded = load_model(saved)
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    expected = potential.evaluate(structure, pairs, NAMES)
    for name, value in loaded.evaluate(structure, pairs, NAMES).items():
        assert torch.equal(value, expected[name])
    assert loaded.references == potential.references
    assert loaded.metadata["training"] == {"epochs": 3}
    assert loaded.metadata["hash"] == model_hash(potential)


def test_saving_a_loaded_model_keeps_the_hash(saved, tmp_path):
    save_model(load_model(saved), tmp_path / "again.eqc")
    assert read_header(tmp_path / "again.eqc")["hash"] == read_header(saved)["hash"]


def test_names_of_files_that_are_no_text_are_kept(potential, tmp_path):
    potential.metadata["training"] = {"dataset": {"file": "b\udcff.h5"}}
    save_model(potential, tmp_path / "m.eqc")
    assert load_model(tmp_path / "m.eqc").metadata["training"] == potential.metadata["training"]


def test_loading_draws_no_random_numbers(saved):
    before = torch.get_rng_state()
    load_model(saved)
    assert torch.equal(torch.get_rng_state(), before)


def test_precision_is_an_argument(saved):
    assert load_model(saved).dtype == torch.float64
    assert load_model(saved, dtype=torch.float32).dtype == torch.float32


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.99])
def test_truncated_file_is_refused(saved, fraction):
    data = saved.read_bytes()
    saved.write_bytes(data[: int(fraction * len(data))])
    with refused(InvalidFileError, file=saved, expected="a model file (.eqc)"):
        load_model(saved)


def test_changed_parameter_is_noticed(saved):
    data = bytearray(saved.read_bytes())
    data[-5] ^= 1
    saved.write_bytes(data)
    with refused(InvalidFileError, file=saved, key="hash"):
        load_model(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda h: h["references"]["energy"].update({"1": -13.7}),
        lambda h: h["metadata"].update(level_of_theory="CCSD(T)"),
        lambda h: h["model"]["representation"].update(cutoff=6.0),
    ],
)
def test_changed_header_is_noticed(saved, change):
    rewrite_header(saved, change)
    with refused(InvalidFileError, file=saved, key="hash"):
        load_model(saved)


def test_newer_version_is_refused(saved):
    rewrite_header(saved, lambda h: h.update(version=99))
    with refused(InvalidFileError, file=saved, key="version", value=99):
        load_model(saved)


def test_missing_header_key_is_named(saved):
    rewrite_header(saved, lambda h: h.pop("units"))
    with refused(InvalidFileError, file=saved, key="units"):
        load_model(saved)


def test_foreign_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
    with refused(InvalidFileError, file=path, expected="eqcalc-model"):
        load_model(path)


def test_pickle_is_refused_and_not_executed(tmp_path):
    marker = tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return (marker.touch, ())

    for name, data in (
        ("plain.eqc", pickle.dumps(Bomb())),
        ("torch.eqc", None),
    ):
        path = tmp_path / name
        if data is None:
            torch.save({"bomb": Bomb()}, path)
        else:
            path.write_bytes(data)
        with refused(InvalidFileError, file=path):
            load_model(path)
    assert not marker.exists()


def test_missing_file_is_named(tmp_path):
    with refused(MissingFileError, file=tmp_path / "nowhere.eqc"):
        load_model(tmp_path / "nowhere.eqc")


def test_failed_write_keeps_the_old_file(saved, potential):
    before = saved.read_bytes()
    potential.metadata = {"not json": object()}
    with refused(InvalidFileError, key="metadata", expected="JSON"):
        save_model(potential, saved)
    assert saved.read_bytes() == before
    assert [p.name for p in saved.parent.iterdir()] == ["model.eqc"]


def test_unwritable_directory_is_a_clear_error(tmp_path, potential):
    path = tmp_path / "missing" / "model.eqc"
    with refused(InvalidFileError, file=path) as caught:
        save_model(potential, path)
    assert isinstance(caught.value.__cause__, FileNotFoundError)


def test_precision_does_not_change_which_model_it_is(saved):
    stored = read_header(saved)["hash"]
    precise = load_model(saved, dtype=torch.float64)
    assert model_hash(precise) == model_hash(load_model(saved, dtype=torch.float32)) == stored
    with torch.no_grad():
        next(iter(precise.parameters())).mul_(1.0 + 1e-12)
    assert model_hash(precise) != stored


def test_hash_depends_on_parameters_and_references():
    one, two = make_potential(), make_potential()
    assert model_hash(one) == model_hash(two)
    with torch.no_grad():
        next(two.parameters()).add_(1e-12)
    assert model_hash(one) != model_hash(two)


def test_parameters_that_are_no_numbers_are_refused(tmp_path, potential):
    name, parameter = next(iter(potential.named_parameters()))
    with torch.no_grad():
        parameter.view(-1)[3] = float("nan")
    save_model(potential, tmp_path / "m.eqc")
    for read in (load_model, read_checked):
        with refused(InvalidFileError, file=tmp_path / "m.eqc", key=name):
            read(tmp_path / "m.eqc")


@pytest.mark.parametrize(
    ("key", "value"), [("features", 10**9), ("layers", 10**12), ("embeddings", 10**10)]
)
def test_a_header_cannot_ask_for_more_than_the_file_holds(saved, key, value):
    """Although its hash is right; refused before anything is allocated."""
    path, _ = saved if isinstance(saved, tuple) else (saved, None)

    def change(header):
        header["model"]["representation"][key] = value
        tensors = safetensors.torch.load_file(path)
        header["hash"] = checkpoint._content_hash(header, tensors)

    rewrite_header(path, change)
    with refused(InvalidFileError, file=path, key=f"model.representation.{key}", value=value):
        load_model(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "m.eqc")
    with refused(InvalidFileError, file=tmp_path / "m.eqc"):
        load_model(tmp_path / "m.eqc")
