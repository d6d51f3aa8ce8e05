# SPDX-License-Identifier: MIT
"""Find faulty structures and labels, individually or by comparison.

:func:`validate` lists faults of structures by index. :func:`check_forces` and
:func:`compare_labels` are regressions through the origin, which detect wrong units and
signs but not small errors of labels.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import cKDTree

from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.label_statistics import (
    element_totals,
    fit_element_values,
    numbers_and_labels,
)
from eqcalc.datasets.record import Record
from eqcalc.quantities import ENERGY, Quantity, quantity
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError

#: Shortest plausible interatomic distance [Å]; the shortest bond, H2, has 0.74 Å.
CLOSEST_APPROACH = 0.4
#: Geometries whose interatomic distances all agree within this [Å] are duplicates.
SAME_DISTANCE = 1e-5
#: Energies this many robust standard deviations from the median are outliers, and forces
#: this many times the root mean square. Even strongly distorted data stay below 10.
OUTLIER = 30.0

_BLOCK = 4096  # structures looked at together
_LISTED = 5  # structures named in a message
_FEW = 20  # with fewer structures nothing is called an outlier

#: Units that labels are often mistaken for.
_MISTAKEN = {
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


# --- faults of structures -------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """Something wrong with a structure, or with all of them if `index` is None."""

    index: int | None
    severity: Literal["error", "warning"]
    message: str

    def __str__(self) -> str:
        where = "all structures" if self.index is None else f"structure {self.index}"
        return f"{self.severity}: {where}: {self.message}"


@dataclass
class ValidationReport:
    """Problems found among `n_structures` structures.

    An error makes a structure unsuitable for training; a warning marks something unusual that
    may be correct.
    """

    n_structures: int
    problems: list[Problem] = field(default_factory=list)

    def add(self, index: int | None, *faults: str) -> None:
        """Add faults: errors of one structure, or warnings about all of them."""
        severity: Literal["error", "warning"] = "warning" if index is None else "error"
        self.problems += [Problem(index, severity, fault) for fault in faults]

    @property
    def errors(self) -> list[Problem]:
        """The problems that are errors."""
        return [p for p in self.problems if p.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that are warnings."""
        return [p for p in self.problems if p.severity == "warning"]

    @property
    def bad(self) -> list[int]:
        """Indices of structures with an error, ascending."""
        return sorted({p.index for p in self.errors if p.index is not None})

    def __str__(self) -> str:
        return self.summary(len(self.problems))

    def summary(self, limit: int = 20) -> str:
        """Return the text of the report with at most `limit` problems, errors first."""
        errors, warnings = self.errors, self.warnings
        shown = [*errors, *warnings][:limit]
        more = len(self.problems) - len(shown)
        head = f"{self.n_structures} structures: {len(errors)} errors, {len(warnings)} warnings"
        return "\n  ".join([head, *map(str, shown), *([f"and {more} more"] if more else [])])


def check_record(record: Record) -> list[str]:
    """Return the faults of a single structure."""
    found = []
    finite = bool(np.isfinite(record.positions).all())
    if not finite:
        found.append("positions are not finite")
    if record.cell is not None and record.pbc is not None:
        periodic = record.cell[record.pbc]
        if np.linalg.matrix_rank(periodic) < len(periodic):
            found.append("periodic cell vectors are linearly dependent")
    elif len(record.numbers) > 1 and finite:
        pairs = cKDTree(record.positions).query_pairs(CLOSEST_APPROACH)
        if pairs:
            i, j = min(pairs)
            distance = np.linalg.norm(record.positions[i] - record.positions[j])
            found.append(f"atoms {i} and {j} are {distance:.3f} Å apart; is the length unit right?")
    for name, value in record.labels.items():
        found += _faults(quantity(name), value)
    return found


