# SPDX-License-Identifier: MIT
"""How far a model knows the energies on the grid of each mode: the spread of its last layers."""

from __future__ import annotations

import numpy as np
import torch

from eqcalc.anharmonic.modal_basis import oscillator_nodes
from eqcalc.models.derivatives import differentiable_pairs
from eqcalc.models.last_layers import last_layer, last_layer_factors, parameter_columns
from eqcalc.models.potential import Potential
from eqcalc.normal_modes import NormalModes
from eqcalc.structures import Structures
from eqcalc.units import WAVENUMBER_PER_EV

#: Largest spread of a mode whose grid is known, in parts of the energy. Of the general model it is
#: 3 to 12 % for most modes of small molecules, up to 27 % for twists and inversions, and 77 % in
#: ozone.
KNOWN = 0.2


def grid_uncertainty(
    modes: NormalModes,
    potential: Potential,
    numbers: np.ndarray,
    *,
    charge: float = 0.0,
    nodes: int = 13,
) -> np.ndarray:
    """Return the largest relative spread of the energy on the cut along each mode, ``[n_modes]``.

    It is the standard deviation of E(q) − E(0) by the distribution of the last layer, over E(q) −
    E(0) or a quantum of the mode, whichever is greater. As E is linear in the parameters of that
    layer, with the Jacobian J, the standard deviation is |(J(q) − J(0)) L| for C = L Lᵀ
    (:mod:`eqcalc.models.last_layers`), which is large where features are far from those of the
    training set.

    Parameters
    ----------
    modes
        Normal modes at the minimum of the potential.
    potential
        A model with the distribution of its last layers, in double precision.
    numbers, charge
        Atomic numbers of the molecule, ``[n_atoms]``, and its total charge [e].
    nodes
        Of each cut.

    Raises
    ------
    InvalidInputError
        The model has no such distribution.
    """
    factor = last_layer_factors(potential)["energy"]
    q = oscillator_nodes(nodes)
    cuts = modes.positions + q[:, None, None] * modes.steps[:, None]
    positions = np.concatenate([modes.positions[None], cuts.reshape(-1, *modes.positions.shape)])
    structures = Structures.stack(torch.as_tensor(numbers), torch.from_numpy(positions), charge)
    with torch.no_grad():
        pairs = differentiable_pairs(potential, structures)
        features = potential.representation(structures, pairs)

        def energy() -> torch.Tensor:
            return potential.read_out("energy", features, structures)

        energies = energy()
        jacobian = parameter_columns(last_layer(potential, "energy"), energy)
        spread = ((jacobian[1:] - jacobian[0]) @ factor.to(jacobian)).norm(dim=-1)
        above = torch.maximum(
            (energies[1:] - energies[0]).view(len(modes), nodes),
            torch.as_tensor(modes.wavenumber / WAVENUMBER_PER_EV)[:, None],
        )
    return np.asarray((spread.view(len(modes), nodes) / above).amax(dim=1).numpy())
