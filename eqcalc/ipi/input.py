# SPDX-License-Identifier: MIT
"""Write complete, commented i-PI inputs for all supported methods.

Also transfers states between engines and from run to run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import torch
from ase import Atoms

from eqcalc.dynamics import Equilibration, FromArrays, UnstableDynamicsError, load_state, simulate
from eqcalc.files import replacing, write_atomically
from eqcalc.ipi.description import Description, InputError, System
from eqcalc.ipi.input_document import (
    Connection,
    InProcess,
    InputDocument,
    Strides,
    check_file_name,
    read_matrices,
)
from eqcalc.ipi.units import ATOMIC_MOMENTUM, BOHR, ELECTRON_MASS
from eqcalc.methods import METHODS, DynamicsMethod
from eqcalc.methods import method as method_named
from eqcalc.models.checkpoint import read_header
from eqcalc.models.compositions import check_charge
from eqcalc.models.precision import check_precision
from eqcalc.molecules import (
    atomic_masses,
    isolated_molecule,
    states_charge,
    total_charge,
    unconstrained,
)
from eqcalc.quantities import known_quantities
from eqcalc.runtime import Evaluator, load_evaluator
from eqcalc.validation import absent_file, count, known_elements, located, number, positive

#: Vacuum around the molecule [Å]; i-PI requires a cell, the model ignores it.
_MARGIN = 50.0
#: The same in checkpoints [bohr].
_CHECKPOINT_MARGIN = 100.0
#: Device types supported by eqcalc.
_DEVICES = ("cpu", "cuda")


def write_input(
    path: str | Path,
    model: str | Path,
    *,
    method: str,
    steps: int,
    method_parameters: Mapping[str, Any] | None = None,
    atoms: Atoms | None = None,
    starts: Sequence[str | Path] = (),
    temperature: float = 300.0,
    timestep: float = 0.25,
    beads: int = 1,
    seed: int = 0,
    connection: Connection | None = None,
    strides: Strides | None = None,
    device: str | None = None,
    precision: str | None = None,
    charge: float | None = None,
    equilibration: Equilibration | None = None,
    prefix: str = "simulation",
    progress: bool = False,
) -> Path:
    """Write an i-PI input, and in the same folder its initial structure and state.

    Parameters
    ----------
    path
        The input (``.xml``).
    model
        Model file.
    method
        ``"NVE"``, ``"Langevin"``, ``"SVR"``, ``"RPMD"``, ``"T-RPMD"``, ``"PILE-L"``,
        ``"PILE-G"``, ``"PA-CMD"`` or ``"PIGLET"``; see :mod:`eqcalc.methods`.
    steps
        Length of the run.
    method_parameters
        Parameters of the method by name, such as ``{"time_constant": 50.0}`` [fs] of a
        thermostat. PIGLET needs ``{"matrices": path}``, a file of gle4md.org.
    atoms
        Initial structure, with masses and charge.
    starts
        Instead of `atoms`: checkpoints of a run equilibrated at `temperature`, each the initial
        state of an independent system; all systems are evaluated in one call.
    temperature, timestep
        Temperature [K] and time step [fs].
    beads
        Beads of each ring polymer.
    seed
        Random seed.
    connection
        How i-PI calls the model; by default in process.
    strides
        Output intervals.
    device, precision
        See :class:`~eqcalc.ipi.eqcalc_driver.EqcalcDriver`.
    charge
        Total charge [e]; by default that of the molecule or checkpoints.
    equilibration
        Equilibration with eqcalc's own engine before i-PI starts, which provides positions
        and momenta of all beads. Otherwise i-PI starts with all beads at the initial
        structure and thermal velocities, and must equilibrate first.
    prefix
        Prefix of the outputs.
    progress
        Show the progress of the equilibration.

    Returns
    -------
    Path
        The input.

    Raises
    ------
    InvalidInputError
        An argument is invalid, or arguments are inconsistent.
    FileExistsError
        The input exists.
    """
    path = Path(path)
    structure = path.with_name(f"{path.stem}.start.extxyz")
    equilibrated = path.with_name(f"{path.stem}.start.chk")
    for target in (path, structure, equilibrated):
        absent_file(target)
    for key, value in (("temperature", temperature), ("timestep", timestep)):
        positive(key, value)
    count("steps", steps)
    count("seed", seed, least=0)
    dynamics, parameters = _dynamics(method, method_parameters or {}, beads)
    check_file_name("prefix", prefix)
    check_precision(precision)
    check_device(device)
    model = Path(model).resolve()
    if "," in str(model):
        raise InputError(
            key="model", value=str(model), expected="a path without commas, as i-PI reads it"
        )
    header = read_header(model)
    heads = header["model"]["heads"]
    strides = Strides() if strides is None else strides
    if strides.spectra is None:
        strides = replace(strides, spectra=max(1, round(1.0 / timestep)))
    if (atoms is None) == (not starts):
        raise InputError(
            key="atoms, starts", expected="either the molecule or checkpoints to start from"
        )
    if starts and equilibration is not None:
        raise InputError(
            key="equilibration",
            value=equilibration.duration,
            expected="none, for checkpoints are equilibrated already",
        )
    begin = Starts.read(starts, beads=beads, temperature=temperature)
    if atoms is not None:
        atomic_masses(unconstrained(isolated_molecule(atoms)))
    numbers = begin.numbers if atoms is None else atoms.numbers
    known_elements(numbers, header["references"]["elements"])
    total = charge_of(atoms, begin.charges, charge, header["metadata"])
    symbols = str(Atoms(numbers).symbols)
    potential = {"model": str(model), "symbols": symbols, "charge": f"{total:g}"}
    chosen = (("device", device), ("precision", precision))
    potential |= {k: v for k, v in chosen if v is not None}
    files = begin.paths if equilibration is None else (Path(equilibrated.name),)
    known_momenta = bool(files) and begin.fictitious_masses == dynamics.fictitious_masses
    document = InputDocument(
        method=dynamics,
        method_parameters=parameters,
        response=[name for name, q in known_quantities().items() if q.recorded and name in heads],
        potential=potential,
        connection=InProcess() if connection is None else connection,
        strides=strides,
        beads=beads,
        temperature=temperature,
        timestep=timestep,
        steps=steps,
        seed=seed,
        prefix=prefix,
        structure=structure.name,
        starts=files,
        thermal_momenta=not known_momenta,
    )
    text = document.text()
    Description(text, path)
    checkpoint = None
    if atoms is not None and equilibration is not None:
        checkpoint = equilibrated_checkpoint(
            atoms,
            load_evaluator(model, numbers, device=device, precision=precision, charge=total),
            equilibration,
            temperature=temperature,
            timestep=timestep,
            beads=beads,
            seed=seed,
            progress=progress,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if atoms is not None:
        _write_structure(structure, atoms)
    if checkpoint is not None:
        write_atomically(equilibrated, checkpoint.encode())
    write_atomically(path, text.encode())
    return path


def _dynamics(
    name: str, given: Mapping[str, Any], beads: int
) -> tuple[DynamicsMethod, dict[str, Any]]:
    """Return a method and its parameters, matrices as XML."""
    method = method_named(name, engine="i-PI")
    method.checked_beads(beads)
    parameters = method.settings("i-PI", **given)
    if "matrices" in parameters:
        parameters["matrices"] = read_matrices(parameters["matrices"], beads)
    return method, parameters


def _write_structure(path: Path, atoms: Atoms) -> None:
    structure = Atoms(
        atoms.symbols, positions=atoms.positions, masses=atoms.get_masses(), pbc=False
    )
    structure.cell = np.diag(np.ptp(atoms.positions, axis=0) + _MARGIN)
    structure.center()
    with replacing(path) as temporary:
        columns = ["symbols", "positions", "masses"]
        ase.io.write(temporary, structure, format="extxyz", columns=columns)


def check_device(name: str | None) -> None:
    """Raise InputError unless a text names a device, not necessarily of this machine."""
    if name is None:
        return
    try:
        known = torch.device(name).type in _DEVICES
    except RuntimeError:
        known = False
    if not known:
        raise InputError(
            key="device", value=name, expected=f"{', '.join(_DEVICES)} or such as cuda:1"
        )


def charge_of(
    atoms: Atoms | None, stored: set[float], stated: float | None, metadata: Mapping[str, Any]
) -> float:
    """Return the total charge of a run [e], by default 0.

    Raises InvalidInputError if the molecule, the charges `stored` in checkpoints and the one
    `stated` by the caller disagree, or if the model of this `metadata` was not trained on it.
    """
    known = set(stored)
    if atoms is not None and states_charge(atoms):
        known.add(total_charge(atoms))
    if stated is not None:
        known.add(number("charge", stated, unit="e"))
    if len(known) > 1:
        raise InputError(
            key="charge",
            value=tuple(sorted(known)),
            expected="the same in the structure or checkpoints and in charge [e]",
        )
    charge = known.pop() if known else 0.0
    check_charge(metadata, charge)
    return charge


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


@dataclass(frozen=True)
class Starts:
    """Checkpoints of one molecule, used as initial states.

    With the atomic numbers ``[n_atoms]``, the total charges [e] stored in the files, and whether
    their momenta belong to fictitious masses.
    """

    paths: tuple[Path, ...]
    numbers: np.ndarray
    charges: set[float]
    fictitious_masses: bool

    @classmethod
    def read(cls, files: Sequence[str | Path], *, beads: int, temperature: float) -> Starts:
        """Read checkpoints and check that they match each other and the run."""
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

    Parameters: see :func:`~eqcalc.ipi.write_input`. InputError: the dynamics is unstable.
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
    cell = np.diag(np.ptp(positions, axis=(0, 1)) + _CHECKPOINT_MARGIN)
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
