# SPDX-License-Identifier: MIT
"""Training on scalars of molecules, several at once."""

import numpy as np
import pytest

from eqcalc.datasets import Dataset, Record
from eqcalc.training import TrainingConfig, evaluate, train
from eqcalc.training.initial import initial_potential
from eqcalc.validation import InvalidInputError
from tests.training.conftest import records

HEAT = {1: 1e-4, 6: 3e-4, 8: 2e-4}
ORBITAL = {1: 1.0, 6: -7.0, 8: -9.0}


@pytest.fixture
def scalars(tmp_path):
    """Sums and means over atoms, with something to learn on top."""
    labelled = []
    for record in records(40):
        size = np.square(record.positions - record.positions.mean(axis=0)).sum()
        atoms = [int(z) for z in record.numbers]
        labels = {
            "heat_capacity": np.asarray(sum(HEAT[z] for z in atoms) + 1e-5 * size),
            "homo_energy": np.asarray(np.mean([ORBITAL[z] for z in atoms]) + 0.1 * size),
            "dipole_magnitude": np.asarray(np.linalg.norm(record.labels["dipole"])),
            "electronic_spatial_extent": np.asarray(6.0 * size),
        }
        labelled.append(Record(record.numbers, record.positions, labels))
    return Dataset.create(tmp_path / "scalars.h5", labelled, level_of_theory="none")


def config(scalars, settings, **model):
    loss = dict.fromkeys(scalars.quantities, 1.0)
    model = {**settings["model"], **model}
    data = {**settings["data"], "path": str(scalars.path)}
    return {**settings, "data": data, "loss": loss, "model": model}


def test_several_scalars_are_trained_at_once(scalars, settings):
    settings["stopping"] = {"epochs": 12}
    result = train(config(scalars, settings), progress=False)
    assert result.finished
    table = evaluate(result.model, scalars, split="test")
    for name, unit in (("homo_energy", "meV"), ("heat_capacity", "cal/mol/K")):
        row = table.row(name, unit)
        assert row.mae < 0.2 * row.spread
    assert {row.quantity for row in table.rows} == set(scalars.quantities)


def test_sums_and_means_of_the_elements_are_fitted(scalars, settings):
    potential = initial_potential(
        TrainingConfig.from_settings(config(scalars, settings)), scalars, np.arange(40)
    )
    tables = potential.references.values
    assert set(tables) == {"heat_capacity", "homo_energy"}
    water = {"sum": 2 * HEAT[1] + HEAT[8], "mean": (2 * ORBITAL[1] + ORBITAL[8]) / 3.0}
    found = tables["heat_capacity"]
    assert 2 * found[1] + found[8] == pytest.approx(water["sum"], abs=5e-5)
    found = tables["homo_energy"]
    assert (2 * found[1] + found[8]) / 3.0 == pytest.approx(water["mean"], abs=0.5)


def test_given_values_of_the_elements_are_shifted_equally(scalars, settings):
    given = {"heat_capacity": {1: 0.0, 6: 2e-4, 8: 1e-4}}
    settings = config(scalars, settings, element_values=given)
    potential = initial_potential(TrainingConfig.from_settings(settings), scalars, np.arange(40))
    table = potential.references.values["heat_capacity"]
    assert table[6] - table[1] == pytest.approx(2e-4, abs=1e-12)
    assert table[8] - table[1] == pytest.approx(1e-4, abs=1e-12)
    assert table[1] > 0.5e-4


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"read_outs": {"heat_capacity": {"depth": 3}}}, "heat_capacity.depth"),
        ({"read_outs": {"enthalpy": {"layers": 1}}}, "model.read_outs"),
        ({"element_values": {"heat_capacity": [1.0]}}, "element_values.heat_capacity"),
    ],
)
def test_wrong_options_are_refused_before_training(scalars, settings, model, message):
    with pytest.raises(InvalidInputError, match=message):
        TrainingConfig.from_settings(config(scalars, settings, **model))
