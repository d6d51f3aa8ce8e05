# SPDX-License-Identifier: MIT
"""Constant pressure: distributions of volumes that are known, and what is conserved."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import physical_validation as pv
import pytest
import torch
from ase.build import molecule
from ase.io import write

from eqcalc import methods
from eqcalc.cli import main
from eqcalc.dynamics import (
    Equilibration,
    Method,
    StabilityLimits,
    UnstableDynamicsError,
    register_barostat,
    simulate,
)
from eqcalc.dynamics.cell_rescaling import CellRescaling
from eqcalc.dynamics.thermostats import LangevinThermostat
from eqcalc.methods import DynamicsMethod, Parameter
from eqcalc.models import save_model
from eqcalc.reports.molecular import molecular_spectra
from eqcalc.runtime import evaluator_for
from eqcalc.spectra import internal_spectrum, vibrational_density_of_states
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN, conversion_factor
from tests.analytic import HarmonicCrystal, IdealGas, ToyWater
from tests.dynamics.test_simulation import run
from tests.errors import refused
from tests.models.test_local_readouts import local_potential, water_box

TEMPERATURE = 300.0
BAR = conversion_factor("bar", "eV/Å^3")
LOOSE = StabilityLimits(volume_change=1e3)


def isobaric(path, evaluator, *, pressure, compressibility, time_constant=20.0, **changes):
    """A run of many replicas whose volume relaxes within some ten steps."""
    method = Method(
        "NPT",
        pressure=pressure,
        barostat_time=10.0,
        compressibility=compressibility,
        time_constant=time_constant,
    )
    settings = {
        "timestep": 1.0,
        "steps": 200,
        "replicas": 400,
        "observables": {"volume": 10, "pressure": 10},
        "limits": LOOSE,
        **changes,
    }
    return run(path, evaluator, method=method, temperature=TEMPERATURE, **settings)


def over_replicas(values):
    """Mean and standard error of means over replicas."""
    means = values.mean(axis=1)
    return means.mean(), means.std(ddof=1) / math.sqrt(len(means))


@pytest.mark.parametrize("translation", ["none", "thermal"])
def test_an_ideal_gas_has_its_volumes(tmp_path, translation):
    """V of N atoms is distributed as Γ(N + 1, k_BT/P), with the centre of mass at rest or not."""
    gas = IdealGas()
    n, scale = len(gas.numbers), BOLTZMANN * TEMPERATURE / (50.0 * BAR)
    gas.cell = (n * scale) ** (1.0 / 3.0) * torch.eye(3, dtype=torch.float64)
    trajectory = isobaric(
        tmp_path / "a.h5", gas, pressure=50.0, compressibility=1.0 / 50.0, translation=translation
    )
    volume = trajectory.observable("volume").values[:, 8:]
    mean, error = over_replicas(volume)
    assert error < 0.03 * mean
    assert mean == pytest.approx((n + 1) * scale, abs=4.0 * error)
    square, error = over_replicas((volume - (n + 1) * scale) ** 2)
    assert error < 0.1 * square
    assert square == pytest.approx((n + 1) * scale**2, abs=4.0 * error)


def test_a_harmonic_crystal_has_its_volumes_and_pressure(tmp_path):
    crystal = HarmonicCrystal()
    pressure = 20000.0
    expected, variance = crystal.mean_and_variance(BOLTZMANN * TEMPERATURE, pressure * BAR)
    trajectory = isobaric(*(tmp_path / "a.h5", crystal), pressure=pressure, compressibility=1e-5)
    volume = trajectory.observable("volume").values[:, 8:]
    mean, error = over_replicas(volume)
    assert error < 0.002 * mean
    assert mean == pytest.approx(expected, abs=4.0 * error)
    square, error = over_replicas((volume - expected) ** 2)
    assert error < 0.1 * square
    assert square == pytest.approx(variance, abs=4.0 * error)
    mean, error = over_replicas(trajectory.observable("pressure").values[:, 8:])
    assert error < 0.03 * mean
    assert mean == pytest.approx(pressure, abs=4.0 * error)


@pytest.mark.slow
def test_volumes_at_two_pressures_are_those_of_the_ensemble(tmp_path):
    """ln p₁(V)/p₂(V) is linear in V with the slope (P₂ − P₁)/k_BT: physical_validation."""
    crystal, pressures, data = HarmonicCrystal(), (18000.0, 22000.0), []
    for pressure in pressures:
        trajectory = isobaric(
            *(tmp_path / f"{pressure}.h5", crystal),
            pressure=pressure,
            compressibility=1e-5,
            observables={"volume": 40, "potential_energy": 40},
        )
        volume, energy = (
            trajectory.observable(name).values[:, 2:].ravel()
            for name in ("volume", "potential_energy")
        )
        data.append(
            pv.data.SimulationData(
                # eV, Å³, bar in kJ/mol, nm³, bar
                units=pv.data.UnitData(BOLTZMANN, 96.485332, 0.1, 1e-3, 1.0, 1.0, 1e-3),
                ensemble=pv.data.EnsembleData(
                    *("NPT",), natoms=8, pressure=pressure, temperature=TEMPERATURE
                ),
                observables=pv.data.ObservableData(potential_energy=energy, volume=volume),
            )
        )
    assert pv.ensemble.check(*data, data_is_uncorrelated=True, verbosity=0)[0] < 3.0


def effective_energy(path, timestep):
    """Its changes in equilibrium, and how much potential energy is exchanged meanwhile [eV]."""
    trajectory = isobaric(
        *(path, HarmonicCrystal()),
        pressure=20000.0,
        compressibility=1e-5,
        timestep=timestep,
        steps=round(200.0 / timestep),
        replicas=100,
        observables={"conserved_energy": 1, "potential_energy": 1},
    )
    energy, potential = (
        trajectory.observable(name).values[:, round(100.0 / timestep) :]
        for name in ("conserved_energy", "potential_energy")
    )
    return energy[:, 1:] - energy[:, :1], np.ptp(potential, axis=1).mean()


def test_the_effective_energy_fluctuates_with_the_time_step_and_does_not_drift(tmp_path):
    coarse, exchanged = effective_energy(tmp_path / "a.h5", 4.0)
    fine, _ = effective_energy(tmp_path / "b.h5", 2.0)
    rms = [np.sqrt(np.mean(values**2)) for values in (coarse, fine)]
    assert rms[0] < 0.02 * exchanged
    assert 1.5 < rms[0] / rms[1] < 3.0
    last = fine[:, -1]
    assert abs(last.mean()) < 4.0 * last.std() / math.sqrt(len(last))


RECORDED = {"cell": 1, "positions": 1, "pressure": 1, "conserved_energy": 1, "temperature": 1}


def test_resumed_runs_are_bitwise_those_of_one_go(tmp_path):
    options = {"pressure": 100.0, "compressibility": 1e-5, "replicas": 3, "observables": RECORDED}
    options["equilibration"] = Equilibration(7.0)
    once = isobaric(tmp_path / "once.h5", HarmonicCrystal(), steps=30, **options)
    isobaric(tmp_path / "twice.h5", HarmonicCrystal(), steps=13, **options)
    twice = isobaric(tmp_path / "twice.h5", HarmonicCrystal(), steps=30, **options)
    for name in RECORDED:
        assert np.array_equal(once.observable(name).values, twice.observable(name).values)
    cell = once.observable("cell").values
    assert (cell[:, 0] != once.cell).any()  # equilibrated at constant pressure, too
    assert np.unique(cell[:, -1, 0, 0]).size == 3


def test_replicas_are_each_alone(tmp_path):
    options = {"pressure": 100.0, "compressibility": 1e-5, "steps": 30, "observables": RECORDED}
    several = isobaric(tmp_path / "several.h5", HarmonicCrystal(), replicas=3, **options)
    one = isobaric(tmp_path / "one.h5", HarmonicCrystal(), replicas=1, **options)
    for name in RECORDED:
        values = [t.observable(name).values[0] for t in (several, one)]
        np.testing.assert_allclose(*values, rtol=1e-10, atol=1e-12)


# --- models -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_box():
    """A box of water and a model with random parameters, on the fastest execution."""
    box = water_box()
    cell = box.cell.array
    return box, evaluator_for(local_potential(), torch.tensor(box.numbers), cell=cell)


def model_run(path, model_box, **changes):
    box, evaluator = model_box
    settings = {
        "method": Method("NPT", pressure=-2000.0, barostat_time=100.0),
        "temperature": 200.0,
        "timestep": 0.25,
        "steps": 24,
        "seed": 3,
        "replicas": 2,
        "observables": {**RECORDED, "stress": 1, "potential_energy": 1, "dipole": 1},
        **changes,
    }
    return simulate(box, evaluator, output=path, progress=False, **settings)


def test_a_model_is_evaluated_in_the_cell_of_each_replica(tmp_path, model_box):
    trajectory = model_run(tmp_path / "a.h5", model_box)
    cell = trajectory.observable("cell").values
    assert np.abs(cell[0, -1] / cell[1, -1] - 1.0)[0, 0] > 1e-4
    for replica in range(2):
        atoms = model_box[0].copy()
        atoms.set_cell(cell[replica, -1])
        atoms.positions = trajectory.observable("positions").values[replica, -1]
        fresh = evaluator_for(
            model_box[1].potential, torch.tensor(atoms.numbers), cell=atoms.cell.array
        )
        names = {"potential_energy": "energy", "stress": "stress", "dipole": "dipole"}
        found = fresh(torch.tensor(atoms.positions[None]), tuple(names.values()))
        for name, of_model in names.items():
            recorded = trajectory.observable(name).values[replica, -1]
            np.testing.assert_allclose(recorded, found[of_model][0], rtol=1e-9, atol=1e-10)
    energy = trajectory.observable("conserved_energy").values
    exchanged = np.ptp(trajectory.observable("potential_energy").values, axis=1).min()
    assert np.ptp(energy, axis=1).max() < 0.05 * exchanged


def test_a_resumed_run_of_a_model_is_bitwise_that_of_one_go(tmp_path, model_box):
    once = model_run(tmp_path / "once.h5", model_box)
    model_run(tmp_path / "twice.h5", model_box, steps=11)
    box, evaluator = model_box
    again = evaluator_for(evaluator.potential, torch.tensor(box.numbers), cell=box.cell.array)
    twice = model_run(tmp_path / "twice.h5", (box, again))
    for name in once.observables():
        assert np.array_equal(once.observable(name).values, twice.observable(name).values)


# --- doors and commands ---------------------------------------------------------------------


def test_a_barostat_of_another_package(tmp_path, monkeypatch):
    for register in ("_METHODS", "_BY_NAME"):
        monkeypatch.setattr(methods, register, dict(getattr(methods, register)))

    @register_barostat
    @dataclass(frozen=True)
    class Twice(CellRescaling):
        method: ClassVar[DynamicsMethod] = DynamicsMethod(
            *("Twice", "constant pressure, stated by halves", False, "classical", "global", "all"),
            constant_pressure=True,
            parameters=(
                Parameter("time_constant", "τ", "fs", "of the thermostat", 20.0),
                Parameter("half", "P/2", "bar", "half of the pressure", 10000.0),
            ),
        )

        @classmethod
        def build(cls, ensemble, half):
            return super().build(ensemble, 2.0 * half, 10.0, 1e-5)

    settings = {"evaluator": HarmonicCrystal(), "timestep": 1.0, "replicas": 2}
    settings["observables"] = {"cell": 1}
    own = run(tmp_path / "a.h5", method="Twice", **settings)
    usual = isobaric(
        *(tmp_path / "b.h5", HarmonicCrystal()),
        pressure=20000.0,
        compressibility=1e-5,
        steps=40,
        **{name: settings[name] for name in ("replicas", "observables")},
    )
    values = [t.observable("cell").values for t in (own, usual)]
    assert np.array_equal(*values)
    with refused(key="LangevinThermostat"):
        register_barostat(LangevinThermostat)


def test_command_and_no_spectra(tmp_path, capsys):
    box, path = water_box(), tmp_path / "npt.h5"
    write(tmp_path / "box.xyz", box)
    model = tmp_path / "model.eqc"
    save_model(local_potential(), model)
    files = [str(model), str(tmp_path / "box.xyz"), "--output", str(path)]
    options = ["--pressure=-2000", "--time", "0.005", "--equilibration", "0", "--replicas", "2"]
    main(["simulate", *files, "--method", "NPT", *options])
    text = capsys.readouterr().out
    assert "g/cm³" in text and "next:" not in text
    trajectory = Trajectory.open(path)
    assert trajectory.settings["method"]["pressure"] == -2000.0
    assert {"cell", "pressure", "conserved_energy"} <= set(trajectory.observables())
    for spectrum in (
        molecular_spectra,
        vibrational_density_of_states,
        lambda run: internal_spectrum(run, "O-H"),
    ):
        with refused(key="method", value="NPT"):
            spectrum(trajectory)


# --- what is refused ------------------------------------------------------------------------


def test_an_exploding_cell_is_stopped(tmp_path):
    with pytest.raises(UnstableDynamicsError) as caught:
        isobaric(
            *(tmp_path / "a.h5", IdealGas()), pressure=1.0, compressibility=1.0, steps=200,
            limits=StabilityLimits(),
        )  # fmt: skip
    assert caught.value.limit == "volume_change"
    assert caught.value.value > 2.0
    assert torch.linalg.det(caught.value.cell) > 2.0 * 30.0**3


class WithoutStress(IdealGas):
    quantities = ("energy", "forces")


@pytest.mark.parametrize(
    ("evaluator", "change", "key"),
    [
        (ToyWater(), {}, "method"),
        (WithoutStress(), {}, "evaluator.quantities"),
        (IdealGas(), {"beads": 4}, "beads"),
        (IdealGas(), {"method": Method("NVE"), "equilibration": Equilibration(5.0, "NPT")},
         "equilibration.method"),
        (ToyWater(), {"method": "NVE", "observables": ["volume"]}, "observables"),
    ],
)  # fmt: skip
def test_what_has_no_pressure_is_refused(tmp_path, evaluator, change, key):
    with refused(key=key):
        run(tmp_path / "a.h5", evaluator, **{"method": "NPT", **change})


def test_a_molecule_without_a_cell_is_refused(tmp_path, potential):
    one = molecule("H2O")
    with refused(key="method", value="NPT"):
        simulate(
            one,
            evaluator_for(potential, torch.tensor(one.numbers)),
            output=tmp_path / "a.h5",
            method="NPT",
            temperature=300.0,
            timestep=0.5,
            steps=4,
            seed=1,
        )


def test_rates_are_refused_where_cells_jump(tmp_path, model_box):
    with refused(key="observables", value="dipole_rate"):
        model_run(tmp_path / "a.h5", model_box, observables=["dipole_rate"])


def test_pressure_of_a_cell_that_stays(tmp_path):
    """The observables are those of any cell: an ideal gas at constant volume."""
    gas = IdealGas()
    trajectory = run(
        *(tmp_path / "a.h5", gas),
        method="NVE",
        observables={"volume": 1, "pressure": 1, "temperature": 1},
    )
    volume, pressure, temperature = (
        trajectory.observable(name).values[0, -1] for name in ("volume", "pressure", "temperature")
    )
    assert volume == pytest.approx(30.0**3)
    n = len(gas.numbers)
    # the centre of mass at rest counts as at the target temperature
    expected = BOLTZMANN * ((n - 1) * temperature + 300.0) / volume / BAR
    assert pressure == pytest.approx(expected, rel=1e-9)
