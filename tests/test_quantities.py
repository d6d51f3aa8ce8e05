# SPDX-License-Identifier: MIT
"""Typed quantities."""

import pytest

from eqcalc import quantities as q
from eqcalc.units import UnitError


def test_parity_is_that_of_the_rank():
    for quantity in q.QUANTITIES.values():
        assert quantity.parity == (-1) ** quantity.rank


def test_a_force_in_an_energy_unit_is_refused():
    with pytest.raises(UnitError, match="forces"):
        q.FORCES.factor_from("kcal/mol")


def test_polarizability_accepts_volumes():
    assert q.POLARIZABILITY.factor_from("bohr^3") == pytest.approx(1.0 / 97.17362355, rel=1e-8)


def test_unknown_quantity_lists_the_known():
    with pytest.raises(KeyError, match="polarizability"):
        q.quantity("polarisability")


def test_order_is_fixed():
    assert q.ordered(["dipole", "energy", "dipole"]) == ("energy", "dipole")
