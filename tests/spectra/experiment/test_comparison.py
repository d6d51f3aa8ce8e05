# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Spectrum, infrared, raman
from eqcalc.spectra.experiment.comparison import check_intensity, spectroscopy
from eqcalc.spectra.infrared_absorption import convert_infrared
from tests.errors import refused
from tests.spectra.oscillators import oscillator, vector

KNOWN = {"interval": 0.5, "temperature": 300.0, "resolution": 100.0}


def spectrum(unit="arbitrary units", label="x", **record):
    return Spectrum(np.array([1.0, 2.0]), np.array([1.0, 2.0]), unit, label, provenance=record)


def test_spectra_of_eqcalc():
    series = oscillator(1500.0, n_frames=1000, n_replicas=2)
    absorption = infrared(vector(series), unit="e*Å", **KNOWN)
    assert spectroscopy(absorption) == "infrared"
    assert spectroscopy(convert_infrared(absorption, "molar absorption coefficient")) == "infrared"
    tensors = series[..., None, None] * np.diag([1.0, 1.0, 3.0])
    scattering = raman(tensors, unit="Å^3", **KNOWN)
    for found in (scattering.activity(), scattering.cross_section(532.0), scattering.isotropic):
        assert spectroscopy(found) == "Raman"
        check_intensity(found)
    with refused(key="depolarization ratio"):
        check_intensity(scattering.depolarization_ratio())


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (spectrum(DATATYPE="RAMAN SPECTRUM"), "Raman"),
        (spectrum(DATATYPE="INFRARED SPECTRUM"), "infrared"),
        (spectrum(header="Raman shift/cm-1 | Counts"), "Raman"),
        (spectrum(header="Wavenumber,Absorbance"), "infrared"),
        (spectrum("1", "absorbance"), "infrared"),
        (spectrum("% TRANSMITTANCE"), "infrared"),
        (spectrum("states per cm⁻¹", "density of states"), "density of states"),
        (spectrum("counts", "acetonitrile"), None),
        (spectrum("km/mol per cm⁻¹", header="FT-Raman module"), None),
    ],
)
def test_measured_spectra(found, expected):
    assert spectroscopy(found) == expected
