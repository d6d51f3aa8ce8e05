# SPDX-License-Identifier: MIT
"""What the features of every degree hold: latent spaces, their rank, and their use.

Features of degree l > 0 turn with the molecule, so that their components say as
much about its arbitrary orientation as about itself. Lengths do not; look at
both. Blocks of a flat vector of features are found by
:func:`degree_slices`, which is ``Irreps.slices()`` of e3nn: a degree l of
multiplicity m takes m (2l + 1) components, not m.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from eqcalc.datasets import Dataset
from eqcalc.models.networks.irreps import Features
from eqcalc.models.networks.irreps_gcn import IrrepsGCN
from eqcalc.models.potential import Potential
from eqcalc.training.data import Batches, evaluation_batches


def _network(potential: Potential) -> IrrepsGCN:
    network = potential.representation
    if not isinstance(network, IrrepsGCN):
        raise TypeError(
            "latent spaces by degree are those of irreps_gcn models, not of "
            f"{type(network).__name__}"
        )
    return network


def pooled_latent(
    potential: Potential, dataset: Dataset, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Return the features after the last block, summed over the atoms of each structure.

    Parameters
    ----------
    potential
        A model of the network :class:`~eqcalc.models.networks.irreps_gcn.IrrepsGCN`.
    dataset, indices
        Structures.

    Returns
    -------
    dict
        By degree ``[n_structures, multiplicity, 2l+1]``, in the order of `indices`.
    """
    network = _network(potential)
    batches = Batches(dataset, (), potential.cutoff)
    parts: dict[int, list[Tensor]] = {l: [] for l in network.config.degrees}
    with torch.no_grad():
        for rows in evaluation_batches(dataset, np.asarray(indices)):
            batch = batches[rows]
            for l, values in network.latent(batch.structures, batch.pairs).items():
                parts[l].append(batch.structures.sum_over_atoms(values).transpose(1, 2))
    return {l: torch.cat(values).numpy() for l, values in parts.items()}


def degree_slices(multiplicities: Mapping[int, int]) -> dict[int, slice]:
    """Return where each degree lies in a flat vector of features.

    Parameters
    ----------
    multiplicities
        By degree, in the order of the vector.
    """
    slices, start = {}, 0
    for l, multiplicity in multiplicities.items():
        slices[l] = slice(start, start + multiplicity * (2 * l + 1))
        start = slices[l].stop
    return slices


def flattened(latent: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return features of all degrees side by side, in the layout of e3nn."""
    return np.concatenate([values.reshape(len(values), -1) for values in latent.values()], axis=1)


def invariants(latent: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Return scalars as they are and the lengths of other degrees, ``[n, multiplicity]``."""
    return {
        l: values[..., 0] if l == 0 else np.linalg.norm(values, axis=-1)
        for l, values in latent.items()
    }


def principal_components(points: np.ndarray, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Project points on the directions of largest variance.

    Parameters
    ----------
    points
        ``[n_points, n_features]``.
    n
        Number of directions.

    Returns
    -------
    projections
        ``[n_points, n]``.
    shares
        Share of the variance along each direction, ``[n]``.
    """
    centered = points - points.mean(axis=0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    variance = np.square(singular)
    return left[:, :n] * singular[:n], variance[:n] / max(variance.sum(), 1e-300)


def effective_rank(points: np.ndarray) -> float:
    """Return the exponential of the entropy of the normalised singular values.

    It is the number of features for uncorrelated ones of equal variance, and one
    if all are multiples of a single one (Roy and Vetterli, EUSIPCO 2007).
    """
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if singular[0] <= 1e-12 * max(1.0, float(np.abs(points).max())):
        return 0.0
    share = singular[singular > 0.0] / singular.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


@contextmanager
def without_degree(potential: Potential, degree: int) -> Iterator[None]:
    """Set the features of one degree to zero after every block, while inside.

    What the errors of the model then gain is what it owes to that degree.
    """
    network = _network(potential)
    if degree not in network.config.degrees:
        raise ValueError(f"the network has the degrees {network.config.degrees}, not {degree}")

    def remove(module: nn.Module, inputs: Any, output: Features) -> Features:
        return {l: torch.zeros_like(v) if l == degree else v for l, v in output.items()}

    handles = [block.register_forward_hook(remove) for block in network.blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradient_norms(
    potential: Potential, dataset: Dataset, indices: np.ndarray, name: str
) -> dict[int, float]:
    """Return how strongly a prediction depends on the features of every degree.

    Parameters
    ----------
    potential
        A model of the network :class:`~eqcalc.models.networks.irreps_gcn.IrrepsGCN`.
    dataset, indices
        Structures.
    name
        The predicted quantity, a scalar.

    Returns
    -------
    dict
        By degree: root mean square over structures and blocks of the length of the
        gradient with respect to the features, times their own length, in units
        of the quantity. Features that are not used have zero.
    """
    network = _network(potential)
    batches = Batches(dataset, (), potential.cutoff)
    kept: list[Features] = []

    def keep(module: nn.Module, inputs: Any, output: Features) -> None:
        for values in output.values():
            values.requires_grad_(True).retain_grad()
        kept.append(output)

    totals = dict.fromkeys(network.config.degrees, 0.0)
    n = 0
    handles = [block.register_forward_hook(keep) for block in network.blocks]
    try:
        for rows in evaluation_batches(dataset, np.asarray(indices)):
            batch = batches[rows]
            kept.clear()
            potential(batch.structures, batch.pairs, (name,))[name].sum().backward()
            for features in kept:
                for l, values in features.items():
                    if values.grad is None:
                        continue
                    slope, size = (
                        batch.structures.sum_over_atoms(t.detach().square().sum((1, 2)))
                        for t in (values.grad, values)
                    )
                    totals[l] += float((slope * size).sum())
            n += len(rows) * len(kept)
    finally:
        for handle in handles:
            handle.remove()
        potential.zero_grad(set_to_none=True)
    return {l: (total / n) ** 0.5 for l, total in totals.items()}
