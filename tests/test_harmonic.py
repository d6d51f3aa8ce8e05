# SPDX-License-Identifier: MIT
"""Relaxation and the double-harmonic spectrum of a model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.vibrations import Infrared

from eqcalc.ase_batch import run_together
from eqcalc.calculator import EqCalculator
from eqcalc.demo import ethanol_conformers
from eqcalc.harmonic import (
    RelaxationError,
    harmonic_notes,
    harmonic_spectrum,
    relax,
    write_harmonic,
)
from eqcalc.models.checkpoint import load_model, shipped_model
from eqcalc.units import conversion_factor
from tests.errors import refused


@pytest.fixture(scope="module")
def potential():
    return load_model(shipped_model("ethanol"), dtype=torch.float64)


@pytest.fixture(scope="module")
def conformers(potential):
    return ethanol_conformers(potential)


@pytest.fixture(scope="module")
def harmonic(potential, conformers):
    return harmonic_spectrum(potential, conformers["trans"])


@pytest.mark.slow
def test_relaxation_reaches_a_minimum(potential, conformers):
    for atoms in conformers.values():
        assert np.abs(atoms.get_forces()).max() <= 1e-6
        modes = harmonic_spectrum(potential, atoms).wavenumber
        assert len(modes) == 21
        assert modes.min() > 100.0


def test_mirror_images_have_the_same_spectrum(potential, conformers):
    one, other = (
        harmonic_spectrum(potential, conformers[name]) for name in ("gauche", "gauche-mirror")
    )
    np.testing.assert_allclose(one.wavenumber, other.wavenumber, atol=1e-3)
    np.testing.assert_allclose(one.infrared_intensity, other.infrared_intensity, rtol=1e-4)
    np.testing.assert_allclose(one.raman_activity, other.raman_activity, rtol=1e-4)


@pytest.mark.parametrize("conformer", ["trans", "gauche"])
def test_infrared_of_ase_agrees(potential, conformers, tmp_path, conformer):
    """Every band of ASE's finite differences, within 0.1 cm⁻¹ and 1 %, the weak ones too."""
    atoms = conformers[conformer].copy()
    harmonic = harmonic_spectrum(potential, atoms)
    atoms.calc = EqCalculator(potential)
    infrared = Infrared(atoms, name=str(tmp_path / "ir"), delta=1e-3, nfree=2)
    infrared.run()
    wavenumbers = infrared.get_frequencies().real[6:]
    # ASE gives (D/Å)²/amu
    intensities = infrared.intensities[6:] * 42.2560615
    np.testing.assert_allclose(wavenumbers, harmonic.wavenumber, atol=0.1)
    np.testing.assert_allclose(intensities, harmonic.infrared_intensity, rtol=0.01)


def test_deuteration_lowers_the_stretches(potential, conformers, harmonic):
    masses = conformers["trans"].get_masses()
    masses[masses < 1.5] = 2.014
    heavy = harmonic_spectrum(potential, conformers["trans"], masses=masses)
    ratio = heavy.wavenumber[-1] / harmonic.wavenumber[-1]
    reduced = np.sqrt(1.008 * (2.014 + 15.999) / (2.014 * (1.008 + 15.999)))
    assert ratio == pytest.approx(reduced, abs=0.01)


def test_harmonic_analysis_of_a_strained_structure_is_refused(potential, conformers):
    strained = conformers["trans"].copy()
    strained.positions[0] += 0.2
    with pytest.raises(RelaxationError, match="relax"):
        harmonic_spectrum(potential, strained)


def test_one_atom_has_no_vibrations(potential):
    with refused(key="atoms", value=1):
        harmonic_spectrum(potential, Atoms("C"))


def test_the_model_is_not_changed(conformers):
    single = load_model(shipped_model("ethanol"))
    assert single.dtype == torch.float32
    relax(single, conformers["trans"])
    assert single.dtype == torch.float32


