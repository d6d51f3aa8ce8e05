# SPDX-License-Identifier: MIT
"""Measured spectra: reading them, and what an instrument does to a spectrum."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from eqcalc.spectra.spectrum import Spectrum
from eqcalc.units import GAS_CONSTANT

__all__ = [
    "absorbance",
    "broadened",
    "gas_absorption",
    "molar_absorption",
    "read_measured",
    "read_table",
]


def read_measured(path: str | Path, *, unit: str = "arbitrary units") -> Spectrum:
    """Read a measured spectrum: JCAMP-DX, a file of eqcalc, or two columns of text.

    Transmittance becomes absorbance, and the absorption per fraction and path
    length of a gas (as in quantitative collections) the molar absorption
    coefficient.

    Parameters
    ----------
    path
        ``.jdx``, ``.dx``, ``.h5``, ``.csv`` of eqcalc, or any other ending for text.
    unit
        Of the second column of a text file.
    """
    path = Path(path)
    if path.suffix.lower() in (".jdx", ".dx", ".jcm", ".h5", ".hdf5", ".csv"):
        spectrum = Spectrum.read(path)
    else:
        spectrum = read_table(path, unit=unit, label=path.stem)
    if re.search("TRANSMITTANCE|ABSORBANCE|^%?T$", spectrum.unit.upper()):
        return absorbance(spectrum)
    if "MICROMOL/MOL" in spectrum.unit.upper():
        return gas_absorption(spectrum)
    return spectrum


def read_table(path: str | Path, *, unit: str, label: str) -> Spectrum:
    """Read a measured spectrum from two columns of text: wavenumber [cm⁻¹] and value.

    Lines that start with ``#`` are comments. The points may come in any order;
    values at the same wavenumber are averaged.

    Parameters
    ----------
    path
        The file.
    unit, label
        Of the values.
    """
    path = Path(path)
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        text = line.split("#", 1)[0].replace(",", " ").replace(";", " ").split()
        if not text:
            continue
        try:
            rows.append((float(text[0]), float(text[1])))
        except (ValueError, IndexError):
            raise ValueError(
                f"{path}, line {number}: expected a wavenumber and a value, got {line.strip()!r}"
            ) from None
    if len(rows) < 2:
        raise ValueError(f"{path}: fewer than two points")
    table = np.array(rows)
    wavenumber, inverse, counts = np.unique(table[:, 0], return_inverse=True, return_counts=True)
    values = np.bincount(inverse.ravel(), table[:, 1]) / counts
    return Spectrum(wavenumber, values, unit, label, provenance={"file": path.name})


def absorbance(spectrum: Spectrum) -> Spectrum:
    """Return the decadic absorbance −log₁₀T of a spectrum in transmittance or absorbance.

    Raises
    ------
    ValueError
        The unit is neither, or the transmittance is not positive somewhere:
        cut the range with :meth:`Spectrum.between`.
    """
    unit = spectrum.unit.upper()
    if unit.startswith("ABSORBANCE") or (unit == "1" and spectrum.label == "absorbance"):
        return replace(spectrum, unit="1", label="absorbance")
    if not ("TRANSMITTANCE" in unit or unit in ("T", "%T")):
        raise ValueError(f"neither transmittance nor absorbance: {spectrum.unit!r}")
    percent = "PERCENT" in unit or "%" in unit
    transmittance = spectrum.values / (100.0 if percent else 1.0)
    if np.any(transmittance <= 0.0):
        where = float(spectrum.wavenumber[np.argmin(transmittance)])
        raise ValueError(f"the transmittance is not positive at {where:g} cm⁻¹ (saturated?)")
    if not percent and np.median(transmittance) > 2.0:
        raise ValueError("a transmittance above 1: the file gives percent without saying so")
    return replace(
        spectrum,
        values=-np.log10(transmittance),
        standard_error=None,
        samples=None,
        unit="1",
        label="absorbance",
        history=(*spectrum.history, "absorbance from transmittance"),
    )


def molar_absorption(
    spectrum: Spectrum,
    *,
    path_length: float,
    concentration: float | None = None,
    pressure: float | None = None,
    temperature: float | None = None,
) -> Spectrum:
    """Return the molar absorption coefficient of a sample of known amount.

    Parameters
    ----------
    spectrum
        Decadic absorbance or transmittance.
    path_length
        cm.
    concentration
        mol/L; or of an ideal gas its partial `pressure` [Pa] and `temperature` [K].

    Raises
    ------
    TypeError
        Neither a concentration nor pressure and temperature are given, or both.
    """
    if (concentration is None) == (pressure is None or temperature is None):
        raise TypeError("give the concentration, or the pressure and the temperature of a gas")
    if concentration is None:
        assert pressure is not None and temperature is not None
        concentration = pressure / (GAS_CONSTANT * temperature) * 1e-3
    for name, number in (("path_length", path_length), ("concentration", concentration)):
        if not number > 0.0:
            raise ValueError(f"{name}: expected a positive number, got {number}")
    return absorbance(spectrum).scaled(
        1.0 / (path_length * concentration),
        unit="L/(mol cm)",
        label="molar absorption coefficient",
    )


def gas_absorption(spectrum: Spectrum) -> Spectrum:
    """Return the molar absorption coefficient of a gas from absorbance per fraction and length.

    Parameters
    ----------
    spectrum
        Decadic absorbance per (µmol/mol) and m, as in the quantitative infrared
        database of NIST, with pressure and temperature in its record.

    Half of the files of that database state an atmosphere as 101.3 Pa; this is
    taken as kPa, with a warning.

    Raises
    ------
    ValueError
        It has another unit, or its record does not state pressure and temperature.
    """
    if "MICROMOL/MOL" not in spectrum.unit.upper() or "BASE 10" not in spectrum.unit.upper():
        raise ValueError(f"not decadic absorbance per (µmol/mol) m: {spectrum.unit!r}")
    pressure = _quantity(spectrum, "PRESSURE", {"KPA": 1e3, "PA": 1.0, "ATM": 101325.0})
    warnings = spectrum.warnings
    if 90.0 < pressure < 110.0:
        pressure *= 1e3
        warnings = (*warnings, f"the file says {pressure / 1e3:g} Pa, which is taken as kPa")
    temperature = _quantity(spectrum, "TEMPERATURE", {"K": 1.0, "C": 1.0})
    if str(spectrum.provenance["TEMPERATURE"]).strip().upper().endswith("C"):
        temperature += 273.15
    # mol per litre of a fraction of 1e-6, over 100 cm
    concentration = 1e-6 * pressure / (GAS_CONSTANT * temperature) * 1e-3
    absolute = spectrum.scaled(
        1.0 / (100.0 * concentration), unit="L/(mol cm)", label="molar absorption coefficient"
    )
    return replace(absolute, warnings=warnings)


def _quantity(spectrum: Spectrum, key: str, units: dict[str, float]) -> float:
    """Return a number with its unit from the record of a JCAMP-DX file."""
    text = str(spectrum.provenance.get(key, ""))
    match = re.fullmatch(r"\s*([\d.]+)\s*([A-Za-z]+)\s*", text)
    if match is None or match.group(2).upper() not in units:
        raise ValueError(f"{key}: expected a number and one of {', '.join(units)}, got {text!r}")
    return float(match.group(1)) * units[match.group(2).upper()]


def broadened(spectrum: Spectrum, fwhm: float, shape: str = "gaussian") -> Spectrum:
    """Return a spectrum as seen by an instrument of a finite resolution.

    Parameters
    ----------
    spectrum
        On an even grid.
    fwhm
        Full width at half maximum of the instrument's line shape, cm⁻¹.
    shape
        ``"gaussian"``, ``"lorentzian"`` or ``"triangular"`` (a grating with
        equal slits).
    """
    steps = np.diff(spectrum.wavenumber)
    step = float(steps.mean())
    if not np.allclose(steps, step, rtol=1e-6):
        raise ValueError("broadening needs an even grid of wavenumbers; interpolate first")
    if not fwhm > 0.0:
        raise ValueError(f"fwhm: expected a positive width in cm⁻¹, got {fwhm}")
    n = len(spectrum)
    distance = step * np.arange(-(n - 1), n)
    if shape == "gaussian":
        line = np.exp(-4.0 * np.log(2.0) * (distance / fwhm) ** 2)
    elif shape == "lorentzian":
        line = 1.0 / (1.0 + (2.0 * distance / fwhm) ** 2)
    elif shape == "triangular":
        line = np.maximum(1.0 - np.abs(distance) / fwhm, 0.0)
    else:
        raise ValueError(f"unknown line shape {shape!r}; known: gaussian, lorentzian, triangular")
    line /= line.sum()

    from scipy.signal import fftconvolve

    def convolve(y: np.ndarray) -> np.ndarray:
        return np.asarray(fftconvolve(y, line, mode="full")[n - 1 : 2 * n - 1])

    return replace(
        spectrum,
        values=convolve(spectrum.values),
        samples=None
        if spectrum.samples is None
        else np.array([convolve(y) for y in spectrum.samples]),
        standard_error=None,
        history=(*spectrum.history, f"broadened, {shape}, {fwhm:g} cm⁻¹"),
    )
