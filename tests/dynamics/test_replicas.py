# SPDX-License-Identifier: MIT
"""A batch of different replicas is each of them alone, with a real network."""

import numpy as np
import pytest
import torch

from eqcalc.dynamics import FromArrays, StabilityLimits, simulate
from eqcalc.dynamics.initial import maxwell_boltzmann
from eqcalc.runtime import eager_evaluator

OBSERVABLES = {"bead_positions": 1, "dipole": 1, "conserved_energy": 1, "radius_of_gyration": 1}


@pytest.mark.parametrize(("method", "beads"), [("NVE", 1), ("RPMD", 3)])
def test_a_batch_of_different_replicas_is_each_alone(tmp_path, potential, ethanol, method, beads):
    evaluator = eager_evaluator(potential, torch.tensor(ethanol.numbers))
    masses = torch.from_numpy(ethanol.get_masses())
    rng = np.random.default_rng(4)
    structures = [ethanol.copy() for _ in range(3)]
    for atoms in structures:  # three different conformers
        atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    starts = torch.from_numpy(np.stack([atoms.positions for atoms in structures]))
    noise = torch.from_numpy(rng.normal(scale=0.03, size=(3, beads, 9, 3)))
    positions = starts[:, None] + noise
    momenta = torch.stack([maxwell_boltzmann(masses, beads, 300.0, rng) for _ in range(3)])

    def run(name, chosen):
        trajectory = simulate(
            [structures[index] for index in chosen],
            evaluator,
            output=tmp_path / name,
            method=method,
            temperature=300.0,
            timestep=0.25,
            steps=20,
            seed=1,
            replicas=len(chosen),
            beads=beads,
            initial=FromArrays(positions[chosen], momenta[chosen]),
            observables=OBSERVABLES,
            limits=StabilityLimits(temperature=1e6, energy_drift=1e6),  # the network is not trained
            progress=False,
        )
        return {key: trajectory.observable(key).values for key in OBSERVABLES}

    together = run("all.h5", [0, 1, 2])
    for index in range(3):
        alone = run(f"{index}.h5", [index])
        for name in OBSERVABLES:
            scale = np.abs(alone[name]).max()
            np.testing.assert_allclose(together[name][index], alone[name][0], atol=1e-9 * scale)
    moved = together["bead_positions"][:, -1] - together["bead_positions"][:, 0]
    assert np.abs(moved[0] - moved[1]).max() > 1e-2


def test_pairs_of_no_replica_grow_old(potential, ethanol):
    """An atom that comes within the cutoff in one replica while another moves is seen."""
    numbers = torch.tensor(ethanol.numbers)
    evaluator = eager_evaluator(potential, numbers)
    cutoff = potential.config.representation.cutoff
    start = torch.from_numpy(ethanol.positions).repeat(2, 1, 1)
    far = start.clone()
    far[0, -1] += torch.tensor([3.0 * cutoff, 0.0, 0.0])
    evaluator(far, ("energy",))
    for step in torch.linspace(0.0, 1.0, 5):
        moving = far.lerp(start, float(step))
        moving[1] += 0.3 * step
        found = evaluator(moving, ("energy", "forces"))
        fresh = eager_evaluator(potential, numbers)(moving, ("energy", "forces"))
        torch.testing.assert_close(found, fresh, rtol=0, atol=1e-10)
    assert float(found["energy"][0] - evaluator(far, ("energy",))["energy"][0]) != 0.0
    torch.testing.assert_close(found["energy"][0], found["energy"][1], rtol=0, atol=1e-8)