def test_zero_point_energy_is_that_of_ethanol(harmonic):
    # harmonic zero-point energies of ethanol lie near 0.080 Hartree at any level of theory
    energy = 0.5 * harmonic.wavenumber.sum() * units.invcm / units.Hartree
    assert 0.075 < energy < 0.085


def test_a_molecule_in_pieces_and_a_saddle_point_are_told(harmonic):
    assert harmonic_notes(harmonic) == []
    values = harmonic.eigenvalues.copy()
    scale = values[-1] / harmonic.wavenumber[-1] ** 2
    values[:3] = scale * np.array([-(120.0**2), 0.01**2, 3.0**2])
    saddle, pieces = harmonic_notes(replace(harmonic, eigenvalues=values))
    assert saddle.startswith("1 imaginary wavenumber: the structure is a saddle point")
    assert pieces.startswith("2 wavenumbers of at most 5 cm⁻¹: the structure is in pieces")


@pytest.mark.parametrize("work", [relax, harmonic_spectrum])
def test_constraints_are_refused(potential, conformers, work):
    held = conformers["trans"].copy()
    held.set_constraint(FixAtoms([0, 1, 2]))
    with refused(key="atoms.constraints", value="FixAtoms(indices=[0, 1, 2])"):
        work(potential, held)


@pytest.mark.slow
def test_scripts_of_ase_obey_constraints(potential, conformers):
    """A batch of relaxations: what is fixed stays, the calculator still knows all forces."""
    held = [conformers["trans"].copy(), conformers["gauche"].copy()]
    for atoms in held:
        atoms.rattle(0.03, seed=1)
    held[1].set_constraint(FixAtoms([0, 1, 2]))
    before = [atoms.positions.copy() for atoms in held]
    run_together(potential, held, lambda atoms: BFGS(atoms, logfile=None).run(0.05))
    moved = [np.abs(a.positions - x)[:3].max() for a, x in zip(held, before, strict=True)]
    assert moved[0] > 0.01 and moved[1] == 0.0
    assert np.abs(held[1].get_forces(apply_constraint=False)[:3]).max() > 0.1


def test_reference_of_another_program(potential, conformers, harmonic, tmp_path):
    """Force constants of the model itself, in the layout of ORCA, for deuterated ethanol."""
    atoms = conformers["trans"]
    bohr, size = conversion_factor("bohr", "Å"), 3 * len(atoms)
    matrix = harmonic.hessian() / conversion_factor("hartree/bohr^2", "eV/Å^2")
    masses = np.where(atoms.numbers == 1, 2.014, atoms.get_masses())
    rows = zip(atoms.symbols, masses, atoms.positions[:, [1, 2, 0]] / bohr, strict=True)
    turned = np.concatenate([3 * k + np.array([1, 2, 0]) for k in range(len(atoms))])
    lines = ["$orca_hessian_file", "$atoms", str(len(atoms))]
    lines += [f"{s} {m:.5f} {x:.10f} {y:.10f} {z:.10f}" for s, m, (x, y, z) in rows]
    lines += ["$hessian", str(size), " ".join(map(str, range(size)))]
    for i, row in enumerate(matrix[np.ix_(turned, turned)]):
        lines.append(f"{i} " + " ".join(f"{x:.10f}" for x in row))
    reference = tmp_path / "ethanol.hess"
    reference.write_text("\n".join([*lines, "$end"]))
    target = tmp_path / "found.json"
    told = write_harmonic(
        atoms, shipped_model("ethanol"), relaxed=False, reference=reference, output=target
    )
    assert told.count("mode ") >= 2
    found = json.loads(target.read_text())
    np.testing.assert_allclose(
        found["reference"]["wavenumber_cm-1"], found["wavenumber_cm-1"], atol=1e-3
    )
    assert max(found["wavenumber_cm-1"]) < 3000.0
    np.testing.assert_allclose(found["reference"]["overlap"], 1.0, atol=1e-6)
    with refused(key="reference"):
        write_harmonic(atoms[[0, 1, 2]], shipped_model("ethanol"), reference=reference)
