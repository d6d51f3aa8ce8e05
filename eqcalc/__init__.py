# SPDX-License-Identifier: MIT
"""eqcalc: vibrational spectra from machine-learned (ring-polymer) molecular dynamics.

The names below are the public face; each is imported when it is first used, so
that ``import eqcalc`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eqcalc._version import __version__

#: Public names and the modules they come from.
_PUBLIC = {
    "Dataset": "eqcalc.datasets",
    "EqCalculator": "eqcalc.calculator",
    "Spectrum": "eqcalc.spectra",
    "Trajectory": "eqcalc.trajectory",
    "anharmonic_spectrum": "eqcalc.anharmonic",
    "harmonic_spectrum": "eqcalc.harmonic",
    "infrared": "eqcalc.spectra",
    "load_model": "eqcalc.models.checkpoint",
    "plot_spectrum": "eqcalc.spectra",
    "predict": "eqcalc.prediction",
    "raman": "eqcalc.spectra",
    "read_run": "eqcalc.ipi",
    "read_spectrum": "eqcalc.spectra",
    "relax": "eqcalc.harmonic",
    "shipped_model": "eqcalc.models.checkpoint",
    "simulate": "eqcalc.dynamics",
    "vibrational_density_of_states": "eqcalc.spectra",
    "write_spectrum": "eqcalc.spectra",
}

__all__ = [
    "Dataset",
    "EqCalculator",
    "Spectrum",
    "Trajectory",
    "__version__",
    "anharmonic_spectrum",
    "harmonic_spectrum",
    "infrared",
    "load_model",
    "plot_spectrum",
    "predict",
    "raman",
    "read_run",
    "read_spectrum",
    "relax",
    "shipped_model",
    "simulate",
    "vibrational_density_of_states",
    "write_spectrum",
]

if TYPE_CHECKING:
    from eqcalc.anharmonic import anharmonic_spectrum
    from eqcalc.calculator import EqCalculator
    from eqcalc.datasets import Dataset
    from eqcalc.dynamics import simulate
    from eqcalc.harmonic import harmonic_spectrum, relax
    from eqcalc.ipi import read_run
    from eqcalc.models.checkpoint import load_model, shipped_model
    from eqcalc.prediction import predict
    from eqcalc.spectra.figures import plot_spectrum
    from eqcalc.spectra.infrared_absorption import infrared
    from eqcalc.spectra.io import read_spectrum, write_spectrum
    from eqcalc.spectra.power import vibrational_density_of_states
    from eqcalc.spectra.raman_scattering import raman
    from eqcalc.spectra.spectrum import Spectrum
    from eqcalc.trajectory import Trajectory


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'eqcalc' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
