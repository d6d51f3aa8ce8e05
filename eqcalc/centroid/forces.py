# SPDX-License-Identifier: MIT
"""Forces on the centroid of a ring polymer, and what of them is not classical.

The potential of the centroid r_c, exp(−βW(r_c)) ∝ ∫ δ(r_c − Σ_j r_j/P) exp(−β_P U_P), of a ring
of P beads at the temperature T, has the gradient (Cao and Voth, J. Chem. Phys. 101, 6168 (1994))

    −∂W/∂r_c = ⟨(1/P) Σ_j F(r_j)⟩_c ,

the mean over all rings with that centroid of the mean force on the beads. What the correction δV
of a potential V is to learn is the difference −∂δV/∂r_c = −∂W/∂r_c − F(r_c). Terms linear in the
displacements from the centroid cancel in every single ring, so that the difference vanishes for a
harmonic potential, with its noise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from numpy.typing import ArrayLike

from eqcalc.datasets import Dataset, DatasetWriter, Record
from eqcalc.dynamics import Equilibration, simulate
from eqcalc.facts import joined_levels
from eqcalc.models.committee import charge_of
from eqcalc.models.corrected import CORRECTION, ELEVATED_TEMPERATURE, MASSES
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError, InvalidInputError

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator

#: Name of the split of :func:`sampled_forces`.
SPLIT = "replicas"
#: One replica in so many is for validation.
_VALIDATION = 8
#: Time in which rings forget how they started, and blocks that are independent [fs].
RELAXATION, _INDEPENDENT = 100.0, 50.0
#: Structures evaluated at once.
_CHUNK = 256


@dataclass(frozen=True, eq=False)
class CentroidForces:
    """Mean forces on centroids that were held.

    Parameters
    ----------
    positions
        ``[n, n_atoms, 3]``, centroids [Å].
    difference
        ``[n, n_atoms, 3]``, mean force on the centroid less the force of the potential there
        [eV/Å].
    standard_error
        Its standard error, same shape.
    """

    positions: np.ndarray
    difference: np.ndarray
    standard_error: np.ndarray


def sampled_forces(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    folder: str | Path,
    *,
    temperature: float,
    beads: int,
    labels: int = 10_000,
    interval: float = 4.0,
    replicas: int = 32,
    timestep: float = 0.5,
    equilibration: float = 200.0,
    seed: int = 0,
    masses: ArrayLike | Mapping[str, float] | None = None,
    progress: bool = True,
) -> Dataset:
    """Return centroids of path integrals with the part of the force on them that is not classical.

    Each label is that of one ring, whose noise is about as large as the mean: many average it
    out in a fit. The same call resumes.

    Parameters
    ----------
    structures, evaluator, masses, progress
        See :func:`~eqcalc.dynamics.simulate`.
    folder
        Receives ``path-integrals.h5`` and ``centroid-forces.h5``, the dataset that is
        returned. Its label ``forces`` is the difference, its split ``"replicas"`` has one of
        eight replicas for validation.
    temperature
        Of the path integrals [K].
    beads
        Beads of each ring.
    labels
        Number of structures, rounded up to full replicas.
    interval
        Time between two labels [fs]; a ring forgets its internal modes in a few fs.
    replicas, timestep, equilibration, seed
        Of the run by PILE-L, times in fs. A label is right for its centroid, wherever that is:
        only the internal modes need be in equilibrium.

    Raises
    ------
    InvalidInputError, UnstableDynamicsError
        See :func:`~eqcalc.dynamics.simulate`.
    """
    folder = Path(folder)
    stride = max(1, round(interval / timestep))
    trajectory = simulate(
        structures,
        evaluator,
        output=folder / "path-integrals.h5",
        method="PILE-L",
        temperature=temperature,
        timestep=timestep,
        steps=stride * -(-labels // replicas),
        seed=seed,
        replicas=replicas,
        beads=beads,
        masses=masses,
        equilibration=Equilibration(equilibration),
        observables={"positions": stride, "centroid_force": stride},
        progress=progress,
    )
    target = folder / "centroid-forces.h5"
    record = _record(trajectory, evaluator)
    if target.exists():
        dataset = Dataset.open(target)
        if dataset.provenance.get(CORRECTION) != record:
            raise InvalidFileError(
                "holds the labels of another run", file=target, advice="choose another folder"
            )
        return dataset
    level = joined_levels(trajectory.provenance.get("level_of_theory")) or "not stated"
    n_frames = trajectory.n_frames("positions") - 1  # the first is that of the equilibration
    of_validation = np.arange(replicas) % _VALIDATION == 0
    rows = np.arange(replicas * n_frames).reshape(replicas, n_frames)
    parts = {"training": rows[~of_validation], "validation": rows[of_validation]}
    with DatasetWriter(
        target,
        level_of_theory=f"mean over {beads} beads at {temperature:g} K less classical, {level}",
        provenance={CORRECTION: record},
    ) as writer:
        writer.append(_records(trajectory, evaluator))
        writer.add_split(SPLIT, {name: part.ravel() for name, part in parts.items()})
    return Dataset.open(target)


def constrained_forces(
    structures: Atoms | Sequence[Atoms],
    evaluator: Evaluator,
    output: str | Path,
    *,
    temperature: float,
    beads: int,
    replicas: int | None = None,
    time: float = 400.0,
    timestep: float = 0.5,
    equilibration: float | None = None,
    seed: int = 0,
    masses: ArrayLike | Mapping[str, float] | None = None,
    progress: bool = True,
    **options: Any,
) -> CentroidForces:
    """Return mean forces on centroids that are held, with standard errors.

    The internal modes of the rings are sampled by CC-PIMD. Errors are those of the means of
    independent blocks of 50 fs. The same call resumes.

    Parameters
    ----------
    structures, evaluator, masses, progress, options
        See :func:`~eqcalc.dynamics.simulate`.
    output
        The trajectory (.h5).
    temperature, beads
        Of the path integrals [K].
    replicas
        Number of centroids; replica r is that of structure r modulo their number. By default one
        for each structure.
    time
        Length of the average after 100 fs of relaxation [fs].
    timestep, seed
        Of the run [fs].
    equilibration
        Time [fs] by PILE-L before the centroids are held, which makes them those of the
        temperature; by default they are those of the structures.

    Raises
    ------
    InvalidInputError
        The average is shorter than two blocks; see also :func:`~eqcalc.dynamics.simulate`.
    """
    n_structures = 1 if isinstance(structures, Atoms) else len(structures)
    stride = max(1, round(2.0 / timestep))
    blocks = int(time // _INDEPENDENT)
    if blocks < 2:
        raise InvalidInputError(key="time", value=time, expected="at least 100 fs")
    trajectory = simulate(
        structures,
        evaluator,
        output=output,
        method="CC-PIMD",
        temperature=temperature,
        timestep=timestep,
        steps=round((RELAXATION + time) / timestep),
        seed=seed,
        replicas=n_structures if replicas is None else replicas,
        beads=beads,
        masses=masses,
        equilibration=None if equilibration is None else Equilibration(equilibration),
        observables={"positions": 10 * stride, "centroid_force": stride},
        progress=progress,
        **options,
    )
    positions = trajectory.observable("positions").values[:, 0]
    forces = trajectory.observable("centroid_force")
    kept = forces.values[:, round(RELAXATION / forces.interval) :]
    size = kept.shape[1] // blocks
    means = kept[:, : blocks * size].reshape(len(kept), blocks, size, *kept.shape[2:]).mean(axis=2)
    return CentroidForces(
        positions,
        means.mean(axis=1) - classical_forces(evaluator, positions),
        means.std(axis=1, ddof=1) / np.sqrt(blocks),
    )


def classical_forces(evaluator: Evaluator, positions: np.ndarray) -> np.ndarray:
    """Return the forces of a potential at ``[n, n_atoms, 3]`` Å [eV/Å]."""
    parts = torch.from_numpy(np.ascontiguousarray(positions)).split(_CHUNK)
    return np.concatenate([evaluator(part, ("forces",))["forces"].cpu().numpy() for part in parts])


def _records(trajectory: Trajectory, evaluator: Evaluator) -> Iterator[Record]:
    charge = charge_of(evaluator)
    for replica in range(trajectory.n_replicas):
        one = slice(replica, replica + 1)
        positions, forces = (
            trajectory.observable(name, one, slice(1, None)).values[0]
            for name in ("positions", "centroid_force")
        )
        difference = forces - classical_forces(evaluator, positions)
        for centroid, label in zip(positions, difference, strict=True):
            yield Record(trajectory.numbers, centroid, {"forces": label}, charge)


def _record(trajectory: Trajectory, evaluator: Evaluator) -> dict[str, Any]:
    """Return what a correction from these path integrals is for, JSON-able."""
    return {
        ELEVATED_TEMPERATURE: trajectory.temperature,
        "beads": trajectory.n_beads,
        MASSES: trajectory.masses.tolist(),
        "potential": potential_identity(evaluator.provenance),
        "path_integrals": {
            "replicas": trajectory.n_replicas,
            "picoseconds": trajectory.header.steps * trajectory.timestep / 1000.0,
            "timestep_fs": trajectory.timestep,
            "seed": trajectory.settings["seed"],
        },
    }


def potential_identity(provenance: Mapping[str, Any]) -> list[str]:
    """Return the hashes of the models of an evaluator, or the name and version of its method."""
    members = provenance.get("committee", [provenance])
    return [
        str(m.get("model") or f"{m.get('method')} {m.get('method_version', '')}".strip())
        for m in members
    ]
