# SPDX-License-Identifier: MIT
"""Check that forces belong to the energies, and that two sources agree on units.

Both checks are regressions through the origin. They find a wrong unit or sign,
which is off by a large factor; they cannot tell good labels from slightly worse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from eqcalc.datasets.checks import pair_distances, same_molecule
from eqcalc.datasets.dataset import Dataset
from eqcalc.quantities import quantity
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError

#: Mistaken units, and the factors by which labels are then off.
_MISTAKES = {
    "forces": {
        unit: conversion_factor(unit, "eV/Å")
        for unit in (
            "kcal/mol/Å",
            "kJ/mol/Å",
            "hartree/bohr",
            "hartree/Å",
            "eV/bohr",
            "kcal/mol/bohr",
        )
    },
    "dipole": {
        **{unit: conversion_factor(unit, "e*Å") for unit in ("debye", "e*bohr")},
        "atomic units multiplied by the factor of debye": conversion_factor("debye", "e*bohr"),
    },
    "polarizability": {
        **{unit: conversion_factor(unit, "e^2*Å^2/eV") for unit in ("bohr^3", "Å^3")},
        "bohr^3 for Å^3, or the reverse": conversion_factor("bohr^3", "Å^3"),
    },
}


@dataclass(frozen=True)
class Agreement:
    """A regression y = slope · x through the origin of labels that should agree.

    Parameters
    ----------
    quantity
        What was compared.
    slope
        One where all is right.
    correlation
        x·y / |x||y|: whether the slope means anything.
    n
        Number of structures or pairs.
    tolerance
        |ln slope| above this is a disagreement.
    least_correlation
        Below this the slope is not judged.
    """

    quantity: str
    slope: float
    correlation: float
    n: int
    tolerance: float
    least_correlation: float

    @property
    def conclusive(self) -> bool:
        """Whether there are enough, and well enough correlated, data to judge."""
        return self.n >= 10 and abs(self.correlation) > self.least_correlation

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against the labels."""
        return not self.conclusive or (
            self.slope > 0.0 and abs(np.log(self.slope)) <= self.tolerance
        )

    def __str__(self) -> str:
        head = f"{self.quantity}: slope {self.slope:.4g}, correlation {self.correlation:.4f}"
        if not self.conclusive:
            return f"{head} ({self.n} pairs): not conclusive"
        if self.ok:
            return f"{head} ({self.n} pairs): consistent"
        advice = "off by this factor"
        if self.slope < 0.0:
            advice = "wrong sign (gradients taken as forces?)"
        size = abs(self.slope)
        q = quantity(self.quantity)
        reported = {unit: q.factor_from(unit) for unit, _ in q.report}
        for unit, factor in _MISTAKES.get(q.name, reported).items():
            for ratio in (factor, 1.0 / factor):
                if abs(np.log(size / ratio)) < min(self.tolerance, 0.15):
                    advice += f"; {ratio:.4g} would be a mistaken unit ({unit})"
        return f"{head} ({self.n} pairs): {advice}"


