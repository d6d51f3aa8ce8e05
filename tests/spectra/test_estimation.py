# SPDX-License-Identifier: MIT
"""No combination of options changes the area of a band beyond its stated effect."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eqcalc.spectra import Estimation, convert_infrared, infrared, raman
from eqcalc.spectra.estimation import LagWindowError
from eqcalc.spectra.estimator.correlation import transfer_function
from eqcalc.spectra.estimator.windows import WINDOWS
from eqcalc.spectra.observable import EstimationOptions
from eqcalc.spectra.quantum_factors import quantum_factor
from eqcalc.spectra.raman_scattering import stokes_factor
from eqcalc.units import conversion_factor
from tests.errors import refused
from tests.spectra.oscillators import angular, oscillator, vector

TEMPERATURE, TIMESTEP = 250.0, 0.5
UNIT_INTENSITY = 974.880110


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    wavenumber=st.floats(900.0, 3500.0),
    window=st.sampled_from(sorted(set(WINDOWS) - {"rectangular", "bartlett"})),
    estimator=st.sampled_from(["correlation", "correlation", "welch", "multitaper"]),
    resolution=st.floats(40.0, 70.0),
    padding=st.integers(2, 8),
    errors=st.sampled_from([None, "replicas", "blocks", "none"]),
    stride=st.sampled_from([1, 2, 3]),
    difference=st.sampled_from(["exact", "velocity-verlet", "none"]),
    frequency_correction=st.booleans(),
    factor=st.sampled_from(["harmonic", "standard", "schofield", "none"]),
    quantity=st.sampled_from(["intensity", "molar absorption coefficient", "cross-section"]),
    ragged=st.booleans(),
)
def test_the_area_is_what_the_options_say(
    wavenumber,
    window,
    estimator,
    resolution,
    padding,
    errors,
    stride,
    difference,
    frequency_correction,
    factor,
    quantity,
    ragged,
):
    x = vector(oscillator(wavenumber, 1.0, 1.0, TEMPERATURE, TIMESTEP, 24000, 4))[:, ::stride]
    data = [x[0], x[1][:-500], x[2], x[3][:-100]] if ragged else x
    interval = TIMESTEP * stride
    spectrum = infrared(
        data,
        interval=interval,
        temperature=TEMPERATURE,
        unit="e*Å",
        timestep=TIMESTEP,
        window=window,
        estimator=estimator,
        resolution=resolution,
        padding=padding,
        errors=errors,
        n_samples=8,
        finite_difference=difference,
        frequency_correction=frequency_correction,
        quantum_factor=factor,
        quantity=quantity,
    )
    expected = UNIT_INTENSITY
    if difference != "exact":
        expected *= transfer_function(wavenumber, interval)
    if difference == "velocity-verlet":
        expected /= transfer_function(wavenumber, interval, TIMESTEP)
    centre = wavenumber
    if frequency_correction:
        u = np.pi * 2.99792458e-5 * TIMESTEP
        centre = np.sin(u * wavenumber) / u
    at = np.array([centre])
    harmonic = quantum_factor(at, TEMPERATURE, "harmonic")[0]
    expected *= quantum_factor(at, TEMPERATURE, factor)[0] / harmonic
    # a factor that grows with wavenumber acts on the wings of a broad kernel too
    tolerance = 0.01 if factor == "harmonic" else 0.02 + 0.004 * resolution**2 / 300.0
    half = 6.0 * resolution
    found = convert_infrared(spectrum, "intensity").integrate(centre - half, centre + half)
    assert abs(found.value / expected - 1.0) < tolerance


@pytest.mark.slow
@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    wavenumber=st.floats(900.0, 3500.0),
    window=st.sampled_from(["hann", "blackman", "parzen", "gaussian", "hamming"]),
    estimator=st.sampled_from(["correlation", "correlation", "welch", "multitaper"]),
    errors=st.sampled_from([None, "replicas", "blocks", "none"]),
    form=st.sampled_from(["tensor", "components", "derivative"]),
    unit=st.sampled_from(["Å^3", "bohr^3", "e^2*Å^2/eV"]),
    n_molecules=st.sampled_from([1, 3]),
    laser=st.sampled_from([488.0, 532.0, 1064.0]),
    anti_stokes=st.booleans(),
    photon_counting=st.booleans(),
)
def test_raman_areas_are_what_the_options_say(
    wavenumber,
    window,
    estimator,
    errors,
    form,
    unit,
    n_molecules,
    laser,
    anti_stokes,
    photon_counting,
):
    x = oscillator(wavenumber, 1.0, 1.0, TEMPERATURE, TIMESTEP, 12000, 4)
    mode = np.array([[1.0, 0.2, 0.0], [0.2, 2.0, 0.0], [0.0, 0.0, 0.5]])
    series = x[..., None, None] * mode * conversion_factor("Å^3", unit)
    if form == "derivative":
        # exact for a sampled sinusoid: central differences over their transfer function
        u = angular(wavenumber) * TIMESTEP
        series = (series[:, 2:] - series[:, :-2]) / (2.0 * TIMESTEP) * (u / np.sin(u))
    elif form == "components":
        series = series[..., [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    spectrum = raman(
        **{"derivative" if form == "derivative" else "data": series},
        interval=TIMESTEP,
        temperature=TEMPERATURE,
        unit=f"{unit}/fs" if form == "derivative" else unit,
        window=window,
        estimator=estimator,
        errors=errors,
        resolution=50.0,
        n_samples=8,
        n_molecules=n_molecules,
    )
    mean = np.trace(mode) / 3.0
    beta = mode - mean * np.eye(3)
    isotropic, anisotropic = mean**2 / n_molecules, 1.5 * np.sum(beta**2) / n_molecules
    limits = (wavenumber - 300.0, wavenumber + 300.0)
    expected = 45.0 * isotropic + 7.0 * anisotropic
    assert abs(spectrum.activity().integrate(*limits).value / expected - 1.0) < 0.01
    ratio = 3.0 * anisotropic / (45.0 * isotropic + 4.0 * anisotropic)
    assert abs(spectrum.band_depolarization(*limits).value - ratio) < 1e-3
    kw = {"anti_stokes": anti_stokes, "photon_counting": photon_counting}
    if wavenumber + 300.0 < 1e7 / laser:
        weight = stokes_factor(wavenumber, TEMPERATURE, laser, **kw)
        section = spectrum.cross_section(laser, **kw).integrate(*limits).value
        # the factor varies over the wings of the kernel, most of all the Bose factor's
        assert abs(section / (expected * weight) - 1.0) < 0.06


def test_options_are_the_fields_of_the_estimation():
    assert list(EstimationOptions.__annotations__) == [item.name for item in fields(Estimation)]


KNOWN = {"temperature": 300.0, "unit": "e*Å", "interval": 0.5}


def test_intensity_where_molecules_do_not_vibrate_is_warned_of():
    x = vector(oscillator(3000.0, n_frames=4000, n_replicas=2))
    right = infrared(x, **KNOWN)
    wrong = infrared(x, **{**KNOWN, "interval": 0.25})  # 3000 becomes 6000 cm⁻¹
    assert not any("interval" in warning for warning in right.warnings)
    assert any("100% is above 5000 cm⁻¹" in w and "0.25 fs" in w for w in wrong.warnings)


def test_no_intensity_is_said():
    spectrum = infrared(np.tile([1.5, 0.0, -2.0], (2000, 1)), **KNOWN)
    assert not spectrum.values.any()
    assert any("none at all" in warning for warning in spectrum.warnings)


def test_too_few_frames_or_too_far_apart_are_refused():
    x = vector(oscillator(3000.0, n_frames=400, n_replicas=1))
    for n in (2, 3, 5):
        with refused(LagWindowError, key="lag, replica 0"):
            infrared(x[:, :n], **KNOWN)
    with refused(LagWindowError, advice="is the interval of 1000 fs right?"):
        infrared(x, **{**KNOWN, "interval": 1000.0})
