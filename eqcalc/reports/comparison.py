# SPDX-License-Identifier: MIT
"""Write the comparison of computed spectra with a measured one, or with lists of bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqcalc.facts import with_error
from eqcalc.files import write_atomically, write_record
from eqcalc.spectra import (
    Comparison,
    Spectrum,
    compare,
    compare_bands,
    convert_infrared,
    known_fundamentals,
    plot_bands,
    plot_comparison,
    read_bands,
    read_measured,
    read_spectrum,
    save_figure,
)
from eqcalc.spectra.experiment.comparison import spectroscopy
from eqcalc.spectra.figures import dynamics_name
from eqcalc.spectra.frames import LABORATORY
from eqcalc.spectra.provenance import sample, title
from eqcalc.validation import InvalidInputError, located


def write_comparison(
    calculated: Sequence[str | Path],
    measured: str | Path,
    folder: str | Path,
    *,
    lower: float,
    upper: float,
    scale_range: tuple[float, float] | None = None,
    fwhm: float | None = None,
    names: Sequence[str] | None = None,
    unit: str | None = None,
    reversed_axis: bool = False,
) -> str:
    """Compare files of computed spectra with a measured one; write a figure and the scores.

    Parameters
    ----------
    calculated
        eqcalc files; HDF5 files contain the samples needed for confidence intervals.
    measured
        See :func:`eqcalc.spectra.read_measured`.
    folder
        Output folder for ``comparison.txt``, ``comparison.json`` and ``comparison.png``.
    lower, upper, scale_range, fwhm
        See :func:`compare`.
    names
        Legend labels of the computed spectra; by default their dynamics method.
    unit
        Unit of the measured values, if the file does not state it.
    reversed_axis
        Wavenumbers decrease from left to right.

    Returns
    -------
    The content of ``comparison.txt``.
    """
    spectra, names = _read_named(calculated, names)
    target = read_measured(measured, unit=unit, limits=(lower, upper))
    options: dict[str, Any] = {"scale_range": scale_range, "fwhm": fwhm}
    found = []
    for path, spectrum in zip(calculated, spectra, strict=True):
        try:
            found.append(compare(spectrum, target, lower=lower, upper=upper, **options))
        except InvalidInputError as error:
            error.key = f"{path} against {measured}: {error.key}"
            raise
    notes = [f"note: {warning}" for warning in target.warnings]
    texts = ["\n".join([f"{Path(measured).name}, {lower:g} to {upper:g} cm⁻¹", *notes])]
    for name, comparison, spectrum in zip(names, found, spectra, strict=True):
        told = sample(spectrum.provenance)
        texts.append(
            f"{name}\n{told}\n{comparison.table()}{_absolute(spectrum, target, comparison)}"
        )
    text = "\n\n".join(texts)
    record = {
        "measured": {"file": str(measured), **target.provenance},
        "calculated": [
            {"file": str(path), "name": name, "provenance": s.provenance, **c.to_dict()}
            for path, name, s, c in zip(calculated, names, spectra, found, strict=True)
        ],
    }
    folder = Path(folder)
    figure = plot_comparison(found, names, reversed_axis=reversed_axis)
    save_figure(figure, folder / "comparison.png")
    write_atomically(folder / "comparison.txt", text + "\n")
    write_record(folder / "comparison.json", record)
    return text


def write_band_comparison(
    calculated: Sequence[str | Path],
    measured: str | Path | None,
    folder: str | Path,
    *,
    molecule: str | None = None,
    names: Sequence[str] | None = None,
    reversed_axis: bool = False,
    **options: Any,
) -> str:
    """Compare files of computed spectra with a list of bands; write tables and figures.

    Parameters
    ----------
    calculated
        eqcalc files; HDF5 files contain the samples needed for errors of positions and areas. Of a
        spectrum with rotational envelopes, whose maxima are P and R branches, the file
        ``…-without-rotation`` beside it is compared.
    measured
        See :func:`eqcalc.spectra.read_bands`; None for the fundamentals of the molecule of each
        spectrum.
    folder
        Output folder for ``bands.txt``, ``bands.json`` and one ``bands.png`` for each spectrum.
    molecule
        Name of the molecule, instead of recognition; see :func:`eqcalc.spectra.known_fundamentals`.
    names
        Names of the computed spectra; by default their dynamics method.
    reversed_axis
        Wavenumbers decrease from left to right.
    options
        See :func:`eqcalc.spectra.compare_bands`.

    Returns
    -------
    The content of ``bands.txt``.
    """
    read, names = _read_named(calculated, names)
    spectra, notes = zip(*map(_without_rotation, calculated, read), strict=True)
    found = []
    for path, spectrum in zip(calculated, spectra, strict=True):
        with located(file=path):
            if measured is None:
                listed = known_fundamentals(spectrum, molecule)
            else:
                listed = read_bands(measured, spectroscopy(spectrum))
            found.append(compare_bands(spectrum, listed, **options))
    text = "\n\n".join(
        f"{title(spectrum.label, spectrum.provenance)}, {name}, beside {comparison.listed.label}\n"
        f"{comparison.table()}{note}"
        for spectrum, name, comparison, note in zip(spectra, names, found, notes, strict=True)
    )
    folder = Path(folder)
    for number, (name, comparison) in enumerate(zip(names, found, strict=True), 1):
        figure = plot_bands(comparison, name, reversed_axis)
        save_figure(figure, folder / f"bands{'' if len(found) == 1 else f'-{number}'}.png")
    write_atomically(folder / "bands.txt", text + "\n")
    record = [
        {"file": str(path), "name": name, **comparison.to_dict()}
        for path, name, comparison in zip(calculated, names, found, strict=True)
    ]
    write_record(folder / "bands.json", {"measured": str(measured), "calculated": record})
    return text


def _without_rotation(path: str | Path, spectrum: Spectrum) -> tuple[Spectrum, str]:
    """Return the spectrum without rotational envelopes, if it is beside it, and a note about it."""
    path, record = Path(path), spectrum.provenance
    of_gas = "rotational_temperature_K" in record
    if not of_gas and record.get("frame") != LABORATORY:
        return spectrum, ""
    other = path.with_name(f"{path.stem}-without-rotation{path.suffix}")
    if other.is_file():
        note = f"\nnote: these are bands of {other.name}, since {path.name} contains rotation"
        return read_spectrum(other), note
    if not of_gas:  # perhaps of a liquid
        return spectrum, ""
    note = (
        f"\nnote: {path.name} contains rotation: what is matched may be P and R branches; eqcalc "
    )
    return spectrum, f"{note}predict writes {other.name}, whose bands are vibrations"


def _read_named(
    calculated: Sequence[str | Path], names: Sequence[str] | None
) -> tuple[list[Spectrum], list[str]]:
    """Read computed spectra, named by default by their dynamics method."""
    spectra = []
    for path in calculated:
        try:
            spectra.append(read_spectrum(path))
        except InvalidInputError as error:
            kinds = ("infrared", "raman")  # of a folder of results
            inside = [str(file) for kind in kinds for file in Path(path).glob(f"*{kind}.csv")]
            if inside:
                error.advice = f"in it is {' and '.join(inside)}"
            order = "computed spectra come first, in files of eqcalc, and the measured one last"
            error.advice = f"{error.advice}; {order}" if error.advice else order
            raise
    names = list(names or map(dynamics_name, spectra))
    if len(names) != len(spectra):
        expected = f"{len(spectra)}, one for each computed spectrum"
        raise InvalidInputError(key="names (--name)", value=len(names), expected=expected)
    return spectra, names


def _absolute(spectrum: Spectrum, measured: Spectrum, comparison: Comparison) -> str:
    """Return a line with both integrated absorptions, if both are absolute."""
    try:
        ours, theirs = (convert_infrared(s, "intensity") for s in (spectrum, measured))
    except InvalidInputError:
        return ""
    lower, upper = comparison.measured.wavenumber[[0, -1]]
    scale = comparison.wavenumber_scale.value
    a, b = ours.integrate(lower / scale, upper / scale), theirs.integrate(lower, upper)
    return (
        f"\nintegrated absorption: computed {with_error(*a)} km/mol, measured {b.value:.1f} km/mol"
    )
