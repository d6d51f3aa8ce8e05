# SPDX-License-Identifier: MIT
"""Find faulty structures and labels, individually or by comparison with each other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from ase.data import chemical_symbols
from ase.neighborlist import neighbor_list
from scipy.spatial import cKDTree

from eqcalc.datasets.dataset import Dataset
from eqcalc.datasets.label_statistics import (
    element_totals,
    fit_element_values,
    numbers_and_labels,
)
from eqcalc.datasets.record import Record
from eqcalc.molecules import connected_parts
from eqcalc.quantities import ENERGY, Quantity, quantity
from eqcalc.structure_formats import bond_ratios

#: Shortest plausible interatomic distance [Å]; the shortest bond, H2, has 0.74 Å.
CLOSEST_APPROACH = 0.4
#: Geometries whose interatomic distances all agree within this [Å] are duplicates.
SAME_DISTANCE = 1e-5
#: Energies this many robust standard deviations from the median are outliers, and forces
#: this many times the root mean square. Formaldehyde from 10 to 2000 K stays below 17.
OUTLIER = 30.0
#: Checks whose failure may be accepted (:func:`~eqcalc.datasets.convert`).
ACCEPTABLE = (
    *("outliers", "duplicates", "nan", "lengths", "levels", "spins"),
    *("energy", "forces", "dipole", "polarizability"),
)
#: No coordinate is as large as this [Å].
_ABSURD = 1e9
#: Molecules whose parts are further apart than this [Å] are not one structure.
_REMOTE = 20.0
#: Bonds longer than others by this factor, and all of a molecule, are not stretched.
_BOHR_LIKE = 1.6
#: Dipole moment [e Å] of the nuclear charges about the mean position of a molecule that is polar.
_POLAR = 0.1
#: Energies of one composition differ by less than this per atom [eV]: atoms are bound by less.
_BINDING = 15.0

_BLOCK = 4096  # structures looked at together
_LISTED = 5  # structures named in a message
_NOBLE = {2, 10, 18, 36, 54}  # atomic numbers of atoms without bonds
_FEW = 20  # with fewer structures, a spread is not known


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

    def add(self, index: int | None, *faults: str, accepted: bool = False) -> None:
        """Add faults: errors of one structure unless accepted, or warnings about all of them."""
        severity: Literal["error", "warning"] = "warning" if accepted or index is None else "error"
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
    numbers, positions = record.numbers, record.positions
    if not ((numbers > 0) & (numbers < len(chemical_symbols))).all():
        wrong = [int(z) for z in np.unique(numbers) if not 0 < z < len(chemical_symbols)]
        found.append(f"atomic number {', '.join(map(str, wrong))} does not exist (a dummy atom?)")
    usable = _is_usable("positions", positions, found)
    if not (np.isfinite(record.charge) and abs(record.charge) < 1 + abs(numbers).sum()):
        found.append(f"a charge of {record.charge:g} e is not possible")
    elif record.cell is None and abs(record.charge - round(record.charge)) > 0.01:
        found.append(f"a charge of {record.charge:g} e is not that of whole electrons")
    if record.cell is not None and record.pbc is not None:
        periodic = record.cell[record.pbc]
        if not np.isfinite(record.cell).all():
            usable = False
            found.append("the cell is not finite")
        elif np.linalg.matrix_rank(periodic) < len(periodic):
            usable = False
            found.append("periodic cell vectors are linearly dependent")
    if usable and not found:
        found += _overlaps(record)
    for name, value in record.labels.items():
        found += _faults(quantity(name), value)
    return found


def _is_usable(name: str, values: np.ndarray, found: list[str]) -> bool:
    """Return whether values are finite and of a possible size; else add what is wrong."""
    finite = np.isfinite(values).all()
    if not finite:
        found.append(f"{name} are not finite")
    elif np.abs(values).max(initial=0.0) > _ABSURD:
        atom = int(np.argmax(np.abs(values).max(axis=1)))
        found.append(f"{name}: atom {atom} is at {values[atom]} Å, which is not possible")
        return False
    return bool(finite)


def _overlaps(record: Record) -> Iterator[str]:
    """Yield the first pair of atoms that are closer than any bond."""
    if len(record.numbers) < 2 and record.cell is None:
        return
    if record.cell is None:
        pairs = sorted(cKDTree(record.positions).query_pairs(CLOSEST_APPROACH))[:1]
        found = [
            (i, j, np.linalg.norm(record.positions[i] - record.positions[j])) for i, j in pairs
        ]
    else:
        atoms = replace(record, labels={}).atoms()
        i, j, d = neighbor_list("ijd", atoms, CLOSEST_APPROACH)
        found = [(i[k], j[k], d[k]) for k in np.lexsort((j, i))[:1]]
    for first, second, distance in found:
        yield f"atoms {first} and {second} are {distance:.3f} Å apart; is the length unit right?"


def _remote(record: Record) -> str:
    """Return that a molecule is in parts far from each other, or an empty text."""
    if record.cell is not None or not 1 < len(record.numbers) <= 5000:
        return ""
    if np.ptp(record.positions, axis=0).max() < _REMOTE:
        return ""
    pairs = cKDTree(record.positions).query_pairs(_REMOTE, output_type="ndarray")
    part = connected_parts(pairs, len(record.numbers))
    if not part.any():
        return ""
    atom = int(np.flatnonzero(part == np.argmin(np.bincount(part)))[0])
    others = np.linalg.norm(record.positions[part != part[atom]] - record.positions[atom], axis=1)
    return f"atom {atom} is {others.min():.4g} Å from the rest of the molecule"


def _vanishes(record: Record) -> str:
    """Return that the dipole moment of a molecule without symmetry is zero, or an empty text."""
    dipole = record.labels.get("dipole")
    if dipole is None or np.any(dipole) or record.cell is not None:
        return ""
    # the nuclear charges have no dipole moment where symmetry forbids one
    centred = record.positions - record.positions.mean(axis=0)
    polar = float(np.linalg.norm(record.numbers @ centred)) > _POLAR
    return "its dipole is zero, which no symmetry explains: is it missing?" if polar else ""


def _faults(q: Quantity, value: np.ndarray) -> Iterator[str]:
    """Yield the reasons why a label is not a valid value of its quantity."""
    wrong = np.argwhere(~np.isfinite(value))
    if len(wrong):
        where = f" of atom {wrong[0][0]}" if q.per_atom else ""
        yield f"{q.name}{where} is not finite"
    elif np.abs(value).max(initial=0.0) > q.largest:
        where = f" of atom {np.argmax(np.abs(value).max(axis=1))}" if q.per_atom else ""
        yield f"{q.name}{where} of {np.abs(value).max():.4g} {q.unit} is not possible"
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


def validate(dataset: Dataset, *, accept: Collection[str] = ()) -> ValidationReport:
    """Check every structure of `dataset`, duplicates and outliers.

    Duplicates are isolated structures with the same atom order, charge and interatomic
    distances. The energy of an outlier is far from that of others of its composition, or, for
    rare compositions, from a sum of energies of its elements; its forces or other labels are
    much larger than all others; or an atom is far from the rest of the molecule.

    Parameters
    ----------
    dataset
        The structures.
    accept
        ``"outliers"`` or ``"duplicates"``, which are then warnings.
    """
    report = ValidationReport(len(dataset))
    odd = []
    for index, record in enumerate(dataset):
        report.add(index, *check_record(record))
        unlikely = (
            [_remote(record), _vanishes(record)] if np.isfinite(record.positions).all() else []
        )
        report.add(index, *filter(None, unlikely), accepted="outliers" in accept)
        if record.cell is None and record.unpaired_electrons is None and _least_unpaired(record):
            odd.append(index)
    usable = np.setdiff1d(np.arange(len(dataset)), report.bad)
    for name, find in (
        ("lengths", _other_lengths),
        ("spins", _other_spins),
        ("duplicates", _duplicates),
        ("outliers", _energy_outliers),
        ("outliers", _force_faults),
        ("outliers", _large_labels),
    ):
        for row, fault in find(dataset, usable):
            report.add(row, fault, accepted=name in accept)
    if odd:
        listed = list_structures({"an odd number of electrons": np.array(odd)})
        report.add(None, f"{listed}: radicals, or is a charge missing?")
    report.problems.sort(key=lambda p: (-1 if p.index is None else p.index, p.severity))
    return report


def _least_unpaired(record: Record) -> int:
    """Return the least possible number of unpaired electrons, 0 or 1."""
    return int(record.numbers.sum() - round(record.charge)) % 2


def _other_spins(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield molecules in another spin state than most of their composition and charge."""
    groups: dict[tuple[bytes, float], list[tuple[int, int]]] = defaultdict(list)
    for index, record in zip(usable, dataset.records(usable), strict=True):
        if record.cell is None:
            known = record.unpaired_electrons
            unpaired = _least_unpaired(record) if known is None else known
            key = np.sort(record.numbers).tobytes(), record.charge
            groups[key].append((int(index), unpaired))
    for members in groups.values():
        counts = Counter(unpaired for _, unpaired in members)
        usual = max(counts, key=lambda unpaired: (counts[unpaired], -unpaired))
        for row, unpaired in members:
            if unpaired != usual:
                yield (
                    row,
                    f"its multiplicity is {unpaired + 1}, and {usual + 1} of most of its "
                    "composition: a model has one energy for each geometry",
                )


