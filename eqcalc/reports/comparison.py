# SPDX-License-Identifier: MIT
"""From files of computed spectra and a measured one to a figure and scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqcalc.files import write_atomically
from eqcalc.spectra.experiment.comparison import Comparison, compare
from eqcalc.spectra.experiment.measured import read_measured
from eqcalc.spectra.figures import dynamics_name, plot_comparison, save_figure
from eqcalc.spectra.infrared_absorption import convert_infrared
from eqcalc.spectra.io import read_spectrum
from eqcalc.spectra.spectrum import Spectrum


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
    unit: str = "arbitrary units",
    reversed_axis: bool = False,
) -> str:
    """Compare files of computed spectra with a measured one; write a figure and the scores.

    Parameters
    ----------
    calculated
        Files of eqcalc; HDF5 files have the samples that intervals come from.
    measured
        See :func:`eqcalc.spectra.read_measured`.
    folder
        Receives ``comparison.txt``, ``comparison.json`` and ``comparison.png``.
    lower, upper, scale_range, fwhm
        See :func:`compare`.
    names
        Of the computed spectra in the legend; their dynamics by default.
    unit
        Of a measured spectrum in a text file.
    reversed_axis
        Wavenumbers fall from left to right.

    Returns
    -------
    What is in ``comparison.txt``.
    """
    spectra = [_read_calculated(path) for path in calculated]
    target = read_measured(measured, unit=unit, limits=(lower, upper))
    names = list(names or map(dynamics_name, spectra))
    if len(names) != len(spectra):
        raise ValueError(
            f"names (--name): expected {len(spectra)}, one for each computed spectrum, got "
            f"{len(names)}"
        )
    options: dict[str, Any] = {"scale_range": scale_range, "fwhm": fwhm}
    found = []
    for path, spectrum in zip(calculated, spectra, strict=True):
        try:
            found.append(compare(spectrum, target, lower=lower, upper=upper, **options))
        except ValueError as error:
            raise ValueError(f"{path} against {measured}: {error}") from None
    notes = [f"note: {warning}" for warning in target.warnings]
    texts = ["\n".join([f"{Path(measured).name}, {lower:g} to {upper:g} cm⁻¹", *notes])]
    for name, comparison, spectrum in zip(names, found, spectra, strict=True):
        texts.append(f"{name}\n{comparison.table()}{_absolute(spectrum, target, comparison)}")
    text = "\n\n".join(texts)
    record = {
        "measured": {"file": str(measured), **target.provenance},
        "calculated": [
            {"file": str(path), "name": name, **comparison.to_dict()}
            for path, name, comparison in zip(calculated, names, found, strict=True)
        ],
    }
    folder = Path(folder)
    figure = plot_comparison(found, names, reversed_axis=reversed_axis)
    save_figure(figure, folder / "comparison.png")
    for name, content in (
        ("comparison.txt", text),
        ("comparison.json", json.dumps(record, indent=1, ensure_ascii=False)),
    ):
        write_atomically(folder / name, content + "\n")
    return text


def _read_calculated(path: str | Path) -> Spectrum:
    try:
        return read_spectrum(path)
    except ValueError as error:
        raise ValueError(
            f"{error}; computed spectra come first, in files of eqcalc, and the measured one last"
        ) from None


def _absolute(spectrum: Spectrum, measured: Spectrum, comparison: Comparison) -> str:
    """Return a line with both integrated absorptions, if both are in absolute units."""
    try:
        ours, theirs = (convert_infrared(s, "intensity") for s in (spectrum, measured))
    except ValueError:
        return ""
    lower, upper = comparison.measured.wavenumber[[0, -1]]
    scale = comparison.wavenumber_scale.value
    a, b = ours.integrate(lower / scale, upper / scale), theirs.integrate(lower, upper)
    return (
        f"\nintegrated absorption: computed {a.value:.1f} ± {a.error:.1f} km/mol, "
        f"measured {b.value:.1f} km/mol"
    )
