# SPDX-License-Identifier: MIT
"""Reading of measured spectra, conversion of absorption units, instrumental broadening."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import fftconvolve

from eqcalc.files import read_text
from eqcalc.spectra.experiment.columns import check_range, read_table
from eqcalc.spectra.experiment.ordinates import (
    TRANSMITTANCE,
    check_kind,
    is_absorbance,
    is_infrared,
    is_transmittance,
    ordinate,
    states_quantity,
)
from eqcalc.spectra.io.files import is_written_by_eqcalc, read_jcamp_file, read_spectrum
from eqcalc.spectra.lines import LINE_SHAPES
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import GAS_CONSTANT
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    bounds,
    file_path,
    instance,
    located,
    one_of,
    positive,
    within,
)

#: A JCAMP-DX file by its labels; other files too mark their header with ##.
_JCAMP = re.compile(
    r"^[ \t]*##\s*(JCAMP-?DX|XY-?DATA|XY-?POINTS|PEAK ?TABLE|NTUPLES|DATA ?TYPE)\s*=", re.I | re.M
)
#: Median above which a transmittance is in percent.
_PERCENT = 2.0
#: Share of one side, see :func:`excursions`, beyond which a curve has dips or peaks; levels of its
#: baseline relative to the maximum; and the shortest curve that is judged.
_ONE_SIDED, _HIGH, _LOW, _FEWEST_POINTS, _EXAMINED = 0.5, 0.4, 0.2, 40, 2000
#: What programs write for missing values, and the lowest absorbance, of noise.
_MARKS, _LOWEST_ABSORBANCE = (-999.0, -9999.0, -99999.0, -1e30, -1.23e34), -1.0
#: Of less light than that spectrometers see none.
_HIGHEST_ABSORBANCE = 7.0
#: Unit of a measured spectrum that states none.
_ARBITRARY = "arbitrary units"


def read_measured(
    path: str | Path,
    *,
    unit: str | None = None,
    limits: tuple[float, float] | None = None,
) -> Spectrum:
    """Read a measured spectrum: JCAMP-DX, a file of eqcalc, or two columns of text.

    The content decides which, not the name of the file. Transmittance becomes absorbance, and the
    absorption per fraction and path length of a gas (as in quantitative collections) the molar
    absorption coefficient.

    Parameters
    ----------
    path
        The file; text files may be compressed (``.gz``).
    unit
        Unit of the values, if the file does not state it or states a transmittance whose fraction
        and percent are confused.
    limits
        Wavenumbers [cm⁻¹] that must be covered. Only the part between them is read, plus one point
        on either side for interpolation.

    Raises
    ------
    InvalidInputError
        There is no such file; it cannot be read, is ambiguous, or does not cover the limits; it is
        a quantity that is not proportional to absorption or Raman scattering; or a value between
        the limits is not finite, or is a transmittance that is not positive.
    """
    path = file_path(path)
    if unit is not None:
        instance("unit", unit, str, "the unit of the values")
    if path.suffix.lower() in (".h5", ".hdf5") or is_written_by_eqcalc(path):
        spectrum = read_spectrum(path)
    elif _JCAMP.search(read_text(path)):
        with located(file=path):
            spectrum = read_jcamp_file(path)
    else:
        spectrum = read_table(path, unit=unit or _ARBITRARY, label=path.stem)
    with located(file=path):
        if "file" in spectrum.provenance:  # not written by eqcalc
            spectrum = _of_known_unit(spectrum, unit)
            check_range(
                spectrum.wavenumber,
                infrared=is_infrared(spectrum.unit, spectrum.provenance.get("DATATYPE", "")),
            )
        return _converted(spectrum, limits)


def _of_known_unit(spectrum: Spectrum, unit: str | None) -> Spectrum:
    """Return a spectrum with the unit that its file states or, if it leaves it open, the given."""
    record = spectrum.provenance
    check_kind(record.get("DATATYPE", ""), "data type")
    if record.get("table") == "peak table":
        raise InvalidFileError("a list of bands, not a curve", key="##PEAK TABLE")
    stated = str(record.get("YUNITS", spectrum.unit))
    if unit is not None:
        if states_quantity(stated):
            expected = ordinate(stated, "unit of the values")
            if expected is not ordinate(unit):
                problem = f"the file says {stated!r}"
                raise InvalidInputError(problem, key="unit", value=unit, expected=expected.name)
        return replace(spectrum, unit=unit)
    known, header = ordinate(stated, "unit of the values"), record.get("header", "")
    said = f"{header} {record.get('DATATYPE', '')} {spectrum.label}"
    if known.spectroscopy is None and not re.search("raman|stokes|absor", said, re.IGNORECASE):
        _check_dips(spectrum)
    titles = record.get("column", header)
    if stated == _ARBITRARY and re.search(TRANSMITTANCE.pattern, titles, re.IGNORECASE):
        raise InvalidFileError(
            f"the header {header[:60]!r} says transmittance",
            key="unit",
            advice="specify T (up to 1) or %T (up to 100), or absorbance if the second column "
            "has it",
        )
    values = spectrum.values[np.isfinite(spectrum.values)]
    in_percent = len(values) > 0 and np.median(values) > _PERCENT
    if known is TRANSMITTANCE and excursions(spectrum.values) > _ONE_SIDED:
        note = f"{stated} is stated, but the values have peaks on a low baseline, as of absorbance"
        spectrum = replace(spectrum, warnings=(*spectrum.warnings, note))
    if known is TRANSMITTANCE and in_percent and not _is_percent(stated):
        note = f"{stated} above 1 is read as percent"
        return replace(spectrum, unit=f"% {stated}", warnings=(*spectrum.warnings, note))
    return replace(spectrum, unit=stated)


def _check_dips(spectrum: Spectrum) -> None:
    """Raise an error if values of an unknown quantity look like a transmittance."""
    values = spectrum.values[np.isfinite(spectrum.values)]
    if excursions(spectrum.values) < -_ONE_SIDED:
        percent = np.median(values) > _PERCENT
        raise InvalidFileError(
            "the values have dips below a high baseline, as of transmittance, and the file does "
            "not say what they are",
            key="unit",
            value=spectrum.unit,
            expected="%T" if percent else "T",
            advice="state it (eqcalc compare --unit), or arbitrary units if they are intensities",
        )


def excursions(values: np.ndarray) -> float:
    """Return how one-sided the deviations of a curve from its running median are, −1 to 1.

    It is (h − d)/(h + d) with h and d the sums of squares of what is above and below: near 1 for
    bands on a low baseline, and near −1 for dips in a high one. Of curves that are short, or
    whose baseline is neither low nor high, nothing is known: 0.
    """
    y = values[np.isfinite(values)]
    y = y[:: max(len(y) // _EXAMINED, 1)]
    if len(y) < _FEWEST_POINTS or y.max() <= 0.0 or y.min() < -0.05 * y.max():
        return 0.0
    off = y - median_filter(y, size=max(len(y) // 8, 5), mode="nearest")
    above, below = float(np.sum(off[off > 0.0] ** 2)), float(np.sum(off[off < 0.0] ** 2))
    if above + below == 0.0:
        return 0.0
    sided = (above - below) / (above + below)
    level = float(np.median(y)) / float(y.max())
    return sided if (level > _HIGH if sided < 0.0 else level < _LOW) else 0.0


def _converted(spectrum: Spectrum, limits: tuple[float, float] | None) -> Spectrum:
    """Cut a spectrum to the limits, then convert transmittance to absorbance."""
    unit = spectrum.unit.upper()
    if is_transmittance(unit):
        # decided from the whole spectrum: a part may be saturated
        _check_percent(spectrum)
    if limits is not None:
        spectrum = _covering(spectrum, *bounds("limits", limits, unit="cm⁻¹"))
    if not np.isfinite(spectrum.values).all():
        where = float(spectrum.wavenumber[~np.isfinite(spectrum.values)][0])
        raise InvalidInputError("not a finite number", key=f"value at {where:g} cm⁻¹")
    marks = np.isin(spectrum.values, _MARKS)
    if is_absorbance(unit):
        marks |= spectrum.values < _LOWEST_ABSORBANCE
    if marks.any():
        first = int(np.argmax(marks))
        raise InvalidInputError(
            "a mark of a missing value?",
            key=f"value at {spectrum.wavenumber[first]:g} cm⁻¹",
            value=float(spectrum.values[first]),
            advice="leave such lines out, or choose limits without them",
        )
    if is_absorbance(unit) and spectrum.values.max() > _HIGHEST_ABSORBANCE:
        note = f"absorbances up to {spectrum.values.max():.3g}, which no spectrometer measures"
        spectrum = replace(spectrum, warnings=(*spectrum.warnings, note))
    if is_transmittance(unit) or is_absorbance(unit):
        return _absorbance(spectrum)
    return gas_absorption(spectrum) if "MICROMOL/MOL" in unit else spectrum


def _covering(spectrum: Spectrum, lower: float, upper: float) -> Spectrum:
    """Return the part between two wavenumbers, with the next point on either side."""
    x = spectrum.wavenumber
    if not (x[0] <= lower < upper <= x[-1]):
        wavelengths = "are these wavelengths in µm? Say so in the header: µm,A"
        raise InvalidInputError(
            key="limits",
            value=(lower, upper),
            expected=f"a range within {x[0]:g} to {x[-1]:g} cm⁻¹, which the file covers",
            advice=wavelengths if x[-1] < 100.0 < upper else "",
        )
    inside = int(spectrum.inside(lower, upper).sum())
    if inside < 3:
        raise InvalidInputError(
            f"{inside} points between them", key="limits", value=(lower, upper), expected="three"
        )
    first = int(np.searchsorted(x, lower, side="right")) - 1
    last = int(np.searchsorted(x, upper, side="left"))
    return spectrum.between(float(x[first]), float(x[last]))


# --- absorption -----------------------------------------------------------------------


def absorbance(spectrum: Spectrum) -> Spectrum:
    """Return the decadic absorbance −log₁₀T of a spectrum in transmittance or absorbance.

    Raises
    ------
    InvalidInputError
        The unit is neither, or is inconsistent with the values; or the transmittance
        is not positive somewhere: cut the range with :meth:`Spectrum.between`.
    """
    _check_percent(spectrum)
    return _absorbance(spectrum)


def _absorbance(spectrum: Spectrum) -> Spectrum:
    unit = spectrum.unit.upper()
    if is_absorbance(unit) or (unit == "1" and spectrum.label == "absorbance"):
        return replace(spectrum, unit="1", label="absorbance")
    if not is_transmittance(unit):
        expected = "transmittance or absorbance"
        raise InvalidInputError(key="unit", value=spectrum.unit, expected=expected)
    transmittance = spectrum.values / (100.0 if _is_percent(unit) else 1.0)
    if np.any(transmittance <= 0.0):
        where = float(spectrum.wavenumber[np.argmin(transmittance)])
        raise InvalidInputError(
            f"not positive at {where:g} cm⁻¹ (saturated?)",
            key="transmittance",
            advice="choose limits without it",
        )
    return replace(
        spectrum,
        values=-np.log10(transmittance),
        standard_error=None,
        samples=None,
        unit="1",
        label="absorbance",
        history=(*spectrum.history, "absorbance from transmittance"),
    )


def _is_percent(unit: str) -> bool:
    return "PERCENT" in unit.upper() or "%" in unit


def _check_percent(spectrum: Spectrum) -> None:
    """Raise an error if fraction and percent of a transmittance are confused."""
    unit = instance("spectrum", spectrum, Spectrum).unit
    values = spectrum.values[np.isfinite(spectrum.values)]
    if not is_transmittance(unit) or not len(values):
        return
    problem, expected = "", ""
    if not _is_percent(unit) and np.median(values) > _PERCENT:
        problem, expected = "a transmittance above 1, apparently in percent", "%T"
    elif _is_percent(unit) and values.max() <= 1.5:
        problem, expected = (
            f"no transmittance above {values.max():.2g} %, as of a fraction",
            "T",
        )
    if problem:
        raise InvalidInputError(problem, key="unit", value=unit, expected=expected)


def molar_absorption(
    spectrum: Spectrum,
    *,
    path_length: float,
    concentration: float | None = None,
    pressure: float | None = None,
    temperature: float | None = None,
) -> Spectrum:
    """Return the molar absorption coefficient of a sample of known amount, L mol⁻¹ cm⁻¹.

    Parameters
    ----------
    spectrum
        Decadic absorbance or transmittance.
    path_length
        cm.
    concentration
        mol/L; or, for an ideal gas, the partial `pressure` [Pa] and `temperature` [K].

    Raises
    ------
    InvalidInputError
        Neither a concentration nor pressure and temperature are given, or both, or one of them is
        not positive.
    """
    if (concentration is None) == (pressure is None or temperature is None):
        raise InvalidInputError(
            "give it, or the pressure and the temperature of a gas", key="concentration"
        )
    if concentration is None:
        assert pressure is not None and temperature is not None
        concentration = pressure / (GAS_CONSTANT * temperature) * 1e-3
    length = positive("path_length", path_length, unit="cm")
    amount = positive("concentration", concentration, unit="mol/L")
    return _per_mole(absorbance(spectrum), length * amount)


def gas_absorption(spectrum: Spectrum) -> Spectrum:
    """Return the molar absorption coefficient of a gas from absorbance per fraction and length.

    Parameters
    ----------
    spectrum
        Decadic absorbance per (µmol/mol) and m, as in the quantitative infrared
        database of NIST, with pressure and temperature in its record.

    Half of the files of that database give the atmospheric pressure as 101.3 Pa; this is read as
    kPa, with a warning.

    Raises
    ------
    InvalidInputError
        It has another unit, or its record lacks pressure and temperature.
    """
    instance("spectrum", spectrum, Spectrum)
    if "MICROMOL/MOL" not in spectrum.unit.upper() or "BASE 10" not in spectrum.unit.upper():
        expected = "decadic absorbance per (µmol/mol) m"
        raise InvalidInputError(key="unit", value=spectrum.unit, expected=expected)
    pressure, _ = _stated(spectrum, "PRESSURE", {"KPA": 1e3, "PA": 1.0, "ATM": 101325.0})
    if 90.0 < pressure < 110.0:
        pressure *= 1e3
        warning = f"the file says {pressure / 1e3:g} Pa, which is read as kPa"
        spectrum = replace(spectrum, warnings=(*spectrum.warnings, warning))
    temperature, unit = _stated(spectrum, "TEMPERATURE", {"K": 1.0, "C": 1.0})
    if unit == "C":
        temperature += 273.15
    # mol per litre of a fraction of 1e-6, over 100 cm
    concentration = 1e-6 * pressure / (GAS_CONSTANT * temperature) * 1e-3
    return _per_mole(spectrum, 100.0 * concentration)


def _per_mole(spectrum: Spectrum, amount: float) -> Spectrum:
    """Return an absorbance divided by path length times concentration, cm mol/L."""
    label = "molar absorption coefficient"
    return spectrum.scaled(1.0 / amount, unit="L/(mol cm)", label=label)


def _stated(spectrum: Spectrum, key: str, units: dict[str, float]) -> tuple[float, str]:
    """Return a number, times the factor of its unit, and the unit in a JCAMP-DX record."""
    text = str(spectrum.provenance.get(key, ""))
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]+)\s*", text)
    if match is None or match.group(2).upper() not in units:
        expected = f"a number and one of {', '.join(units)}"
        raise InvalidInputError(key=key, value=text, expected=expected)
    unit = match.group(2).upper()
    return float(match.group(1)) * units[unit], unit


# --- resolution -----------------------------------------------------------------------


def broadened(spectrum: Spectrum, fwhm: float, shape: str = "gaussian") -> Spectrum:
    """Return a spectrum broadened by the finite resolution of an instrument.

    Parameters
    ----------
    spectrum
        Spectrum on an even grid.
    fwhm
        Full width at half maximum of the instrument's line shape, cm⁻¹.
    shape
        ``"gaussian"``, ``"lorentzian"`` or ``"triangular"`` (a grating with
        equal slits).

    Raises
    ------
    InvalidInputError
        The grid is not even, the width not positive, or the shape unknown.
    """
    step = instance("spectrum", spectrum, Spectrum).even_step()
    line_shape = LINE_SHAPES[one_of("shape", shape, LINE_SHAPES)]
    n = len(spectrum)
    width = within("fwhm", positive("fwhm", fwhm, unit="cm⁻¹"), 0.0, n * step, unit="cm⁻¹")
    line = line_shape(step * np.arange(-(n - 1), n), width)
    line /= line.sum()

    def convolve(y: np.ndarray) -> np.ndarray:
        return np.asarray(fftconvolve(y, line, mode="full")[n - 1 : 2 * n - 1])

    return spectrum.mapped(convolve, f"broadened, {shape}, {fwhm:g} cm⁻¹", standard_error=None)
