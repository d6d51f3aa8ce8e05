# SPDX-License-Identifier: MIT
"""What every representation of the registry must satisfy, in small."""

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from eqcalc import EqCalculator, testing
from eqcalc.dynamics import simulate
from eqcalc.models import Potential, PotentialConfig, References
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.derivatives import interaction_range
from eqcalc.models.registry import REPRESENTATIONS, representation_config
from eqcalc.neighbors import all_pairs, pairs_within
from eqcalc.runtime import eager_evaluator
from eqcalc.structures import Structures

ABLATED = {"vector_features": False, "scalar_product": False, "vector_convolution": False}
L0 = {"scalars": 10, "embedding": 8, "output_features": 8, "radial_functions": 20}
L0 = {**L0, "radial_width": 6, "hidden_vectors": 0}
IRREPS = {"multiplicity": 4, "embedding": 8, "graph": "radius"}
SMALL = {
    "painn": {"name": "painn", "features": 16},
    "smooth painn": {"name": "smooth_painn", "features": 16},
    "painn without products": {"name": "painn_ablated", "features": 16, "scalar_product": False},
    "painn without vectors": {"name": "painn_ablated", "features": 16, **ABLATED},
    "schnet": {"name": "schnet", "features": 16, "layers": 2},
    "l0net": {"name": "lnet", **L0},
    "l1net": {"name": "lnet", **L0, "scalars": 6, "hidden_vectors": 4, "output_vectors": 4},
    "irreps": {"name": "irreps_gcn", "degrees": [0, 1, 2, 4], **IRREPS},
    "irreps with gates": {
        "name": "irreps_gcn",
        "degrees": [0, 3, 4],
        "nonlinearity": "gate",
        "self_interaction": True,
        "read_out": "norms",
        **IRREPS,
    },
    "cormorant": {"name": "cormorant", "channels": 4, "layers": 3},
    "dimenet": {
        "name": "dimenet++",
        **{"features": 8, "hidden": 8, "layers": 2, "triplet_embedding": 4},
        **{"basis_embedding": 3, "output_embedding": 8},
        **{"spherical_functions": 3, "radial_functions": 3},
    },
}
HEADS = (
    "energy",
    "dipole",
    "polarizability",
    "dipole_magnitude",
    "homo_lumo_gap",
    "electronic_spatial_extent",
    "heat_capacity",
)


