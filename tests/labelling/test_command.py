# SPDX-License-Identifier: MIT
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.labelling import GFN2, PySCF
from eqcalc.labelling.command import label_molecule, label_structures, method_named


def test_methods_have_names():
    assert method_named("gfn2") == GFN2()
    assert method_named("gfn2", ["dipole", "energy"]) == GFN2(("energy", "dipole"))
    assert isinstance(method_named("pbe0"), PySCF)
    with pytest.raises(ValueError, match="unknown method 'am1'; known: gfn2, pbe0"):
        method_named("am1")


def test_structures_are_labelled_as_given(tmp_path):
    ion = molecule("NH3")
    ion += molecule("H2O")[1]
    ion.positions[-1] = [0.0, 0.0, 1.2]
    ion.info["charge"] = 1.0
    given = [molecule("H2O"), ion, molecule("CH4")]
    dataset = label_structures(given, tmp_path / "a.h5", progress=False).dataset
    assert dataset.counts.tolist() == [3, 5, 5]
    assert [record.charge for record in dataset] == [0.0, 1.0, 0.0]
    np.testing.assert_array_equal(dataset[1].positions, ion.positions)
    assert dataset[1].labels["energy"] == GFN2().label(ion)["energy"]


def test_molecule_is_sampled(tmp_path):
    """Every default source takes part, from the conformer search on."""
    report = label_molecule(
        molecule("H2O"), tmp_path / "a.h5", n_geometries=12, seed=3, progress=False
    )
    assert len(report.dataset) == 12 and report.failed == {}
    assert {s.rsplit(" ", 2)[0] for s in report.dataset.sources} == {
        "Langevin dynamics",
        "Wigner displacement",
        "ring-polymer bead",
    }
    assert report.dataset.provenance["seed"] == 3
