# SPDX-License-Identifier: MIT
import sys

import ase
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.labelling import PySCF, method_named
from eqcalc.labelling.dft import _finite_field
from eqcalc.units import convert
from eqcalc.validation import InvalidInputError, MissingExtraError
from tests.errors import refused

pyscf = pytest.importorskip("pyscf")


@pytest.fixture(scope="module")
def water():
    atoms = molecule("H2O")
    atoms.rotate(40.0, (1, 1, 0))
    atoms.positions[1, 0] += 0.03
    return atoms


@pytest.fixture(scope="module")
def method():
    return PySCF(basis="def2-SVP", energy_tolerance=1e-11)


@pytest.fixture(scope="module")
def labels(water, method):
    return method.label(water)


def test_forces_are_the_gradient(water, method, labels):
    step = 5e-4
    energies = []
    for sign in (1, -1):
        moved = water.copy()
        moved.positions[0, 1] += sign * step
        energies.append(method.label(moved, ("energy",))["energy"])
    slope = (energies[0] - energies[1]) / (2 * step)
    assert labels["forces"][0, 1] == pytest.approx(-slope, abs=5e-5)
    # with the grid's own response forces sum to zero
    assert np.abs(labels["forces"].sum(axis=0)).max() < 1e-7


@pytest.mark.slow
def test_polarizability_is_the_derivative_of_the_dipole(water, method, labels):
    """A field along z enters the core Hamiltonian as +F·r for the electrons."""
    field = method._converged_field(water, 0.0)
    core = field.get_hcore()
    r = field.mol.intor_symmetric("int1e_r", comp=3)
    dipoles = []
    for sign in (1, -1):
        shifted = core + sign * 1e-3 * r[2]
        field.get_hcore = lambda *_, core=shifted: core
        field.kernel()
        dipoles.append(field.dip_moment(unit="AU", verbose=0))
    numerical = (dipoles[0] - dipoles[1]) / 2e-3
    np.testing.assert_allclose(
        _finite_field(method._converged_field(water, 0.0)),
        convert(labels["polarizability"], "e^2*Å^2/eV", "bohr^3"),
        atol=2e-3,
    )
    analytic = convert(labels["polarizability"], "e^2*Å^2/eV", "bohr^3")
    np.testing.assert_allclose(analytic[2], numerical, atol=2e-3)
    assert np.linalg.eigvalsh(analytic)[0] > 1.0


def test_dipole_of_water(labels):
    # experiment 1.855 D (Clough et al., J. Chem. Phys. 59, 2254 (1973)); DFT in a small
    # basis is about a tenth larger
    magnitude = convert(np.linalg.norm(labels["dipole"]), "e*Å", "debye")
    assert 1.8 < magnitude < 2.2


def test_open_shells_are_refused():
    radical = ase.Atoms("OH", [[0, 0, 0], [0, 0, 1]])
    triplet = molecule("O2")  # with its magnetic moments
    for atoms in (radical, triplet):
        with refused(key="unpaired_electrons", value=0.0):
            PySCF().label(atoms)


@pytest.mark.slow
def test_any_functional_and_basis(water):
    """Meta-GGA and range-separated hybrids differentiate as PBE0 does."""
    for functional in ("r2SCAN", "wB97X"):
        method = PySCF(functional, "sto-3g")
        assert method.level_of_theory == f"{functional}/sto-3g (density fitting)"
        labels = method.label(water)
        moved = [water.copy(), water.copy()]
        for sign, atoms in zip((1, -1), moved, strict=True):
            atoms.positions[0, 1] += sign * 1e-3
        high, low = (method.label(atoms, ("energy",))["energy"] for atoms in moved)
        assert labels["forces"][0, 1] == pytest.approx((low - high) / 2e-3, abs=2e-4)
        assert np.linalg.eigvalsh(labels["polarizability"])[2] > 0.0


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("functional", "PBEO", "PBE0"),
        ("functional", "wB97-XVV", "wB97X-V"),
        ("functional", "", None),
        ("basis", "def2-TZPV", "def2-TZVP"),
    ],
)
def test_misspelled_names_are_refused_before_any_work(key, wrong, right):
    with pytest.raises(InvalidInputError) as caught:
        PySCF(**{key: wrong})
    assert (caught.value.key, caught.value.value) == (key, wrong)
    assert caught.value.suggestion == right


@pytest.mark.filterwarnings("ignore:Basis may be available")
def test_a_basis_that_lacks_an_element_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        PySCF(basis="cc-pVDZ").label(ase.Atoms("IH", [[0, 0, 0], [0, 0, 1.6]]))
    assert caught.value.key == "basis" and caught.value.value == "cc-pVDZ"


def test_missing_pyscf_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyscf", None)
    with pytest.raises(MissingExtraError) as caught:
        PySCF()
    assert caught.value.key == "dft"


def test_functional_and_basis_are_part_of_the_name():
    assert method_named("dft:B3LYP/def2-SVP") == PySCF("B3LYP", "def2-SVP")
    assert method_named("dft:B3LYP") == PySCF("B3LYP")
    assert method_named("dft:B3LYP/def2-SVP", {"grid_level": 2}).grid_level == 2
