# SPDX-License-Identifier: MIT
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t as student

from eqcalc.spectra import Spectrum, infrared, plot_comparison, raman
from eqcalc.spectra.experiment.comparison import (
    ScoreInterval,
    check_intensity,
    compare,
    spectroscopy,
)
from eqcalc.spectra.experiment.measured import read_measured
from eqcalc.spectra.infrared_absorption import convert_infrared
from tests.errors import refused
from tests.spectra.experiment.bands import BANDS, lines
from tests.spectra.oscillators import oscillator, vector

DATA = Path(__file__).parents[3] / "data/experiment"
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


def test_a_spectrum_matches_itself():
    s = lines(*BANDS, seed=1)
    c = compare(s, 3.7 * lines(*BANDS), lower=600.0, upper=3400.0)
    for score in c.scores.values():
        assert score.value == pytest.approx(1.0, abs=1e-9)
        assert 0.9 < score.lower < score.upper == 1.0
    assert c.displacement.value < 1e-6
    assert c.wavenumber_scale == (1.0, 1.0, 1.0)
    assert not c.fitted
    assert c.calculated.integrate().value == pytest.approx(1.0, rel=1e-6)


def sampled(n_replicas, rng):
    """Return the mean of replicas with thermal energies in each band, with bootstrap samples."""
    exact = lines(*BANDS)
    areas = rng.exponential(size=(n_replicas, len(BANDS[0]))) * BANDS[2]
    drawn = areas[rng.integers(n_replicas, size=(100, n_replicas))].mean(1)
    unit = np.array([lines([p], [w], [1.0]).values for p, w in zip(*BANDS[:2], strict=True)])
    return exact, replace(
        exact, values=areas.mean(0) @ unit, samples=drawn @ unit, n_independent=n_replicas
    )


@pytest.mark.slow
def test_limits_contain_the_truth_to_which_noise_is_no_friend():
    """A sampled spectrum is less similar than the exact one, also where that agrees fully."""
    rng = np.random.default_rng(5)
    others = lines([905.0, 1100.0, 1460.0, 2940.0], BANDS[1], [20.0, 50.0, 40.0, 100.0])
    limits = {"lower": 600.0, "upper": 3400.0}
    inside = dict.fromkeys(("match", "pearson", "spearman", "euclidean"), 0)
    for _ in range(40):
        exact, spectrum = sampled(8, rng)
        found = compare(spectrum, exact, **limits).scores
        assert all(s.value < 1.0 and s.lower < s.value <= s.upper <= 1.0 for s in found.values())
        assert found["match"].upper > 0.999
        truth, found = (compare(s, others, **limits).scores for s in (exact, spectrum))
        for name, score in found.items():
            inside[name] += score.lower <= truth[name].value <= score.upper
        # one angle, two scores
        match, euclidean = (np.array(found[name]) for name in ("match", "euclidean"))
        assert np.allclose(euclidean, 1.0 / (3.0 - 2.0 * np.sqrt(match)))
    assert all(n >= 36 for n in inside.values()), inside


def test_intervals_are_those_of_student_for_few_replicas():
    measured, calculated = lines(*BANDS, scale=0.99), lines(*BANDS, seed=2)
    limits = {"lower": 600.0, "upper": 3400.0, "scale_range": (0.9, 1.05)}
    many, few = (compare(replace(calculated, n_independent=n), measured, **limits) for n in (20, 3))
    pairs = [(many.scores[name], score) for name, score in few.scores.items()]
    for a, b in [*pairs, (many.wavenumber_scale, few.wavenumber_scale)]:
        assert a.value == b.value
        assert b.lower < a.lower < a.value < a.upper < b.upper or b.upper == a.upper == 1.0
    ratio = np.ptp(few.wavenumber_scale[1:]) / np.ptp(many.wavenumber_scale[1:])
    assert ratio == pytest.approx(student.ppf(0.975, 2) / student.ppf(0.975, 19), rel=0.01)


def test_the_scale_factor_is_found():
    measured = lines(*BANDS, scale=0.962)
    before = compare(lines(*BANDS, seed=2), measured, lower=600.0, upper=3400.0)
    after = compare(
        lines(*BANDS, seed=2), measured, lower=600.0, upper=3400.0, scale_range=(0.9, 1.05)
    )
    scale = after.wavenumber_scale
    assert scale.value == pytest.approx(0.962, abs=2e-4)
    assert scale.lower <= 0.962 + 1e-4
    assert scale.upper >= 0.962 - 1e-4
    assert scale.upper - scale.lower < 2e-3
    assert before.scores["match"].value < 0.7 < 0.98 < after.scores["match"].value
    # every line moves by 3.8 %: on average 0.038·⟨ν⟩ of the intensity-weighted mean
    mean = np.average(BANDS[0], weights=BANDS[2])
    assert before.displacement.value == pytest.approx(0.038 * mean, rel=0.1)
    assert "0.9620  [0.96" in after.table()
    assert "(fitted)" in after.table()
    record = after.to_dict()
    assert record["wavenumber_scale"][0] == scale.value
    assert record["range_cm-1"] == [600.0, 3400.0]
    bare = compare(lines(*BANDS), measured, lower=600.0, upper=3400.0)
    assert np.isnan(bare.scores["match"].lower)
    assert bare.to_dict()["scores"]["match"][1:] == [None, None]
    assert "[" not in bare.table()


