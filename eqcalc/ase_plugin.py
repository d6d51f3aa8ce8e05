# SPDX-License-Identifier: MIT
"""What ASE finds of eqcalc without being told: the calculator by its name, and trajectories.

ASE loads this module with its formats of files (the entry point in ``ase.ioformats``), hence in
every command of ``ase`` and wherever ``ase.io`` is imported: it must import nothing slow.
"""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.calculators.calculator import Calculator, external_calculators, register_calculator_class
from ase.calculators.singlepoint import SinglePointCalculator
from ase.utils.plugins import ExternalIOFormat

#: Name of the calculator and of the format.
NAME = "eqcalc"


class EqCalculatorByName(Calculator):
    """Stands for :class:`~eqcalc.EqCalculator`, which it becomes when it is called."""

    nolabel = True  # for the command of ASE that runs calculators: no files to be labelled

    def __new__(cls, *arguments: Any, **options: Any) -> Any:
        """Return an :class:`~eqcalc.EqCalculator`."""
        from eqcalc import EqCalculator

        return EqCalculator(*arguments, **options)


if NAME not in external_calculators:
    register_calculator_class(NAME, EqCalculatorByName)

#: Results of calculators by the name of the observable.
_RESULTS = {"potential_energy": "energy", "dipole": "dipole"}
_WITH_POSITIONS = (*_RESULTS, "velocities", "polarizability", "cell")

#: Trajectories of eqcalc, ``ase.io.read("run.h5", ":", format="eqcalc")``.
trajectory_format = ExternalIOFormat(
    desc="eqcalc trajectory", code="+S", module="eqcalc.ase_plugin"
)


def read_eqcalc(filename: str, index: slice | int = -1) -> list[Atoms]:
    """Return recorded positions as atoms: all frames of the first replica, then of the next.

    Velocities, energy and dipole moment are those of the same times, where they are recorded;
    ``atoms.info`` has the polarizability [e²Å²/eV], the replica and the time [fs]. Atoms of ring
    polymers are the centroids, and their quantities means of the beads.

    Raises
    ------
    InvalidFileError
        It is not a trajectory of eqcalc.
    InvalidInputError
        It has no positions.
    """
    from eqcalc.trajectory import Trajectory
    from eqcalc.units import FEMTOSECOND

    trajectory = Trajectory.open(filename)
    recorded = trajectory.observables()
    series = {
        name: trajectory.observable(name)
        for name in ("positions", *_WITH_POSITIONS)
        if name in recorded or name == "positions"
    }
    times = series["positions"].times
    every = [(r, frame) for r in range(trajectory.n_replicas) for frame in range(len(times))]
    structures = []
    for replica, frame in every[index] if isinstance(index, slice) else [every[index]]:
        found = {}
        for name, one in series.items():
            at = times[frame] / one.interval
            if round(at) < one.values.shape[1] and abs(at - round(at)) < 1e-6:
                found[name] = one.values[replica, round(at)]
        cell = found.get("cell", trajectory.cell)
        atoms = Atoms(
            trajectory.numbers,
            found["positions"],
            masses=trajectory.masses,
            cell=cell,
            pbc=cell is not None,
            info={"replica": replica, "time_fs": float(times[frame])},
        )
        if "velocities" in found:
            atoms.set_velocities(found["velocities"] / FEMTOSECOND)
        if "polarizability" in found:
            atoms.info["polarizability"] = found["polarizability"]
        results = {ase: found[name] for name, ase in _RESULTS.items() if name in found}
        if results:
            atoms.calc = SinglePointCalculator(atoms, **results)
        structures.append(atoms)
    return structures
