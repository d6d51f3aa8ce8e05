# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import Spectrum
from eqcalc.spectra.experiment import (
    absorbance,
    broadened,
    compare,
    comparison_figure,
    read_table,
)


def lines(positions, widths, areas, scale=1.0, seed=None, step=1.0):
    nu = np.arange(0.0, 4001.0, step)
    basis = np.array(
        [
            (w / 2 / np.pi) / ((nu - scale * p) ** 2 + w**2 / 4)
            for p, w in zip(positions, widths, strict=True)
        ]
    )
    samples = None
    if seed is not None:
        weights = 1.0 + 0.1 * np.random.default_rng(seed).normal(size=(100, len(areas)))
        samples = (weights * areas) @ basis
    return Spectrum(
        nu,
        np.asarray(areas) @ basis,
        "km/mol per cm⁻¹",
        "IR intensity",
        samples=samples,
        n_independent=20,
    )


BANDS = ([900.0, 1100.0, 1450.0, 2950.0], [15.0, 20.0, 15.0, 30.0], [10.0, 60.0, 30.0, 120.0])


def test_a_spectrum_matches_itself():
    s = lines(*BANDS, seed=1)
    c = compare(s, 3.7 * lines(*BANDS), lower=600.0, upper=3400.0)
    for score in c.scores.values():
        assert score.value == pytest.approx(1.0, abs=1e-9)
        assert 0.0 <= score.error < 0.05
    assert c.displacement.value < 1e-6
    assert c.wavenumber_scale == 1.0
    assert c.calculated.integrate().value == pytest.approx(1.0, rel=1e-6)


def test_the_scale_factor_is_found():
    measured = lines(*BANDS, scale=0.962)
    before = compare(lines(*BANDS, seed=2), measured, lower=600.0, upper=3400.0)
    after = compare(
        lines(*BANDS, seed=2), measured, lower=600.0, upper=3400.0, scale_range=(0.9, 1.05)
    )
    assert after.wavenumber_scale == pytest.approx(0.962, abs=2e-4)
    assert before.scores["match"].value < 0.7 < 0.98 < after.scores["match"].value
    # every line moves by 3.8 %: on average 0.038·⟨ν⟩ of the intensity-weighted mean
    mean = np.average(BANDS[0], weights=BANDS[2])
    assert before.displacement.value == pytest.approx(0.038 * mean, rel=0.1)
    assert "wavenumber scale       0.962" in after.table()


def test_scores_order_disagreement():
    measured = lines(*BANDS)
    near = lines([905.0, 1105.0, 1455.0, 2955.0], *BANDS[1:])
    far = lines([950.0, 1200.0, 1500.0, 3050.0], *BANDS[1:])
    for name in ("match", "pearson", "spearman", "euclidean"):
        a = compare(near, measured, lower=600.0, upper=3400.0).scores[name].value
        b = compare(far, measured, lower=600.0, upper=3400.0).scores[name].value
        assert b < a < 1.0


def test_broadening_adds_widths_and_keeps_the_area():
    s = lines([2000.0], [20.0], [50.0], seed=3, step=0.5)
    wide = broadened(s, 30.0, "lorentzian")
    assert wide.band(1500, 2500).width.value == pytest.approx(50.0, rel=0.01)
    for shape in ("gaussian", "triangular"):
        b = broadened(s, 30.0, shape)
        assert b.integrate(0, 4000).value == pytest.approx(s.integrate(0, 4000).value, rel=1e-2)
        assert b.values.max() < s.values.max()
    narrow = lines([2000.0], [0.2], [50.0], step=0.5)
    assert broadened(narrow, 30.0).band(1900, 2100).width.value == pytest.approx(30.0, rel=0.01)
    assert len(wide.samples) == 100
    with pytest.raises(ValueError, match="triangular"):
        broadened(s, 10.0, "sinc")


def test_absorbance():
    nu = np.linspace(500.0, 4000.0, 50)
    a = 0.5 + 0.4 * np.sin(nu)
    for unit, factor in (("TRANSMITTANCE", 1.0), ("% TRANSMITTANCE", 100.0), ("%T", 100.0)):
        found = absorbance(Spectrum(nu, factor * 10.0**-a, unit, "x"))
        assert np.allclose(found.values, a, rtol=1e-12)
    assert absorbance(Spectrum(nu, a, "ABSORBANCE", "x")).values is not None
    with pytest.raises(ValueError, match="percent without saying"):
        absorbance(Spectrum(nu, 100 * 10.0**-a, "TRANSMITTANCE", "x"))
    with pytest.raises(ValueError, match="not positive"):
        absorbance(Spectrum(nu, a - 1.0, "TRANSMITTANCE", "x"))
    with pytest.raises(ValueError, match="neither"):
        absorbance(Spectrum(nu, a, "km/mol", "x"))
    with pytest.raises(ValueError, match="absorbance"):
        compare(lines(*BANDS), Spectrum(nu, a, "TRANSMITTANCE", "x"), lower=600.0, upper=700.0)


def test_read_table(tmp_path):
    path = tmp_path / "m.txt"
    path.write_text("#Wave\t#Intensity\n300, 3\n100 1 # first\n200\t2\n200\t4\n")
    s = read_table(path, unit="counts", label="Raman intensity")
    assert s.wavenumber.tolist() == [100.0, 200.0, 300.0]
    assert s.values.tolist() == [1.0, 3.0, 3.0]
    path.write_text("100 1\n200 x\n")
    with pytest.raises(ValueError, match="line 2"):
        read_table(path, unit="counts", label="x")


def test_overlay():
    measured = lines(*BANDS)
    c = compare(lines(*BANDS, seed=4), measured, lower=600.0, upper=3400.0)
    axes = comparison_figure([c], ["MD"], reversed_axis=True).axes[0]
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["MD", "experiment"]
    assert axes.get_xlim() == (3400.0, 600.0)
