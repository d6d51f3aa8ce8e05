# SPDX-License-Identifier: MIT
"""The checks for models say what they need."""

import pytest

from eqcalc import testing
from eqcalc.structures import Structures

CHECKS = [name for name in vars(testing) if name.startswith("assert_")]


@pytest.mark.parametrize("name", CHECKS)
def test_a_model_in_float32_is_refused_where_rounding_hides_what_is_tested(
    name, potential, ethanol, generator
):
    structures = Structures.from_atoms(ethanol)
    check = getattr(testing, name)
    arguments = [potential.float(), structures]
    if "generator" in check.__code__.co_varnames[: check.__code__.co_argcount]:
        arguments.append(generator)
    with pytest.raises(ValueError, match=r"in float32, whose rounding .*potential\.double\(\)"):
        check(*arguments)


def test_a_tolerance_that_float32_can_meet_is_taken(potential, ethanol, generator):
    structures = Structures.from_atoms(ethanol)
    error = testing.assert_equivariant(potential.float(), structures, generator, tolerance=1e-3)
    assert 1e-10 < error < 1e-3
