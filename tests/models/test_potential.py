# SPDX-License-Identifier: MIT
"""Symmetries, derivatives and sizes of the PaiNN potential."""

import pytest
import torch
from ase.build import bulk, molecule

from eqcalc import neighbors as pairs_module
from eqcalc import testing
from eqcalc.models import PaiNNConfig, Potential, PotentialConfig, References
from eqcalc.models.derivatives import property_derivative
from eqcalc.neighbors import Pairs, all_pairs, pairs_within
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

# published layout: representation 580,736, energy 8,321, dipole and polarizability 62,082 each
ENERGY_MODEL_PARAMETERS = 589_057
JOINT_MODEL_PARAMETERS = 713_221

SYMMETRY_CHECKS = [
    testing.assert_equivariant,
    testing.assert_translation_invariant,
    testing.assert_permutation_invariant,
    testing.assert_shift_law,
]


def count(potential):
    return sum(parameter.numel() for parameter in potential.parameters())


def batch_of_molecules(generator, *, charged=False):
    frames = [molecule(name) for name in ("CH3CH2OH", "H2O", "CO2", "CH3NO2", "C6H6")]
    batch = Structures.from_atoms(frames)
    noise = 0.05 * torch.randn(batch.n_atoms, 3, generator=generator, dtype=torch.float64)
    batch = batch.with_positions(batch.positions + noise)
    if not charged:
        return batch
    charge = torch.tensor([0.0, 1.0, -1.0, 2.0, 0.5], dtype=torch.float64)
    return Structures(**{**vars(batch), "charge": charge})


def test_parameter_counts_are_the_published_ones():
    references = References(elements=(1, 6, 8))
    energy = Potential(PotentialConfig(PaiNNConfig(), heads=("energy",)), references)
    assert count(energy) == ENERGY_MODEL_PARAMETERS
    assert count(Potential(PotentialConfig(PaiNNConfig()), references)) == JOINT_MODEL_PARAMETERS


@pytest.mark.parametrize("basis", ["sinc", "gaussian"])
@pytest.mark.parametrize("check", SYMMETRY_CHECKS, ids=lambda check: check.__name__[7:])
def test_symmetries_of_molecules(check, basis, generator):
    potential = make_potential(radial_basis=basis)
    assert check(potential, batch_of_molecules(generator, charged=True), generator) < 1e-10


def test_symmetries_at_full_size(generator):
    potential = make_potential(features=128)
    batch = batch_of_molecules(generator)
    testing.assert_equivariant(potential, batch, generator)
    testing.assert_translation_invariant(potential, batch, generator)


@pytest.mark.parametrize("check", SYMMETRY_CHECKS[:3], ids=lambda check: check.__name__[7:])
def test_symmetries_of_a_crystal(check, generator):
    crystals = [bulk("C", cubic=True), bulk("C") * (1, 1, 2)]
    for crystal in crystals:
        crystal.rattle(0.1, seed=4)
    check(make_potential(), Structures.from_atoms(crystals), generator)


def test_linear_and_single_atom_molecules_have_finite_derivatives(potential):
    for name in ("CO2", "H2", "O"):
        structure = Structures.from_atoms(molecule(name))
        pairs = all_pairs(structure)
        names = ("energy", "forces", "dipole", "polarizability")
        for value in potential.evaluate(structure, pairs, names).values():
            assert bool(torch.isfinite(value).all())


def test_linear_molecule_has_an_axial_polarizability_and_no_dipole(potential):
    structure = Structures.from_atoms(molecule("CO2"))
    values = potential.evaluate(structure, all_pairs(structure), ("dipole", "polarizability"))
    alpha = values["polarizability"][0]
    assert float(values["dipole"].abs().max()) < 1e-12
    assert float((alpha - torch.diag(torch.diagonal(alpha))).abs().max()) < 1e-12
    assert float(alpha[0, 0] - alpha[1, 1]) == pytest.approx(0.0, abs=1e-12)
    assert abs(float(alpha[2, 2] - alpha[0, 0])) > 1e-4


def test_forces_are_the_gradient(potential, ethanol):
    testing.assert_consistent_forces(potential, Structures.from_atoms(ethanol))


