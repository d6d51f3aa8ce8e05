# SPDX-License-Identifier: MIT
"""Checks of input: what they return, and what their errors know."""

import pickle
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from eqcalc import validation
from eqcalc.validation import (
    ABSENT,
    InvalidFileError,
    InvalidInputError,
    MissingFileError,
    UnknownElementError,
    located,
)


def refused(check, *arguments, **options):
    with pytest.raises(InvalidInputError) as found:
        check(*arguments, **options)
    return found.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("-.5", -0.5),
        ("+2.", 2.0),
        ("−3.5", -3.5),
        ("1e-3", 1e-3),
        ("1.5D+02", 150.0),
        ("2*^-4", 2e-4),
        ("0.1234-104", 1.234e-105),
        ("-1.234567-300", -1.234567e-300),
    ],
)
def test_numbers_of_programs_are_read(text, value):
    assert validation.number_in(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "-", ".", "e5", "1e", "1_10", "１", "٣", "nan", "inf", "-inf", "Infinity", "1e999"),
        *("1,5", "0x10", "********", "0.1-0.2", "-0.123456-0.234567", "12.5-200", "1 2", "True"),
        *("1e9999999", "9" * 400, "-1e300", "1e100", "1" * 20000 + "x"),
    ],
)
def test_what_only_python_takes_for_a_number_is_none(text):
    assert validation.number_in(text) is None


# --- errors ---------------------------------------------------------------------------


def test_the_message_is_built_from_what_is_stated():
    error = InvalidInputError(key="cutoff", value=-1.0, expected="a positive number [Å]")
    assert str(error) == "cutoff: expected a positive number [Å], got -1.0"
    error.within_section("model").within_file("run.yaml")
    assert str(error) == "run.yaml: model.cutoff: expected a positive number [Å], got -1.0"
    error.suggestion, error.advice = "5.0", "see the README"
    assert str(error).endswith("got -1.0; did you mean '5.0'?; see the README")
    assert isinstance(error, ValueError)


def test_none_is_a_value_and_nothing_is_not():
    assert str(InvalidInputError(key="a", value=None, expected="text")).endswith("got None")
    assert str(InvalidInputError(key="a", expected="text")) == "a: expected text"
    assert str(InvalidInputError("is no socket", key="a", value="b/c")).endswith("got 'b/c'")
    assert str(InvalidInputError("b/c is no socket", key="a", value="b/c")) == "a: b/c is no socket"
    assert InvalidInputError("damaged").value is ABSENT


def test_the_innermost_file_and_the_outermost_section_count():
    with (
        pytest.raises(InvalidInputError) as found,
        located(file="outer.yaml", section="training"),
        located(file="inner.yaml", section="optimizer"),
    ):
        validation.positive("learning_rate", 0.0)
    assert found.value.file == Path("inner.yaml")
    assert found.value.key == "training.optimizer.learning_rate"


@pytest.mark.parametrize("kind", [InvalidInputError, InvalidFileError, MissingFileError])
def test_errors_come_back_from_other_processes_whole(kind):
    error = kind("damaged", key="a", value=np.float64(2.0), expected="b", file="c")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert vars(again) == vars(error)
    assert pickle.loads(pickle.dumps(kind("damaged"))).value is ABSENT


# --- numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, 0.5, np.float32(0.5), np.int64(3), Fraction(1, 2)])
def test_numbers_of_every_kind_are_numbers(value):
    found = validation.positive("a", value)
    assert type(found) is float
    assert found == float(value)


@pytest.mark.parametrize("value", [True, "1", None, np.nan, np.inf, -np.inf, 1j, [1.0]])
def test_what_is_no_finite_number_is_refused(value):
    for check in (validation.number, validation.positive, validation.non_negative):
        error = refused(check, "temperature", value, unit="K")
        assert error.key == "temperature"
        assert error.value is value
        assert error.expected.endswith("[K]")
    refused(validation.within, "a", value, 0.0, 2.0)


def test_limits_of_numbers():
    assert validation.non_negative("a", 0) == 0.0
    refused(validation.positive, "a", 0.0)
    refused(validation.non_negative, "a", -1e-300)
    assert validation.within("a", 1, 0.0, 1.0) == 1.0
    refused(validation.within, "a", 1.0 + 1e-15, 0.0, 1.0)
    assert validation.bounds("range", (0, np.float64(4000))) == (0.0, 4000.0)
    for wrong in ((1.0, 1.0), (2.0, 1.0), (0.0, np.inf), (np.nan, 1.0), (1.0,), (1.0, 2.0, 3.0)):
        refused(validation.bounds, "range", wrong)


def test_counts():
    found = validation.count("seed", np.int64(0), least=0)
    assert type(found) is int
    for wrong in (0, -1, True, 3.0, "3", None):
        assert refused(validation.count, "beads", wrong).key == "beads"


