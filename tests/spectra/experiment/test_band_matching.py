# SPDX-License-Identifier: MIT
"""Lists of bands: how they are read, and matched to the bands of a spectrum."""

from dataclasses import replace

import numpy as np
import pytest

from eqcalc.spectra import BandList, compare_bands, is_band_list, plot_bands, read_bands
from eqcalc.validation import InvalidFileError
from tests.errors import refused
from tests.spectra.experiment.bands import BANDS, lines

POSITIONS = [900.0, 1100.0, 1450.0, 2950.0]


@pytest.mark.parametrize(
    ("text", "unit", "intensities"),
    [
        ("900\n1100\n1450\n2950\n", "", None),
        ("# bands\n900\n1100\n1450\n2950\n", "", None),
        ("900 10\n1100 60\n1450 30\n2950 120\n", "", True),
        ("900,0\t10\n1100,0\t60\n1450,0\t30\n2950,0\t120\n", "", True),
        ("900;10\n1100;60\n1450;30\n2950;120\n", "", True),
        ("900.0\t10\n1,100.0\t60\n1,450.0\t30\n2,950.0\t120\n", "", True),
        ('cm-1,km/mol\n900,10.0\n"1,100",60.0\n"1,450",30.0\n"2,950",120.0\n', "km/mol", True),
        ("900,0;10\n1.100,0;60\n1.450,0;30\n2.950,0;120\n", "", True),
        ("wavenumber,km/mol\n900,10\n1100,60\n1450,30\n2950,120\n", "km/mol", True),
        ("Peak,Intensity\ncm-1,km/mol\n900,10\n1100,60\n1450,30\n2950,120\n", "km/mol", True),
        ("cm-1\tRaman activity\n900\t10\n1100\t60\n1450\t30\n2950\t120\n", "Å⁴/amu", True),
        (
            'mode,symmetry,wavenumber,ir_km_mol\n1,"a\'",900,10\n2,a,1100,60\n3,a,1450,30\n'
            "4,b,2950,120\n",
            "km/mol",
            True,
        ),
    ],
)
def test_lists_of_text(tmp_path, text, unit, intensities):
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    assert is_band_list(path)
    found = read_bands(path)
    assert found.position.tolist() == POSITIONS
    assert found.unit == unit
    if intensities:
        assert found.intensity.tolist() == [10.0, 60.0, 30.0, 120.0]
    else:
        assert found.intensity is None
    assert (found.names != ()) == ("mode" in text)


PEAKS = (
    "##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE=INFRARED PEAK TABLE\n##XUNITS=1/CM\n"
    "##YUNITS=ABSORBANCE\n##NPOINTS=2\n##PEAK TABLE=(XY..XY)\n{}\n##END=\n"
)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (PEAKS.format("1746.0,-1\n2843.1,0.5"), "##PEAK TABLE"),
        (PEAKS.format("-1746.0,1\n2843.1,0.5"), "wavenumber"),
        ("nu1 a1 2782.5(3) 12\nnu2 a1 4294967296(1) 8\n", "wavenumber"),
        ("wavenumber;km/mol\n1,746;12\n2,782;10\n", "position"),  # 1746 or 1.746
    ],
)
def test_values_that_no_band_has_are_refused(tmp_path, text, key):
    path = tmp_path / "m.txt"
    path.write_text(text)
    with refused(InvalidFileError, file=path, key=key):
        read_bands(path)