def _duplicates(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield duplicates of earlier structures."""
    for rows in same_molecule(dataset, usable):
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
    if len(known) < 2:
        return
    numbers, energies = numbers_and_labels(dataset, "energy", known)
    empty = (energies == 0.0) & (np.median(np.abs(energies)) > _BINDING)
    yield from ((int(row), "its energy is zero, unlike the others") for row in known[empty])
    groups: dict[bytes, list[int]] = defaultdict(list)
    for row in map(int, np.flatnonzero(~empty)):
        groups[np.sort(numbers[row]).tobytes()].append(row)
    rare = []
    for rows in groups.values():
        off = energies[rows] - np.median(energies[rows])
        yield from _far(off, known[rows], "of the same composition", len(numbers[rows[0]]))
        if len(rows) <= _FEW:
            rare += rows
    if len(rare) > _FEW:
        few = [numbers[row] for row in rare]
        references = fit_element_values(ENERGY, few, energies[rare], robust=True)
        residual = energies[rare] - element_totals(ENERGY, few, references)
        per_atom = residual / np.array([len(zs) for zs in few])
        off = per_atom - np.median(per_atom)
        yield from _far(off, known[rare], "expected of its elements, per atom")


def _far(
    off: np.ndarray, indices: np.ndarray, others: str, n_atoms: int = 0
) -> Iterator[tuple[int, str]]:
    """Yield structures whose value is far from the median, from which all are `off`.

    Far is beyond :data:`OUTLIER` robust standard deviations; with `n_atoms`, also apart from all
    other energies of the composition, or further than atoms can be bound.
    """
    size = np.abs(off)
    # 1.4826 makes the median absolute deviation that of a Gaussian
    spread = max(1.4826 * float(np.median(size)), 1e-3)
    limit = OUTLIER * spread if len(off) > _FEW else np.inf
    if n_atoms:
        limit = min(limit, _BINDING * n_atoms)
        ascending = np.sort(size)
        for k in range(len(off) - max(1, len(off) // _FEW), len(off)) if len(off) > 2 else ():
            if ascending[k] > 2.0 * ascending[k - 1] + 3.0:  # eV; wide sets have no such gap
                limit = min(limit, 0.5 * (ascending[k] + ascending[k - 1]))
                break
    for row in np.flatnonzero(size > limit):
        spread_text = f", whose spread is {spread:.2g} eV" if len(off) > _FEW else ""
        yield int(indices[row]), f"its energy is {off[row]:+.4g} eV off those {others}{spread_text}"


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
    limit = max(OUTLIER * typical, 20.0 if len(known) <= _FEW else 0.0)
    for row in np.flatnonzero(largest > limit):
        ratio = f"{largest[row] / typical:.0f} times the typical one"
        yield int(known[row]), f"a force of {largest[row]:.4g} eV/Å, {ratio}"
    if np.median(largest) > 0.0:
        for row in np.flatnonzero((largest == 0.0) & (counts > 1)):
            yield int(known[row]), "its forces are zero, unlike the others"
    net = np.linalg.norm(np.add.reduceat(forces, first), axis=1)
    wrong = net > max(0.05 * float(np.sqrt(np.mean(forces**2))), 1e-3)
    if wrong.any():
        yield (
            None,
            f"the forces on {wrong.sum()} structures do not sum to zero "
            f"(most on structure {known[np.argmax(net)]}: {net.max():.2g} eV/Å)",
        )


def _large_labels(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield structures with a label far larger than all others of its kind."""
    for name in dataset.quantities:
        known = usable[dataset.present(name)[usable]]
        if name in ("energy", "forces") or len(known) < 3:
            continue
        numbers, values = numbers_and_labels(dataset, name, known)
        norms = np.abs(values).reshape(len(values), -1).max(axis=1)
        if quantity(name).per_atom:
            counts = np.array([len(zs) for zs in numbers])
            norms = np.maximum.reduceat(norms, np.cumsum(counts) - counts)
        order = np.argsort(norms)
        largest, next_one = norms[order[-1]], norms[order[-2]]
        if largest > OUTLIER * np.median(norms) and largest > 5.0 * next_one > 0.0:
            ratio = f"{largest / next_one:.3g} times the next"
            yield (
                int(known[order[-1]]),
                f"its {name} is {largest:.4g} {quantity(name).unit}, {ratio}",
            )


def _other_lengths(dataset: Dataset, usable: np.ndarray) -> Iterator[tuple[int, str]]:
    """Yield molecules all of whose bonds are longer or shorter by 1.89 than those of the others."""
    rows, scales = [], []
    for index, record in zip(usable, dataset.records(usable), strict=True):
        if record.cell is None and 3 <= len(record.numbers) <= 500:
            nearest = bond_ratios(record.numbers, record.positions).min(axis=1)
            rows.append(int(index))
            scales.append((nearest.min(), nearest.max()))
    if not rows:
        return
    low, high = np.array(scales).T / np.median(np.array(scales)[:, 0])
    for row in np.flatnonzero((low > _BOHR_LIKE) & (high < 2.5) | (high < 1.0 / _BOHR_LIKE)):
        yield (
            rows[row],
            f"its bonds are {low[row]:.2f} times as long as those of the others: is it in bohr?",
        )


def length_fault(dataset: Dataset) -> str:
    """Return why distances in molecules look like bohr taken for ångström, or the reverse.

    The closest atoms of most molecules are bonded, at the sum of their covalent radii; that
    of all structures is off by 1.89 then. Empty if there is no such fault.
    """
    shortest = [
        bond_ratios(record.numbers, record.positions).min()
        for record in dataset.records(np.arange(len(dataset))[:: 1 + len(dataset) // 200])
        if record.cell is None
        and 1 < len(record.numbers) <= 500
        and not set(record.numbers.tolist()) <= _NOBLE
    ]
    if not shortest:
        return ""
    low, typical, high = np.quantile(shortest, (0.25, 0.5, 0.75))
    bohr = next((b for b in (1.889726, 1 / 1.889726) if abs(np.log(typical / b)) < 0.13), None)
    if bohr is None or np.log(high / low) > 0.15:
        return ""
    taken = "bohr, taken for Å" if bohr > 1.0 else "Å, taken for bohr"
    return (
        f"positions: the closest atoms of most structures are at {typical:.2f} times the length "
        f"of a bond; are they in {taken}?"
    )


def pair_distances(positions: np.ndarray) -> np.ndarray:
    """Return the interatomic distances [Å] of ``[n, n_atoms, 3]``, ``[n, n_pairs]``."""
    i, j = np.triu_indices(positions.shape[1], 1)
    return np.linalg.norm(positions[:, i] - positions[:, j], axis=-1)


def same_molecule(dataset: Dataset, usable: np.ndarray) -> list[np.ndarray]:
    """Return groups of isolated molecules with the same atoms, in order, and charge."""
    groups: dict[tuple[bytes, float], list[int]] = defaultdict(list)
    for index, record in zip(usable, dataset.records(usable), strict=True):
        if record.cell is None and len(record.numbers) > 1:
            groups[record.numbers.tobytes(), record.charge].append(int(index))
    return [np.array(rows) for rows in groups.values() if len(rows) > 1]
