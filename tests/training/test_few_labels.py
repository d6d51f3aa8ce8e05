# SPDX-License-Identifier: MIT
"""A trained model fitted to few labels: it meets them, and its members tell its error."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms

from eqcalc.calculator import EqCalculator
from eqcalc.cli.program import main
from eqcalc.datasets import Dataset, Record
from eqcalc.files import model_file
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.models.compositions import UnknownCompositionWarning
from eqcalc.normal_modes import wigner_displacements
from eqcalc.training import (
    TOLERATED,
    TrainingConfig,
    evaluate,
    few_labels,
    tangent_fit,
    template,
    train,
)
from eqcalc.training.config import AdamWConfig, GaussNewtonConfig
from eqcalc.training.few_labels import fitted_parameters, seconds_of_fits
from eqcalc.training.template import write_template
from tests.anharmonic.surfaces import Water
from tests.errors import refused

NAMES = ("energy", "forces", "dipole")


def labelled(n, seed=0):
    """Return water in its ground state with labels of an analytic surface."""
    modes = Water().modes()
    shifts = wigner_displacements(modes, 0.0, n, np.random.default_rng(seed))
    positions = modes.positions + shifts
    values = Water()(torch.as_tensor(positions), NAMES)
    return [
        Record(Water.numbers.numpy(), place, {name: values[name][k].numpy() for name in NAMES})
        for k, place in enumerate(positions)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    target = tmp_path_factory.mktemp("labels") / "labels.h5"
    return Dataset.create(target, labelled(12), level_of_theory="q-TIP4P/F")


@pytest.fixture(scope="module")
def fit(dataset):
    return tangent_fit(model_file("hcno"), dataset, members=4)


def test_the_labels_are_met(fit):
    assert fit.residual < 0.2
    assert set(fit.left_out) == set(NAMES)
    # forces of structures that are left out, against some 2 eV/Å
    assert TOLERATED["forces"] < fit.left_out["forces"] < 0.2


def test_a_fit_without_settings_is_evaluated(fit, dataset):
    table = evaluate(fit.model, dataset)
    assert not table.notes
    assert next(row for row in table.rows if row.quantity == "forces").mae < 0.2  # kcal/mol/Å


def test_wavenumbers_are_those_of_the_method_and_members_tell_how_nearly(fit):
    atoms = Atoms(Water.numbers.numpy(), Water.equilibrium.numpy(), masses=Water.masses)

    def wavenumbers(model):
        model = model.double()
        return harmonic_spectrum(model, relax(model, atoms, fmax=1e-3)).wavenumber

    error = wavenumbers(fit.model) - Water().modes().wavenumber
    members = np.array([wavenumbers(member) for member in fit.members])
    spread = np.sqrt(np.mean((members - wavenumbers(fit.model)) ** 2, axis=0))
    assert np.abs(error).max() < 15.0
    assert (np.abs(error) < 4.0 * spread + 1.0).all()


def test_only_the_last_interaction_and_the_read_outs_are_fitted(fit):
    start = load_model("hcno").state_dict()
    moved = {
        name
        for name, values in fit.model.state_dict().items()
        if name in start and not torch.equal(values.float(), start[name])
    }
    assert {name.split(".")[0] for name in moved} == {"representation", "heads"}
    assert all(".2." in name for name in moved if name.startswith("representation"))
    assert any("heads.dipole" in name for name in moved)


def test_a_network_without_numbered_parts_is_fitted_as_a_whole():
    model = load_model("hcno")
    model.representation = torch.nn.Linear(2, 2)
    assert len(fitted_parameters(model)) == 2 + len([*model.heads.parameters()])


def test_fits_of_more_labels_take_longer():
    atoms = Atoms(Water.numbers.numpy(), Water.equilibrium.numpy())
    few, many = seconds_of_fits(load_model("hcno"), atoms, NAMES, (10, 40))
    assert 4.0 * few <= many


def without(record, *names):
    labels = {name: label for name, label in record.labels.items() if name not in names}
    return Record(record.numbers, record.positions, labels)


@pytest.mark.slow
def test_labels_that_some_structures_lack_are_fitted_where_they_are(tmp_path):
    records = [
        record if k % 3 else without(record, "dipole", "energy")
        for k, record in enumerate(labelled(12))
    ]
    dataset = Dataset.create(tmp_path / "some.h5", records, level_of_theory="q-TIP4P/F")
    found = tangent_fit(model_file("hcno"), dataset, members=4)
    assert found.residual < 0.2
    assert all(0.0 < error < 0.2 for error in found.left_out.values())
    only = tangent_fit(model_file("hcno"), dataset, members=4, quantities=["energy", "forces"])
    assert set(only.left_out) == {"energy", "forces"}
    assert only.model.config.heads == ("energy",)


def test_structures_that_are_labelled_twice_are_no_obstacle(tmp_path, monkeypatch):
    """Their kernel is singular, but for λ and rounding."""
    monkeypatch.setattr(few_labels, "_NOISE", 1e-14)
    records = labelled(4) * 2
    dataset = Dataset.create(tmp_path / "twice.h5", records, level_of_theory="q-TIP4P/F")
    assert tangent_fit(model_file("hcno"), dataset, members=4).residual < 0.2


@pytest.mark.slow
def test_steps_become_shorter_where_few_parameters_have_to_fit_many_labels(tmp_path, monkeypatch):
    """A step that neglects how nonlinear the outputs are would make the errors larger."""
    dataset = Dataset.create(tmp_path / "many.h5", labelled(16), level_of_theory="q-TIP4P/F")
    few = _parameters(400, 16)
    shorter = tangent_fit(model_file("hcno"), dataset, members=4, memory=few).residual
    monkeypatch.setattr(few_labels, "_MOST_NOISE", 0.0)
    whole = tangent_fit(model_file("hcno"), dataset, members=4, memory=few).residual
    assert shorter < 0.3 * whole


def _parameters(parameters, structures):
    """Return the size of a Jacobian [GB] of water in float32."""
    return 4e-9 * parameters * structures * (1 + 9 + 3)


@pytest.mark.slow
def test_errors_are_in_parts_of_what_is_tolerated(dataset):
    """Ten parameters meet no label."""
    few = _parameters(10, len(dataset))
    usual = tangent_fit(model_file("hcno"), dataset, members=2, memory=few)
    strict = tangent_fit(
        model_file("hcno"), dataset, members=2, tolerated={"dipole": 1e-5}, memory=few
    )
    assert strict.residual > 20.0 * usual.residual


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"tolerated": {"stress": 1.0}}, "tolerated"),
        ({"tolerated": {"forces": 0.0}}, "tolerated.forces"),
        ({"memory": -1.0}, "memory"),
    ],
)
def test_options_are_checked(dataset, options, key):
    with refused(key=key):
        tangent_fit(model_file("hcno"), dataset, **options)
    settings = settings_of(dataset, optimizer={"name": "gauss_newton", **options})
    with refused(key=f"optimizer.{key}"):
        train(TrainingConfig.from_settings(settings | {"output": str(dataset.path.parent / "run")}))


def test_the_model_tells_what_it_was_fitted_to(fit, dataset):
    record = fit.model.metadata["training"]
    assert record["started_from"]["hash"] == load_model("hcno").metadata["hash"]
    assert record["dataset"]["compositions"]["formulas"] == ["H2O"]
    with pytest.warns(UnknownCompositionWarning):
        EqCalculator(fit.model).get_potential_energy(Atoms("OH", [[0, 0, 0], [0, 0, 1]]))


# --- by eqcalc train ---


def settings_of(dataset, **more):
    data = {"path": str(dataset.path)}
    return {"data": data, "model": {"start_from": "hcno"}, **more}


def test_few_labels_are_trained_on_by_gauss_newton_steps(dataset, tmp_path, capsys):
    """A settings file that names data and model, the template, and the training."""
    path = tmp_path / "train.yaml"
    write_template(dataset.path, path, start_from="general")
    config = TrainingConfig.read(path)
    bare = TrainingConfig.from_settings(settings_of(dataset), folder=tmp_path)
    assert config == bare == TrainingConfig.from_settings(config.settings())
    assert config.optimizer == GaussNewtonConfig()
    assert (config.data.training, config.data.validation, config.data.test) == (11, 0, 1)

    result = train(config, progress=False)
    assert result.finished
    assert result.record["left_out"]["forces"] > result.record["residual"] * TOLERATED["forces"]
    assert load_model(result.path).metadata["training"]["dataset"]["training"] == 11
    assert {row["quantity"] for row in result.record["test"]} >= set(NAMES)
    assert len(evaluate(result.path, dataset, split="test").rows) > 0
    written = result.path.stat().st_mtime_ns
    assert train(config, progress=False).path.stat().st_mtime_ns == written  # nothing to do
    assert main(["train", str(path)]) == 0
    assert (
        f"forces {1000 * result.record['left_out']['forces']:.3g} meV/Å" in capsys.readouterr().out
    )
    with refused(key="output"):
        train(replace(config, seed=1), progress=False)


def test_training_takes_over_where_labels_are_many_or_epochs_are_asked_for(
    dataset, tmp_path, monkeypatch
):
    for more in ({"schedule": {"name": "cosine"}}, {"optimizer": {"learning_rate": 1e-3}}):
        config = TrainingConfig.from_settings(settings_of(dataset, **more))
        assert isinstance(config.optimizer, AdamWConfig)
        assert config.data.validation == 1
    fresh = {"data": {"path": str(dataset.path)}}
    assert isinstance(TrainingConfig.from_settings(fresh).optimizer, AdamWConfig)
    methane = Record(np.array([6, 1, 1, 1, 1]), np.eye(5, 3), {"energy": np.array(-1.0)})
    records = [*(without(record, "forces", "dipole") for record in dataset), methane]
    two = Dataset.create(tmp_path / "two.h5", records, level_of_theory="q-TIP4P/F")
    assert isinstance(TrainingConfig.from_settings(settings_of(two)).optimizer, AdamWConfig)
    monkeypatch.setattr(template, "_FEW", 100)
    assert isinstance(TrainingConfig.from_settings(settings_of(dataset)).optimizer, AdamWConfig)


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ({"schedule": {"name": "cosine"}}, "schedule"),
        ({"trainer": {"devices": 2}}, "trainer"),
        ({"model": None}, "model.start_from"),
        ({"model": {"start_from": "hcno", "reset_heads": ["dipole"]}}, "model.reset_heads"),
        ({"optimizer": {"name": "gauss_newton", "batch_size": 5}}, "optimizer.batch_size"),
    ],
)
def test_settings_that_mean_nothing_to_gauss_newton_steps_are_refused(dataset, more, key):
    given = settings_of(dataset, optimizer={"name": "gauss_newton"}) | more
    with refused(key=key):
        TrainingConfig.from_settings(given)


def test_datasets_of_several_molecules_or_without_labels_are_refused(tmp_path):
    water, other = labelled(2)
    bare = without(other, *NAMES)
    turned = Record(other.numbers[::-1].copy(), other.positions, other.labels)
    for name, records in {"one": [water], "bare": [bare, bare], "two": [water, turned]}.items():
        path = tmp_path / f"{name}.h5"
        dataset = Dataset.create(path, records, level_of_theory="q-TIP4P/F")
        with refused(key="dataset", value=str(path)):
            tangent_fit(model_file("hcno"), dataset)
