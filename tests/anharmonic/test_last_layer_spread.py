# SPDX-License-Identifier: MIT
"""The spread of the energy along modes is that of models drawn from the last layers."""

import numpy as np
import pytest
import torch

from eqcalc.anharmonic.modal_basis import oscillator_nodes
from eqcalc.anharmonic.report import grid_uncertainty
from eqcalc.models.last_layers import last_layer, last_layer_members, with_last_layers
from eqcalc.runtime import eager_evaluator, evaluator_for
from eqcalc.units import WAVENUMBER_PER_EV
from tests.anharmonic.surfaces import Water
from tests.conftest import make_potential
from tests.errors import refused


def test_it_is_the_spread_of_members():
    modes, numbers = Water().modes(), Water().numbers.numpy()
    potential = make_potential(heads=("energy",), features=8).double()
    p = sum(x.numel() for x in last_layer(potential, "energy").parameters())
    factor = torch.diag(torch.linspace(0.02, 0.3, p, dtype=torch.float64))
    potential = with_last_layers(potential, {"energy": factor})
    before = {name: value.clone() for name, value in potential.state_dict().items()}
    evaluator = evaluator_for(potential, Water().numbers)
    found = grid_uncertainty(modes, potential, numbers, nodes=5)
    here = torch.from_numpy(modes.positions)[None]
    assert torch.isfinite(evaluator(here, ("energy",))["energy"]).all()  # of the same model still
    for name, value in potential.state_dict().items():
        assert torch.equal(value, before[name])

    q = oscillator_nodes(5)
    cuts = modes.positions + q[:, None, None] * modes.steps[:, None]
    points = torch.from_numpy(np.concatenate([modes.positions[None], cuts.reshape(-1, 3, 3)]))

    def rise(model):
        energy = eager_evaluator(model, Water().numbers)(points, ("energy",))["energy"]
        return (energy[1:] - energy[0]).reshape(3, 5).numpy()

    spread = np.std([rise(model) for model in last_layer_members(potential, 200)], axis=0)
    quantum = modes.wavenumber / WAVENUMBER_PER_EV
    expected = (spread / np.maximum(rise(potential), quantum[:, None])).max(axis=1)
    np.testing.assert_allclose(found, expected, rtol=0.2)


def test_a_model_has_to_know_its_last_layers():
    with refused(key="model"):
        grid_uncertainty(Water().modes(), make_potential(heads=("energy",)).double(), [8, 1, 1])


@pytest.mark.slow
def test_ozone_is_not_known_to_the_general_model():
    from ase.build import molecule

    from eqcalc.anharmonic.report import KNOWN
    from eqcalc.harmonic import harmonic_spectrum, relax
    from eqcalc.models import load_model

    general = load_model("hcno", dtype=torch.float64)
    spreads = {}
    for name in ("H2CO", "O3"):
        atoms = relax(general, molecule(name))
        spreads[name] = grid_uncertainty(harmonic_spectrum(general, atoms), general, atoms.numbers)
    assert spreads["H2CO"].max() < KNOWN < spreads["O3"].max()
