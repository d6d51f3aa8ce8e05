# SPDX-License-Identifier: MIT
"""An equilibrated state of the in-process engine as a checkpoint that i-PI starts from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms

from eqcalc.dynamics import Equilibration, UnstableDynamicsError, load_state, simulate
from eqcalc.ipi import atomic_units
from eqcalc.ipi.description import InputError
from eqcalc.runtime import Evaluator


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
    temperature, timestep, beads, seed
        As of :func:`~eqcalc.ipi.input.write_input`.
    progress
        Show a progress bar.

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
                f"the equilibration fails after {error.step * timestep:g} fs: {reason}. Start "
                "from a relaxed structure, or with a shorter time step"
            ) from error
        state = load_state(output)
    return _checkpoint(
        atoms,
        state.positions[0].cpu().numpy() / atomic_units.LENGTH,
        state.momenta[0].cpu().numpy() / atomic_units.MOMENTUM,
        f"{method.name}, {equilibration.duration:g} fs at {temperature:g} K",
        temperature,
        timestep,
    )


#: Empty space around the molecule [bohr]; i-PI wants a cell, the model ignores it.
_MARGIN = 100.0


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
    masses = atoms.get_masses() / atomic_units.MASS
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
