# SPDX-License-Identifier: MIT
"""The predicted spectrum of a molecule: its conformers, and their weighted sum."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import ase.io
import numpy as np

from eqcalc.anharmonic import motion_table
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.facts import aligned, facts_table, number
from eqcalc.files import make_folder, replacing, write_atomically
from eqcalc.prediction.bands import (
    Conformer,
    PredictedBand,
    error_budget,
    predicted_bands,
)
from eqcalc.prediction.errors import Calibration
from eqcalc.prediction.point_groups import symmetry
from eqcalc.prediction.report import read_experiment, report_page
from eqcalc.reports.page import Page
from eqcalc.spectra import plot_spectrum, save_figure, write_spectrum
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.spectra.spectrum import Spectrum

#: Measured spectra or lists of bands, or their files.
Measured = Sequence[Spectrum | BandList | str | Path]


@dataclass(frozen=True, repr=False)
class Prediction:
    """The infrared and Raman spectrum of a gas.

    Parameters
    ----------
    name
        What was asked for.
    level
        Level of theory.
    temperature
        K.
    fwhm
        Resolution, cm⁻¹.
    conformers
        In descending order of population.
    notes
        What a reader has to know.
    asked
        The arguments of :func:`~eqcalc.prediction.predict`, if they can be written down.
    calibration
        Constants of the error of the level of theory, if they are known.
    """

    name: str
    level: str
    temperature: float
    fwhm: float
    conformers: tuple[Conformer, ...]
    notes: tuple[str, ...] = ()
    asked: Mapping[str, Any] = field(default_factory=dict)
    calibration: Calibration | None = None

    @cached_property
    def infrared(self) -> Spectrum:
        """Infrared spectrum, km/mol per cm⁻¹: lines with the envelope of a rigid top."""
        spectra = [c.spectrum for c in self.conformers]
        return self._weighted([s.gas_infrared(self.temperature, self.fwhm) for s in spectra])

    @cached_property
    def raman(self) -> Spectrum | None:
        """Raman activity, Å⁴/amu per cm⁻¹, or None if the level has no polarizabilities."""
        spectra = [c.spectrum for c in self.conformers]
        if spectra[0].polarizability_derivative is None:
            return None
        return self._weighted([s.gas_raman(self.temperature, self.fwhm) for s in spectra])

    def without_rotation(self, kind: str) -> Spectrum | None:
        """Return the lines without rotation, for comparison with lists of bands.

        See :meth:`eqcalc.prediction.Conformer.without_rotation`.
        """
        spectra = [conformer.without_rotation(kind) for conformer in self.conformers]
        known = [spectrum for spectrum in spectra if spectrum is not None]
        return self._weighted(known) if known else None

    @cached_property
    def bands(self) -> tuple[PredictedBand, ...]:
        """Fundamentals and visible transitions of all conformers, in ascending order."""
        return predicted_bands(self.conformers, self.calibration)

    @property
    def treatment(self) -> str:
        """How the vibrations are treated: VCI, or (scaled) harmonic."""
        return self.conformers[0].treatment

    def _weighted(self, spectra: Sequence[Spectrum]) -> Spectrum:
        """Return the sum of the spectra of all conformers on the longest axis."""
        longest = max(spectra, key=lambda spectrum: len(spectrum.wavenumber))
        values = np.zeros_like(longest.values)
        for conformer, spectrum in zip(self.conformers, spectra, strict=True):
            values[: len(spectrum.values)] += conformer.weight * spectrum.values
        weights = [round(conformer.weight, 4) for conformer in self.conformers]
        record = {"level_of_theory": self.level, "conformer_weights": weights}
        return replace(longest, values=values, provenance={**longest.provenance, **record})

    def __repr__(self) -> str:
        found = self.conformers[0].spectrum.fundamentals()
        shown = ", ".join(f"{nu:.0f}" for nu in found if not math.isnan(nu))
        return (
            f"{type(self).__name__}({self.name}; {self.level}; {self.temperature:g} K; "
            f"conformers: {len(self.conformers)}; fundamentals {shown} cm⁻¹)"
        )

    def summary(self) -> str:
        """Return what was found as text."""
        parts = [f"{self.name}: {self.treatment} at {self.level}, gas at {self.temperature:g} K"]
        for i, conformer in enumerate(self.conformers, 1):
            parts.append(
                f"conformer {i} of {len(self.conformers)}: population {conformer.weight:.2f}, "
                f"{1000.0 * conformer.free_energy:.1f} meV, {symmetry(conformer.atoms).point_group}"
            )
            parts.append(conformer.spectrum.table(PRINTED))
            if conformer.motions:
                parts.append(motion_table(conformer.motions))
        first = [band for band in self.bands if band.conformer == 0]
        budget = error_budget(first, self.treatment)
        parts.append("errors of positions (conformer 1)\n" + aligned(budget, (0,)))
        measured = self.compared()
        if measured:
            parts.append(measured)
        parts += [f"note: {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"

    def compared(self) -> str:
        """Return the fundamentals beside measured ones as text; empty if none are known."""
        first = self.conformers[0]
        listed = first.fundamentals("infrared") or first.fundamentals("raman")
        if listed is None:
            return ""
        found: dict[tuple[str, float], PredictedBand] = {}
        for band in self.bands:
            if band.conformer == 0 and band.assigned:  # of degenerate modes the first
                found.setdefault((band.assigned, band.measured.value), band)
        rows = [["assignment", "measured", "expected", "deviation", "state"]]
        rows.append(["", *["cm⁻¹"] * 3, ""])
        deviations = []
        for name, value in first.measured:
            partner = found.get((name, value.value))
            row = [name, number(value.value, ".0f")]
            if partner is None:
                rows.append([*row, "–", "–", "no such fundamental near it"])
                continue
            deviations.append(partner.expected - value.value)
            row += [number(partner.expected), f"{deviations[-1]:+.1f}", partner.state]
            rows.append(row)
        text = f"{listed.label}, beside positions without the known bias\n"
        if self.calibration is None:
            text = f"{listed.label}\n"
        text += aligned(rows, (0, 4))
        if deviations:
            text += (
                f"\n{len(deviations)} of {len(rows) - 2} found; deviation/cm⁻¹: mean "
                f"{np.mean(deviations):+.1f}, mean absolute {np.mean(np.abs(deviations)):.1f}"
            )
        return text

    def report(self, path: str | Path, measured: Measured = ()) -> Path:
        """Write one HTML page with everything, which needs no network.

        Parameters
        ----------
        path
            The file, such as ``report.html``.
        measured
            Measured spectra or lists of bands to compare with; what does not state its kind is
            taken as infrared.
        """
        write_atomically(Path(path), self.page(measured).html())
        return Path(path)

    def page(self, measured: Measured = ()) -> Page:
        """Return the page of :meth:`report`, which notebooks show within a cell."""
        items = [read_experiment(m) if isinstance(m, str | Path) else m for m in measured]
        return report_page(self, items)

    def write(self, folder: str | Path, measured: Measured = ()) -> Path:
        """Write structures, spectra, transitions, figures, summary and page into a folder.

        See :meth:`report` for `measured`.
        """
        folder = Path(folder)
        make_folder(folder)
        for i, conformer in enumerate(self.conformers, 1):
            with replacing(folder / f"conformer-{i}.xyz") as temporary:
                # a copy has no calculator
                ase.io.write(temporary, conformer.atoms.copy(), format="extxyz")
        for name, spectrum in (("infrared", self.infrared), ("raman", self.raman)):
            if spectrum is not None:
                write_spectrum(spectrum, folder / f"{name}.csv")
                save_figure(plot_spectrum(spectrum), folder / f"{name}.png")
            if (sharp := self.without_rotation(name)) is not None:
                write_spectrum(sharp, folder / f"{name}-without-rotation.csv")
        record = {
            "molecule": self.name,
            "level_of_theory": self.level,
            "temperature_K": self.temperature,
            "conformers": [
                {"weight": c.weight, "free_energy_eV": c.free_energy, **c.spectrum.to_dict()}
                for c in self.conformers
            ],
            "bands": [_record(band) for band in self.bands],
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "notes": list(self.notes),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
        write_atomically(folder / "transitions.json", text + "\n")
        write_atomically(folder / "summary.txt", self.summary())
        self.report(folder / "report.html", measured)
        return folder

    def _repr_html_(self) -> str:
        facts = {"level of theory": self.level, "temperature": f"{self.temperature:g} K"}
        for band in self.bands:
            strengths = ((band.infrared, "km/mol"), (band.raman, "Å⁴/amu"))
            known = [f"{x:.1f} {unit}" for x, unit in strengths if not math.isnan(x)]
            place = f"{band.expected:.1f} ± {band.error:.1f} cm⁻¹"
            facts[place] = "; ".join([band.state, *known])
        return facts_table(f"Prediction of {self.name}", facts)


def _record(band: PredictedBand) -> dict[str, Any]:
    """Return a band with its errors as JSON-able values; what is unknown is left out."""
    values = {
        "wavenumber_cm-1": band.wavenumber,
        "expected_cm-1": band.expected,
        "bias_cm-1": band.bias,
        **{f"error_{source}_cm-1": error for source, error in band.errors.items()},
        "error_cm-1": band.error,
        "error_95_cm-1": band.error_95,
        "infrared_km/mol": band.infrared,
        "infrared_error_km/mol": band.infrared_error,
        "raman_angstrom4/amu": band.raman,
        "raman_error_angstrom4/amu": band.raman_error,
    }
    known = {name: value for name, value in values.items() if not math.isnan(value)}
    named = {"irrep": band.irrep} if band.irrep else {}
    return {"state": band.state, "conformer": band.conformer + 1, **named, **known}
