# SPDX-License-Identifier: MIT
"""simulate(): what is run, what is recorded, and what is refused."""

import os
import signal
import sys

import ase.io
import numpy as np
import pytest
import torch
from ase.constraints import FixAtoms

from eqcalc.dynamics import (
    OBSERVABLES,
    Equilibration,
    FromArrays,
    HarmonicModes,
    MaxwellBoltzmann,
    Method,
    SettingsError,
    StabilityLimits,
    UnstableDynamicsError,
    default_observables,
    load_state,
    simulate,
)
from eqcalc.dynamics.initial import remove_rotation
from eqcalc.interruption import Stopped
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN, FEMTOSECOND
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.analytic import HarmonicWell, MorseDiatomic, ToyWater
from tests.conftest import slow
from tests.errors import refused

WATER = ToyWater()
HESSIAN = WATER.hessian(torch.from_numpy(WATER.atoms.get_positions()))[None]


def run(path, evaluator=None, atoms=None, **changes):
    evaluator = ToyWater() if evaluator is None else evaluator
    arguments = {
        "output": path,
        "method": "NVE",
        "temperature": 300.0,
        "timestep": 0.5,
        "steps": 40,
        "seed": 11,
        "progress": False,
        **changes,
    }
    return simulate(evaluator.atoms if atoms is None else atoms, evaluator, **arguments)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.h5"


@pytest.mark.parametrize(
    ("method", "beads", "quantum"),
    [("NVE", 1, False), ("Langevin", 1, False), ("RPMD", 4, True), ("T-RPMD", 4, True)],
)
def test_all_replicas_and_beads_in_one_call_per_step(path, method, beads, quantum):
    evaluator = ToyWater()
    trajectory = run(path, evaluator, method=method, beads=beads, replicas=3, steps=7)
    assert trajectory.method == method
    assert len(evaluator.calls) == 8
    assert {shape for shape, _ in evaluator.calls} == {(3 * beads, 3, 3)}


def test_properties_are_requested_only_when_recorded(path):
    evaluator = ToyWater()
    strides = {"dipole": 3, "polarizability": 4, "potential_energy": 1}
    run(path, evaluator, steps=12, observables=strides)
    for step, (_, asked) in enumerate(evaluator.calls):
        assert ("dipole" in asked) == (step % 3 == 0)
        assert ("polarizability" in asked) == (step % 4 == 0)


