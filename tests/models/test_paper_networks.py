# SPDX-License-Identifier: MIT
"""The networks of the papers: sizes, special cases, and equations written as loops."""

from dataclasses import replace

import pytest
import torch
from ase.build import molecule

from eqcalc import testing
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.networks.irreps_gcn import IrrepsGCNConfig, bonds
from eqcalc.models.networks.lnet import VARIANTS, LNetConfig
from eqcalc.models.networks.painn_ablation import AblatedPaiNNConfig, matched_features
from eqcalc.models.networks.schnet import SchNetConfig
from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

TINY = LNetConfig(
    scalars=6,
    hidden_vectors=4,
    embedding=8,
    output_features=8,
    radial_functions=20,
    radial_width=6,
)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def in_double(config, heads=("energy",)):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Potential(PotentialConfig(config, heads), References((1, 6, 7, 8))).double()


@pytest.mark.parametrize(
    ("degrees", "multiplicity", "millions"),
    [
        ((0, 1, 2), 32, 1.648),
        ((0, 1, 2, 4), 32, 3.024),
        ((0, 1, 2, 6), 32, 2.631),
        ((0, 1, 2, 3, 4), 16, 0.778),
        ((0, 3, 4, 5, 6), 16, 0.827),
    ],
)
def test_irreps_networks_have_as_many_parameters_as_the_authors(degrees, multiplicity, millions):
    config = IrrepsGCNConfig(degrees=degrees, multiplicity=multiplicity)
    assert round(count(config.build()) / 1e6, 3) == millions


def test_published_irreps_network_never_trains_the_last_vectors(ethanol):
    """Why a published latent space holds an untrained random term."""
    structure = Structures.from_atoms(ethanol)
    idle = {}
    for read_out in ("scalars", "norms"):
        config = IrrepsGCNConfig(degrees=(0, 1), multiplicity=3, embedding=4, read_out=read_out)
        potential = in_double(config)
        potential(structure, all_pairs(structure))["energy"].sum().backward()
        idle[read_out] = {
            name
            for name, parameter in potential.named_parameters()
            if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
        }
    last = "representation.blocks.4.convolution.weights."
    assert idle["scalars"] == {last + "0_1_1", last + "1_0_1"}
    assert not idle["norms"]


def test_covalent_bonds_are_those_of_a_chemist():
    for name, expected in (("CH3CH2OH", 8), ("C6H6", 12), ("CH3NO2", 6), ("H2O", 2)):
        structure = Structures.from_atoms(molecule(name))
        assert len(bonds(structure, all_pairs(structure)).receiver) == 2 * expected


def test_variants_of_miller_differ_as_the_paper_says():
    l1, l0 = VARIANTS["L1Net"], VARIANTS["L0Net"]
    assert l0.scalars == l1.scalars + 3 * l1.hidden_vectors
    assert (l1.hidden_vectors, l0.hidden_vectors) == (29, 0)
    assert len(l1.build().blocks) == 3
    assert len(VARIANTS["L0Net Deep"].build().blocks) == 4
    assert count(l0.build()) > 1.5 * count(l1.build())


def test_all_paths_of_the_published_l1net_break_mirror_symmetry(generator):
    """Coupling two vectors to a third makes energies of mirror images differ."""
    batch = Structures.from_atoms([molecule("CH3CH2OH"), molecule("CH3NO2")])
    noise = 0.2 * torch.randn(batch.n_atoms, 3, generator=generator, dtype=torch.float64)
    batch = batch.with_positions(batch.positions + noise)
    published = in_double(replace(TINY, parity=False))
    with pytest.raises(AssertionError, match="improper"):
        testing.assert_equivariant(published, batch, generator)
    rotation = testing.random_rotation(generator)
    turned = batch.with_positions(batch.positions @ rotation.T)
    energies = [
        published.evaluate(one, all_pairs(one), ("energy",))["energy"] for one in (batch, turned)
    ]
    torch.testing.assert_close(energies[0], energies[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("key", ["radial_basis", "residual", "self_interaction", "beta"])
def test_settings_of_lnet_change_the_network(key, ethanol):
    value = {"radial_basis": "gaussian", "residual": True, "self_interaction": False, "beta": 1.0}
    structure = Structures.from_atoms(ethanol)
    energies = [
        float(in_double(config).evaluate(structure, all_pairs(structure), ("energy",))["energy"])
        for config in (TINY, replace(TINY, **{key: value[key]}))
    ]
    assert abs(energies[0] - energies[1]) > 1e-6


def test_whole_ablated_painn_is_painn(ethanol):
    painn = make_potential(features=8, layers=2, radial_functions=5).representation
    config = AblatedPaiNNConfig(features=8, layers=2, radial_functions=5)
    ours = config.build().double()
    state = {
        name: value for name, value in painn.state_dict().items() if not name.startswith("filters")
    }
    for layer, name in ((k, n) for k in range(2) for n in ("weight", "bias")):
        state[f"filters.{layer}.{name}"] = getattr(painn.filters, name)[
            24 * layer : 24 * layer + 24
        ]
    ours.load_state_dict(state)
    structure = Structures.from_atoms(ethanol)
    for found, expected in zip(
        ours(structure, all_pairs(structure)), painn(structure, all_pairs(structure)), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.slow
def test_widths_that_keep_the_number_of_parameters():
    """134, 135 and 142 are the widths of an independent replication of the paper's table."""
    whole = AblatedPaiNNConfig()
    assert matched_features(whole, PaiNNConfig()) == 128
    assert matched_features(replace(whole, scalar_product=False), PaiNNConfig()) == 134
    assert matched_features(replace(whole, vector_convolution=False), PaiNNConfig()) == 135
    neither = replace(whole, scalar_product=False, vector_convolution=False)
    assert matched_features(neither, PaiNNConfig()) == 142


def test_vectors_cannot_be_used_without_vectors():
    with refused(key="vector_features", value=False):
        AblatedPaiNNConfig(vector_features=False)


def test_schnet_equals_its_equations_written_as_loops(ethanol):
    config = SchNetConfig(features=4, layers=2, radial_functions=6, cutoff=4.0)
    schnet = config.build().double()
    structure = Structures.from_atoms(ethanol)
    r = structure.positions
    x = schnet.embedding(structure.numbers)
    for block in schnet.interactions:
        new = x.clone()
        for i in range(9):
            received = torch.zeros(4, dtype=torch.float64)
            for j in range(9):
                d = (r[i] - r[j]).norm()
                if i == j or d >= 4.0:
                    continue
                centers = torch.linspace(0.0, 4.0, 6, dtype=torch.float64)
                expanded = torch.exp(-((d - centers) ** 2) / (2.0 * 0.8**2))
                envelope = 0.5 * (torch.cos(torch.pi * d / 4.0) + 1.0)
                received = received + block.context(x[j]) * block.filter(expanded) * envelope
            new[i] = x[i] + block.update(received)
        x = new
    scalars, vectors = schnet(structure, all_pairs(structure))
    torch.testing.assert_close(scalars, x, rtol=1e-6, atol=1e-8)
    assert vectors.shape == (9, 3, 0)


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (IrrepsGCNConfig, {"degrees": (1, 2)}),
        (IrrepsGCNConfig, {"graph": "tree"}),
        (IrrepsGCNConfig, {"nonlinearity": "relu"}),
        (LNetConfig, {"hidden_vectors": -1}),
        (LNetConfig, {"blocks": 1.5}),
        (SchNetConfig, {"features": 0}),
    ],
)
def test_impossible_settings_are_refused(config, settings):
    (key,) = settings
    with refused(key=key):
        config(**settings)
