# SPDX-License-Identifier: MIT
"""Write the comparison of computed spectra with lists of measured bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eqcalc.files import write_atomically
from eqcalc.reports.files import read_calculated, write_record
from eqcalc.spectra import compare_bands, known_fundamentals, plot_bands, read_bands, save_figure
from eqcalc.spectra.experiment.comparison import spectroscopy
from eqcalc.spectra.figures import dynamics_name
from eqcalc.spectra.provenance import title
from eqcalc.validation import InvalidInputError, located


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
        eqcalc files; HDF5 files contain the samples needed for errors of positions and areas.
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
    spectra = [read_calculated(path) for path in calculated]
    names = list(names or map(dynamics_name, spectra))
    if len(names) != len(spectra):
        expected = f"{len(spectra)}, one for each computed spectrum"
        raise InvalidInputError(key="names (--name)", value=len(names), expected=expected)
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
        f"{comparison.table()}"
        for spectrum, name, comparison in zip(spectra, names, found, strict=True)
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
