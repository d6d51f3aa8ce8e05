# SPDX-License-Identifier: MIT
"""Complete, commented inputs of i-PI for every ensemble that spectra are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.dynamics import Equilibration
from eqcalc.files import write_atomically
from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.evaluation import load_evaluator
from eqcalc.ipi.input_document import InputDocument
from eqcalc.ipi.input_options import (
    Connection,
    InProcess,
    Strides,
    charge_of,
    check_device,
    check_file_name,
)
from eqcalc.ipi.methods import read_matrices
from eqcalc.ipi.starts import Starts, equilibrated_checkpoint
from eqcalc.methods import DynamicsMethod
from eqcalc.methods import method as method_named
from eqcalc.models.checkpoint import read_header
from eqcalc.models.precision import check_precision
from eqcalc.molecules import atomic_masses, isolated_molecule
from eqcalc.quantities import known_quantities
from eqcalc.validation import count, known_elements, positive

#: Empty space around the molecule [Å]; i-PI wants a cell, the model ignores it.
_MARGIN = 50.0


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
    """Write an input of i-PI, and beside it the structure and state that it starts from.

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
        The molecule, with its masses and charge, to start from.
    starts
        Instead of `atoms`: checkpoints of a run equilibrated at `temperature`; each starts one
        independent system with its positions and momenta; all are evaluated in one call.
    temperature, timestep
        [K], [fs].
    beads
        Beads of each ring polymer.
    seed
        Random seed.
    connection
        How the model is reached; in process by default.
    strides
        What is written, how often.
    device, precision
        As of :class:`~eqcalc.ipi.eqcalc_driver.EqcalcDriver`.
    charge
        Total charge [e]; by default that of the molecule or of the checkpoints.
    equilibration
        Of the molecule, by the in-process engine, now: i-PI starts from its positions and
        momenta of all beads. Without, i-PI starts with all beads at the molecule and thermal
        velocities, and its frames mean nothing before it has come to equilibrium.
    prefix
        Of the outputs.
    progress
        Show a progress bar of the equilibration.

    Returns
    -------
    Path
        The input.

    Raises
    ------
    InvalidInputError
        Something does not fit together.
    FileExistsError
        The input exists.
    """
    path = Path(path)
    structure = path.with_name(f"{path.stem}.start.extxyz")
    equilibrated = path.with_name(f"{path.stem}.start.chk")
    for target in (path, structure, equilibrated):
        if target.exists():
            raise FileExistsError(f"{target} exists and is never overwritten")
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
        atomic_masses(isolated_molecule(atoms))
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
            load_evaluator(str(model), symbols, device=device, precision=precision, charge=total),
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
    """Return a method and all of its parameters, matrices as XML."""
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
    ase.io.write(path, structure, format="extxyz", columns=["symbols", "positions", "masses"])
