# SPDX-License-Identifier: MIT
"""Polarizabilities given as arrays are symmetric and, in the mean, positive definite."""

import numpy as np
import pytest

from eqcalc.spectra import Series, raman, raman_accumulator, raman_oriented
from tests.errors import refused

RNG = np.random.default_rng(7)
N = 400
KNOWN = {"interval": 1.0, "temperature": 300.0, "unit": "Å^3", "lag": 50.0}
WAVES = np.sin(0.2 * np.arange(N)[:, None, None] + RNG.uniform(0, 6, (1, 6, 6)))
MOVING = 0.1 * np.einsum("nij,ijab->nab", WAVES, RNG.normal(size=(6, 6, 3, 3)))
ALPHA = np.diag([10.0, 9.0, 8.0]) + 0.5 * (MOVING + MOVING.swapaxes(1, 2))
USUAL = ALPHA[:, [0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
UPPER = ALPHA[:, [0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]


@pytest.mark.parametrize("data", [ALPHA, USUAL, ALPHA[None], [ALPHA, USUAL[::-1][:300]]])
def test_polarizabilities_are_accepted(data):
    if isinstance(data, list):
        data = [data[0], ALPHA[::-1][:300]]
    assert raman(data, **KNOWN).isotropic.values.max() > 0.0


def test_another_order_is_named():
    with refused(key="polarizability", expected="xx yy zz yz xz xy, in this order") as found:
        raman(UPPER, **KNOWN)
    assert "xx xy xz yy yz zz" in found.value.advice
    assert found.value.value == pytest.approx(UPPER.mean(0), abs=1e-3)


@pytest.mark.parametrize("function", [raman, raman_oriented])
def test_no_polarizability(function):
    more = {} if function is raman else {"incoming": [1, 0, 0], "outgoing": [1, 0, 0]}
    skew = ALPHA.copy()
    skew[:, 0, 1] += 3.0
    opposite = "it is with the opposite sign"
    for wrong, facts in ((skew, {}), (-ALPHA, {"advice": opposite}), (ALPHA - 9.0, {})):
        with refused(key="polarizability", **facts):
            function(wrong, **KNOWN, **more)
        known = {key: KNOWN[key] for key in ("interval", "temperature", "unit")}
        series = Series.from_arrays(wrong, "polarizability", [(3, 3)], **known)
        with refused(key="polarizability"):
            function(series, lag=50.0, **more)


def test_of_derivatives_and_fluctuations_the_sign_is_not_known():
    assert raman(ALPHA - ALPHA.mean(0), **KNOWN)
    rate = np.gradient(ALPHA, axis=0)
    assert raman(derivative=rate, **{**KNOWN, "unit": "Å^3/fs"})
    rate[:, 0, 1] *= -1.0
    with refused(key="polarizability"):
        raman(derivative=rate, **{**KNOWN, "unit": "Å^3/fs"})


def test_a_long_molecule_that_turns_is_accepted():
    """Carbon dioxide, 27 and 13 bohr³ along and across its axis, turns in the plane."""
    angle = 0.02 * np.arange(N)
    axis = np.stack([np.cos(angle), np.sin(angle), 0.0 * angle], axis=1)
    alpha = 13.0 * np.eye(3) + 14.0 * axis[:, :, None] * axis[:, None, :]
    assert raman(alpha, **KNOWN)


@pytest.mark.parametrize("wrong", [UPPER, -ALPHA, ALPHA - 9.0])
def test_pieces_of_a_series_are_checked_like_the_whole(wrong):
    with refused() as whole:
        raman(wrong, **KNOWN)
    stream = raman_accumulator(1, **KNOWN)
    for start in range(0, N, 90):
        stream.append(wrong[None, start : start + 90])
    with refused(key="polarizability", advice=whole.value.advice) as found:
        stream.result()
    assert found.value.value == pytest.approx(whole.value.value, abs=2e-4)
    later = raman_accumulator(1, **KNOWN)
    later.restore(stream.state())
    with refused(key="polarizability"):
        later.result()


def test_pieces_are_symmetric_or_refused_before_they_count():
    stream = raman_accumulator(2, **KNOWN)
    stream.append([ALPHA[:200], ALPHA[200:]])
    skew = ALPHA.copy()
    skew[:, 0, 1] += 3.0
    with refused(key="polarizability"):
        stream.append([ALPHA, skew])
    with refused(key="values"):
        stream.append([ALPHA[:9], ALPHA[:8]])
    assert stream.n_frames == 200
    assert stream.result().isotropic.values.max() > 0.0
    fluctuations = raman_accumulator(1, **KNOWN)
    fluctuations.append((ALPHA - ALPHA.mean(0))[None])
    assert fluctuations.result()