def _faults(q: Quantity, value: np.ndarray) -> Iterator[str]:
    """Yield the reasons why a label is not a valid value of its quantity."""
    wrong = np.argwhere(~np.isfinite(value))
    if len(wrong):
        where = f" of atom {wrong[0][0]}" if q.per_atom else ""
        yield f"{q.name}{where} is not finite"
    elif q.rank == 2:
        transposed = np.swapaxes(value, -1, -2)
        tolerance = 0.01 * np.abs(value).max(initial=0.0)
        if q.symmetric and np.abs(value - transposed).max(initial=0.0) > tolerance:
            yield f"{q.name} is not symmetric"
        elif q.positive_definite and np.linalg.eigvalsh(0.5 * (value + transposed)).min() <= 0.0:
            yield f"{q.name} is not positive definite; a static one is. Is its sign right?"
        if q.traceless and np.abs(np.trace(value, axis1=-2, axis2=-1)).max() > tolerance:
            yield f"{q.name} is not traceless"


def not_finite(dataset: Dataset, names: Collection[str]) -> dict[str, np.ndarray]:
    """Find structures with non-finite values.

    Unknown labels, which a dataset marks as absent, do not count.

    Parameters
    ----------
    dataset
        Labelled structures.
    names
        Labels to check, besides positions, cells and charges.

    Returns
    -------
    dict
        Indices in `dataset`, ascending, by the array with non-finite values.
    """
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for start in range(0, len(dataset), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(dataset)))
        structures = dataset.structures(rows)
        labels, present = dataset.labels(rows)
        values = {"positions": structures.positions, "charge": structures.charge}
        if structures.cell is not None:
            values["cell"] = structures.cell
        for name, value in (values | {name: labels[name] for name in names}).items():
            wrong = ~value.isfinite().reshape(len(value), -1).all(dim=1)
            if name == "positions" or (name in names and quantity(name).per_atom):
                wrong = structures.sum_over_atoms(wrong.double()) > 0.0
            if name in names:
                wrong = wrong & present[name]
            if wrong.any():
                found[name].append(rows[wrong.numpy()])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def list_structures(found: Mapping[str, np.ndarray]) -> str:
    """Return the result of :func:`not_finite` as text."""
    texts = []
    for name, indices in found.items():
        listed = ", ".join(str(index) for index in indices[:_LISTED])
        more = f" and {len(indices) - _LISTED} more" if len(indices) > _LISTED else ""
        texts.append(f"{name} of structure{'s' * (len(indices) > 1)} {listed}{more}")
    return "; ".join(texts)


def validate(dataset: Dataset) -> ValidationReport:
    """Check every structure of `dataset`, duplicates and outliers.

    Duplicates are isolated structures with the same atom order, charge and interatomic
    distances. The energy of an outlier is far from that of others of its composition, or, for
    rare compositions, from a sum of energies of its elements.
    """
    report = ValidationReport(len(dataset))
    for index, record in enumerate(dataset):
        report.add(index, *check_record(record))
    usable = np.setdiff1d(np.arange(len(dataset)), report.bad)
    for find in (_duplicates, _energy_outliers, _force_faults):
        for row, fault in find(dataset, usable):
            report.add(row, fault)
    report.problems.sort(key=lambda p: (-1 if p.index is None else p.index, p.severity))
    return report


