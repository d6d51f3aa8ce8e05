# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Spectrum, read_spectrum, write_spectrum
from eqcalc.spectra.io.jcamp import decode_ordinates
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

# the ordinates of McDonald and Wilks' example in each of the forms
ORDINATES = [99, 100, 98, 93, 93, 93, 120, 0, -13, 7]
FORMS = {
    "AFFN": "10 99 100 98 93 93 93 120 0 -13 7",
    "AFFN, commas and exponents": "10, 9.9E1, 1.00e2, 98, 93, 93, 93, 120, 0, -13, 7",
    "PAC": "10+99+100+98+93+93+93+120+0-13+7",
    "SQZ": "10I9A00I8I3I3I3A20@a3G",
    "SQZ and DUP": "10I9A00I8I3UA20@a3G",
}


@pytest.mark.parametrize("name", list(FORMS))
def test_forms_without_differences(name):
    first, y = decode_ordinates([FORMS[name]])
    assert first.tolist() == [10.0]
    assert y.tolist() == ORDINATES


def test_differences():
    # 99, +1, −2, −5, 0, 0, +27, −120, −13, +20
    _, y = decode_ordinates(["10I9Jkn%%K7j20j3K0"])
    assert y.tolist() == ORDINATES
    _, y = decode_ordinates(["10I9Jkn%TK7j20j3K0"])
    assert y.tolist() == ORDINATES
    # a run of equal differences, and the check of the first ordinate of a line
    _, y = decode_ordinates(["1A0KU", "4A6KT", "6B0"])
    assert y.tolist() == [10, 12, 14, 16, 18, 20]
    with refused(InvalidFileError, key="line 2 of the table"):
        decode_ordinates(["1A0KU", "4A5KT"])
    with refused(InvalidFileError, key="line 1 of the table"):
        decode_ordinates(["1 2 3 & 4"])


HEAD = """##TITLE= ETHANOL
##JCAMP-DX= 4.24 $$ made by hand
##DATA TYPE= INFRARED SPECTRUM
##CAS REGISTRY NO= 64-17-5
##XUNITS= {xunits}
##YUNITS= ABSORBANCE
##XFACTOR= 1.0
##YFACTOR= 0.01
##FIRSTX= {first}
##LASTX= {last}
##NPOINTS= {n}
##XYDATA= (X++(Y..Y))
{table}
##END=
"""


def write(tmp_path, **parts):
    path = tmp_path / "s.jdx"
    path.write_text(HEAD.format(**parts))
    return path


def test_instrument_file(tmp_path):
    path = write(
        tmp_path, xunits="1/CM", first=1009, last=1000, n=10, table="1009I9Jkn%T\n1004I3K7j20j3K0"
    )
    s = read_spectrum(path)
    assert s.wavenumber.tolist() == list(range(1000, 1010))
    assert np.allclose(s.values, np.array(ORDINATES[::-1]) / 100)
    assert s.unit == "ABSORBANCE"
    assert s.label == "ETHANOL"
    assert s.provenance["CASREGISTRYNO"] == "64-17-5"


def test_wavelengths_become_wavenumbers(tmp_path):
    path = write(tmp_path, xunits="MICROMETERS", first=2, last=5, n=4, table="2 10 20 30 40")
    s = read_spectrum(path)
    assert np.allclose(s.wavenumber, [2000.0, 2500.0, 1e4 / 3.0, 5000.0])
    assert np.allclose(s.values, [0.4, 0.3, 0.2, 0.1])


def test_pairs_of_numbers(tmp_path):
    path = tmp_path / "s.jdx"
    for label in ("XYDATA", "XYPOINTS", "PEAK TABLE"):
        path.write_text(
            "##TITLE=x\n##JCAMP-DX=4.24\n##XUNITS=1/CM\n##NPOINTS=3\n"
            f"##{label}=(XY..XY)\n 300.5, 1.5\n 100.25, 2.5; 200.0, -1e-2\n##END=\n"
        )
        s = read_spectrum(path)
        assert s.wavenumber.tolist() == [100.25, 200.0, 300.5]
        assert s.values.tolist() == [2.5, -0.01, 1.5]


