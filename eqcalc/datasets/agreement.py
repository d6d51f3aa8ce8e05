# SPDX-License-Identifier: MIT
"""Labels beside others: energies beside forces, a second source, a reference method.

The comparisons are regressions through the origin, which detect wrong units and signs but not
small errors of labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import orthogonal_procrustes
from scipy.spatial import cKDTree
from scipy.stats import t as student

from eqcalc.datasets.checks import pair_distances, same_molecule
from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.record import Record
from eqcalc.quantities import quantity
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError

#: Labels that a reference method can judge.
COMPARED = ("energy", "forces", "dipole", "polarizability")
_TRIED = 12  # molecules labelled by a reference
_LARGE = 60  # atoms; larger molecules are not labelled by a reference
_PAIRS = 300  # pairs of geometries whose energies and forces are compared
_REACH = 0.3  # Å; largest root-mean-square displacement of the atoms between a pair
#: Probability with which labels that have nothing to do with a reference are judged by it.
FALSE_ALARM = 1e-3

#: Units that labels are often mistaken for.
_MISTAKEN = {
    "energy": ("hartree", "kcal/mol", "kJ/mol"),
    "forces": ("kcal/mol/Å", "kJ/mol/Å", "hartree/bohr", "hartree/Å", "eV/bohr", "kcal/mol/bohr"),
    "dipole": ("debye", "e*bohr"),
    "polarizability": ("bohr^3", "Å^3"),
}
#: Factors by which labels are wrong that were converted once too often.
_CONFUSED = {
    "dipole": {
        "atomic units multiplied by the factor of debye": conversion_factor("debye", "e*bohr")
    },
    "polarizability": {"bohr^3 for Å^3, or the reverse": conversion_factor("bohr^3", "Å^3")},
}


@dataclass(frozen=True)
class Agreement:
    """A regression y = slope · x through the origin for labels that should agree.

    Parameters
    ----------
    quantity
        Quantity compared.
    slope
        1 if the labels agree.
    correlation
        x·y / |x||y|: whether the slope is meaningful.
    n
        Number of structures or pairs.
    tolerance
        |ln slope| above this is a disagreement.
    least_correlation
        Below this the slope is not judged.
    expected
        Slope of labels that agree, for a reference that is wrong by a known factor.
    against
        Name of the reference.
    contrary
        Rows of structures whose labels have the opposite sign of most others.
    """

    quantity: str
    slope: float
    correlation: float
    n: int
    tolerance: float
    least_correlation: float
    expected: float = 1.0
    against: str = ""
    contrary: tuple[int, ...] = ()

    @property
    def conclusive(self) -> bool:
        """Whether the data are sufficient and well enough correlated to judge."""
        return (
            self.n >= (3 if self.against else 10) and abs(self.correlation) > self.least_correlation
        )

    @property
    def ok(self) -> bool:
        """Whether the labels are consistent, as far as can be judged."""
        return not self.conclusive or (
            self.slope > 0.0 and abs(np.log(self.slope / self.expected)) <= self.tolerance
        )

    def __str__(self) -> str:
        head = (
            f"{self.quantity}{f' against {self.against}' if self.against else ''}: "
            f"slope {self.slope:.4g}, correlation {self.correlation:.4f} "
            f"({self.n} pairs)"
        )
        if self.ok:
            return f"{head}: {'consistent' if self.conclusive else 'not conclusive'}"
        signs = {"forces": "gradients taken as forces?", "dipole": "it points from − to +"}
        sign = f"wrong sign ({signs.get(self.quantity, 'a response counted negative?')})"
        advice = [sign if self.slope < 0.0 else "off by this factor"]
        q = quantity(self.quantity)
        mistaken = _MISTAKEN.get(q.name, tuple(unit for unit, _ in q.report))
        factors = {unit: q.factor_from(unit) for unit in mistaken} | _CONFUSED.get(q.name, {})
        near = {
            (abs(np.log(abs(self.slope / self.expected) / ratio)), ratio, unit)
            for unit, factor in factors.items()
            for ratio in (factor, 1.0 / factor)
        }
        # a reference is less exact than forces are
        exact = 0.3 if self.against else min(self.tolerance, 0.15)
        for off, ratio, unit in sorted(near)[: 1 if self.against else None]:
            if off < exact:
                advice.append(f"{ratio:.4g} would be a mistaken unit ({unit})")
        return f"{head}: {'; '.join(advice)}"


def check_forces(dataset: Dataset, rng: np.random.Generator) -> Agreement:
    """Compare energy differences between similar geometries with the work of the forces.

    For two geometries of one molecule, superposed, E₂ − E₁ ≈ −½(F₁ + F₂)·(r₂ − r₁)
    up to third order in the displacement. Pairs too far apart degrade the correlation before
    the slope; below 0.95 the check is inconclusive. The slope is that of energy differences
    against work: the factor by which the forces are too small.

    Parameters
    ----------
    rng
        Random generator for the choice of geometries to compare with their nearest neighbours.
    """
    pairs = []
    both = np.flatnonzero(dataset.present("energy") & dataset.present("forces"))
    for rows in same_molecule(dataset, both):
        chosen = rng.permutation(len(rows))[: max(2, _PAIRS * len(rows) // max(1, len(both)))]
        records = list(dataset.records(rows))
        positions = np.stack([record.positions for record in records])
        positions -= positions.mean(axis=1, keepdims=True)
        shapes = pair_distances(positions)
        _, nearest = cKDTree(shapes).query(shapes[chosen], k=2)
        for one, neighbours in zip(chosen, nearest, strict=True):
            other = int(neighbours[1] if neighbours[0] == one else neighbours[0])
            # improper, too: distances do not tell a geometry from its mirror image, and neither
            # does the energy
            rotation, _ = orthogonal_procrustes(positions[other], positions[one])
            shift = positions[other] @ rotation - positions[one]
            if np.sqrt(np.mean(np.sum(shift**2, axis=1))) > _REACH:
                continue
            a, b = records[int(one)].labels, records[other].labels
            mean = 0.5 * (a["forces"] + b["forces"] @ rotation)
            pairs.append(([-np.sum(mean * shift)], [b["energy"] - a["energy"]]))
    # the smallest factor between confused units is 1.9; |ln 1.9| = 0.6
    return _regression("forces", pairs, 0.3, 0.95)


def compare_labels(
    dataset: Dataset, other: Dataset, name: str, *, tolerance: float = 0.5
) -> Agreement:
    """Compare the label `name` of geometries that two datasets share.

    The slope is that of the labels in `dataset` against those in `other`.

    Parameters
    ----------
    dataset, other
        The dataset to check and a trusted one, possibly of another level of theory.
    name
        ``"forces"``, ``"dipole"`` or ``"polarizability"``; energies have no common
        origin.
    tolerance
        Largest |ln slope| between levels of theory. The default, a factor of 1.65, lies
        between their typical differences and any confusion of units.
    """
    if quantity(name).rank == 0:
        raise InvalidInputError(
            "two sources may have another origin of energy",
            key="name",
            value=name,
            expected="a vector or tensor",
        )

    def labels(one: Dataset) -> list[tuple[tuple[bytes, bytes], np.ndarray]]:
        known = np.flatnonzero(one.present(name))
        if not len(known):
            raise InvalidInputError(f"no structure has a {name}", key="name", file=one.path)
        return [
            (geometry_key(record), np.ravel(record.labels[name])) for record in one.records(known)
        ]

    trusted = dict(labels(other))
    pairs = [(trusted[key], label) for key, label in labels(dataset) if key in trusted]
    if not pairs:
        raise InvalidInputError(
            f"{dataset.path} and {other.path} share no geometry with a {name}", key="other"
        )
    return _regression(name, pairs, tolerance, 0.8)


def compare_with_reference(
    dataset: Dataset, method: Any, name: str, rng: np.random.Generator
) -> Agreement:
    """Compare the label `name` of a few molecules with those of a fast method.

    Labels in a wrong unit are off by factors of 1.9 to 100; those of a method such as
    GFN2-xTB are less wrong, but for its polarizabilities, half of what they should be. They are
    judged only if the correlation is one that unrelated labels would have with a probability of
    less than :data:`FALSE_ALARM`; see :func:`critical_correlation`.

    Parameters
    ----------
    dataset
        Labelled structures.
    method
        A method of labelling, which has `name` and `label`.
    name
        One of :data:`COMPARED`.
    rng
        Random generator for the choice of structures.
    """
    counts = np.array(dataset.counts)
    known = [
        int(row)
        for row in rng.permutation(np.flatnonzero(dataset.present(name)))
        if 1 < counts[row] <= _LARGE
    ][: 10 * _TRIED]
    chosen = [
        row
        for row, record in zip(known, dataset.records(np.array(known, int)), strict=True)
        # the origin of the dipole of an ion is a convention; a radical may lack its charge
        if record.cell is None and not record.charge and not record.numbers.sum() % 2
    ][:_TRIED]

    def computed(record: Record) -> np.ndarray | None:
        try:
            value = method.label(replace(record, labels={}).atoms(), (name,))[name]
        except (RuntimeError, ValueError, ImportError):  # it cannot judge this one
            return None
        return np.asarray(value)

    records = [*dataset.records(np.array(chosen, int))]
    found = [(computed(record), np.ravel(record.labels[name])) for record in records]
    origins = 0
    if name == "energy":  # has another origin for each composition
        found = _from_means([r.numbers for r in records], found)
        alike = zip(records, found, strict=True)
        origins = len({np.sort(r.numbers).tobytes() for r, (x, _) in alike if x is not None})
    judged = [
        (row, np.ravel(x), y) for row, (x, y) in zip(chosen, found, strict=True) if x is not None
    ]
    cosines = {
        row: x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-9) for row, x, y in judged
    }
    typical = float(np.median([*cosines.values()])) if cosines else 0.0
    contrary = [row for row, cosine in cosines.items() if cosine < -0.8 and typical > 0.8]
    if name == "energy":
        contrary = []
    pairs = [(x, y) for row, x, y in judged if row not in contrary]
    half = name == "polarizability"
    # GFN2-xTB dipoles are off by factors of 0.77 to 1.2, the smallest confusion is 1.9
    freedom = sum(len(x) for x, _ in pairs) - origins - 1
    least = max(0.7 if half else 0.9, critical_correlation(freedom))
    agreement = _regression(name, pairs, 0.9 if half else 0.4, least)
    expected = 2.0 if half else 1.0
    return replace(
        agreement, expected=expected, against=method.name, contrary=tuple(sorted(contrary))
    )


def critical_correlation(freedom: int) -> float:
    """Return the size of a correlation that unrelated numbers exceed at :data:`FALSE_ALARM`.

    Of independent normal numbers, r·√(f/(1 − r²)) has Student's distribution with f degrees of
    freedom (R. A. Fisher, Biometrika 10, 507 (1915)).

    Parameters
    ----------
    freedom
        Degrees of freedom f: the numbers, less one for the slope and one for each origin.
    """
    if freedom < 1:
        return 1.0
    t = float(student.isf(0.5 * FALSE_ALARM, freedom))
    return t / float(np.hypot(t, np.sqrt(freedom)))


def _from_means(
    numbers: Sequence[np.ndarray], pairs: Sequence[tuple[np.ndarray | None, np.ndarray]]
) -> list[tuple[np.ndarray | None, np.ndarray]]:
    """Return pairs of energies relative to the means of their composition; None alone in it."""
    groups: dict[bytes, list[tuple[int, np.ndarray, np.ndarray]]] = {}
    for i, ((x, y), zs) in enumerate(zip(pairs, numbers, strict=True)):
        if x is not None:
            groups.setdefault(np.sort(zs).tobytes(), []).append((i, np.ravel(x), y))
    found: list[tuple[np.ndarray | None, np.ndarray]] = [(None, y) for _, y in pairs]
    for rows in groups.values():
        x_mean, y_mean = (
            sum(x for _, x, _ in rows) / len(rows),
            sum(y for *_, y in rows) / len(rows),
        )
        for i, x, y in rows if len(rows) > 1 else ():
            found[i] = (x - x_mean, y - y_mean)
    return found


def _regression(
    name: str, pairs: Sequence[tuple[ArrayLike, ArrayLike]], tolerance: float, least: float
) -> Agreement:
    """Return the regression over all components of pairs (x, y)."""
    x, y = (np.concatenate([np.empty(0), *(pair[i] for pair in pairs)]) for i in (0, 1))
    scale, norm = float(x @ x), float(np.sqrt((x @ x) * (y @ y)))
    slope = float(x @ y) / scale if scale else np.nan
    correlation = float(x @ y) / norm if norm else 0.0
    return Agreement(name, slope, correlation, len(pairs), tolerance, least)


def geometry_key(record: Record) -> tuple[bytes, bytes]:
    """Return a key that is equal for the same geometry in two sources."""
    # the 0.0 turns -0 into 0
    return record.numbers.tobytes(), (np.round(record.positions, 4) + 0.0).tobytes()
