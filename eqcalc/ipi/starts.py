# SPDX-License-Identifier: MIT
"""States that are handed from one engine to the other, or from one run of i-PI to the next."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms

from eqcalc.dynamics import Equilibration, FromArrays, UnstableDynamicsError, load_state, simulate
from eqcalc.ipi.description import Description, InputError, System
from eqcalc.ipi.units import ATOMIC_MOMENTUM, BOHR, ELECTRON_MASS
from eqcalc.methods import METHODS
from eqcalc.runtime import Evaluator
from eqcalc.validation import located

#: Empty space around the molecule [bohr]; i-PI wants a cell, the model ignores it.
_MARGIN = 100.0


# --- checkpoints of i-PI --------------------------------------------------------------


def initial_conditions(checkpoints: Sequence[str | Path]) -> FromArrays:
    """Return positions and momenta of all beads, one replica for each system.

    They are initial conditions of :func:`eqcalc.simulate`.

    Parameters
    ----------
    checkpoints
        Checkpoints of i-PI of the same molecule and number of beads.

    Raises
    ------
    InputError
        A file is no checkpoint, or they are of different sizes.
    """
    beads = [pair for path in checkpoints for pair in Description.read(path).beads()]
    shapes = sorted({positions.shape for positions, _ in beads})
    if len(shapes) != 1:
        raise InputError(
            key="checkpoints", value=shapes, expected="the same molecule and number of beads"
        )
    positions, momenta = (torch.from_numpy(np.stack(arrays)) for arrays in zip(*beads, strict=True))
    return FromArrays(positions * BOHR, momenta * ATOMIC_MOMENTUM)


@dataclass(frozen=True)
class Starts:
    """Checkpoints of one molecule from which systems start.

    Parameters
    ----------
    paths
        The files.
    numbers
        Atomic numbers, ``[n_atoms]``.
    charges
        Total charges [e] that they state.
    fictitious_masses
        Their momenta are of other masses than those of the atoms.
    """

    paths: tuple[Path, ...]
    numbers: np.ndarray
    charges: set[float]
    fictitious_masses: bool

    @classmethod
    def read(cls, files: Sequence[str | Path], *, beads: int, temperature: float) -> Starts:
        """Read checkpoints.

        Raises
        ------
        InputError
            They are of different molecules or methods, or of another number of beads or
            temperature than the run.
        """
        paths = tuple(Path(file).resolve() for file in files)
        systems: list[System] = []
        charges: set[float] = set()
        for path in paths:
            description = Description.read(path)
            with located(file=path):
                systems.append(_only_system(description, beads, temperature))
            charges |= description.charges()
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
        numbers = systems[0].numbers if systems else np.zeros(0, dtype=int)
        return cls(paths, numbers, charges, True in fictitious)


def _only_system(description: Description, beads: int, temperature: float) -> System:
    """Return the system of a checkpoint.

    Raises
    ------
    InputError
        It has several, or another number of beads or temperature.
    """
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


# --- equilibration by the in-process engine -------------------------------------------


def equilibrated_checkpoint(
    atoms: Atoms,
    evaluator: Evaluator,
    equilibration: Equilibration,
    *,
    temperature: float,
    timestep: float,
    beads: int,
    seed: int,
    progress: bool,
) -> str:
    """Equilibrate a molecule, and return its beads as a checkpoint of i-PI (XML).

    Parameters
    ----------
    atoms
        The molecule, with its masses.
    evaluator
        The model.
    equilibration
        How long, and with which thermostat.
    temperature, timestep, beads, seed, progress
        As of :func:`~eqcalc.ipi.input.write_input`.

    Raises
    ------
    InputError
        The dynamics is unstable.
    """
    method = equilibration.resolve(beads)
    with tempfile.TemporaryDirectory(prefix="eqcalc-") as folder:
        output = Path(folder) / "equilibration.h5"
        try:
            simulate(
                atoms,
                evaluator,
                output=output,
                method=method,
                temperature=temperature,
                timestep=timestep,
                steps=equilibration.steps(timestep),
                seed=seed,
                beads=beads,
                observables={"temperature": equilibration.steps(timestep)},
                progress=progress,
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
        f"{method.name}, {equilibration.duration:g} fs at {temperature:g} K",
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
    cell = np.diag(np.ptp(positions, axis=(0, 1)) + _MARGIN)
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
