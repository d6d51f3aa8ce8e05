# SPDX-License-Identifier: MIT
"""Convolution, harmonics and gates against e3nn, and the normalisation of equation 13."""

import math

import pytest
import torch
from e3nn import nn as e3nn_nn
from e3nn import o3

from eqcalc.models.networks.irreps import (
    Gate,
    Linear,
    Neighborhoods,
    Normalized,
    PointConvolution,
    RadialPerceptron,
    clebsch_gordan,
    coupled_degrees,
    spherical_harmonics,
)
from eqcalc.models.radial import CosineSquaredBasis
from eqcalc.neighbors import Pairs, all_pairs
from eqcalc.structures import Structures


def directions(n, generator):
    vectors = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return vectors / vectors.norm(dim=-1, keepdim=True)


@pytest.fixture
def double():
    """Build e3nn's modules in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def test_harmonics_are_those_of_e3nn(generator):
    unit = directions(50, generator)
    found = spherical_harmonics((0, 2, 3, 6), unit)
    for l, values in found.items():
        expected = o3.spherical_harmonics(l, unit, True, "integral")
        torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)


def test_couplings_are_normalised_and_selected_by_parity():
    assert coupled_degrees(1, 1, parity=False) == [0, 1, 2]
    assert coupled_degrees(1, 1, parity=True) == [0, 2]
    assert coupled_degrees(3, 1, parity=True) == [2, 4]
    assert float(clebsch_gordan(2, 3, 4).square().sum()) == pytest.approx(1.0, abs=1e-14)
    cross = clebsch_gordan(1, 1, 1)
    a, b = torch.randn(2, 3, dtype=torch.float64)
    product = torch.einsum("a,b,abc->c", a, b, cross)
    expected = torch.linalg.cross(a, b) / math.sqrt(6.0)
    torch.testing.assert_close(product.abs(), expected.abs(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("parity", [True, False])
def test_convolution_is_the_tensor_product_of_e3nn(double, generator, parity):
    """Per-edge weights of e3nn made from the same radial map, summed with index_add."""
    inputs, outputs, width = {0: 3, 1: 2}, {0: 4, 1: 2, 2: 1}, 5
    convolution = PointConvolution(inputs, outputs, range(4), width, parity=parity).double()
    n_atoms = 6
    atoms = torch.arange(n_atoms)
    receiver, sender = torch.cartesian_prod(atoms, atoms).unbind(-1)
    pairs = Pairs(receiver[receiver != sender], sender[receiver != sender], degree=n_atoms - 1)
    n_pairs = len(pairs.receiver)
    unit = directions(n_pairs, generator)
    radial = torch.randn(n_pairs, width, generator=generator)
    features = {
        l: torch.randn(n_atoms, 2 * l + 1, m, generator=generator) for l, m in inputs.items()
    }
    harmonics = spherical_harmonics(range(4), unit)
    neighborhoods = Neighborhoods.of(pairs, n_atoms)
    found = convolution(features, harmonics, radial, pairs, neighborhoods)

    def sign(l):
        return (-1) ** l if parity else 1

    irreps_in, irreps_filter, irreps_out = (
        o3.Irreps([(m, (l, sign(l))) for l, m in degrees.items()])
        for degrees in (inputs, dict.fromkeys(range(4), 1), outputs)
    )
    product = o3.FullyConnectedTensorProduct(
        irreps_in, irreps_filter, irreps_out, shared_weights=False, internal_weights=False
    )
    assert product.weight_numel * width == sum(w.numel() for w in convolution.weights.values())
    blocks = []
    for instruction in product.instructions:
        path = tuple(
            irreps[i].ir.l
            for irreps, i in (
                (irreps_in, instruction.i_in1),
                (irreps_filter, instruction.i_in2),
                (irreps_out, instruction.i_out),
            )
        )
        weight = convolution.weights["{}_{}_{}".format(*path)]
        matrices = weight.reshape(inputs[path[0]], width, outputs[path[2]])
        blocks.append(torch.einsum("pw,iwo->pio", radial, matrices).flatten(1) / width**0.5)
    flat = torch.cat([features[l].transpose(1, 2).reshape(n_atoms, -1) for l in inputs], dim=-1)
    joined = torch.cat([harmonics[l] for l in range(4)], dim=-1) * (4.0 * math.pi) ** 0.5
    messages = product(flat[pairs.sender], joined, torch.cat(blocks, dim=-1))
    expected = torch.zeros(n_atoms, irreps_out.dim).index_add(0, pairs.receiver, messages)
    for (l, m), piece in zip(outputs.items(), irreps_out.slices(), strict=True):
        block = expected[:, piece].reshape(n_atoms, m, 2 * l + 1).transpose(1, 2)
        torch.testing.assert_close(found[l], block, rtol=0, atol=1e-12)


@pytest.mark.parametrize("parity", [True, False])
def test_equation_13_keeps_the_second_moment(generator, parity):
    """Unit mean squares in, unit mean squares per neighbour out, for every degree."""
    inputs, outputs, width = {0: 8, 1: 6, 2: 5}, {0: 12, 1: 10, 2: 8}, 4
    n_atoms, degree = 800, 1
    receiver = torch.arange(n_atoms)
    sender = torch.randperm(n_atoms, generator=generator)
    pairs = Pairs(receiver, sender, degree=degree)
    unit = directions(n_atoms, generator)
    radial = torch.randn(n_atoms, width, generator=generator, dtype=torch.float64)
    features = {
        l: torch.randn(n_atoms, 2 * l + 1, m, generator=generator, dtype=torch.float64)
        for l, m in inputs.items()
    }
    torch.manual_seed(5)
    convolution = PointConvolution(inputs, outputs, range(5), width, parity=parity).double()
    found = convolution(
        features,
        spherical_harmonics(range(5), unit),
        radial,
        pairs,
        Neighborhoods.of(pairs, n_atoms),
    )
    for l, values in found.items():
        assert float(values.detach().square().mean()) == pytest.approx(1.0, abs=0.2), l
        # no component of a degree is favoured
        each = values.square().mean(dim=(0, 2))
        assert float(each.max() / each.min()) < 1.2


def test_an_atom_as_its_own_neighbour_is_the_limit_of_distance_zero(generator):
    convolution = PointConvolution({0: 3, 1: 2}, {0: 2, 1: 2}, range(3), 4, parity=True).double()
    radial = RadialPerceptron("gaussian", 6, 3.0, 4, 1, torch.nn.Tanh()).double()
    features = {
        l: torch.randn(1, 2 * l + 1, m, generator=generator, dtype=torch.float64)
        for l, m in {0: 3, 1: 2}.items()
    }
    none = torch.zeros(0, dtype=torch.int64)
    nobody = Pairs(none, none)
    empty = {l: torch.zeros(0, 2 * l + 1, dtype=torch.float64) for l in range(3)}
    at_zero = radial(torch.zeros(1, 1, dtype=torch.float64))
    found = convolution(
        features, empty, at_zero[:0], nobody, Neighborhoods.of(nobody, 1), at_zero[0]
    )
    itself = Pairs(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), degree=1)
    only_zero = spherical_harmonics(range(3), directions(1, generator))
    only_zero = {l: value if l == 0 else 0.0 * value for l, value in only_zero.items()}
    expected = convolution(features, only_zero, at_zero, itself, Neighborhoods.of(itself, 1))
    for l, value in found.items():
        torch.testing.assert_close(value, expected[l], rtol=0, atol=1e-14)


def test_padded_neighbourhoods_equal_a_sum_over_pairs(generator):
    receiver = torch.tensor([0, 0, 0, 2, 2, 3])
    pairs = Pairs(receiver, torch.tensor([1, 2, 3, 0, 3, 2]))
    left, right = torch.randn(2, 6, 4, generator=generator)
    found = Neighborhoods.of(pairs, 4).sum_of_outer_products(left, right)
    torch.testing.assert_close(found, pairs.sum_of_outer_products(left, right, 4))
    assert float(found[1].abs().max()) == 0.0


def test_uniform_neighbourhoods_need_no_padding(ethanol):
    structure = Structures.from_atoms(ethanol)
    neighborhoods = Neighborhoods.of(all_pairs(structure), 9)
    assert neighborhoods.slots is None
    assert neighborhoods.degree == 8


def test_gate_is_that_of_e3nn(double, generator):
    gate = Gate({0: 3, 1: 2}, torch.nn.SiLU(), torch.nn.Sigmoid())
    theirs = e3nn_nn.Gate("3x0e", [torch.nn.functional.silu], "2x0e", [torch.sigmoid], "2x1o")
    features = {
        0: torch.randn(7, 1, 5, generator=generator),
        1: torch.randn(7, 3, 2, generator=generator),
    }
    flat = torch.cat([features[0][:, 0], features[1].transpose(1, 2).flatten(1)], dim=-1)
    expected = theirs(flat)
    found = gate(features)
    # e3nn estimates its normalisation from a million random numbers
    torch.testing.assert_close(found[0][:, 0], expected[:, :3], rtol=5e-3, atol=0)
    torch.testing.assert_close(
        found[1].transpose(1, 2).flatten(1), expected[:, 3:], rtol=5e-3, atol=0
    )


def test_normalised_activation_has_unit_second_moment(generator):
    x = torch.randn(400_000, generator=generator, dtype=torch.float64)
    for function in (torch.nn.SiLU(), torch.nn.Sigmoid(), torch.nn.Softplus(5.0)):
        assert float(Normalized(function)(x).square().mean()) == pytest.approx(1.0, abs=0.01)


def test_linear_leaves_missing_degrees_empty(generator):
    mix = Linear({0: 3}, {0: 2, 1: 4}).double()
    found = mix({0: torch.ones(5, 1, 3, dtype=torch.float64)})
    assert found[0].shape == (5, 1, 2)
    assert found[1].shape == (5, 3, 4)
    assert float(found[1].abs().max()) == 0.0


def test_cosine_squared_basis_is_a_partition_that_ends_at_the_cutoff():
    basis = CosineSquaredBasis(84, 11.1 * 84 / 83)
    assert float(basis.centers[-1]) == pytest.approx(11.1)
    d = torch.linspace(0.0, 11.1, 500, dtype=torch.float64)[:, None]
    torch.testing.assert_close(basis(d).sum(-1), torch.ones(500, dtype=torch.float64))
    edge = torch.tensor([[11.1 * 84 / 83]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(basis(edge).sum(), edge)
    assert float(basis(edge).abs().max()) < 1e-25
    assert float(slope.abs().max()) < 1e-12


def test_radial_functions_have_unit_size_and_vanish_at_the_cutoff():
    torch.manual_seed(2)
    for basis in ("cosine_squared", "gaussian", "sinc"):
        radial = RadialPerceptron(basis, 40, 6.0, 200, 2, torch.nn.SiLU()).double()
        d = torch.linspace(0.7, 5.99, 300, dtype=torch.float64)[:, None]
        assert 0.2 < float(radial(d).detach().square().mean()) < 2.0
        assert float(radial(torch.tensor([[6.0]], dtype=torch.float64)).abs().max()) < 1e-12