def test_time_axes(path):
    strides = {"dipole": 1, "positions": 3, "velocities": 7, "temperature": 40}
    trajectory = run(path, observables=strides, replicas=2)
    for name, stride in strides.items():
        series = trajectory.observable(name)
        assert series.values.shape[:2] == (2, 40 // stride + 1)
        assert (series.interval, series.start) == (0.5 * stride, 0.0)
    assert default_observables(0.25, ["dipole"])["dipole"] == 4
    assert default_observables(0.5, [])["velocities"] == 20
    # an assignment takes dipoles and positions of the same times
    found = default_observables(0.25, ["dipole", "polarizability"])
    assert found["positions"] == found["dipole"] == found["polarizability"]


def test_only_what_the_evaluator_gives_is_recorded(path):
    evaluator = ToyWater()
    evaluator.quantities = ("energy", "forces", "dipole")
    assert set(run(path, evaluator).observables()) >= {"dipole", "positions"}
    assert "polarizability" not in Trajectory.open(path).observables()
    for name in ("polarizability", "polarizability_rate"):
        with pytest.raises(InvalidInputError) as caught:
            run(path.with_name("other.h5"), evaluator, observables={name: 1})
        assert (caught.value.key, caught.value.value) == ("observables", name)
    assert not path.with_name("other.h5").exists()


def test_observables_of_a_ring_polymer(path):
    """Every estimator, recomputed from the bead positions."""
    strides = {
        name: 1 for name, o in OBSERVABLES.items() if not (o.periodic or "disagreement" in name)
    }
    strides |= {"dipole": 1, "polarizability": 1}
    trajectory = run(
        path,
        method="T-RPMD",
        beads=8,
        replicas=2,
        steps=5,
        initial=HarmonicModes(HESSIAN),
        observables=strides,
    )
    found = {name: trajectory.observable(name).values for name in trajectory.observables()}
    beads = torch.from_numpy(found["bead_positions"])  # [R, T, P, N, 3]
    flat = beads.flatten(0, 2)
    mu, alpha = WATER.dipole(flat), WATER.polarizability(flat)
    energies, forces = WATER.energy(flat), WATER.forces(flat).unflatten(0, beads.shape[:3])
    bead_mean = [v.unflatten(0, beads.shape[:3]).mean(dim=2) for v in (mu, alpha, energies)]
    centroid = beads.mean(dim=2)
    np.testing.assert_allclose(found["dipole"], bead_mean[0], atol=1e-12)
    np.testing.assert_allclose(found["polarizability"], bead_mean[1], atol=1e-12)
    np.testing.assert_allclose(found["potential_energy"], bead_mean[2], atol=1e-12)
    np.testing.assert_allclose(found["positions"], centroid, atol=1e-12)
    of_centroid = WATER.polarizability(centroid.flatten(0, 1)).unflatten(0, beads.shape[:2])
    assert np.abs(found["polarizability"] - of_centroid.numpy()).max() > 1e-4

    kt, n, p = BOLTZMANN * 300.0, 3, 8
    masses = torch.tensor(WATER.masses, dtype=torch.float64).view(-1, 1)
    away = beads - centroid[:, :, None]
    virial = 1.5 * n * kt - 0.5 * (away * forces).sum(dim=(3, 4)).mean(dim=2)
    np.testing.assert_allclose(found["kinetic_energy_virial"], virial, atol=1e-10)
    hbar = 6.582119569e-16 * 1e15 * FEMTOSECOND  # eV s
    omega = p * kt / hbar
    gaps = (beads - beads.roll(-1, dims=2)).square()
    springs = 0.5 * omega**2 * (masses * gaps).sum(dim=(2, 3, 4))
    np.testing.assert_allclose(
        found["kinetic_energy_primitive"], 1.5 * n * p * kt - springs / p, atol=1e-6
    )
    gyration = away.square().sum(dim=-1).mean(dim=2).sqrt()
    np.testing.assert_allclose(found["radius_of_gyration"], gyration, atol=1e-12)
    v = torch.from_numpy(found["velocities"]) / FEMTOSECOND
    kinetic = 0.5 * (masses * v.square()).sum(dim=(2, 3))
    np.testing.assert_allclose(found["kinetic_energy"], kinetic, rtol=1e-10)
    np.testing.assert_allclose(
        found["centroid_temperature"], 2 * kinetic / (6 * BOLTZMANN), rtol=1e-10
    )


def test_velocities_are_the_derivative_of_the_positions(path):
    trajectory = run(path, timestep=0.1, observables={"positions": 1, "velocities": 1})
    x, v = (trajectory.observable(n) for n in ("positions", "velocities"))
    slope = (x.values[:, 2:] - x.values[:, :-2]) / (2 * x.interval)
    np.testing.assert_allclose(v.values[:, 1:-1], slope, atol=1e-12)  # a property of Verlet
    assert v.unit == "Å/fs"


@pytest.mark.parametrize(("method", "beads"), [("NVE", 1), ("RPMD", 4)])
def test_exact_rates_are_the_slopes(path, method, beads):
    """Central differences converge to them with the square of the time step."""
    names = ("dipole", "polarizability")
    errors = []
    for timestep in (0.1, 0.2):
        trajectory = run(
            path.with_name(f"{timestep}.h5"),
            method=method,
            beads=beads,
            timestep=timestep,
            initial=HarmonicModes(HESSIAN),
            observables={f"{n}{end}": 1 for n in names for end in ("", "_rate")},
        )
        for name in names:
            values, rate = trajectory.observable(name), trajectory.observable(f"{name}_rate")
            slope = (values.values[:, 2:] - values.values[:, :-2]) / (2 * timestep)
            errors.append(np.abs(slope - rate.values[:, 1:-1]).max())
            assert errors[-1] < 0.02 * np.abs(rate.values).max()
            assert rate.unit == f"{values.unit}/fs"
    if method == "RPMD":
        return  # the ring modes are too fast for these steps to be in the limit
    assert errors[3] / errors[1] == pytest.approx(4.0, rel=0.2)


def test_rates_need_an_evaluator_that_differentiates(path):
    evaluator = ToyWater()
    evaluator.rates = None
    with pytest.raises(InvalidInputError) as caught:
        run(path, evaluator, observables={"dipole_rate": 1})
    assert caught.value.value == ["dipole_rate"]


@pytest.mark.parametrize(("method", "beads"), [("NVE", 1), ("Langevin", 1), ("T-RPMD", 4)])
def test_a_replica_does_not_depend_on_what_runs_beside_it(tmp_path, method, beads):
    options = {
        "method": method,
        "beads": beads,
        "observables": {"dipole": 1},
        "initial": HarmonicModes(HESSIAN),
        "equilibration": Equilibration(5.0),
    }
    few = run(tmp_path / "few.h5", replicas=1, **options).observable("dipole").values
    many = run(tmp_path / "many.h5", replicas=5, **options).observable("dipole").values
    np.testing.assert_allclose(many[:1], few, atol=1e-10)
    assert np.abs(many[1:] - many[:1]).min(axis=(1, 2)).max() > 0  # replicas differ


def test_seed_decides_everything(tmp_path):
    options = {"method": "Langevin", "equilibration": Equilibration(10.0)}
    a, b, c = (
        run(tmp_path / f"{i}.h5", seed=seed, **options).observable("dipole").values
        for i, seed in enumerate((1, 1, 2))
    )
    np.testing.assert_array_equal(a, b)
    assert np.abs(a - c).max() > 1e-3


def test_conformers_are_dealt_out_in_turn(path):
    shifted = WATER.atoms
    shifted.positions += [0.0, 0.0, 5.0]
    trajectory = run(
        path,
        atoms=[WATER.atoms, shifted],
        replicas=4,
        steps=1,
        observables={"positions": 1},
    )
    first = trajectory.observable("positions").values[:, 0, :, 2]
    np.testing.assert_allclose(first.mean(axis=1), [0.0, 5.0, 0.0, 5.0], atol=1e-12)


def test_deuteration_is_one_argument(path):
    trajectory = run(path, masses={"H": 2.014})
    assert trajectory.masses.tolist() == [15.999, 2.014, 2.014]


def test_total_momentum_stays_zero_under_a_thermostat(path):
    trajectory = run(path, method="Langevin", observables={"velocities": 1}, replicas=2)
    v = trajectory.observable("velocities").values
    total = (v * np.array(WATER.masses)[:, None]).sum(axis=2)
    assert np.abs(total).max() < 1e-12


def test_production_after_equilibration_starts_with_fresh_momenta_without_rotation(path):
    trajectory = run(
        path,
        rotation="none",
        equilibration=Equilibration(20.0),
        replicas=3,
        observables={"positions": 1, "velocities": 1},
    )
    x, v = (trajectory.observable(n).values for n in ("positions", "velocities"))
    masses = np.array(WATER.masses)[:, None]
    x = x - (masses * x).sum(axis=2, keepdims=True) / masses.sum()
    assert np.abs(np.cross(x, masses * v).sum(axis=2)).max() < 1e-12
    equilibrium = WATER.atoms.get_positions()
    assert np.abs(x[:, 0] - (x[:, 0].mean(axis=0))).max() > 1e-3
    assert x.shape[2:] == equilibrium.shape


@pytest.mark.parametrize(
    ("method", "beads", "bound"), [("NVE", 1, 1e-12), ("RPMD", 4, 0.15), ("T-RPMD", 4, None)]
)
def test_rotation_that_was_taken_out_stays_out(path, method, beads, bound):
    """Mean rotational energy after 300 fs; T-RPMD has it thermal whatever one starts with."""
    trajectory = run(
        path,
        method=method,
        beads=beads,
        replicas=60,
        steps=600,
        rotation="thermal" if bound is None else "none",
        initial=HarmonicModes(HESSIAN),
        observables={"positions": 600, "velocities": 600},
    )
    x, v = (
        torch.from_numpy(trajectory.observable(n).values[:, -1])
        for n in ("positions", "velocities")
    )
    masses = torch.from_numpy(trajectory.masses)
    p = masses[:, None] * v / FEMTOSECOND
    straight = remove_rotation(x[:, None], p[:, None], masses)[:, 0]
    energy = (0.5 * (p - straight).square() / masses[:, None]).sum(dim=(1, 2))
    thermal = 1.5 * BOLTZMANN * 300.0
    if bound is None:
        assert float(energy.mean()) == pytest.approx(thermal, rel=0.45)
    else:
        assert float(energy.mean()) < bound * thermal


def test_two_calls_from_a_saved_state(tmp_path):
    """Stopping and starting from the state is the same as going on."""
    whole = run(tmp_path / "whole.h5", steps=60, observables={"positions": 1})
    run(tmp_path / "first.h5", steps=20)
    state = load_state(tmp_path / "first.h5")
    assert state.step == 20
    rest = run(
        tmp_path / "rest.h5",
        initial=FromArrays(state.positions, state.momenta),
        observables={"positions": 1},
    )
    np.testing.assert_allclose(
        rest.observable("positions").values,
        whole.observable("positions").values[:, 20:],
        atol=1e-11,
    )


def test_the_file_says_how_it_was_made(path):
    trajectory = run(
        path,
        method=Method("T-RPMD", damping=0.7),
        beads=4,
        initial=HarmonicModes(HESSIAN),
        equilibration=Equilibration(5.0),
    )
    settings = trajectory.settings
    assert settings["method"] == {"name": "T-RPMD", "damping": 0.7}
    assert settings["seed"] == 11
    assert settings["equilibration"]["method"]["name"] == "PILE-L"
    assert settings["initial"]["distribution"] == "thermal"
    assert trajectory.provenance["model"] == "ToyWater"
    assert "torch" in trajectory.provenance["software"]
    assert trajectory.temperature == 300.0


def test_numpy_integers_are_integers(tmp_path):
    plain = run(tmp_path / "a.h5", replicas=2, seed=5).observable("dipole").values
    numpy = run(tmp_path / "b.h5", replicas=np.int64(2), seed=np.uint32(5), steps=np.int32(40))
    np.testing.assert_array_equal(numpy.observable("dipole").values, plain)


def test_progress_bar_is_optional(path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    run(path, progress=True)
    assert "NVE 300 K" in capsys.readouterr().err


# --- going wrong ----------------------------------------------------------------------


class Exploding(ToyWater):
    """Turns bad at a call of choice."""

    def __init__(self, after, how):
        super().__init__()
        self.after, self.how = after, how

    def __call__(self, positions, quantities):
        results = super().__call__(positions, quantities)
        if len(self.calls) > self.after:
            results = {**results, **self.how(positions, results)}
        return results


def test_non_finite_forces_stop_at_once(path):
    def nan(positions, results):
        forces = results["forces"].clone()
        forces[1, 0, 0] = float("nan")
        return {"forces": forces}

    with pytest.raises(UnstableDynamicsError) as caught:
        run(path, Exploding(13, nan), replicas=2, observables={"dipole": 1})
    assert (caught.value.limit, caught.value.step, caught.value.replica) == ("finite", 13, 1)
    assert Trajectory.open(path).n_frames("dipole") == 13  # steps 0 to 12
    failed = ase.io.read(f"{path}.failed.extxyz", index=":")
    assert len(failed) == 1
    assert np.isfinite(failed[0].positions).all()


def test_dissociation_is_noticed(path):
    def push(positions, results):
        forces = torch.zeros_like(results["forces"])
        forces[:, 1, 0], forces[:, 0, 0] = 30.0, -30.0
        return {"forces": forces}

    with pytest.raises(UnstableDynamicsError) as caught:
        run(
            path,
            Exploding(3, push),
            steps=400,
            limits=StabilityLimits(energy_drift=1e9, temperature=1e9),
        )
    assert caught.value.limit == "bond_stretch"
    assert caught.value.value > 2.0
    x = caught.value.positions.mean(dim=0)
    lengths = (x[0] - x[1:]).norm(dim=-1)
    assert lengths.argmax() == 0  # the bond that was pushed


def test_energy_that_is_not_conserved_is_noticed(path):
    def inconsistent(positions, results):
        stretch = (positions[:, 0] - positions[:, 1]).norm(dim=-1) - 1.0
        return {"energy": results["energy"] + 100.0 * stretch}  # not in the forces

    with pytest.raises(UnstableDynamicsError) as caught:
        run(path, Exploding(0, inconsistent), steps=400)
    assert caught.value.limit == "energy_drift"


@pytest.mark.slow
def test_slow_errors_of_a_thermostatted_run_do_not_add_up(path):
    """The bound is per picosecond there, and since the start at constant energy."""

    class Leaking(ToyWater):
        def energy(self, positions):
            return super().energy(positions) + 1.2e-4 * len(self.calls)  # 0.08 eV/atom/ps

    limits = StabilityLimits(energy_drift=0.1)
    options = {"steps": 3000, "limits": limits, "observables": {"temperature": 100}}
    run(path, Leaking(), method="Langevin", **options)
    with pytest.raises(UnstableDynamicsError) as caught:
        run(path.with_name("nve.h5"), Leaking(), method="NVE", **options)
    assert caught.value.limit == "energy_drift"
    assert 0.1 < caught.value.value < 0.2


def test_runaway_temperature_is_noticed(path):
    with pytest.raises(UnstableDynamicsError) as caught:
        run(path, limits=StabilityLimits(temperature=20.0))
    assert caught.value.limit == "temperature"
    assert caught.value.value > 20.0


def test_bond_list_of_a_diatomic(path):
    trajectory = run(path, MorseDiatomic(), observables={"positions": 1})
    lengths = np.diff(trajectory.observable("positions").values, axis=2)
    assert 1.1 < np.linalg.norm(lengths, axis=-1).max() < 1.5


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"method": "NVT"}, "method"),
        ({"method": "T-RPMD"}, "beads"),
        ({"beads": 4}, "beads"),
        ({"temperature": 0.0}, "temperature"),
        ({"timestep": -0.5}, "timestep"),
        ({"timestep": float("nan")}, "timestep"),
        ({"steps": 0}, "steps"),
        ({"replicas": 1.5}, "replicas"),
        ({"seed": -1}, "seed"),
        ({"rotation": "off"}, "rotation"),
        ({"method": "Langevin", "rotation": "none"}, "rotation"),
        ({"method": "T-RPMD", "beads": 4, "rotation": "none"}, "rotation"),
        ({"method": "GLE"}, "GLE.drift"),
        ({"observables": {"dipoles": 1}}, "observables"),
        ({"observables": ["dipoles"]}, "observables"),
        ({"observables": {"dipole": 0}}, "observables.dipole"),
        ({"propagator": "euler"}, "propagator"),
        ({"masses": {"D": 2.0}}, "masses"),
        ({"masses": [1.0, 2.0]}, "masses"),
        ({"equilibration": Equilibration(10.0, "NVE")}, "equilibration.method"),
        ({"equilibration": Equilibration(0.1)}, "equilibration.duration"),
        ({"initial": HarmonicModes(HESSIAN[:, :6])}, "initial.hessians"),
    ],
)
def test_arguments_that_make_no_sense(path, changes, key):
    with pytest.raises(InvalidInputError) as caught:
        run(path, **changes)
    assert caught.value.key == key
    assert not path.exists()


