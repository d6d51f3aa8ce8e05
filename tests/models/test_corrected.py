# SPDX-License-Identifier: MIT
"""The sum of a model and a correction of its potential."""

import numpy as np
import pytest
import torch

from eqcalc.dynamics import simulate
from eqcalc.models.corrected import Corrected, same_isotopes
from eqcalc.runtime import eager_evaluator
from eqcalc.validation import InvalidInputError
from tests.analytic import HarmonicWell, ToyWater
from tests.conftest import make_potential

RECORD = {"elevated_temperature_K": 500.0, "masses_amu": [*ToyWater.masses]}


def evaluators():
    numbers = torch.tensor([8, 1, 1])
    model = eager_evaluator(make_potential(), numbers)
    return model, eager_evaluator(make_potential(heads=("energy",), features=8), numbers)


def test_potentials_add_and_properties_are_those_of_the_model():
    model, correction = evaluators()
    both = Corrected(model, correction, RECORD)
    x = torch.from_numpy(ToyWater().atoms.positions)[None].repeat(2, 1, 1)
    wanted = ("energy", "forces", "dipole")
    found, first, second = both(x, wanted), model(x, wanted), correction(x, wanted[:2])
    for name in wanted[:2]:
        torch.testing.assert_close(found[name], first[name] + second[name])
    torch.testing.assert_close(found["dipole"], first["dipole"])
    rates = both.rates(x, torch.ones_like(x), ("dipole",))["dipole"]
    torch.testing.assert_close(rates, model.rates(x, torch.ones_like(x), ("dipole",))["dipole"])
    assert set(both(x, ("dipole",))) == {"dipole"}
    assert both.quantities == model.quantities
    assert both.provenance == {**model.provenance, "correction": RECORD}


def test_its_forces_are_the_gradient_of_its_energy():
    both = Corrected(*evaluators(), RECORD)
    x = torch.from_numpy(ToyWater().atoms.positions)
    step = 1e-5 * torch.eye(9, dtype=torch.float64).view(9, 3, 3)
    slopes = both(torch.cat([x + step, x - step]), ("energy",))["energy"].view(2, 9)
    expected = -(slopes[0] - slopes[1]).view(3, 3) / 2e-5
    torch.testing.assert_close(both(x[None], ("forces",))["forces"][0], expected, rtol=0, atol=1e-7)


def run(tmp_path, evaluator, **changed):
    options = {"method": "Te-PIGS", "temperature": 300.0, "steps": 4, **changed}
    return simulate(
        ToyWater().atoms,
        evaluator,
        output=tmp_path / "run.h5",
        timestep=0.5,
        seed=0,
        observables=["potential_energy"],
        progress=False,
        **options,
    )


def test_the_energy_of_dynamics_is_conserved_on_the_sum(tmp_path):
    both = Corrected(ToyWater(), HarmonicWell([0.3, 0.4, 0.5], [8, 1, 1]), RECORD)
    spread = []
    for timestep in (0.2, 0.4):
        trajectory = simulate(
            ToyWater().atoms,
            both,
            output=tmp_path / f"{timestep}.h5",
            method="Te-PIGS",
            temperature=300.0,
            timestep=timestep,
            steps=round(100 / timestep),
            seed=2,
            replicas=4,
            observables={"conserved_energy": 1},
            progress=False,
        )
        spread.append(trajectory.observable("conserved_energy").values.std(axis=1).mean())
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.2)
    assert spread[1] < 1e-3
    assert trajectory.method == "Te-PIGS"
    assert trajectory.provenance["correction"] == RECORD


@pytest.mark.parametrize(
    ("corrects", "changed", "key"),
    [
        (False, {}, "evaluator"),
        (True, {"method": "NVE"}, "method"),
        (True, {"method": "T-RPMD", "beads": 4}, "method"),
        (True, {"temperature": 600.0}, "temperature"),
        (True, {"masses": {"H": 2.014}}, "masses"),
    ],
)
def test_a_method_has_the_potential_that_it_is_meant_for(tmp_path, corrects, changed, key):
    evaluator = ToyWater()
    if corrects:
        evaluator = Corrected(evaluator, HarmonicWell([0.3] * 3, [8, 1, 1]), RECORD)
    with pytest.raises(InvalidInputError) as caught:
        run(tmp_path, evaluator, **changed)
    assert caught.value.key == key
    assert not (tmp_path / "run.h5").exists()


def test_parts_are_for_one_molecule():
    with pytest.raises(InvalidInputError) as caught:
        Corrected(ToyWater(), HarmonicWell([1.0, 1.0]), {})
    assert caught.value.key == "correction.numbers"
    charged = HarmonicWell([1.0] * 3, [8, 1, 1])
    charged.charge = 1.0
    with pytest.raises(InvalidInputError) as caught:
        Corrected(ToyWater(), charged, {})
    assert np.isclose(caught.value.value, 1.0)


def test_the_order_of_atoms_matters_for_isotopes_alone():
    light, heavy, oxygen = 1.008, 2.014, 15.999
    assert same_isotopes([8, 1, 1], [oxygen, light, light], [light, oxygen, light])
    assert not same_isotopes([8, 1, 1], [oxygen, heavy, heavy], [light, oxygen, light])
    # CH₂D–OH is not CH₃–OD
    assert not same_isotopes([8, 1, 1], [oxygen, heavy, light], [oxygen, light, heavy])
    assert not same_isotopes([8, 1], [oxygen, light], [oxygen, light, light])
