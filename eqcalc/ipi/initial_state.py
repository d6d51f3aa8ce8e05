# SPDX-License-Identifier: MIT
"""What a run of i-PI starts from: a structure, equilibrated by eqcalc's engine, or checkpoints.

Also transfers states between engines and from run to run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms
from ase.neighborlist import neighbor_list

from eqcalc.calculator import SHORTEST_DISTANCE
from eqcalc.dynamics import Equilibration, FromArrays, UnstableDynamicsError, load_state, simulate
from eqcalc.facts import ComparedByValue
from eqcalc.files import replacing
from eqcalc.ipi.description import Description, InputError, System
from eqcalc.ipi.units import ATOMIC_MOMENTUM, BOHR, ELECTRON_MASS
from eqcalc.methods import METHODS, DynamicsMethod
from eqcalc.molecules import atomic_masses, isolated_molecule, periodic_cell, unconstrained
from eqcalc.runtime import Evaluator
from eqcalc.validation import finite, located

#: Vacuum around the molecule [Å]; i-PI requires a cell, the model ignores it.
_MARGIN = 50.0
#: The same in checkpoints [bohr].
_CHECKPOINT_MARGIN = 100.0


@dataclass(frozen=True, eq=False)
class Starts(ComparedByValue):
    """A structure in the frame of i-PI, or checkpoints of one molecule or cell.

    With the atomic numbers and masses [amu] ``[n_atoms]``, the total charges [e] stored in the
    files, whether their momenta belong to fictitious masses, and whether the atoms fill the cell.
    """

    atoms: Atoms | None
    paths: tuple[Path, ...]
    numbers: np.ndarray
    masses: np.ndarray
    charges: set[float]
    fictitious_masses: bool
    periodic: bool

    @classmethod
    def of(
        cls,
        atoms: Atoms | None,
        files: Sequence[str | Path],
        *,
        beads: int,
        temperature: float,
    ) -> Starts:
        """Check a structure, or read checkpoints that must match each other and the run.

        Raises InvalidInputError if both or neither are given, or i-PI could not start from them.
        """
        if (atoms is None) == (not files):
            raise InputError(
                key="atoms, starts", expected="either the molecule or checkpoints to start from"
            )
        if atoms is not None:
            atoms = _in_frame(atoms)
            masses = atoms.get_masses()
            return cls(atoms, (), atoms.numbers, masses, set(), False, bool(atoms.pbc.all()))
        paths = tuple(Path(file).resolve() for file in files)
        systems: list[System] = []
        charges: set[float] = set()
        periodic: set[bool] = set()
        for path in paths:
            description = Description.read(path)
            with located(file=path):
                systems.append(_only_system(description, beads, temperature))
            charges |= description.charges()
            periodic.add(description.is_periodic())
        molecules = sorted({str(Atoms(system.numbers).symbols) for system in systems})
        if len(molecules) > 1:
            raise InputError(key="starts", value=molecules, expected="the same molecule in all")
        fictitious = {METHODS[system.method].fictitious_masses for system in systems}
        if len(fictitious) > 1:
            raise InputError(
                key="starts",
                value=sorted({system.method for system in systems}),
                expected="momenta of the real masses in all, or of the fictitious ones in all",
            )
        if True in periodic and not all(
            np.allclose(system.cell, systems[0].cell, rtol=1e-6) for system in systems
        ):
            raise InputError(
                "the starts have different cells",
                key="starts",
                expected="one cell, of a run at constant volume",
                advice="fix the cell at its mean of the run at constant pressure",
            )
        return cls(
            None,
            paths,
            systems[0].numbers,
            systems[0].masses,
            charges,
            True in fictitious,
            True in periodic,
        )


def _only_system(description: Description, beads: int, temperature: float) -> System:
    """Return the only system of a checkpoint, checked against the settings of the run."""
    systems = description.systems()
    if len(systems) != 1:
        raise InputError(
            key="systems",
            value=len(systems),
            expected="one, for i-PI would take the first",
            advice="equilibrate one system",
        )
    (system,) = systems
    if system.n_beads != beads:
        raise InputError(
            key="beads",
            value=system.n_beads,
            expected=f"{beads}, as in the run",
            advice="equilibrate with the same number",
        )
    if abs(system.temperature - temperature) > 1e-4 * temperature:
        raise InputError(
            key="temperature",
            value=round(system.temperature, 6),
            expected=f"{temperature:g} K, as in the run",
            advice="equilibrate at the temperature of the run",
        )
    return system


# --- structures ---------------------------------------------------------------------


def _in_frame(atoms: Atoms) -> Atoms:
    """Return atoms in the frame of i-PI, checked: a molecule, or the contents of a cell."""
    unconstrained(atoms)
    cell = periodic_cell(atoms)
    if cell is None:
        atomic_masses(isolated_molecule(atoms))
        return atoms
    atomic_masses(atoms)
    finite("positions", atoms.positions)
    if np.linalg.det(cell) < 0.0:
        raise InputError(
            "its vectors are left-handed",
            key="atoms.cell",
            value=cell.tolist(),
            expected="right-handed cell vectors, as i-PI has them",
            advice="exchange two of them",
        )
    first, second, distances = neighbor_list("ijd", atoms, SHORTEST_DISTANCE)
    if len(distances):
        closest = int(distances.argmin())
        own = first[closest] == second[closest]
        raise InputError(
            "the cell is too small: an atom meets its own image" if own else "atoms overlap",
            key="atoms.cell" if own else "positions",
            value=f"{distances[closest]:.2f} Å",
            expected=f"at least {SHORTEST_DISTANCE:g} Å",
        )
    turned = atoms.copy()
    turned.calc = None
    turned.set_cell(atoms.cell.standard_form()[0], scale_atoms=True)
    return turned


def write_structure(path: Path, atoms: Atoms) -> None:
    """Write the structure that i-PI reads, a molecule in the middle of an empty cell."""
    periodic = bool(atoms.pbc.all())
    structure = Atoms(
        atoms.symbols, positions=atoms.positions, masses=atoms.get_masses(), pbc=periodic
    )
    if periodic:
        structure.cell = atoms.cell
    else:
        structure.cell = np.diag(np.ptp(atoms.positions, axis=0) + _MARGIN)
        structure.center()
    with replacing(path) as temporary:
        columns = ["symbols", "positions", "masses"]
        ase.io.write(temporary, structure, format="extxyz", columns=columns)


# --- checkpoints of i-PI --------------------------------------------------------------


def initial_conditions(checkpoints: Sequence[str | Path]) -> FromArrays:
    """Return positions and momenta of all beads, one replica for each system.

    Can be used as initial conditions of :func:`eqcalc.simulate`.

    Parameters
    ----------
    checkpoints
        Checkpoints of i-PI of the same molecule and number of beads.

    Raises
    ------
    InputError
        A file is not a checkpoint, or sizes differ.
    """
    beads = [pair for path in checkpoints for pair in Description.read(path).beads()]
    shapes = sorted({positions.shape for positions, _ in beads})
    if len(shapes) != 1:
        raise InputError(
            key="checkpoints", value=shapes, expected="the same molecule and number of beads"
        )
    positions, momenta = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*beads, strict=True))
    return FromArrays(positions * BOHR, momenta * ATOMIC_MOMENTUM)


# --- equilibration by the in-process engine -------------------------------------------


def equilibrated_checkpoint(
    atoms: Atoms,
    evaluator: Evaluator,
    equilibration: Equilibration,
    *,
    method: DynamicsMethod,
    temperature: float,
    timestep: float,
    beads: int,
    seed: int,
    progress: bool,
) -> str:
    """Equilibrate a molecule or cell, and return its beads as a checkpoint of i-PI (XML).

    Parameters: see :func:`~eqcalc.ipi.write_input`. InputError: the dynamics is unstable.
    """
    thermostat = equilibration.resolve(beads)
    steps = equilibration.steps(timestep)
    run: dict[str, Any] = {"method": thermostat, "steps": steps}
    if method.effective_potential:  # of which no other method is
        run = {"method": method.name, "steps": 1, "equilibration": equilibration}
    with tempfile.TemporaryDirectory(prefix="eqcalc-") as folder:
        output = Path(folder) / "equilibration.h5"
        try:
            simulate(
                atoms,
                evaluator,
                output=output,
                temperature=temperature,
                timestep=timestep,
                seed=seed,
                beads=beads,
                observables={"temperature": steps},
                progress=progress,
                **run,
            )
        except UnstableDynamicsError as error:
            reason = error.__cause__ or error
            raise InputError(
                f"the equilibration failed after {error.step * timestep:g} fs: {reason}",
                key="equilibration",
                value=error.step * timestep,
                advice="start from a relaxed structure, or with a shorter time step",
            ) from error
        state = load_state(output)
    return _checkpoint(
        atoms,
        state.positions[0].cpu().numpy() / BOHR,
        state.momenta[0].cpu().numpy() / ATOMIC_MOMENTUM,
        f"{thermostat.name}, {equilibration.duration:g} fs at {temperature:g} K",
        temperature,
        timestep,
    )


def _checkpoint(
    atoms: Atoms,
    positions: np.ndarray,
    momenta: np.ndarray,
    how: str,
    temperature: float,
    timestep: float,
) -> str:
    """Return a checkpoint of positions and momenta, ``[n_beads, n_atoms, 3]`` in atomic units."""
    cell = np.diag(np.ptp(positions, axis=(0, 1)) + _CHECKPOINT_MARGIN)
    if atoms.pbc.all():
        cell = atoms.cell.array.T / BOHR
    masses = atoms.get_masses() / ELECTRON_MASS
    names = ", ".join(atoms.get_chemical_symbols())
    beads, size = len(positions), 3 * len(atoms)
    return "\n".join(
        [
            f"<!-- the beads of {atoms.symbols}, equilibrated by eqcalc: {how} -->",
            "<simulation>",
            "  <system>",
            f"    <beads natoms='{len(atoms)}' nbeads='{beads}'>",
            f"      <q shape='({beads}, {size})'> {_numbers(positions)} </q>",
            f"      <p shape='({beads}, {size})'> {_numbers(momenta)} </p>",
            f"      <m shape='({len(atoms)})'> {_numbers(masses)} </m>",
            f"      <names shape='({len(atoms)})'> [ {names} ] </names>",
            "    </beads>",
            "    <forces> </forces>",
            f"    <cell shape='(3, 3)'> {_numbers(cell)} </cell>",
            f"    <ensemble> <temperature units='kelvin'> {temperature:g} </temperature> "
            "</ensemble>",
            "    <motion mode='dynamics'> <dynamics mode='nvt'>",
            f"      <timestep units='femtosecond'> {timestep:g} </timestep>",
            "      <thermostat mode='pile_l'> <tau units='femtosecond'> 100 </tau> </thermostat>",
            "    </dynamics> </motion>",
            "  </system>",
            "</simulation>",
            "",
        ]
    )


def _numbers(values: np.ndarray) -> str:
    return f"[ {', '.join(f'{value:.16e}' for value in values.ravel())} ]"