def test_damaged_files_are_refused(tmp_path):
    parts = {"xunits": "1/CM", "first": 1, "last": 4, "n": 4, "table": "1 10 20 30 40"}
    assert len(read_spectrum(write(tmp_path, **parts))) == 4
    with refused(InvalidFileError, key="##NPOINTS", value=5, file=tmp_path / "s.jdx"):
        read_spectrum(write(tmp_path, **{**parts, "n": 5}))
    with refused(InvalidFileError, key="##FIRSTX", value=7.0):
        read_spectrum(write(tmp_path, **{**parts, "first": 7, "last": 10}))
    with refused(InvalidFileError, key="##XUNITS", value="SECONDS"):
        read_spectrum(write(tmp_path, **{**parts, "xunits": "SECONDS"}))
    path = tmp_path / "t.jdx"
    mass = "##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE=MASS SPECTRUM\n##XYPOINTS=(XY..XY)\n1 2 3 4\n"
    path.write_text(mass + "##END=\n")
    with refused(InvalidFileError, key="##XUNITS", file=path):
        read_spectrum(path)
    path.write_text("no labels here")
    with refused(InvalidFileError, file=path):
        read_spectrum(path)


def test_undefined_values_are_not_written(tmp_path):
    s = Spectrum(np.arange(4.0), np.array([1.0, np.nan, 2.0, 3.0]), "1", "depolarization ratio")
    with refused(InvalidFileError, file=tmp_path / "s.jdx"):
        write_spectrum(s, tmp_path / "s.jdx")
    assert not list(tmp_path.iterdir())
    back = read_spectrum(write_spectrum(s, tmp_path / "s.csv"))
    assert np.array_equal(back.values, s.values, equal_nan=True)


def test_files_of_long_records_keep_short_lines(tmp_path):
    record = {"note": "a # b $$ c = d  e: f, 1: the", "list": list(range(200))}
    s = Spectrum(np.arange(4.0), np.ones(4), "km/mol per cm⁻¹", "IR intensity", provenance=record)
    path = write_spectrum(s, tmp_path / "s.jdx")
    assert max(map(len, path.read_text().splitlines())) <= 80
    assert path.read_text().isascii()
    assert read_spectrum(path).provenance == record


SHORT_HEAD = "##TITLE=x\n##JCAMP-DX=4.24\n##XUNITS=1/CM\n##YUNITS=ABSORBANCE\n"


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ("##FIRSTX=1\n##LASTX=2\n##XYDATA=(X++(Y..Y))\n", "##XYDATA"),
        ("##FIRSTX=1\n##LASTX=2\n##XYDATA=(X++(Y..Y))\n1 5 !\n", "line 1 of the table"),
        ("##NPOINTS=nan\n##XYPOINTS=(XY..XY)\n1 5\n2 6\n", "##NPOINTS"),
        ("##$STANDARD ERROR= 1 x\n##XYPOINTS=(XY..XY)\n1 5\n2 6\n", "##$STANDARD ERROR"),
        ("##$EQCALC= {\n##XYPOINTS=(XY..XY)\n1 5\n2 6\n", "##$EQCALC"),
        ("##XYPOINTS=(XY..XY)\n1 5\n", "wavenumber"),
    ],
)
def test_damage_is_told_with_the_name_of_the_file(tmp_path, body, key):
    path = tmp_path / "bad.jdx"
    path.write_text(f"{SHORT_HEAD}{body}##END=\n")
    with refused(InvalidInputError, file=path, key=key):
        read_spectrum(path)


def test_values_at_one_wavenumber_are_averaged(tmp_path):
    path = tmp_path / "twice.jdx"
    path.write_text(f"{SHORT_HEAD}##XYPOINTS=(XY..XY)\n602 7\n601 1\n601 2\n##END=\n")
    found = read_spectrum(path)
    assert found.wavenumber.tolist() == [601.0, 602.0]
    assert found.values.tolist() == [1.5, 7.0]
