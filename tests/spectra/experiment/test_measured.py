# SPDX-License-Identifier: MIT
import gzip
from pathlib import Path

import numpy as np
import pytest

from eqcalc.spectra import Spectrum, read_spectrum, write_spectrum
from eqcalc.spectra.experiment.comparison import compare
from eqcalc.spectra.experiment.measured import (
    absorbance,
    broadened,
    gas_absorption,
    read_measured,
    read_table,
)
from eqcalc.spectra.io.jcamp import to_wavenumber
from eqcalc.validation import InvalidFileError
from tests.errors import refused
from tests.spectra.experiment.bands import BANDS, lines

DATA = Path(__file__).parents[3] / "data/experiment"


def test_broadening_adds_widths_and_keeps_the_area():
    s = lines([2000.0], [20.0], [50.0], seed=3, step=0.5)
    wide = broadened(s, 30.0, "lorentzian")
    assert wide.band(1500, 2500).width.value == pytest.approx(50.0, rel=0.01)
    for shape in ("gaussian", "triangular"):
        b = broadened(s, 30.0, shape)
        assert b.integrate(0, 4000).value == pytest.approx(s.integrate(0, 4000).value, rel=1e-2)
        assert b.values.max() < s.values.max()
    narrow = lines([2000.0], [0.2], [50.0], step=0.5)
    assert broadened(narrow, 30.0).band(1900, 2100).width.value == pytest.approx(30.0, rel=0.01)
    assert len(wide.samples) == 100
    with refused(key="shape", value="sinc"):
        broadened(s, 10.0, "sinc")


def test_absorbance():
    nu = np.linspace(500.0, 4000.0, 50)
    a = 0.5 + 0.4 * np.sin(nu)
    for unit, factor in (("TRANSMITTANCE", 1.0), ("% TRANSMITTANCE", 100.0), ("%T", 100.0)):
        found = absorbance(Spectrum(nu, factor * 10.0**-a, unit, "x"))
        assert np.allclose(found.values, a, rtol=1e-12)
    assert absorbance(Spectrum(nu, a, "ABSORBANCE", "x")).values is not None
    with refused(key="unit", value="TRANSMITTANCE", expected="%T"):
        absorbance(Spectrum(nu, 100 * 10.0**-a, "TRANSMITTANCE", "x"))
    with refused(key="transmittance"):
        absorbance(Spectrum(nu, a - 1.0, "TRANSMITTANCE", "x"))
    with refused(key="unit", value="km/mol"):
        absorbance(Spectrum(nu, a, "km/mol", "x"))
    with refused(key="measured", value="TRANSMITTANCE"):
        compare(lines(*BANDS), Spectrum(nu, a, "TRANSMITTANCE", "x"), lower=600.0, upper=700.0)


def test_the_kernel_of_an_instrument_is_symmetric():
    s = lines([2000.0], [20.0], [50.0], step=0.7)
    for shape in ("gaussian", "triangular"):
        band = broadened(s, 25.0, shape).band(1800.0, 2200.0)
        assert band.position.value == pytest.approx(2000.0, abs=0.02)
        assert band.centroid.value == pytest.approx(2000.0, abs=0.02)


def test_quantitative_gas_spectra_become_absolute(tmp_path):
    # σ = ln 10 · A/2.479e15 cm² for log₁₀ absorbance A per ppm·m at 296 K and 1 atm
    path = tmp_path / "gas.jdx"
    path.write_text(
        "##TITLE=gas\n##JCAMP-DX=4.24\n##PRESSURE=101.325 kPa\n##TEMPERATURE=22.85 C\n"
        "##XUNITS=cm-1\n##YUNITS=(micromol/mol)-1m-1 (base 10)\n##NPOINTS=3\n"
        "##XYPOINTS=(XY..XY)\n1000 1e-4 1001 2e-4 1002 1e-4\n##END=\n"
    )
    s = read_measured(path)
    assert s.unit == "L/(mol cm)"
    sigma = 3.82353250e-21 * s.values[1]
    assert sigma == pytest.approx(np.log(10.0) * 2e-4 / 2.479e15, rel=1e-3)
    assert s.warnings == ()
    # a slip in many files of the database
    slip = tmp_path / "slip.jdx"
    slip.write_text(path.read_text().replace("kPa", "Pa"))
    corrected = read_measured(slip)
    assert np.allclose(corrected.values, s.values)
    assert "read as kPa" in corrected.warnings[0]
    raw = read_spectrum(path)
    del raw.provenance["PRESSURE"]
    with refused(key="PRESSURE"):
        gas_absorption(raw)
    with refused(key="unit", value=s.unit):
        gas_absorption(s)