def test_fields_are_as_they_are_annotated():
    @dataclass
    class Config:
        width: float
        layers: int

    validation.positive_fields(Config(1, 2), "width", "layers")
    assert refused(validation.positive_fields, Config(1.0, 2.0), "width", "layers").key == "layers"
    assert refused(validation.positive_fields, Config(-1.0, 2), "width", "layers").value == -1.0


# --- arrays ---------------------------------------------------------------------------


def test_the_first_number_that_is_not_finite_is_named():
    values = np.zeros((3, 2))
    assert validation.finite("positions", values) is values
    values[1, 1] = values[2, 0] = np.nan
    assert refused(validation.finite, "positions", values).key == "positions[1, 1]"
    assert refused(validation.finite, "charge", np.inf).key == "charge"


def test_shapes():
    assert validation.shape("x", np.zeros((5, 3)), ("n_atoms", 3)).shape == (5, 3)
    error = refused(validation.shape, "x", np.zeros((5, 4)), ("n_atoms", 3))
    assert error.value == [5, 4]
    assert error.expected == "the shape [n_atoms, 3]"
    validation.shape("H", np.zeros((6, 6)), ("n", "n"))
    refused(validation.shape, "H", np.zeros((6, 5)), ("n", "n"))
    refused(validation.shape, "H", np.zeros(6), ("n", "n"))


def test_indices_are_whole_in_range_and_different():
    assert validation.indices("atoms", [2, 0], 3).tolist() == [2, 0]
    assert validation.indices("chains", [[0, 1], [1, 0]], 2).shape == (2, 2)
    for wrong in ([], [3], [-1], [0.0], [1, 1], [[0, 1], [1, 1]], 0, "O", None):
        assert refused(validation.indices, "atoms", wrong, 3).key == "atoms"


# --- names ----------------------------------------------------------------------------


def test_one_of_returns_the_choice_and_suggests_the_nearest():
    assert validation.one_of("frame", "eckart", ("lab", "eckart")) == "eckart"
    assert validation.one_of("errors", None, (None, "blocks")) is None
    assert validation.one_of("unit", "EV", ("eV", "Hartree"), fold=str.lower) == "eV"
    error = refused(validation.one_of, "frame", "Eckhart", ("lab", "eckart"))
    assert (error.key, error.value, error.suggestion) == ("frame", "Eckhart", "eckart")
    assert error.expected == "one of lab, eckart"
    assert refused(validation.one_of, "frame", "x", ("lab", "eckart")).suggestion is None
    assert refused(validation.one_of, "frame", ["lab"], ("lab", "eckart")).value == ["lab"]


def test_unknown_keys_are_named_with_their_section():
    settings = {"cutoff": 5.0, "lr": 1.0}
    assert validation.known_keys(settings, ["cutoff", "lr"]) is settings
    error = refused(validation.known_keys, {"cutof": 5.0}, ["cutoff"], section="model")
    assert (error.key, error.suggestion) == ("model.cutof", "cutoff")
    error = refused(validation.known_keys, {"zzz": 5.0}, ["cutoff"])
    assert (error.key, error.suggestion) == ("zzz", None)
    assert "cutoff" in str(error)


def test_unknown_elements_are_told_by_symbol_and_number():
    validation.known_elements(np.array([1, 8, 1]), (1, 6, 8))
    error = refused(validation.known_elements, [1, 17, 9], (8, 1), file="a.xyz")
    assert isinstance(error, UnknownElementError)
    assert (error.unknown, error.known) == ((9, 17), (1, 8))
    assert (error.value, error.file) == ("F Cl", Path("a.xyz"))
    assert pickle.loads(pickle.dumps(error)).unknown == (9, 17)


# --- files ----------------------------------------------------------------------------


def test_files_and_directories_are_there(tmp_path):
    file = tmp_path / "a.h5"
    file.write_text("")
    assert validation.existing_file(str(file)) == file
    assert validation.existing_directory(str(tmp_path)) == tmp_path
    for check in (validation.existing_file, validation.existing_directory):
        error = refused(check, tmp_path / "gone")
        assert isinstance(error, FileNotFoundError)
        assert error.file == tmp_path / "gone"
    error = refused(validation.existing_file, tmp_path, "a model file (.eqc)")
    assert type(error) is InvalidFileError
    assert error.expected == "a model file (.eqc)"
    assert error.file == tmp_path
    assert refused(validation.existing_directory, file).file == file


def test_suffixes():
    assert validation.file_suffix("a/B.PNG", (".png", ".pdf")) == ".png"
    error = refused(validation.file_suffix, "a.pgn", (".png", ".pdf"), key="--figure")
    assert (error.key, error.value, error.suggestion) == ("--figure", "a.pgn", ".png")


def test_nothing_heavy_is_imported():
    code = (
        "import sys, eqcalc.validation, eqcalc.methods, eqcalc.files\n"
        "print([m for m in ('torch', 'numpy', 'ase', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
