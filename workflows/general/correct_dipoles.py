# SPDX-License-Identifier: MIT
"""Dipole moments of the general model corrected towards density-functional theory.

    python workflows/general/correct_dipoles.py runs/small/model.eqc --output runs/corrected.eqc \
        --results workflows/general/results/dipoles.json

Derivatives of PTB's dipole moments, and with them infrared intensities, are off by factors of two
and more. Its read-out is fitted to the few labels of ``dipole_labels.py`` as near as possible to
what was trained on those of PTB: Gauss–Newton steps with a penalty on changes of the parameters θ,

    θ = θ₀ + Jᵀ (J Jᵀ + λ 1)⁻¹ (μ − μ(θ) + J (θ − θ₀)),

with the Jacobian J of the dipole moments; λ has the least errors of molecules left out. The
features of the network, energies and polarizabilities stay as they are. A fifth of the molecules,
by a hash, takes no part in it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from eqcalc.datasets import Dataset
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.potential import Potential
from eqcalc.neighbors import pairs_within
from eqcalc.structures import Structures
from eqcalc.units import conversion_factor

DATA = Path(__file__).parents[2] / "data" / "hcno"
LABELS = DATA / "dipoles.h5"
LEVEL = "PTB corrected towards PBE0/def2-TZVPD"
#: Part of the molecules that are held out.
_HELD_OUT = 0.2
#: λ in parts of the mean diagonal of J Jᵀ.
_PENALTIES = tuple(10.0**k for k in np.arange(-6.0, 0.1, 0.5))
#: Groups of molecules left out in turn, and Jacobians.
_FOLDS, _JACOBIANS = 5, 3
_MILLIDEBYE = 1000.0 * conversion_factor("e*Å", "D")


def molecules(dataset: Dataset) -> list[str]:
    """Return the molecule of each structure, as its source begins."""
    return [str(source).split(", ", maxsplit=1)[0] for source in dataset.source()]


def share(molecule: str) -> float:
    """Return a number between 0 and 1 that belongs to a molecule."""
    return int(hashlib.sha256(f"dipole {molecule}".encode()).hexdigest()[:8], 16) / 16**8


def held_out(dataset: Dataset) -> np.ndarray:
    """Return which structures are those of molecules that take no part, ``[n]`` bool."""
    return np.array([share(molecule) < _HELD_OUT for molecule in molecules(dataset)])


def dipoles(model: Potential, one: Structures) -> Tensor:
    """Return the dipole moment of a structure, differentiable in the read-out, ``[3]``."""
    with torch.no_grad():
        features = model.representation(one, pairs_within(one, model.cutoff))
    return model.read_out("dipole", features, one)[0]


def linearised(model: Potential, structures: list[Structures]) -> tuple[Tensor, Tensor]:
    """Return dipole moments ``[3 n]``, e·Å, and their Jacobian ``[3 n, n_parameters]``."""
    parameters = list(model.heads["dipole"].parameters())
    values, rows = [], []
    for one in structures:
        value = dipoles(model, one)
        columns = torch.autograd.grad(
            value, parameters, torch.eye(3, dtype=value.dtype), is_grads_batched=True
        )
        values.append(value.detach())
        rows.append(torch.cat([column.flatten(1) for column in columns], dim=1).float())
    return torch.cat(values), torch.cat(rows)


def solved(kernel: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """Return (K + λ 1)⁻¹ y with λ in parts of the mean diagonal."""
    eye = torch.eye(len(kernel), dtype=kernel.dtype)
    return torch.linalg.solve(kernel + penalty * kernel.diagonal().mean() * eye, targets)


def best_penalty(kernel: Tensor, targets: Tensor, fold: Tensor) -> float:
    """Return the λ with the least errors of molecules left out."""
    errors = []
    for penalty in _PENALTIES:
        squares = 0.0
        for k in range(_FOLDS):
            kept, left = fold != k, fold == k
            weights = solved(kernel[kept][:, kept], targets[kept], penalty)
            squares += float((targets[left] - kernel[left][:, kept] @ weights).square().sum())
        errors.append(squares)
    return _PENALTIES[int(np.argmin(errors))]


def corrected(model: Potential, dataset: Dataset, rows: np.ndarray) -> float:
    """Fit the read-out of the dipole moment to some structures, and return λ."""
    structures = [dataset.structures([row]) for row in rows.tolist()]
    labels = dataset.labels(rows)[0]["dipole"].flatten()
    names = molecules(dataset)
    fold = torch.tensor([int(share(f"fold {names[row]}") * _FOLDS) for row in rows])
    parameters = list(model.heads["dipole"].parameters())
    start = torch.cat([p.detach().flatten() for p in parameters])
    change, penalty = torch.zeros_like(start), None
    for _ in range(_JACOBIANS):
        values, jacobian = linearised(model, structures)
        targets = labels - values + (jacobian @ change.float()).double()
        kernel = (jacobian @ jacobian.T).double()
        penalty = penalty or best_penalty(kernel, targets, fold.repeat_interleave(3))
        change = (jacobian.T @ solved(kernel, targets, penalty).float()).to(start)
        parts = (start + change).split([p.numel() for p in parameters])
        with torch.no_grad():
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))
    return float(penalty or 0.0)


def errors(found: Tensor, expected: Tensor) -> dict[str, float]:
    """Return errors of dipole moments ``[n, 3]``, mD."""
    off = (found - expected).abs() * _MILLIDEBYE
    return {
        "n": len(off),
        "mean absolute / mD": round(float(off.mean()), 1),
        "root mean square / mD": round(float(off.square().mean().sqrt()), 1),
    }


def main() -> None:
    """Fit, test and write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--labels", type=Path, default=LABELS)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    options = parser.parse_args()
    dataset = Dataset.open(options.labels)
    model = load_model(options.model, dtype=torch.float64)
    left_out = held_out(dataset)
    everything = [dataset.structures([row]) for row in range(len(dataset))]
    labels = dataset.labels(np.arange(len(dataset)))[0]["dipole"]

    def predicted() -> Tensor:
        return torch.stack([dipoles(model, one).detach() for one in everything])

    before = predicted()
    penalty = corrected(model, dataset, np.flatnonzero(~left_out))
    after = predicted()
    results = {
        "penalty": penalty,
        **{
            name: {
                "model trained on PTB": errors(before[rows], labels[rows]),
                "corrected": errors(after[rows], labels[rows]),
            }
            for name, rows in (("fitted", ~left_out), ("held out", left_out))
        },
    }
    levels = dict(model.metadata["level_of_theory"])
    model.metadata = {**model.metadata, "level_of_theory": {**levels, "dipole": LEVEL}}
    save_model(model.float(), options.output)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