def test_absorbance_of_a_known_amount():
    from eqcalc.spectra import molar_absorption

    nu = np.linspace(500.0, 4000.0, 50)
    s = Spectrum(nu, 10.0 ** -np.full(50, 0.6), "TRANSMITTANCE", "x")
    solution = molar_absorption(s, path_length=0.1, concentration=0.02)
    assert np.allclose(solution.values, 0.6 / 0.002)
    # 0.1 atm at 300 K are 0.1/(0.0820574·300) mol/L
    gas = molar_absorption(absorbance(s), path_length=10.0, pressure=10132.5, temperature=300.0)
    assert np.allclose(gas.values, 0.06 * 0.0820573661 * 300.0 / 0.1, rtol=1e-8)
    with refused(key="concentration"):
        molar_absorption(s, path_length=10.0, pressure=1e4)
    with refused(key="path_length", value=0.0):
        molar_absorption(s, path_length=0.0, concentration=1.0)


def test_measured_files_of_every_kind(tmp_path):
    nu = np.linspace(500.0, 4000.0, 50)
    table = tmp_path / "t.txt"
    np.savetxt(table, np.stack([nu, nu], 1))
    assert read_measured(table).unit == "arbitrary units"
    assert read_measured(table, unit="%T").unit == "1"
    path = write_spectrum(Spectrum(nu, nu, "km/mol per cm⁻¹", "IR intensity"), tmp_path / "s.csv")
    assert read_measured(path).unit == "km/mol per cm⁻¹"


def test_measured_raman_spectrum_of_acetonitrile():
    # positions of the strong bands of the liquid, cm⁻¹
    s = read_measured(DATA / "acetonitrile-raman.txt", unit="counts")
    for position in (379.0, 919.0, 1374.0, 2253.0, 2943.0):
        near = s.between(position - 40.0, position + 40.0)
        assert near.band(position - 39.0, position + 39.0).position.value == pytest.approx(
            position, abs=5.0
        )


