# SPDX-License-Identifier: MIT
"""Which spectroscopy a spectrum is of, from what is recorded about it."""

from __future__ import annotations

import re

from eqcalc.spectra.infrared import INFRARED_QUANTITIES
from eqcalc.spectra.spectrum import Spectrum

__all__ = ["check_intensity", "kind_of"]

_RAMAN_UNITS = ("Å⁴/amu per cm⁻¹", "cm²/sr per cm⁻¹")
_INFRARED_UNITS = tuple(unit for unit, _, _ in INFRARED_QUANTITIES.values())
#: Beginnings of labels of absorption that has no unit of its own.
_INFRARED_LABELS = ("absorbance", "absorption coefficient", "imaginary part of the permittivity")
#: Quantities that have no bands whose intensities could be compared.
_NO_INTENSITIES = ("depolarization ratio", "refractive index", "real part of the permittivity")


def kind_of(spectrum: Spectrum) -> str | None:
    """Return ``"infrared"``, ``"Raman"`` or ``"density of states"``; None if it is not known.

    Known are spectra of eqcalc, JCAMP-DX files with their data type, units of
    absorption, and what the header of a text file says.
    """
    record = spectrum.provenance
    stated = " ".join(str(record.get(key, "")) for key in ("DATATYPE", "header"))
    if spectrum.unit.startswith("states per"):
        return "density of states"
    raman = spectrum.unit in _RAMAN_UNITS or re.search("raman", stated, re.IGNORECASE)
    infrared = (
        spectrum.unit in _INFRARED_UNITS
        or spectrum.label.startswith(_INFRARED_LABELS)
        or re.search("TRANSMITTANCE|ABSORBANCE", spectrum.unit.upper())
        or re.search("infrared|transmittance|absorbance|ft-?ir", stated, re.IGNORECASE)
    )
    if bool(raman) == bool(infrared):
        return None
    return "Raman" if raman else "infrared"


def check_intensity(spectrum: Spectrum) -> None:
    """Refuse what is no intensity, such as a depolarization ratio."""
    if spectrum.label.startswith(_NO_INTENSITIES):
        raise ValueError(
            f"a {spectrum.label}, which has no bands to compare; state a spectrum of intensities, "
            "such as infrared or raman-cross-section"
        )
