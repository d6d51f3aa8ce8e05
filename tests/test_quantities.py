# SPDX-License-Identifier: MIT
"""Typed quantities."""

import pytest

from eqcalc import quantities as q
from eqcalc.units import UnitError
from eqcalc.validation import InvalidInputError


def test_parity_is_that_of_the_rank():
    for quantity in q.known_quantities().values():
        assert quantity.parity == (-1) ** quantity.rank


def test_a_force_in_an_energy_unit_is_refused():
    with pytest.raises(UnitError, match="forces"):
        q.FORCES.factor_from("kcal/mol")


def test_polarizability_accepts_volumes():
    assert q.POLARIZABILITY.factor_from("bohr^3") == pytest.approx(1.0 / 97.17362355, rel=1e-8)


def test_unknown_quantity_lists_the_known():
    with pytest.raises(InvalidInputError) as caught:
        q.quantity("polarisability")
    assert caught.value.suggestion == "polarizability"


def test_order_is_fixed():
    assert q.ordered(["dipole", "energy", "dipole"]) == ("energy", "dipole")


def test_scalars_of_qm9_are_read_in_the_units_of_qm9():
    assert q.quantity("heat_capacity").factor_from("cal/mol/K") == pytest.approx(
        4.184 / 96485.33212, rel=1e-6
    )
    assert q.quantity("homo_lumo_gap").factor_from("hartree") == pytest.approx(27.2113862, rel=1e-6)
    assert q.quantity("electronic_spatial_extent").factor_from("bohr^2") == pytest.approx(
        0.52917721**2, rel=1e-6
    )
    assert not q.quantity("homo_energy").extensive
