# SPDX-License-Identifier: MIT
"""Polynomials equal e3nn's recursion in values and gradients."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from e3nn import o3

from tests.errors import refused
from tests.workflows import module

found = module("irreps/polynomials.py")


@pytest.mark.parametrize("degree", [1, 2, 3, 4, pytest.param(7, marks=pytest.mark.slow)])
def test_values_and_gradients_are_those_of_e3nn(degree, generator):
    vectors = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    weights = torch.randn(20, 2 * degree + 1, generator=generator, dtype=torch.float64)
    results = []
    for evaluate in (
        lambda v: found.direct_harmonics(degree, v),
        lambda v: o3.spherical_harmonics(degree, v, False, "integral"),
    ):
        inputs = vectors.clone().requires_grad_(True)
        values = evaluate(inputs)
        (gradient,) = torch.autograd.grad((values * weights).sum(), inputs)
        results.append((values.detach(), gradient))
    for ours, theirs in zip(*results, strict=True):
        size = max(float(theirs.abs().max()), 1.0)
        assert float((ours - theirs).abs().max()) < 1e-11 * size


def test_recursion_and_polynomials_agree(generator):
    unit = torch.nn.functional.normalize(
        torch.randn(20, 3, generator=generator, dtype=torch.float64), dim=-1
    )
    for degree in (1, 3, 5):
        torch.testing.assert_close(
            found.direct_harmonics(degree, unit),
            found.recursive_harmonics(degree, unit),
            rtol=0,
            atol=1e-12,
        )


def test_polynomials_are_orthonormal():
    """By exact quadrature on the sphere, degrees 0 to 3."""
    count = 12
    z, wz = np.polynomial.legendre.leggauss(count)
    phi = 2.0 * np.pi * np.arange(2 * count) / (2 * count)
    y, phi = np.meshgrid(z, phi, indexing="ij")
    weights = torch.as_tensor(np.repeat(wz, 2 * count) * np.pi / count)
    radius = np.sqrt(1.0 - y**2)
    nodes = torch.as_tensor(
        np.stack([radius * np.sin(phi), y, radius * np.cos(phi)], -1).reshape(-1, 3)
    )
    values = torch.cat([found.direct_harmonics(l, nodes) for l in range(4)], dim=-1)
    overlap = torch.einsum("n,na,nb->ab", weights, values, values)
    torch.testing.assert_close(overlap, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-12)


def test_operations_are_counted():
    counts = [found.operation_counts(l) for l in (1, 2, 3, 4)]
    # three products with a constant
    assert counts[0].direct == 3
    for previous, one in pairwise(counts):
        assert one.direct < one.recursive < one.substituted
        assert one.substituted > 3 * previous.substituted
    assert "**" not in found.source_code(4)


def test_a_negative_degree_is_refused():
    with refused(key="degree"):
        found.polynomials(-1)
