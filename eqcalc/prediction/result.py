# SPDX-License-Identifier: MIT
"""The predicted spectrum of a molecule: its conformers, and their weighted sum."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.anharmonic import AnharmonicSpectrum, HinderedRotor, rotor_table
from eqcalc.anharmonic.spectrum import PRINTED
from eqcalc.files import make_folder, write_atomically
from eqcalc.spectra import plot_spectrum, save_figure, write_spectrum
from eqcalc.spectra.experiment.band_matching import compare_bands
from eqcalc.spectra.experiment.fundamentals import known_fundamentals
from eqcalc.spectra.spectrum import Spectrum
from eqcalc.validation import InvalidInputError


@dataclass(frozen=True)
class Conformer:
    """A minimum of a molecule.

    Parameters
    ----------
    atoms
        The structure.
    weight
        Population, mirror images included.
    free_energy
        Above the most stable conformer, eV.
    spectrum
        Its transitions.
    rotors
        Its internal rotations, if modes were left to them.
    """

    atoms: Atoms
    weight: float
    free_energy: float
    spectrum: AnharmonicSpectrum
    rotors: tuple[HinderedRotor, ...]


@dataclass(frozen=True)
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
    """

    name: str
    level: str
    temperature: float
    fwhm: float
    conformers: tuple[Conformer, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def infrared(self) -> Spectrum:
        """Infrared spectrum, km/mol per cm⁻¹: VCI lines with the envelope of a rigid top."""
        return self._weighted(lambda s: s.gas_infrared(self.temperature, self.fwhm))

    @cached_property
    def raman(self) -> Spectrum | None:
        """Raman activity, Å⁴/amu per cm⁻¹, or None if the level has no polarizabilities."""
        if self.conformers[0].spectrum.polarizability_derivative is None:
            return None
        return self._weighted(lambda s: s.gas_raman(self.temperature, self.fwhm))

    def _weighted(self, spectrum_of: Callable[[AnharmonicSpectrum], Spectrum]) -> Spectrum:
        """Return the sum over conformers on the longest axis."""
        found = [spectrum_of(conformer.spectrum) for conformer in self.conformers]
        longest = max(found, key=lambda spectrum: len(spectrum.wavenumber))
        values = np.zeros_like(longest.values)
        for conformer, spectrum in zip(self.conformers, found, strict=True):
            values[: len(spectrum.values)] += conformer.weight * spectrum.values
        weights = [round(conformer.weight, 4) for conformer in self.conformers]
        record = {"level_of_theory": self.level, "conformer_weights": weights}
        return replace(longest, values=values, provenance={**longest.provenance, **record})

    def summary(self) -> str:
        """Return what was found as text."""
        parts = [f"{self.name}: VCI at {self.level}, gas at {self.temperature:g} K"]
        for i, conformer in enumerate(self.conformers, 1):
            parts.append(
                f"conformer {i} of {len(self.conformers)}: population {conformer.weight:.2f}, "
                f"{1000.0 * conformer.free_energy:.1f} meV"
            )
            parts.append(conformer.spectrum.table(PRINTED))
            if conformer.rotors:
                parts.append(rotor_table(conformer.atoms, conformer.rotors))
        measured = self.compared()
        if measured:
            parts.append(measured)
        parts += [f"note: {note}" for note in self.notes]
        return "\n\n".join(parts) + "\n"

    def compared(self) -> str:
        """Return the bands beside the measured fundamentals of the molecule, if they are known."""
        # lines without rotation, at a resolution that separates them
        whole = self.conformers[0].spectrum.infrared(4.0)
        try:
            listed = known_fundamentals(whole)
            return f"{listed.label} (infrared)\n{compare_bands(whole, listed).table()}"
        except InvalidInputError:
            return ""

    def write(self, folder: str | Path) -> Path:
        """Write structures, spectra, transitions, figures and the summary into a folder."""
        folder = Path(folder)
        make_folder(folder)
        for i, conformer in enumerate(self.conformers, 1):
            # a copy has no calculator
            ase.io.write(folder / f"conformer-{i}.xyz", conformer.atoms.copy(), format="extxyz")
        for name, spectrum in (("infrared", self.infrared), ("raman", self.raman)):
            if spectrum is not None:
                write_spectrum(spectrum, folder / f"{name}.csv")
                save_figure(plot_spectrum(spectrum), folder / f"{name}.png")
        record = {
            "molecule": self.name,
            "level_of_theory": self.level,
            "temperature_K": self.temperature,
            "conformers": [
                {"weight": c.weight, "free_energy_eV": c.free_energy, **c.spectrum.to_dict()}
                for c in self.conformers
            ],
            "notes": list(self.notes),
        }
        text = json.dumps(record, indent=1, ensure_ascii=False, default=str)
        write_atomically(folder / "transitions.json", text + "\n")
        write_atomically(folder / "summary.txt", self.summary())
        return folder