def test_read_table(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("#Wave\t#Intensity\n300, 3\n100 1 # first\n200\t2\n200\t4\n")
    s = read_table(path, unit="counts", label="Raman intensity")
    assert s.wavenumber.tolist() == [100.0, 200.0, 300.0]
    assert s.values.tolist() == [1.0, 3.0, 3.0]
    path.write_text("100 1\n200 x\n")
    with refused(InvalidFileError, file=path, key="line 2", value="200 x"):
        read_table(path, unit="counts", label="x")


def write(path, x, y, separator="\t", header="", form="{:.2f}"):
    rows = (f"{form.format(a)}{separator}{b:.8g}" for a, b in zip(x, y, strict=True))
    path.write_text(header + "\n".join(rows) + "\n", encoding="utf-8")
    return path


def test_a_decimal_comma_is_no_separator(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("600,25\t0,0000\n600,75\t0,2500\n", encoding="utf-8")
    s = read_measured(path)
    assert s.wavenumber.tolist() == [600.25, 600.75]
    assert s.values.tolist() == [0.0, 0.25]


def test_csv_with_a_header(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Wavenumber (cm-1),%T,Blank\n601.5,50,1\n600.5,10,1\n")
    s = read_measured(path, unit="%T")
    assert np.allclose(s.values, [1.0, np.log10(2.0)])
    assert s.warnings == ("the file has 3 columns, of which the second is used",)
    assert np.allclose(read_measured(path).values, s.values)
    path.write_text("transmission, gas cell\n601.5,50\n600.5,10\n")
    with refused(InvalidFileError, file=path, key="unit"):
        read_measured(path)
    # a damaged file of eqcalc is not taken for another one
    path.write_text("# IR\n# eqcalc: {\nwavenumber,values\n600.5,1\n601.5,1\n")
    with refused(InvalidFileError, file=path, key="header"):
        read_measured(path)


@pytest.mark.parametrize(
    ("header", "factor", "power"),
    [
        ("Wavelength (µm)\tA\n", 1e4, -1),
        ("nm,A\n", 1e7, -1),
        ("Wavelength/nm\tA\n", 1e7, -1),
        ("XUNITS\tNANOMETERS\n", 1e7, -1),
        ("Frequency/THz\tA\n", 33.3564095, 1),
        ("frequency THz\tA\n", 33.3564095, 1),
        ("THz;A\n", 33.3564095, 1),
        ("# meV\n", 8.06554394, 1),
        ("energy_meV\tA\n", 8.06554394, 1),
        ("energy, meV\tA\n", 8.06554394, 1),
        ("Laser wavelength: 532 nm\nRaman shift (cm-1)\tCounts\n", 1.0, 1),
        ("Frequency\tIntensity\ncm-1\ta.u.\n", 1.0, 1),
        ("wavenumber (mm^-1),A\n", 10.0, 1),
        ("1/µm,A\n", 1e4, 1),
        ("wavenumber (nm−1)\tA\n", 1e7, 1),
    ],
)
def test_wavelengths_and_frequencies_become_wavenumbers(tmp_path, header, factor, power):
    x = np.array([2500.0, 3000.0]) if factor == 1e7 else np.array([250.0, 300.0])
    x = x / factor if power > 0 and factor > 1e3 else x
    path = write(tmp_path / "m.txt", x.tolist(), [1.0, 2.0], header=header, form="{:.9g}")
    found = read_measured(path)
    expected = factor * x**power
    np.testing.assert_allclose(found.wavenumber, np.sort(expected), rtol=1e-8)
    np.testing.assert_array_equal(found.values, [1.0, 2.0] if power > 0 else [2.0, 1.0])


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("Wavelength\tA\n", "header of the first column"),
        ("Energy\tA\n", "header of the first column"),
        ("Time (s)\tAbsorbance\n", "header of the first column"),
        ("Raman\nWavelength (nm)\tcounts\n", "first column"),
    ],
)
def test_other_axes_are_refused(tmp_path, header, key):
    path = write(tmp_path / "m.txt", [2.5, 3.0], [1.0, 2.0], header=header)
    with refused(InvalidFileError, file=path, key=key):
        read_measured(path)


@pytest.mark.parametrize(
    ("header", "x"),
    [
        ("#AxisType[1]=\tSpectr\n#AxisUnit[1]=\tabs. 1/cm\n", 15_000.0),
        ("Wavelength (nm)\tIntensity (counts)\n", 823.0),
        ("Wavenumber (cm-1)\tA\n", 15_000.0),
    ],
)
def test_wavenumbers_of_scattered_light_are_no_shifts(tmp_path, header, x):
    path = write(tmp_path / "m.txt", [x, x + 10.0], [1.0, 2.0], header=header)
    with refused(InvalidFileError, file=path, key="wavenumber"):
        read_measured(path)


@pytest.mark.parametrize("header", ["NPOINTS\t3\n", "Number of Pixels in Spectrum: 3\n"])
def test_files_that_were_cut_off_are_refused(tmp_path, header):
    path = write(tmp_path / "m.txt", [600.0, 601.0], [1.0, 2.0], header=header)
    with refused(InvalidFileError, file=path, expected="3"):
        read_measured(path)
    write(path, [600.0, 601.0, 602.0], [1.0, 2.0, 1.0], header=header)
    assert read_measured(path).values.tolist() == [1.0, 2.0, 1.0]


def test_statements_on_abscissae_are_no_quantities(tmp_path):
    """In files of WITec they made a Raman spectrum one of absorption coefficients."""
    path = write(tmp_path / "m.txt", [600.0, 601.0], [1.0, 2.0], header="X-Axis=rel. 1/cm\n")
    assert read_measured(path).unit == "arbitrary units"


def test_values_that_differ_at_one_abscissa_and_absorbances_beyond_any_are_told(tmp_path):
    path = write(tmp_path / "m.txt", [600, 601, 601, 602], [1.0, 2.0, 1.0, 0.0], header="cm-1\tA\n")
    assert len(read_measured(path).warnings) == 1
    write(path, [600, 601, 601, 602], [1.0, 2.0, 2.001, 0.0], header="cm-1\tA\n")
    assert read_measured(path).warnings == ()
    write(path, [600, 601, 602], [1.0, 9.99999, 0.0], header="cm-1\tA\n")
    assert len(read_measured(path).warnings) == 1
    path.write_text("cm-1,n,k\n600,1.4,0.1\n601,1.5,0.2\n602,1.4,0.1\n")
    with refused(key="unit of the values", value="n"):
        read_measured(path)


def test_the_range_is_cut_before_the_conversion(tmp_path):
    nu = np.arange(400.0, 1001.0, 10.0)
    values = 10.0 ** -(0.001 * nu)
    values[5] = -0.01  # at 450 cm⁻¹
    values[2] = np.nan
    path = write(tmp_path / "m.txt", nu, values)
    s = read_measured(path, unit="T", limits=(465.0, 802.0))
    # the points beyond the limits, for interpolation
    assert s.wavenumber[[0, -1]].tolist() == [460.0, 810.0]
    assert np.allclose(s.values, 0.001 * s.wavenumber, rtol=1e-6)
    with refused(file=path, key="transmittance"):
        read_measured(path, unit="T", limits=(455.0, 802.0))
    with refused(file=path, key="value at 420 cm⁻¹"):
        read_measured(path, unit="T", limits=(405.0, 802.0))
    with refused(file=path, key="limits", value=(300.0, 802.0), advice=""):
        read_measured(path, unit="T", limits=(300.0, 802.0))
    with refused(file=path, key="limits", value=(500.0, 515.0)):
        read_measured(path, unit="T", limits=(500.0, 515.0))
    micrometres = write(tmp_path / "um.txt", 1e4 / nu, values)
    for limits in ((500.0, 900.0), None):
        with refused(file=micrometres, key="first column") as caught:
            read_measured(micrometres, unit="absorbance", limits=limits)
        assert "µm" in caught.value.advice


def test_percent_and_fraction_are_told_apart(tmp_path):
    nu = np.arange(400.0, 1001.0, 10.0)
    values = np.where(nu < 700.0, 0.004, 0.9)
    fraction = write(tmp_path / "f.txt", nu, values)
    percent = write(tmp_path / "p.txt", nu, 100.0 * values)
    with refused(file=percent, key="unit", value="T", expected="%T"):
        read_measured(percent, unit="T", limits=(800.0, 900.0))
    with refused(file=fraction, key="unit", value="%T", expected="T"):
        read_measured(fraction, unit="%T")
    # a black part of a spectrum in percent has small numbers and is none of fractions
    black = read_measured(percent, unit="%T", limits=(450.0, 600.0))
    assert np.allclose(black.values, -np.log10(0.004), rtol=1e-6)


JCAMP = (
    "##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE={kind}\n##XUNITS=1/CM\n##YUNITS={unit}\n"
    "##NPOINTS=3\n##XYDATA=(XY..XY)\n600 {a}\n601 {b}\n602 {a}\n##END=\n"
)


def jcamp(path, unit, a="0.9", b="0.5", kind="INFRARED SPECTRUM"):
    path.write_text(JCAMP.format(kind=kind, unit=unit, a=a, b=b), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("stated", "percent"),
    [
        ("TRANSMITTANCE", False),
        ("TRANSMISSION", False),
        ("T", False),
        ("% TRANSMISSION", True),
        ("%T", True),
        ("PERCENT TRANSMITTANCE", True),
        ("Transmittance (%)", True),
        ("TRANSMITTANCE", True),  # said to be a fraction, but in percent
        ("Transmission", True),
    ],
)
def test_transmittance_under_all_its_names(tmp_path, stated, percent):
    a, b = ("90", "50") if percent else ("0.9", "0.5")
    expected = -np.log10([0.9, 0.5, 0.9])
    for path in (
        jcamp(tmp_path / "m.jdx", stated, a, b),
        write(
            tmp_path / "m.txt", [600, 601, 602], map(float, [a, b, a]), header=f"cm-1\t{stated}\n"
        ),
    ):
        found = read_measured(path)
        assert np.allclose(found.values, expected)
        assert (found.unit, found.label) == ("1", "absorbance")
        says_percent = "%" in stated or "PERCENT" in stated
        assert bool(found.warnings) == (percent and not says_percent)
        assert np.allclose(read_measured(path, unit="%T" if percent else "T").values, expected)
        with refused(file=path, key="unit"):
            read_measured(path, unit="T" if percent else "%T")


def test_a_transmittance_without_numbers(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("cm-1\tTransmittance\n600\tnan\n601\tnan\n")
    with refused(file=path, key="value at 600 cm⁻¹"):
        read_measured(path)


@pytest.mark.parametrize(
    "stated",
    [
        "REFLECTANCE",
        "%R",
        "KUBELKA-MUNK",
        "EMITTANCE",
        "log(1/R)",
        "ABSORPTANCE",
        "S(Q,w)",
        "VOLTS",
    ],
)
def test_other_quantities_are_refused_by_name(tmp_path, stated):
    path = jcamp(tmp_path / "m.jdx", stated)
    with refused(file=path, key="unit of the values", value=stated):
        read_measured(path)
    if stated != "VOLTS":  # an unknown unit can be given, a known one not be replaced
        with refused(file=path, key="unit of the values", value=stated):
            read_measured(path, unit="absorbance")
        table = write(tmp_path / "m.txt", [600, 601], [1, 2], header=f"Wavenumber\t{stated}\n")
        with refused(file=table, key="unit of the values", value=stated):
            read_measured(table)
    else:
        assert read_measured(path, unit="absorbance").label == "absorbance"


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        *((k, True) for k in ("INFRARED SPECTRUM", "RAMAN SPECTRUM", "FT-IR", "", "SPECTRUM")),
        *(
            (k, False)
            for k in ("UV/VIS SPECTRUM", "NMR SPECTRUM", "MASS SPECTRUM", "X-RAY DIFFRACTION")
        ),
        *((k, False) for k in ("INELASTIC NEUTRON SCATTERING", "INFRARED INTERFEROGRAM", "EELS")),
        *((k, False) for k in ("RAMAN OPTICAL ACTIVITY", "INFRARED REFLECTANCE SPECTRUM")),
    ],
)
def test_kinds_of_spectra(tmp_path, kind, known):
    path = jcamp(tmp_path / "m.jdx", "ABSORBANCE", kind=kind)
    if known:
        assert len(read_measured(path)) == 3
    else:
        with refused(file=path, key="data type", value=kind):
            read_measured(path)


