# SPDX-License-Identifier: MIT
"""A committee is the mean of its members, and knows where they disagree."""

import math

import pytest
import torch

from eqcalc.models.committee import Committee
from eqcalc.runtime import eager_evaluator
from tests.analytic import HarmonicWell, ToyWater
from tests.conftest import make_potential
from tests.errors import refused

NAMES = ("energy", "forces", "dipole", "polarizability")


def well(stiffness):
    member = HarmonicWell([stiffness, 2.0])
    member.provenance = {"model": f"well {stiffness}"}
    return member


def networks(n=3):
    numbers = torch.tensor([8, 1, 1])
    members = []
    for seed in range(n):
        potential = make_potential()
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in potential.parameters():
                noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
                parameter.add_(0.05 * noise)
        members.append(eager_evaluator(potential, numbers))
    return members


def positions(n=4):
    generator = torch.Generator().manual_seed(1)
    start = torch.from_numpy(ToyWater().atoms.get_positions())
    return start + 0.05 * torch.randn(n, 3, 3, generator=generator, dtype=torch.float64)


def test_every_quantity_is_the_mean_of_the_members():
    members = networks()
    found = Committee(members)(positions(), NAMES)
    for name in NAMES:
        expected = sum(member(positions(), NAMES)[name] for member in members) / 3
        torch.testing.assert_close(found[name], expected, rtol=1e-12, atol=1e-12)


def test_disagreement_of_two_wells_in_closed_form():
    """Forces −k x of two members: |k₁ − k₂| |x| / √2, none where the wells are the same."""
    x = torch.tensor([[[3.0, 4.0, 0.0], [1.0, 2.0, 3.0]]], dtype=torch.float64)
    found = Committee([well(1.0), well(1.5)])(x, ("energy", "force_disagreement"))
    expected = torch.tensor([[0.5 * 5.0 / math.sqrt(2.0), 0.0]], dtype=torch.float64)
    torch.testing.assert_close(found["force_disagreement"], expected)
    assert set(found) == {"energy", "force_disagreement"}


def test_mean_forces_are_the_gradient_of_the_mean_energy():
    committee, x, h = Committee(networks()), positions(1), 1e-4
    forces = committee(x, ("forces",))["forces"][0]
    for atom, axis in ((0, 2), (1, 0), (2, 1)):
        step = torch.zeros_like(x)
        step[0, atom, axis] = h
        energies = [committee(x + s * step, ("energy",))["energy"][0] for s in (1.0, -1.0)]
        slope = float(energies[0] - energies[1]) / (2.0 * h)
        assert float(forces[atom, axis]) == pytest.approx(-slope, rel=1e-5, abs=1e-7)


def test_disagreement_does_not_depend_on_the_orientation():
    committee = Committee(networks())
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    here = committee(positions(), ("force_disagreement",))["force_disagreement"]
    there = committee(positions() @ turn, ("force_disagreement",))["force_disagreement"]
    torch.testing.assert_close(here, there, rtol=1e-8, atol=1e-10)
    assert float(here.min()) > 1e-3


def test_rates_are_means():
    members, x = networks(2), positions()
    v = torch.randn(4, 3, 3, dtype=torch.float64)
    found = Committee(members).rates(x, v, ("dipole",))["dipole"]
    expected = 0.5 * sum(member.rates(x, v, ("dipole",))["dipole"] for member in members)
    torch.testing.assert_close(found, expected)


def test_the_record_names_all_members_and_what_they_share():
    members = [well(1.0), well(1.5)]
    for member in members:
        member.provenance["level_of_theory"] = "GFN2-xTB"
    record = Committee(members).provenance
    assert record["level_of_theory"] == "GFN2-xTB"
    assert "model" not in record
    assert [member["model"] for member in record["committee"]] == ["well 1.0", "well 1.5"]


def test_members_that_do_not_fit_are_refused():
    with refused(key="members", value=1):
        Committee([well(1.0)])
    with refused(key="members[1].numbers", value=[8, 1, 1], expected="[1, 1]"):
        Committee([well(1.0), ToyWater()])
    with refused(key="members[1]"):
        Committee([well(1.0), well(1.0)])
