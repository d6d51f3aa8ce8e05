# SPDX-License-Identifier: MIT
"""Checks that any potential must pass: symmetries, derivatives and batching.

Each returns the largest error, relative to the size of the quantity, or raises an
``AssertionError`` with the violation and its size. Call them with a model in float64,
``potential.double()``: if rounding alone would exceed the tolerance they raise a ``ValueError``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from eqcalc.models.derivatives import hessian, property_derivative
from eqcalc.models.potential import Potential
from eqcalc.neighbors import pairs_within
from eqcalc.quantities import quantity
from eqcalc.structures import Structures

#: Rounding error of a result in units of that of one operation.
_ROUNDINGS = 100.0


def random_rotation(generator: torch.Generator, *, improper: bool = False) -> Tensor:
    """Draw a uniformly random rotation, ``[3, 3]`` float64, times the inversion if `improper`."""
    gaussian = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    orthogonal, triangular = torch.linalg.qr(gaussian)
    orthogonal = orthogonal * torch.sign(torch.diagonal(triangular))
    orthogonal = orthogonal * torch.sign(torch.linalg.det(orthogonal))
    return -orthogonal if improper else orthogonal


def _require_precision(potential: Potential, tolerance: float) -> None:
    """Raise ValueError if rounding of the network would exceed the tolerance."""
    if tolerance < _ROUNDINGS * torch.finfo(potential.dtype).eps:
        raise ValueError(
            f"the model is in {str(potential.dtype).removeprefix('torch.')}, whose rounding errors "
            f"are larger than the tolerance {tolerance:.0e}; check potential.double() instead"
        )


def _evaluate(potential: Potential, structures: Structures) -> dict[str, Tensor]:
    pairs = pairs_within(structures, potential.cutoff)
    return potential.evaluate(structures, pairs, potential.available_for(structures))


def _compare(
    found: Tensor, expected: Tensor, tolerance: float, what: str, size: float | None = None
) -> float:
    """Return the largest error relative to `size`, by default the largest expected value."""
    size = max(float(expected.abs().max()), 1e-12) if size is None else size
    error = float((found - expected).abs().max()) / size
    if not error <= tolerance:
        raise AssertionError(f"{what}: relative error {error:.2e} exceeds {tolerance:.0e}")
    return error


def _compare_all(
    found: Mapping[str, Tensor], expected: Mapping[str, Tensor], tolerance: float, where: str
) -> float:
    """Return the largest relative error of several quantities."""
    return max(
        _compare(value, expected[name], tolerance, f"{name} {where}")
        for name, value in found.items()
        if name in expected
    )


def _rotate(name: str, value: Tensor, rotation: Tensor) -> Tensor:
    q = quantity(name)
    for axis in range(-q.rank, 0):
        value = torch.movedim(torch.movedim(value, axis, -1) @ rotation.T, -1, axis)
    if q.parity != (-1) ** q.rank:  # a pseudotensor
        value = value * torch.linalg.det(rotation).sign()
    return value


def assert_equivariant(
    potential: Potential,
    structures: Structures,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-10,
) -> float:
    """Check that all quantities are equivariant under rotations and reflections."""
    _require_precision(potential, tolerance)
    reference, worst = _evaluate(potential, structures), 0.0
    for improper in (False, True):
        rotation = random_rotation(generator, improper=improper)
        cell = None if structures.cell is None else structures.cell @ rotation.T
        turned = structures.with_positions(structures.positions @ rotation.T, cell)
        expected = {name: _rotate(name, value, rotation) for name, value in reference.items()}
        where = "under improper rotation" if improper else "under rotation"
        worst = max(worst, _compare_all(_evaluate(potential, turned), expected, tolerance, where))
    return worst


def assert_translation_invariant(
    potential: Potential,
    structures: Structures,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-10,
) -> float:
    """Check that all quantities are invariant under translation of each structure."""
    _require_precision(potential, tolerance)
    shift = 10.0 * torch.randn(structures.n_structures, 3, generator=generator, dtype=torch.float64)
    moved = structures.with_positions(structures.positions + structures.spread_to_atoms(shift))
    found, reference = _evaluate(potential, moved), _evaluate(potential, structures)
    return _compare_all(found, reference, tolerance, "under translation")


def assert_permutation_invariant(
    potential: Potential,
    structures: Structures,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-10,
) -> float:
    """Check that permuting atoms permutes the forces and leaves all else unchanged."""
    _require_precision(potential, tolerance)
    keys = torch.rand(structures.n_atoms, generator=generator, dtype=torch.float64)
    order = torch.argsort(structures.owner.to(torch.float64) + keys)
    shuffled = replace(
        structures, numbers=structures.numbers[order], positions=structures.positions[order]
    )
    expected = {
        name: value[order] if quantity(name).per_atom else value
        for name, value in _evaluate(potential, structures).items()
    }
    return _compare_all(_evaluate(potential, shuffled), expected, tolerance, "under permutation")


def assert_shift_law(
    potential: Potential,
    structures: Structures,
    generator: torch.Generator,
    *,
    tolerance: float = 1e-10,
) -> float:
    """Check ``μ(r_0 + d) = μ(r_0) − Q d`` for an origin displaced by d."""
    _require_precision(potential, tolerance)
    pairs = pairs_within(structures, potential.cutoff)
    displacement = torch.randn(structures.n_structures, 3, generator=generator, dtype=torch.float64)
    origin = structures.center_of_mass()
    with torch.no_grad():
        at, moved = (
            potential(structures, pairs, ("dipole",), dipole_origin=point)["dipole"]
            for point in (origin, origin + displacement)
        )
    expected = at - structures.charge.unsqueeze(-1) * displacement
    return _compare(moved, expected, tolerance, "dipole about another origin")


def assert_extensive_batching(
    potential: Potential, structures: Structures, *, tolerance: float = 1e-10
) -> float:
    """Check that each structure gives the same results in a batch and alone."""
    _require_precision(potential, tolerance)
    together, worst, offset = _evaluate(potential, structures), 0.0, 0
    for index, count in enumerate(structures.counts.tolist()):
        atoms = slice(offset, offset + count)
        one = slice(index, index + 1)
        alone = Structures.pack(
            structures.numbers[atoms],
            structures.positions[atoms],
            [count],
            structures.charge[one],
            None if structures.cell is None else structures.cell[one],
            None if structures.pbc is None else structures.pbc[one],
        )
        expected = {
            name: value[atoms if quantity(name).per_atom else one]
            for name, value in together.items()
        }
        where = f"of structure {index} alone"
        worst = max(worst, _compare_all(_evaluate(potential, alone), expected, tolerance, where))
        offset += count
    return worst


def assert_consistent_forces(
    potential: Potential, structures: Structures, *, step: float = 2e-5, tolerance: float = 1e-6
) -> float:
    """Check forces against central differences of the energy with `step` [Å]."""
    _require_precision(potential, tolerance)
    forces = _evaluate(potential, structures)["forces"]
    size, worst = float(forces.abs().max()), 0.0
    for atom, axis, slopes in _central_differences(potential, structures, step):
        numerical = -slopes["energy"][structures.owner[atom]]
        what = f"force on atom {atom}, axis {axis}, against a finite difference"
        worst = max(worst, _compare(numerical, forces[atom, axis], tolerance, what, size))
    return worst


def assert_consistent_derivatives(
    potential: Potential, molecule: Structures, *, step: float = 2e-5, tolerance: float = 1e-6
) -> float:
    """Check Hessian, ∂μ/∂r and ∂α/∂r of one molecule against central differences."""
    _require_precision(potential, tolerance)
    exact = {
        name: property_derivative(potential, molecule, name)
        for name in potential.config.heads
        if name != "energy"
    }
    exact["forces"] = -hessian(potential, molecule)
    sizes, worst = {name: float(value.abs().max()) for name, value in exact.items()}, 0.0
    for atom, axis, slopes in _central_differences(potential, molecule, step):
        for name, derivative in exact.items():
            numerical = slopes[name] if name == "forces" else slopes[name][0]
            what = f"derivative of the {name} along atom {atom}, axis {axis}"
            error = _compare(numerical, derivative[atom, axis], tolerance, what, sizes[name])
            worst = max(worst, error)
    return worst


def _central_differences(
    potential: Potential, structures: Structures, step: float
) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
    """Yield atom and axis of each coordinate, and the derivatives of all quantities along it."""
    for atom in range(structures.n_atoms):
        for axis in range(3):
            displacement = torch.zeros_like(structures.positions)
            displacement[atom, axis] = step
            plus, minus = (
                _evaluate(potential, structures.with_positions(structures.positions + signed))
                for signed in (displacement, -displacement)
            )
            yield atom, axis, {k: (plus[k] - minus[k]) / (2.0 * step) for k in plus}
