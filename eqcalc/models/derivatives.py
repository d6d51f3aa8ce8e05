# SPDX-License-Identifier: MIT
"""Derivatives of a potential's properties with respect to the positions.

All are exact, by automatic differentiation through the network:

====================  ==========================  ==================
∂²E/∂r∂r              Hessian                     eV/Å²
∂μ/∂r                 atomic polar tensors,       e
                      of a cell Born charges
∂α/∂r                 polarizability derivative   e²Å/eV
∂²μ/∂r∂r, ∂²α/∂r∂r    electrical anharmonicity    e/Å, e²/eV
====================  ==========================  ==================

They are meant for one molecule or cell, and for a model in float64. Born charges obey the acoustic
sum rule, Σ_i ∂μ/∂r_i = 0, exactly, since read-outs do not change with a translation of all atoms;
∂²E/∂r∂r of a cell contains the motions in which all cells move alike (Γ).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from eqcalc.models.potential import Potential
from eqcalc.neighbors import Pairs, isolated_pairs, pairs_within
from eqcalc.quantities import quantity
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError

#: Directions of second derivatives that are followed at once.
_DIRECTIONS = 12
#: A length of bonds [Å], and more atoms than any network has layers.
_BOND, _LONGEST_CHAIN = 1.3, 24


def differentiable_pairs(potential: Potential, structures: Structures) -> Pairs:
    """Return the pairs with which a potential is differentiated at the present positions."""
    if structures.periodic:
        return pairs_within(structures, potential.cutoff)
    return isolated_pairs(structures, potential.cutoff)


def _of_copies(
    potential: Potential, molecule: Structures, name: str, copies: int
) -> tuple[Tensor, Tensor]:
    """Return positions and a property of copies of a molecule, to be differentiated.

    A sum over copies has the derivatives of each as its gradient: one backward pass for several
    components or directions.

    Returns
    -------
    positions
        ``[copies · n_atoms, 3]``.
    values
        Components of the property, ``[copies, n]``.
    """
    if molecule.n_structures != 1:
        raise InvalidInputError(
            key="molecule", value=molecule.n_structures, expected="one molecule or cell"
        )
    if name not in potential.config.heads:
        raise InvalidInputError(
            "the model has no such read-out",
            key="quantity",
            value=name,
            expected=f"one of {', '.join(potential.config.heads)}",
        )
    positions = molecule.positions.detach().repeat(copies, 1).requires_grad_(True)
    repeated = {
        key: None if values is None else values.repeat(copies, *(1,) * (values.ndim - 1))
        for key in ("charge", "cell", "pbc")
        for values in [getattr(molecule, key)]
    }
    numbers, counts = molecule.numbers.repeat(copies), [molecule.n_atoms] * copies
    stacked = Structures.pack(numbers, positions, counts, **repeated)
    with torch.enable_grad():
        values = potential(stacked, differentiable_pairs(potential, stacked), (name,))[name]
        return positions, values.reshape(copies, -1)


def _gradient(value: Tensor, positions: Tensor, *, again: bool = False) -> Tensor:
    """Return ∂value/∂r, to be differentiated `again`; zero for a single atom."""
    if not value.requires_grad:
        return torch.zeros_like(positions)
    with torch.enable_grad():
        return torch.autograd.grad(value, positions, create_graph=again, materialize_grads=True)[0]


def hessian(potential: Potential, molecule: Structures) -> Tensor:
    """Second derivatives of the energy, ``[n_atoms, 3, n_atoms, 3]`` eV/Å²."""
    return property_second_derivative(potential, molecule, "energy")


def property_derivative(potential: Potential, molecule: Structures, name: str) -> Tensor:
    """First derivatives of a property with respect to the positions.

    Parameters
    ----------
    potential
        The model.
    molecule
        One molecule or cell.
    name
        ``"energy"``, ``"dipole"`` or ``"polarizability"``.

    Returns
    -------
    Tensor
        ``[n_atoms, 3, *shape]`` with the shape of the property, in its unit per Å:
        ``∂μ_c/∂r_ia`` is ``[i, a, c]`` and ``∂α_bc/∂r_ia`` is ``[i, a, b, c]``.
    """
    shape = quantity(name).shape_of(molecule.n_atoms)
    positions, values = _of_copies(potential, molecule, name, copies=math.prod(shape))
    jacobian = _gradient(values.diagonal().sum(), positions)
    return torch.movedim(jacobian.view(*shape, -1, 3), (-2, -1), (0, 1))


def property_second_derivative(potential: Potential, molecule: Structures, name: str) -> Tensor:
    """Second derivatives of a property, ``[n_atoms, 3, n_atoms, 3, *shape]`` per Å²."""
    shape = quantity(name).shape_of(molecule.n_atoms)
    directions = torch.eye(3 * molecule.n_atoms).to(molecule.positions)
    second = []
    for component in range(math.prod(shape)):
        for block in directions.split(_DIRECTIONS):  # bounds the memory
            positions, values = _of_copies(potential, molecule, name, len(block))
            gradient = _gradient(values[:, component].sum(), positions, again=True)
            along = (gradient.view(block.shape) * block).sum()
            second.append(_gradient(along, positions).view(block.shape))
    atoms = (molecule.n_atoms, 3)
    return torch.movedim(
        torch.cat(second).view(*shape, *atoms, *atoms), (-4, -3, -2, -1), (0, 1, 2, 3)
    )


def time_derivatives(
    potential: Potential, structures: Structures, velocities: Tensor, names: tuple[str, ...]
) -> dict[str, Tensor]:
    """Time derivatives of properties along velocities, ``Ẋ = (∂X/∂r)·v``.

    One forward-mode pass gives them exactly, without finite differences.

    Parameters
    ----------
    potential
        The model.
    structures
        Molecules or cells.
    velocities
        ``[n_atoms, 3]`` Å per unit of time.
    names
        Heads to differentiate.

    Returns
    -------
    dict
        ``[n_structures, *shape]`` in the unit of the property per the same unit of time.
    """
    pairs = differentiable_pairs(potential, structures)

    def evaluate(positions: Tensor) -> dict[str, Tensor]:
        return potential(structures.with_positions(positions), pairs, names)

    rates = torch.func.jvp(evaluate, (structures.positions.detach(),), (velocities,))[1]
    return {name: rate.detach() for name, rate in rates.items()}


def interaction_range(potential: Potential) -> float:
    """Distance over which the energy of an atom depends on others [Å], a multiple of the cutoff.

    One cutoff for every layer that passes messages on. They are counted by the derivatives of the
    energy of the first atom of a zigzag chain, of which neighbours are within the cutoff and
    others are not; if the network sees bonds only, of one of their length.
    """
    elements = torch.tensor(potential.references.elements[-1:], device=potential.device)
    index = torch.arange(_LONGEST_CHAIN, dtype=torch.float64, device=potential.device)
    for length in (0.75 * potential.cutoff, _BOND):
        along, across = length * math.sqrt(0.75) * index, 0.5 * length * (index % 2)
        positions = torch.stack([along, across, 0.1 * torch.sin(index)], 1).requires_grad_(True)
        chain = Structures.pack(elements.repeat(len(index)), positions, [len(index)])
        with torch.enable_grad():
            features = potential.representation(chain, pairs_within(chain, potential.cutoff))
            energy = potential.read_out("energy", features, chain.apart())[0]
            slope = torch.autograd.grad(energy, positions)[0]
        steps = float((index * (slope != 0.0).any(1)).max())
        if steps:
            break
    return max(1.0, steps) * potential.cutoff
