# SPDX-License-Identifier: MIT
from itertools import pairwise

import numpy as np
import pytest

from eqcalc.spectra import infrared, raman
from eqcalc.spectra.estimation import LagWindowError
from eqcalc.spectra.streaming import infrared_accumulator, raman_accumulator
from eqcalc.validation import InvalidInputError
from tests.errors import refused

KW = {"interval": 0.5, "temperature": 300.0, "lag": 60.0}


def chunks(n, rng):
    """Return the limits of random pieces of n frames, some of a single frame."""
    edges = np.unique(np.concatenate([[0, 1, 2, n], rng.integers(0, n, 25)]))
    return list(pairwise(edges))


@pytest.mark.parametrize("rate", [False, True])
def test_a_running_infrared_spectrum_is_that_of_the_whole_series(rate):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(5, 3000, 3)).cumsum(1)
    unit = "D/fs" if rate else "D"
    stream = infrared_accumulator(5, unit=unit, rate=rate, **KW)
    for a, b in chunks(3000, rng):
        stream.append(x[:, a:b])
    assert stream.n_frames == 3000
    whole = infrared(derivative=x, unit=unit, **KW) if rate else infrared(x, unit=unit, **KW)
    found = stream.result()
    scale = whole.values.max()
    assert np.allclose(found.values, whole.values, rtol=0.0, atol=1e-12 * scale)
    assert np.allclose(found.samples, whole.samples, rtol=0.0, atol=1e-12 * scale)
    assert found.provenance == whole.provenance


def test_a_running_raman_spectrum_is_that_of_the_whole_series():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3, 1000, 3, 3))
    x = x + x.swapaxes(-1, -2)
    stream = raman_accumulator(3, unit="Å^3", **KW)
    for a, b in chunks(1000, rng):
        stream.append(x[:, a:b])
    whole, found = raman(x, unit="Å^3", **KW), stream.result()
    for name in ("isotropic", "anisotropic"):
        a, b = getattr(found, name), getattr(whole, name)
        assert np.allclose(a.values, b.values, rtol=0.0, atol=1e-12 * b.values.max())


def test_it_goes_on_after_a_restart(tmp_path):
    x = np.random.default_rng(3).normal(size=(2, 800, 3))
    first = infrared_accumulator(2, unit="D", **KW)
    first.append(x[:, :333])
    np.savez(tmp_path / "state.npz", **first.state())
    second = infrared_accumulator(2, unit="D", **KW)
    second.restore(dict(np.load(tmp_path / "state.npz")))
    for stream in (first, second):
        stream.append(x[:, 333:])
    assert np.array_equal(first.result().values, second.result().values)
    other = infrared_accumulator(3, unit="D", **KW)
    with pytest.raises(InvalidInputError) as caught:
        other.restore(first.state())
    assert caught.value.key == "state"


def test_memory_does_not_grow():
    stream = infrared_accumulator(2, unit="D", **KW)
    sizes = []
    for seed in range(6):
        stream.append(np.random.default_rng(seed).normal(size=(2, 5000, 3)))
        sizes.append(sum(a.nbytes for a in stream.state().values()))
    assert len(set(sizes)) == 1


def test_the_spectrum_of_a_growing_trajectory(tmp_path):
    from eqcalc.trajectory import Header, Layout, Trajectory, TrajectoryWriter

    x = np.random.default_rng(6).normal(size=(2, 2000, 3))
    header = Header("NVE", 300.0, 0.5, 1999, 2, 1, np.array([1]), np.array([1.0]))
    writer = TrajectoryWriter.create(
        tmp_path / "run.h5", header, {"dipole": Layout((3,), "e*Å", 1)}
    )
    trajectory = Trajectory.open(tmp_path / "run.h5")
    stream = infrared_accumulator(2, unit="e*Å", method="NVE", timestep=0.5, **KW)
    for first, last in ((0, 300), (300, 301), (301, 2000)):
        writer.write("dipole", x[:, first:last])
        assert stream.follow(trajectory, "dipole") == last - first
        assert stream.follow(trajectory, "dipole") == 0
        whole = infrared(trajectory, lag=60.0)
        assert whole.provenance["frames_per_replica"] == [last]
        scale = whole.values.max()
        assert np.allclose(stream.result().values, whole.values, rtol=0.0, atol=1e-12 * scale)
    writer.close()
    other = infrared_accumulator(2, unit="D", **KW)
    with pytest.raises(InvalidInputError) as caught:
        other.follow(trajectory, "dipole")
    assert caught.value.file == tmp_path / "run.h5"
    assert caught.value.value == "e*Å every 0.5 fs"


def test_single_frames_cost_no_more_than_long_pieces():
    # a transform per lag window, not per frame
    from eqcalc.spectra import streaming

    calls = 0
    plain = streaming.lag_sums

    def counted(*arguments):
        nonlocal calls
        calls += 1
        return plain(*arguments)

    x = np.random.default_rng(5).normal(size=(1, 2000, 3))
    stream = infrared_accumulator(1, unit="D/fs", rate=True, **KW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "lag_sums", counted)
        for t in range(2000):
            stream.append(x[:, t : t + 1])
    assert calls <= 2 * 2000 / 120 + 1  # 120 frames of lag
    whole = infrared(derivative=x, unit="D/fs", **KW)
    scale = whole.values.max()
    assert np.allclose(stream.result().values, whole.values, rtol=0.0, atol=1e-12 * scale)


def test_unbiased_at_every_lag():
    # the estimate of a pure tone divided by n − k, not by n: cos ωt at any lag
    omega, n = 0.3, 4000
    x = np.zeros((1, n, 3))
    x[0, :, 0] = np.sqrt(2.0) * np.cos(omega * np.arange(n))
    stream = infrared_accumulator(1, unit="e*Å/fs", rate=True, **{**KW, "lag": 1500.0})
    for start in range(0, n, 77):
        stream.append(x[:, start : start + 77])
    stream.result()
    found = stream._sums[0, 0] / (n - np.arange(3000))
    for lag in (750, 1500, 2250):
        assert found[lag] == pytest.approx(np.cos(omega * lag), abs=5e-3)


def test_bad_input_is_refused():
    with refused(key="resolution"):
        infrared_accumulator(2, interval=0.5, temperature=300.0, unit="D")
    for wrong in ({"estimator": "welch"}, {"errors": "blocks"}, {"method": "RMPD"}):
        with pytest.raises(InvalidInputError) as caught:
            infrared_accumulator(2, unit="D", **wrong, **KW)
        assert [caught.value.key] == list(wrong)
    stream = infrared_accumulator(2, unit="D", **KW)
    with pytest.raises(InvalidInputError) as caught:
        stream.append(np.zeros((3, 5, 3)))
    assert caught.value.value == [(5, 3)] * 3
    stream.append(np.ones((2, 50, 3)))
    with pytest.raises(LagWindowError):
        stream.result()
    bad = np.ones((2, 5, 3))
    bad[1, 2, 0] = np.inf
    with pytest.raises(InvalidInputError) as caught:
        stream.append(bad)
    assert caught.value.key == "dipole, replica 1, frame 52"
