# SPDX-License-Identifier: MIT
"""The page of a prediction and its bands."""

import json
import re
from dataclasses import replace
from html import unescape

import numpy as np
import pytest
from ase.io import read

from eqcalc.anharmonic import Configuration
from eqcalc.cli.program import build_parser
from eqcalc.prediction import ActiveLearning, Calibration
from eqcalc.prediction.bands import predicted_bands
from eqcalc.prediction.report import report_page
from eqcalc.spectra import write_spectrum
from eqcalc.spectra.experiment.band_lists import BandList
from tests.errors import refused


def data_of(html: str) -> dict:
    """Return the data that the scripts of a page draw."""
    return json.loads(
        re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1]
    )


@pytest.fixture(scope="module")
def html(prediction):
    return report_page(prediction).html()


def test_notebooks_show_the_page(prediction, html):
    shown = prediction.page()._repr_html_()
    inside = re.search(r'srcdoc="([^"]*)"', shown)[1]  # no quotation mark ends it early
    assert unescape(inside) == html


def test_bands_beside_other_treatments_and_experiment(prediction):
    fundamentals = [band for band in prediction.bands if sum(band.quanta.values()) == 1]
    assert [band.quanta for band in fundamentals] == [{0: 1}, {1: 1}, {2: 1}]
    for band, measured in zip(fundamentals, (1595.0, 3657.0, 3756.0), strict=True):
        assert band.measured.value == measured
        # second order has most of the anharmonicity
        assert abs(band.perturbed - band.wavenumber) < 0.3 * (band.harmonic - band.wavenumber)
        assert band.error == pytest.approx(np.linalg.norm(list(band.errors.values())))
    assert sum(band.infrared for band in prediction.bands) == pytest.approx(
        prediction.infrared.integrate().value, rel=0.03
    )


def test_fundamentals_are_compared_state_by_state(prediction):
    lines = [line.split() for line in prediction.compared().splitlines()]
    for band in prediction.bands:
        if band.assigned:
            (line,) = [x for x in lines if f"{band.measured.value:.0f}" in x]
            assert f"{band.expected:.1f}" in line
            assert f"{band.expected - band.measured.value:+.1f}" in line
    assert sum(bool(band.assigned) for band in prediction.bands) == 3
    unknown = replace(prediction.conformers[0], atoms=prediction.conformers[0].atoms)
    strange = replace(unknown.spectrum, provenance={**unknown.spectrum.provenance, "source": {}})
    assert not replace(prediction, conformers=(replace(unknown, spectrum=strange),)).compared()


def test_errors_of_the_model_are_those_of_its_modes(prediction):
    bands = predicted_bands(prediction.conformers, least=0.0)
    for quanta, error in (({0: 1}, 3.0), ({2: 1}, 5.0), ({0: 2}, 6.0)):
        band = next(b for b in bands if b.quanta == quanta)
        assert band.errors["model"] == pytest.approx(error)
        assert band.error > error
        assert np.isnan(band.bias)  # of a level that was compared with nothing
        assert band.expected == band.wavenumber
    bend = bands[0]
    part = prediction.conformers[0].spectrum.assignment[0][0].weight
    assert bend.infrared_error == pytest.approx(2.0 * part)
    assert bend.raman_error == pytest.approx(1.0 * part)
    assert np.isnan(next(b for b in bands if b.quanta == {0: 2}).infrared_error)


def test_lines_of_degenerate_modes_have_the_same_error(prediction):
    """(01) + (10) from either of the degenerate (1) and (0) is a quantum of the other."""
    conformer = prediction.conformers[0]
    upper = (Configuration({0: 1, 1: 1}, 0.47), Configuration({1: 1, 2: 1}, 0.47))
    lower = [(Configuration({k: 1}, 0.96),) for k in (0, 2)]
    n = len(conformer.spectrum)
    spectrum = replace(
        conformer.spectrum,
        assignment=[upper] * n,
        initial=[lower[t % 2] for t in range(n)],
    )
    bands = predicted_bands([replace(conformer, spectrum=spectrum)], least=0.0)
    assert [band.quanta for band in bands] == [{1: 1}] * n