def build(settings, heads=HEADS, read_outs=None):
    config = PotentialConfig(representation_config(dict(settings)), heads, read_outs or {})
    table = {1: -0.3, 6: 1.2, 7: 0.8, 8: -0.5}
    references = References(
        (1, 6, 7, 8),
        dict.fromkeys(
            {"energy", "polarizability", "homo_lumo_gap", "heat_capacity"} & {*heads}, table
        ),
        scales={"energy": 0.1, "dipole": 0.4, "homo_lumo_gap": 2.0},
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Potential(config, references).double()


@pytest.fixture
def molecules(generator):
    batch = Structures.from_atoms([molecule(name) for name in ("CH3CH2OH", "H2O", "CH3NO2")])
    noise = 0.05 * torch.randn(batch.n_atoms, 3, generator=generator, dtype=torch.float64)
    return batch.with_positions(batch.positions + noise)


every_model = pytest.mark.parametrize("settings", SMALL.values(), ids=SMALL)


def test_every_registered_model_is_tested():
    assert {settings["name"] for settings in SMALL.values()} == set(REPRESENTATIONS)


@every_model
def test_symmetries(settings, molecules, generator):
    potential = build(settings)
    testing.assert_equivariant(potential, molecules, generator)
    testing.assert_translation_invariant(potential, molecules, generator)
    testing.assert_permutation_invariant(potential, molecules, generator)
    testing.assert_shift_law(potential, molecules, generator)
    testing.assert_extensive_batching(potential, molecules)


@every_model
def test_forces_are_the_gradient(settings, ethanol):
    testing.assert_consistent_forces(build(settings, ("energy",)), Structures.from_atoms(ethanol))


@every_model
def test_second_derivatives(settings):
    """Forward over reverse mode, which harmonic spectra need, works through every network."""
    water = molecule("H2O")
    water.rattle(0.05, seed=1)
    testing.assert_consistent_derivatives(
        build(settings, ("energy", "dipole")), Structures.from_atoms(water), tolerance=2e-5
    )


@every_model
def test_crystals(settings, generator):
    crystal = bulk("C", cubic=True)
    crystal.rattle(0.1, seed=4)
    short = {"cutoff": 3.0} if settings["name"] != "lnet" else {"cutoff": 3.0, "neighbors": 30.0}
    potential = build({**settings, **short}, ("energy", "heat_capacity"))
    testing.assert_equivariant(potential, Structures.from_atoms(crystal), generator)


@every_model
def test_no_energy_of_an_atom_reaches_beyond_its_range(settings):
    """The range is a multiple of the cutoff; an atom farther away changes nothing, one nearer does.

    Of a chain along x, the last atom moves, in the farthest interval that can matter and beyond.
    """
    potential = build({**settings, "cutoff": 3.0}, ("energy",))
    reach = interaction_range(potential)
    layers = round(reach / 3.0)
    assert reach == pytest.approx(layers * 3.0)
    # settings name layers and blocks; an embedding may pass messages, too
    named = potential.config.representation
    stated = getattr(named, "layers", None) or getattr(named, "blocks", None)
    assert layers - stated in (0, 1)

    def energy(spacing, moved):
        chain = torch.zeros(layers + 2, 3, dtype=torch.float64)
        chain[:, 0] = spacing * torch.arange(layers + 2)
        chain[:, 1] = 0.1 * torch.arange(layers + 2) % 2
        chain[moved, 2] += 0.05
        structures = Structures.pack(torch.full((layers + 2,), 6), chain, [layers + 2])
        features = potential.representation(structures, pairs_within(structures, 3.0))
        return potential.read_out("energy", features, structures.apart())[0].item()

    assert energy(2.0, layers) != energy(2.0, layers + 1)
    assert energy(2.0, layers + 1) == energy(2.0, [])


@every_model
def test_energy_is_smooth_at_the_cutoff(settings):
    potential = build({**settings, "cutoff": 3.0}, ("energy",))
    values = []
    for distance in (3.0 - 1e-4, 3.0 + 1e-4):
        pair = Structures.pack(
            torch.tensor([8, 6]),
            torch.tensor([[0.0, 0, 0], [distance, 0, 0]], dtype=torch.float64),
            [2],
        )
        values.append(potential.evaluate(pair, all_pairs(pair), ("energy", "forces")))
    assert float(values[0]["energy"]) == pytest.approx(float(values[1]["energy"]), abs=1e-6)
    assert float(values[0]["forces"].abs().max()) < 0.02
    assert float(values[1]["forces"].abs().max()) == 0.0


@every_model
def test_model_files_give_the_same_model(settings, tmp_path, molecules):
    potential = build(settings, read_outs={"dipole_magnitude": {"form": "scalar"}})
    save_model(potential, tmp_path / "model.eqc")
    loaded = load_model(tmp_path / "model.eqc")
    assert loaded.config == potential.config
    pairs = all_pairs(molecules)
    expected = potential.evaluate(molecules, pairs, HEADS)
    for name, value in loaded.evaluate(molecules, pairs, HEADS).items():
        assert torch.equal(value, expected[name])


@every_model
def test_calculator_and_dynamics(settings, ethanol, tmp_path):
    potential = build(settings, ("energy", "dipole", "polarizability"))
    ethanol.calc = EqCalculator(potential)
    structure = Structures.from_atoms(ethanol)
    expected = potential.evaluate(structure, all_pairs(structure), ("forces", "dipole"))
    np.testing.assert_allclose(ethanol.get_forces(), expected["forces"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(
        ethanol.get_dipole_moment(), expected["dipole"][0], rtol=0, atol=1e-12
    )
    trajectory = simulate(
        ethanol,
        eager_evaluator(potential, ethanol.numbers),
        output=tmp_path / "run.h5",
        method="NVE",
        temperature=10.0,
        timestep=0.1,
        steps=3,
        replicas=2,
        beads=1,
        seed=1,
        progress=False,
    )
    assert trajectory is not None


@every_model
def test_gradients_reach_every_parameter(settings, molecules):
    potential = build(settings, ("energy", "homo_lumo_gap"))
    energy, gap = potential(molecules, all_pairs(molecules)).values()
    (energy.square().sum() + gap.square().sum()).backward()
    idle = {
        name
        for name, parameter in potential.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    }
    # scalars do not see what the last block makes of other degrees, and no more than that
    last = {"lnet": "blocks.2", "irreps_gcn": "blocks.4"}.get(settings["name"])
    unseen = [name for name, _ in potential.named_parameters() if last and last in name]
    unseen = [name for name in unseen if "convolution" in name and not name.endswith("_0")]
    if settings.get("read_out") == "norms" or settings.get("hidden_vectors") == 0:
        unseen = []
    assert idle == set(unseen)