def _duplicates(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield duplicates of earlier structures."""
    for rows in _same_molecule(dataset, usable):
        shapes = pair_distances(np.stack([r.positions for r in dataset.records(rows)]))
        pairs = cKDTree(shapes).query_pairs(SAME_DISTANCE, p=np.inf, output_type="ndarray")
        first: dict[int, int] = {}
        for a, b in sorted(map(tuple, np.sort(pairs, axis=1).tolist())):
            first.setdefault(b, first.get(a, a))
        for b, a in first.items():
            yield int(rows[b]), f"same geometry as structure {rows[a]}"


def _energy_outliers(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield structures whose energy is far from that of comparable ones."""
    known = usable[dataset.present("energy")[usable]]
    if len(known) <= _FEW:
        return
    numbers, energies = numbers_and_labels(dataset, "energy", known)
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row, zs in enumerate(numbers):
        groups[np.sort(zs).tobytes()].append(row)
    rare = []
    for rows in groups.values():
        if len(rows) > _FEW:
            yield from _far(energies[rows], known[rows], "of the same composition")
        else:
            rare += rows
    if len(rare) > _FEW:
        few = [numbers[row] for row in rare]
        references = fit_element_values(ENERGY, few, energies[rare], robust=True)
        residual = energies[rare] - element_totals(ENERGY, few, references)
        per_atom = residual / np.array([len(zs) for zs in few])
        yield from _far(per_atom, known[rare], "expected of its elements, per atom")


def _far(values: np.ndarray, indices: np.ndarray, others: str) -> Iterator[tuple[int, str]]:
    """Yield structures whose value is far from the median."""
    off = values - np.median(values)
    # 1.4826 makes the median absolute deviation that of a Gaussian
    spread = max(1.4826 * float(np.median(np.abs(off))), 1e-3)
    for row in np.flatnonzero(np.abs(off) > OUTLIER * spread):
        yield (
            int(indices[row]),
            f"its energy is {off[row]:+.4g} eV off those {others}, whose spread is {spread:.2g} eV",
        )


def _force_faults(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int | None, str]]:
    """Yield structures with outlying forces, and whether net forces do not vanish."""
    known = usable[dataset.present("forces")[usable]]
    if not len(known):
        return
    numbers, forces = numbers_and_labels(dataset, "forces", known)
    counts = np.array([len(zs) for zs in numbers])
    first = np.cumsum(counts) - counts
    norms = np.linalg.norm(forces, axis=1)
    # the median is insensitive to outliers
    typical = 1.3 * np.median(norms[norms > 0.0]) if (norms > 0.0).any() else np.inf
    largest = np.maximum.reduceat(norms, first)
    for row in np.flatnonzero(largest > OUTLIER * typical) if len(known) > _FEW else ():
        ratio = f"{largest[row] / typical:.0f} times the typical one"
        yield int(known[row]), f"a force of {largest[row]:.4g} eV/Å, {ratio}"
    net = np.linalg.norm(np.add.reduceat(forces, first), axis=1)
    wrong = net > max(0.05 * float(np.sqrt(np.mean(forces**2))), 1e-3)
    if wrong.any():
        yield (
            None,
            f"the forces on {wrong.sum()} structures do not sum to zero "
            f"(most on structure {known[np.argmax(net)]}: {net.max():.2g} eV/Å)",
        )


def pair_distances(positions: np.ndarray) -> np.ndarray:
    """Return the interatomic distances [Å] of ``[n, n_atoms, 3]``, ``[n, n_pairs]``."""
    i, j = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)


def _same_molecule(dataset: Dataset, usable: np.ndarray) -> list[np.ndarray]:
    """Return groups of isolated molecules with the same atoms, in order, and charge."""
    groups: dict[tuple[bytes, float], list[int]] = defaultdict(list)
    for index, record in zip(usable, dataset.records(usable), strict=True):
        if record.cell is None and len(record.numbers) > 1:
            groups[record.numbers.tobytes(), record.charge].append(int(index))
    return [np.array(rows) for rows in groups.values() if len(rows) > 1]


