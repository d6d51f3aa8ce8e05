# SPDX-License-Identifier: MIT
import re
import time

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
    found = decode_ordinates([FORMS[name]])
    assert found.starts.tolist() == [10.0]
    assert found.values.tolist() == ORDINATES


def test_differences():
    # 99, +1, −2, −5, 0, 0, +27, −120, −13, +20
    assert decode_ordinates(["10I9Jkn%%K7j20j3K0"]).values.tolist() == ORDINATES
    assert decode_ordinates(["10I9Jkn%TK7j20j3K0"]).values.tolist() == ORDINATES
    # a run of equal differences, and the check of the first ordinate of a line
    assert decode_ordinates(["1A0KU", "4A6KT", "6B0"]).values.tolist() == [10, 12, 14, 16, 18, 20]
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


def test_a_first_ordinate_that_contradicts_the_factor_is_told(tmp_path):
    parts = {"xunits": "1/CM", "first": 1009, "last": 1000, "n": 10}
    path = write(tmp_path, **parts, table="1009I9Jkn%T\n1004I3K7j20j3K0")
    text = path.read_text()
    first = ORDINATES[0]  # as integers of the table too
    for stated, told in ((first / 100, 0), (first, 0), (first / 1e4, 1), (3.0 * first, 1)):
        path.write_text(text.replace("##XYDATA", f"##FIRSTY= {stated}\n##XYDATA"))
        assert len(read_spectrum(path).warnings) == told


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


#: Labels and table of the same three pairs, told or refused where they contradict each other.
PAIRS = {
    "factors": ("XFACTOR=.1 YFACTOR=1e-4 FIRSTX=1000 LASTX=1040", "10000,500 10200,900 10400,-100"),
    "of a spectrometer": ("YFACTOR=1e-4 FIRSTY=500 MAXY=0.09", "1000,500; 1020,900; 1040,-100"),
    "negative factor": ("YFACTOR=-1E-4 MINY=-0.01", "1000 -500 1020 -900 1040 100"),
    "falling": ("YFACTOR=0.0001 FIRSTX=1040 LASTX=1000", "1040 -100 1020 900 1000 500"),
    "decimal commas": ("YFACTOR=1 NPOINTS=3", "1000,0 0,05; 1020,0 0,09; 1040,0 -0,01"),
    "ordinates have it already": ("YFACTOR=1e-4 FIRSTY=0.05", "1000,0.05 1020,0.09 1040,-0.01"),
    "larger than stated": ("YFACTOR=1 MAXY=0.09", "1000,500 1020,900 1040,-100"),
    "XFACTOR": ("XFACTOR=0.1 FIRSTX=1000 LASTX=1040", "1000,0.05 1020,0.09 1040,-0.01"),
    "LASTX": ("FIRSTX=1000 LASTX=2040", "1000,0.05 1020,0.09 1040,-0.01"),
    "YFACTOR": ("YFACTOR=0", "1000,500 1020,900 1040,-100"),
}  # fmt: skip


@pytest.mark.parametrize("case", PAIRS)
def test_pairs_are_multiplied_by_the_factors(tmp_path, case):
    """Ordinates and abscissae of XYPOINTS too; what the other labels state is compared."""
    labels, table = PAIRS[case]
    head = "".join(f"##{label}\n" for label in labels.split())
    path = tmp_path / "s.jdx"
    path.write_text(
        f"##TITLE=x\n##JCAMP-DX=4.24\n##XUNITS=1/CM\n{head}##XYPOINTS=(XY..XY)\n{table}\n##END=\n"
    )
    if case in ("XFACTOR", "LASTX", "YFACTOR"):
        key = "##FIRSTX" if case == "XFACTOR" else f"##{case}"
        with refused(InvalidFileError, key=key, file=path):
            read_spectrum(path)
        return
    s = read_spectrum(path)
    assert s.wavenumber == pytest.approx([1000.0, 1020.0, 1040.0])
    if told := case in ("ordinates have it already", "larger than stated"):
        assert s.values[1] != pytest.approx(0.09)
    else:
        assert s.values == pytest.approx([0.05, 0.09, -0.01])
    assert len(s.warnings) == told


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
    # other programs read this label: workflows/robustness/jcamp_readers.py
    assert "\n##XYDATA= (XY..XY)\n0.0, 1.0\n" in path.read_text()
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


def table(tmp_path, body, units="1/CM", kind="INFRARED SPECTRUM", name="t.jdx"):
    path = tmp_path / name
    head = f"##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE={kind}\n##XUNITS={units}\n##YUNITS=A\n"
    path.write_text(f"{head}{body}##END=\n", encoding="utf-8")
    return path


#: A hundred points from 400 to 499, ten in a line.
LINES = [f"{x} " + " ".join(str(x + i) for i in range(10)) for x in range(400, 500, 10)]


