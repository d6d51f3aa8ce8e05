# SPDX-License-Identifier: MIT
"""Arguments of wrong type, shape or value are refused by an error that names them."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.spectra import (
    BandList,
    Estimate,
    Series,
    Window,
    absorbance,
    assign_bands,
    bonded_chains,
    broadened,
    combine_committee,
    compare,
    compare_bands,
    convert_infrared,
    cross_spectrum,
    decompose_dipole_by_atoms,
    decompose_dipole_by_groups,
    decompose_dipole_by_modes,
    deconvolve,
    dielectric,
    frames,
    gle_kernel,
    harmonic_analysis,
    infrared,
    infrared_accumulator,
    internal_coordinates,
    known_fundamentals,
    langevin_kernel,
    mode_spectra,
    plot_comparison,
    plot_infrared_raman,
    plot_spectrum,
    porto,
    power_spectrum,
    raman,
    raman_oriented,
    read_bands,
    read_measured,
    read_series,
    read_spectrum,
    reduced,
    register_reader,
    register_window,
    replicas_needed,
    save_figure,
    sum_rule,
    sum_rule_ratio,
    unresolved_notes,
    unwrap_dipole,
    vibrational_density_of_states,
    without_rotation,
    write_spectrum,
)
from eqcalc.validation import InvalidInputError

MASSES = np.array([16.0, 1.0, 1.0])
REFERENCE = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]])
TIMES = np.arange(120)
rng = np.random.default_rng(1)
WAVE = np.sin(0.3 * TIMES + rng.uniform(0.0, 6.0, (2, 1)))
DIPOLE = WAVE[..., None] * [1.0, 0.5, 0.2]
ALPHA = 5.0 * np.eye(3) + 0.1 * WAVE[..., None, None]
POSITIONS = REFERENCE + 0.02 * WAVE[..., None, None] * rng.normal(size=(3, 3))
VELOCITIES = np.gradient(POSITIONS, axis=1)
DYNAMICS = {"interval": 1.0, "temperature": 300.0}
OF_DIPOLE = {"data": DIPOLE, "unit": "D", **DYNAMICS}
OF_ALPHA = {"data": ALPHA, "unit": "Å^3", **DYNAMICS}
MODES = harmonic_analysis(REFERENCE, MASSES, np.eye(9), rng.normal(size=(3, 3, 3)))
SPECTRUM = infrared(**OF_DIPOLE, errors="none")
RAMAN = raman(**OF_ALPHA, errors="none")
BY_MODES = {"dipole": DIPOLE, "positions": POSITIONS, "harmonic": MODES, **DYNAMICS}
TENSORS = np.ones((3, 3, 3))
AXIS = np.linspace(0.0, 4000.0, 20)
NAN = float("nan")

#: What no array is.
NO_ARRAYS = ("text", None, {}, [[1.0, 2.0], [3.0]], 1j * DIPOLE, DIPOLE.astype(str), [None] * 3)
NO_NUMBERS = ("text", None, NAN, [], {}, np.ones(2))
NO_SPECTRA = (None, "text", 3.0, np.ones(3), RAMAN)
NO_NAMES = ("nonsense", 3, [], {}, NAN)
#: Function, valid arguments, and invalid ones by name.
CASES = (
    (infrared, OF_DIPOLE, {"data": (*NO_ARRAYS[:5], 3.0, 1e200 * DIPOLE, DIPOLE[..., :2])}),
    (infrared, OF_DIPOLE, {"window": NO_NAMES, "estimator": NO_NAMES, "n_samples": NO_NUMBERS}),
    (infrared, OF_DIPOLE, {"generator": ("a", -1, NAN), "frequency_correction": ("yes", [])}),
    (raman, OF_ALPHA, {"data": (*NO_ARRAYS[:4], DIPOLE)}),
    (raman_oriented, OF_ALPHA | {"incoming": [1, 0, 0], "outgoing": [1, 0, 0]},
     {"incoming": (*NO_ARRAYS, [0, 0, 0], [NAN, 0, 0])}),
    (vibrational_density_of_states,
     {"data": VELOCITIES, "masses": MASSES, "unit": "Å/fs", **DYNAMICS},
     {"masses": (*NO_ARRAYS[2:], -MASSES, 1.0), "atoms": ([], [3], [-1], [0.5], "O", [[0]])}),
    (power_spectrum, {"values": DIPOLE, "interval": 1.0, "unit": "D"},
     {"values": (*NO_ARRAYS, []), "interval": NO_NUMBERS}),
    (cross_spectrum, {"first": DIPOLE, "second": DIPOLE, "interval": 1.0, "unit": "D"},
     {"second": (*NO_ARRAYS, DIPOLE[:, :9])}),
    (dielectric, OF_DIPOLE | {"volume": 900.0}, {"data": NO_ARRAYS[:3], "volume": NO_NUMBERS}),
    (sum_rule, {"dipole_derivative": [TENSORS], "masses": MASSES},
     {"dipole_derivative": (*NO_ARRAYS, TENSORS, TENSORS[None][:0]), "masses": NO_ARRAYS}),
    (without_rotation,
     {"dipole_derivative": [TENSORS], "positions": [REFERENCE], "masses": MASSES},
     {"positions": (*NO_ARRAYS, REFERENCE), "masses": (*NO_ARRAYS, -MASSES)}),
    (sum_rule_ratio, {"spectrum": SPECTRUM, "expected": Estimate(1.0, 0.1)},
     {"spectrum": NO_SPECTRA, "expected": NO_NUMBERS}),
    (convert_infrared, {"spectrum": SPECTRUM, "quantity": "intensity"}, {"spectrum": NO_SPECTRA}),
    (broadened, {"spectrum": SPECTRUM, "fwhm": 9.0}, {"spectrum": NO_SPECTRA, "fwhm": (1e9, 0.0)}),
    (absorbance, {"spectrum": None}, {"spectrum": NO_SPECTRA}),
    (combine_committee, {"spectra": [SPECTRUM] * 2, "common_trajectory": True},
     {"spectra": (None, "ab", [], [SPECTRUM], [SPECTRUM, RAMAN], [SPECTRUM, 3])}),
    (compare, {"calculated": SPECTRUM, "measured": SPECTRUM, "lower": 500.0, "upper": 3000.0},
     {"calculated": NO_SPECTRA, "measured": NO_SPECTRA, "scale_range": (3, "ab", (1,), (2, 1))}),
    (compare_bands, {"calculated": SPECTRUM, "listed": BandList(np.array([1600.0]))},
     {"calculated": NO_SPECTRA, "listed": NO_SPECTRA, "limits": (3, "ab", (1,))}),
    (deconvolve, {"spectrum": SPECTRUM, "kernel": langevin_kernel(SPECTRUM.wavenumber, 99.0),
                  "iterations": 3}, {"kernel": NO_ARRAYS, "iterations": (0, *NO_NUMBERS)}),
    (langevin_kernel, {"wavenumber": AXIS, "time_constant": 9.0},
     {"wavenumber": (*NO_ARRAYS, AXIS[::-1], -AXIS, AXIS[:1]), "time_constant": NO_NUMBERS}),
    (gle_kernel, {"wavenumber": AXIS, "drift": np.eye(2)},
     {"drift": (*NO_ARRAYS, -np.eye(2), np.eye(2)[:1]), "covariance": ("a", -np.eye(2))}),
    (unwrap_dipole, {"dipole": DIPOLE, "cell": 9.0 * np.eye(3)},
     {"dipole": (*NO_ARRAYS, NAN * DIPOLE), "cell": (*NO_ARRAYS, 0.0 * np.eye(3)),
      "charge": ("a", 0)}),
    (harmonic_analysis, {"positions": REFERENCE, "masses": MASSES, "hessian": np.eye(9)},
     {"positions": NO_ARRAYS, "masses": NO_ARRAYS, "hessian": NO_ARRAYS}),
    (internal_coordinates, {"positions": POSITIONS[0], "chains": [[1, 0, 2]]},
     {"positions": NO_ARRAYS, "chains": ("a", [[0]], [[0, 3]], [[0, 0]], [[0.5, 1]]),
      "cell": ("a", 0.0 * np.eye(3))}),
    (bonded_chains, {"atoms": molecule("H2O"), "coordinate": "O-H"},
     {"atoms": (None, "a", []), "coordinate": (3, None, "H", "O-X")}),
    (porto, {"notation": "z(xy)-z"}, {"notation": NO_NAMES}),
    (replicas_needed,
     {"estimate": Estimate(1.0, 0.1), "relative_error": 0.1, "n_independent": 8},
     {"estimate": NO_NUMBERS, "n_independent": NO_NUMBERS}),
    (reduced, {"spectrum": RAMAN.cross_section(532.0)}, {"spectrum": NO_SPECTRA}),
    (RAMAN.cross_section, {"laser_wavelength": 532.0}, {"laser_wavelength": NO_NUMBERS}),
    (SPECTRUM.integrate, {}, {"lower": ("a", NAN, []), "upper": ("a", NAN)}),
    (SPECTRUM.between, {}, {"lower": ("a", NAN, []), "upper": ("a", NAN)}),
    (SPECTRUM.scaled, {"factor": 2.0}, {"factor": NO_NUMBERS}),
    (SPECTRUM.bands, {}, {"threshold": NO_NUMBERS}),
    (SPECTRUM.combined, {"other": SPECTRUM, "function": np.add}, {"other": NO_SPECTRA}),
    (unresolved_notes, {"spectrum": SPECTRUM}, {"spectrum": NO_SPECTRA}),
    (known_fundamentals, {"spectrum": SPECTRUM, "molecule": "water"}, {"molecule": (3, [])}),
    (decompose_dipole_by_modes, BY_MODES,
     {"dipole": (*NO_ARRAYS, DIPOLE[:, :9]), "positions": NO_ARRAYS, "harmonic": (None, [], 3),
      "unit": ("D",), "interval": (None,)}),
    (decompose_dipole_by_groups, BY_MODES | {"polar_tensors": TENSORS, "groups": {"OH": [0, 1]}},
     {"polar_tensors": (*NO_ARRAYS, TENSORS[:2]), "groups": (None, [], {"a": [0.5]}, {"a": "O"})}),
    (decompose_dipole_by_atoms,
     {"polar_tensors": np.ones((2, 120, 3, 3, 3)), "velocities": VELOCITIES, "groups": {},
      **DYNAMICS},
     {"polar_tensors": NO_ARRAYS, "velocities": NO_ARRAYS}),
    (mode_spectra,
     {"positions": POSITIONS, "velocities": VELOCITIES, "harmonic": MODES, **DYNAMICS},
     {"positions": NO_ARRAYS, "velocities": NO_ARRAYS, "harmonic": (None, 3)}),
    (assign_bands, {"decomposition": decompose_dipole_by_modes(**BY_MODES)},
     {"decomposition": (None, SPECTRUM), "bands": (3, [3]), "harmonic": (3,),
      "n_leading": (0, "a")}),
    (frames.eckart_rotations,
     {"positions": POSITIONS, "reference": REFERENCE, "masses": MASSES},
     {"positions": NO_ARRAYS, "reference": NO_ARRAYS, "masses": NO_ARRAYS}),
    (frames.corotating_rotations, {"positions": POSITIONS, "masses": MASSES},
     {"positions": NO_ARRAYS, "masses": (0.0 * MASSES,)}),
    (frames.rotate, {"values": DIPOLE, "rotations": np.tile(np.eye(3), (2, 120, 1, 1))},
     {"values": (*NO_ARRAYS, DIPOLE[:, :9]), "rotations": NO_ARRAYS}),
    (frames.interpolate_rotations,
     {"rotations": np.tile(np.eye(3), (1, 9, 1, 1)), "interval": 1.0, "times": [0.5]},
     {"rotations": (*NO_ARRAYS, np.zeros((1, 9, 3, 3))), "times": ([99.0], "a")}),
    (Series, {"replicas": DIPOLE, "interval": 1.0, "temperature": 300.0, "unit": "D"},
     {"replicas": (None, 3.0), "interval": (*NO_NUMBERS, 2e6), "method": NO_NAMES}),
    (infrared_accumulator(2, unit="D", resolution=500.0, **DYNAMICS).append, {"values": DIPOLE},
     {"values": (*NO_ARRAYS, DIPOLE[..., :2], DIPOLE[:1])}),
    (infrared_accumulator(2, unit="D", resolution=500.0, **DYNAMICS).restore, {},
     {"state": (None, {}, 3)}),
    (Window, {"name": "w", "function": lambda s: 1.0 - s},
     {"function": (None, 3, lambda s: 1.0, lambda s: NAN * s), "width": ("a", -1.0)}),
    (register_window, {}, {"new": (None, 3)}),
    (register_reader, {}, {"reader": (None, int)}),
    (plot_spectrum, {"spectra": SPECTRUM}, {"spectra": (None, [], [RAMAN]), "names": (3, [3]),
                                            "limits": (3, "ab", (NAN, 1))}),
    (plot_infrared_raman, {"infrared": [SPECTRUM]}, {"infrared": (None, [RAMAN]), "raman": (3,)}),
    (plot_comparison, {"comparisons": [], "names": []}, {"comparisons": (None, [3], [])}),
    (save_figure, {"figure": plt.figure(), "path": "a.png"},
     {"figure": (None, 3), "path": (None, "a.xyz"), "dpi": NO_NUMBERS}),
    (write_spectrum, {"spectrum": SPECTRUM, "path": "a.h5"},
     {"spectrum": (None, 3), "path": (None, 3, b"a.h5", "a\0.h5", "a.xyz")}),
    (read_spectrum, {}, {"path": (None, 3, [], "missing.h5")}),
    (read_measured, {"path": "missing.csv"}, {"path": (None, 3), "unit": (3, [])}),
    (read_bands, {}, {"path": (None, 3)}),
    (read_series, {"paths": "missing", "format": "columns"}, {"format": NO_NAMES}),
)  # fmt: skip


@pytest.mark.parametrize(
    ("function", "valid", "invalid"), CASES, ids=[case[0].__qualname__ for case in CASES]
)
def test_the_error_names_the_argument(function, valid, invalid):
    for key, values in invalid.items():
        for value in values:
            with pytest.raises(InvalidInputError) as caught:
                function(**{**valid, key: value})
            error = caught.value
            assert error.key or error.file, (key, value)
            assert error.expected or error.problem, (key, value)
            assert str(error), (key, value)


def test_masked_values_are_no_numbers():
    hidden = np.ma.masked_greater(DIPOLE, 0.9)
    with pytest.raises(InvalidInputError) as caught:
        infrared(**OF_DIPOLE | {"data": hidden})
    assert caught.value.key.startswith("dipole")
