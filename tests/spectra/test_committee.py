# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import combine_committee, infrared
from tests.errors import refused
from tests.spectra.oscillators import oscillator, vector

KW = {"interval": 1.0, "temperature": 300.0, "unit": "e*Å", "lag": 400.0}


def trajectory(rng, n=16):
    energy = rng.exponential(size=(n, 1))
    phase = 2000.0 * rng.random((n, 1))
    t = np.arange(1500.0) + phase
    x = np.cos(2 * np.pi * 2.99792458e-5 * 1000.0 * t) * np.sqrt(energy)
    return vector(x * np.abs(oscillator(1000.0, n_frames=1000)).max())


def test_members_on_one_trajectory_differ_by_their_models():
    x = trajectory(np.random.default_rng(1))
    factors = np.array([0.9, 1.0, 1.1])
    c = combine_committee([infrared(f * x, **KW) for f in factors], common_trajectory=True)
    area = c.integrate(700.0, 1300.0)
    one = infrared(x, **KW).integrate(700.0, 1300.0)
    assert area.value == pytest.approx(np.mean(factors**2) * one.value, rel=1e-9)
    assert area.model == pytest.approx(np.std(factors**2, ddof=1) * one.value, rel=1e-9)
    # sampling is common to the members: it does not fall by averaging them
    assert area.sampling == pytest.approx(np.mean(factors**2) * one.error, rel=1e-9)
    total = c.total()
    i = np.argmax(total.values)
    expected = np.hypot(c.mean.standard_error[i], c.model_error[i])
    assert total.standard_error[i] == pytest.approx(expected)


@pytest.mark.slow
def test_equal_members_with_their_own_trajectories_agree():
    rng = np.random.default_rng(2)
    model, spread, sampling = [], [], []
    for _ in range(40):
        members = [infrared(trajectory(rng), generator=rng, **KW) for _ in range(5)]
        c = combine_committee(members, common_trajectory=False)
        area = c.integrate(700.0, 1300.0)
        model.append(area.model)
        sampling.append(area.sampling)
        spread.append(np.std([m.integrate(700.0, 1300.0).value for m in members], ddof=1))
    # most of the spread is explained by sampling, which averages over the members
    assert np.mean(np.square(model)) < 0.5 * np.mean(np.square(spread))
    assert np.mean(sampling) == pytest.approx(np.mean(spread) / np.sqrt(5.0), rel=0.25)


def test_bad_input_is_refused():
    x = trajectory(np.random.default_rng(3))
    s = infrared(x, **KW)
    with refused(key="spectra", value=1):
        combine_committee([s], common_trajectory=True)
    bare = infrared(x, errors="none", **KW)
    with refused(key="spectra"):
        combine_committee([bare, bare], common_trajectory=False)
