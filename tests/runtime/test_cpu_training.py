# SPDX-License-Identifier: MIT
"""The compiled kernels give the gradients of autograd, for every loss and batch."""

import functools

import pytest
import torch
from ase.build import bulk, molecule

from eqcalc.models import PaiNNConfig
from eqcalc.models.networks.painn import SmoothPaiNNConfig
from eqcalc.neighbors import pairs_within
from eqcalc.runtime import ExecutionUnavailableError, FusedTraining
from eqcalc.runtime import cpp_compiler as compiler
from eqcalc.runtime.cpu_training import _Recorder, verify_training
from eqcalc.runtime.verification import deviations
from eqcalc.structures import Structures
from tests.conftest import make_potential, slow
from tests.errors import refused

pytestmark = pytest.mark.skipif(compiler.compiler() is None, reason="needs a C++ compiler")

ALL = ("energy", "forces", "dipole", "polarizability")


def frames(*names, seed=0):
    found = [molecule(name) for name in names]
    for k, atoms in enumerate(found):
        atoms.rattle(0.05, seed=seed + k)
    return Structures.from_atoms(found)


def crystals():
    carbon, nitrogen = bulk("C", cubic=True), bulk("N", "fcc", a=1.9)  # its own neighbour
    carbon.rattle(0.05, seed=3)
    return Structures.from_atoms([carbon, nitrogen])


def gradients(model, potential, structures, names):
    """Gradients of a loss that is not linear, and the outputs."""
    pairs = pairs_within(structures, potential.cutoff)
    outputs = model.evaluate(structures, pairs, names, create_graph=True)
    generator = torch.Generator().manual_seed(1)
    loss = 0.0
    for value in outputs.values():
        label = torch.rand(value.shape, generator=generator, dtype=torch.float64)
        loss = loss + ((value - value.detach() - label) ** 4).mean()
    parameters = dict(potential.named_parameters())
    found = torch.autograd.grad(loss, [*parameters.values()], allow_unused=True)
    return {k: g for k, g in zip(parameters, found, strict=True) if g is not None}, outputs


def assert_same(potential, structures, names, tolerance):
    found, of = gradients(FusedTraining(potential), potential, structures, names)
    expected, reference = gradients(potential, potential, structures, names)
    assert found.keys() >= expected.keys()
    for name in found.keys() - expected.keys():  # forces do not depend on the bias of the energy
        assert not found.pop(name).any()
    for pair in ((found, expected), (of, reference)):
        detached = [{name: value.detach() for name, value in part.items()} for part in pair]
        assert max(deviations(*detached).values()) < tolerance


SQUARED = functools.partial(SmoothPaiNNConfig, vector_invariant="squared_length")


@pytest.mark.parametrize("form", [PaiNNConfig, SmoothPaiNNConfig, SQUARED])
@pytest.mark.parametrize(
    "names", [("energy",), ("forces",), ("dipole",), ("polarizability",), ALL], ids="+".join
)
def test_gradients_of_every_loss_for_different_molecules(form, names):
    potential = make_potential(form=form, radial_functions=6, cutoff=4.0)
    molecules = frames("H2O", "CH3CH2OH", "O2", "C6H6", "CH4", "CH3CHO", "H2O", "C6H6")
    assert_same(potential, molecules, names, 1e-10)


@pytest.mark.parametrize("names", [("energy", "forces"), *slow(("stress",), ("forces", "stress"))])
def test_gradients_for_crystals(names):
    assert_same(make_potential(), crystals(), names, 1e-10)


@pytest.mark.parametrize(
    "options",
    [
        {"features": 1, "layers": 1, "radial_functions": 1},
        {"features": 37},
        {"features": 64, "layers": 2},
        {"radial_basis": "gaussian", "radial_functions": 9},
        {"cutoff": 2.0},
        {"heads": ("energy",)},
        {
            "read_outs": {
                "dipole": {"atomic_dipoles": False},
                "polarizability": {"origin": "center_of_mass"},
            }
        },
    ],
    ids=str,
)
def test_gradients_for_other_sizes(options):
    potential = make_potential(**options)
    names = [name for name in ALL if name in potential.quantities]
    assert_same(potential, frames("CH3CH2OH", "H2O"), names, 1e-10)


def test_gradients_in_single_precision_are_as_close_to_the_truth_as_by_autograd():
    potential, molecules = make_potential(features=64), frames("CH3CH2OH", "C6H6", "H2O")
    truth, _ = gradients(potential, potential, molecules, ALL)
    single = make_potential(features=64).float()
    errors = [
        max(deviations(gradients(model, single, molecules, ALL)[0], truth).values())
        for model in (FusedTraining(single), single)
    ]
    assert errors[0] < 5e-5
    assert errors[0] < 3.0 * errors[1]


def test_gradients_do_not_depend_on_threads_to_the_last_bit(monkeypatch):
    potential = make_potential().float()
    model, molecules = FusedTraining(potential), frames(*["CH3CH2OH", "C6H6", "H2O"] * 6)
    expected, _ = gradients(model, potential, molecules, ALL)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    for name, value in gradients(model, potential, molecules, ALL)[0].items():
        assert torch.equal(value, expected[name])


def test_parameters_changed_by_any_optimizer_are_seen():
    """A fused one leaves the versions of the parameters as they were."""
    potential, molecules = make_potential(), frames("CH3CH2OH", "H2O")
    model, pairs = FusedTraining(potential), pairs_within(molecules, 5.0)
    optimizer = torch.optim.AdamW(potential.parameters(), lr=1e-2, fused=True)
    for _ in range(3):
        optimizer.zero_grad()
        model.evaluate(molecules, pairs, ALL, create_graph=True)["forces"].square().sum().backward()
        optimizer.step()
        expected = potential.evaluate(molecules, pairs, ALL)
        found = model.evaluate(molecules, pairs, ALL)
        assert not any(value.requires_grad for value in found.values())
        assert max(deviations(found, expected).values()) < 1e-11


def test_several_evaluations_before_the_first_backward_pass():
    potential, first, second = make_potential(), frames("CH4"), frames("C6H6", "H2O", seed=5)
    model = FusedTraining(potential)
    outputs = [
        m.evaluate(s, pairs_within(s, 5.0), ("forces",), create_graph=True)["forces"]
        for m in (model, potential)
        for s in (first, second)
    ]
    found, expected = (
        torch.autograd.grad(
            a.square().sum() + b.square().sum(), [*potential.representation.parameters()]
        )
        for a, b in (outputs[:2], outputs[2:])
    )
    for gradient, other in zip(found, expected, strict=True):
        torch.testing.assert_close(gradient, other, rtol=1e-9, atol=1e-11)


def test_models_without_kernels_and_wrong_kernels_are_refused(monkeypatch):
    with refused(ExecutionUnavailableError, key="precision"):
        FusedTraining(make_potential().bfloat16())
    potential = make_potential()
    assert max(verify_training(FusedTraining(potential), potential).values()) < 1e-12
    differentiate = _Recorder.differentiate

    def slightly_wrong(*arguments):
        return [None if g is None else 1.001 * g for g in differentiate(*arguments)]

    monkeypatch.setattr(_Recorder, "differentiate", slightly_wrong)
    rounding = "a relative deviation up to 1e-09, as by rounding"
    with refused(ExecutionUnavailableError, expected=rounding):
        FusedTraining(potential)