def test_scores_order_disagreement():
    measured = lines(*BANDS)
    near = lines([905.0, 1105.0, 1455.0, 2955.0], *BANDS[1:])
    far = lines([950.0, 1200.0, 1500.0, 3050.0], *BANDS[1:])
    for name in ("match", "pearson", "spearman", "euclidean"):
        a = compare(near, measured, lower=600.0, upper=3400.0).scores[name].value
        b = compare(far, measured, lower=600.0, upper=3400.0).scores[name].value
        assert b < a < 1.0


def test_two_measurements_of_water_agree():
    # n·α of Bertie and Lan against n·4πν̃k of Segelstein
    a = read_measured(DATA / "water-infrared.txt", unit="10³ cm⁻¹")
    nu, n, k = np.loadtxt(DATA / "water-refractive-index.txt").T
    nu, first = np.unique(nu, return_index=True)
    b = Spectrum(nu, 4e-3 * np.pi * nu * (n * k)[first], "10³ cm⁻¹", "n·α")
    c = compare(a, b, lower=100.0, upper=3900.0, scale_range=(0.98, 1.02))
    assert c.scores["match"].value > 0.99
    assert c.wavenumber_scale.value == pytest.approx(1.0, abs=0.005)
    assert c.displacement.value < 30.0


def test_overlay():
    measured = lines(*BANDS)
    c = compare(lines(*BANDS, seed=4), measured, lower=600.0, upper=3400.0)
    axes = plot_comparison([c], ["MD"], reversed_axis=True).axes[0]
    texts = [t.get_text() for t in axes.figure.legends[0].get_texts()]
    assert texts == ["experiment", "MD", "95 % confidence"]
    assert axes.get_xlim() == (3400.0, 600.0)


def test_what_cannot_be_compared_is_refused():
    infrared = lines(*BANDS)
    limits = {"lower": 600.0, "upper": 3400.0}
    raman = replace(infrared, unit="cm²/sr per cm⁻¹", label="Raman cross-section, VV")
    unknown = replace(infrared, unit="counts", label="ethanol")
    for calculated, other in ((raman, infrared), (infrared, raman)):
        with refused(key="measured"):
            compare(calculated, other, **limits)
    assert compare(raman, unknown, **limits).scores["match"].value == pytest.approx(1.0)
    permittivity = replace(infrared, unit="1", label="imaginary part of the permittivity")
    absorbance = replace(infrared, unit="1", label="absorbance")
    for pair in ((permittivity, absorbance), (infrared, permittivity)):
        with refused(key="measured", value=pair[1].label):
            compare(*pair, **limits)
    for pair in ((permittivity, permittivity), (infrared, absorbance), (permittivity, unknown)):
        assert compare(*pair, **limits).scores["match"].value == pytest.approx(1.0)
    ratio = replace(infrared, unit="1", label="depolarization ratio")
    with refused(key="depolarization ratio"):
        compare(ratio, unknown, **limits)
    for values in (
        0.0 * infrared.values + 2.0,
        infrared.values - 1.0,
        np.where(infrared.values > 1.0, np.nan, 1.0),
    ):
        with refused(key="measured spectrum"):
            compare(infrared, replace(unknown, values=values), **limits)
        with refused(key="computed spectrum"):
            compare(replace(infrared, values=values), unknown, **limits)
    with refused(key="limits", value=(3400.0, 600.0)):
        compare(infrared, unknown, lower=3400.0, upper=600.0)


def test_a_scale_factor_at_its_limit_is_no_fit():
    measured = lines(*BANDS, scale=0.962)
    calculated = lines(*BANDS, seed=2)
    c = compare(calculated, measured, lower=600.0, upper=3400.0, scale_range=(0.97, 1.02))
    assert c.scale_limit == 0.97
    assert "(at the limit 0.97 of the allowed range, not a best fit: widen it" in c.table()
    assert c.to_dict()["wavenumber_scale_at_limit"] is True
    inside = compare(calculated, measured, lower=600.0, upper=3400.0, scale_range=(0.9, 1.02))
    assert inside.scale_limit is None
    assert inside.to_dict()["wavenumber_scale_at_limit"] is False
    cut = replace(inside, wavenumber_scale=ScoreInterval(0.962, 0.95, 0.97))
    assert "(fitted)" in cut.table()
    cut = replace(inside, wavenumber_scale=ScoreInterval(0.91, 0.9, 0.92))
    assert "(fitted; the interval is truncated by the allowed range" in cut.table()


def test_scale_factors_that_lose_the_range_are_refused():
    measured, calculated = lines(*BANDS), lines(*BANDS)
    limits = {"lower": 600.0, "upper": 3400.0}
    with refused(key="scale", value=(0.0, 1.0)):
        compare(calculated, measured, **limits, scale_range=(0.0, 1.0))
    with refused(key="scale", value=(0.5, 1.0), expected="0.850 or more"):
        compare(calculated, measured, **limits, scale_range=(0.5, 1.0))
    part = calculated.between(500.0, 4000.0)
    with refused(key="scale", expected="0.850 to 1.200"):
        compare(part, measured, **limits, scale_range=(0.9, 1.3))
