# SPDX-License-Identifier: MIT
"""Modes are matched by their motion, in whatever orientation and order of wavenumbers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eqcalc.spectra import compare_modes, harmonic_analysis
from eqcalc.units import POLARIZABILITY_VOLUME
from eqcalc.validation import InvalidInputError
from tests.errors import refused
from tests.spectra import toy_water as water


def spectrum(scale=1.0, raman=True):
    tensor = water.derivatives(water.polarizability) * POLARIZABILITY_VOLUME
    return harmonic_analysis(
        water.EQUILIBRIUM,
        water.MASSES,
        scale * water.hessian(),
        water.derivatives(water.dipole),
        tensor if raman else None,
    )


def turned(modes, seed=3, sign=1.0):
    rotation = sign * Rotation.random(random_state=seed).as_matrix()
    return replace(
        modes,
        positions=modes.positions @ rotation.T + 1.0,
        vectors=modes.vectors @ rotation.T,
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_deviations_of_a_turned_or_mirrored_molecule(sign):
    """Force constants 2.01 % larger: wavenumbers 1 %."""
    found = compare_modes(spectrum(1.0201), turned(spectrum(), sign=sign))
    np.testing.assert_array_equal(found.matched, [0, 1, 2])
    np.testing.assert_allclose(found.overlap, 1.0, atol=1e-9)
    assert found.distance < 1e-9
    np.testing.assert_allclose(found.deviations("wavenumber"), 0.01 * spectrum().wavenumber)
    for name in ("infrared", "raman"):
        np.testing.assert_allclose(found.deviations(name), 0.0, atol=1e-9)
    assert len(found.table().splitlines()) == 2 + 3
    assert len(found.summary().splitlines()) == 3 + 1


def test_modes_are_matched_by_motion_not_by_order():
    reference = spectrum()
    order = [0, 2, 1]
    swapped = replace(
        reference,
        vectors=reference.vectors[order],
        dipole_derivative=reference.dipole_derivative[order],
    )
    found = compare_modes(reference, swapped)
    np.testing.assert_array_equal(found.matched, order)
    np.testing.assert_allclose(found.deviations("infrared"), 0.0, atol=1e-9)


def test_only_what_both_have_is_compared():
    assert compare_modes(spectrum(raman=False), spectrum()).compared == ["wavenumber", "infrared"]


def test_other_atoms_are_refused():
    other = replace(spectrum(), masses=water.MASSES[::-1].copy())
    with refused(InvalidInputError, key="reference"):
        compare_modes(spectrum(), other)
