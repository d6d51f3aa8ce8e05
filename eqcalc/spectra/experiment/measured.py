# SPDX-License-Identifier: MIT
"""Reading of measured spectra, conversion of absorption units, instrumental broadening."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import fftconvolve

from eqcalc.spectra.experiment.ordinates import (
    TRANSMITTANCE,
    check_kind,
    is_absorbance,
    is_quantity,
    is_transmittance,
    ordinate,
    states_quantity,
)
from eqcalc.spectra.io.files import is_written_by_eqcalc, read_jcamp_file, read_spectrum
from eqcalc.spectra.io.jcamp import to_wavenumber
from eqcalc.spectra.io.text import Table, averaged, parse_table, read_text
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

#: Titles of a first column that is not a wavenumber.
_OTHER_AXIS = re.compile(
    r"wave ?length|wellenl|^\W*(nm|[µμu]m|microns?|m/z|ppm|time|(2 ?)?(theta|θ)|pixel|channel"
    r"|kK|angle|voltage|potential|retention|temperature|pressure|concentration)\b"
    r"|[(\[/] *(nm|[µμu]m|microns?|nanomet\w*|micromet\w*|[TG]Hz|m?eV|1/m|m\^?-1|m⁻¹)(?!\w)",
    re.IGNORECASE,
)
#: Among them those that are converted: wavelengths and frequencies in a unit.
_UNIT_OF_AXIS = re.compile(
    r"(?<![a-z])(nm|[µμu]m|microns?|nanomet(?:er|re)s?|micromet(?:er|re)s?|[TG]Hz"
    r"|1/m|m\^?-1|m⁻¹)(?!\w)",
    re.IGNORECASE,
)
_PER_METRE = ("1/m", "m-1", "m^-1", "m⁻¹")
#: How LabSpec states the unit of the first column.
_LABSPEC_AXIS = re.compile(r"^AxisUnit\[1\]\W+([^\s\d]+)\s*$")
#: Titles of wavenumbers without a unit, which a quantity may have too.
_NAMED_WAVENUMBER = re.compile(r"wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
_WAVENUMBER = re.compile(r"cm\^?[-−⁻]|1/cm|wave ?number|wellenzahl|raman ?shift", re.IGNORECASE)
#: A JCAMP-DX file by its labels; other files too mark their header with ##.
_JCAMP = re.compile(
    r"^[ \t]*##\s*(JCAMP-?DX|XY-?DATA|XY-?POINTS|PEAK ?TABLE|NTUPLES|DATA ?TYPE)\s*=", re.I | re.M
)
#: Titles of a first column.
_AXIS = re.compile(rf"{_WAVENUMBER.pattern}|frequency|shift|^ *x\b", re.IGNORECASE)
#: Columns of a spectrum with errors; wide tables are checked for several spectra.
_FEW = 4
#: Median above which a transmittance is in percent.
_PERCENT = 2.0
#: Share of one side, see :func:`excursions`, beyond which a curve has dips or peaks; levels of its
#: baseline relative to the maximum; and the shortest curve that is judged.
_ONE_SIDED, _HIGH, _LOW, _FEWEST_POINTS, _EXAMINED = 0.5, 0.4, 0.2, 40, 2000
#: Titles of columns that are not the spectrum, and of the one that is, beside others.
_BESIDE = re.compile(r"^\W*(dark|reference|background|blank|pixel|index|err|std|sd|σ|±)", re.I)
_FINAL = re.compile(r"dark ?subtracted|corrected|processed", re.IGNORECASE)
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
    inside = int(np.sum((x >= lower) & (x <= upper)))
    if inside < 3:
        raise InvalidInputError(
            f"{inside} points between them", key="limits", value=(lower, upper), expected="three"
        )
    first = int(np.searchsorted(x, lower, side="right")) - 1
    last = int(np.searchsorted(x, upper, side="left"))
    return spectrum.between(float(x[first]), float(x[last]))


def read_table(path: str | Path, *, unit: str, label: str) -> Spectrum:
    """Read a measured spectrum from two columns of text: wavenumber [cm⁻¹] and value.

    The header may say that the first column is in µm, nm, GHz or THz instead.

    Decimal points or decimal commas; blanks, tabs, semicolons or commas between
    columns; a header, and comments after ``#``. The points may come in any
    order; values at the same wavenumber are averaged.

    Raises
    ------
    InvalidFileError
        There is no such file; it has another form or is ambiguous; or its header says that the
        first column is not a wavenumber, wavelength or frequency.
    """
    path = file_path(path)
    with located(file=path):
        table = parse_table(read_text(path))
        _check_one_spectrum(table)
        unit_of_axis = _unit_of_axis(table.header)
        place, values, titles = _columns_of_spectrum(table)
        provenance = {"file": path.name, **_header_statements(table.header)}
        if table.header:
            provenance["header"] = " | ".join(table.header)
        if titles and (place, values) != (0, 1):
            provenance["column"] = titles[values]
            if states_quantity(titles[values]):
                provenance["YUNITS"] = titles[values].strip()
        names = {1: "second", 2: "third", 3: "fourth"}
        more = (
            f"the file has {table.n_columns} columns, of which the "
            f"{names.get(values, f'{values + 1}th')} is used"
        )
        if place:  # pixels of no wavenumber
            table = table.filled(place)
        x, y = table.numbers((place, values), "a wavenumber and a value", missing=(values,)).T
        if unit_of_axis and place == 0:
            x = to_wavenumber(x, unit_of_axis, " ".join(table.header), "first column")
        return Spectrum(
            *averaged(x, y),
            unit=unit,
            label=label,
            provenance=provenance,
            history=(f"wavenumbers from {unit_of_axis}",) if unit_of_axis else (),
            warnings=(more,) if table.n_columns > 2 else (),
        )


def _check_one_spectrum(table: Table) -> None:
    """Raise an error for a table of several spectra: a time series or a map."""
    widths, first = [len(words) for words in table.words], table.first
    several = "a time series or a map, not one spectrum"
    advice = "write one spectrum, in two columns, to a file"
    headed = 2 <= widths[0] < min(widths[1:]) == max(widths)
    if headed or (table.n_columns > _FEW and len(set(widths)) > 1):
        # the line of wavenumbers has no number of its own
        raise InvalidFileError(
            f"lines of {min(widths)} and of {max(widths)} numbers: {several}",
            key=f"line {table.rows[int(np.argmin(widths))].number}",
            advice=advice,
        )
    repeated = len(first) >= 4 * len(np.unique(first))
    back = np.diff(first) < 0.0
    mixed = table.n_columns > _FEW and 0.25 < back.mean() < 0.75
    if table.n_columns > 2 and (repeated or mixed):
        problem = f"repeats {first[0]:g}: {several}" if repeated else "is not in order"
        raise InvalidFileError(
            problem, key="first column", expected="wavenumbers in cm⁻¹", advice=advice
        )
    titled = len(re.split("[\t;,]", table.header[-1])) > 2 if table.header else False
    if table.n_columns > max(_FEW, len(first)) or (table.n_columns > _FEW and not titled):
        problem = f"{table.n_columns} columns without titles: {several}"
        raise InvalidFileError(problem, key=f"line {table.rows[0].number}", advice=advice)


def _header_statements(header: tuple[str, ...]) -> dict[str, str]:
    """Return what a header says of the kind of spectrum and the quantity of the second column."""
    found: dict[str, str] = {}
    graph = next((i for i, line in enumerate(header) if line.strip() in ("GR", "#GR")), None)
    if graph is not None and graph + 2 < len(header):  # Perkin-Elmer: the two units
        return {"YUNITS": header[graph + 2].strip()}
    for line in header:
        tab = "\t" in line
        name, *others = re.split(r"\t" if tab else r"[=:,;]| {2,}", line)
        key = re.sub(r"[\s_-]", "", name).upper()
        value = " ".join(others).strip()
        if key in ("DATATYPE", "YUNITS") and value:
            found[key] = value
        elif name.strip()[-1:] in ("=", ":"):
            continue  # a setting, not a title
        elif others and (_AXIS.search(name) or line == header[-1]) and states_quantity(others[0]):
            title = others[0].strip()
            if len(title) > 1 or len(others) == 1:  # not sample A and sample B
                found.setdefault("YUNITS", title)
    return found


def _columns_of_spectrum(table: Table) -> tuple[int, int, list[str]]:
    """Return the columns of the wavenumber and the value, and the titles, if there are any.

    They are the first two unless titles say others.

    Of several wavenumbers it is the Raman shift, and of several values the corrected one, or the
    first that is no reference or error.
    """
    titles = re.split(r"\t+|;|,", table.header[-1].rstrip(";,\t ")) if table.header else []
    found = [i for i, title in enumerate(titles) if _WAVENUMBER.search(title)]
    place = 0
    # of two, the first must be a quantity, as in "counts; wavenumber"
    several = len(titles) > 2 or (len(titles) > 0 and is_quantity(titles[0]))
    known = len(titles) == table.n_columns and titles[0].strip()[-1:] not in ("=", ":")
    if known and found and several:
        shifts = [i for i in found if re.search(r"shift", titles[i], re.IGNORECASE)]
        place = (shifts or found)[0]
    if not known or len(titles) <= _FEW:
        values = place + 1 if place + 1 < table.n_columns else place - 1
        return place, values, titles if known else []
    others = [i for i in range(len(titles)) if i > place] or [place - 1]
    final = [i for i in others if _FINAL.search(titles[i])]
    value = [i for i in others if not _BESIDE.search(titles[i])]
    return place, (final or value or others)[0], titles


def _unit_of_axis(header: tuple[str, ...]) -> str | None:
    """Return the unit of the first column if it is a wavelength or frequency by the header.

    InvalidFileError: it is something else, or has no unit.
    """
    for line in header:
        labspec = None if _WAVENUMBER.search(line) else _LABSPEC_AXIS.match(line)
        title, *others = re.split("[,;\t]", re.sub(r"^XUNITS\W*", "[", line))
        # a title has no number, unlike the wavelength of a laser or the place on a stage
        numbers = re.search(r"\d(?! ?(theta|θ)|/m\b)(?<!m-1)(?<!m\^-1)", title) or any(
            re.fullmatch(r"[ \d.+-]+", x) for x in others
        )
        if labspec is None and (numbers or not _OTHER_AXIS.search(title)):
            continue
        unit = _UNIT_OF_AXIS.search(title)
        per_metre = unit is not None and unit.group(1).lower() in _PER_METRE
        named = _WAVENUMBER.search(title) or any(map(_NAMED_WAVENUMBER.search, others))
        if named and not per_metre:
            continue
        if unit is not None and labspec is None:
            return unit.group(1)
        raise InvalidFileError(
            key="header of the first column",
            value=line[:60],
            expected="wavenumbers in cm⁻¹, or wavelengths or frequencies with their unit",
        )
    return None


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
