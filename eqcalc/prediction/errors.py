# SPDX-License-Identifier: MIT
r"""The total error of a band: where it comes from, and how its constants are measured.

A transition at ν that gains n_k quanta in modes of harmonic wavenumber ω_k is expected in
experiment at ν − β, and within ± q₆₈ σ and ± q₉₅ σ of that in 68 and 95 of 100 cases:

    β  = Σ_k n_k s_k ω_k + t (Σ_k n_k ω_k − ν),
    σ² = Σ_k n_k² [f² σ_k² + a² ω_k² + b²] + σ_nuclei².

========  ============================================================================
model     f σ_k: σ_k is how members drawn from the distribution of the last layers disagree,
          each at its own minimum, in harmonic and one-mode terms
nuclei    the convergence of VCI: its basis, its nodes, and the effect of the terms of three
          modes, in place of those of four; where these are left out, the part u of the
          anharmonic shift Σ n_k ω_k − ν. Their median effect, the part t of that shift, is in
          β. Against exact results for three modes VCI is off by 0.01 cm⁻¹, so that it has no
          other bias
level     a ω_k and b: all else, the level of theory and what the members of a model do not
          tell of its error. Its bias is the part s_k of the wavenumber, with one constant for
          stretching vibrations of hydrogen and one for all other modes
========  ============================================================================

In the harmonic approximation ν is Σ_k n_k ω_k, s has what anharmonicity lowers wavenumbers by, and
a and b have its spread: there is no error of the nuclei apart from that of the level.

The constants are those of a level of theory or a model, and of a treatment: VCI or harmonic.
``workflows/predict/calibrate.py`` measures them on fundamentals of the table of Shimanouchi: s by
least absolute deviations; t likewise, and u as the mean absolute deviation, from molecules with and
without terms of three modes; a, b and f by maximum likelihood of deviations whose distribution is
exp(−|x|/σ)/2σ, with the uncertainty of the measured values in σ; q₆₈ and q₉₅ as the quantiles of
|x|/σ, whatever their distribution. The same fit to one half of the molecules is tested on the other
half. The formula for several quanta is an extrapolation. Levels without constants have errors of
the model and the nuclei alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eqcalc.files import shipped_data
from eqcalc.validation import one_of

#: Modes above this are stretching vibrations of hydrogen, cm⁻¹.
HYDROGEN = 2500.0
#: How vibrations are treated.
VCI, HARMONIC = TREATMENTS = ("VCI", "harmonic")
#: Beside the shipped models: the constants by the keys of levels.
FILE = "errors-of-levels.json"


class ModelError(NamedTuple):
    """Standard deviations that a model states, by normal mode.

    Parameters
    ----------
    wavenumber
        Of the fundamental, ``[n_modes]``, cm⁻¹.
    infrared, raman
        Of the double-harmonic intensity, ``[n_modes]``, km/mol and Å⁴/amu; None if unknown.
    """

    wavenumber: np.ndarray
    infrared: np.ndarray | None
    raman: np.ndarray | None


@dataclass(frozen=True)
class Calibration:
    """Constants of the error of a level of theory.

    Parameters
    ----------
    level
        Level of theory, as text.
    hydrogen, other
        s of stretching vibrations of hydrogen, and of other modes.
    proportional
        a.
    constant
        b, cm⁻¹.
    model
        f.
    truncation
        t and u.
    quantiles
        q₆₈ and q₉₅.
    molecules, bands
        Number of molecules and fundamentals that the constants were fitted to.
    intensities
        The factor within which 68 % of measured infrared intensities lie, and their number; None
        if none were compared.
    """

    level: str
    hydrogen: float
    other: float
    proportional: float
    constant: float
    model: float
    truncation: tuple[float, float]
    quantiles: tuple[float, float]
    molecules: int
    bands: int
    intensities: tuple[float, int] | None = None

    def scale(self, harmonic: np.ndarray) -> np.ndarray:
        """Return 1 − s of modes of these wavenumbers [cm⁻¹], ``[n_modes]``."""
        return 1.0 - np.where(np.asarray(harmonic) > HYDROGEN, self.hydrogen, self.other)

    def unbiased(self) -> Calibration:
        """Return the constants of positions that the bias was taken from."""
        return replace(self, hydrogen=0.0, other=0.0, truncation=(0.0, 0.0))

    def of_model(self) -> Calibration:
        """Return the constants of a model that has learnt the level.

        What it states of its own error is taken as a standard deviation, which is the half-width
        of 68 % of a Gaussian: f is 1/q₆₈.
        """
        return replace(self, model=1.0 / self.quantiles[0])

    def bias(
        self,
        quanta: np.ndarray,
        harmonic: np.ndarray,
        wavenumber: np.ndarray,
        coupling: np.ndarray,
    ) -> np.ndarray:
        """Return how far transitions are expected above the measured ones, ``[…]``, cm⁻¹.

        Parameters
        ----------
        quanta, harmonic
            n_k and ω_k, ``[…, n_modes]``, cm⁻¹.
        wavenumber
            ν, ``[…]``, cm⁻¹.
        coupling
            Most modes in a term of the surface, ``[…]``.
        """
        nominal = quanta * harmonic
        part = 1.0 - self.scale(harmonic)
        left_out = np.where(coupling < 3, self.truncation[0], 0.0)
        return np.asarray((part * nominal).sum(-1) + left_out * (nominal.sum(-1) - wavenumber))

    def nuclei_error(
        self, converged: np.ndarray, shift: np.ndarray, coupling: np.ndarray
    ) -> np.ndarray:
        """Return the part of σ that the treatment of the nuclei has, ``[…]``, cm⁻¹.

        Parameters
        ----------
        converged
            Error of convergence of VCI on its surface, cm⁻¹.
        shift
            Σ n_k ω_k − ν, cm⁻¹.
        coupling
            Most modes in a term of the surface, ``[…]``.
        """
        return np.hypot(converged, np.where(coupling < 3, self.truncation[1] * shift, 0.0))

    def level_error(self, quanta: np.ndarray, harmonic: np.ndarray) -> np.ndarray:
        """Return the part of σ that the level of theory has, ``[…]``, cm⁻¹; see :meth:`bias`."""
        squared = (self.proportional * np.asarray(harmonic)) ** 2 + self.constant**2
        return np.sqrt((quanta**2 * squared).sum(-1))


class BandError(NamedTuple):
    """The error of the position of a band, cm⁻¹.

    Parameters
    ----------
    bias
        By how much it is expected too high; nan if unknown.
    parts
        Half-widths of 68 % by their sources; standard deviations, not half-widths, if the level
        has no constants.
    wide
        Half-width of 95 % of their sum; nan if unknown.
    """

    bias: float
    parts: dict[str, float]
    wide: float


def band_error(
    quanta: Mapping[int, int],
    wavenumber: float,
    harmonic: np.ndarray,
    convergence: Mapping[str, float],
    coupling: int,
    model: ModelError | None,
    calibration: Calibration | None,
) -> BandError:
    """Return the error of the position of a band.

    Parameters
    ----------
    quanta
        Gained by each mode.
    wavenumber
        ν, cm⁻¹.
    harmonic
        Of all modes, ``[n_modes]``, cm⁻¹.
    convergence
        Errors of VCI by their sources, cm⁻¹; none in the harmonic approximation, whose error is
        part of that of the level.
    coupling
        Most modes in a term of the surface.
    model
        What the model states.
    calibration
        Constants of the level, or None.
    """
    modes = np.array(list(quanta), dtype=int)
    n, omega = np.array(list(quanta.values())), harmonic[modes]
    nuclei = {"nuclei": math.hypot(*convergence.values())} if convergence else {}
    parts = {}
    if model is not None:
        parts["model"] = float(np.sqrt(((n * model.wavenumber[modes]) ** 2).sum()))
    if calibration is None:
        return BandError(math.nan, parts | nuclei, math.nan)
    terms, nu = np.array(coupling), np.array(wavenumber)
    narrow, wide = calibration.quantiles
    parts = {name: narrow * calibration.model * value for name, value in parts.items()}
    for name, converged in nuclei.items():
        total = calibration.nuclei_error(np.array(converged), (n * omega).sum() - nu, terms)
        parts[name] = narrow * float(total)
    parts["level"] = narrow * float(calibration.level_error(n, omega))
    bias = float(calibration.bias(n, omega, nu, terms))
    return BandError(bias, parts, wide / narrow * math.hypot(*parts.values()))


def of_intensities(calibration: Calibration | None) -> str:
    """Return a sentence about the errors of intensities, which no constants describe."""
    found = "errors of intensities are those of the model alone, one standard deviation"
    if calibration is None or calibration.intensities is None:
        return found
    factor, number = calibration.intensities
    return f"{found}; 68 % of {number} measured infrared ones were within a factor of {factor:.2g}"


def read_calibrations(path: Path) -> dict[str, dict[str, Calibration]]:
    """Return the constants in a file by the keys of levels and the :data:`TREATMENTS`."""
    record = json.loads(path.read_text(encoding="utf-8"))

    def tuples(entry: dict[str, Any]) -> dict[str, Any]:
        return {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}

    return {
        key: {treatment: Calibration(**tuples(entry)) for treatment, entry in entries.items()}
        for key, entries in record.items()
    }


@cache
def _shipped() -> dict[str, dict[str, Calibration]]:
    found = shipped_data("models", FILE)
    return read_calibrations(found[0]) if found else {}


def calibration_of(key: str, treatment: str = VCI) -> Calibration | None:
    """Return the constants of a level of theory or a model; None if it has none.

    Parameters
    ----------
    key
        Hash of a model, or the name of the level of theory of a reference method.
    treatment
        One of :data:`TREATMENTS`.
    """
    return _shipped().get(key, {}).get(one_of("treatment", treatment, TREATMENTS))
