# SPDX-License-Identifier: MIT
"""Facts as text and as a table."""

import math
from dataclasses import replace

import numpy as np

from eqcalc.facts import facts_table, joined_levels, jsonable, with_bracketed_error, with_error
from eqcalc.spectra import Spectrum


def test_levels_of_theory_are_told_once_where_they_are_the_same():
    assert joined_levels(None) == joined_levels({}) == ""
    assert joined_levels("PBE0") == joined_levels({"energy": "PBE0", "dipole": "PBE0"}) == "PBE0"
    levels = {"energy": "PBE0", "forces": "PBE0", "dipole": "CCSD"}
    assert joined_levels(levels) == "energy, forces: PBE0; dipole: CCSD"


def test_what_a_file_says_is_text_in_a_table():
    assert "&lt;b&gt;" in facts_table("a", {"level of theory": "<b>"})


def test_unknown_numbers_and_errors_are_not_told():
    assert (with_error(12.34, 0.5), with_error(12.34, math.nan)) == ("12.3 ± 0.5", "12.3")
    assert with_error(math.nan, math.nan) == with_bracketed_error(math.nan, math.nan) == "–"
    assert with_bracketed_error(2.0, 0.25, "+.2f") == "+2.00 (0.25)"
    assert jsonable([1, math.nan]) == [1.0, None]


def test_results_with_arrays_are_compared_by_value():
    x = np.array([1000.0, 1002.0, 1004.0])
    values = np.array([1.0, np.nan, 2.0])
    first = Spectrum(x, values, "1", label="a", provenance={"cell": np.eye(3)})
    same = replace(first, values=first.values.copy(), provenance={"cell": np.eye(3)})
    assert first == same
    for change in (
        {"values": np.array([1.0, np.nan, 3.0])},
        {"unit": "2"},
        {"provenance": {"cell": 2.0 * np.eye(3)}},
        {"provenance": {}},
    ):
        assert first != replace(first, **change)
    assert first != 1
    assert first in [1, same]
