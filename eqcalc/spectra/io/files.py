# SPDX-License-Identifier: MIT
"""Spectra as files: HDF5, CSV and JCAMP-DX."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eqcalc.spectra.io.jcamp import read_jcamp, write_jcamp
from eqcalc.spectra.io.text import read_text
from eqcalc.spectra.provenance import source_facts, title
from eqcalc.spectra.raman_scattering import RamanSpectrum
from eqcalc.spectra.spectrum import Spectrum

_FORMAT = "eqcalc spectrum"
_RAMAN_FORMAT = "eqcalc Raman spectrum"
_VERSION = 1
#: What other HDF5 files of eqcalc are, for those who take them for a spectrum.
_OTHER_FILES = {
    _RAMAN_FORMAT: "the isotropic and the anisotropic part, of which every Raman intensity is "
    "made, and not one spectrum; state an intensity, such as spectrum-raman.h5 or "
    "spectrum-raman-cross-section.h5 (in Python: read_raman)",
    "eqcalc trajectory": "a trajectory, not a spectrum; make one with eqcalc spectra",
    "eqcalc dataset": "a dataset, not a spectrum",
}
_ARRAYS = ("wavenumber", "values", "standard_error", "samples")


class SpectrumFileError(ValueError):
    """A file is not a spectrum, or not one that can be read."""


def atomically(path: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a temporary file beside `path`, then put it in its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        # mkstemp makes private files; give it the permissions of a new file
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def metadata(spectrum: Spectrum) -> dict[str, Any]:
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


def from_metadata(record: Any, arrays: dict[str, np.ndarray | None], path: Path) -> Spectrum:
    """Return the spectrum of a record of :func:`metadata` and its arrays."""
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise SpectrumFileError(f"{path}: not a spectrum written by eqcalc")
    if record.get("version") != _VERSION:
        raise SpectrumFileError(
            f"{path}: version {record.get('version')} of the format, but only version {_VERSION} "
            "is known; update eqcalc"
        )
    missing = [key for key in ("label", "unit", "n_independent") if key not in record]
    wavenumber, values = arrays.get("wavenumber"), arrays.get("values")
    if missing or wavenumber is None or values is None:
        raise SpectrumFileError(f"{path}: incomplete, without {', '.join(missing) or 'values'}")
    try:
        return Spectrum(
            wavenumber=wavenumber,
            values=values,
            unit=record["unit"],
            label=record["label"],
            standard_error=arrays.get("standard_error"),
            samples=arrays.get("samples"),
            n_independent=int(record["n_independent"]),
            provenance=record.get("provenance", {}),
            warnings=tuple(record.get("warnings", ())),
            history=tuple(record.get("history", ())),
        )
    except ValueError as error:
        raise SpectrumFileError(f"{path}: {error}") from None


# --- HDF5 -----------------------------------------------------------------------------


def _fill(group: h5py.Group, spectrum: Spectrum) -> None:
    """Write the arrays and the record of a spectrum into a group."""
    group.attrs["eqcalc"] = json.dumps(metadata(spectrum), ensure_ascii=False)
    # what other programs, which do not read that record, can show
    group.attrs["title"] = title(spectrum.label, spectrum.provenance)
    for name, text in source_facts(spectrum.provenance).items():
        group.attrs[name] = text
    for name in _ARRAYS:
        array = getattr(spectrum, name)
        if array is not None:
            data = group.create_dataset(name, data=array, compression="gzip", shuffle=True)
            data.attrs["unit"] = "cm^-1" if name == "wavenumber" else spectrum.unit


def _extract(group: h5py.Group, path: Path) -> Spectrum:
    try:
        record = json.loads(group.attrs.get("eqcalc", "null"))
    except json.JSONDecodeError as error:
        raise SpectrumFileError(f"{path}: damaged attribute 'eqcalc' ({error})") from None
    return from_metadata(record, {n: group[n][()] for n in _ARRAYS if n in group}, path)


def _write_hdf5(spectrum: Spectrum, path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = _FORMAT
        _fill(file, spectrum)


def _read_hdf5(path: Path) -> Spectrum:
    try:
        with h5py.File(path, "r") as file:
            other = _OTHER_FILES.get(file.attrs.get("format"))
            if other is not None:
                raise SpectrumFileError(f"{path}: {other}")
            return _extract(file, path)
    except OSError as error:
        raise SpectrumFileError(f"{path}: not a readable HDF5 file ({error})") from None


def _write_raman(spectrum: RamanSpectrum, path: Path) -> Path:
    """Write the isotropic and the anisotropic part of a Raman spectrum as HDF5."""
    if path.suffix.lower() not in (".h5", ".hdf5"):
        raise SpectrumFileError(
            f"{path}: a Raman spectrum in two parts is written as .h5; for other formats write "
            "one of its intensities"
        )

    def write(temporary: Path) -> None:
        with h5py.File(temporary, "w") as file:
            file.attrs["format"] = _RAMAN_FORMAT
            file.attrs["temperature"] = spectrum.temperature
            for name in ("isotropic", "anisotropic"):
                _fill(file.create_group(name), getattr(spectrum, name))

    return atomically(path, write)


def read_raman(path: str | Path) -> RamanSpectrum:
    """Read both parts of a Raman spectrum, as :func:`write_spectrum` writes them."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != _RAMAN_FORMAT:
                raise SpectrumFileError(f"{path}: not a Raman spectrum written by eqcalc")
            isotropic, anisotropic = (
                _extract(file[name], path) for name in ("isotropic", "anisotropic")
            )
            return RamanSpectrum(isotropic, anisotropic, float(file.attrs["temperature"]))
    except (OSError, KeyError) as error:
        raise SpectrumFileError(f"{path}: not a readable Raman spectrum ({error})") from None


