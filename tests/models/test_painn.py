# SPDX-License-Identifier: MIT
"""The PaiNN layers against an independent, loop-by-loop evaluation with e3nn irreps."""

import math

import pytest
import torch
from e3nn import o3

from eqcalc.models.networks.painn import Length, Message, PaiNNConfig, SmoothPaiNNConfig, Update
from eqcalc.models.radial import CosineCutoff, GaussianBasis, SincBasis, radial_basis
from eqcalc.neighbors import Pairs, all_pairs
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused


@pytest.mark.parametrize("form", [PaiNNConfig, SmoothPaiNNConfig])
def test_representation_equals_the_equations_written_as_loops(form, ethanol):
    smooth = form is SmoothPaiNNConfig
    options = {} if smooth else {"norm_epsilon": 1e-8}
    painn = make_potential(
        form=form, features=4, layers=2, radial_functions=5, **options
    ).representation
    structure = Structures.from_atoms(ethanol)
    n, f = 9, 4
    r, rc = structure.positions, 5.0
    s = painn.embedding(structure.numbers)
    v = torch.zeros(n, f, 3, dtype=torch.float64)
    for layer in range(2):
        weight = painn.filters.weight[layer * 3 * f : (layer + 1) * 3 * f]
        bias = painn.filters.bias[layer * 3 * f : (layer + 1) * 3 * f]
        phi = painn.messages[layer].context(s)
        new_s, new_v = s.clone(), v.clone()
        for i in range(n):
            for j in range(n):
                d = float(torch.linalg.norm(r[j] - r[i]))
                if i == j or d >= rc:
                    continue
                u = (r[j] - r[i]) / d
                basis = torch.tensor([math.sin(k * math.pi * d / rc) / d for k in range(1, 6)])
                envelope = (0.5 * (math.cos(math.pi * d / rc) + 1.0)) ** (2 if smooth else 1)
                w = (weight @ basis.double() + bias) * envelope * phi[j]
                new_s[i] = new_s[i] + w[:f]
                for c in range(f):
                    new_v[i, c] = new_v[i, c] + w[f + c] * u + w[2 * f + c] * v[j, c]
        s, v = new_s, new_v
        update = painn.updates[layer]
        left = torch.einsum("of,ifc->ioc", update.mix.weight[:f], v)
        right = torch.einsum("of,ifc->ioc", update.mix.weight[f:], v)
        square = (left**2).sum(-1)
        norm = torch.sqrt(square + 1.0) - 1.0 if smooth else torch.sqrt(square + 1e-8)
        a = update.context(torch.cat([s, norm], dim=1))
        s = s + a[:, :f] + a[:, 2 * f :] * (left * right).sum(-1)
        v = v + a[:, f : 2 * f, None] * right
    scalars, vectors = painn(structure, all_pairs(structure))
    torch.testing.assert_close(scalars, s, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(vectors, v.transpose(1, 2), rtol=1e-6, atol=1e-7)


def test_features_transform_as_e3nn_irreps(potential, ethanol):
    """Scalars are 0e and vectors 1o, judged by e3nn's own representation matrices."""
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    scalars, vectors = potential.representation(structure, pairs)
    # far from the poles, where matrices give angles in single precision only
    angles = torch.tensor([0.3, 1.1, -0.7], dtype=torch.float64).unbind()
    rotation = -o3.angles_to_matrix(*angles)
    turned = structure.with_positions(structure.positions @ rotation.T)
    new_scalars, new_vectors = potential.representation(turned, pairs)
    inversion = torch.tensor(1.0, dtype=torch.float64)
    matrix = o3.Irrep("1o").D_from_angles(*angles, inversion)
    expected = torch.einsum("ab,ibf->iaf", matrix, vectors)
    torch.testing.assert_close(new_scalars, scalars, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(new_vectors, expected, rtol=1e-5, atol=2e-6)


def test_polarizability_transforms_as_l0_and_l2_of_e3nn(potential, ethanol):
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    symmetric = o3.ReducedTensorProducts("ij=ji", i="1o")
    assert symmetric.irreps_out == o3.Irreps("1x0e+1x2e")
    basis = symmetric.change_of_basis.double()
    rotation = o3.rand_matrix(dtype=torch.float64)
    turned = structure.with_positions(structure.positions @ rotation.T)
    before, after = (
        torch.einsum(
            "nij,ij->n",
            basis,
            potential.evaluate(s, pairs, ("polarizability",))["polarizability"][0],
        )
        for s in (structure, turned)
    )
    matrix = symmetric.irreps_out.D_from_matrix(rotation.float()).double()
    assert float(before[1:].abs().max()) > 1e-3
    torch.testing.assert_close(after, matrix @ before, rtol=1e-5, atol=1e-6)


def test_mixing_layers_have_no_bias(potential):
    for name, _ in potential.named_parameters():
        assert not name.endswith("mix.bias")


def test_update_has_finite_second_derivatives_at_zero_vectors():
    torch.manual_seed(0)
    update = Update(4, Length(1e-8)).double()
    vectors = torch.zeros(2, 3, 4, dtype=torch.float64, requires_grad=True)
    scalars, _ = update(torch.ones(2, 4, dtype=torch.float64), vectors)
    (gradient,) = torch.autograd.grad(scalars.sum(), vectors, create_graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), vectors)
    assert bool(torch.isfinite(second).all())


def test_message_without_neighbours_changes_nothing():
    message = Message(4)
    none = torch.zeros(0, dtype=torch.int64)
    scalars, vectors = torch.randn(1, 4), torch.randn(1, 3, 4)
    pairs, weights = Pairs(none, none), torch.randn(5, 12)
    alone = message(scalars, vectors, torch.zeros(0, 5), weights, torch.zeros(0, 3), pairs)
    assert torch.equal(alone[0], scalars)
    assert torch.equal(alone[1], vectors)


def test_sinc_basis_is_that_of_the_paper():
    d = torch.tensor([[0.7], [3.1]], dtype=torch.float64)
    found = SincBasis(20, 5.0)(d)
    for row, distance in enumerate((0.7, 3.1)):
        for n in range(1, 21):
            expected = math.sin(n * math.pi * distance / 5.0) / distance
            assert float(found[row, n - 1]) == pytest.approx(expected, abs=1e-12)


def test_gaussian_basis_is_one_at_its_centres():
    basis = GaussianBasis(20, 5.0)
    found = basis(basis.centers[:, None])
    torch.testing.assert_close(torch.diagonal(found), torch.ones(20, dtype=torch.float64))
    assert float(found[0, 1]) == pytest.approx(math.exp(-0.5), rel=1e-12)


def test_cutoff_vanishes_with_its_slope():
    d = torch.tensor([0.0, 2.5, 5.0, 6.0], dtype=torch.float64, requires_grad=True)
    values = CosineCutoff(5.0)(d)
    (slope,) = torch.autograd.grad(values.sum(), d)
    torch.testing.assert_close(values, torch.tensor([1.0, 0.5, 0.0, 0.0], dtype=torch.float64))
    assert float(slope[2].abs()) < 1e-12
    assert float(slope[3]) == 0.0


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (("bump", 20, 5.0), "radial_basis"),
        (("sinc", 0, 5.0), "radial_functions"),
        (("gaussian", 1, 5.0), "radial_functions"),
        (("sinc", 20, 0.0), "cutoff"),
    ],
)
def test_impossible_bases_are_refused(arguments, key):
    with refused(key=key):
        radial_basis(*arguments)
