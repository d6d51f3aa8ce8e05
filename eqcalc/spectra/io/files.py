# SPDX-License-Identifier: MIT
"""Spectra as files: HDF5, CSV and JCAMP-DX."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc import hdf5
from eqcalc.files import read_text, replacing
from eqcalc.spectra.io.jcamp import LARGEST_WAVENUMBER, read_jcamp, write_jcamp
from eqcalc.spectra.io.text import split_table
from eqcalc.spectra.provenance import provenance_facts, title
from eqcalc.spectra.raman_scattering import RamanSpectrum
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    file_path,
    file_suffix,
    located,
    within,
)

_FORMAT = "eqcalc spectrum"
_RAMAN_FORMAT = "eqcalc Raman spectrum"
_VERSION = 1
#: Descriptions of other HDF5 files of eqcalc, for error messages.
_OTHER_FILES = {
    _RAMAN_FORMAT: "the isotropic and the anisotropic part, of which every Raman intensity is "
    "composed, not one spectrum; give an intensity, such as spectrum-raman.h5 or "
    "spectrum-raman-cross-section.h5 (in Python: read_raman)",
    "eqcalc trajectory": "a trajectory, not a spectrum; make one with eqcalc spectra",
    "eqcalc dataset": "a dataset, not a spectrum",
}
_ARRAYS = ("wavenumber", "values", "standard_error", "samples")
_RECORD_LINE = "# eqcalc: "


def write_spectrum(spectrum: Spectrum | RamanSpectrum, path: str | Path) -> Path:
    """Write a spectrum as HDF5 (``.h5``), CSV (``.csv``) or JCAMP-DX (``.jdx``), atomically.

    All three preserve values, errors, provenance and history. Only HDF5 stores the bootstrap
    samples (hundreds of spectra), without which errors of bands and sums are upper limits. Raman
    spectra with both parts are written as HDF5.

    Raises
    ------
    InvalidInputError
        The suffix is another one, or a value cannot be represented in the format.
    OSError
        The file cannot be written; an existing file is left unchanged.
    """
    path = file_path(path)
    if not isinstance(spectrum, Spectrum | RamanSpectrum):
        raise InvalidInputError(key="spectrum", value=spectrum, expected="a spectrum")
    writers = _RAMAN_WRITERS if isinstance(spectrum, RamanSpectrum) else _WRITERS
    writer: Callable[[Any, Path], None] = writers[file_suffix(path, writers, key="path")]
    path.parent.mkdir(parents=True, exist_ok=True)
    with located(file=path), replacing(path) as temporary:
        writer(spectrum, temporary)
    return path


def read_spectrum(path: str | Path) -> Spectrum:
    """Read what :func:`write_spectrum` wrote, or a JCAMP-DX file of an instrument.

    Raises
    ------
    InvalidFileError
        There is no such file, or it is not a spectrum, or damaged.
    """
    path = existing_file(path, "a spectrum file")
    reader = _READERS[file_suffix(path, _READERS, key="path")]
    with located(file=path):
        return reader(path)


def read_raman(path: str | Path) -> RamanSpectrum:
    """Read both parts of a Raman spectrum, as :func:`write_spectrum` writes them.

    Raises
    ------
    InvalidFileError
        There is no such file, or it is not a Raman spectrum, or damaged.
    """
    path = existing_file(path, "a Raman spectrum file")
    with located(file=path), hdf5.reading(path, "a spectrum") as file:
        if file.attrs.get("format") != _RAMAN_FORMAT:
            raise InvalidFileError(expected="both parts of a Raman spectrum, from eqcalc")
        try:
            parts = file["isotropic"], file["anisotropic"]
            temperature = float(file.attrs["temperature"])
        except KeyError as error:
            raise InvalidFileError(f"damaged ({error.args[0]})") from None
        return RamanSpectrum(_extract(parts[0]), _extract(parts[1]), temperature)


def is_written_by_eqcalc(path: Path) -> bool:
    """Return whether a file is a CSV spectrum written by eqcalc."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    return f"\n{_RECORD_LINE}".encode() in path.read_bytes()


# --- metadata of a spectrum ---------------------------------------------------------


def _metadata(spectrum: Spectrum) -> dict[str, Any]:
    """Return everything but the arrays, JSON-able."""
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "label": spectrum.label,
        "unit": spectrum.unit,
        "n_independent": spectrum.n_independent,
        "provenance": spectrum.provenance,
        "warnings": list(spectrum.warnings),
        "history": list(spectrum.history),
    }


