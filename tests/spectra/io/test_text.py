# SPDX-License-Identifier: MIT
"""Tables of text, in the forms that instruments and spreadsheets write."""

import gzip

import numpy as np
import pytest

from eqcalc import files
from eqcalc.files import read_text, text_lines
from eqcalc.spectra.io.text import averaged, parse_table, split_table
from eqcalc.validation import InvalidFileError, MissingFileError
from tests.errors import refused

WAVENUMBERS = [600.25, 602.5, 1404.0]
VALUES = [0.0, -0.125, 1.5e-3]


@pytest.mark.parametrize(
    "text",
    [
        "600.25 0.0\n602.5  -0.125\n1404 1.5e-3\n",
        "600.25\t0.0\r\n602.5\t-0.125\r\n1404.0\t1.5D-03\r\n",
        "600.25,0.0000\n602.50,-0.125\n1404,1.5e-3\n",
        "600.25, 0.0000\n602.50,-0.125\n1404 , 0.0015\n",
        "600.25;0.0;\n602.50;-0.125;\n1404;1.5E-3;\n",
        "600,25\t0,0000\n602,50\t-0,125\n1404\t1,5e-3\n",
        "600,25;0,0\n602,5;-0,125\n1404,0;0,0015\n",
        "600,25 0,0\n 602,5 -0,125\n1404,0  0,0015  \n",
        '"600,25","0,0"\n"602,5","-0,125"\n"1404","0,0015"\n',
        "600.25\t0.0\t\r602.5\t−0.125\t\r1404\t1.5e-3\t\r",
        "600.25,0.0,7.5\n602.50,-0.125,7\n1404,1.5e-3,7\n",
        # thousands are marked
        "600.25\t0.0\n602.5\t-0.125\n1,404.0\t0.0015\n",
        "600.25;0.0\n602.5;-0.125\n1,404;0.0015\n",
        '600.25,0.0\n602.5,-0.125\n"1,404.0",0.0015\n',
        '"600.25","0.0"\n"602.5","-0.125"\n"1,404","0.0015"\n',
        "600,25\t0,0\n602,5\t-0,125\n1.404,0\t0,0015\n",
        "600,25;0,0\n602,5;-0,125\n1\u202f404,0;0,0015\n",
        "600.25 0.0\n602.5 -0.125\n1'404.0 0.0015\n",
        "600.25\t0.0\n602.5\t-0.125\n1’404\t0.0015\n",
    ],
)
def test_marks_and_separators(text):
    table = parse_table(text)
    assert table.first.tolist() == WAVENUMBERS
    assert table.second.tolist() == VALUES
    assert table.header == ()


def test_integers_between_commas_are_two_columns():
    table = parse_table("600,25\n601,3\n")
    assert table.first.tolist() == [600.0, 601.0]
    assert table.second.tolist() == [25.0, 3.0]


@pytest.mark.parametrize(
    ("text", "line", "got"),
    [
        ("600,25,0,0\n601,25,0,5\n", 1, "600,25,0,0"),  # 600.25 and 0, or four columns
        ("x,y\n600,25,1\n601,25,2\n", 2, "600,25,1"),
        ("600,25\t0,5\n601,25\t0.5\n", 2, "601,25\t0.5"),
        ("1,600\t0.5\n1,601\t0.6\n", 1, "1,600\t0.5"),  # 1600 or 1.6
        ("600,250\t0.500\n601,250\t0.625\n", 1, "600,250\t0.500"),
        ("1,600.25 0.5\n1,601.25 0,6\n", 1, "1,600.25 0.5"),
        ("600,25\t0,5\n601,25\t0,5\n602,5\n", 3, "602,5"),
    ],
)
def test_what_may_mean_two_things_is_refused(text, line, got):
    with refused(InvalidFileError, key=f"line {line}", value=got):
        parse_table(text)