# --- labels beside each other ---------------------------------------------------------


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
    """

    quantity: str
    slope: float
    correlation: float
    n: int
    tolerance: float
    least_correlation: float

    @property
    def conclusive(self) -> bool:
        """Whether the data are sufficient and well enough correlated to judge."""
        return self.n >= 10 and abs(self.correlation) > self.least_correlation

    @property
    def ok(self) -> bool:
        """Whether the labels are consistent, as far as can be judged."""
        return not self.conclusive or (
            self.slope > 0.0 and abs(np.log(self.slope)) <= self.tolerance
        )

    def __str__(self) -> str:
        head = (
            f"{self.quantity}: slope {self.slope:.4g}, correlation {self.correlation:.4f} "
            f"({self.n} pairs)"
        )
        if self.ok:
            return f"{head}: {'consistent' if self.conclusive else 'not conclusive'}"
        sign = "wrong sign (gradients taken as forces?)"
        advice = [sign if self.slope < 0.0 else "off by this factor"]
        q = quantity(self.quantity)
        mistaken = _MISTAKEN.get(q.name, tuple(unit for unit, _ in q.report))
        factors = {unit: q.factor_from(unit) for unit in mistaken} | _CONFUSED.get(q.name, {})
        for unit, factor in factors.items():
            for ratio in (factor, 1.0 / factor):
                if abs(np.log(abs(self.slope) / ratio)) < min(self.tolerance, 0.15):
                    advice.append(f"{ratio:.4g} would be a mistaken unit ({unit})")
        return f"{head}: {'; '.join(advice)}"


def check_forces(
    dataset: Dataset, rng: np.random.Generator, *, n_pairs: int = 300, reach: float = 0.3
) -> Agreement:
    """Compare energy differences between similar geometries with the work of the forces.

    For two geometries of one molecule, superposed, E₂ − E₁ ≈ −½(F₁ + F₂)·(r₂ − r₁)
    up to third order in the displacement. Pairs too far apart degrade the correlation before
    the slope; below 0.95 the check is inconclusive. The slope is that of energy differences
    against work: the factor by which the forces are too small.

    Parameters
    ----------
    rng
        Random generator for the choice of geometries to compare with their nearest neighbours.
    n_pairs
        Number of pairs.
    reach
        Largest root-mean-square displacement of the atoms between a pair [Å].
    """
    pairs = []
    both = np.flatnonzero(dataset.present("energy") & dataset.present("forces"))
    for rows in _same_molecule(dataset, both):
        chosen = rng.permutation(len(rows))[: max(2, n_pairs * len(rows) // max(1, len(both)))]
        records = list(dataset.records(rows))
        positions = np.stack([record.positions for record in records])
        positions -= positions.mean(axis=1, keepdims=True)
        shapes = pair_distances(positions)
        _, nearest = cKDTree(shapes).query(shapes[chosen], k=2)
        for one, neighbours in zip(chosen, nearest, strict=True):
            other = int(neighbours[1] if neighbours[0] == one else neighbours[0])
            rotation = _superposition(positions[other], positions[one])
            shift = positions[other] @ rotation - positions[one]
            if np.sqrt(np.mean(np.sum(shift**2, axis=1))) > reach:
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
    known = labelled_structures(other, name)
    places = dict(zip(map(_geometry, other.records(known)), known, strict=True))

    def trusted(record: Record) -> ArrayLike | None:
        row = places.get(_geometry(record))
        return None if row is None else other[row].labels[name]

    found = compare(dataset, name, trusted, tolerance)
    if not found.n:
        raise InvalidInputError(
            f"{dataset.path} and {other.path} share no geometry with a {name}", key="other"
        )
    return found


def compare(
    dataset: Dataset, name: str, trusted: Callable[[Record], ArrayLike | None], tolerance: float
) -> Agreement:
    """Compare the label `name` of structures with trusted ones, where available."""
    records = dataset.records(labelled_structures(dataset, name))
    found = [(trusted(record), record.labels[name]) for record in records]
    pairs = [(np.ravel(x), np.ravel(y)) for x, y in found if x is not None]
    return _regression(name, pairs, tolerance, 0.8)


def labelled_structures(dataset: Dataset, name: str) -> np.ndarray:
    """Return the indices of structures with the label `name`, if sources are comparable.

    Raises
    ------
    InvalidInputError
        It is an energy, whose zero may differ, or no structure has the label.
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


def _regression(
    name: str, pairs: Sequence[tuple[ArrayLike, ArrayLike]], tolerance: float, least: float
) -> Agreement:
    """Return the regression over all components of pairs (x, y)."""
    x, y = (np.concatenate([np.empty(0), *(pair[i] for pair in pairs)]) for i in (0, 1))
    scale, norm = float(x @ x), float(np.sqrt((x @ x) * (y @ y)))
    slope = float(x @ y) / scale if scale else np.nan
    correlation = float(x @ y) / norm if norm else 0.0
    return Agreement(name, slope, correlation, len(pairs), tolerance, least)


def _geometry(record: Record) -> tuple[bytes, bytes]:
    """Return a key that is equal for the same geometry in two sources."""
    # the 0.0 turns -0 into 0
    return record.numbers.tobytes(), (np.round(record.positions, 4) + 0.0).tobytes()


def _superposition(moving: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """Return the orthogonal matrix Q that minimises |moving @ Q − fixed|, both centred.

    Improper ones are allowed: distances do not tell a geometry from its mirror
    image, and neither does the energy.
    """
    u, _, vt = np.linalg.svd(moving.T @ fixed)
    return np.asarray(u @ vt)
