# SPDX-License-Identifier: MIT
"""Find structures and labels that cannot be right, and report them by index."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from scipy.spatial import cKDTree

from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.label_statistics import fit_element_values
from eqcalc.datasets.record import Record
from eqcalc.quantities import ENERGY, quantity

#: Nuclei are never this close [Å]; the shortest bond, H2, has 0.74 Å.
CLOSEST_APPROACH = 0.4
#: Two geometries are one if all their interatomic distances agree to this [Å].
SAME_DISTANCE = 1e-5
#: Energies this many robust standard deviations off are outliers, as are atoms
#: with a force this many times the root mean square. Thermal and even strongly
#: distorted data stay below 10.
OUTLIER = 30.0

_BLOCK = 4096  # structures looked at together
_LISTED = 5  # structures named in a message


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

    An error makes a structure useless or harmful for training; a warning is
    unusual but may be right.
    """

    n_structures: int
    problems: list[Problem] = field(default_factory=list)

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
        shown = [*self.errors, *self.warnings][:limit]
        more = len(self.problems) - len(shown)
        head = (
            f"{self.n_structures} structures: {len(self.errors)} errors, "
            f"{len(self.warnings)} warnings"
        )
        lines = [head, *(f"  {problem}" for problem in shown)]
        return "\n".join([*lines, f"  and {more} more"] if more else lines)


def check_record(record: Record) -> list[str]:
    """Return what is wrong with one structure, regardless of all others."""
    found = []
    if not np.isfinite(record.positions).all():
        found.append("positions are not finite")
    for name, value in record.labels.items():
        wrong = np.argwhere(~np.isfinite(value))
        if len(wrong):
            where = f" of atom {wrong[0][0]}" if quantity(name).per_atom else ""
            found.append(f"{name}{where} is not finite")
    if record.cell is not None and record.pbc is not None:
        periodic = record.cell[record.pbc]
        if np.linalg.matrix_rank(periodic) < len(periodic):
            found.append("periodic cell vectors are linearly dependent")
    elif len(record.numbers) > 1 and np.isfinite(record.positions).all():
        pairs = cKDTree(record.positions).query_pairs(CLOSEST_APPROACH)
        if pairs:
            i, j = min(pairs)
            distance = np.linalg.norm(record.positions[i] - record.positions[j])
            found.append(f"atoms {i} and {j} are {distance:.3f} Å apart; is the length unit right?")
    return [*found, *_check_tensors(record)]


def _check_tensors(record: Record) -> Iterator[str]:
    """Yield which labels lack the symmetry of their quantity."""
    for name, value in record.labels.items():
        q = quantity(name)
        if q.rank != 2 or not np.isfinite(value).all():
            continue
        transposed = np.swapaxes(value, -1, -2)
        tolerance = 0.01 * np.abs(value).max(initial=0.0)
        if q.symmetric and np.abs(value - transposed).max(initial=0.0) > tolerance:
            yield f"{name} is not symmetric"
        elif q.positive_definite and np.linalg.eigvalsh(0.5 * (value + transposed)).min() <= 0.0:
            yield f"{name} is not positive definite; a static one is. Is its sign right?"
        if q.traceless and np.abs(np.trace(value, axis1=-2, axis2=-1)).max() > tolerance:
            yield f"{name} is not traceless"


def not_finite(dataset: Dataset, names: Collection[str]) -> dict[str, np.ndarray]:
    """Find structures with a number that is not finite, though it is there.

    A label that is not known is no such number: a dataset marks it as absent.

    Parameters
    ----------
    dataset
        Labelled structures.
    names
        Labels to look at, besides positions, cells and charges.

    Returns
    -------
    dict
        Indices in `dataset`, ascending, by what is not finite; only where there are some.
    """
    found: dict[str, list[np.ndarray]] = {}
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
                found.setdefault(name, []).append(rows[wrong.numpy()])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def list_structures(found: Mapping[str, np.ndarray]) -> str:
    """Return what :func:`not_finite` found as text."""
    texts = []
    for name, indices in found.items():
        listed = ", ".join(str(index) for index in indices[:_LISTED])
        more = f" and {len(indices) - _LISTED} more" if len(indices) > _LISTED else ""
        texts.append(f"{name} of structure{'s' * (len(indices) > 1)} {listed}{more}")
    return "; ".join(texts)


def validate(dataset: Dataset) -> ValidationReport:
    """Check every structure of `dataset`, duplicates and outliers.

    Duplicates are isolated structures of equal composition, atom order and
    charge whose interatomic distances all agree. The energy of an outlier is
    far from that of others of its composition, or of its elements where a
    composition occurs once or a few times.
    """
    report = ValidationReport(len(dataset))
    for index, record in enumerate(dataset):
        report.problems += [Problem(index, "error", m) for m in check_record(record)]
    usable = np.setdiff1d(np.arange(len(dataset)), report.bad)
    for duplicate, original in _duplicates(dataset, usable):
        report.problems.append(
            Problem(duplicate, "error", f"same geometry as structure {original}")
        )
    for index, message in _outliers(dataset, usable):
        report.problems.append(Problem(index, "error", message))
    report.problems += _net_forces(dataset, usable)
    report.problems.sort(key=lambda p: (-1 if p.index is None else p.index, p.severity))
    return report