@pytest.mark.parametrize(
    ("text", "key", "expected"),
    [
        ("600 1\n601 x\n", "line 2", "a wavenumber and a value"),
        ("600 1\n601\n", "line 2", "a wavenumber and a value"),
        ("600;1\n601;;2\n", "line 2", "a wavenumber and a value"),
        ("600 1\n\n# c\nend\n", "line 4", "a wavenumber and a value"),
        ("600 points\n600 1\n601 1\n", "line 1", "a wavenumber and a value"),
        ("600 1\nnan 1\n", "line 2", "a wavenumber and a value"),
        ("600 1\n1_10 1\n", "line 2", "a wavenumber and a value"),
        ("600 1\n601 1e999\n", "line 2", "a wavenumber and a value"),
        ("600 1\n601 １\n", "line 2", "a wavenumber and a value"),
        ("600 1\n", "", "two or more lines that start with a number"),
        ("hello\nworld\n", "", "two or more lines that start with a number"),
    ],
)
def test_bad_lines_are_named(text, key, expected):
    with refused(InvalidFileError, key=key, expected=expected):
        parse_table(text)


def test_header_comments_and_columns():
    text = (
        "2-propanol, gas\n#from a friend\nWavenumber (cm-1),Absorbance,Error\n600.5,1,2 # first\n"
    )
    table = parse_table(text + "601.5,nan,2\n")
    assert table.header == (
        "2-propanol, gas",
        "from a friend",
        "Wavenumber (cm-1),Absorbance,Error",
    )
    assert table.n_columns == 3
    assert np.isnan(table.second[1])


def test_a_table_of_any_width():
    found = split_table(
        enumerate(["@ xaxis", "0,0 1,5 -2", "# again", "% c", "0,5 1D-1 3 ! x", "1 2 3 4"]),
        "#@!%",
    )
    assert found.header == ("@ xaxis",)
    assert [row.number for row in found.rows] == [1, 4, 5]
    assert found.n_columns == 5
    assert found.numbers((0, 1, 2), "numbers").tolist() == [[0, 1.5, -2], [0.5, 0.1, 3], [1, 2, 3]]
    with refused(InvalidFileError, key="line 1", expected="four numbers"):
        found.numbers((3,), "four numbers")


def test_encodings(tmp_path):
    path = tmp_path / "t.txt"
    text = "µ 600,5 and some more text in the header of a table\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "latin-1"):
        path.write_text(text, encoding=encoding)
        assert read_text(path) == text
        path.write_bytes(gzip.compress(path.read_bytes()))
        assert read_text(path) == text
    for end in ("\r", "\r\n"):
        path.write_bytes(f"a{end}b".encode())
        assert list(text_lines(path)) == [(1, "a"), (2, "b")]


def test_what_is_packed_or_long_without_end_is_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_SMALL", 1000)
    path = tmp_path / "zeros.txt"
    path.write_bytes(gzip.compress(b"0\n" * 100_000))
    with refused(InvalidFileError, file=path, expected="a text file"):
        read_text(path)
    path.write_bytes(gzip.compress(b"1 2\n" * 10)[:-5])
    with refused(InvalidFileError, file=path, expected="a text file"):
        read_text(path)
    monkeypatch.setattr(files, "_LONGEST", 1000)
    path.write_bytes(b"1" * 2000)
    with refused(InvalidFileError, file=path, key="line 1", expected="a line of text"):
        read_text(path)


def test_text_that_is_damaged_is_named(tmp_path):
    path = tmp_path / "t.txt"
    path.write_bytes(bytes(range(256)))
    with refused(InvalidFileError, file=path, expected="a text file"):
        read_text(path)
    path.write_text(" \n")
    with refused(InvalidFileError, file=path, problem="is empty"):
        read_text(path)
    with refused(InvalidFileError, file=tmp_path):
        read_text(tmp_path)
    with refused(MissingFileError, file=tmp_path / "no.txt"):
        read_text(tmp_path / "no.txt")


def test_points_at_one_wavenumber_are_averaged():
    x, y = averaged(np.array([3.0, 1.0, 2.0, 1.0]), np.array([7.0, 1.0, 5.0, 2.0]))
    assert x.tolist() == [1.0, 2.0, 3.0]
    assert y.tolist() == [1.5, 5.0, 7.0]