def test_method_parameters_are_checked():
    with pytest.raises(InvalidInputError) as caught:
        Method("Langevin", time_constant=0.0)
    assert caught.value.key == "Langevin.time_constant"
    with pytest.raises(InvalidInputError) as caught:
        Method("T-RPMD", dampings=0.5)
    assert caught.value.suggestion == "damping"


def test_structures_and_evaluator_must_agree(path):
    periodic, broken = WATER.atoms, WATER.atoms
    periodic.pbc = True
    broken.positions[0, 0] = np.nan
    for structures, key in (
        (MorseDiatomic().atoms, "structures[0].numbers"),
        (periodic, "structures[0].atoms.pbc"),
        ([WATER.atoms, broken], "structures[1].positions[0, 0]"),
        ([WATER.atoms, WATER.atoms[[1, 2, 0]]], "structures[1].numbers"),
        ([], "structures"),
    ):
        with pytest.raises(InvalidInputError) as caught:
            run(path, atoms=structures)
        assert caught.value.key == key


def test_missing_head_is_explained(path):
    class NoDipole(ToyWater):
        def __call__(self, positions, quantities):
            results = super().__call__(positions, quantities)
            results.pop("dipole", None)
            return results

    with refused(key="evaluator", value=["energy", "forces", "polarizability"]):
        run(path, NoDipole())