def test_marks_of_missing_values_are_no_values(tmp_path):
    x = np.arange(1000.0, 1100.0)
    for header, mark in (("cm-1\tA\n", -9999.0), ("", -999.0), ("cm-1\tA\n", -5.0)):
        values = curve(x, *SECOND)
        values[7] = mark
        path = write(tmp_path / "m.txt", x, values, header=header)
        with refused(file=path, key="value at 1007 cm⁻¹", value=mark):
            read_measured(path)
        assert len(read_measured(path, limits=(1020.0, 1080.0))) > 60


def test_the_header_of_jasco_with_the_time_of_day(tmp_path):
    x = np.arange(1000.0, 1100.0)
    header = "TITLE\tx\nDATA TYPE\tINFRARED SPECTRUM\nDATE\t20/01/05\nTIME\t10:00:00\n"
    header += "XUNITS\t1/CM\nYUNITS\tABSORBANCE\nNPOINTS\t100\nXYDATA\n"
    assert len(read_measured(write(tmp_path / "m.txt", x, curve(x, *FIRST), header=header))) == 100


def test_titles_among_empty_cells(tmp_path):
    rows = "".join(f"{x:.1f};{x / 1000};;;\n" for x in np.arange(600.0, 620.0))
    (tmp_path / "a.csv").write_text(f"Wavenumber;A;;;\n{rows}")
    assert read_measured(tmp_path / "a.csv").label == "absorbance"