def test_bands_in_columns_are_no_list(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("Frequencies --   1050.1   1700.2\nIR Inten    --     10.0    50.0\n")
    with refused(InvalidFileError, file=path):
        read_bands(path)


def test_a_quotation_mark_ends_with_its_line(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text('wavenumber,km/mol,mode\n900,10,"a\n1100,60,b"\n1450,30,c\n')
    assert read_bands(path).position.tolist() == [900.0, 1100.0, 1450.0]


def test_of_two_intensities_that_of_the_spectrum_is_taken(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("Mode;Freq (cm-1);IR Inten (KM/Mole);Raman Activ (A**4/AMU)\n1;900,5;10,1;2\n")
    assert is_band_list(path)
    assert read_bands(path).intensity.tolist() == [10.1]
    assert read_bands(path, "infrared").unit == "km/mol"
    raman = read_bands(path, "Raman")
    assert (raman.position.tolist(), raman.intensity.tolist(), raman.unit) == (
        [900.5],
        [2],
        "Å⁴/amu",
    )


def test_unknown_intensities_and_uncertainties(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("position,uncertainty,IR intensity (km/mol)\n900,2,\n1100,,60\n")
    found = read_bands(path)
    assert np.array_equal(found.intensity, [np.nan, 60.0], equal_nan=True)
    assert np.array_equal(found.uncertainty, [2.0, np.nan], equal_nan=True)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("900\nx\n", "line 2"),
        ("900 1\n-5 2\n", "line 2"),
        ("900 1\n950 -2\n", "line 2"),
        ("900 1\n950 1_0\n", "line 2"),
        ("wavenumber,km/mol\n900,10\n,20\n", "line 3"),
        ("wavenumber,km/mol\n-900,10\n950,20\n", "line 2"),
        ("mode,km/mol\n1,10\n2,20\n", "titles of the columns"),
        ("wavenumber,km/mol\n", "line 1"),
        (f"900,10\n950,{'1' * 200_000}\n", "line 2"),
        (f"900 10\n950{' ' * 200_000}x\n", "line 2"),
    ],
)
def test_bad_lists_are_named(tmp_path, text, key):
    path = tmp_path / "m.csv"
    path.write_text(text)
    with refused(InvalidFileError, file=path, key=key):
        read_bands(path)


def peaks(path, unit="ABSORBANCE", kind="INFRARED PEAK TABLE", label="PEAK TABLE"):
    path.write_text(
        f"##TITLE=x\n##JCAMP-DX=4.24\n##DATA TYPE={kind}\n##XUNITS=1/CM\n##YUNITS={unit}\n"
        f"##NPOINTS=4\n##{label}=(XY..XY)\n900 .1\n1100 .6\n1450 .3\n2950 1.2\n##END=\n"
    )
    return path


def test_peak_tables(tmp_path):
    path = peaks(tmp_path / "m.jdx")
    assert is_band_list(path)
    assert read_bands(path).intensity.tolist() == [0.1, 0.6, 0.3, 1.2]
    assert read_bands(peaks(path, "TRANSMITTANCE")).intensity is None
    with refused(file=path, key="unit of the values", value="REFLECTANCE"):
        read_bands(peaks(path, "REFLECTANCE"))
    with refused(file=path, key="data type"):
        read_bands(peaks(path, kind="MASS PEAK TABLE"))
    with refused(key="measured", expected="infrared"):
        compare_bands(lines(*BANDS), read_bands(peaks(path, "COUNTS", "RAMAN PEAK TABLE")))
    assert not is_band_list(peaks(path, label="XYPOINTS"))


def test_curves_are_no_lists(tmp_path):
    path = tmp_path / "m.txt"
    fine, even = np.arange(400.0, 4000.0, 2.0), np.arange(400.0, 4000.0, 50.0)
    by_hand = np.sort(np.random.default_rng(0).uniform(400.0, 800.0, 100))
    for x in (fine, even, by_hand):
        np.savetxt(path, np.stack([x, x], 1))
        assert not is_band_list(path)
    path.write_text("Raman shift\tIntensity\n600\t1\n601\t2\n602\t1\n")
    assert not is_band_list(path)


def test_bands_are_matched_with_errors():
    shifts = np.array([4.0, -6.0, 11.0, 40.0])
    listed = BandList(
        np.array(POSITIONS) - shifts,
        intensity=np.array([9.0, 66.0, 30.0, 100.0]),
        unit="km/mol",
        uncertainty=np.array([1.0, 3.0, np.nan, 6.0]),
    )
    found = compare_bands(lines(*BANDS, seed=1), listed.chosen(np.array([2, 0, 3, 1])))
    assert np.allclose(found.deviations, shifts, atol=0.6)
    assert found.others == ()
    for match, area, error in zip(found.matches, BANDS[2], (1.0, 3.0, 0.0, 6.0), strict=True):
        assert match.band.area.value == pytest.approx(area, rel=0.15)
        assert match.deviation.error == pytest.approx(error, abs=0.2)
    numbers = found.statistics()
    assert numbers["matched"] == 4
    assert numbers["mean"] == pytest.approx(shifts.mean(), abs=0.5)
    assert numbers["largest"] == pytest.approx(40.0, abs=0.6)
    assert found.to_dict()["bands"][3]["measured_intensity"] == 100.0
    assert "4 of 4 matched" in found.table()
    assert len(plot_bands(found, "MD").axes[0].get_lines()) >= 4


def test_the_assignment_is_the_best_of_all_and_one_to_one():
    """The nearest band of each would be one for two: 1100 for both 1093 and 1130."""
    spectrum = lines([1060.0, 1100.0, 2000.0], [8.0] * 3, [30.0] * 3)
    found = compare_bands(spectrum, BandList(np.array([1093.0, 1130.0])))
    places = [match.band.position.value for match in found.matches]
    assert places == pytest.approx([1060.0, 1100.0], abs=1.0)
    # beyond the window of 6 % nothing is matched
    far = compare_bands(spectrum, BandList(np.array([2130.0])), limits=(900.0, 2200.0))
    assert far.matches[0].band is None
    assert far.matches[0].note == "no computed band"
    assert [band.position.value for band in far.others] == pytest.approx([1060, 1100, 2000], abs=1)
    assert far.statistics() == {"matched": 0}
    wide = compare_bands(spectrum, BandList(np.array([2130.0])), window=140.0)
    assert wide.deviations == pytest.approx([-130.0], abs=1.0)
    with refused(key="window", value=0.0):
        compare_bands(spectrum, BandList(np.array([2130.0])), window=0.0)


def test_degenerate_and_unresolved_bands_are_one():
    spectrum = lines([1000.0, 1400.0], [20.0, 20.0], [30.0, 60.0])
    spectrum = replace(spectrum, provenance={"resolution_cm-1": 20.0})
    listed = BandList(
        np.array([1000.0, 1000.0, 1390.0, 1405.0]), intensity=np.array([10.0, 10.0, 10.0, 20.0])
    )
    found = compare_bands(spectrum, listed)
    assert [match.members for match in found.matches] == [(0, 1), (2, 3)]
    assert [match.intensity for match in found.matches] == [20.0, 30.0]
    assert found.matches[1].position.value == pytest.approx(1400.0)  # weighted by intensity
    assert found.deviations == pytest.approx([0.0, 0.0], abs=0.5)
    # a weak neighbour farther away than the resolution, within the same computed band
    listed = BandList(np.array([1400.0, 1425.0]))
    found = compare_bands(spectrum, listed)
    assert found.matches[0].band is not None
    assert found.matches[1].note == "not resolved: within the computed band at 1400"


def test_one_factor_is_fitted():
    listed = BandList(0.962 * np.array(POSITIONS))
    found = compare_bands(lines(*BANDS), listed, scale_range=(0.9, 1.05))
    assert found.scale == pytest.approx(0.962, abs=5e-4)
    assert np.abs(found.deviations).max() < 1.0
    assert "scaled by 0.96" in found.table()


def test_a_list_and_a_spectrum_of_different_kinds_are_refused():
    raman = replace(lines(*BANDS), unit="Å⁴/amu per cm⁻¹", label="Raman activity")
    listed = BandList(np.array(POSITIONS), intensity=np.ones(4), unit="km/mol")
    with refused(key="measured", expected="Raman"):
        compare_bands(raman, listed)
    with refused(key="limits", value=(300.0, 500.0)):
        compare_bands(lines(*BANDS), listed, limits=(300.0, 500.0))
    with refused(key="limits", value=(300.0, 5000.0)):
        compare_bands(lines(*BANDS), listed, limits=(300.0, 5000.0))


def test_errors_beside_positions(tmp_path):
    (tmp_path / "a.txt").write_text("3100 ± 2 12\n1500±1 4\n1050.5 +/- 0.5 1\n")
    bands = read_bands(tmp_path / "a.txt")
    assert is_band_list(tmp_path / "a.txt")
    assert bands.position.tolist() == [3100.0, 1500.0, 1050.5]
    assert bands.uncertainty.tolist() == [2.0, 1.0, 0.5]
    assert bands.intensity.tolist() == [12.0, 4.0, 1.0]


@pytest.mark.parametrize(
    ("text", "errors", "intensities"),
    [
        ("1746-1750 s\n1456 m\n1050–1040 vs\n", [2.0, np.nan, 5.0], None),
        ("1746 - 1750 7\n1456 1\n1040 - 1050 9\n", [2.0, np.nan, 5.0], [7.0, 1.0, 9.0]),
        ("position,strength\n1746-1750,s\n1456,m\n1040-1050,vs\n", [2.0, np.nan, 5.0], None),
        ("position;int\n1746−1750;7\n1456;1\n1045±5;9\n", [2.0, np.nan, 5.0], [7.0, 1.0, 9.0]),
        ("position,int,gas\n1748,7,1740-1750\n1456,1,1450\n1045,9,1040-1050\n", None, [7, 1, 9]),
        ("1748 7±1\n1456 1±1\n1045 9±2\n", None, [7.0, 1.0, 9.0]),
        ("1748vs\n~1456m\nca. 1045 br\n", None, None),
    ],
)
def test_ranges_errors_and_strengths_of_published_lists(tmp_path, text, errors, intensities):
    """A range is its middle; bands whose positions were no number were left out as titles."""
    (tmp_path / "a.txt").write_text(text, encoding="utf-8")
    bands = read_bands(tmp_path / "a.txt")
    assert is_band_list(tmp_path / "a.txt")
    assert bands.position.tolist() == [1748.0, 1456.0, 1045.0]
    for found, stated in ((bands.uncertainty, errors), (bands.intensity, intensities)):
        assert (found is None) == (stated is None)
        if stated is not None:
            np.testing.assert_array_equal(found, stated)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("IR (KBr): 3400, 2950, 1746, 1456 cm-1\n", "line 1"),
        ("3400, 2950, 1746,\n1456, 1050 cm-1\n", "line 1"),
        ("2963/2942 3.4\n1456 12\n", "line 1"),
        ("position,strength\n>3000,s\n1456,m\n", "line 2"),
        ("position,int\n1456,2\n3600-2400,3\n", "line 3"),
    ],
    ids=["in a line", "in lines", "two in a line", "bound", "too wide"],
)
def test_bands_that_would_be_lost_are_refused(tmp_path, text, key):
    (tmp_path / "a.txt").write_text(text)
    with refused(InvalidFileError, file=tmp_path / "a.txt", key=key):
        read_bands(tmp_path / "a.txt")


