# SPDX-License-Identifier: MIT
"""A trained model fitted to few labels: it meets them, and its members tell its error."""

import numpy as np
import pytest
import torch
from ase import Atoms

from eqcalc.datasets import Dataset, Record
from eqcalc.files import model_file
from eqcalc.harmonic import harmonic_spectrum, relax
from eqcalc.models.checkpoint import load_model
from eqcalc.normal_modes import wigner_displacements
from eqcalc.training import TOLERATED, tangent_fit
from eqcalc.training.few_labels import fitted_parameters, seconds_of_fits
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


def test_datasets_of_several_molecules_or_without_labels_are_refused(tmp_path):
    water, other = labelled(2)
    bare = Record(other.numbers, other.positions, {"energy": other.labels["energy"]})
    turned = Record(other.numbers[::-1].copy(), other.positions, other.labels)
    for name, records in {"one": [water], "bare": [water, bare], "two": [water, turned]}.items():
        path = tmp_path / f"{name}.h5"
        dataset = Dataset.create(path, records, level_of_theory="q-TIP4P/F")
        with refused(key="dataset", value=str(path)):
            tangent_fit(model_file("hcno"), dataset)
