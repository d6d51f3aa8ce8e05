# SPDX-License-Identifier: MIT
"""Random numbers: the published generator, and what they may depend on."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from eqcalc.dynamics.noise import GaussianNoise, philox, replica_generator

# Known answers of philox4x32-10, from the file kat_vectors of Random123: counter, key, output.
PI = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0)
KNOWN = [
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (*PI, (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
]


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_answers_of_the_generator(counter, key, expected):
    found = philox([torch.tensor([word]) for word in counter], key)
    assert [int(word) for word in found] == list(expected)


def test_numbers_do_not_depend_on_how_many_are_drawn_at_once():
    noise = GaussianNoise(3, range(5), (2, 4, 3, 3))
    steps = torch.tensor([-3, 0, 7, 2**33, -(2**33)])
    drawn = noise.draw(steps)
    for step, numbers in zip(steps.tolist(), drawn, strict=True):
        torch.testing.assert_close(noise(step), numbers, rtol=0, atol=0)
    assert len({float(numbers[0, 0, 0, 0, 0]) for numbers in drawn}) == 5


def test_noise_is_a_function_of_seed_replica_and_step():
    a = GaussianNoise(1, [0, 1, 2], (1, 2, 3, 3))
    b = GaussianNoise(1, [2], (1, 2, 3, 3))
    for step in (-17, -1, 0, 5, 15, 16, 3, 1000):  # in any order
        torch.testing.assert_close(a(step)[2:], b(step), rtol=0, atol=0)
    assert (a(0) != a(1)).all()
    assert (a(0) != GaussianNoise(2, [0, 1, 2], (1, 2, 3, 3))(0)).all()
    assert (a(0)[0] != a(0)[1]).all()


def test_noise_is_standard_normal_and_uncorrelated():
    noise = GaussianNoise(9, range(20), (1, 2, 5, 3))
    x = torch.stack([noise(step) for step in range(-200, 200)]).flatten(1).numpy()
    assert stats.kstest(x.flatten(), "norm").pvalue > 1e-3
    lag = (x[:-1] * x[1:]).mean() * math.sqrt(x[1:].size)
    assert abs(lag) < 4.0
    start = replica_generator(9, 0, "initial conditions").standard_normal(30)
    assert not np.isin(start, x).any()
