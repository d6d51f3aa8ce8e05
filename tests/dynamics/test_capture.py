# SPDX-License-Identifier: MIT
"""A step never looks at a number on the host, so that a GPU can do it as one graph.

Tensors on PyTorch's meta device have no values: whatever would wait for the device to copy
a number to the host, or choose a branch by one, is an error there.
"""

from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from eqcalc.dynamics import Method
from eqcalc.dynamics.noise import GaussianNoise
from eqcalc.dynamics.observables import System, observable
from eqcalc.dynamics.state import State

COLOURED = [[0.02, 0.08], [-0.08, 0.05]]
MASSES = torch.tensor([16.0, 1.0, 1.0], dtype=torch.float64)


def moved(value):
    """Move all tensors of a dataclass to the meta device."""
    if isinstance(value, Tensor):
        return value.to("meta")
    if is_dataclass(value):
        items = {item.name: moved(getattr(value, item.name)) for item in fields(value)}
        return replace(value, **items)
    return value


class NoNumbers:
    """An evaluator on the meta device."""

    def __call__(self, positions, quantities):
        results = {"energy": positions.sum(dim=(1, 2)), "forces": -positions}
        if "dipole" in quantities:
            results["dipole"] = positions.sum(dim=1)
        if "polarizability" in quantities:
            results["polarizability"] = torch.linalg.vecdot(
                positions[..., :, None], positions[..., None, :], dim=1
            )
        return results


@pytest.mark.parametrize(
    ("method", "beads"),
    [
        *((Method(name), 1) for name in ("NVE", "Langevin", "SVR", "NHC")),
        *((Method(name), 4) for name in ("RPMD", "T-RPMD", "PILE-L", "PILE-G")),
        (Method("PA-CMD", frequency=3000.0), 4),
        *((Method("GLE", drift=COLOURED), 1), (Method("PI+GLE", drift=[COLOURED] * 4), 4)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_step_and_observables_need_no_number_on_the_host(method, beads):
    integrator = method.integrator(timestep=0.25, temperature=300.0, n_beads=beads, masses=MASSES)
    generators = [np.random.default_rng(r) for r in range(2)]
    state = State.at_rest(torch.zeros(2, beads, 3, 3, dtype=torch.float64))
    noise = None
    if integrator.thermostat is not None:
        state = replace(state, auxiliary=integrator.thermostat.initial(state.momenta, generators))
        sets = integrator.thermostat.noise_sets
        noise = GaussianNoise(1, range(2), (sets, beads, 3, 3), "meta").draw(
            torch.empty(1, dtype=torch.int64, device="meta")
        )[0]
    system = System(moved(integrator), 6)
    state = system.integrator.step(moved(state), NoNumbers(), noise, ("dipole", "polarizability"))
    with pytest.raises((RuntimeError, NotImplementedError)):
        state.positions.sum().item()  # this is what the test would notice
    for name in ("positions", "velocities", "dipole", "temperature", "kinetic_energy_virial"):
        value = observable(name).estimate(state, system)
        assert value.device.type == "meta"
        assert value.shape == (2, *observable(name).shape(beads, 3))
    assert state.positions.shape == (2, beads, 3, 3)