def test_an_atom_in_a_well(path):
    """Nothing assumes a molecule: one atom, with its translation."""
    well = HarmonicWell([1.0])
    trajectory = run(
        path, well, translation="thermal", observables={"positions": 1, "temperature": 1}
    )
    assert np.abs(trajectory.observable("positions").values).max() > 1e-3
    with pytest.raises(InvalidInputError) as caught:
        run(path.with_name("still.h5"), well)
    assert caught.value.key == "translation"


# --- continuing -------------------------------------------------------------------------


def read_all(path):
    trajectory = Trajectory.open(path)
    return {name: trajectory.observable(name).values for name in trajectory.observables()}


class InterruptedRunError(Exception):
    """Stands for whatever ends a process."""


OPTIONS = {
    "NVE": {"method": "NVE", "equilibration": Equilibration(10.0)},
    "T-RPMD": {
        "method": "T-RPMD",
        "beads": 4,
        "replicas": 2,
        "initial": HarmonicModes(HESSIAN),
        "equilibration": Equilibration(10.0),
    },
    "RPMD": {
        "method": "RPMD",
        "beads": 4,
        "replicas": 2,
        "initial": HarmonicModes(HESSIAN),
        "rotation": "none",
    },
    "Langevin": {"method": "Langevin", "replicas": 3, "initial": MaxwellBoltzmann()},
}


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize("after", [7, 20, 40, *slow(1, 21, 22)])
def test_an_interrupted_run_goes_on_bitwise(tmp_path, name, after):
    """Interrupted in the equilibration, at its end, and in production."""
    options = {**OPTIONS[name], "observables": {"dipole": 1, "positions": 3, "temperature": 7}}
    run(tmp_path / "whole.h5", **options)
    other = tmp_path / "other.h5"

    def stop(positions, results):
        raise InterruptedRunError

    bad = Exploding(after, stop)
    bad.provenance = {"model": "ToyWater"}
    with pytest.raises(InterruptedRunError):
        run(other, bad, checkpoint_interval=0.0, **options)
    run(other, **options)
    for key, values in read_all(tmp_path / "whole.h5").items():
        np.testing.assert_array_equal(read_all(other)[key], values)


