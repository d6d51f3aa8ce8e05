# SPDX-License-Identifier: MIT
from dataclasses import replace

import ase
import numpy as np
import pytest
from ase.build import molecule

from eqcalc.datasets import Record
from eqcalc.labelling import (
    GFN2,
    ConvergenceError,
    SamplingError,
    SamplingPlan,
    conformational_bonds,
    conformers,
    distinct,
    finite_difference_modes,
    langevin,
    relax,
    rotatable_bonds,
    rotate,
    sample,
)
from eqcalc.molecules import bonds
from eqcalc.prediction import molecule_from
from eqcalc.units import BOLTZMANN
from eqcalc.validation import InvalidInputError

SAMPLER = GFN2(accuracy=1.0)
QUICK = replace(SamplingPlan.default(), equilibration=20.0, interval=2.0)


class Flat:
    """An energy that is the same everywhere, but tells structures apart."""

    level_of_theory = "flat"

    def label(self, atoms, quantities=None):
        del quantities
        size = float(np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0)))
        return {"energy": np.asarray(1e-2 * size), "forces": np.zeros((len(atoms), 3))}


@pytest.fixture(scope="module")
def ethanol():
    return conformers(molecule("CH3CH2OH"), SAMPLER)


def test_rotatable_bonds():
    assert rotatable_bonds(molecule("CH3CH2OH")) == [(0, 1), (1, 2)]
    assert rotatable_bonds(molecule("C6H6")) == []
    assert rotatable_bonds(molecule("H2O")) == []
    assert len(rotatable_bonds(molecule("CH3CONH2"))) == 2  # methyl and amide


@pytest.mark.parametrize(
    ("name", "n"),
    [
        ("CH3CH2OH", 1),  # not methyl
        ("CH3CONH2", 1),
        ("CH3CN", 0),
        ("2-butyne", 0),
        ("trans-butane", 1),
        ("C3H4_D2d", 0),  # allene
        ("C2H4", 0),
        ("butadiene", 1),  # not its double bonds
        ("H2O2", 1),
    ],
)
def test_bonds_whose_turns_make_conformers(name, n):
    assert len(conformational_bonds(molecule(name))) == n


def test_a_linear_chain_turns_once():
    chain = ("HOCCOH", [[0.5, 0.8, 0], [0, 0, 0], [1.3, 0, 0], [2.5, 0, 0], [3.8, 0, 0]])
    atoms = ase.Atoms(chain[0], [*chain[1], [4.3, 0.8, 0.0]])
    assert len(conformational_bonds(atoms)) == 1


def test_rotation_turns_one_side_only():
    atoms = molecule("CH3CH2OH")
    turned = rotate(atoms, (1, 2), 120.0)
    moved = np.abs(turned.positions - atoms.positions).max(axis=1) > 1e-6
    assert set(atoms.symbols[moved]) <= {"C", "O", "H"} and 0 < moved.sum() < 9
    lengths = [a.get_distance(1, 2) for a in (atoms, turned)]
    assert lengths[0] == pytest.approx(lengths[1])
    there_and_back = rotate(turned, (1, 2), -120.0)
    np.testing.assert_allclose(there_and_back.positions, atoms.positions, atol=1e-12)
    with pytest.raises(InvalidInputError) as caught:
        rotate(molecule("C6H6"), (0, 1), 10.0)
    assert caught.value.key == "bond"


def test_ethanol_has_two_conformers(ethanol):
    """Anti and gauche: the gauche forms are mirror images of each other."""
    assert len(ethanol) == 2
    angles = []
    for atoms in ethanol:
        hydroxyl = next(
            h for h in np.flatnonzero(atoms.numbers == 1) if atoms.get_distance(2, h) < 1.1
        )
        angles.append(abs(180.0 - atoms.get_dihedral(0, 1, 2, hydroxyl)))
    anti, gauche = sorted(angles)
    assert anti == pytest.approx(0.0, abs=1.0)
    assert gauche == pytest.approx(120.0, abs=10.0)
    for atoms in ethanol:
        assert np.abs(SAMPLER.label(atoms, ("forces",))["forces"]).max() < 2e-3


