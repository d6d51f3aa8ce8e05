# SPDX-License-Identifier: MIT
"""Reference values and scales of a model, from the structures it is trained on.

A total energy is thousands of eV, of which the network learns the last one.
The rest is taken up by one energy per element, fitted by linear least squares;
likewise the isotropic part of the polarizability.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from eqcalc.structures import Structures

__all__ = ["composition", "fit_element_values", "label_scales", "remainder"]


def composition(structures: Structures, elements: tuple[int, ...]) -> np.ndarray:
    """Count the atoms of each element, ``[n_structures, n_elements]``."""
    counts = [structures.sum_over_atoms((structures.numbers == z).double()) for z in elements]
    return torch.stack(counts, dim=1).numpy()


def fit_element_values(
    structures: Structures, values: Tensor, elements: tuple[int, ...]
) -> dict[int, float]:
    """Fit one value per element whose sum over atoms is nearest to `values`.

    Where the data do not determine the values, as for a single molecule, the
    solution of least norm is taken; the sums are as near in any case.

    Parameters
    ----------
    structures
        Structures of the training set.
    values
        One number per structure, ``[n_structures]``.
    elements
        Elements to fit.
    """
    counts = composition(structures, elements)
    solution, *_ = np.linalg.lstsq(counts, values.double().numpy(), rcond=None)
    return dict(zip(elements, solution.tolist(), strict=True))


def remainder(structures: Structures, values: Tensor, table: Mapping[int, float]) -> Tensor:
    """Subtract the sum of the values of the elements in `table` from `values`."""
    by_number = torch.zeros(int(structures.numbers.max()) + 1, dtype=torch.float64)
    for z, value in table.items():
        if z < len(by_number):
            by_number[z] = value
    return values - structures.sum_over_atoms(by_number[structures.numbers])


def label_scales(
    structures: Structures,
    labels: Mapping[str, Tensor],
    present: Mapping[str, Tensor],
    energy_reference: Mapping[int, float],
    polarizability_reference: Mapping[int, float],
) -> dict[str, float]:
    """Return the root mean square of what a network has to learn of each label.

    Energy: per atom, after the reference energies. Forces and dipole: of the
    components. Polarizability: of the nine components of the deviation from the
    isotropic reference. A label without any spread gets 1.
    """
    scales = {}
    for name, values in labels.items():
        known = present[name]
        if not bool(known.any()):
            continue
        if name == "energy":
            deviation = remainder(structures, values, energy_reference) / structures.counts
        elif name == "forces":
            deviation, known = values, structures.spread_to_atoms(known)
        elif name == "polarizability":
            zero = torch.zeros(structures.n_structures, dtype=torch.float64)
            isotropic = -remainder(structures, zero, polarizability_reference)
            deviation = values - isotropic[:, None, None] * torch.eye(3, dtype=torch.float64)
        else:
            deviation = values
        rms = float(deviation[known].square().mean().sqrt())
        # an exact reference leaves rounding errors only: nothing to normalise with
        scales[name] = rms if rms > 1e-12 * (1.0 + float(values[known].abs().max())) else 1.0
    return scales