def test_errors_of_a_level_are_told_everywhere(prediction):
    constants = Calibration(
        "", 0.01, 0.002, 0.003, 2.0, 0.5, (0.0, 0.0), (1.0, 2.5), molecules=40, bands=600
    )
    known = replace(prediction, calibration=constants)
    bend = known.bands[0]
    assert bend.expected == pytest.approx(bend.wavenumber - 0.002 * bend.harmonic)
    assert list(bend.errors) == ["model", "nuclei", "level"]
    assert bend.error_95 == pytest.approx(2.5 * bend.error)
    page = report_page(known).html()
    line = data_of(page)["treatments"][0]["sticks"][0]
    assert line["expected"] == pytest.approx(bend.expected, abs=1e-3)
    assert ["± level", f"{bend.errors['level']:.1f} cm⁻¹"] in line["facts"]
    assert "<th>± level<small>cm⁻¹</small></th>" in page
    assert "± level" in known.summary()
    assert data_of(report_page(prediction).html())["treatments"][0]["sticks"][0]["expected"] is None


def test_scaled_harmonic_vibrations_are_called_so(scaled):
    spectrum = scaled.conformers[0].spectrum
    np.testing.assert_allclose(spectrum.wavenumber / spectrum.harmonic, [0.98, 0.955, 0.955])
    assert scaled.summary().startswith("water: scaled harmonic at")
    bend = scaled.bands[0]
    assert bend.expected == bend.wavenumber == pytest.approx(0.98 * bend.harmonic)
    level = np.hypot(0.01 * bend.harmonic, 5.0)
    assert bend.errors == pytest.approx({"model": 1.5, "level": level})
    assert bend.error_95 == pytest.approx(2.5 * bend.error)
    assert bend.state == "ν1"
    page = report_page(scaled).html()
    data = data_of(page)
    assert [t["name"] for t in data["treatments"]] == ["scaled harmonic", "harmonic"]
    assert data["treatments"][0]["sticks"][0]["x"] == pytest.approx(bend.wavenumber, abs=1e-3)
    assert "<th>± level<small>cm⁻¹</small></th>" in page
    assert "± nuclei" not in page
    assert "watson" not in page.lower()
    assert "0.9800" in page  # the factors are told


def test_a_harmonic_band_without_constants_is_not_scaled(scaled):
    conformer = scaled.conformers[0]
    record = {**conformer.spectrum.provenance, "method": "harmonic", "scale": [1.0] * 3}
    spectrum = replace(
        conformer.spectrum, wavenumber=conformer.spectrum.harmonic, provenance=record
    )
    plain = replace(scaled, conformers=(replace(conformer, spectrum=spectrum),), calibration=None)
    assert list(plain.bands[0].errors) == ["model"]
    assert np.isnan(plain.bands[0].bias)
    data = data_of(report_page(plain).html())
    assert [t["name"] for t in data["treatments"]] == ["harmonic"]
    assert data["treatments"][0]["sticks"][0]["error"] == pytest.approx(3.0)


def test_no_terms_are_left_out_of_a_motion_of_large_amplitude(prediction):
    constants = Calibration(
        "", 0.01, 0.002, 0.003, 2.0, 0.5, (0.5, 0.5), (1.0, 2.5), molecules=40, bands=600
    )
    conformer = prediction.conformers[0]
    record = {**conformer.spectrum.provenance, "mode_coupling": 2}
    found = []
    for modes in ([], [1]):
        spectrum = replace(conformer.spectrum, provenance={**record, "separated_modes": modes})
        found.append(predicted_bands([replace(conformer, spectrum=spectrum)], constants)[0])
    vibration, motion = found
    assert motion.bias == pytest.approx(0.002 * motion.harmonic)
    shift = vibration.harmonic - vibration.wavenumber
    assert vibration.bias - motion.bias == pytest.approx(0.5 * shift)
    assert motion.errors["nuclei"] < vibration.errors["nuclei"]


