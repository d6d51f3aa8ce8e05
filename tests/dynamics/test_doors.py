# SPDX-License-Identifier: MIT
"""An observable and a thermostat, each one file outside of the package."""

import os
import subprocess
import sys

import numpy as np
import pytest
from ase.io import write

from eqcalc import methods
from eqcalc.cli import main
from eqcalc.dynamics import OBSERVABLES, Method, simulate
from eqcalc.models.checkpoint import shipped_model
from eqcalc.trajectory import Trajectory
from eqcalc.units import BOLTZMANN
from eqcalc.validation import InvalidInputError
from tests.analytic import ToyWater

OBSERVABLE = """
from eqcalc.dynamics import Observable, register_observable


def estimate(state, system):
    centroid = state.positions.mean(dim=1)
    return (centroid[:, 1:] - centroid[:, :1]).norm(dim=-1)


BOND_LENGTHS = register_observable(
    Observable("bond_lengths", "Å", lambda beads, atoms: (atoms - 1,), estimate, interval=2.0)
)
"""

THERMOSTAT = '''
from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from eqcalc.dynamics import register_thermostat
from eqcalc.dynamics.thermostats import kinetic_energy
from eqcalc.methods import DynamicsMethod, Parameter
from eqcalc.units import FEMTOSECOND


@register_thermostat
@dataclass(frozen=True)
class Andersen:
    """Each momentum component is drawn anew with probability Δt/τ."""

    probability: float
    width: torch.Tensor
    masses: torch.Tensor
    noise_sets: int = 2
    method: ClassVar[DynamicsMethod] = DynamicsMethod(
        "Andersen",
        "classical dynamics with random collisions",
        ring_polymer=False,
        correlation="classical",
        thermostat="friction",
        thermostatted="all",
        parameters=(Parameter("time_constant", "τ", "fs", "between collisions", 50.0),),
    )

    @classmethod
    def build(cls, ensemble, time_constant):
        width = torch.sqrt(ensemble.bead_energy * ensemble.masses)
        return cls(ensemble.timestep / (time_constant * FEMTOSECOND), width, ensemble.masses)

    def initial(self, momenta, generators):
        return momenta.new_zeros(len(momenta), 0)

    def __call__(self, momenta, auxiliary, noise):
        uniform = torch.special.ndtr(noise[:, 1])
        moved = torch.where(uniform < self.probability, self.width * noise[:, 0], momenta)
        heat = kinetic_energy(momenta, self.masses) - kinetic_energy(moved, self.masses)
        return moved, auxiliary, heat

    def energy(self, auxiliary):
        return 0.0

    def to(self, device):
        return replace(self, width=self.width.to(device), masses=self.masses.to(device))
'''

RUN = {"temperature": 300.0, "timestep": 0.5, "seed": 7, "progress": False}


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """Modules that eqcalc does not know."""
    (tmp_path / "my_observable.py").write_text(OBSERVABLE)
    (tmp_path / "my_thermostat.py").write_text(THERMOSTAT)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("EQCALC_PLUGINS", raising=False)
    registers = (methods._METHODS, methods._BY_NAME, OBSERVABLES)
    before = [dict(register) for register in registers]
    yield tmp_path
    for register, entries in zip(registers, before, strict=True):
        register.clear()
        register.update(entries)
    for module in ("my_observable", "my_thermostat"):
        sys.modules.pop(module, None)


def test_an_observable_from_outside(outside, monkeypatch):
    with pytest.raises(InvalidInputError) as caught:
        simulate(ToyWater().atoms, ToyWater(), output=outside / "no.h5", method="NVE", steps=8,
                 observables=["bond_length"], **RUN)  # fmt: skip
    assert caught.value.key == "observables"
    names = ["my_observable:BOND_LENGTHS", "positions"]
    trajectory = simulate(ToyWater().atoms, ToyWater(), output=outside / "run.h5", method="NVE",
                          steps=40, replicas=2, observables=names, **RUN)  # fmt: skip
    series = trajectory.observable("bond_lengths")
    assert (series.unit, series.interval, series.values.shape) == ("Å", 2.0, (2, 11, 2))
    x = trajectory.observable("positions").values
    expected = np.linalg.norm(x[:, :, 1:] - x[:, :, :1], axis=-1)
    # positions are recorded twice as often
    np.testing.assert_allclose(series.values, expected[:, ::2], rtol=1e-12)
    monkeypatch.setenv("EQCALC_PLUGINS", "my_observable")
    again = simulate(ToyWater().atoms, ToyWater(), output=outside / "run.h5", method="NVE",
                     steps=40, replicas=2, observables=["bond_lengths", "positions"],
                     **RUN)  # fmt: skip
    assert again.complete


def test_a_thermostat_from_outside(outside):
    trajectory = simulate(ToyWater().atoms, ToyWater(), output=outside / "run.h5",
                          method=Method("my_thermostat:Andersen", time_constant=10.0),
                          steps=400, replicas=16,
                          translation="thermal", observables={"kinetic_energy": 10},
                          **RUN)  # fmt: skip
    assert trajectory.method == "Andersen"
    assert trajectory.settings["method"] == {"name": "Andersen", "time_constant": 10.0}
    energies = trajectory.observable("kinetic_energy").values[:, 10:].mean(axis=1)
    error = energies.std(ddof=1) / np.sqrt(len(energies))
    assert energies.mean() == pytest.approx(4.5 * BOLTZMANN * 300.0, abs=4.0 * error)
    assert Method("andersen", time_constant=20.0).parameters == {"time_constant": 20.0}
    with pytest.raises(InvalidInputError) as caught:
        Method("Andersen", time_constant=-1.0)
    assert caught.value.key == "Andersen.time_constant"


@pytest.mark.slow
def test_other_processes_know_a_method_from_outside_where_its_module_is_listed(outside):
    script = "from eqcalc.methods import method; print(method('Andersen').spectra)"
    environment = {**os.environ, "PYTHONPATH": f"{outside}:{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "InvalidInputError: method" in found.stderr
    environment["EQCALC_PLUGINS"] = "my_thermostat"
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "broadened", found.stderr


def test_an_observable_from_outside_on_the_command_line(outside, ethanol):
    write(outside / "ethanol.xyz", ethanol)
    arguments = [shipped_model("ethanol"), outside / "ethanol.xyz", "--output", outside / "run.h5",
                 "--time", 0.01, "--replicas", 1, "--equilibration", 0, "--quiet",
                 "--observables", "my_observable:BOND_LENGTHS", "dipole_rate=5"]  # fmt: skip
    assert main(["simulate", *map(str, arguments)]) == 0
    trajectory = Trajectory.open(outside / "run.h5")
    series = trajectory.observable("bond_lengths")
    assert (series.unit, series.interval, series.values.shape) == ("Å", 2.0, (1, 6, 8))
    assert trajectory.observable("dipole_rate").interval == 5.0
