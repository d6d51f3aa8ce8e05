# SPDX-License-Identifier: MIT
"""The total error of a band, its constants, and the workflow that measures them."""

import json
import math
from dataclasses import asdict, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from eqcalc.prediction import predict
from eqcalc.prediction.errors import (
    TREATMENTS,
    Calibration,
    ModelError,
    band_error,
    calibration_of,
    read_calibrations,
)
from eqcalc.prediction.level import level_named

ROOT = Path(__file__).parents[2]
CONSTANTS = Calibration(
    "exact", 0.01, 0.002, 0.003, 4.0, 0.5, (0.05, 0.1), (1.1, 2.75), molecules=2, bands=6
)
HARMONIC = np.array([1000.0, 3000.0])
MODEL = ModelError(np.array([20.0, 30.0]), None, None)
CONVERGED = {"basis": 3.0, "nodes": 4.0}


def test_parts_of_a_fundamental():
    bias, parts, wide = band_error({1: 1}, 2860.0, HARMONIC, CONVERGED, 2, MODEL, CONSTANTS)
    # a stretching vibration of hydrogen, and terms of three modes
    assert bias == pytest.approx(0.01 * 3000.0 + 0.05 * 140.0)
    expected = {
        "model": 1.1 * 0.5 * 30.0,
        "nuclei": 1.1 * math.hypot(3.0, 4.0, 0.1 * 140.0),
        "level": 1.1 * math.hypot(0.003 * 3000.0, 4.0),
    }
    assert parts == pytest.approx(expected)
    assert wide == pytest.approx(2.5 * math.hypot(*expected.values()))


def test_terms_of_three_modes_are_their_own_error():
    converged = {**CONVERGED, "coupling": 12.0}
    bias, parts, _ = band_error({0: 1}, 980.0, HARMONIC, converged, 3, None, CONSTANTS)
    assert bias == pytest.approx(0.002 * 1000.0)
    assert parts["nuclei"] == pytest.approx(1.1 * 13.0)
    assert "model" not in parts


def test_quanta_of_a_mode_err_together_and_modes_apart():
    one, two, both = (
        band_error(quanta, nu, HARMONIC, {}, 3, MODEL, CONSTANTS)
        for quanta, nu in (({0: 1}, 1000.0), ({0: 2}, 2000.0), ({0: 1, 1: 1}, 4000.0))
    )
    assert two.bias == pytest.approx(2.0 * one.bias)
    for source in ("model", "level"):
        assert two.parts[source] == pytest.approx(2.0 * one.parts[source])
    assert both.parts["model"] == pytest.approx(0.55 * math.hypot(20.0, 30.0))


def test_a_level_without_constants_has_no_bias():
    bias, parts, wide = band_error({0: 1}, 980.0, HARMONIC, CONVERGED, 2, MODEL, None)
    assert math.isnan(bias)
    assert math.isnan(wide)
    assert parts == {"model": 20.0, "nuclei": 5.0}


def test_what_is_not_converged_has_no_error():
    found = band_error({0: 1}, 980.0, HARMONIC, {"basis": math.nan}, 2, MODEL, CONSTANTS)
    assert math.isnan(found.parts["nuclei"])
    assert math.isnan(found.wide)


def test_scaled_wavenumbers_have_no_bias():
    scaled = CONSTANTS.scale(HARMONIC) * HARMONIC
    np.testing.assert_allclose(scaled, [998.0, 2970.0])
    bias, parts, _ = band_error({0: 1}, scaled[0], HARMONIC, {}, 3, MODEL, CONSTANTS.unbiased())
    assert bias == 0.0
    assert list(parts) == ["model", "level"]  # which has the error of the treatment
    assert not band_error({0: 1}, 1000.0, HARMONIC, {}, 3, None, None).parts  # all unknown


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_a_density_functional_has_its_own_constants(treatment):
    pytest.importorskip("pyscf")
    known = level_named("dft").calibration(treatment)
    assert known == level_named("dft:PBE0/def2-TZVP").calibration(treatment)
    # PBE0 puts wavenumbers too high
    assert 0.92 < known.scale(np.array([1000.0]))[0] < 0.98
    for other in ("dft:B3LYP/def2-TZVP", "dft:PBE0/def2-SVP"):
        assert level_named(other).calibration(treatment) is None