def test_the_content_decides_how_a_file_is_read(tmp_path):
    text = JCAMP.format(kind="INFRARED SPECTRUM", unit="ABSORBANCE", a=0.9, b=0.5)
    for name, data in (
        ("m.jcamp", text.encode()),
        ("m.txt", text.encode()),
        ("m.jdx.gz", gzip.compress(text.encode())),
        ("m.dx", b"\xef\xbb\xbf" + text.encode()),
        ("m.jdx", text.replace("\n", "\r").encode()),
        ("m", text.replace("\n", "\r\n").encode("utf-16")),
        ("rruff.jdx", b"##NAMES=Quartz\n##RRUFFID=R1\n600, 0.9\n601, 0.5\n602, 0.9\n##END=\n\n"),
    ):
        (tmp_path / name).write_bytes(data)
        assert read_measured(tmp_path / name).values.tolist() == [0.9, 0.5, 0.9]


@pytest.mark.parametrize(
    "header",
    [
        "#Acq. time (s)=\t1\n#Laser=\t532nm\n#X (µm)=\t0\n#Y (µm)=\t-1.5\n",
        "#Acq. time (s)=\t1\n#Laser (nm)=\t532\n",
        "Laser (nm)\t785\n",
        "#Units=\tRaman shift (cm-1)\n",
        "X-Axis\tSpectrum\nrel. 1/cm\tCCD cts\n",
    ],
)
def test_settings_of_an_instrument_are_no_titles(tmp_path, header):
    path = write(tmp_path / "m.txt", [600, 601], [1, 2], header=header)
    assert read_measured(path).unit in ("arbitrary units", "CCD cts")


def test_titles_that_are_samples_are_no_quantities(tmp_path):
    path = write(tmp_path / "m.txt", [600, 601], [1, 2], header="wavenumber\tA\tB\n")
    assert read_measured(path).unit == "arbitrary units"


NU = np.arange(600.0, 700.0, 2.0)


def rows(*columns):
    return "".join("\t".join(f"{v:.2f}" for v in row) + "\n" for row in zip(*columns, strict=True))


def test_time_series_and_maps_are_refused(tmp_path):
    path, n = tmp_path / "m.txt", len(NU)
    spectra = [NU + 100.0 * t for t in range(6)]
    series = (
        "\t"
        + rows(*NU[:, None])
        + "".join(f"{330 * t}\t" + rows(*s[:, None]) for t, s in enumerate(spectra))
    )
    transposed = "\t" + rows(*[[330.0 * t] for t in range(6)]) + rows(NU, *spectra)
    two = "\t0.0\t330.0\n" + rows(NU, *spectra[:2])
    for text in (f"#Instrument=\tLabRam\n{series}", transposed, two):
        path.write_text(text)
        with refused(InvalidFileError, file=path) as caught:
            read_measured(path)
        assert "time series or a map" in caught.value.problem
    for places in ([0.0], [0.0, 5.0]):  # one or two coordinates before the wavenumber
        path.write_text(
            "".join(
                rows(np.full(n, t), *np.full((len(places) - 1, n), t), NU, s)
                for t, s in enumerate(spectra)
            )
        )
        with refused(InvalidFileError, file=path, key="first column"):
            read_measured(path)
    # ten cross-sections in a line, without wavenumbers
    path.write_text("C2H6 700 800 40\n" + rows(*np.random.default_rng(0).uniform(size=(10, 50))))
    with refused(InvalidFileError, file=path, key="first column"):
        read_measured(path)


