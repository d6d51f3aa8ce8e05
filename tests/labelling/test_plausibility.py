# SPDX-License-Identifier: MIT
from pathlib import Path

import numpy as np
import pytest

from eqcalc.datasets import Dataset, convert
from eqcalc.labelling import GFN2, compare_with_method

EXCERPTS = Path(__file__).parents[1] / "datasets" / "excerpts"
ETHANOL = Path(__file__).parents[2] / "data" / "ethanol" / "pbe0-def2tzvp.h5"


@pytest.mark.parametrize(("name", "right"), [("ccsdt_avtz", True), ("B3LYP_cc-pVDZ", False)])
def test_dipoles_of_formaldehyde(tmp_path, name, right):
    """One of two published files holds dipoles too small by 2.54."""
    convert(
        EXCERPTS / f"h2co_{name}.npz",
        tmp_path / "a.h5",
        level_of_theory=name,
        keys={"dipole": "D", "charge": "Q"},
        units={"positions": "Å", "energy": "eV", "forces": "eV/Å", "dipole": "e*Å"},
        progress=False,
    )
    dataset = Dataset.open(tmp_path / "a.h5")
    found = compare_with_method(dataset, GFN2(), "dipole", np.random.default_rng(0))
    assert found.conclusive and found.ok == right
    assert ("factor of debye" in str(found)) != right
    assert compare_with_method(dataset, GFN2(), "forces", np.random.default_rng(0)).ok


def test_shipped_ethanol():
    dataset = Dataset.open(ETHANOL)
    for name in ("forces", "dipole"):
        found = compare_with_method(dataset, GFN2(), name, np.random.default_rng(0))
        assert found.conclusive and found.ok
    with pytest.raises(ValueError, match="origin of energy"):
        compare_with_method(dataset, GFN2(), "energy", np.random.default_rng(0))
    with pytest.raises(ValueError, match="has no stress"):
        compare_with_method(dataset, GFN2(), "stress", np.random.default_rng(0))
