# SPDX-License-Identifier: MIT
import pickle

import ase
import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from tblite.ase import TBLite

from eqcalc import EqCalculator, shipped_model
from eqcalc.labelling import (
    GFN2,
    CalculatorMethod,
    ConvergenceError,
    UnavailableQuantityError,
    label,
    method_named,
)
from eqcalc.validation import InvalidInputError
from tests.errors import refused

TBLITE = "ase:tblite.ase.TBLite"


def ammonium():
    atoms = molecule("NH3")
    atoms += ase.Atom("H", (0.0, 0.0, 1.2))
    atoms.info["charge"] = 1.0
    return atoms


def test_a_calculator_as_it_is(tmp_path):
    """tblite's own calculator gives what eqcalc's use of tblite gives."""
    options = {"method": "GFN2-xTB", "accuracy": 1e-3, "verbosity": 0}
    method = method_named(TBLITE, options)
    assert method.quantities == ("energy", "forces", "dipole")
    assert method.version.startswith("tblite ")
    water = molecule("H2O")
    water.translate([3.0, 0.0, 0.0])
    dataset = label([water], method, tmp_path / "a.h5", progress=False).dataset
    for name, value in GFN2().label(water).items():
        np.testing.assert_allclose(dataset[0].labels[name], value, atol=1e-5)
    assert dataset.level_of_theory == "TBLite(method=GFN2-xTB, accuracy=0.001, verbosity=0)"
    assert dataset.provenance["method_settings"]["calculator"] == "tblite.ase.TBLite"


def test_the_charge_is_handed_over_as_a_parameter():
    method = method_named(TBLITE, {"accuracy": 1e-3, "verbosity": 0})
    ion = ammonium()
    ion.translate([4.0, 0.0, 0.0])  # the dipole is about the centre of mass
    for name, value in GFN2().label(ion).items():
        np.testing.assert_allclose(method.label(ion)[name], value, atol=1e-5)
    neutral = method.label(molecule("H2O"))["energy"]
    assert neutral == pytest.approx(float(GFN2().label(molecule("H2O"))["energy"]), abs=1e-5)


def test_a_charge_that_is_an_option_is_that_of_the_molecule():
    method = method_named(TBLITE, {"charge": 1, "verbosity": 0})
    method.label(ammonium(), ("energy",))
    with pytest.raises(InvalidInputError) as caught:
        method.label(molecule("H2O"), ("energy",))
    assert caught.value.value == 0.0 and caught.value.key.startswith("charge")


def test_the_spin_is_handed_over():
    """Open shells between closed ones, and a multiplicity that the user has set."""
    method = method_named(TBLITE, {"accuracy": 1e-3, "verbosity": 0})
    methyl, oxygen = ase.Atoms("CH3", molecule("CH3").positions), molecule("O2")
    water = method.label(molecule("H2O"), ("energy",))["energy"]
    for atoms in (methyl, oxygen):
        mine = GFN2().label(atoms, ("energy",))["energy"]
        assert method.label(atoms, ("energy",))["energy"] == pytest.approx(float(mine), abs=1e-5)
    assert method.label(molecule("H2O"), ("energy",))["energy"] == water
    for chosen in (
        method_named(TBLITE, {"multiplicity": 1}),
        CalculatorMethod(TBLite(multiplicity=1)),
    ):
        with refused(key="unpaired_electrons", value=0.0):
            chosen.label(methyl, ("energy",))


def test_a_charge_that_nothing_depends_on_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        method_named("ase:ase.calculators.emt.EMT").label(ammonium())
    assert caught.value.value == 1.0 and caught.value.key == "charge of NH4"


class Born(Calculator):
    """Reads the charge from the atoms; its polarizability is a number."""

    implemented_properties = ["energy", "polarizability"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        charge = atoms.info.get("charge", 0.0)
        self.results = {"energy": -(charge**2), "polarizability": 2.0 * np.eye(3)}
        if len(atoms) == 1:
            raise RuntimeError("an atom")
        if len(atoms) == 2:
            self.results["polarizability"] = np.full((3, 3), np.nan)


def test_a_calculator_that_reads_the_charge_of_the_atoms():
    method = CalculatorMethod(Born())
    assert method.quantities == ("energy", "polarizability")
    labels = method.label(ammonium())
    assert labels["energy"] == -1.0
    np.testing.assert_array_equal(labels["polarizability"], 2.0 * np.eye(3))


def test_failures_are_of_the_geometry():
    method = CalculatorMethod(Born())
    for atoms in (ase.Atoms("H"), molecule("N2")):
        with pytest.raises(ConvergenceError):
            method.label(atoms)


def test_a_model_of_eqcalc_labels():
    """An instance is a method, too, with polarizabilities in its units."""
    calculator = EqCalculator(shipped_model("ethanol"))
    method = CalculatorMethod(calculator)
    assert {"energy", "forces", "dipole"} <= set(method.quantities)
    ethanol = molecule("CH3CH2OH")
    labels = method.label(ethanol, ("energy", "dipole"))
    assert labels["energy"] == pytest.approx(calculator.get_property("energy", ethanol), abs=1e-4)


def test_settings_survive_a_copy():
    method = method_named(TBLITE, {"accuracy": 0.5})
    copy = pickle.loads(pickle.dumps(method))
    assert copy == method and copy.settings() == method.settings()


def test_what_is_wrong_is_named():
    with pytest.raises(UnavailableQuantityError) as caught:
        CalculatorMethod(EMT()).label(molecule("H2O"), ("dipole",))
    assert caught.value.available == ("energy", "forces")
    with pytest.raises(InvalidInputError) as option:
        method_named(TBLITE, {"acuracy": 1.0})
    assert option.value.suggestion == "accuracy"
    for name in ("ase:EMT", "ase:ase.calculators.emt.NoEMT", "ase:nowhere.EMT"):
        with pytest.raises(InvalidInputError):
            method_named(name)
    with pytest.raises(InvalidInputError) as useless:
        CalculatorMethod(type("Nothing", (), {"implemented_properties": ["magmom"]})())
    assert useless.value.key == "method"
