# SPDX-License-Identifier: MIT
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.molecules import isotope_masses


@pytest.mark.parametrize("given", [{"H": 2.014, "3": 3.016}, {"3": 3.016, "H": 2.014}])
def test_an_atom_comes_before_its_element(given):
    masses = isotope_masses(molecule("CH3CH2OH"), given)
    assert masses[3] == 3.016
    assert masses[8] == 2.014
    assert masses[0] == pytest.approx(12.011)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"D": 2.014}, "'D' is neither an element of OH2"),
        ({"3": 2.014}, r"nor the index of an atom \(0 to 2\)"),
        ({"-1": 2.014}, "'-1' is neither"),
        ({"H": 0.0}, "positive mass in amu for 'H'"),
        ({"0": np.inf}, "positive mass in amu for '0'"),
    ],
)
def test_masses_that_make_no_sense_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        isotope_masses(molecule("H2O"), given)