def test_forces_do_not_depend_on_the_callers_grad_mode(potential, ethanol):
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    expected = potential.evaluate(structure, pairs, ("forces",))["forces"]
    with torch.no_grad():
        assert torch.equal(potential.evaluate(structure, pairs, ("forces",))["forces"], expected)


def test_stress_is_the_strain_derivative(potential):
    crystal = bulk("C", cubic=True)
    crystal.rattle(0.1, seed=1)
    structure = Structures.from_atoms(crystal)
    pairs = pairs_within(structure, 6.0)
    stress = potential.evaluate(structure, pairs, ("stress",))["stress"][0]
    step, volume = 2e-5, crystal.get_volume()
    for a in range(3):
        for b in range(3):
            energies = []
            for sign in (1.0, -1.0):
                strain = torch.zeros(3, 3, dtype=torch.float64)
                strain[a, b] += 0.5 * sign * step
                strain[b, a] += 0.5 * sign * step
                deform = torch.eye(3, dtype=torch.float64) + strain
                moved = structure.with_positions(
                    structure.positions @ deform, structure.cell @ deform
                )
                energies.append(float(potential.evaluate(moved, pairs, ("energy",))["energy"]))
            numerical = (energies[0] - energies[1]) / (2.0 * step * volume)
            assert float(stress[a, b]) == pytest.approx(numerical, abs=2e-8)


def test_mixed_batch_equals_one_by_one(potential, generator):
    testing.assert_extensive_batching(potential, batch_of_molecules(generator, charged=True))


@pytest.mark.parametrize("size", [1, 2, 7, 16])
def test_stack_equals_ragged_batch(potential, ethanol, generator, size):
    noise = 0.05 * torch.randn(size, 9, 3, generator=generator, dtype=torch.float64)
    positions = torch.tensor(ethanol.positions) + noise
    stack = Structures.stack(torch.tensor(ethanol.numbers), positions)
    ragged = Structures(**{**vars(stack), "uniform": None})
    pairs = all_pairs(stack)
    loose = Pairs(pairs.receiver, pairs.sender)
    names = ("energy", "forces", "dipole", "polarizability")
    expected = potential.evaluate(stack, pairs, names)
    for name, value in potential.evaluate(ragged, loose, names).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_pairs_beyond_the_cutoff_do_not_matter(potential, ethanol):
    structure = Structures.from_atoms(ethanol)
    small = make_potential(cutoff=2.5)
    names = ("energy", "forces", "polarizability")
    expected = small.evaluate(structure, pairs_within(structure, 2.5), names)
    for name, value in small.evaluate(structure, all_pairs(structure), names).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-12)


def test_energy_and_forces_are_smooth_at_the_cutoff():
    potential = make_potential(cutoff=3.0)
    energies, forces = [], []
    for distance in (3.0 - 1e-5, 3.0 + 1e-5):
        pair = Structures.pack(
            torch.tensor([8, 6]),
            torch.tensor([[0.0, 0, 0], [distance, 0, 0]], dtype=torch.float64),
            [2],
        )
        values = potential.evaluate(pair, all_pairs(pair), ("energy", "forces"))
        energies.append(float(values["energy"]))
        forces.append(float(values["forces"].abs().max()))
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)
    assert forces[0] < 1e-4
    assert forces[1] == 0.0


def test_charges_add_up_to_the_total_charge(generator):
    # far from the molecule, the dipole about a point at −R is Q·R to leading order
    potential = make_potential()
    batch = batch_of_molecules(generator, charged=True)
    far = torch.full((batch.n_structures, 3), -1e6, dtype=torch.float64)
    with torch.no_grad():
        pairs = pairs_within(batch, potential.cutoff)
        dipole = potential(batch, pairs, ("dipole",), dipole_origin=far)["dipole"]
    torch.testing.assert_close(dipole[:, 0] / 1e6, batch.charge, rtol=1e-5, atol=1e-5)


