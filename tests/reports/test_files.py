# SPDX-License-Identifier: MIT
"""Reports: what is said of a trajectory is what is in it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import Method, simulate
from eqcalc.models.checkpoint import model_hash, save_model
from eqcalc.progress import duration
from eqcalc.reports.files import describe_spectra, write_figure, write_spectra
from eqcalc.reports.molecular import (
    check_sum_rule,
    model_of,
    molecular_spectra,
    motion_spectra,
    spectra_of_series,
)
from eqcalc.runtime import MoleculeEvaluator, eager_evaluator
from eqcalc.spectra import sum_rule, without_rotation
from eqcalc.trajectory import Trajectory
from eqcalc.units import INTENSITY_PER_SQUARED_CHARGE_PER_MASS
from tests.conftest import make_potential
from tests.spectra.oscillators import oscillator, vector

STEPS = 60


@pytest.fixture(scope="module")
def evaluator():
    # the forces of a random network are small: its atoms hardly leave their places
    numbers = torch.tensor(molecule("H2O").numbers)
    return eager_evaluator(make_potential(features=8), numbers)


def short_run(evaluator, path, **changes):
    """Return a trajectory of water."""
    settings = {"method": "NVE", "temperature": 20.0, "timestep": 0.05, "steps": STEPS, "seed": 5}
    return simulate(molecule("H2O"), evaluator, output=path, progress=False, **settings | changes)


@pytest.fixture(scope="module")
def trajectory(tmp_path_factory, evaluator):
    return short_run(
        evaluator,
        tmp_path_factory.mktemp("report") / "run.h5",
        replicas=8,
        observables={"dipole": 1, "polarizability": 1, "bead_positions": 5},
    )


def test_sum_rule_is_that_of_the_polar_tensors(trajectory, evaluator):
    spectra = molecular_spectra(trajectory)
    check = check_sum_rule(spectra.infrared, trajectory, evaluator)
    positions = trajectory.observable("bead_positions").values.reshape(-1, 3, 3)
    tensors = evaluator.polar_tensors(torch.from_numpy(positions)).numpy()
    expected = INTENSITY_PER_SQUARED_CHARGE_PER_MASS * np.einsum(
        "siac,i->s", tensors**2, 1.0 / trajectory.masses
    )
    assert check.exact.value == pytest.approx(expected.mean(), rel=1e-10)
    assert check.ratio.value == pytest.approx(
        spectra.infrared.integrate().value / expected.mean(), rel=1e-10
    )
    text = describe_spectra(spectra, check)
    assert "8 replicas" in text
    assert "sum rule" in text


def test_an_unfinished_run_is_told(evaluator, tmp_path, monkeypatch):
    calls = []

    def interrupted(positions, quantities):
        calls.append(1)
        if len(calls) > 45:
            raise KeyboardInterrupt
        return evaluator(positions, quantities)

    class Stopping(MoleculeEvaluator):
        def __call__(self, positions, quantities):
            return interrupted(positions, quantities)

    stopping = Stopping(evaluator.execution, evaluator.numbers)
    with pytest.raises(KeyboardInterrupt):
        simulate(
            molecule("H2O"), stopping, output=tmp_path / "run.h5", method="NVE", temperature=20.0,
            timestep=0.05, steps=60, seed=5, replicas=8, observables={"dipole": 1}, progress=False,
            checkpoint_interval=0.0,
        )  # fmt: skip
    trajectory = Trajectory.open(tmp_path / "run.h5")
    assert 20 < trajectory.steps_written < 60
    text = describe_spectra(molecular_spectra(trajectory))
    assert f"not finished: {trajectory.steps_written} of 60 steps are written" in text


@pytest.mark.slow
def test_the_quantum_factor_is_named_and_not_blamed_on_the_sum_rule(trajectory, evaluator):
    texts = {}
    for factor in ("harmonic", "standard", "none"):
        spectra = molecular_spectra(trajectory, quantum_factor=factor)
        check = check_sum_rule(spectra.infrared, trajectory, evaluator)
        texts[factor] = describe_spectra(spectra, check)
        assert texts[factor].splitlines()[0].endswith(f"quantum factor {factor}")
    (line,) = [x for x in texts["harmonic"].splitlines() if x.startswith("sum rule")]
    before, after = line.split("intensity")
    for factor in ("standard", "none"):
        named = f"{before}intensity with the harmonic quantum factor, not {factor}{after}"
        assert named in texts[factor].splitlines()


def test_the_sum_rule_of_a_run_without_rotation(evaluator, tmp_path):
    common = {
        "temperature": 1.0,
        "timestep": 0.5,
        "masses": {"H": 1e4, "O": 1e5},
        "steps": STEPS,
        "seed": 5,
        "replicas": 2,
        "observables": {"dipole": 1, "bead_positions": 5},
        "progress": False,
        "rotation": "none",
    }
    still = simulate(molecule("H2O"), evaluator, output=tmp_path / "nve.h5", method="NVE", **common)
    spectra = molecular_spectra(still)
    check = check_sum_rule(spectra.infrared, still, evaluator)
    positions = still.observable("bead_positions").values.reshape(-1, 3, 3)
    tensors = evaluator.polar_tensors(torch.from_numpy(positions)).numpy()
    left = without_rotation(tensors, positions, still.masses)
    assert check.exact.value == pytest.approx(sum_rule(left, still.masses).value, rel=1e-10)
    assert check.exact.value < 0.99 * sum_rule(tensors, still.masses).value
    assert "/ exact value without rotation" in describe_spectra(spectra, check)
    ring = simulate(
        molecule("H2O"), evaluator, output=tmp_path / "r.h5", method="RPMD", beads=2, **common
    )
    spectra = molecular_spectra(ring)
    assert check_sum_rule(spectra.infrared, ring, evaluator) is None
    assert "not checked; the ring polymers started without rotation" in describe_spectra(spectra)


def test_the_need_for_beads_is_said_once():
    # the highest band of the one is a little above that of the other
    x, y = (oscillator(nu, n_frames=8000, n_replicas=3) for nu in (3700.0, 3703.0))
    found = spectra_of_series(
        vector(x),
        y[..., None] * np.array([1.0, 1.0, 3.0, 0.0, 0.0, 0.0]),
        dipole_unit="e*Å",
        polarizability_unit="Å^3",
        interval=0.5,
        temperature=300.0,
        method="RPMD",
        n_beads=4,
        resolution=20.0,
    )
    own = [[w for w in s.warnings if "too few" in w] for s in (found.infrared, found.raman)]
    assert own[0] != own[1]
    assert describe_spectra(found).count("beads are too few") == 1


@pytest.mark.slow
def test_exact_rates_give_the_spectra_of_differences(evaluator, tmp_path):
    run = short_run(
        evaluator,
        tmp_path / "run.h5",
        temperature=1.0,
        timestep=0.5,
        steps=60,
        replicas=3,
        masses={"H": 1e4, "O": 1e5},
        observables={
            "dipole": 1,
            "dipole_rate": 1,
            "polarizability": 1,
            "polarizability_rate": 1,
        },
    )
    exact = molecular_spectra(run, lag=10.0)
    assert exact.infrared.provenance["derivative"] == "given"
    differences = molecular_spectra(run, lag=10.0, derivative=False)
    for a, b in (
        (exact.infrared, differences.infrared),
        (exact.raman.activity(), differences.raman.activity()),
    ):
        assert a.integrate(0.0, 1000.0).value == pytest.approx(
            b.integrate(0.0, 1000.0).value, rel=0.05
        )


def test_the_thermostat_of_a_run_is_told_with_its_width(evaluator, tmp_path):
    damped = short_run(
        evaluator,
        tmp_path / "run.h5",
        method=Method("Langevin", time_constant=200.0),
        temperature=1.0,
        timestep=0.5,
        steps=60,
        replicas=3,
        masses={"H": 1e4, "O": 1e5},
        observables={"dipole": 1, "temperature": 2},
    )
    text = describe_spectra(molecular_spectra(damped))
    assert "adds 26.5 cm⁻¹ to the width of every band" in text


@pytest.mark.slow
def test_parts_of_elements_add_to_the_density_of_states(evaluator, tmp_path):
    run = short_run(
        evaluator,
        tmp_path / "run.h5",
        replicas=4,
        observables={"dipole": 1, "positions": 1, "velocities": 20},
    )
    found = motion_spectra(run, density_of_states=True, internal=["O-H", "H-O-H"])
    total = found["density-of-states"]
    parts = [found[f"density-of-states-{symbol}"] for symbol in ("H", "O")]
    np.testing.assert_allclose(sum(p.values for p in parts), total.values, atol=1e-12)
    # of the positions, which are recorded 20 times as often
    assert total.wavenumber[-1] > 1e5
    write_spectra(run, tmp_path / "out", density_of_states=True, internal=["O-H"])
    assert (tmp_path / "out" / "spectrum-internal-O-H.csv").exists()
    assert (tmp_path / "out" / "density-of-states.png").exists()
    write_spectra(run, tmp_path / "out")  # what was not asked for again is not left there
    assert not (tmp_path / "out" / "spectrum-internal-O-H.csv").exists()


def test_nothing_is_written_through_links_in_the_folder_of_results(evaluator, tmp_path):
    run = short_run(evaluator, tmp_path / "run.h5", steps=40, replicas=2, observables={"dipole": 1})
    write_spectra(run, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    for name in names:
        (tmp_path / name).write_text("of another")
        (tmp_path / "out" / name).unlink()
        (tmp_path / "out" / name).symlink_to(tmp_path / name)
    write_spectra(run, tmp_path / "out")
    assert {(tmp_path / name).read_text() for name in names} == {"of another"}
    assert not any((tmp_path / "out" / name).is_symlink() for name in names)


def test_without_positions_there_is_no_check(evaluator, tmp_path):
    bare = short_run(
        evaluator,
        tmp_path / "bare.h5",
        steps=40,
        replicas=2,
        observables={"dipole": 1},
    )
    spectra = molecular_spectra(bare)
    assert spectra.raman is None
    assert check_sum_rule(spectra.infrared, bare, evaluator) is None
    path = write_figure(tmp_path / "figure.png", [spectra])
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_trajectory_without_properties_says_what_to_record(evaluator, tmp_path):
    energies = short_run(
        evaluator,
        tmp_path / "energies.h5",
        steps=20,
        observables={"potential_energy": 1},
    )
    with pytest.raises(ValueError, match="record them"):
        molecular_spectra(energies)


def series_spectra(scatter=1.0, n=16):
    """Return spectra of oscillators whose energies scatter."""
    energy = 1.0 + scatter * (np.random.default_rng(3).exponential(size=(n, 1)) - 1.0)
    x = vector(np.sqrt(energy) * oscillator(1500.0, n_frames=4000, n_replicas=n))
    return spectra_of_series(
        x, dipole_unit="e*Å", interval=0.5, temperature=300.0, method="NVE", resolution=40.0
    )


def test_the_model_of_a_trajectory(trajectory, tmp_path):
    potential = make_potential(features=8)
    save_model(potential, tmp_path / "same.eqc")
    save_model(make_potential(features=4), tmp_path / "other.eqc")
    assert model_of(trajectory) is None  # not one of eqcalc's
    assert model_hash(model_of(trajectory, tmp_path / "same.eqc")) == model_hash(potential)
    with pytest.raises(ValueError, match=r"other\.eqc: not the model"):
        model_of(trajectory, tmp_path / "other.eqc")
    foreign = Trajectory(trajectory.path, replace(trajectory.header, provenance={}), {})
    assert model_of(foreign, tmp_path / "other.eqc") is not None
    assert model_of(foreign) is None


def test_how_many_replicas_are_needed():
    spectra = series_spectra()
    (band,) = spectra.infrared.bands(lower=100.0)
    relative = band.area.error / band.area.value
    needed = int(np.ceil(16 * (relative / 0.05) ** 2))
    text = describe_spectra(spectra)
    assert f"for 5 % run about {needed} replicas instead of 16" in text
    assert "at the speed" not in text  # which is not known
    told = describe_spectra(spectra, seconds=96.0)
    assert f"{duration(6.0 * needed)} at the speed of this run, which took 96 s" in told
    assert "for 5 %" not in describe_spectra(series_spectra(scatter=0.0))


def test_a_coarse_resolution_is_told():
    assert "what lies closer is one band" in describe_spectra(series_spectra())  # 40 cm⁻¹
    fine = spectra_of_series(
        vector(oscillator(1500.0, n_frames=8000, n_replicas=2)),
        dipole_unit="e*Å",
        interval=0.5,
        temperature=300.0,
        resolution=20.0,
    )
    assert "what lies closer" not in describe_spectra(fine)
