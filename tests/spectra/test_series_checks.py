# SPDX-License-Identifier: MIT
"""What is found in a broken series, and that nothing is found in ordinary ones."""

import numpy as np
import pytest

from eqcalc.spectra import infrared, raman
from eqcalc.spectra.estimation import LagWindowError
from eqcalc.spectra.series_checks import BrokenSeriesError, equal_replicas, jump, repeated_frames
from eqcalc.validation import InvalidInputError
from tests.spectra.oscillators import oscillator, vector

KW = {"interval": 0.5, "temperature": 300.0, "unit": "e*Å"}


@pytest.fixture(scope="module")
def motion():
    """Two vibrations along different axes, ``[replica, frame, 3]``."""
    x, y = (oscillator(nu, n_frames=4000, n_replicas=3) for nu in (1500.0, 3700.0))
    return np.stack([x, 0.3 * y, x - y], axis=-1)


@pytest.mark.parametrize("frame", [0, 1, 2000, 3998])
def test_a_jump_is_found_wherever_it_is(motion, frame):
    broken = motion[0].copy()
    broken[frame + 1 :] += [0.0, 6.0, 0.0]
    found = jump(broken)
    assert found is not None
    assert found[0] == frame
    assert found[1] == pytest.approx(6.0, abs=0.1)


def test_a_spike_and_a_branch_that_flips_often_are_jumps(motion):
    spike = motion[0].copy()
    spike[700] += 5.0
    assert jump(spike)[0] == 699
    flips = motion[0] + 6.0 * (np.random.default_rng(1).random((4000, 1)) < 0.15)
    assert jump(flips) is not None
    # in a part that is not looked at together with the first
    long = np.tile(motion[0], (40, 1)) + np.random.default_rng(2).normal(size=(160_000, 3)) * 1e-3
    long[150_001:] += 6.0
    assert jump(long)[0] == 150_000


def test_ordinary_series_have_no_jumps(motion):
    rng = np.random.default_rng(3)
    decay = np.exp(-np.arange(5000) / 300.0)
    series = {
        "oscillation": motion[0],
        "with few digits": np.round(motion[0], 2),
        "noise": rng.normal(size=(100_000, 1)),
        "random walk": np.cumsum(rng.normal(size=(100_000, 3)), axis=0),
        "heavy tails": rng.standard_t(3, size=(100_000, 1)),
        "decay": decay[:, None],
        "ringing": (decay * np.cos(0.3 * np.arange(5000)))[:, None],
        "rest": np.ones((100, 3)),
        "a vibration that is excited": motion[0] * np.linspace(0.0, 1.0, 4000)[:, None] ** 2,
    }
    assert [name for name, values in series.items() if jump(values) is not None] == []


def test_repeated_frames_after_a_restart(motion):
    x = np.round(motion[0], 8)
    assert repeated_frames(np.concatenate([x[:2001], x[1901:]])) == (2001, 2100, 1901)
    assert repeated_frames(np.concatenate([x[:2001], x[2000:]])) == (2001, 2001, 2000)
    assert repeated_frames(np.repeat(x, 2, axis=0)) == (1, 1, 0)
    assert repeated_frames(np.concatenate([x, x])) == (4000, 7999, 0)
    # a restart that goes another way after a few frames
    other = np.concatenate([x[1901:1906], np.round(motion[1], 8)])
    assert repeated_frames(np.concatenate([x[:2001], other])) == (2001, 2005, 1901)


@pytest.mark.parametrize("digits", [2, 3, 4, 5, 6, 8, 16])
def test_chance_is_no_repetition(digits):
    rng = np.random.default_rng(digits)
    for nu in rng.uniform(200.0, 3800.0, 20):
        x = np.round(vector(oscillator(nu, n_frames=6000, n_replicas=1)[0]), digits)
        assert repeated_frames(x) is None
    period = np.round(np.cos(2.0 * np.pi * np.arange(4000) / 40), digits)[:, None]
    assert repeated_frames(period) is None
    single = rng.normal(size=(50_000, 1)).astype(np.float32)
    assert repeated_frames(single) is None
    assert repeated_frames(np.zeros((100, 3))) is None