def test_lists_of_bands_are_beside_lines_without_rotation(prediction):
    lines = prediction.without_rotation("infrared")
    strong = max(prediction.bands, key=lambda band: band.infrared)
    assert lines.wavenumber[np.argmax(lines.values)] == pytest.approx(strong.wavenumber, abs=1.0)
    assert lines.integrate().value == pytest.approx(prediction.infrared.integrate().value, rel=0.05)
    listed = BandList(np.array([strong.wavenumber]), label="one")
    (section,) = [
        x for x in report_page(prediction, [listed]).sections if x.title.startswith("Measured")
    ]
    # not a maximum of the rotational structure
    assert "1 of 1 matched" in section.body
    assert f"{strong.wavenumber:.0f}" in section.body


def test_what_it_is_fits_into_a_line(prediction):
    assert len(repr(prediction)) < 200
    assert len(repr(prediction.page())) < 100


def test_combinations_have_the_quanta_of_their_modes(prediction):
    bend = prediction.conformers[0].spectrum.harmonic[0]
    overtone = next(
        b for b in predicted_bands(prediction.conformers, least=0.0) if b.quanta == {0: 2}
    )
    assert overtone.harmonic == pytest.approx(2.0 * bend)
    assert np.isnan(overtone.measured.value)


def test_the_page_draws_the_spectra(prediction, html):
    data = data_of(html)
    assert [panel["kind"] for panel in data["panels"]] == ["infrared", "raman"]
    for panel, spectrum in zip(
        data["panels"], (prediction.infrared, prediction.raman), strict=True
    ):
        area = panel["step"] * sum(panel["values"])
        assert area == pytest.approx(spectrum.integrate().value, rel=1e-3)
        assert panel["error"] is None
        assert [bands["label"] for bands in panel["listed"]] == ["literature"]


def test_the_page_has_lines_of_every_treatment_and_their_motions(prediction, html):
    data = data_of(html)
    assert [t["name"] for t in data["treatments"]] == ["VCI", "GVPT2", "harmonic"]
    harmonic = data["treatments"][2]["sticks"]
    strengths = prediction.conformers[0].harmonic.infrared_intensity
    np.testing.assert_allclose([s["infrared"] for s in harmonic], strengths, rtol=1e-4)
    (molecule,) = data["conformers"]
    assert molecule["symbols"] == ["O", "H", "H"]
    assert sorted(map(tuple, molecule["bonds"])) == [(0, 1), (0, 2)]
    masses = prediction.conformers[0].harmonic.masses
    for mode in molecule["modes"]:
        # no motion of the centre of mass, and normal coordinates
        vectors = np.array(mode["vectors"])
        np.testing.assert_allclose(masses @ vectors, 0.0, atol=1e-3)
        assert np.sum(masses[:, None] * vectors**2) == pytest.approx(1.0, rel=1e-3)


def test_every_row_selects_its_line(prediction, html):
    lines = data_of(html)["treatments"][0]["sticks"]
    numbers = [int(n) for n in re.findall(r"<tr data-stick='(\d+)'>", html)]
    assert [lines[n]["label"] for n in numbers] == [band.state for band in prediction.bands]


def test_the_page_needs_nothing_else(html):
    assert "default-src 'none'" in html
    assert not re.findall(r"<[^>]+\s(?:src|href)=|@import|url\((?!#)", html)


def test_texts_are_escaped(prediction):
    name = "</script><script>alert(1)</script><b>"
    listed = BandList(np.array([1600.0]), label="<i>file&.txt", names=(name,))
    page = report_page(replace(prediction, name=name), [listed]).html()
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<note>" not in page
    assert page.count("</script>") == 2
    (drawn,) = data_of(page)["panels"][0]["listed"][1:]
    assert drawn["bands"][0]["name"] == name


def test_a_measured_spectrum_is_drawn_with_its_score(prediction, tmp_path):
    measured = prediction.infrared.between(500.0, 4000.0).scaled(0.013, unit="arbitrary units")
    table = np.stack([measured.wavenumber, measured.values], axis=1)
    np.savetxt(tmp_path / "gas <1>.txt", table)
    prediction.report(tmp_path / "page.html", [tmp_path / "gas <1>.txt"])
    page = (tmp_path / "page.html").read_text()
    (curve,) = data_of(page)["panels"][0]["measured"]
    assert curve["name"] == "gas <1>.txt"
    # scaled to the computed area
    inside = prediction.infrared.between(500.0, 4000.0)
    np.testing.assert_allclose(curve["y"], inside.values, rtol=0.01, atol=1e-5)
    assert re.search(r"match +1\.000", page)