def test_groups_that_clash_make_no_conformer():
    """Two turns of aspirin put atoms upon each other, which closes rings; forces are none here."""
    pytest.importorskip("rdkit")
    aspirin = molecule_from("aspirin")
    found = conformers(aspirin, Flat())
    assert len(found) > 8
    connected = {tuple(pair) for pair in bonds(aspirin).tolist()}
    for atoms in found:
        assert {tuple(pair) for pair in bonds(atoms).tolist()} == connected


def test_many_conformers_need_random_numbers():
    with pytest.raises(InvalidInputError, match="pass rng"):
        conformers(molecule("CH3CH2OH"), SAMPLER, max_trials=2)


@pytest.mark.slow
def test_langevin_is_thermal():
    """Equipartition: the potential energy of one harmonic bond is kT/2 on average."""

    class Bond:
        def label(self, atoms, quantities=None):
            bond = atoms.positions[1] - atoms.positions[0]
            length = np.linalg.norm(bond)
            pull = 10.0 * (length - 1.0) * bond / length
            return {
                "energy": np.asarray(5.0 * (length - 1.0) ** 2),
                "forces": np.stack([pull, -pull]),
            }

    frames = langevin(
        ase.Atoms("H2", [[0, 0, 0], [0, 0, 1.0]]),
        Bond(),
        300.0,
        1500,
        np.random.default_rng(0),
        friction=0.1,
        interval=5.0,
        timestep=1.0,
    )
    energies = np.array([float(Bond().label(atoms)["energy"]) for atoms in frames])
    blocks = energies.reshape(15, 100).mean(axis=1)
    error = blocks.std(ddof=1) / np.sqrt(15)
    # the Jacobian r² of a diatomic moves the mean by about 2 %
    assert abs(energies.mean() - 0.5 * BOLTZMANN * 300.0) < 4 * error + 0.03 * energies.mean()
    assert error < 0.2 * energies.mean()


@pytest.mark.slow
def test_sample_of_ethanol(ethanol):
    records = sample(ethanol, SAMPLER, 60, np.random.default_rng(0), QUICK)
    assert len(records) == 60
    sources = [record.source for record in records]
    shares = {name: sources.count(name) for name in set(sources)}
    assert shares["Langevin dynamics 300 K"] == 9 and shares["ring-polymer bead 500 K"] == 6
    assert len(shares) == 9
    assert sources != sorted(sources)
    for record in records:
        np.testing.assert_array_equal(record.numbers, ethanol[0].numbers)
        masses = record.atoms().get_masses()
        np.testing.assert_allclose(masses @ record.positions, 0.0, atol=1e-9)
    lowest = float(SAMPLER.label(ethanol[0])["energy"])
    energies = {
        name: np.mean(
            [
                float(SAMPLER.label(r.atoms())["energy"]) - lowest
                for r in records
                if r.source == name
            ]
        )
        for name in shares
    }
    # zero-point motion: about half of 2.2 eV is potential energy; classical dynamics
    # at 300 K holds 21/2 kT = 0.27 eV at most
    assert energies["Langevin dynamics 300 K"] < 0.4
    assert 0.7 < energies["Wigner displacement 300 K"] < 1.7
    assert 0.6 < energies["ring-polymer bead 300 K"] < 1.7


@pytest.mark.slow
def test_seed_decides_and_processes_do_not():
    water = molecule("H2O")
    plan = SamplingPlan(
        classical={},
        wigner={300.0: 2.0},
        torsional_wigner={300.0: 1.0},
        ring_polymer={},
        minimum_distance=1e-4,
    )
    runs = [
        sample(water, SAMPLER, 700, np.random.default_rng(seed), plan, processes=processes)
        for seed, processes in ((0, 1), (0, 2), (1, 1))
    ]
    assert all(record.source == "Wigner displacement 300 K" for record in runs[0])
    same, parallel, other = (np.stack([r.positions for r in run]) for run in runs)
    np.testing.assert_array_equal(same, parallel)
    assert not np.array_equal(same, other)