def test_what_may_follow_or_repeat_in_one_spectrum(tmp_path):
    path, data = tmp_path / "m.txt", rows(NU, NU)
    head = "TITLE\t\nDATA TYPE\tRAMAN SPECTRUM\nXUNITS\t1/CM\nYUNITS\tINTENSITY\nXYDATA\n"
    for text in (
        f"{head}{data}\n##### Extended Information\n[Comments]\nUser\tA\n",
        f"{data}\n[Measurement]\n12 scans\n",
        f"PE IR\n-1\n4.00 2\n#HDR\nCM-1\n#DATA\n{data}",
        f"Sample 3\n>>>>>Begin Spectral Data<<<<<\n{data}>>>>>End Spectral Data<<<<<\n",
        f"Pixel\tRaman Shift\tData\tDark\n{rows(np.arange(len(NU)), NU, NU, NU / 9)}",
        f"Counts;Raman shift (cm-1)\n{rows(NU, NU)}".replace("\t", ";"),
        data + data,  # two scans
        rows(NU, NU, NU / 10.0),
    ):
        path.write_text(text)
        assert np.array_equal(read_measured(path).values, NU)
    path.write_text(f"{head.replace('RAMAN', 'FLUORESCENCE')}{data}")
    with refused(file=path, key="data type", value="FLUORESCENCE SPECTRUM"):
        read_measured(path)


def test_columns_without_titles_are_told_apart_or_refused(tmp_path):
    path, nu = tmp_path / "m.txt", np.linspace(4000.0, 600.0, 301)
    values = 0.1 + 0.8 / (1.0 + ((nu - 1700.0) / 30.0) ** 2)
    swapped, numbered = rows(values, nu), rows(np.arange(1.0, 302.0), nu, values)
    for text in (rows(nu, values), swapped, numbered):
        path.write_text(text)
        found = read_measured(path)
        assert np.array_equal(found.wavenumber, np.round(nu[::-1], 2))
        assert np.allclose(found.values, values[::-1], atol=0.006)
        assert bool(found.warnings) == (text != rows(nu, values))
    path.write_text("cm-1\tA\n" + rows(nu / 100.0, values))  # far infrared
    assert read_measured(path).wavenumber[-1] == 40.0
    for x, unit in ((1e4 / nu, "µm"), (1e4 / nu[::-1], "µm"), (1e7 / nu, "nm")):
        path.write_text(rows(x, values))
        with refused(file=path, key="first column") as caught:
            read_measured(path)
        assert unit in caught.value.advice
    path.write_text(rows(nu, values) + rows(nu, 2.0 * values))
    with refused(file=path, key="first column") as caught:
        read_measured(path)
    assert "several spectra" in caught.value.problem


def curve(nu, *bands):
    return 0.02 + sum(h / (1.0 + ((nu - c) / w) ** 2) for c, w, h in bands)


FIRST, SECOND = ((1700.0, 20.0, 0.8), (2950.0, 40.0, 0.5)), ((1100.0, 20.0, 0.6), (3400.0, 99.0, 1))


def points(x, y):
    return [f"{a:.2f}\t{b:.5f}\n" for a, b in zip(x, y, strict=True)]


def in_turn(*tables):
    return [line for lines in zip(*tables, strict=True) for line in lines]


