# SPDX-License-Identifier: MIT
"""Sample geometries of classical and quantum nuclei to train a potential on.

Path-integral simulations evaluate the potential at beads, whose stiff bonds are displaced
by zero-point motion at any temperature. Classical dynamics does not sample such geometries,
so a plan combines it with three kinds of quantum displacements: about the conformers, about
geometries with rotated torsions, and of ring-polymer beads about snapshots of the dynamics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.langevin import Langevin
from scipy.spatial import cKDTree

from eqcalc.datasets.checks import pair_distances
from eqcalc.datasets.record import Record
from eqcalc.labelling.conformer_search import conformers, relax, rotatable_bonds, rotate
from eqcalc.labelling.method import ConvergenceError, Method, MethodCalculator
from eqcalc.molecules import isolated_molecule, open_shell, total_charge, unconstrained
from eqcalc.normal_modes import (
    NormalModes,
    finite_difference_hessian,
    is_linear,
    ring_polymer_displacements,
    wigner_displacements,
)
from eqcalc.progress import progress_bar
from eqcalc.validation import InvalidInputError, non_negative
from eqcalc.workers import Processes, map_unordered

_AT_ONCE = 500  # largest number of geometries per task


class SamplingError(RuntimeError):
    """Too few geometries are distinct and low in energy.

    Attributes
    ----------
    missing
        Number of missing geometries by source.
    maximum_energy
        Geometries more than this above the lowest conformer were discarded [eV].
    """

    def __init__(self, missing: dict[str, int], maximum_energy: float) -> None:
        self.missing, self.maximum_energy = missing, maximum_energy
        short = ", ".join(f"{number} of {source}" for source, number in missing.items())
        super().__init__(
            f"too few geometries are distinct and at most {maximum_energy:.2f} eV above the "
            f"lowest conformer; missing: {short}; raise maximum_energy or lower minimum_distance"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.missing, self.maximum_energy)


@dataclass(frozen=True)
class SamplingPlan:
    """Composition of a sample; shares are relative weights.

    Parameters
    ----------
    classical
        Shares of Langevin-dynamics snapshots, by temperature [K].
    wigner
        Shares of Wigner-sampled displacements about the conformers, by temperature [K].
    torsional_wigner
        Shares of the same about conformers whose rotatable bonds are rotated by random
        angles, by temperature [K]; modes below `stiff_wavenumber` are not displaced. Added
        to `wigner` for molecules without rotatable bonds.
    ring_polymer
        Shares of ring-polymer beads about snapshots of the dynamics, by temperature [K].
    n_beads
        Beads of each ring polymer.
    draws_per_hessian
        Geometries drawn about each rotated geometry or snapshot.
    stiff_wavenumber
        See `torsional_wigner` [cm⁻¹].
    timestep, friction, interval, equilibration
        Langevin dynamics: time step [fs], friction [1/fs], time between snapshots and before
        the first [fs].
    maximum_energy
        Geometries more than this above the lowest conformer are discarded [eV]; by default
        1 eV plus 0.15 eV per vibrational mode, since zero-point motion alone contributes a
        potential energy of ħω/4, up to 0.12 eV, per mode.
    minimum_distance
        Geometries that differ by less than this in their interatomic distances are
        duplicates [Å].
    """

    classical: dict[float, float]
    wigner: dict[float, float]
    torsional_wigner: dict[float, float]
    ring_polymer: dict[float, float]
    n_beads: int = 16
    draws_per_hessian: int = 4
    stiff_wavenumber: float = 400.0
    timestep: float = 0.5
    friction: float = 0.01
    interval: float = 10.0
    equilibration: float = 500.0
    maximum_energy: float | None = None
    minimum_distance: float = 0.01

    @classmethod
    def default(cls) -> SamplingPlan:
        """Return the plan for a small molecule to be simulated near room temperature."""
        return cls(
            classical={300.0: 0.15, 500.0: 0.15, 800.0: 0.15},
            wigner={300.0: 0.08, 500.0: 0.07},
            torsional_wigner={300.0: 0.10, 500.0: 0.05},
            ring_polymer={300.0: 0.15, 500.0: 0.10},
        )

    def settings(self) -> dict[str, Any]:
        """Return the plan, JSON-able."""
        return {
            key: {str(t): s for t, s in value.items()} if isinstance(value, dict) else value
            for key, value in asdict(self).items()
        }


def sampled_temperatures(provenance: Mapping[str, Any]) -> tuple[float, float] | None:
    """Return the range of temperatures [K] at which the geometries of a dataset were sampled.

    None if its provenance does not record the plan of all its structures.
    """
    parts = [provenance, *provenance.get("appended", ())]
    found = []
    for plan in (part.get("sampling") for part in parts):
        if not isinstance(plan, Mapping):
            return None
        kinds = ("classical", "wigner", "torsional_wigner", "ring_polymer")
        found += [float(t) for kind in kinds for t, share in plan.get(kind, {}).items() if share]
    return (min(found), max(found)) if found else None


def langevin(
    atoms: ase.Atoms,
    method: Method,
    temperature: float,
    n: int,
    rng: np.random.Generator,
    *,
    timestep: float = 0.5,
    friction: float = 0.01,
    interval: float = 10.0,
    equilibration: float = 500.0,
) -> Iterator[ase.Atoms]:
    """Yield `n` snapshots of Langevin dynamics at `temperature` [K].

    Parameters
    ----------
    timestep, interval, equilibration
        Time step, time between snapshots and time before the first [fs].
    friction
        Friction [1/fs].

    Raises
    ------
    ConvergenceError
        A step of the dynamics could not be computed.
    """
    moving = unconstrained(atoms).copy()
    moving.calc = MethodCalculator(method)
    scale = np.sqrt(moving.get_masses() * ase.units.kB * temperature)
    moving.set_momenta(scale[:, None] * rng.standard_normal((len(moving), 3)))
    dynamics = Langevin(
        moving,
        timestep * ase.units.fs,
        temperature_K=temperature,
        friction=friction / ase.units.fs,
        fixcm=False,
        rng=rng,
    )
    dynamics.run(round(equilibration / timestep))
    for _ in range(n):
        dynamics.run(max(1, round(interval / timestep)))
        yield _centred(moving)


def sample(
    molecule: ase.Atoms | Sequence[ase.Atoms],
    method: Method,
    n: int,
    rng: np.random.Generator,
    plan: SamplingPlan | None = None,
    *,
    processes: Processes = 1,
    progress: bool = False,
) -> list[Record]:
    """Sample `n` distinct geometries of a molecule.

    Parameters
    ----------
    molecule
        One geometry, to start a conformer search from, or conformers of one molecule with
        the same order of atoms; they are relaxed.
    method
        A fast method for the dynamics and the normal modes.
    rng
        Random generator, which determines the result.
    n, plan, processes, progress
        See :func:`~eqcalc.labelling.generate`; `processes` do not change the result.

    Returns
    -------
    list of Record
        Without labels, centred at the centre of mass, in random order, so that
        any prefix is a fair sample.
    """
    plan = plan or SamplingPlan.default()
    if isinstance(molecule, ase.Atoms):
        starts = conformers(unconstrained(isolated_molecule(molecule)), method, rng=rng)
    else:
        given = [unconstrained(isolated_molecule(atoms)) for atoms in molecule]
        if not given or any(not np.array_equal(a.numbers, given[0].numbers) for a in given):
            raise InvalidInputError(
                key="molecule",
                value=[str(atoms.symbols) for atoms in given],
                expected="conformers of one molecule with its atoms in one order",
            )
        for index, atoms in enumerate(given):
            said, wanted = ((total_charge(a), open_shell(a)) for a in (atoms, given[0]))
            if said != wanted:
                raise InvalidInputError(
                    "conformers have one charge and spin",
                    key=f"molecule[{index}].charge",
                    value=said[0] if said[0] != wanted[0] else said[1],
                    expected=str(wanted[0] if said[0] != wanted[0] else wanted[1]),
                )
        starts = [relax(atoms, method) for atoms in given]
    highest = plan.maximum_energy
    if highest is None:
        highest = 1.0 + 0.15 * max(1, 3 * len(starts[0]) - 6)
    floor = min(float(method.label(atoms, ("energy",))["energy"]) for atoms in starts)
    linear = is_linear(starts[0].positions, starts[0].get_masses())
    state = _State(tuple(starts), method, plan, floor + highest, linear)

    quotas = _quotas(plan, n, bool(rotatable_bonds(starts[0])))
    missing = quotas
    drawn: list[Record] = []
    with progress_bar(total=n, shown=progress, desc="sampling", unit="geometries") as bar:
        for _ in range(20):  # replace what was discarded
            shares = [
                (*key, share)
                for key, number in missing.items()
                for share in _split(number, -(-number // _AT_ONCE))
            ]
            tasks = [
                _Task(number, *share, child)
                for number, (share, child) in enumerate(
                    zip(shares, rng.spawn(len(shares)), strict=True)
                )
            ]
            found: dict[int, list[Record]] = {}
            for number, records in map_unordered(_draw, state, tasks, processes):
                found[number] = records
                bar.update(len(records))
            fresh = [record for number in sorted(found) for record in found[number]]
            drawn = distinct([*drawn, *fresh], plan.minimum_distance)
            bar.update(len(drawn) - bar.n)
            kept = Counter(record.source for record in drawn)
            missing = {
                key: quota - kept[_source(*key)]
                for key, quota in quotas.items()
                if quota > kept[_source(*key)]
            }
            if not missing:
                return [drawn[i] for i in rng.permutation(len(drawn))]
    raise SamplingError({_source(*key): number for key, number in missing.items()}, highest)


def finite_difference_modes(
    atoms: ase.Atoms, method: Method, step: float = 0.005, *, linear: bool | None = None
) -> NormalModes:
    """Return the normal modes about `atoms` from central differences of the forces.

    Away from a stationary point they are those of the local quadratic expansion.

    Parameters
    ----------
    step
        Displacement of each coordinate [Å].
    linear
        Whether the molecule is linear, if `atoms` are not at its minimum.
    """
    moved = unconstrained(atoms).copy()

    def forces(displaced: np.ndarray) -> np.ndarray:
        found = []
        for positions in displaced:
            moved.positions = positions
            found.append(method.label(moved, ("forces",))["forces"])
        return np.array(found)

    hessian = finite_difference_hessian(atoms.positions, forces, step)
    return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian, linear=linear)


def distinct(records: Sequence[Record], minimum_distance: float) -> list[Record]:
    """Return `records` of one molecule without near-duplicates, the first of each kept.

    Two geometries are the same if the root-mean-square difference of their interatomic
    distances is below `minimum_distance` [Å]; mirror images thus count as the same.
    """
    if not records:
        return []
    distances = pair_distances(np.stack([record.positions for record in records]))
    shapes = distances / np.sqrt(distances.shape[1])
    close = cKDTree(shapes).query_pairs(minimum_distance, output_type="ndarray")
    dropped: set[int] = set()
    for first, second in sorted(map(tuple, np.sort(close, axis=1).tolist())):
        if first not in dropped:
            dropped.add(second)
    return [record for k, record in enumerate(records) if k not in dropped]


# --- tasks ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """State shared by all tasks."""

    starts: tuple[ase.Atoms, ...]
    method: Method
    plan: SamplingPlan
    ceiling: float
    linear: bool


@dataclass(frozen=True)
class _Task:
    number: int
    kind: str
    temperature: float
    n: int
    rng: np.random.Generator


def _draw(state: _State, task: _Task) -> tuple[int, list[Record]]:
    """Return the geometries of a task below the energy limit.

    If the dynamics or the modes fail the task ends; missing geometries are drawn again.
    """
    kept: list[Record] = []
    geometries = _SOURCES[task.kind][1](state, task)
    with suppress(ConvergenceError):
        for atoms in geometries:
            try:
                energy = float(state.method.label(atoms, ("energy",))["energy"])
            except ConvergenceError:
                continue
            if energy <= state.ceiling:
                kept.append(Record.from_atoms(atoms, source=_source(task.kind, task.temperature)))
    return task.number, kept


def _source(kind: str, temperature: float) -> str:
    return f"{_SOURCES[kind][0]} {temperature:g} K"


# --- the four sources -----------------------------------------------------------------


def _snapshots(state: _State, task: _Task) -> Iterator[ase.Atoms]:
    plan = state.plan
    for start, share in zip(state.starts, _split(task.n, len(state.starts)), strict=True):
        if share:
            yield from langevin(
                *(start, state.method, task.temperature, share, task.rng),
                timestep=plan.timestep,
                friction=plan.friction,
                interval=plan.interval,
                equilibration=plan.equilibration,
            )


def _about_conformers(state: _State, task: _Task) -> Iterator[ase.Atoms]:
    for start, share in zip(state.starts, _split(task.n, len(state.starts)), strict=True):
        modes = finite_difference_modes(start, state.method)
        for shift in wigner_displacements(modes, task.temperature, share, task.rng):
            yield _centred(start, shift)


def _about_turned(state: _State, task: _Task) -> Iterator[ase.Atoms]:
    starts, rng, plan = state.starts, task.rng, state.plan
    bonds = rotatable_bonds(starts[0])
    for share in _split(task.n, -(-task.n // plan.draws_per_hessian)):
        turned = starts[int(rng.integers(len(starts)))]
        for bond in bonds:
            turned = rotate(turned, bond, rng.uniform(0.0, 360.0))
        modes = finite_difference_modes(turned, state.method, linear=state.linear)
        stiff = plan.stiff_wavenumber
        for shift in wigner_displacements(modes, task.temperature, share, rng, stiff):
            yield _centred(turned, shift)


def _beads(state: _State, task: _Task) -> Iterator[ase.Atoms]:
    rng, n_beads = task.rng, state.plan.n_beads
    shares = _split(task.n, -(-task.n // state.plan.draws_per_hessian))
    # draw several beads per snapshot: snapshots are far apart
    centroids = _snapshots(state, replace(task, n=len(shares)))
    for centroid, share in zip(centroids, shares, strict=True):
        modes = finite_difference_modes(centroid, state.method, linear=state.linear)
        polymers = ring_polymer_displacements(modes, task.temperature, n_beads, 1, rng)[0]
        for bead in rng.permutation(n_beads)[:share]:
            yield _centred(centroid, polymers[bead])


_SOURCES: dict[str, tuple[str, Callable[[_State, _Task], Iterator[ase.Atoms]]]] = {
    "classical": ("Langevin dynamics", _snapshots),
    "wigner": ("Wigner displacement", _about_conformers),
    "torsional_wigner": ("Wigner displacement after torsion", _about_turned),
    "ring_polymer": ("ring-polymer bead", _beads),
}


def _quotas(plan: SamplingPlan, n: int, rotatable: bool) -> dict[tuple[str, float], int]:
    """Return the number of geometries of each source and temperature; they sum to `n`."""
    shares: dict[tuple[str, float], float] = {}
    for kind in _SOURCES:
        target = "wigner" if kind == "torsional_wigner" and not rotatable else kind
        for temperature, share in getattr(plan, kind).items():
            key = (target, non_negative(f"{kind}: temperature", temperature, unit="K"))
            shares[key] = shares.get(key, 0.0) + non_negative(f"{kind}: share", share)
    total = sum(shares.values())
    if total <= 0.0:
        raise InvalidInputError(key="plan", value=total, expected="shares that are not all zero")
    bounds = np.rint(np.cumsum(list(shares.values())) / total * n).astype(int)
    return dict(zip(shares, np.diff(bounds, prepend=0).tolist(), strict=True))


def _split(n: int, parts: int) -> list[int]:
    """Return `parts` nearly equal integers that sum to `n`."""
    return [n // parts + (k < n % parts) for k in range(parts)] if parts else []


def _centred(atoms: ase.Atoms, shift: np.ndarray | float = 0.0) -> ase.Atoms:
    said = {**atoms.info, "charge": total_charge(atoms), **open_shell(atoms)}
    moved = ase.Atoms(atoms.numbers, atoms.positions + shift, info=said)
    moved.positions -= moved.get_center_of_mass()
    return moved
