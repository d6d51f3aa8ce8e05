# SPDX-License-Identifier: MIT
import numpy as np
import pytest

from eqcalc.spectra import (
    harmonic_analysis,
    infrared,
    plot_harmonic,
    plot_infrared_raman,
    plot_spectrum,
    raman,
    save_figure,
)
from eqcalc.spectra.experiment.band_lists import BandList
from eqcalc.units import POLARIZABILITY_VOLUME
from tests.errors import refused
from tests.spectra import toy_water as water
from tests.spectra.oscillators import oscillator, vector


@pytest.fixture(scope="module")
def spectra():
    rng = np.random.default_rng(1)
    scale = rng.exponential(size=(8, 1))
    x = np.sqrt(scale) * oscillator(1400.0, n_frames=4000, n_replicas=8)
    kw = {"interval": 0.5, "temperature": 300.0, "resolution": 30.0, "method": "NVE"}
    ir = infrared(vector(x), unit="e*Å", **kw)
    ra = raman(x[..., None, None] * np.diag([1.0, 1.0, 3.0]), unit="Å^3", **kw)
    harmonic = harmonic_analysis(
        water.EQUILIBRIUM,
        water.MASSES,
        water.hessian(),
        water.derivatives(water.dipole),
        water.derivatives(water.polarizability) * POLARIZABILITY_VOLUME,
    )
    return ir, ra, harmonic


@pytest.mark.slow
def test_combined_figure(spectra, tmp_path):
    ir, ra, harmonic = spectra
    figure = plot_infrared_raman([ir, ir], [ra], harmonic, reversed_axis=True, limits=(0.0, 4000.0))
    upper, lower = figure.axes[:2]
    assert "km mol⁻¹" in upper.get_ylabel()
    assert "Å⁴ amu⁻¹" in lower.get_ylabel()
    assert lower.get_xlabel() == "wavenumber / cm⁻¹"
    assert lower.get_xlim() == (4000.0, 0.0)
    assert len(upper.collections) == 2  # two confidence bands
    drawn = upper.lines[0].get_ydata()
    assert np.array_equal(drawn, ir.values)
    # sticks at the harmonic wavenumbers, on an axis of their own
    sticks = figure.axes[2].lines[0]
    assert np.allclose(sticks.get_xdata(), harmonic.wavenumber)
    assert np.allclose(sticks.get_ydata(), harmonic.infrared_intensity)
    for ending in ("png", "pdf", "svg"):
        path = save_figure(figure, tmp_path / f"figure.{ending}")
        assert path.stat().st_size > 5000
    assert len(list(tmp_path.iterdir())) == 3


def test_spectra_draw_themselves(spectra):
    ir, _, harmonic = spectra
    axes = ir.plot(limits=(0.0, 4000.0)).axes[0]
    assert np.array_equal(axes.lines[0].get_ydata(), ir.values)
    assert len(harmonic.plot(fwhm=5.0).axes) == len(plot_harmonic(harmonic).axes)
    assert "km/mol" in harmonic._repr_html_()


def test_pyplot_is_left_alone(spectra):
    import sys

    import matplotlib as mpl

    before = dict(mpl.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    plot_spectrum([spectra[0]])
    assert dict(mpl.rcParams) == before
    if not loaded:
        assert "matplotlib.pyplot" not in sys.modules


def test_notebooks_show_figures(spectra):
    assert plot_spectrum([spectra[0]])._repr_png_().startswith(b"\x89PNG")


def test_ring_polymer_modes_are_marked(spectra):
    from dataclasses import replace

    ir = spectra[0]
    marked = replace(ir, provenance={**ir.provenance, "ring_modes_cm-1": [1308.0, 2603.0]})
    axes = plot_spectrum([marked], limits=(0.0, 2000.0)).axes[0]
    labels = [t.get_text() for t in axes.figure.legends[0].get_texts()]
    assert "free ring-polymer modes" in labels
    assert [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "v"] == [1308.0]


def test_measured_bands_are_marked_and_activities_may_be_given(spectra):
    ir, ra, harmonic = spectra
    measured = BandList(np.array([1400.0, 2500.0, 9000.0]), label="fundamentals")
    figure = plot_infrared_raman([ir], [ra.activity()], harmonic, measured=measured)
    for axes in figure.axes[:2]:
        (marks,) = (line for line in axes.lines if line.get_marker() == "|")
        assert marks.get_xdata().tolist() == [1400.0, 2500.0]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels.count("fundamentals") == 1
    np.testing.assert_array_equal(figure.axes[1].lines[0].get_ydata(), ra.activity().values)


def test_different_units_are_refused(spectra):
    ir, ra, _ = spectra
    with refused(key="spectra", value=sorted({ir.unit, ra.activity().unit})):
        plot_spectrum([ir, ra.activity()])
    with refused(key="spectra"):
        plot_spectrum([])
    with refused(key="names", value=["a", "b"]):
        plot_spectrum([ir], names=["a", "b"])


def test_measured_spectra_are_black_and_bands_are_explained(spectra):
    from eqcalc.spectra import Spectrum

    ir = spectra[0]
    measured = Spectrum(ir.wavenumber, ir.values, ir.unit, ir.label, provenance={"file": "x.jdx"})
    axes = plot_spectrum([measured, ir], names=["experiment", "MD"]).axes[0]
    assert axes.lines[0].get_color() == "black"
    assert axes.lines[1].get_color() == "#0072B2"
    labels = [t.get_text() for t in axes.figure.legends[0].get_texts()]
    assert labels == ["experiment", "MD", "95 % confidence"]


def test_the_range_shown_is_that_of_the_bands(spectra):
    ir, ra, harmonic = spectra
    assert plot_spectrum([ir]).axes[0].get_xlim() == (0.0, 1600.0)
    assert plot_infrared_raman([ir], [ra], harmonic).axes[0].get_xlim() == (0.0, 3800.0)


def test_harmonic_figure(spectra):
    harmonic = spectra[2]
    figure = plot_harmonic(harmonic, fwhm=20.0)
    curve = figure.axes[0].lines[0]
    assert np.array_equal(curve.get_ydata(), harmonic.infrared(20.0).values)
    assert len(figure.axes) == 4