# --- CSV --------------------------------------------------------------------------------


def _write_csv(spectrum: Spectrum, path: Path) -> None:
    text = io.StringIO()
    record = json.dumps(metadata(spectrum), ensure_ascii=False)
    text.write(f"# {spectrum.label} [{spectrum.unit}] against wavenumber [cm^-1]\n")
    for name, fact in source_facts(spectrum.provenance).items():
        text.write(f"# {name}: {fact}\n")
    for warning in spectrum.warnings:
        text.write(f"# warning: {warning}\n")
    text.write(f"# eqcalc: {record}\n")
    writer = csv.writer(text, lineterminator="\n")
    columns = [spectrum.wavenumber, spectrum.values]
    names = ["wavenumber", "values"]
    if spectrum.standard_error is not None:
        columns.append(spectrum.standard_error)
        names.append("standard_error")
    writer.writerow(names)
    # repr is the shortest text that gives the same number back
    writer.writerows([repr(float(v)) for v in row] for row in zip(*columns, strict=True))
    path.write_text(text.getvalue(), encoding="utf-8")


_RECORD_LINE = "# eqcalc: "


def is_written_by_eqcalc(path: Path) -> bool:
    """Return whether a file is a table of text that eqcalc wrote, with its record."""
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    return f"\n{_RECORD_LINE}".encode() in path.read_bytes()


def _read_csv(path: Path) -> Spectrum:
    lines = read_text(path).splitlines()
    found = [line[len(_RECORD_LINE) :] for line in lines if line.startswith(_RECORD_LINE)]
    if len(found) != 1:
        raise SpectrumFileError(
            f"{path}: not a spectrum written by eqcalc (no line that starts with {_RECORD_LINE!r})"
        )
    try:
        record = json.loads(found[0])
    except json.JSONDecodeError as error:
        raise SpectrumFileError(f"{path}: damaged header ({error})") from None
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    if len(rows) < 3:
        raise SpectrumFileError(f"{path}: no values")
    names, body = rows[0], rows[1:]
    arrays: dict[str, np.ndarray | None] = {}
    try:
        table = np.array([[float(v) for v in row] for row in body])
        arrays.update({name: table[:, i] for i, name in enumerate(names)})
    except (ValueError, IndexError) as error:
        raise SpectrumFileError(f"{path}: damaged table ({error})") from None
    return from_metadata(record, arrays, path)


# --- by the ending of the name ------------------------------------------------------------


def _write_jcamp(spectrum: Spectrum, path: Path) -> None:
    text = write_jcamp(spectrum, json.dumps(metadata(spectrum)))
    path.write_text(text, encoding="utf-8")


def _read_jcamp(path: Path) -> Spectrum:
    spectrum, record, error = read_jcamp(read_text(path), path)
    if record is None:
        return spectrum
    arrays = {
        "wavenumber": spectrum.wavenumber,
        "values": spectrum.values,
        "standard_error": error,
    }
    try:
        return from_metadata(json.loads(record), arrays, path)
    except json.JSONDecodeError as problem:
        raise SpectrumFileError(f"{path}: damaged label ##$EQCALC= ({problem})") from None


_WRITERS: dict[str, Callable[[Spectrum, Path], None]] = {
    ".h5": _write_hdf5,
    ".hdf5": _write_hdf5,
    ".csv": _write_csv,
    ".jdx": _write_jcamp,
    ".dx": _write_jcamp,
}
_READERS: dict[str, Callable[[Path], Spectrum]] = {
    ".h5": _read_hdf5,
    ".hdf5": _read_hdf5,
    ".csv": _read_csv,
    ".jdx": _read_jcamp,
    ".dx": _read_jcamp,
    ".jcm": _read_jcamp,
}


def write_spectrum(spectrum: Spectrum | RamanSpectrum, path: str | Path) -> Path:
    """Write a spectrum as HDF5 (``.h5``), CSV (``.csv``) or JCAMP-DX (``.jdx``), atomically.

    All three give back the same values, errors, record and history. The bootstrap
    samples, with which bands and sums have errors of their own instead of upper limits,
    are kept by HDF5 alone: they are hundreds of spectra. Both parts of a Raman spectrum
    are written as HDF5.
    """
    path = Path(path)
    if isinstance(spectrum, RamanSpectrum):
        return _write_raman(spectrum, path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise SpectrumFileError(
            f"{path}: unknown ending {path.suffix!r}; known: {', '.join(_WRITERS)}"
        )
    return atomically(path, lambda temporary: writer(spectrum, temporary))


def read_spectrum(path: str | Path) -> Spectrum:
    """Read what :func:`write_spectrum` wrote, or a JCAMP-DX file of an instrument."""
    path = Path(path)
    if path.is_dir():
        raise SpectrumFileError(f"{path}: a folder; state a spectrum in it")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise SpectrumFileError(
            f"{path}: unknown ending {path.suffix!r}; known: {', '.join(_READERS)}"
        )
    return reader(path)