def test_failures_of_the_method_are_drawn_anew():
    class Moody(GFN2):
        """Fails at one geometry in two hundred."""

        def label(self, atoms, quantities=None):
            if 1 <= atoms.positions[0, 0] * 1e6 % 200 < 2:
                raise ConvergenceError("not today")
            return super().label(atoms, quantities)

    method = Moody(accuracy=1.0)
    start = conformers(molecule("H2O"), SAMPLER)
    records = sample(start, method, 40, np.random.default_rng(1), QUICK)
    assert len(records) == 40
    with pytest.raises(ConvergenceError):
        list(langevin(start[0], method, 300.0, 300, np.random.default_rng(0), equilibration=0.0))


def test_distinct_keeps_the_first():
    rng = np.random.default_rng(0)
    positions = rng.normal(size=(20, 4, 3)) * 3
    positions[7] = positions[2] + 1e-4
    positions[9] = -positions[2] + 5.0
    records = [Record(np.array([1, 6, 7, 8]), p) for p in positions]
    kept = distinct(records, 0.01)
    assert [id(r) for r in kept] == [id(r) for i, r in enumerate(records) if i not in {7, 9}]


def test_impossible_plans():
    water = molecule("H2O")
    empty = SamplingPlan(classical={}, wigner={}, torsional_wigner={}, ring_polymer={})
    with pytest.raises(InvalidInputError) as caught:
        sample(water, SAMPLER, 10, np.random.default_rng(0), empty)
    assert caught.value.key == "plan"
    narrow = SamplingPlan(
        classical={}, wigner={300.0: 1.0}, torsional_wigner={}, ring_polymer={}, maximum_energy=1e-6
    )
    with pytest.raises(SamplingError) as short:
        sample(water, SAMPLER, 10, np.random.default_rng(0), narrow)
    assert list(short.value.missing) == ["Wigner displacement 300 K"]
    with pytest.raises(InvalidInputError) as mixed:
        sample([molecule("H2O"), molecule("NH3")], SAMPLER, 10, np.random.default_rng(0))
    assert mixed.value.key == "molecule"


@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2"])
def test_linear_molecules_bend_both_ways(name):
    """Rattled and relaxed, they are bent by 1e-6 to 1e-4 Å, and still have 3N − 5 modes."""
    atoms = molecule(name)
    atoms.rattle(0.02, seed=1)
    relaxed = relax(atoms, GFN2())
    modes = finite_difference_modes(relaxed, GFN2())
    assert len(modes) == 3 * len(atoms) - 5 and modes.linear
    np.testing.assert_allclose(modes.wavenumber[0], modes.wavenumber[1], rtol=0.01)
    plan = SamplingPlan({}, {300.0: 1.0}, {}, {}, minimum_distance=1e-4)
    records = sample([atoms], SAMPLER, 200, np.random.default_rng(0), plan)
    axis = np.linalg.svd(relaxed.positions - relaxed.positions.mean(axis=0))[2]
    shifts = np.stack([record.positions @ axis.T for record in records])
    across = np.sqrt(np.mean(shifts[..., 1:] ** 2, axis=(0, 1)))
    assert across.min() > 0.8 * across.max() > 0.0


def test_a_snapshot_of_a_linear_molecule_does_not_tell_that_it_is():
    bent = relax(molecule("CO2"), SAMPLER)
    bent.positions[0, 0] += 0.05
    assert len(finite_difference_modes(bent, SAMPLER)) == 3
    assert len(finite_difference_modes(bent, SAMPLER, linear=True)) == 4
