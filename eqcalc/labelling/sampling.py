# SPDX-License-Identifier: MIT
"""Geometries that classical and quantum nuclei visit, for training a potential.

A potential for path integrals is asked for the energy of beads, whose stiff
bonds are displaced by zero-point motion at any temperature. Classical dynamics
never goes there, so a plan mixes it with quantum displacements of three kinds:
about the conformers, about geometries turned about their bonds, and of the
beads of ring polymers whose centroids are snapshots of the dynamics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

import ase
import ase.units
import numpy as np
from ase.md.langevin import Langevin
from scipy.spatial import cKDTree
from tqdm import tqdm

from eqcalc.datasets.checks import pair_distances
from eqcalc.datasets.record import Record
from eqcalc.labelling.conformer_search import conformers, relax, rotatable_bonds, rotate
from eqcalc.labelling.method import ConvergenceError, Method, MethodCalculator
from eqcalc.labelling.workers import map_unordered
from eqcalc.molecules import isolated_molecule
from eqcalc.normal_modes import (
    NormalModes,
    is_linear,
    ring_polymer_displacements,
    wigner_displacements,
)
from eqcalc.validation import InvalidInputError, non_negative

_AT_ONCE = 500  # geometries of a task at most


class SamplingError(RuntimeError):
    """Too few geometries are distinct and low in energy.

    Attributes
    ----------
    missing
        Number of geometries by the source that lacks them.
    maximum_energy
        Geometries higher than this above the lowest conformer were dropped [eV].
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
    """How many geometries come from where; shares are relative weights.

    Parameters
    ----------
    classical
        Share of snapshots of Langevin dynamics, by temperature [K].
    wigner
        Share of thermal-quantum displacements about the conformers, by
        temperature [K].
    torsional_wigner
        Share of the same about conformers turned by random angles about their
        rotatable bonds, by temperature [K]; modes below `stiff_wavenumber` are
        not displaced there. Goes to `wigner` for a molecule without such bonds.
    ring_polymer
        Share of beads of ring polymers about snapshots of the dynamics, by
        temperature [K].
    n_beads
        Beads of each ring polymer.
    draws_per_hessian
        Geometries drawn about one turned geometry or snapshot.
    stiff_wavenumber
        See `torsional_wigner` [cm⁻¹].
    timestep, friction, interval, equilibration
        Of the Langevin dynamics: fs, 1/fs, fs between snapshots, fs before the first.
    maximum_energy
        Geometries higher than this above the lowest conformer are dropped [eV].
        If not given, 1 eV plus 0.15 eV per vibrational mode: zero-point motion
        alone puts ħω/4, up to 0.12 eV, of potential energy into a mode.
    minimum_distance
        Two geometries closer than this in all their interatomic distances are
        one [Å].
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
        """Return the plan as JSON can hold it."""
        return {
            key: {str(t): s for t, s in value.items()} if isinstance(value, dict) else value
            for key, value in asdict(self).items()
        }


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
    moving = atoms.copy()
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
    processes: int = 1,
    progress: bool = False,
) -> list[Record]:
    """Sample `n` distinct geometries of a molecule.

    Parameters
    ----------
    molecule
        One geometry, whose conformers are then searched for, or the conformers
        to start from, which must be one molecule in one order of atoms; they are
        relaxed.
    method
        Drives the dynamics and provides the modes: a fast one.
    rng
        Random numbers; the result depends on nothing else.
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
        starts = conformers(isolated_molecule(molecule), method, rng=rng)
    else:
        given = [isolated_molecule(atoms) for atoms in molecule]
        if not given or any(not np.array_equal(a.numbers, given[0].numbers) for a in given):
            raise InvalidInputError(
                key="molecule",
                value=[str(atoms.symbols) for atoms in given],
                expected="conformers of one molecule with its atoms in one order",
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
    with tqdm(total=n, disable=not progress, desc="sampling") as bar:
        for _ in range(20):  # what was too high or a duplicate is drawn anew
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

    Away from a stationary point they are those of the local quadratic model of the energy.

    Parameters
    ----------
    step
        Displacement of each coordinate [Å].
    linear
        Whether the molecule is linear, if `atoms` are not at its minimum.
    """
    shifted = atoms.copy()

    def forces(i: int, shift: float) -> np.ndarray:
        """Return the forces with one coordinate displaced."""
        shifted.positions = atoms.positions
        shifted.positions.flat[i] += shift
        return method.label(shifted, ("forces",))["forces"].ravel()

    rows = [(forces(i, -step) - forces(i, step)) / (2.0 * step) for i in range(3 * len(atoms))]
    hessian = 0.5 * (np.array(rows) + np.array(rows).T)
    return NormalModes.from_hessian(atoms.positions, atoms.get_masses(), hessian, linear=linear)


def distinct(records: Sequence[Record], minimum_distance: float) -> list[Record]:
    """Return `records` of one molecule without near-duplicates, the first of each kept.

    Two geometries are the same if their root-mean-square difference over all
    interatomic distances is below `minimum_distance` [Å]; mirror images are.
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
    """What every task needs."""

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
    """Return the geometries of a task that are not too high in energy.

    A failure in the dynamics or the modes ends the task; what is missing is
    drawn anew.
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
    # the centroids of one run are far apart: each carries several beads
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
    moved = ase.Atoms(atoms.numbers, atoms.positions + shift, info=dict(atoms.info))
    moved.positions -= moved.get_center_of_mass()
    return moved