def test_a_finished_run_is_returned_without_work(path):
    run(path)
    evaluator = ToyWater()
    before = path.read_bytes()
    run(path, evaluator)
    assert evaluator.calls == []
    assert path.read_bytes() == before


def test_a_longer_run_extends_a_finished_one(tmp_path):
    options = {"method": "Langevin", "replicas": 2}
    run(tmp_path / "whole.h5", steps=70, **options)
    run(tmp_path / "grown.h5", steps=33, **options)
    run(tmp_path / "grown.h5", steps=70, **options)
    for key, values in read_all(tmp_path / "whole.h5").items():
        np.testing.assert_array_equal(read_all(tmp_path / "grown.h5")[key], values)
    with pytest.raises(SettingsError) as caught:
        run(tmp_path / "grown.h5", steps=33, **options)
    assert caught.value.differences == {"steps": (70, 33)}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"temperature": 310.0}, {"temperature": (300.0, 310.0)}),
        ({"seed": 12}, {"seed": (11, 12)}),
        (
            {"method": Method("Langevin", time_constant=50.0)},
            {"method.time_constant": (100.0, 50.0)},
        ),
        (
            {"masses": {"H": 2.0}},
            {"masses": ([15.999, 1.008, 1.008], [15.999, 2.0, 2.0])},
        ),
        ({"observables": {"dipole": 1, "positions": 1}}, {"observables.positions": (2, 1)}),
        ({"rotation": "none", "method": "NVE"}, {"rotation": ("thermal", "none")}),
        ({"initial": HarmonicModes(HESSIAN)}, {"initial.distribution": ("absent", "thermal")}),
    ],
)
def test_other_settings_are_refused_by_name(path, changes, named):
    run(path, method="Langevin")
    before = path.read_bytes()
    with pytest.raises(SettingsError) as caught:
        run(path, **{"method": "Langevin", **changes})
    assert caught.value.differences.items() >= named.items()
    assert caught.value.file == path
    assert path.read_bytes() == before


