# SPDX-License-Identifier: MIT
"""Facts as text and as a table."""

from eqcalc.facts import facts_table, joined_levels


def test_levels_of_theory_are_told_once_where_they_are_the_same():
    assert joined_levels(None) == joined_levels({}) == ""
    assert joined_levels("PBE0") == joined_levels({"energy": "PBE0", "dipole": "PBE0"}) == "PBE0"
    levels = {"energy": "PBE0", "forces": "PBE0", "dipole": "CCSD"}
    assert joined_levels(levels) == "energy, forces: PBE0; dipole: CCSD"


def test_what_a_file_says_is_text_in_a_table():
    assert "&lt;b&gt;" in facts_table("a", {"level of theory": "<b>"})