@pytest.mark.parametrize("separator", [" ", "\t", ";"])
def test_names_before_positions_with_errors(tmp_path, separator):
    text = "nu1 a1 2782.5(3) 12\nnu2 a1 1746.0(1) 8\n".replace(" ", separator)
    (tmp_path / "a.txt").write_text(text)
    bands = read_bands(tmp_path / "a.txt")
    assert is_band_list(tmp_path / "a.txt")
    assert bands.position.tolist() == [2782.5, 1746.0]
    assert bands.uncertainty.tolist() == pytest.approx([0.3, 0.1])
    assert bands.intensity.tolist() == [12.0, 8.0]
    assert bands.names == ("nu1 a1", "nu2 a1")


@pytest.mark.parametrize("first", ["0 0\n", "-50 1\n", ""])
def test_a_few_distant_positions_are_no_curve(tmp_path, first):
    """Lists of calculations begin with translations, or imaginary wavenumbers."""
    (tmp_path / "a.txt").write_text(f"{first}1500 12\n3000 10\n")
    assert is_band_list(tmp_path / "a.txt")
    if first:
        with refused(key="line 1"):
            read_bands(tmp_path / "a.txt")


def test_titles_in_other_languages(tmp_path):
    (tmp_path / "a.csv").write_text("Wellenzahl;Intensität (km/mol)\n3100,5;12,1\n1500,2;3,3\n")
    bands = read_bands(tmp_path / "a.csv")
    assert bands.unit == "km/mol" and bands.intensity.tolist() == [12.1, 3.3]


@pytest.mark.parametrize(
    ("titles", "factor", "power"),
    [
        ("# meV\n", 8.06554394, 1),
        ("frequency THz,uncertainty,int\n", 33.3564095, 1),
        ("energy (meV),uncertainty,IR intensity (km/mol)\n", 8.06554394, 1),
        ("wavelength (µm),uncertainty,IR intensity (km/mol)\n", 1e4, -1),
    ],
)
def test_positions_in_other_units_become_wavenumbers(tmp_path, titles, factor, power):
    (tmp_path / "a.csv").write_text(f"{titles}100,1,12\n130,2,3\n350,7,4\n", encoding="utf-8")
    assert is_band_list(tmp_path / "a.csv")
    bands = read_bands(tmp_path / "a.csv")
    given = np.array([100.0, 130.0, 350.0])
    np.testing.assert_allclose(bands.position, factor * given**power, rtol=1e-8)
    if "uncertainty" in titles:
        relative = [0.01, 2.0 / 130.0, 0.02]
        np.testing.assert_allclose(bands.uncertainty, relative * bands.position, rtol=1e-5)
