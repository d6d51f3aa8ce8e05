# SPDX-License-Identifier: MIT
"""Read-outs of scalars, and the options of all."""

import pytest
import torch
from ase.build import molecule

from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.readouts import FeatureCounts, build_head
from eqcalc.neighbors import pairs_within
from eqcalc.structures import Structures
from tests.errors import refused

PAINN = {"name": "painn", "features": 8, "layers": 1}


def make(heads, read_outs=None, representation=None, **references):
    config = PotentialConfig.from_settings(
        {
            "representation": representation or PAINN,
            "heads": list(heads),
            "read_outs": read_outs or {},
        }
    )
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return Potential(config, References((1, 6, 8), **references)).double()


def far_apart(*names):
    """One structure of molecules too far apart to see each other."""
    frames = [molecule(name) for name in names]
    for index, frame in enumerate(frames):
        frame.positions += 40.0 * index
    joined = frames[0]
    for frame in frames[1:]:
        joined = joined + frame
    return joined


def value_of(potential, atoms, name):
    structure = Structures.from_atoms(atoms)
    pairs = pairs_within(structure, potential.cutoff)
    return potential.evaluate(structure, pairs, (name,))[name][0]


def test_extensive_quantities_add_up_and_intensive_ones_do_not():
    table = {1: -0.4, 6: 0.7, 8: 1.1}
    potential = make(
        ("heat_capacity", "homo_energy"),
        values={"heat_capacity": table, "homo_energy": table},
    )
    one, two = molecule("CH3CH2OH"), far_apart("CH3CH2OH", "CH3CH2OH")
    for name, factor in (("heat_capacity", 2.0), ("homo_energy", 1.0)):
        single, double = value_of(potential, one, name), value_of(potential, two, name)
        assert float(double) == pytest.approx(factor * float(single), rel=1e-12)


def test_reference_values_of_the_elements_are_added():
    table = {1: -0.4, 6: 0.7, 8: 1.1}
    plain = make(("internal_energy_0K", "homo_lumo_gap"))
    shifted = make(
        ("internal_energy_0K", "homo_lumo_gap"),
        values={"internal_energy_0K": table, "homo_lumo_gap": table},
    )
    water = molecule("H2O")
    for name, expected in (("internal_energy_0K", 0.3), ("homo_lumo_gap", 0.1)):
        change = value_of(shifted, water, name) - value_of(plain, water, name)
        assert float(change) == pytest.approx(expected, abs=1e-12)


def test_magnitude_is_the_length_of_the_dipole(ethanol):
    potential = make(("dipole", "dipole_magnitude"))
    potential.heads["dipole_magnitude"].load_state_dict(potential.heads["dipole"].state_dict())
    dipole = value_of(potential, ethanol, "dipole")
    length = value_of(potential, ethanol, "dipole_magnitude")
    assert float(length) == pytest.approx(float(dipole.norm()), rel=1e-14)


def test_dipole_magnitude_of_a_symmetric_molecule_is_zero_with_the_vector_form_only():
    methane = molecule("CH4")
    vector = value_of(make(("dipole_magnitude",)), methane, "dipole_magnitude")
    read_outs = {"dipole_magnitude": {"form": "scalar"}}
    scalar = value_of(make(("dipole_magnitude",), read_outs), methane, "dipole_magnitude")
    assert float(vector) < 1e-12
    assert abs(float(scalar)) > 1e-4


def test_spatial_extent_is_about_the_centre_of_nuclear_charge(ethanol):
    potential = make(("electronic_spatial_extent",))
    structure = Structures.from_atoms(ethanol)
    scalars, _ = potential.representation(structure, pairs_within(structure, 5.0))
    weights = potential.heads["electronic_spatial_extent"].atomwise(scalars)[:, 0]
    z = torch.as_tensor(ethanol.numbers, dtype=torch.float64)
    center = (z[:, None] * structure.positions).sum(0) / z.sum()
    expected = (weights * (structure.positions - center).square().sum(-1)).sum()
    found = value_of(potential, ethanol, "electronic_spatial_extent")
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


def test_networks_without_vectors_read_dipoles_from_charges(ethanol):
    potential = make(("dipole",), representation={"name": "schnet", "features": 8, "layers": 1})
    assert not potential.heads["dipole"].gated
    assert float(value_of(potential, ethanol, "dipole").norm()) > 1e-4
    with refused(key="read_outs.dipole.atomic_dipoles", value=True):
        make(
            ("dipole",),
            {"dipole": {"atomic_dipoles": True}},
            {"name": "schnet", "features": 8, "layers": 1},
        )


def test_charges_only_is_an_option_of_the_dipole(ethanol):
    potential = make(("dipole",), {"dipole": {"atomic_dipoles": False}})
    assert not hasattr(potential.heads["dipole"], "blocks")
    assert float(value_of(potential, ethanol, "dipole").norm()) > 1e-4


def test_origin_of_the_polarizability_is_an_option(ethanol):
    values = [
        value_of(make(("polarizability",), {"polarizability": {"origin": origin}}), ethanol, q)
        for q in ("polarizability",)
        for origin in ("centroid", "center_of_mass")
    ]
    assert float((values[0] - values[1]).abs().max()) > 1e-6


def test_depth_and_activation_of_scalar_read_outs():
    counts = FeatureCounts(16, 0, layers=1)
    assert len(build_head("enthalpy", counts, {}).atomwise) == 1
    deep = build_head("enthalpy", counts, {"layers": 3, "function": "relu"}).atomwise
    assert [type(module).__name__ for module in deep] == ["Linear", "ReLU"] * 2 + ["Linear"]


@pytest.mark.parametrize(
    ("read_outs", "key"),
    [
        ({"enthalpy": {"depth": 2}}, "read_outs.enthalpy.depth"),
        ({"enthalpy": {"form": "vector"}}, "read_outs.enthalpy.form"),
        ({"enthalpy": {"aggregation": "max"}}, "read_outs.enthalpy.aggregation"),
        ({"enthalpy": {"layers": 0}}, "read_outs.enthalpy.layers"),
        ({"enthalpy": {"function": "sine"}}, "read_outs.enthalpy.activation"),
        ({"energy": {}}, "read_outs.energy"),
        ({"colour": {}}, "heads"),
        ({"enthalpy": 3}, "read_outs"),
    ],
)
def test_wrong_options_name_the_key(read_outs, key):
    with refused(key=key):
        make(("enthalpy",), read_outs)
