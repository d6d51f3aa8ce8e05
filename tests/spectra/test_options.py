# SPDX-License-Identifier: MIT
"""No combination of options changes the area of a band beyond its stated effect."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eqcalc.spectra import convert_infrared, infrared
from eqcalc.spectra.correlation import transfer_function
from eqcalc.spectra.quantum import relative_quantum_factor
from eqcalc.spectra.windows import WINDOWS
from tests.spectra.oscillators import oscillator, vector

TEMPERATURE, TIMESTEP = 250.0, 0.5
UNIT_INTENSITY = 974.880110


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
    expected *= relative_quantum_factor(np.array([centre]), TEMPERATURE, factor)[0]
    # a factor that grows with wavenumber acts on the wings of a broad kernel too
    tolerance = 0.01 if factor == "harmonic" else 0.02 + 0.004 * resolution**2 / 300.0
    half = 6.0 * resolution
    found = convert_infrared(spectrum, "intensity").integrate(centre - half, centre + half)
    assert abs(found.value / expected - 1.0) < tolerance
