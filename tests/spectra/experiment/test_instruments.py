# SPDX-License-Identifier: MIT
"""Files of instruments whose columns, quantities or names are told in ways of their own."""

import numpy as np
import pytest

from eqcalc.spectra import read_measured
from eqcalc.spectra.experiment.band_lists import is_band_list, read_bands
from eqcalc.spectra.experiment.measured import excursions
from tests.errors import refused

NU = np.arange(400.0, 4000.5, 2.0)
ABSORBANCE = 0.01 + sum(
    height * np.exp(-(((NU - center) / width) ** 2))
    for center, height, width in ((1000.0, 0.9, 15.0), (1746.0, 0.5, 12.0), (2900.0, 0.3, 30.0))
)
TRANSMITTANCE = 10.0**-ABSORBANCE
RAMAN = 1000.0 * ABSORBANCE + 50.0 + 5.0 * np.random.default_rng(0).normal(size=len(NU))
FLUORESCENCE = RAMAN + 2e4 * np.exp(-(((NU - 2200.0) / 1500.0) ** 2))


def columns(y, separator="\t", x=NU):
    return "".join(f"{a:.2f}{separator}{b:.6f}\n" for a, b in zip(x, y, strict=True))


def measured(tmp_path, text, name="a.txt", **options):
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert not is_band_list(tmp_path / name)
    return read_measured(tmp_path / name, **options)


# --- quantities that are not stated ---------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        100.0 * TRANSMITTANCE,
        85.0 * TRANSMITTANCE,
        100.0 * TRANSMITTANCE * (0.7 + 0.3 * NU / 4000.0),
        100.0 * TRANSMITTANCE + 0.3 * np.random.default_rng(1).normal(size=len(NU)),
        TRANSMITTANCE,
    ],
)
@pytest.mark.parametrize("header", ["", "wavenumber\tvalue\n"])
def test_dips_below_a_high_baseline_are_no_absorbance(tmp_path, values, header):
    expected = "%T" if np.median(values) > 2.0 else "T"
    text = header + columns(values)
    with refused(file=tmp_path / "a.txt", key="unit", expected=expected):
        measured(tmp_path, text)
    found = measured(tmp_path, text, unit=expected)
    assert found.wavenumber[np.argmax(found.values)] == 1000.0
    assert measured(tmp_path, text, unit="arbitrary units").unit == "arbitrary units"


@pytest.mark.parametrize("values", [ABSORBANCE, 3.0 * ABSORBANCE, RAMAN, FLUORESCENCE])
def test_peaks_on_any_baseline_are_read(tmp_path, values):
    assert np.allclose(measured(tmp_path, columns(values)).values, values, atol=1e-6)


def test_one_sided_curves():
    assert excursions(ABSORBANCE) > 0.9
    assert excursions(TRANSMITTANCE) < -0.9
    for curve in (FLUORESCENCE, np.gradient(ABSORBANCE), np.ones(900), ABSORBANCE[:20]):
        assert excursions(curve) == pytest.approx(0.0, abs=0.2)


def test_transmittance_that_looks_like_absorbance_is_warned_of(tmp_path):
    found = measured(tmp_path, "cm-1\tTransmittance\n" + columns(ABSORBANCE))
    assert any("low baseline" in warning for warning in found.warnings)
    assert not measured(tmp_path, "cm-1\tTransmittance\n" + columns(TRANSMITTANCE)).warnings


# --- exports ---------------------------------------------------------------------------


@pytest.mark.parametrize("separator", [";", ","])
def test_b_and_w_tek(tmp_path, separator):
    """Pixels without a Raman shift, a shift beside a wavenumber, a spectrum beside others."""
    head = (
        "File Version;BWSpec 4.11_10\nlaser_wavelength;785.00\nxaxis_description;Raman Shift\n"
        "Pixel;Wavelength;Wavenumber;Raman Shift;Dark;Reference;Raw data #1;Dark Subtracted #1;"
        "%TR #1;Absorbance #1;Irradiance (lumen) #1;\n"
    )
    blank = "".join(f"{i};{700 + i};   ;   ;900;65535;901;1;0;0;0;\n" for i in range(20))
    laser = 1e7 / 785.0
    rows = "".join(
        f"{i};{1e7 / (laser - s):.2f};{laser - s:.2f};{s:.2f};900;65535;{900 + r};{r:.3f};0;0;0\n"
        for i, (s, r) in enumerate(zip(NU, RAMAN, strict=True), 20)
    )
    found = measured(tmp_path, (head + blank + rows).replace(";", separator))
    assert np.allclose(found.wavenumber, NU) and np.allclose(found.values, RAMAN, atol=1e-3)


def perkin_elmer(quantity, values, axis="cm-1", x=NU):
    head = "PE IR       SUBTECH    SPECTRUM    ASCII       PEDS        4.00\n-1\na.sp\n#HDR\n-1\n"
    head += f"#GR\n{axis}\n{quantity}\n1.0\n0.0\n4000.0\n-2.0\n1801\n#DATA\n"
    return head + columns(values[::-1], x=x[::-1])