def test_two_curves_in_one_file_are_refused(tmp_path):
    """However they are written: told apart by nothing, averages of them would be a third."""
    path, nu, other = tmp_path / "m.txt", np.linspace(400, 4000, 601), np.linspace(405, 3990, 450)
    noise = 0.01 * np.random.default_rng(0).normal(size=601)
    first, second = points(nu, curve(nu, *FIRST)), points(nu, curve(nu, *SECOND))
    elsewhere = points(other, curve(other, *SECOND))
    tables = {
        "on one grid": first + second,
        "on two grids": first + elsewhere,
        "with noise": points(nu, curve(nu, *FIRST) + noise) + elsewhere,
        "back and forth": first + second[::-1],
        "of other strength": first + points(nu, 1.5 * curve(nu, *FIRST)),
        "of a part": first + elsewhere[100:250],
        "under titles": ["cm-1\tA\n", *first, "\n", *second],
        "in turn": in_turn(first, second),
        "in turn, shifted": in_turn(first, points(nu + 1.5, curve(nu + 1.5, *SECOND))),
        "three in turn": in_turn(first, second, points(nu, 0.5 * curve(nu, *FIRST))),
    }
    for table in tables.values():
        path.write_text("".join(table))
        with refused(InvalidFileError, file=path, key="first column") as caught:
            read_measured(path)
        assert "several spectra" in caught.value.problem
    named = [line.replace("\n", f"\tsample {i}\n") for i in "ab" for line in first]
    path.write_text("cm-1\tA\tsample\n" + "".join(named))
    with refused(InvalidFileError, file=path, key="line 2"):
        read_measured(path)
    path.write_text("".join(a[:-1] + "\t" + b for a, b in zip(first, second, strict=True)))
    with refused(InvalidFileError, file=path, key="columns 3 and 4"):
        read_measured(path)


def test_what_is_one_curve_however_it_is_written(tmp_path):
    path, nu = tmp_path / "m.txt", np.linspace(400.0, 4000.0, 601)
    rng = np.random.default_rng(0)
    y, order = curve(nu, *FIRST), rng.permutation(601)
    lines = rng.exponential(size=601) ** 3  # as of a gas, not resolved
    scans = [points(nu, y + 0.002 * rng.normal(size=601)) for _ in range(2)]
    for table in (
        points(nu[order], y[order]),
        points(nu[:320], y[:320]) + points(nu[300:], 1.1 * y[300:]),
        points(nu[300:], y[300:]) + points(nu[:320], y[:320]),
        scans[0] + scans[1][::-1],
        points(nu, lines),
        points(nu, y + 0.004 * (-1.0) ** np.arange(601)),  # of detectors with two readouts
        points(nu[::30], y[::30]),
        points(np.round(nu, -1), y),
    ):
        path.write_text("".join(table))
        assert 20 < len(read_measured(path)) <= 601


def test_negative_wavenumbers_are_those_of_raman_spectra(tmp_path):
    x = np.arange(-600.0, 600.0, 2.0)
    for header in ("Raman shift (cm-1)\tcounts\n", "", "cm-1\tintensity\n"):
        path = write(tmp_path / "m.txt", x, curve(x, *FIRST), header=header)
        assert read_measured(path).wavenumber[0] == -600.0
    with refused(InvalidFileError, file=path, key="wavenumber", value=-600.0):
        read_measured(path, unit="absorbance")
    for header in ("cm-1\tAbsorbance\n", "DATA TYPE\tINFRARED SPECTRUM\n"):
        path = write(tmp_path / "m.txt", x, curve(x, *FIRST), header=header)
        with refused(InvalidFileError, file=path, key="wavenumber", value=-600.0):
            read_measured(path)
    path = write(tmp_path / "m.txt", 1e6 * x, curve(x, *FIRST), header="cm-1\tcounts\n")
    with refused(InvalidFileError, file=path, key="wavenumber", value=-6e8):
        read_measured(path)


def test_commas_of_thousands_that_separate_columns_too_are_refused(tmp_path):
    rows = "".join(f"{x:,.1f},{0.5 + x / 4000:.3f}\n" for x in np.arange(990.0, 1010.0, 2.0))
    (tmp_path / "a.csv").write_text(rows)
    with refused(InvalidFileError, file=tmp_path / "a.csv", key="line 6"):
        read_measured(tmp_path / "a.csv")


def test_a_background_before_the_sample_is_not_the_spectrum(tmp_path):
    x = np.arange(600.0, 700.0)
    text = "".join(f"{a},1.0,{a / 1000}\n" for a in x)
    (tmp_path / "a.csv").write_text(f"Wavenumber,Background,Absorbance\n{text}")
    read = read_measured(tmp_path / "a.csv")
    assert read.values == pytest.approx(x / 1000) and read.label == "absorbance"


@pytest.mark.parametrize("tail", ["End of data", "Scans: 32\nResolution: 4", "\x1a", "# done"])
def test_text_right_after_a_table(tmp_path, tail):
    path = tmp_path / "m.txt"
    path.write_text(rows(NU, NU) + tail + "\n")
    assert np.array_equal(read_measured(path).values, NU)
    path.write_text(rows(NU, NU) + "nan nan\n" + tail)
    with refused(file=path, key=f"line {len(NU) + 1}"):
        read_measured(path)