def _from_metadata(text: str, arrays: Mapping[str, np.ndarray | None], place: str = "") -> Spectrum:
    """Return the spectrum of a record in JSON, which is at `place`, and its arrays."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidFileError(f"damaged ({error})", key=place) from None
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise InvalidFileError(expected="a spectrum written by eqcalc")
    if record.get("version") != _VERSION:
        raise InvalidFileError(
            key="version",
            value=record.get("version"),
            expected=f"{_VERSION}, the only one known",
            advice="update eqcalc",
        )
    given: dict[str, Any] = {n: arrays[n] for n in _ARRAYS if arrays.get(n) is not None}
    needed = {"label", "unit", "n_independent", "wavenumber", "values"}
    missing = sorted(needed - record.keys() - given.keys())
    if missing:
        raise InvalidFileError(f"incomplete, without {', '.join(missing)}")
    try:
        spectrum = Spectrum(
            **{name: np.asarray(array, dtype=float) for name, array in given.items()},
            unit=str(record["unit"]),
            label=str(record["label"]),
            n_independent=int(record["n_independent"]),
            provenance=dict(record.get("provenance", {})),
            warnings=tuple(map(str, record.get("warnings", ()))),
            history=tuple(map(str, record.get("history", ()))),
        )
        for end in spectrum.wavenumber[[0, -1]]:
            within("wavenumber", float(end), 0.0, LARGEST_WAVENUMBER, unit="cm⁻¹")
        return spectrum
    except InvalidInputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidFileError(f"damaged ({error})", key=place) from None


# --- HDF5 -----------------------------------------------------------------------------


def _fill(group: h5py.Group, spectrum: Spectrum) -> None:
    """Write the arrays and metadata of a spectrum into a group."""
    group.attrs["eqcalc"] = json.dumps(_metadata(spectrum), ensure_ascii=False)
    # attributes for other programs, which do not read that record
    group.attrs["title"] = title(spectrum.label, spectrum.provenance)
    for name, text in provenance_facts(spectrum.provenance).items():
        group.attrs[name] = text
    for name in _ARRAYS:
        array = getattr(spectrum, name)
        if array is not None:
            data = group.create_dataset(name, data=array, compression="gzip", shuffle=True)
            data.attrs["unit"] = "cm^-1" if name == "wavenumber" else spectrum.unit


def _extract(group: h5py.Group) -> Spectrum:
    arrays = {name: group[name][()] for name in _ARRAYS if name in group}
    return _from_metadata(group.attrs.get("eqcalc", "null"), arrays, "attribute 'eqcalc'")


def _write_hdf5(spectrum: Spectrum, path: Path) -> None:
    with hdf5.writing(path) as file:
        file.attrs["format"] = _FORMAT
        _fill(file, spectrum)


def _read_hdf5(path: Path) -> Spectrum:
    with hdf5.reading(path, "a spectrum") as file:
        other = _OTHER_FILES.get(file.attrs.get("format"))
        if other is not None:
            raise InvalidFileError(other)
        return _extract(file)


def _write_raman(spectrum: RamanSpectrum, path: Path) -> None:
    with hdf5.writing(path) as file:
        file.attrs["format"] = _RAMAN_FORMAT
        file.attrs["temperature"] = spectrum.temperature
        for name in ("isotropic", "anisotropic"):
            _fill(file.create_group(name), getattr(spectrum, name))


# --- CSV ------------------------------------------------------------------------------


def _write_csv(spectrum: Spectrum, path: Path) -> None:
    text = io.StringIO()
    text.write(f"# {spectrum.label} [{spectrum.unit}] against wavenumber [cm^-1]\n")
    for name, fact in provenance_facts(spectrum.provenance).items():
        text.write(f"# {name}: {fact}\n")
    for warning in spectrum.warnings:
        text.write(f"# warning: {warning}\n")
    text.write(f"{_RECORD_LINE}{json.dumps(_metadata(spectrum), ensure_ascii=False)}\n")
    columns = {
        name: getattr(spectrum, name)
        for name in ("wavenumber", "values", "standard_error")
        if getattr(spectrum, name) is not None
    }
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    # repr is the shortest text that restores the same number
    rows = zip(*columns.values(), strict=True)
    writer.writerows([repr(float(v)) for v in row] for row in rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def _read_csv(path: Path) -> Spectrum:
    lines = read_text(path).splitlines()
    records = [line[len(_RECORD_LINE) :] for line in lines if line.startswith(_RECORD_LINE)]
    if len(records) != 1:
        raise InvalidFileError(
            expected=f"a spectrum written by eqcalc, with a line that starts with {_RECORD_LINE!r}"
        )
    columns = next((line for line in lines if not line.startswith("#")), "").split(",")
    table = split_table(enumerate(lines, 1))
    if len(table.rows) < 2:
        raise InvalidFileError("no values")
    some = range(len(columns))
    values = table.numbers(some, ", ".join(columns), missing=some[1:])
    arrays = dict(zip(columns, values.T, strict=True))
    return _from_metadata(records[0], arrays, "header")


# --- JCAMP-DX -------------------------------------------------------------------------


def _write_jcamp(spectrum: Spectrum, path: Path) -> None:
    path.write_text(write_jcamp(spectrum, _metadata(spectrum)), encoding="utf-8")


def read_jcamp_file(path: Path) -> Spectrum:
    """Read a JCAMP-DX file of any name; see :func:`read_spectrum`."""
    spectrum, record, error = read_jcamp(read_text(path), path)
    if record is None:
        return spectrum
    arrays = {
        "wavenumber": spectrum.wavenumber,
        "values": spectrum.values,
        "standard_error": error,
    }
    return _from_metadata(record, arrays, "##$EQCALC")


_WRITERS: dict[str, Callable[[Spectrum, Path], None]] = {
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".csv": _write_csv,
    ".jdx": _write_jcamp,
    ".dx": _write_jcamp,
}
_RAMAN_WRITERS = {".h5": _write_raman, ".hdf5": _write_raman}
_READERS: dict[str, Callable[[Path], Spectrum]] = {
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".csv": _read_csv,
    ".jdx": read_jcamp_file,
    ".dx": read_jcamp_file,
    ".jcm": read_jcamp_file,
    ".jcamp": read_jcamp_file,
}