def test_absolute_intensities_are_not_scaled(prediction, tmp_path):
    doubled = prediction.infrared.scaled(2.0)
    page = report_page(prediction, [replace(doubled, label="twice")]).html()
    (curve,) = data_of(page)["panels"][0]["measured"]
    assert max(curve["y"]) == pytest.approx(2.0 * prediction.infrared.values.max(), rel=1e-3)


def test_a_measured_spectrum_that_cannot_be_compared_loses_nothing(prediction):
    far = prediction.infrared.between(1000.0, 2000.0)
    flat = replace(far, values=np.ones(len(far)), label="flat")
    page = report_page(prediction, [flat]).html()
    assert "not compared" in page
    assert data_of(page)["panels"][0]["measured"] == []


def test_raman_of_a_level_without_it_is_told(prediction):
    spectrum = replace(prediction.conformers[0].spectrum, polarizability_derivative=None)
    conformer = replace(prediction.conformers[0], spectrum=spectrum)
    plain = replace(prediction, conformers=(conformer,))
    page = report_page(plain, [replace(prediction.raman, label="measured Raman")]).html()
    assert [panel["kind"] for panel in data_of(page)["panels"]] == ["infrared"]
    assert "measured Raman: not compared" in page


def test_the_command_asks_for_the_same(prediction, html):
    command = re.search(r"\neqcalc (predict .*?)</pre>", html)[1]
    options = build_parser().parse_args(command.split())
    for name in ("molecule", "level", "quality", "temperature", "fwhm", "charge"):
        assert getattr(options, name) == prediction.asked[name]
    assert dict(options.mass) == prediction.asked["isotopes"]


def test_everything_is_written(prediction, tmp_path):
    folder = prediction.write(tmp_path / "out")
    written = {path.name for path in folder.iterdir()}
    assert {"report.html", "infrared.csv", "raman.csv", "conformer-1.xyz"} <= written
    assert len(read(folder / "conformer-1.xyz")) == 3


def test_the_point_group_is_told(prediction, html):
    assert "<td>C2v</td><td>2</td>" in html
    assert "C2v" in prediction.summary()


def test_isotopes_are_told_in_the_heading(prediction, html):
    assert "2.014 amu" not in html.partition("<main>")[0]
    (conformer,) = prediction.conformers
    atoms = conformer.atoms.copy()
    atoms.set_masses([15.999, 2.014, 2.014])
    heavy = replace(prediction, conformers=(replace(conformer, atoms=atoms),))
    assert "2 H of 2.014 amu" in report_page(heavy).html().partition("<main>")[0]


def test_a_notebook_shows_the_bands(prediction):
    text = prediction._repr_html_()
    assert "&lt;analytic&gt;" in text
    for band in prediction.bands:
        assert band.state in text


def test_measured_files_are_checked(prediction, tmp_path):
    with refused(file=tmp_path / "none.txt"):
        prediction.report(tmp_path / "page.html", [tmp_path / "none.txt"])
    assert not (tmp_path / "page.html").exists()


def test_spectra_of_eqcalc_are_measured_ones_too(prediction, tmp_path):
    write_spectrum(prediction.raman, tmp_path / "raman.csv")
    page = report_page(prediction, []).html()
    assert data_of(page)["panels"][1]["measured"] == []
    prediction.report(tmp_path / "page.html", [tmp_path / "raman.csv"])
    panels = data_of((tmp_path / "page.html").read_text())["panels"]
    assert [len(panel["measured"]) for panel in panels] == [0, 1]


def test_fundamentals_have_symmetries(prediction):
    found = [band.irrep for band in prediction.bands if band.irrep]
    assert sorted(found) == ["A1", "A1", "B2"]


def test_what_was_learnt_is_run_again(prediction, tmp_path):
    learning = ActiveLearning(tmp_path, labels=30)
    asked = {"molecule": "water", "level": "gfn2", "quality": "standard", "learning": learning}
    html = replace(prediction, asked=asked).report(tmp_path / "report.html").read_text()
    assert "--quality standard --labels 30 --hours 1.0" in html
    assert eval(repr(learning)) == learning
