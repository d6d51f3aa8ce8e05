# SPDX-License-Identifier: MIT
"""Higher derivatives of the smooth form of PaiNN, beside those of the paper's form."""

import pytest
import torch
from ase.build import molecule

from eqcalc.models import PaiNN, SmoothPaiNN
from eqcalc.models.networks.painn import PaiNNConfig, SmoothPaiNNConfig
from eqcalc.models.precision import in_precision, precision_of
from eqcalc.models.radial import CosineCutoff, SquaredCosineCutoff
from eqcalc.models.registry import representation_config
from eqcalc.neighbors import all_pairs
from eqcalc.structures import Structures
from tests.conftest import make_potential
from tests.errors import refused

SMALL = {"features": 6, "layers": 2, "radial_functions": 5}


def smooth(**options):
    return make_potential(form=SmoothPaiNNConfig, **SMALL, **options)


def along(potential, atoms, direction, quantity="energy"):
    """Return q ↦ a component of a quantity of `atoms` displaced by q·direction."""
    start = Structures.from_atoms(atoms)
    pairs = all_pairs(start)

    def value(q):
        moved = start.with_positions(start.positions + q * direction)
        # the last component is odd or even where the molecule lies in a plane, as the quantity
        return potential(moved, pairs)[quantity].flatten()[-1]

    return value


def derivative(function, order, q=0.0):
    """Return a derivative of a function of one variable, by automatic differentiation."""
    q = torch.tensor(q, dtype=torch.float64, requires_grad=True)
    value = function(q)
    for _ in range(order):
        (value,) = torch.autograd.grad(value, q, create_graph=True)
    return float(value.detach())


@pytest.fixture
def bend():
    """CO2, where every vector feature of the carbon atom is zero, and a motion of this atom."""
    atoms = molecule("CO2")
    direction = torch.zeros(3, 3, dtype=torch.float64)
    direction[atoms.numbers == 6, 2] = 1.0
    atoms.rotate(90.0, "y")  # from z to x
    return atoms, direction


@pytest.mark.parametrize("invariant", ["squared_length", "soft_length"])
@pytest.mark.parametrize(
    ("quantity", "order", "weights"),
    [
        ("energy", 4, (-1 / 6, 2.0, -13 / 2, 28 / 3, -13 / 2, 2.0, -1 / 6)),
        ("dipole", 3, (1 / 8, -1.0, 13 / 8, 0.0, -13 / 8, 1.0, -1 / 8)),
        ("polarizability", 4, (-1 / 6, 2.0, -13 / 2, 28 / 3, -13 / 2, 2.0, -1 / 6)),
    ],
)
def test_derivatives_are_those_of_a_finite_range_where_vectors_vanish(
    quantity, order, weights, invariant, bend
):
    function = along(smooth(vector_invariant=invariant), *bend, quantity)
    at_zero, beside = (derivative(function, order, q) for q in (0.0, 1e-3))
    assert beside == pytest.approx(at_zero, rel=0.02)
    h = 0.05
    with torch.no_grad():
        values = [float(function(k * h)) for k in range(-3, 4)]
    found = sum(w * v for w, v in zip(weights, values, strict=True)) / h**order
    assert found == pytest.approx(at_zero, rel=0.02)


def test_the_length_of_the_paper_has_a_needle_there(bend):
    fourth = {}
    for name, potential in {
        "ours": smooth(),
        "paper": make_potential(**SMALL, norm_epsilon=1e-8),
    }.items():
        with torch.no_grad():  # vectors as long as in a trained network
            for update in potential.representation.updates:
                update.mix.weight.mul_(20.0)
        function = along(potential, *bend)
        fourth[name] = [abs(derivative(function, 4, q)) for q in (0.0, 0.01)]
    assert fourth["ours"][0] == pytest.approx(fourth["ours"][1], rel=0.1)
    assert fourth["paper"][0] > 1e3 * fourth["paper"][1]


def jump(cutoff, order, h):
    """Return the change of a derivative over the cutoff, 2h apart."""
    return derivative(cutoff, order, cutoff.cutoff + h) - derivative(
        cutoff, order, cutoff.cutoff - h
    )


def test_three_derivatives_of_the_cutoff_are_continuous():
    """A continuous derivative changes in proportion to the distance of the two points."""
    function = SquaredCosineCutoff(3.0)
    for order in (0, 1, 2, 3):
        assert abs(jump(function, order, 1e-3)) < 0.02
        assert abs(jump(function, order, 1e-4)) < 0.2 * abs(jump(function, order, 1e-3)) + 1e-14
    assert abs(jump(CosineCutoff(3.0), 2, 1e-6)) == pytest.approx(0.5 * (torch.pi / 3.0) ** 2)


def test_the_curvature_of_the_energy_has_no_jump_where_an_atom_passes_the_cutoff():
    pair = molecule("CO")
    pair.positions = [[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]]
    outwards = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)

    def jump_of_curvature(potential, q):
        inside, outside = (
            derivative(along(potential, pair, outwards), 2, side) for side in (-q, q)
        )
        assert outside == 0.0
        return abs(inside)

    ours, paper = smooth(cutoff=3.0), make_potential(**SMALL, cutoff=3.0)
    assert jump_of_curvature(paper, 1e-4) > 1e-3
    assert jump_of_curvature(ours, 1e-4) < 1e-6 * jump_of_curvature(paper, 1e-4)


def test_both_forms_have_the_same_parameters():
    ours, paper = smooth(), make_potential(**SMALL)
    assert type(ours.representation) is SmoothPaiNN
    assert type(paper.representation) is PaiNN
    shapes = [{k: v.shape for k, v in p.state_dict().items()} for p in (ours, paper)]
    assert shapes[0] == shapes[1]


def test_read_outs_take_what_the_network_takes():
    potential = smooth()
    block = potential.heads["dipole"].blocks[0]
    assert block.invariant is potential.representation.updates[0].invariant
    with refused(key="read_outs.dipole.norm_epsilon", value=1e-3):
        make_potential(
            form=SmoothPaiNNConfig, **SMALL, read_outs={"dipole": {"norm_epsilon": 1e-3}}
        )
    with refused(key="representation.vector_invariant", value="length"):
        representation_config({"name": "smooth_painn", "vector_invariant": "length"})
    with refused(key="representation.norm_epsilon"):
        representation_config({"name": "smooth_painn", "norm_epsilon": 1e-3})


@pytest.mark.parametrize("precision", ["tf32", "bf16"])
def test_rounded_precisions(precision, ethanol):
    rounded = in_precision(smooth(), precision)
    assert precision_of(rounded) == precision
    structure = Structures.from_atoms(ethanol)
    pairs = all_pairs(structure)
    expected = smooth().evaluate(structure, pairs, ("forces",))["forces"]
    found = rounded.evaluate(structure, pairs, ("forces",))["forces"]
    assert not torch.equal(found, expected)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0.05 * float(expected.abs().max()))


def test_defaults_are_those_of_the_paper_but_for_the_length():
    fields = dict(vars(PaiNNConfig()))
    assert fields.pop("norm_epsilon") > 0.0
    assert fields | {"vector_invariant": "soft_length"} == vars(SmoothPaiNNConfig())
