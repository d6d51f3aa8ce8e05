# SPDX-License-Identifier: MIT
"""Sums of messages and their derivatives by Triton kernels, on a CPU."""

import pytest
import torch

from eqcalc.models.networks import painn
from eqcalc.neighbors import Pairs
from eqcalc.runtime.triton.message import sum_messages

# atom 2 receives nothing, atom 0 sends nothing, and no pair has its reverse beside it
RECEIVERS = torch.tensor([0, 0, 0, 1, 3, 3, 4])
SENDERS = torch.tensor([3, 1, 4, 2, 4, 1, 2])
PAIRS, N_ATOMS = Pairs(RECEIVERS, SENDERS), 5
FEW = Pairs(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2]))


def arguments(generator, features, *, pairs=PAIRS, n_atoms=N_ATOMS, radial=3, vectors=True):
    shapes = {
        "context": (n_atoms, 3 * features),
        "vectors": (n_atoms, 3, features),
        "radial": (len(pairs.receiver), radial),
        "weights": (radial, 3 * features),
        "directions": (len(pairs.receiver), 3),
    }
    values = {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    if not vectors:
        values["vectors"] = None
    return values


def leaves(values):
    return [x.requires_grad_() for x in values.values() if x is not None]


def all_derivatives(function, values, cotangents, tangents, pairs):
    """Return a sum of messages, its derivatives, and those of their product with `tangents`."""
    inputs = leaves(values)
    result = function(*values.values(), pairs)
    first = torch.autograd.grad(result, inputs, cotangents, create_graph=True)
    second = torch.autograd.grad(
        first, [*inputs, *cotangents], tangents, materialize_grads=True, allow_unused=True
    )
    return [*result, *first, *second]


def assert_all_derivatives_equal(values, generator, pairs=PAIRS):
    like = values["context"]
    n, features = len(like), like.shape[1] // 3
    cotangents = [
        torch.randn(shape, generator=generator, dtype=like.dtype).requires_grad_()
        for shape in ((n, features), (n, 3, features))
    ]
    tangents = [
        torch.randn(x.shape, generator=generator, dtype=x.dtype)
        for x in values.values()
        if x is not None
    ]
    found, expected = (
        all_derivatives(function, values, cotangents, tangents, pairs)
        for function in (sum_messages, painn.sum_messages)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("vectors", [True, False])
def test_first_and_second_derivatives_are_those_of_the_equations(generator, vectors):
    values = arguments(generator, 6, vectors=vectors)
    assert_all_derivatives_equal(values, generator)


@pytest.mark.parametrize("features", [1, 128, 134])
def test_numbers_of_features_with_and_without_remainder(generator, features):
    pair = Pairs(torch.tensor([0, 1]), torch.tensor([1, 0]), degree=1)
    values = arguments(generator, features, pairs=pair, n_atoms=2)
    assert_all_derivatives_equal(values, generator, pair)


def test_derivatives_are_limits_of_differences(generator):
    values = arguments(generator, 2, pairs=FEW, n_atoms=3, radial=2)

    def function(*inputs):
        return sum_messages(*inputs, FEW)

    inputs = leaves(values)
    assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
    assert torch.autograd.gradgradcheck(function, inputs, fast_mode=True)


def test_third_derivatives_exist_and_are_right(generator):
    """The derivatives of weights are differentiated too, as in meta-learning."""
    values = arguments(generator, 2, pairs=FEW, n_atoms=3, radial=2)
    tangents = [torch.randn_like(x) for x in values.values()]
    found = []
    for function in (sum_messages, painn.sum_messages):
        inputs = leaves(values)
        level = sum(part.square().sum() for part in function(*inputs, FEW))
        for _ in range(2):
            gradients = torch.autograd.grad(level, inputs, create_graph=True)
            level = sum((g * t).sum() for g, t in zip(gradients, tangents, strict=True))
        found.append(torch.autograd.grad(level, inputs))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-10)


def test_sums_over_many_pairs_are_put_together(generator):
    """The derivative of the weights comes in shares of 64 pairs."""
    receiver = torch.arange(3).repeat_interleave(50)
    pairs = Pairs(receiver, torch.randint(0, 3, (150,), generator=generator), degree=50)
    values = arguments(generator, 2, pairs=pairs, n_atoms=3, radial=2)
    inputs = leaves(values)
    found, expected = (
        torch.autograd.grad(sum(x.square().sum() for x in function(*inputs, pairs)), inputs)
        for function in (sum_messages, painn.sum_messages)
    )
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_single_precision_and_any_memory_layout(generator):
    values = arguments(generator, 6)
    expected = painn.sum_messages(*values.values(), PAIRS)
    strided = {name: x.transpose(0, 1).contiguous().transpose(0, 1) for name, x in values.items()}
    assert not any(x.is_contiguous() for x in strided.values())
    for one, other in zip(sum_messages(*strided.values(), PAIRS), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    single = [x.float() for x in values.values()]
    for one, other in zip(sum_messages(*single, PAIRS), expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_atoms", [1, 3])
def test_atoms_without_pairs_receive_nothing(generator, n_atoms):
    none = torch.zeros(0, dtype=torch.int64)
    pairs = Pairs(none, none)
    values = arguments(generator, 4, pairs=pairs, n_atoms=n_atoms)
    result = sum_messages(*values.values(), pairs)
    assert [tuple(part.shape) for part in result] == [(n_atoms, 4), (n_atoms, 3, 4)]
    assert all(not part.any() for part in result)
    assert_all_derivatives_equal(values, generator, pairs)


def test_the_same_input_gives_the_same_bits(generator):
    values = arguments(generator, 6)
    runs = []
    for _ in range(2):
        inputs = leaves(values)
        result = sum_messages(*inputs, PAIRS)
        runs.append([*result, *torch.autograd.grad(sum(x.sum() for x in result), inputs)])
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))