def test_another_model_or_geometry_is_refused(path):
    run(path)
    model = ToyWater()
    model.provenance = {"model": "another"}
    with pytest.raises(SettingsError) as caught:
        run(path, model)
    assert caught.value.differences == {"evaluator.model": ("ToyWater", "another")}
    moved = WATER.atoms
    moved.positions[0, 0] += 1e-10  # the same structure, relaxed again
    run(path, atoms=moved)
    moved.positions[0, 0] += 1e-3
    with pytest.raises(SettingsError) as caught:
        run(path, atoms=moved)
    assert list(caught.value.differences) == ["structures"]


def test_missing_halves_are_explained(path):
    run(path)
    checkpoint = path.with_name("run.h5.checkpoint")
    content = checkpoint.read_bytes()
    checkpoint.unlink()
    with pytest.raises(InvalidFileError) as missing:
        run(path)
    checkpoint.write_bytes(content[:100])
    with pytest.raises(InvalidFileError) as damaged:
        run(path)
    checkpoint.write_bytes(content)
    path.rename(path.with_name("elsewhere.h5"))
    with pytest.raises(InvalidFileError) as alone:
        run(path)
    assert missing.value.file == damaged.value.file == alone.value.file == checkpoint


def test_two_writers_are_refused(path):
    def nested(positions, results):
        run(path)
        return {}

    with pytest.raises(BlockingIOError):
        run(path, Exploding(5, nested))


