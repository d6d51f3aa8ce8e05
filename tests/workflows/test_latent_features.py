# SPDX-License-Identifier: MIT
"""Latent spaces: slices, invariants, ranks and ablation."""

import numpy as np
import pytest
import torch
from e3nn import o3

from eqcalc.datasets import Dataset, Record
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig
from eqcalc.neighbors import all_pairs
from eqcalc.testing import random_rotation
from tests.errors import refused
from tests.training.conftest import records
from tests.workflows import module

latent = module("irreps/latent_features.py")

ROWS = np.arange(6)


def build(degrees=(0, 1, 2), read_out="norms"):
    config = IrrepsGCNConfig(
        degrees=degrees, multiplicity=3, blocks=3, embedding=4, read_out=read_out
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = PotentialConfig(config, ("enthalpy",))
        return Potential(model, References((1, 6, 8))).double()


def turned(source, rotation):
    return [
        Record(r.numbers, r.positions @ rotation.numpy().T, {"enthalpy": np.asarray(0.0)})
        for r in source
    ]


@pytest.fixture
def structures(tmp_path):
    identity = torch.eye(3, dtype=torch.float64)
    return Dataset.create(tmp_path / "a.h5", turned(records(6), identity), level_of_theory="none")


def test_slices_are_those_of_e3nn():
    irreps = o3.Irreps("16x0e+16x1o+16x2e+16x3o+16x4e")
    found = latent.degree_slices(dict.fromkeys(range(5), 16))
    assert list(found.values()) == irreps.slices()
    # counting Irreps.ls gives blocks of 16, whose "1", "2" and "3" all lie within l = 1
    assert found[1].start <= 16 * 3 < found[1].stop


def test_features_turn_and_their_lengths_do_not(structures, tmp_path, generator):
    potential = build()
    rotation = random_rotation(generator)
    other = Dataset.create(tmp_path / "b.h5", turned(records(6), rotation), level_of_theory="none")
    first, second = (latent.pooled_latent(potential, d, ROWS) for d in (structures, other))
    assert first[2].shape == (6, 3, 5)
    assert np.abs(first[1] - second[1]).max() > 1e-3
    np.testing.assert_allclose(second[1], first[1] @ rotation.numpy().T, rtol=0, atol=1e-10)
    for l, lengths in latent.invariants(first).items():
        np.testing.assert_allclose(lengths, latent.invariants(second)[l], rtol=0, atol=1e-10)


def test_flat_vector_and_slices_belong_together(structures):
    features = latent.pooled_latent(build(), structures, ROWS)
    flat = latent.flattened(features)
    for l, piece in latent.degree_slices(dict.fromkeys((0, 1, 2), 3)).items():
        np.testing.assert_array_equal(flat[:, piece].reshape(6, 3, 2 * l + 1), features[l])


def test_removing_a_degree_changes_predictions_and_leaves_the_model(structures):
    potential = build()
    whole = structures.structures(ROWS)

    def predict():
        return potential.evaluate(whole, all_pairs(whole), ("enthalpy",))["enthalpy"]

    before = predict()
    with latent.without_degree(potential, 2):
        assert float((predict() - before).abs().max()) > 1e-6
        assert float(np.abs(latent.pooled_latent(potential, structures, ROWS)[2]).max()) == 0.0
    assert torch.equal(predict(), before)
    with refused(key="degree", value=5), latent.without_degree(potential, 5):
        pass


def test_gradients_say_which_degrees_are_used(structures):
    used = latent.gradient_norms(build((0, 1, 2)), structures, ROWS, "enthalpy")
    assert min(used.values()) > 0.0
    # with one block, and scalars only read out, nothing sees degree one
    config = IrrepsGCNConfig(degrees=(0, 1), multiplicity=3, blocks=1, embedding=4)
    with torch.random.fork_rng():
        potential = Potential(PotentialConfig(config, ("enthalpy",)), References((1, 6, 8)))
    unused = latent.gradient_norms(potential.double(), structures, ROWS, "enthalpy")
    assert unused[0] > 0.0
    assert unused[1] == 0.0


def test_effective_rank_of_known_spectra():
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.normal(size=(400, 5)) - 0.0)[0]
    axes = np.linalg.qr(axes - axes.mean(axis=0))[0]
    assert latent.effective_rank(axes) == pytest.approx(5.0, abs=1e-6)
    assert latent.effective_rank(axes[:, :1] @ np.ones((1, 4))) == pytest.approx(1.0, abs=1e-6)
    assert latent.effective_rank(np.ones((10, 3))) == 0.0


def test_principal_components_of_a_stretched_cloud():
    rng = np.random.default_rng(1)
    points = rng.normal(size=(2000, 3)) * (5.0, 1.0, 0.1)
    projected, shares = latent.principal_components(points)
    assert shares[0] == pytest.approx(25.0 / 26.01, abs=0.01)
    assert abs(np.corrcoef(projected[:, 0], points[:, 0])[0, 1]) > 0.999


def test_other_networks_are_refused(structures):
    painn = Potential(
        PotentialConfig(PaiNNConfig(features=4), ("enthalpy",)), References((1, 6, 8))
    )
    with refused(key="representation", value="PaiNN"):
        latent.pooled_latent(painn, structures, ROWS)