def test_total_energy_is_exact_in_float32(ethanol):
    # 1 part in 10⁷ of a total energy would be meV: references must not pass through float32
    double = make_potential()
    single = make_potential().float()
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    energies = [p.evaluate(structure, pairs, ("energy",))["energy"] for p in (double, single)]
    assert float(energies[0]) < -4000.0
    assert abs(float(energies[0] - energies[1])) < 2e-5
    assert single.energy_reference.dtype == torch.float64


def test_gradients_reach_every_parameter(potential, ethanol):
    structure = Structures.from_atoms(ethanol)
    names = ("forces", "dipole", "polarizability")
    values = potential.evaluate(structure, all_pairs(structure), names, create_graph=True)
    sum(value.square().sum() for value in values.values()).backward()
    idle = [
        name
        for name, parameter in potential.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    # the last bias of the energy read-out is a constant, which no force sees
    assert idle == ["heads.energy.atomwise.2.bias"]


def test_gradients_by_sums_instead_of_scatters(potential, ethanol, monkeypatch):
    """What a GPU does where every atom has equally many pairs."""
    structure = Structures.from_atoms([ethanol, ethanol])
    names, found = ("energy", "forces", "dipole", "polarizability"), []
    for scatters in (True, False):
        monkeypatch.setattr(pairs_module, "_scatters_pay", lambda values, pay=scatters: pay)
        potential.zero_grad()
        values = potential.evaluate(structure, all_pairs(structure), names, create_graph=True)
        sum(value.square().sum() for value in values.values()).backward()
        parameters = {f"gradient of {n}": p.grad.clone() for n, p in potential.named_parameters()}
        tensors = property_derivative(potential, Structures.from_atoms(ethanol), "dipole")
        found.append({**values, **parameters, "polar tensors": tensors})
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-10, atol=1e-10, msg=name)


def test_first_layer_shortcut_is_exact(potential, ethanol):
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    message = potential.representation.messages[0]
    scalars = torch.randn(9, 16, dtype=torch.float64)
    radial = torch.randn(72, 5, dtype=torch.float64)
    weights = torch.randn(5, 48, dtype=torch.float64)
    directions = torch.nn.functional.normalize(pairs.vectors(structure), dim=-1)
    zero = torch.zeros(9, 3, 16, dtype=torch.float64)
    for short, full in zip(
        message(scalars, None, radial, weights, directions, pairs),
        message(scalars, zero, radial, weights, directions, pairs),
        strict=True,
    ):  # but for the order of sums in a smaller matrix product
        torch.testing.assert_close(short, full, rtol=1e-13, atol=1e-13)


def test_read_outs_that_need_positions_refuse_crystals(potential):
    structure = Structures.from_atoms(bulk("C"))
    pairs = pairs_within(structure, 5.0)
    with refused(key="quantities", value="dipole"):
        potential.evaluate(structure, pairs, ("dipole",))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stress", "some of energy, forces"),  # of an isolated molecule
        ("charges", "some of energy, forces, stress"),
        ("dipole", "some of energy, forces, stress"),
    ],
)
def test_impossible_requests_are_refused(name, expected, ethanol):
    energy_only = make_potential(heads=("energy",))
    structure = Structures.from_atoms(ethanol)
    with refused(key="quantities", value=name, expected=expected):
        energy_only.evaluate(structure, all_pairs(structure), (name,))


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"representation": {"name": "pain"}}, "representation.name"),
        ({"representation": {"name": "painn", "feature": 3}}, "representation.feature"),
        ({"representation": {"name": "painn", "features": 0}}, "representation.features"),
        ({"representation": {"name": "painn", "cutoff": -1.0}}, "representation.cutoff"),
        ({"heads": ["energy", "colour"]}, "heads"),
        ({"heads": "energy"}, "heads"),
        ({"layers": 3}, "layers"),
    ],
)
def test_configuration_errors_name_the_key(settings, key):
    with refused(key=key):
        PotentialConfig.from_settings(settings)


def test_settings_make_the_same_configuration_again():
    config = PotentialConfig(PaiNNConfig(features=24, cutoff=4.0), ("dipole", "energy"))
    assert PotentialConfig.from_settings(config.settings()) == config
    assert config.heads == ("energy", "dipole")
