# SPDX-License-Identifier: MIT
"""Structures to label next: what a molecule with quantum nuclei looks like in the current model.

They are its minima and Wigner displacements about them, each multiplied with a random factor; for
molecules with rotatable bonds also Wigner displacements about other conformations. With a factor of
one all displacements of many modes are about equally far from the minimum, which leaves its force
constants to be extrapolated. Classical dynamics hardly moves stiff modes, and structures that are
chosen for the disagreement of models lie where no vibrational state reaches
(``workflows/predict``).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from eqcalc.datasets import Record
from eqcalc.labelling import SamplingPlan, distinct, rotatable_bonds, sample
from eqcalc.molecules import total_charge
from eqcalc.normal_modes import NormalModes, wigner_displacements
from eqcalc.prediction.level import ModelLevel

#: Smallest and largest factor of displacements.
_FACTORS = (0.2, 1.2)
#: Share of displacements about other conformations than the minima.
_TORSIONAL = 0.3
#: Structures nearer than this are the same, Å.
_SAME = 1e-3


def highest_energy(n_atoms: int) -> float:
    """Return how far above a minimum structures are of use, eV; see `SamplingPlan`."""
    return 1.0 + 0.15 * max(1, 3 * n_atoms - 6)


def proposed(
    level: ModelLevel,
    minima: Sequence[tuple[Atoms, NormalModes]],
    n: int,
    temperature: float,
    rng: np.random.Generator,
    known: Sequence[Record] = (),
) -> list[Record]:
    """Return `n` structures of a molecule that are worth a label.

    Parameters
    ----------
    level
        The current model.
    minima
        Its minima with their normal modes, of one molecule.
    n
        Number of structures.
    temperature
        Of the displacements, K.
    rng
        Random generator.
    known
        Structures that have labels.
    """
    starts = [atoms for atoms, _ in minima]
    minimal = [Record.from_atoms(atoms, source="minimum") for atoms in starts]
    kept = {id(record) for record in distinct([*known, *minimal], _SAME)}
    found = [record for record in minimal if id(record) in kept][: n // 2]
    if rotatable_bonds(starts[0]) and (turned := round(_TORSIONAL * (n - len(found)))):
        plan = SamplingPlan(
            classical={},
            wigner={},
            torsional_wigner={temperature: 1.0},
            ring_polymer={},
            maximum_energy=highest_energy(len(starts[0])),
            minimum_distance=_SAME,
        )
        found += sample(starts, level.method, turned, rng, plan)
    for k in rng.permutation(np.arange(n - len(found)) % len(minima)):
        atoms, modes = minima[k]
        shift = wigner_displacements(modes, temperature, 1, rng)[0] * rng.uniform(*_FACTORS)
        place = modes.positions + shift
        source = f"Wigner displacement {temperature:g} K, scaled"
        found.append(Record(atoms.numbers, place, charge=total_charge(atoms), source=source))
    return found


def calls(n: int, atoms: Atoms) -> int:
    """Return about how many times :func:`proposed` evaluates the model."""
    if not rotatable_bonds(atoms):
        return 0
    hessians = round(_TORSIONAL * n / SamplingPlan.default().draws_per_hessian)
    return round(_TORSIONAL * n) + 6 * len(atoms) * hessians