@pytest.mark.parametrize(
    ("title", "factor"),
    [
        ("Frequency (THz)\talpha (cm-1)", 33.35641),
        ("Wavenumber (1/m)\tAbsorbance", 0.01),
        ("Wavenumber (kK)\tAbsorbance", 1e3),
        ("Energy (meV)\tAbsorbance", 8.06554394),
    ],
)
def test_the_unit_of_the_first_column_is_that_of_its_own_title(tmp_path, title, factor):
    """Not the cm⁻¹ of the second, and not that of the usual one."""
    x = np.arange(10.0, 20.0, 0.5)
    read = read_measured(write(tmp_path / "a.txt", x, 1.0 + 0.0 * x, header=f"{title}\n"))
    assert read.wavenumber == pytest.approx(factor * x, rel=1e-6)


@pytest.mark.parametrize("title", ["Phase", "Temperature (K)", "Time (s)"])
def test_values_that_are_no_intensity_are_refused(tmp_path, title):
    (tmp_path / "a.txt").write_text(f"Wavenumber (cm-1)\t{title}\n1000\t1\n1002\t2\n1004\t1\n")
    with refused(key="unit of the values", value=title):
        read_measured(tmp_path / "a.txt")


def test_cells_in_percent_are_transmittance(tmp_path):
    rows = "".join(f"{x},{50.0 + x / 100:.1f}%\n" for x in range(1000, 1100, 2))
    (tmp_path / "a.csv").write_text(f"Wavenumber,Transmittance\n{rows}")
    assert read_measured(tmp_path / "a.csv").values[0] == pytest.approx(-np.log10(0.6))


@pytest.mark.parametrize(
    "header",
    [
        "#AxisUnit[1]=\tnm\n",
        "#AxisUnit[0]=\tnm\n#AxisUnit[1]=\tCnt\n",
        "#AxisUnit[1]=\teV\n",
        "2theta\tIntensity\n",
        "2θ\tCounts\n",
    ],
)
def test_axes_of_other_experiments(tmp_path, header):
    x = np.arange(500.0, 600.0)
    with refused(key="header of the first column"):
        read_measured(write(tmp_path / "a.txt", x, 1.0 + 0.0 * x, header=header))
    shifts = write(tmp_path / "b.txt", x, 1.0 + 0.0 * x, header="#AxisUnit[1]=\t1/cm\n")
    assert len(read_measured(shifts)) == 100


@pytest.mark.parametrize("n_spectra", [5, 300])
def test_a_table_of_many_spectra_without_titles_is_refused(tmp_path, n_spectra):
    rows = np.column_stack([np.arange(500.0, 700.0), np.ones((200, n_spectra))])
    np.savetxt(tmp_path / "a.txt", rows, fmt="%.2f")
    with refused(key="line 1"):
        read_measured(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "stated",
    ["DELTA ABSORBANCE", "difference absorbance", "ΔOD", "-LOG R", "-log(R)", "n", "k"],
)
def test_differences_and_indices_are_not_absorption(tmp_path, stated):
    with refused(key="unit of the values"):
        read_measured(jcamp(tmp_path / "a.jdx", stated))


@pytest.mark.parametrize("kind", ["HYPER RAMAN", "HYPER-RAMAN SPECTRUM", "HYPERRAMAN"])
def test_hyper_raman_scattering_is_another_kind(tmp_path, kind):
    with refused(key="data type"):
        read_measured(jcamp(tmp_path / "a.jdx", "ARBITRARY UNITS", kind=kind))


@pytest.mark.parametrize(
    ("stated", "factor"),
    [("PER CM", 1.0), ("CM-1 (RAMAN SHIFT)", 1.0), ("DELTA CM-1", 1.0), ("1/M", 0.01)],
)
def test_spellings_of_wavenumbers(tmp_path, stated, factor):
    assert to_wavenumber(np.array([500.0]), stated, "", "##XUNITS") == pytest.approx(500 * factor)


def test_abscissae_that_go_back_are_told(tmp_path):
    """Two windows of a spectrometer that overlap are one spectrum."""
    x = np.concatenate([np.arange(1000.0, 1100.0), np.arange(1090.0, 1200.0)])
    once = read_measured(write(tmp_path / "a.txt", np.unique(x), np.unique(x) / 1000.0))
    twice = read_measured(write(tmp_path / "b.txt", x, x / 1000.0))
    assert not once.warnings and len(twice.warnings) == 1
    np.testing.assert_allclose(twice.values, once.values, atol=1e-9)


def test_empty_cells_of_a_spreadsheet_are_no_lines(tmp_path):
    (tmp_path / "a.csv").write_text("cm-1,A,\n1000.0,0.5,\n,,\n1001.0,0.6,\n,,\n , \n")
    assert read_measured(tmp_path / "a.csv").values.tolist() == [0.5, 0.6]
