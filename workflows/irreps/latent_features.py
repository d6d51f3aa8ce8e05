# SPDX-License-Identifier: MIT
"""Analysis of latent features by degree: projection, effective rank, and ablation.

Components of features of degree l > 0 depend on the arbitrary orientation of the molecule,
their norms do not; consider both. :func:`degree_slices` locates the degrees in a flat
feature vector, like ``Irreps.slices()`` of e3nn: degree l with multiplicity m takes
m (2l + 1) components.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from eqcalc.datasets import Dataset
from eqcalc.models.networks.irreps import Features
from eqcalc.models.networks.irreps_gcn import IrrepsGCN
from eqcalc.models.potential import Potential
from eqcalc.training.data import Batch, Batches, evaluation_batches
from eqcalc.validation import InvalidInputError, one_of


def _network(potential: Potential) -> IrrepsGCN:
    network = potential.representation
    if not isinstance(network, IrrepsGCN):
        name = type(network).__name__
        raise InvalidInputError(key="representation", value=name, expected="IrrepsGCN")
    return network


def _batches(potential: Potential, dataset: Dataset, indices: np.ndarray) -> Iterator[Batch]:
    batches = Batches(dataset, (), potential.cutoff)
    for rows in evaluation_batches(dataset, np.asarray(indices)):
        yield batches[rows]


@contextmanager
def _after_blocks(
    network: IrrepsGCN, hook: Callable[[Features], Features | None]
) -> Iterator[None]:
    """Pass the output of every block to `hook`, which may return replacement features."""
    handles = [
        block.register_forward_hook(lambda module, inputs, output: hook(output))
        for block in network.blocks
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pooled_latent(
    potential: Potential, dataset: Dataset, indices: np.ndarray
) -> dict[int, np.ndarray]:
    """Return the features after the last block, summed over the atoms of each structure.

    The network must be an :class:`~eqcalc.models.networks.irreps_gcn.IrrepsGCN`. Returns, by
    degree, ``[n_structures, multiplicity, 2l+1]`` in the order of `indices`.
    """
    network = _network(potential)
    parts: dict[int, list[Tensor]] = {l: [] for l in network.config.degrees}
    with torch.no_grad():
        for batch in _batches(potential, dataset, indices):
            for l, values in network.latent(batch.structures, batch.pairs).items():
                parts[l].append(batch.structures.sum_over_atoms(values).transpose(1, 2))
    return {l: torch.cat(values).numpy() for l, values in parts.items()}


def degree_slices(multiplicities: Mapping[int, int]) -> dict[int, slice]:
    """Return the slice of each degree in a flat vector, given the multiplicities in order."""
    slices, start = {}, 0
    for l, multiplicity in multiplicities.items():
        slices[l] = slice(start, start + multiplicity * (2 * l + 1))
        start = slices[l].stop
    return slices


def flattened(latent: Mapping[int, np.ndarray]) -> np.ndarray:
    """Return the concatenated features of all degrees, in the layout of e3nn."""
    return np.concatenate([values.reshape(len(values), -1) for values in latent.values()], axis=1)


def invariants(latent: Mapping[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Return scalars unchanged and the norms of other degrees, ``[n, multiplicity]``."""
    return {
        l: values[..., 0] if l == 0 else np.linalg.norm(values, axis=-1)
        for l, values in latent.items()
    }


def principal_components(points: np.ndarray, n: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Project points ``[n_points, n_features]`` on the first `n` principal components.

    Returns
    -------
    projections
        ``[n_points, n]``.
    shares
        Fraction of the variance explained by each component, ``[n]``.
    """
    centered = points - points.mean(axis=0)
    left, singular, _ = np.linalg.svd(centered, full_matrices=False)
    variance = np.square(singular)
    return left[:, :n] * singular[:n], variance[:n] / max(variance.sum(), 1e-300)


def effective_rank(points: np.ndarray) -> float:
    """Return the exponential of the entropy of the normalised singular values.

    This effective rank is the number of features if they are uncorrelated with equal variance,
    and one if all are collinear (Roy and Vetterli, EUSIPCO 2007).
    """
    singular = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if singular[0] <= 1e-12 * max(1.0, float(np.abs(points).max())):
        return 0.0
    share = singular[singular > 0.0] / singular.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


@contextmanager
def without_degree(potential: Potential, degree: int) -> Iterator[None]:
    """Zero the features of one degree after every block, within the context.

    The increase of the errors measures the importance of that degree.
    """
    network = _network(potential)
    one_of("degree", degree, network.config.degrees)

    def remove(features: Features) -> Features:
        return {l: torch.zeros_like(v) if l == degree else v for l, v in features.items()}

    with _after_blocks(network, remove):
        yield


def gradient_norms(
    potential: Potential, dataset: Dataset, indices: np.ndarray, name: str
) -> dict[int, float]:
    """Return the sensitivity of the scalar `name` to the features of each degree.

    The root mean square, over structures and blocks, of the norm of the gradient with respect
    to the features times their norm, in units of the quantity; zero for unused features.
    """
    network = _network(potential)
    kept: list[Features] = []

    def keep(features: Features) -> None:
        for values in features.values():
            values.requires_grad_(True).retain_grad()
        kept.append(features)

    totals = dict.fromkeys(network.config.degrees, 0.0)
    n = 0
    with _after_blocks(network, keep):
        for batch in _batches(potential, dataset, indices):
            kept.clear()
            potential(batch.structures, batch.pairs, (name,))[name].sum().backward()
            total = batch.structures.sum_over_atoms
            for features in kept:
                for l, values in features.items():
                    if values.grad is not None:
                        slope = total(values.grad.square().sum((1, 2)))
                        size = total(values.detach().square().sum((1, 2)))
                        totals[l] += float((slope * size).sum())
            n += batch.structures.n_structures * len(kept)
    potential.zero_grad(set_to_none=True)
    return {l: (value / n) ** 0.5 for l, value in totals.items()}