def check_forces(
    dataset: Dataset, rng: np.random.Generator, *, n_pairs: int = 300, reach: float = 0.3
) -> Agreement:
    """Compare energy differences of similar geometries with the work of the forces.

    For two geometries of one molecule, superposed, E₂ − E₁ ≈ −½(F₁ + F₂)·(r₂ − r₁)
    up to third order in the displacement. Neighbours that are too far apart
    spoil the correlation before the slope; below 0.95 nothing is concluded.

    Parameters
    ----------
    rng
        Chooses the geometries that are compared with their nearest neighbour.
    n_pairs
        Number of pairs.
    reach
        Pairs whose atoms are displaced by more than this [Å] (root mean square)
        are not used.

    Returns
    -------
    Agreement
        Slope of energy differences on work; the force unit is too small by it.
    """
    work: list[float] = []
    change: list[float] = []
    both = np.flatnonzero(dataset.present("energy") & dataset.present("forces"))
    for rows in same_molecule(dataset, both):
        chosen = rng.permutation(len(rows))[: max(2, n_pairs * len(rows) // max(1, len(both)))]
        records = list(dataset.records(rows))
        positions = np.stack([record.positions for record in records])
        shapes = pair_distances(positions)
        _, nearest = cKDTree(shapes).query(shapes[chosen], k=2)
        for one, neighbours in zip(chosen, nearest, strict=True):
            other = int(neighbours[1] if neighbours[0] == one else neighbours[0])
            rotation = _superposition(positions[other], positions[one])
            shift = _centred(positions[other]) @ rotation - _centred(positions[one])
            if np.sqrt(np.mean(np.sum(shift**2, axis=1))) > reach:
                continue
            a, b = records[int(one)].labels, records[other].labels
            mean = 0.5 * (a["forces"] + b["forces"] @ rotation)
            work.append(-float(np.sum(mean * shift)))
            change.append(float(b["energy"] - a["energy"]))
    # the smallest mistake of a unit is a factor of 1.9; |ln 1.9| = 0.6
    return regression("forces", np.array(work), np.array(change), 0.3, 0.95)


def compare_labels(
    dataset: Dataset, other: Dataset, name: str, *, tolerance: float = 0.5
) -> Agreement:
    """Compare the label `name` of geometries that two datasets share.

    Parameters
    ----------
    dataset, other
        The dataset in question and one that is trusted, perhaps of another
        level of theory.
    name
        ``"forces"``, ``"dipole"`` or ``"polarizability"``; energies have no common
        origin.
    tolerance
        |ln slope| that two levels of theory may differ by. The default, a factor
        of 1.65, lies between their differences and any mistaken unit.

    Returns
    -------
    Agreement
        Slope of the labels in `dataset` on those in `other`.
    """
    known = labelled_structures(other, name)
    places: dict[tuple[bytes, bytes], int] = {}
    for row, record in zip(known, other.records(known), strict=True):
        places[_geometry(record.numbers, record.positions)] = int(row)
    x, y = [], []
    n = 0
    for record in dataset.records(labelled_structures(dataset, name)):
        match = places.get(_geometry(record.numbers, record.positions))
        if match is not None:
            y.append(np.ravel(record.labels[name]))
            x.append(np.ravel(other[match].labels[name]))
            n += 1
    if not n:
        raise InvalidInputError(
            f"{dataset.path} and {other.path} share no geometry with a {name}", key="other"
        )
    return regression(name, np.concatenate(x), np.concatenate(y), tolerance, 0.8, n)


def labelled_structures(dataset: Dataset, name: str) -> np.ndarray:
    """Return the indices of structures with the label `name`, which two sources can share.

    Raises
    ------
    InvalidInputError
        It is an energy, whose origin may differ, or no structure has the label.
    """
    if quantity(name).rank == 0:
        raise InvalidInputError(
            "two sources may have another origin of energy",
            key="name",
            value=name,
            expected="a vector or tensor",
        )
    known = np.flatnonzero(dataset.present(name))
    if not len(known):
        raise InvalidInputError(f"no structure has a {name}", key="name", file=dataset.path)
    return known


def regression(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    tolerance: float,
    least_correlation: float,
    n: int | None = None,
) -> Agreement:
    """Return the regression of `y` on `x`, both flat, of the quantity `name`.

    Parameters
    ----------
    tolerance, least_correlation
        See :class:`Agreement`.
    n
        Number of structures they come from; their own if not given.
    """
    scale = float(x @ x)
    if not len(x) or scale == 0.0:
        return Agreement(name, np.nan, 0.0, 0, tolerance, least_correlation)
    norm = float(np.sqrt(scale * (y @ y)))
    return Agreement(
        name,
        float(x @ y) / scale,
        float(x @ y) / norm if norm else 0.0,
        len(x) if n is None else n,
        tolerance,
        least_correlation,
    )


def _geometry(numbers: np.ndarray, positions: np.ndarray) -> tuple[bytes, bytes]:
    # the 0.0 turns -0 into 0; both sources hold the same frame, so no superposition
    return numbers.tobytes(), (np.round(positions, 4) + 0.0).tobytes()


def _centred(positions: np.ndarray) -> np.ndarray:
    return positions - positions.mean(axis=0)


def _superposition(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix Q that minimises |moving @ Q − fixed|.

    Improper ones are allowed: distances do not tell a geometry from its mirror
    image, and neither does the energy.
    """
    u, _, vt = np.linalg.svd(_centred(moving).T @ _centred(fixed))
    return np.asarray(u @ vt)