def _duplicates(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, int]]:
    for rows in same_molecule(dataset, usable):
        records = list(dataset.records(rows))
        shapes = pair_distances(np.stack([r.positions for r in records]))
        pairs = cKDTree(shapes).query_pairs(SAME_DISTANCE, p=np.inf, output_type="ndarray")
        first: dict[int, int] = {}
        for a, b in sorted(map(tuple, np.sort(pairs, axis=1).tolist())):
            first.setdefault(b, first.get(a, a))
        for b, a in first.items():
            yield int(rows[b]), int(rows[a])


def pair_distances(positions: np.ndarray) -> np.ndarray:
    """Return the interatomic distances [Å] of ``[n, n_atoms, 3]``, ``[n, n_pairs]``."""
    i, j = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)


def same_molecule(dataset: Dataset, usable: np.ndarray) -> list[np.ndarray]:
    """Return groups of isolated molecules alike in atoms, their order, and charge."""
    groups: dict[tuple[bytes, float], list[int]] = {}
    for index, record in zip(usable, dataset.records(usable), strict=True):
        if record.cell is None and len(record.numbers) > 1:
            groups.setdefault((record.numbers.tobytes(), record.charge), []).append(int(index))
    return [np.array(rows) for rows in groups.values() if len(rows) > 1]


def _outliers(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    known = usable[dataset.present("energy")[usable]]
    if len(known) > 20:
        yield from _energy_outliers(dataset, known)
    known = usable[dataset.present("forces")[usable]]
    if len(known) > 20:
        values, _ = dataset.labels(known)
        norms = values["forces"].norm(dim=1).numpy()
        counts = dataset.counts[known]
        largest = np.maximum.reduceat(norms, np.cumsum(counts) - counts)
        # half of the atoms are below the median, whatever the outliers are
        typical = 1.3 * np.median(norms[norms > 0]) if (norms > 0).any() else 0.0
        for index, force in zip(known, largest, strict=True):
            if typical and force > OUTLIER * typical:
                yield (
                    int(index),
                    (f"a force of {force:.4g} eV/Å, {force / typical:.0f} times the typical one"),
                )


def _energy_outliers(dataset: Dataset, known: np.ndarray) -> Iterator[tuple[int, str]]:
    values, _ = dataset.labels(known)
    energies = values["energy"].numpy()
    records = list(dataset.records(known))
    groups: dict[bytes, list[int]] = {}
    for row, record in enumerate(records):
        groups.setdefault(np.sort(record.numbers).tobytes(), []).append(row)
    rare = []
    for rows in groups.values():
        if len(rows) > 20:
            yield from _far(energies[rows], known[rows], "of the same composition")
        else:
            rare += rows
    if len(rare) > 20:
        counts = dataset.counts[known][rare]
        numbers = [records[row].numbers for row in rare]
        references = fit_element_values(ENERGY, numbers, energies[rare], robust=True)
        residual = energies[rare] - [sum(references[int(z)] for z in zs) for zs in numbers]
        yield from _far(residual / counts, known[rare], "expected of its elements, per atom")


def _far(values: np.ndarray, indices: np.ndarray, others: str) -> Iterator[tuple[int, str]]:
    median = np.median(values)
    # 1.4826 makes the median absolute deviation that of a Gaussian
    spread = max(1.4826 * float(np.median(np.abs(values - median))), 1e-3)
    for index, value in zip(indices, values, strict=True):
        if abs(value - median) > OUTLIER * spread:
            yield (
                int(index),
                (
                    f"its energy is {value - median:+.4g} eV off those {others}, whose spread is "
                    f"{spread:.2g} eV"
                ),
            )


def _net_forces(dataset: Dataset, usable: np.ndarray) -> Sequence[Problem]:
    """Warn if the forces on isolated structures do not sum to zero."""
    known = usable[dataset.present("forces")[usable]]
    if not len(known):
        return []
    values, _ = dataset.labels(known)
    structures = dataset.structures(known)
    net = structures.sum_over_atoms(values["forces"]).norm(dim=1).numpy()
    scale = float(values["forces"].pow(2).mean().sqrt())
    wrong = net > max(0.05 * scale, 1e-3)
    if not wrong.any():
        return []
    worst = int(known[np.argmax(net)])
    return [
        Problem(
            None,
            "warning",
            f"the forces on {int(wrong.sum())} structures do not sum to zero "
            f"(most on structure {worst}: {net.max():.2g} eV/Å)",
        )
    ]