def test_equal_replicas(motion):
    assert equal_replicas(list(motion)) is None
    assert equal_replicas([motion[0], motion[1], motion[0][:500]]) == (0, 2)
    # the same start and another way, and nothing that moves
    other = motion[0].copy()
    other[500:] += 1e-9
    assert equal_replicas([motion[0], other]) is None
    assert equal_replicas([np.zeros((50, 3))] * 2) is None


def test_arrays_are_refused_by_the_name_of_the_replica(motion):
    broken = motion.copy()
    broken[2, 1001:] += 5.0
    named = {"a.dat": motion[0], "b.dat": motion[1], "c.dat": broken[2]}
    twice = [motion[0], np.concatenate([motion[1][:900], motion[1][800:]])]
    for data, replica, frame in (
        (broken, "replica 2", 1000),
        (named, "c.dat", 1000),
        (twice, "replica 1", 900),
        (motion[[0, 1, 0]], "replica 2", None),
    ):
        with pytest.raises(BrokenSeriesError) as caught:
            infrared(data, lag=200.0, **KW)
        assert (caught.value.replica, caught.value.frame) == (replica, frame)
        assert caught.value.key == f"dipole, {replica}"
    tensors = broken[..., None] * np.eye(3)
    with pytest.raises(BrokenSeriesError) as caught:
        raman(tensors, interval=0.5, temperature=300.0, unit="Å^3", lag=200.0)
    assert caught.value.key == "polarizability, replica 2"
    # the current of wrapped ions has no jumps, and steps of it are no motion
    assert infrared(derivative=broken, lag=200.0, **{**KW, "unit": "e*Å/fs"})


def test_exchanged_axes(motion):
    short = motion[:, :400]
    assert infrared(short, lag=50.0, **KW).provenance["n_replicas"] == 3
    with pytest.raises(InvalidInputError) as caught:
        infrared(short.swapaxes(0, 1), lag=50.0, **KW)
    assert caught.value.value == (400, 3, 3)
    assert "swapaxes" in caught.value.advice
    many = np.random.default_rng(4).normal(size=(100, 20, 3))
    assert infrared(list(many), lag=2.0, **KW).provenance["n_replicas"] == 100


def test_a_short_replica_is_named(motion):
    lengths = {"a.dat": 4000, "b.dat": 4000, "c.dat": 700}
    parts = {name: x[:n] for (name, n), x in zip(lengths.items(), motion, strict=True)}
    (note,) = (w for w in infrared(parts, **KW).warnings if "short replicas" in w)
    assert "c.dat (700 frames)" in note
    assert "half of all have 3998 frames" in note
    # if the resolution was asked for, it is not that of the replica
    assert not any("short" in w for w in infrared(parts, resolution=150.0, **KW).warnings)
    with pytest.raises(LagWindowError) as caught:
        infrared(parts, lag=1000.0, **KW)
    assert caught.value.key == "lag, c.dat"


def test_repeated_frames_far_into_a_long_series():
    x = np.cumsum(np.random.default_rng(6).normal(size=(1_050_100, 1)), axis=0)
    for last in (600_000, 1_050_000):
        broken = np.concatenate([x[:last], x[last - 50 :]])
        assert repeated_frames(broken) == (last, last + 49, last - 50)


def test_a_component_that_rises_evenly_is_a_time(motion):
    with pytest.raises(BrokenSeriesError) as caught:
        infrared(np.dstack([np.tile(np.arange(4000.0), (3, 1)), motion[..., :2]]), **KW)
    assert caught.value.key == "dipole, replica 0" and caught.value.frame is None
    drifting = motion + 0.01 * np.arange(4000.0)[:, None]
    assert infrared(drifting, **KW)
