# SPDX-License-Identifier: MIT
"""Treatments of the nuclei side by side: bands, and the errors that methods are known to have."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from eqcalc.anharmonic import Treatment, anharmonic_spectrum
from eqcalc.anharmonic.spectrum import Configuration
from eqcalc.dynamics import simulate
from eqcalc.methods import METHODS
from eqcalc.models.checkpoint import shipped_model
from eqcalc.reports import method_comparison
from eqcalc.reports.method_comparison import (
    KNOWN_ERRORS,
    Vibrations,
    compare_methods,
    method_table,
)
from eqcalc.runtime import load_evaluator
from eqcalc.spectra import Spectrum
from eqcalc.spectra.experiment.band_lists import BandList

AXIS = np.arange(0.0, 4500.0, 2.0)


@dataclass
class Modes:
    """Lines as compare_methods takes them."""

    wavenumber: np.ndarray
    infrared_intensity: np.ndarray


@dataclass
class Quantum(Modes):
    errors: dict
    assignment: list

    @property
    def initial(self):
        return [[Configuration({}, 1.0)]] * len(self.wavenumber)


def state(**parts):
    """A state with parts of single quanta, such as ``ν2=0.9``, and an overtone."""
    found = [Configuration({int(name[1:]) - 1: 1}, part) for name, part in parts.items()]
    return [*found, Configuration({1: 2}, 1.0 - sum(parts.values()))]


HARMONIC = Modes(np.array([300.0, 1600.0, 3750.0, 3800.0]), np.array([50.0, 80.0, 10.0, 30.0]))
QUANTUM = Quantum(
    np.array([1560.0, 3110.0, 3540.0, 3640.0]),
    np.array([78.0, 1.0, 9.0, 29.0]),
    {"basis": np.array([0.1, 0.2, 2.0, 0.3]), "nodes": np.array([0.2, 0.1, 0.1, 3.0])},
    [state(ν2=0.9), state(), state(ν3=0.9), state(ν4=0.9)],
)
ONE = [Vibrations(1.0, HARMONIC, QUANTUM)]


def spectrum(method, *lines):
    values = sum(np.exp(-0.5 * ((AXIS - nu) / 10.0) ** 2) for nu in lines)
    return Spectrum(AXIS, values, "km/mol per cm⁻¹", "IR intensity", provenance={"method": method})


def test_bands_are_groups_of_modes():
    classical = spectrum("NVE", 300.0, 1590.0, 3690.0)
    rows = compare_methods(ONE, [classical, spectrum("Te-PIGS", 310.0, 1570.0, 3620.0)])
    assert [row.modes for row in rows] == [(0,), (1,), (2, 3)]
    assert [row.harmonic for row in rows] == pytest.approx([300.0, 1600.0, 3787.5])
    assert rows[2].quantum == pytest.approx(3615.0)  # weighted by intensity
    assert rows[2].convergence == 3.0
    assert np.isnan(rows[0].quantum)  # a torsion that was not treated
    assert rows[2].dynamics[0].centroid.value == pytest.approx(3690.0, abs=0.5)
    assert rows[1].dynamics[1].centroid.value == pytest.approx(1570.0, abs=0.5)
    # an overtone between bands belongs to one of them
    edges = [(band.lower, band.upper) for band in (row.dynamics[0] for row in rows)]
    assert all(left[1] == right[0] for left, right in pairwise(edges))


def test_a_mode_in_resonance_is_at_the_mean_of_its_parts():
    """Two thirds at 1560 and a third at 1530 cm⁻¹; and too little of a mode gives no position."""
    pair = Quantum(
        np.array([1530.0, 1560.0, 3540.0]),
        np.ones(3),
        {"basis": np.array([np.nan, 0.2, 2.0])},
        [state(ν2=0.3), state(ν2=0.6), state(ν3=0.9, ν4=0.1)],
    )
    classical = spectrum("NVE", 300.0, 1590.0, 3690.0)
    rows = compare_methods([Vibrations(1.0, HARMONIC, pair)], [classical])
    assert rows[1].quantum == pytest.approx(1550.0)
    assert rows[1].convergence == 0.2
    assert np.isnan(rows[2].quantum)


def test_conformers_count_by_their_populations_and_fundamentals_are_beside_them():
    other = Modes(HARMONIC.wavenumber - 40.0, HARMONIC.infrared_intensity)
    lower = Quantum(
        QUANTUM.wavenumber - 40.0, QUANTUM.infrared_intensity, QUANTUM.errors, QUANTUM.assignment
    )
    both = [Vibrations(0.25, HARMONIC, QUANTUM), Vibrations(0.75, other, lower)]
    measured = BandList(np.array([3650.0, 1545.0, 3520.0]), label="fundamentals")
    spectra = [spectrum("NVE", 300.0, 1590.0, 3690.0)]
    rows = compare_methods(both, spectra, measured)
    assert [row.modes for row in rows] == [(0,), (1,), (2, 3)]
    assert rows[1].harmonic == pytest.approx(1570.0)
    assert rows[1].quantum == pytest.approx(1530.0)
    assert [row.measured for row in rows] == [(), (1545.0,), (3520.0, 3650.0)]
    table = method_table(rows, spectra)
    assert "3520–3650" in table


def test_systematic_errors_are_in_proportion_to_the_anharmonic_shift():
    spectra = [spectrum("NVE", 300.0, 1590.0, 3690.0), spectrum("Langevin", 300.0, 1590.0, 3690.0)]
    table = method_table(compare_methods(ONE, spectra), spectra)
    torsion, bend, stretch = table.splitlines()[2:]
    assert "+109 … +141" in stretch  # 0.63 to 0.82 of 172.5 cm⁻¹
    assert "…" not in torsion + bend
    assert stretch.count("…") == 1  # nothing is known of the other method


def test_methods_with_known_errors_are_in_the_table():
    for name, known in KNOWN_ERRORS.items():
        assert METHODS[name].simulated
        assert METHODS[name].spectra == "physical"
        assert known.low < known.high < 1.0 < known.width


@pytest.mark.slow
def test_a_run_beside_the_vibrations_of_its_model(tmp_path, ethanol, monkeypatch):
    rough = Treatment(coupling=2, quanta=2, nodes=(5, 4, 3))
    whole = partial(anharmonic_spectrum, treatment=rough)
    monkeypatch.setattr(method_comparison, "anharmonic_spectrum", whole)
    model, run = shipped_model("ethanol"), tmp_path / "run.h5"
    simulate(
        ethanol,
        load_evaluator(model, ethanol.numbers),
        output=run,
        method="NVE",
        temperature=300.0,
        timestep=0.5,
        steps=600,
        seed=0,
        replicas=2,
        observables={"dipole": 2, "positions": 2},
        progress=False,
    )
    text = method_comparison.write_method_comparison(ethanol, model, [run], tmp_path / "out")
    assert (tmp_path / "out" / "methods.txt").read_text(encoding="utf-8") == text + "\n"
    assert (tmp_path / "out" / "methods.png").stat().st_size > 5000
    stretch = next(cells for line in text.splitlines() if (cells := line.split())[:1] == ["21"])
    measured, harmonic = map(float, stretch[1:3])
    assert measured == 3653.0
    assert 3700.0 < harmonic < 4000.0
    assert "NVE: misses 63% to 82% of the anharmonic shift" in text
