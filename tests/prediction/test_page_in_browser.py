# SPDX-License-Identifier: MIT
"""The page of a prediction as a reader uses it, in headless Chromium."""

import shutil
import subprocess

import pytest

from eqcalc.reports import page
from tests.prediction.browser import EXECUTABLE, browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(EXECUTABLE is None, reason="needs Chromium (Debian's package chromium)"),
]

#: Place of a line in the figure of a kind of spectrum: in the lane of a treatment, in the window.
PLACE = """(() => {
  const chart = app.charts.find((c) => c.panel.kind === %r);
  const lane = chart.laneList[%d], stick = lane.sticks[%d];
  const box = chart.svg.getBoundingClientRect();
  return [box.left + chart.toX(stick.x), box.top + stick.top + 2];
})()"""
PICTURE = "document.getElementById('molecule').toDataURL()"
MODES = "document.getElementById('molecule').dataset.modes"
DETAILS = "document.querySelector('#details h3').textContent"


@pytest.fixture(scope="module")
def tab(prediction, tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    path = prediction.report(folder / "<report> & more.html")
    with browser(folder / "profile") as found:
        found.open(path, 1280, 1000)
        yield found
        # through everything below: no error, and nothing asked of any network
        assert found.problems == []
        assert len(found.requests) == 1
        assert found.requests[0].startswith("file:")


def click(tab, kind, lane, stick):
    x, y = tab.run(PLACE % (kind, lane, stick))
    tab.drag(x, y, x)


def test_a_click_on_a_line_shows_its_motion(tab):
    pictures = set()
    for stick, modes in ((0, "1"), (2, "3")):
        click(tab, "infrared", 2, stick)  # harmonic
        assert tab.run(MODES) == modes
        assert tab.run(DETAILS) == f"ν{modes}"
        tab.run("viewer.set({ playing: false, phase: 0.25 })")
        tab.until("viewer.stale === false")
        pictures.add(tab.run(PICTURE))
    assert len(pictures) == 2
    before = tab.run(PICTURE)
    tab.run("viewer.set({ playing: true })")
    tab.until(f"{PICTURE} !== {before!r}")


def test_a_click_into_a_band_selects_what_makes_it(tab):
    x, _ = tab.run(PLACE % ("raman", 0, 0))
    top = tab.run("app.charts[1].svg.getBoundingClientRect().top")
    tab.drag(x + 3, top + 60, x + 3)
    assert tab.run(MODES) == "1"
    assert tab.run("app.selection.treatment") == 0
    assert tab.run("document.querySelector('tr.selected').dataset.stick") == "0"


def test_a_row_of_the_table_selects_its_line(tab):
    tab.run("document.querySelectorAll('tr[data-stick]')[1].click()")
    assert tab.run(MODES) == "2"
    assert tab.run("app.selection.treatment") == 0
    row = "document.querySelectorAll('tr[data-stick]')[1]"
    assert tab.run(f"app.selection.index === Number({row}.dataset.stick)")
    assert tab.run(f"{row}.classList.contains('selected')")


def test_a_drag_zooms_all_figures_and_a_double_click_goes_back(tab):
    full = tab.run("app.range")
    x, y = tab.run(PLACE % ("infrared", 0, 0))
    tab.drag(x - 40, y, x + 40)
    low, high = tab.run("app.range")
    assert full[0] < low < high < full[1]
    tab.run("app.charts[0].svg.dispatchEvent(new MouseEvent('dblclick'))")
    assert tab.run("app.range") == full


def test_units_are_those_of_the_library(tab, prediction):
    molar, transmittance = 1, 3
    choose = "(() => { const c = app.charts[%d]; c.choice.value = %d; c.choose(); %s })()"
    factor = 100.0 / 2.302585092994046
    place = "return c.y[Math.round(%r / c.panel.step)];"
    nu = prediction.bands[0].wavenumber
    plain = tab.run(choose % (0, 0, place % nu))
    assert tab.run(choose % (0, molar, place % nu)) == pytest.approx(factor * plain)
    # 1 mbar over 10 cm at 298.15 K
    amount = 100.0 / (8.314462618 * 298.15) * 1e-3 * 10.0
    passed = tab.run(choose % (0, transmittance, place % nu))
    assert passed == pytest.approx(10.0 ** (-amount * factor * plain))
    index = len(prediction.raman) // 2
    nu = float(prediction.raman.wavenumber[index])
    plain = tab.run(choose % (1, 0, place % nu))
    # 45A + 7G: the isotropic part alone, with the activity divided by 45
    section = tab.run(choose % (1, 1, place % nu))
    at = tab.run(f"app.charts[1].panel.step * Math.round({nu!r} / app.charts[1].panel.step)")
    assert section == pytest.approx(page_cross_section(plain, at, prediction.temperature), rel=1e-6)
    tab.run(choose % (0, 0, "") + ";" + choose % (1, 0, ""))


def page_cross_section(activity, wavenumber, temperature):
    from eqcalc.spectra.raman_scattering import stokes_factor

    return activity * float(stokes_factor(wavenumber, temperature, 532.0))


def test_a_narrow_window_has_no_sideways_scroll(tab):
    tab.resize(390, 800)
    tab.until("app.charts[0].svg.clientWidth < 390")
    assert tab.run("document.documentElement.scrollWidth") <= 390
    tab.resize(1280, 1000)


def test_the_name_of_the_level_is_text(tab, prediction):
    assert prediction.level in tab.run("document.querySelector('header p').textContent")
    assert tab.run("document.querySelectorAll('analytic').length") == 0


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
@pytest.mark.parametrize("name", page._SCRIPTS)
def test_scripts_are_valid(name):
    subprocess.run(["node", "--check", page._ASSETS / name], check=True, timeout=60)