def test_the_output_folder_is_made(tmp_path):
    trajectory = run(tmp_path / "new" / "folder" / "run.h5", steps=2)
    assert trajectory.path.parent == tmp_path / "new" / "folder"
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        run(tmp_path / "file" / "folder" / "run.h5", steps=2)


def test_a_model_is_no_evaluator(tmp_path, potential):
    with refused(key="evaluator", value="Potential"):
        simulate(
            ToyWater().atoms, potential, output=tmp_path / "run.h5", method="NVE",
            temperature=300.0, timestep=0.5, steps=1, seed=1,
        )  # fmt: skip


# --- what the atoms say ---------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_every_structure_must_have_the_charge_of_the_evaluator(path, number):
    structures = [WATER.atoms, WATER.atoms]
    structures[number].set_initial_charges([1.0, 0.0, 0.0])
    with refused(key=f"structures[{number}].charge", value=1.0):
        run(path, atoms=structures, replicas=2)
    ion = ToyWater()
    ion.charge = 1.0
    with refused(key=f"structures[{1 - number}].charge", value=0.0):
        run(path, ion, atoms=structures, replicas=2)
    assert not path.exists()
    run(path, ion, steps=2)  # atoms that say nothing have the charge of the evaluator


def test_constraints_are_refused_in_every_structure(path):
    structures = [WATER.atoms, WATER.atoms]
    structures[1].set_constraint(FixAtoms([0]))
    with refused(key="structures[1].atoms.constraints", value="FixAtoms(indices=[0])"):
        run(path, atoms=structures, replicas=2)


def test_isotopes_of_one_structure_alone_are_refused(path):
    structures = [WATER.atoms, WATER.atoms]
    structures[1].set_masses([15.999, 2.014, 1.008])
    with refused(key="structures[1].masses[1]", value=2.014):
        run(path, atoms=structures, replicas=2)
    heavy = run(path, atoms=structures, replicas=2, masses=[15.999, 2.014, 2.014], steps=2)
    assert heavy.header.masses.tolist() == [15.999, 2.014, 2.014]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("call", [3, 17, 31])
def test_a_signal_writes_a_checkpoint_at_once_and_the_run_resumes_bitwise(
    tmp_path, path, monkeypatch, signals, number, call
):
    """In the equilibration (20 steps), just after it, and in production."""

    options = {"equilibration": Equilibration(10.0), "replicas": 2, "checkpoint_interval": 1e9}
    whole = run(tmp_path / "whole.h5", **options)
    evaluations, original = [], ToyWater.__call__

    def signalled(self, *arguments):
        evaluations.append(arguments)
        if len(evaluations) == call:
            os.kill(os.getpid(), number)
        return original(self, *arguments)

    monkeypatch.setattr(ToyWater, "__call__", signalled)
    with pytest.raises(Stopped if number == signal.SIGTERM else KeyboardInterrupt):
        run(path, **options)
    # nothing but the step in which it came is missing
    step = load_state(path).step
    assert step >= call - 23
    assert Trajectory.open(path).n_frames("dipole") == (step // 2 + 1 if step >= 0 else 0)
    resumed = run(path, **options)
    for name in whole.observables():
        expected, found = whole.observable(name).values, resumed.observable(name).values
        assert found.tobytes() == expected.tobytes()
    assert not list(tmp_path.glob(".*"))


def test_more_replicas_than_memory(path):
    with refused(key="replicas", value=10**9) as caught:
        run(path, replicas=10**9)
    fits = int(caught.value.expected.split()[2])
    assert 1000 < fits < 10**9
    assert not path.exists()


def test_a_changed_checkpoint_is_noticed(path):
    run(path, steps=4)
    checkpoint = path.with_name(path.name + ".checkpoint")
    data = checkpoint.read_bytes()
    for place in np.linspace(9, len(data) - 1, 40, dtype=int):
        checkpoint.write_bytes(data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :])
        with refused(InvalidFileError, file=checkpoint):
            load_state(path)
    checkpoint.write_bytes(data)
    assert load_state(path).step == 4