def test_perkin_elmer(tmp_path):
    for quantity, values in (("%T", 100.0 * TRANSMITTANCE), ("A", ABSORBANCE)):
        found = measured(tmp_path, perkin_elmer(quantity, values), "a.asc")
        assert np.allclose(found.values, ABSORBANCE, atol=1e-5) and found.unit == "1"
    with refused(key="unit of the values", value="%R"):
        measured(tmp_path, perkin_elmer("%R", 100.0 * TRANSMITTANCE), "a.asc")


def test_settings_may_follow_a_table(tmp_path):
    text = columns(RAMAN, ",").replace("\n", ",\n") + "\nDate and Time: , Thu\nGain: , 2\n"
    assert len(measured(tmp_path, text).values) == len(NU)
    with refused(key=f"line {len(NU) + 2}"):
        measured(tmp_path, f"{text}4002.00,1.0,\n")


@pytest.mark.parametrize(
    "header", ["wavenumber_cm1,percent_T", "wavenumber,pct_T", ",wavenumber,%T"]
)
def test_percent_in_words(tmp_path, header):
    text = columns(100.0 * TRANSMITTANCE, ",")
    if header.startswith(","):
        text = "".join(f"{i},{line}\n" for i, line in enumerate(text.splitlines()))
    found = measured(tmp_path, f"{header}\n{text}")
    assert np.allclose(found.values, ABSORBANCE, atol=1e-5)


def test_the_absorbed_fraction_is_no_absorbance(tmp_path):
    with refused(key="unit of the values", value="1-T"):
        measured(tmp_path, "cm-1,1-T\n" + columns(1.0 - TRANSMITTANCE, ","))


# --- lists of bands --------------------------------------------------------------------

POSITIONS, INTENSITIES = [2782.5, 1746.0, 1500.2], [75.5, 74.0, 11.2]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("nu1 2782.5 75.5\nnu2 1746.0 74.0\nnu3 1500.2 11.2\n", ("nu1", "nu2", "nu3")),
        ("ν1\t2782.5\t75.5\nν2\t1746.0\t74.0\nν3\t1500.2\t11.2\n", ("ν1", "ν2", "ν3")),
        (
            "CH2 stretch 2782.5 75.5\nC=O 1746.0 74.0\nCH2 scissor 1500.2 11.2\n",
            ("CH2 stretch", "C=O", "CH2 scissor"),
        ),
        (
            "1,a1,2782.5,75.5\n2,a1,1746.0,74.0\n3,a1,1500.2,11.2\n",
            ("1 a1", "2 a1", "3 a1"),
        ),
        ("1 2782.5 75.5\n2 1746.0 74.0\n3 1500.2 11.2\n", ("1", "2", "3")),
    ],
)
def test_names_and_numbers_of_bands_may_come_first(tmp_path, text, names):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    assert is_band_list(path)
    bands = read_bands(path)
    assert (bands.position.tolist(), bands.intensity.tolist()) == (POSITIONS, INTENSITIES)
    assert bands.names == names


def test_uncertain_last_digits(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("2782.46(2) vs\n1746.01(3) vs\n1500(12) m\n")
    bands = read_bands(path)
    assert bands.position.tolist() == [2782.46, 1746.01, 1500.0]
    assert bands.uncertainty == pytest.approx([0.02, 0.03, 12.0])


def test_a_curve_from_one_wavenumber_on_is_no_list(tmp_path):
    (tmp_path / "a.txt").write_text("".join(f"{i} {0.01 * i}\n" for i in range(1, 90)))
    assert not is_band_list(tmp_path / "a.txt")


HEAD = "##TITLE= t\n##JCAMP-DX= 5.00\n##DATA TYPE= INFRARED PEAK ASSIGNMENTS\n##XUNITS= 1/CM\n"


@pytest.mark.parametrize("form", ["XYA", "XYMA", "XA"])
def test_peak_assignments_of_jcamp(tmp_path, form):
    more = {"XYA": ", {}", "XYMA": ", {}, M", "XA": ""}[form]
    groups = "".join(
        f"({x}{more.format(y)}, <{name}>)\n"
        for x, y, name in zip(POSITIONS, INTENSITIES, ("CH2, sym", "C=O", "wag"), strict=True)
    )
    path = tmp_path / "a.jdx"
    path.write_text(
        f"{HEAD}##YUNITS= ABSORBANCE\n##NPOINTS= 3\n##PEAK ASSIGNMENTS=({form})\n{groups}##END=\n"
    )
    assert is_band_list(path)
    bands = read_bands(path)
    assert bands.position.tolist() == POSITIONS[::-1]
    assert bands.names == ("wag", "C=O", "CH2, sym")
    assert (bands.intensity is None) == (form == "XA")
    path.write_text(path.read_text().replace("(1746.0", "(about 1746.0"))
    with refused(key="##PEAK ASSIGNMENTS", file=path):
        read_bands(path)
