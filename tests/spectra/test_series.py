# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import (
    Series,
    dielectric,
    infrared,
    power_spectrum,
    raman,
    raman_oriented,
    vibrational_density_of_states,
)
from eqcalc.spectra.series import as_series
from eqcalc.spectra.series_checks import BrokenSeriesError
from eqcalc.units import UnitError
from eqcalc.validation import InvalidInputError
from tests.errors import refused
from tests.spectra.oscillators import oscillator, vector

FACTS = {"interval": 0.5, "temperature": 300.0}


def dipole_series(**changes):
    x = vector(oscillator(1000.0, n_frames=4000))
    facts = {"unit": "e*Å", "method": "T-RPMD", "timestep": 0.25, "n_beads": 32, **FACTS, **changes}
    return x, facts, Series.from_arrays(x, "dipole", [(3,)], **facts)


def test_a_series_gives_what_its_arrays_give():
    x, facts, series = dipole_series()
    for function, more in ((infrared, {}), (dielectric, {"volume": 100.0})):
        a, b = function(series, **more), function(x, **facts, **more)
        a, b = (getattr(s, "absorption", s) for s in (a, b))
        assert np.array_equal(a.values, b.values)
        assert np.array_equal(a.samples, b.samples)
        assert a.provenance == b.provenance
        assert a.warnings == b.warnings
    alpha = x[..., None] * np.eye(3)
    facts = {"unit": "Å^3", **FACTS}
    tensors = Series.from_arrays(alpha, "polarizability", [(3, 3)], **facts)
    assert np.array_equal(raman(tensors).isotropic.values, raman(alpha, **facts).isotropic.values)
    directions = {"incoming": np.eye(3)[0], "outgoing": np.eye(3)[0]}
    a, b = raman_oriented(tensors, **directions), raman_oriented(alpha, **directions, **facts)
    assert np.array_equal(a.values, b.values)
    velocities = np.random.default_rng(1).normal(size=(2, 900, 3, 3))
    facts = {"unit": "Å/fs", **FACTS}
    moving = Series(velocities, quantity="velocities", rate=True, masses=np.ones(3), **facts)
    a = vibrational_density_of_states(moving)
    b = vibrational_density_of_states(velocities, np.ones(3), **facts)
    assert np.array_equal(a.values, b.values)
    a = power_spectrum(series, lag=100.0)
    b = power_spectrum(x, interval=0.5, unit="e*Å", lag=100.0)
    assert np.array_equal(a.values, b.values)


def test_another_temperature_but_nothing_else_is_stated_again():
    _, _, series = dipole_series()
    assert infrared(series, temperature=350.0).provenance["temperature_K"] == 350.0
    with refused(key="interval"):
        infrared(series, interval=0.5)


def test_forms_of_arrays():
    x = np.random.default_rng(2).normal(size=(3, 40, 3)).cumsum(1)
    facts = {"unit": "D", **FACTS}
    for data, lengths in (
        (x, (40, 40, 40)),
        (x[0], (40,)),
        ([x[0], x[1, :30]], (40, 30)),
        ({"a": x[0], "b": x[1, :30]}, (40, 30)),
    ):
        series = as_series(data, "dipole", [(3,)], **facts)
        assert series.lengths == lengths
    assert [series.name(i) for i in range(2)] == ["a", "b"]
    assert as_series(x, "dipole", [(3,)], **facts).name(2) == "replica 2"
    assert not as_series(x, "dipole", [(3,)], **facts).rate
    assert as_series(None, "dipole", [(3,)], derivative=x, **facts).rate


@pytest.mark.parametrize(
    ("key", "value"),
    [("interval", 0.0), ("temperature", np.nan), ("timestep", 0.6), ("timestep", 0.0)],
)
def test_impossible_facts_are_refused(key, value):
    with pytest.raises(InvalidInputError) as caught:
        dipole_series(**{key: value})
    assert caught.value.key == key


def test_a_series_of_something_else_is_refused():
    _, _, series = dipole_series()
    with pytest.raises(InvalidInputError) as caught:
        raman(series)
    assert (caught.value.key, caught.value.value) == ("quantity", "dipole")
    with pytest.raises(InvalidInputError):
        as_series([], "dipole", [(3,)], unit="D", **FACTS)
    broken = Series(series.replicas * 2, 0.5, 300.0, "e*Å", "dipole")
    with pytest.raises(BrokenSeriesError):
        infrared(broken)


@pytest.mark.parametrize("rate", [False, True])
@pytest.mark.parametrize(("unit", "largest"), [("e*Å", 1e5), ("D", 4.803e5)])
def test_dipole_moments_that_are_not_possible(rate, unit, largest):
    values = vector(oscillator(1000.0, n_frames=900))
    for size, works in ((0.9, True), (1.1, False)):
        series = Series(
            values * size * largest / np.abs(values).max(),
            *(0.5, 300.0, f"{unit}/fs" if rate else unit, "dipole"),
            rate=rate,
        )
        assert series.largest == pytest.approx(largest, rel=1e-3)
        if works:
            assert np.isfinite(infrared(series).values).all()
        else:
            with pytest.raises(InvalidInputError) as caught:
                infrared(series)
            assert abs(caught.value.value) > largest


def test_units_of_rates():
    series = Series((), 0.5, 300.0, "Å^3/fs", "polarizability", rate=True)
    assert series.factor("Å^3") == pytest.approx(1.0)
    with pytest.raises(UnitError):
        series.factor("e*Å")


def test_what_a_series_says_of_itself():
    _, _, series = dipole_series()
    assert repr(series) == (
        "Series(dipole [e*Å]; 4 × 4000 frames, shape (3,); 0.5 fs; T-RPMD, 32 beads, 300 K)"
    )
    html = series._repr_html_()
    assert "T-RPMD, 32 beads" in html
    assert html.startswith("<table>")
    ragged = Series([np.zeros((9, 3)), np.zeros((5, 3))], 1.0, 300.0, "D")
    assert "2 × 5–9 frames" in repr(ragged)
    assert repr(Series((), 1.0, 300.0, "D")) == "Series()"
