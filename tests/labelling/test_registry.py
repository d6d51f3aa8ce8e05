# SPDX-License-Identifier: MIT
"""Methods from outside of the package: by place, by entry point, by quantity."""

import os
import sys
import textwrap

import numpy as np
import pytest
from ase.build import molecule
from ase.calculators.emt import EMT

from eqcalc.labelling import (
    GFN2,
    CalculatorMethod,
    CombinedMethod,
    UnavailableQuantityError,
    as_method,
    label,
    method_named,
)
from eqcalc.validation import InvalidInputError

MODULE = """
    from dataclasses import asdict, dataclass
    import numpy as np

    @dataclass(frozen=True)
    class Springs:
        constant: float = 1.0
        name = "springs"
        version = "own 1"
        level_of_theory = "Hooke"
        quantities = ("energy", "forces", "dipole")

        def settings(self):
            return asdict(self)

        def label(self, atoms, quantities=None):
            r = atoms.positions
            values = {
                "energy": 0.5 * self.constant * np.sum(r**2),
                "forces": -self.constant * r,
                "dipole": r.sum(axis=0),
            }
            return {name: np.asarray(values[name]) for name in quantities or self.quantities}

    class NoMethod:
        pass
"""


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A package that is installed beside eqcalc: a module, and the entry point of its class."""
    (tmp_path / "own_method.py").write_text(textwrap.dedent(MODULE))
    announced = tmp_path / "own_method-1.dist-info"
    announced.mkdir()
    (announced / "METADATA").write_text("Metadata-Version: 2.1\nName: own-method\nVersion: 1\n")
    (announced / "entry_points.txt").write_text(
        "[eqcalc.labelling]\nsprings = own_method:Springs\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("own_method", None)


@pytest.mark.parametrize("name", ["own_method:Springs", "springs"])
def test_a_method_from_outside(outside, name):
    assert method_named(name, {"constant": 3.0}).constant == 3.0
    target = outside / "labels.h5"
    dataset = label([molecule("H2O")], name, target, processes=1, progress=False).dataset
    assert dataset.level_of_theory == "Hooke" and dataset.quantities[-1] == "dipole"
    np.testing.assert_allclose(dataset[0].labels["forces"], -dataset[0].positions)
    assert dataset.provenance["method_version"] == "own 1"


@pytest.mark.slow
def test_it_is_sent_to_other_processes(outside, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(outside), *sys.path]))
    given = [molecule("H2O"), molecule("NH3"), molecule("CH4")]
    report = label(given, "springs", outside / "a.h5", processes=2, progress=False)
    assert len(report.dataset) == 3


def test_what_is_wrong_is_named(outside):
    with pytest.raises(InvalidInputError) as unknown:
        method_named("spring")
    assert unknown.value.suggestion == "springs"
    with pytest.raises(InvalidInputError) as missing:
        method_named("no_such_module:Method")
    assert "ModuleNotFoundError" in missing.value.problem
    with pytest.raises(InvalidInputError) as absent:
        method_named("own_method:Spring")
    assert absent.value.value == "own_method:Spring"
    with pytest.raises(InvalidInputError) as option:
        method_named("springs", {"constnat": 2.0})
    assert option.value.suggestion == "constant" and option.value.value == 2.0
    with pytest.raises(InvalidInputError) as incomplete:
        method_named("own_method:NoMethod")
    assert "level_of_theory" in incomplete.value.problem


def test_ways_to_give_a_method():
    assert method_named("gfn2", {"accuracy": 1.0}) == GFN2(accuracy=1.0)
    assert as_method(GFN2()) == GFN2()
    assert isinstance(as_method(EMT()), CalculatorMethod)
    assert isinstance(method_named("ase:ase.calculators.emt.EMT"), CalculatorMethod)
    both = as_method({"energy,forces": "gfn2", "dipole": GFN2(accuracy=1.0)})
    assert isinstance(both, CombinedMethod) and both.quantities == ("energy", "forces", "dipole")
    with pytest.raises(InvalidInputError):
        as_method(object())
    with pytest.raises(InvalidInputError) as caught:
        as_method({"dipol": "gfn2"})
    assert caught.value.suggestion == "dipole"


def test_energy_and_forces_belong_together():
    loose = GFN2(accuracy=1.0)
    with pytest.raises(InvalidInputError) as separate:
        as_method({"energy": GFN2(), "forces": loose})
    assert separate.value.key == "forces"
    with pytest.raises(InvalidInputError) as twice:
        as_method({"energy,dipole": GFN2(), "dipole": loose})
    assert twice.value.key == "dipole"
    with pytest.raises(UnavailableQuantityError) as stress:
        as_method({"energy,stress": GFN2()})
    assert stress.value.unavailable == ("stress",)