def even(lines, form="(X++(Y..Y))", **labels):
    labels = {"NPOINTS": 100, "FIRSTX": 400, "LASTX": 499, **labels}
    head = "".join(f"##{key}= {value}\n" for key, value in labels.items() if value is not None)
    return head + f"##XYDATA= {form}\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("labels", "key"),
    [
        ({}, None),
        ({"DELTAX": 1}, None),
        ({"LASTX": None, "DELTAX": 1}, None),
        ({"LASTX": None}, None),
        ({"FIRSTX": None, "LASTX": None}, None),
        ({"FIRSTX": 399.5, "LASTX": 499.2}, None),  # within 1.1 spacings
        ({"LASTX": 4000}, "##LASTX"),
        ({"FIRSTX": 300}, "##FIRSTX"),
        ({"LASTX": None, "DELTAX": 2}, "##DELTAX"),
        ({"LASTX": 4_99}, None),
    ],
)
def test_the_abscissa_is_checked_against_the_lines(tmp_path, labels, key):
    path = table(tmp_path, even(LINES, **labels))
    if key is None:
        found = read_spectrum(path)
        assert np.allclose(found.wavenumber, found.values, atol=0.6)
        assert found.warnings == ()
    else:
        with refused(InvalidFileError, file=path, key=key):
            read_spectrum(path)


def test_of_two_spacings_the_one_of_the_lines_is_used(tmp_path):
    for labels, wrong in (
        ({"DELTAX": 2}, "##DELTAX contradicts the table and ##LASTX, and is not used"),
        (
            {"DELTAX": 1, "LASTX": 4000},
            "##LASTX contradicts the table and ##DELTAX, and is not used",
        ),
    ):
        found = read_spectrum(table(tmp_path, even(LINES, **labels)))
        assert np.array_equal(found.wavenumber, np.arange(400.0, 500.0))
        assert found.warnings == (wrong,)
    # one line decides nothing
    one = " ".join(str(400 + i) for i in range(100))
    with refused(InvalidFileError, key="##DELTAX", value=2.0):
        read_spectrum(table(tmp_path, even([f"400 {one}"], DELTAX=2)))
    with refused(InvalidFileError, key="##NPOINTS"):
        read_spectrum(table(tmp_path, even([f"400 {one}"], NPOINTS=None)))


def test_lost_lines_are_named(tmp_path):
    path = table(tmp_path, even(LINES[:4] + LINES[5:], NPOINTS=90))
    with refused(InvalidFileError, file=path, key="line 5 of the table"):
        read_spectrum(path)


def test_one_point_in_a_line_is_a_pair(tmp_path):
    lines = ["400 1", "400.5 2", "402 3", "405 9", "410 1"]
    found = read_spectrum(table(tmp_path, even(lines, NPOINTS=5, LASTX=410)))
    assert found.wavenumber.tolist() == [400.0, 400.5, 402.0, 405.0, 410.0]
    assert found.values.tolist() == [1.0, 2.0, 3.0, 9.0, 1.0]


@pytest.mark.parametrize(
    ("units", "first"),
    [
        *((u, 400.0) for u in ("1/CM", "CM-1", "cm^-1", "cm⁻¹", "CM**-1", "1/ cm", "WAVENUMBERS")),
        *(
            (u, 400.0)
            for u in ("Wavenumber (cm-1)", "Wavenumber / cm⁻¹", "RAMAN SHIFT", "Raman Shift (1/cm)")
        ),
        *((u, 400.0) for u in ("reciprocal centimeters", "INVERSE CM", "kayser")),
        *((u, 1e4 / 499.0) for u in ("MICROMETERS", "micrometer", "MICRONS", "µm", "μm", "UM")),
        *((u, 1e7 / 499.0) for u in ("NANOMETERS", "nanometres", "nm", "WAVELENGTH (NM)")),
        *((u, None) for u in ("CM", "HZ", "PPM", "SECONDS", "WAVELENGTH", "M/Z", "")),
    ],
)
def test_units_of_the_abscissa(tmp_path, units, first):
    path = table(tmp_path, even(LINES), units=units)
    if first is None:
        with refused(InvalidFileError, key="##XUNITS", value=units):
            read_spectrum(path)
    else:
        assert read_spectrum(path).wavenumber[0] == pytest.approx(first)


def test_files_that_may_be_cut_off_are_told(tmp_path):
    path = write(tmp_path, xunits="1/CM", first=1000, last=1003, n=4, table="1000 1 2\n1002 3 4")
    whole = path.read_text()
    without = re.sub("##NPOINTS=.*\n", "", whole)
    for text, told in ((whole, 0), (without, 0), (without.replace("##END=", ""), 1)):
        path.write_text(text)
        assert len(read_spectrum(path).warnings) == told


def test_wavelengths_of_scattered_light_are_no_shifts(tmp_path):
    path = table(tmp_path, even(LINES), units="NANOMETERS", kind="RAMAN SPECTRUM")
    with refused(InvalidFileError, file=path, key="##XUNITS", expected="the Raman shift in 1/CM"):
        read_spectrum(path)