@pytest.mark.parametrize("treatment", TREATMENTS)
def test_the_general_model_has_constants_of_each_treatment(treatment):
    level = level_named("general")
    constants = calibration_of(level.key, treatment)
    assert constants.level == level.name
    # anharmonicity lowers stretching vibrations of hydrogen most
    assert (constants.hydrogen > 0.02) == (treatment == "harmonic")


def test_constants_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "constants.json"
    constants = {"VCI": CONSTANTS, "harmonic": replace(CONSTANTS, intensities=(1.4, 25))}
    path.write_text(json.dumps({"key": {name: asdict(c) for name, c in constants.items()}}))
    assert read_calibrations(path) == {"key": constants}


@pytest.fixture(scope="module")
def script():
    pytest.importorskip("rdkit")
    spec = spec_from_file_location("calibrate", ROOT / "workflows" / "predict" / "calibrate.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def entries():
    """Molecules whose deviations have the distribution of the model of errors."""
    rng = np.random.default_rng(0)
    truth = replace(CONSTANTS, truncation=(0.0, 0.0))
    found = {}
    for i in range(60):
        harmonic = np.sort(rng.uniform(300.0, 3500.0, 12))
        nu = 0.96 * harmonic
        stated = rng.uniform(1.0, 40.0, 12)
        level = truth.level_error(np.ones((12, 1)), harmonic[:, None])
        sigma = np.hypot(truth.model * stated, level)
        bias = truth.bias(np.ones((12, 1)), harmonic[:, None], nu, np.array(2))
        found[f"InChI {i}"] = {
            "name": f"molecule {i}",
            "harmonic": harmonic.tolist(),
            "wavenumber": nu.tolist(),
            "two_modes": nu.tolist(),
            "three_modes": nu.tolist(),
            "coupling": [2] * 12,
            "converged": [0.0] * 12,
            "model": stated.tolist(),
            "measured": (nu - bias - rng.laplace(0.0, sigma)).tolist(),
            "uncertainty": [0.0] * 12,
            "infrared": [10.0] * 12,
            "measured_infrared": [0.0] * 12,
        }
    return found


@pytest.fixture
def entry():
    """Three modes; 1250 cm⁻¹ was measured badly, and the true band is at 1000 cm⁻¹."""
    return {
        "name": "three bands",
        "harmonic": [1000.0, 1100.0, 1350.0],
        "wavenumber": [1000.0, 1100.0, 1350.0],
        "coupling": [3] * 3,
        "converged": [0.0] * 3,
        "model": [0.0] * 3,
        "measured": [1102.0, 1250.0, 1349.0],
        "uncertainty": [1.0, 30.0, 1.0],
        "infrared": [2.0, 8.0, 30.0],
        "measured_infrared": [4.0, 0.0, 60.0],
    }


class TestWorkflow:
    @pytest.mark.slow
    def test_a_model_of_few_labels_has_the_fundamentals_of_its_level(self, script, tmp_path):
        pytest.importorskip("tblite")
        level = level_named("gfn2")
        measured = np.array([1595.0, 3657.0, 3756.0])
        water = script.Molecule("water", "O", measured, np.ones(3), np.zeros(3))
        found = script.predicted(water, level, "standard", tmp_path)
        exact = predict("smiles:O", level=level, quality="quick").conformers[0].spectrum
        assert found["wavenumber"] == pytest.approx(exact.fundamentals(), abs=script._TOLERANCE)
        # they are those of the level: predictions by a model add its own error
        assert found["level"] == level.key
        assert found["model"] == [0.0] * 3

    def test_the_fit_finds_the_constants(self, script, entries):
        found = script.fitted(list(entries.values()), "exact")
        assert found.hydrogen == pytest.approx(0.01, abs=0.003)
        assert found.other == pytest.approx(0.002, abs=0.001)
        assert found.bands == 720
        assert found.truncation == (0.0, 0.0)
        # of exp(−|x|/σ)/2σ: −ln 0.32 and −ln 0.05, and a little less by the assignment
        assert found.quantiles == pytest.approx((1.14, 3.0), rel=0.12)

    def test_the_other_half_is_within_the_stated_errors(self, script, entries):
        found = script.tested(entries, "exact")
        assert found["measured fundamentals"] == 720
        assert found["within 68 %"] == pytest.approx(0.68, abs=0.05)
        assert found["within 95 %"] == pytest.approx(0.95, abs=0.03)
        narrow, wide = (
            found[f"mean absolute error of the fifth of {which} bars / cm-1"]
            for which in ("narrowest", "widest")
        )
        assert wide > 2.0 * narrow

    def test_one_of_few_molecules_is_predicted_with_the_constants_of_others(self, script, entry):
        omega = np.array([1000.0, 1500.0, 3000.0])
        entry |= {"harmonic": omega, "wavenumber": omega, "uncertainty": [1.0] * 3}
        entry |= {"two_modes": omega, "three_modes": omega}
        both = [entry | {"name": f"{s}", "measured": s * omega + [1, -1, 1]} for s in (0.98, 1.0)]
        found = script.tested({f"InChI {e['name']}": e for e in both}, "exact")
        # each is off by the bias of the other
        assert found["mean absolute error / cm-1"] == pytest.approx(0.02 * omega.mean(), rel=0.01)
        assert found["measured fundamentals"] == 6
        assert found["within 95 %"] == 0.0
        assert found["quantiles"][0] > 10.0  # and the constants of both say so

    def test_modes_without_a_fundamental_are_counted(self, script, entries):
        entry = dict(next(iter(entries.values())))
        entry["wavenumber"] = [None, *entry["wavenumber"][1:]]
        constants = replace(CONSTANTS, truncation=(0.0, 0.0))
        bands, missing = script.matched([entry], constants)
        assert (len(bands.harmonic), missing) == (11, 1)

    def test_what_was_measured_badly_moves_no_other_band(self, script, entry):
        """By the deviations alone 1000 and 1100 would be 1102 and 1250 cm⁻¹ as well."""
        constants = replace(CONSTANTS, hydrogen=0.0, other=0.0, truncation=(0.0, 0.0))
        bands, _ = script.matched([entry], constants)
        assert dict(zip(bands.wavenumber, bands.measured, strict=True)) == {
            1000.0: 1250.0,
            1100.0: 1102.0,
            1350.0: 1349.0,
        }

    def test_intensities_of_close_bands_are_one(self, script, entry):
        constants = replace(CONSTANTS, hydrogen=0.0, other=0.0, truncation=(0.0, 0.0))
        found = script.intensities(entry, constants)
        assert found.tolist() == [[1102.0, 8.0, 4.0], [1349.0, 30.0, 60.0]]
        entry |= {"harmonic": [1000.0, 1100.0, 1110.0], "wavenumber": [1000.0, 1100.0, 1110.0]}
        entry |= {"measured": [1102.0, 1250.0, 1112.0]}
        assert script.intensities(entry, constants).tolist() == [[1107.0, 38.0, 64.0]]

    def test_effect_of_terms_of_three_modes(self, script):
        entry = {
            "harmonic": [1000.0, 3000.0],
            "two_modes": [980.0, 2900.0],
            "three_modes": [979.0, 2895.0],
        }
        assert script.truncation([entry]) == pytest.approx((0.05, 0.0))
        assert script.truncation([{**entry, "three_modes": [None, None]}]) == (0.0, 0.0)