@pytest.mark.parametrize(
    "body",
    [
        "##XYPOINTS=(XY..XY)\n400.0, 0.1D+00\n401.0, 2d-1\n",
        "##PEAK TABLE=(XY..XY)\n400,.1 401,.2\n",
        "##PEAK TABLE=(XYW..XYW)\n400, 0.1, 10\n401, 0.2, 12\n",
        "##PEAK TABLE=(XYM)\n400, 0.1, s; 401, 0.2, d\n",
        "##PEAK TABLE=(XY..XY)\n(400, 0.1)\n(401, 0.2)\n",
        "##FIRSTX=400,0\n##XYDATA=(XY..XY)\n400,0 0,1\n401,0 0,2\n",
    ],
)
def test_groups_of_numbers(tmp_path, body):
    found = read_spectrum(table(tmp_path, body))
    assert found.wavenumber.tolist() == [400.0, 401.0]
    assert found.values.tolist() == [0.1, 0.2]


@pytest.mark.parametrize(
    "body",
    [
        "400 1 401\n",
        "400 1_0\n401 2\n",
        "400 x\n401 2\n",
        "400 1e999\n401 2\n",
        "",
        "400 nan\n1 2\n",
    ],
)
def test_no_number_is_guessed(tmp_path, body):
    with refused(InvalidFileError, key="##XYPOINTS", file=tmp_path / "t.jdx"):
        read_spectrum(table(tmp_path, f"##XYPOINTS=(XY..XY)\n{body}"))


def block(title, body, kind="INFRARED SPECTRUM"):
    return f"##TITLE={title}\n##DATA TYPE={kind}\n##XUNITS=1/CM\n{body}##END=\n"


def test_the_only_spectrum_of_a_compound_file_is_read(tmp_path):
    path = tmp_path / "link.jdx"
    curve, peaks = even(LINES), "##PEAK TABLE=(XY..XY)\n401 .2\n402 .3\n"
    head = "##TITLE=all\n##JCAMP-DX=5.0\n##DATA TYPE=LINK\n##BLOCKS=3\n"
    others = block("structure", "##MOLFORM=C H4\n") + block("list", peaks, "INFRARED PEAK TABLE")
    mass = block("m", even(LINES), "MASS SPECTRUM")
    path.write_text(head + others + block("curve", curve) + mass + "##END=\n")
    assert read_spectrum(path).label == "curve"
    assert len(read_spectrum(path)) == 100
    path.write_text(head + others + "##END=\n")
    assert read_spectrum(path).provenance["table"] == "peak table"
    for text in (
        head + block("a", curve) + block("b", curve),
        block("a", curve) + block("b", curve),
    ):
        path.write_text(text)
        with refused(InvalidFileError, file=path, expected="one"):
            read_spectrum(path)
    path.write_text(f"{head}##NTUPLES= NMR SPECTRUM\n##PAGE= N=1\n##END=\n")
    with refused(InvalidFileError, file=path, key="##NTUPLES", value="NMR SPECTRUM"):
        read_spectrum(path)


@pytest.mark.parametrize(
    "line",
    [
        "400A0S99999999999",
        "400A0" + "S9" * 3000,
        "400A0S" + "9" * 4000,
        "400 " + "9" * 400,
        "400A0Z999999Z999999",
    ],
)
def test_short_files_do_not_become_long_tables(tmp_path, line):
    path = table(tmp_path, even([line], NPOINTS=None))
    start = time.process_time()
    with refused(InvalidFileError, file=path):
        read_spectrum(path)
    assert time.process_time() - start < 3.0


def test_blank_lines_are_read_in_linear_time(tmp_path):
    path = table(tmp_path, "\n" * 200_000 + even(LINES))
    start = time.process_time()
    assert len(read_spectrum(path)) == 100
    assert time.process_time() - start < 3.0


def test_repetitions_of_differences_and_a_last_line_that_only_checks(tmp_path):
    # 10 20 30 40 | 40 40 40 | check
    lines = ["400A0J0U", "403D0%U", "405D0"]
    found = read_spectrum(table(tmp_path, even(lines, NPOINTS=7, LASTX=406)))
    assert found.values.tolist() == [10.0, 20.0, 30.0, 40.0, 40.0, 40.0, 40.0]


@pytest.mark.parametrize("place", ["1e20", "-2e7"])
def test_absurd_abscissae_are_refused(tmp_path, place):
    lines = ["##TITLE= x", "##JCAMP-DX= 4.24", "##DATA TYPE= INFRARED SPECTRUM", "##XUNITS= 1/CM"]
    lines += ["##YUNITS= ABSORBANCE", "##XYPOINTS= (XY..XY)", "600, 1", "700, 2", f"{place}, 3"]
    (tmp_path / "x.jdx").write_text("\n".join([*lines, "##END=", ""]))
    with refused(InvalidFileError, key="abscissae"):
        read_spectrum(tmp_path / "x.jdx")
