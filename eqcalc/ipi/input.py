# SPDX-License-Identifier: MIT
"""Write complete, commented i-PI inputs for all supported methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms

from eqcalc.centroid import corrected
from eqcalc.dynamics import Equilibration
from eqcalc.files import write_atomically
from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.initial_state import Starts, equilibrated_checkpoint, write_structure
from eqcalc.ipi.input_document import (
    Barostat,
    Connection,
    InProcess,
    InputDocument,
    Strides,
    check_file_name,
    read_matrices,
)
from eqcalc.methods import METHODS, DynamicsMethod, method_names
from eqcalc.methods import method as method_named
from eqcalc.models.checkpoint import load_model, read_header
from eqcalc.models.compositions import check_charge
from eqcalc.models.corrected import require_potential
from eqcalc.models.precision import check_precision, device_named
from eqcalc.molecules import states_charge, total_charge
from eqcalc.quantities import known_quantities
from eqcalc.runtime import load_evaluator
from eqcalc.structures import Structures
from eqcalc.validation import absent_file, count, known_elements, located, number, positive


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
    barostat: Barostat | None = None,
    correction: str | Path | None = None,
    equilibration: Equilibration | None = None,
    prefix: str = "simulation",
    progress: bool = False,
) -> Path:
    """Write an i-PI input, and in the same folder its initial structure and state.

    A periodic structure is turned so that its cell vectors are the rows of a lower triangular
    matrix, as i-PI has them; dipole moments and polarizabilities are in that frame.

    Parameters
    ----------
    path
        The input (``.xml``).
    model
        Model file.
    method
        ``"NVE"``, ``"Langevin"``, ``"SVR"``, ``"RPMD"``, ``"T-RPMD"``, ``"PILE-L"``,
        ``"PILE-G"``, ``"PA-CMD"``, ``"PIGLET"`` or ``"Te-PIGS"``; see :mod:`eqcalc.methods`.
    steps
        Length of the run.
    method_parameters
        Parameters of the method by name, such as ``{"time_constant": 50.0}`` [fs] of a
        thermostat. PIGLET needs ``{"matrices": path}``, a file of gle4md.org.
    atoms
        Initial structure, with masses and charge: a molecule, or atoms in a periodic cell.
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
    barostat
        Of a cell at constant pressure, with one of the methods that thermostat the centroid.
    correction
        File of the correction of the potential that ``"Te-PIGS"`` needs. Over a socket the
        clients have it.
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
    if device is not None:
        device_named(device)
    model = _path("model", model)
    correction = None if correction is None else _path("correction", correction)
    header = read_header(model)
    heads = header["model"]["heads"]
    strides = Strides() if strides is None else strides
    if strides.spectra is None:
        interval = 0 if barostat is not None else max(1, round(1.0 / timestep))
        strides = replace(strides, spectra=interval)
    if starts and equilibration is not None:
        raise InputError(
            key="equilibration",
            value=equilibration.duration,
            expected="none, for checkpoints are equilibrated already",
        )
    begin = Starts.of(atoms, starts, beads=beads, temperature=temperature)
    known_elements(begin.numbers, header["references"]["elements"])
    total = charge_of(begin.atoms, begin.charges, charge, header["metadata"])
    _check_pressure(barostat, dynamics, begin.periodic)
    response = [name for name, q in known_quantities().items() if q.recorded and name in heads]
    if begin.periodic and strides.spectra:
        _check_response(model, response, begin.numbers, total)
    _check_correction(correction, dynamics, temperature, begin.numbers, begin.masses)
    symbols = str(Atoms(begin.numbers).symbols)
    potential = {"model": str(model), "symbols": symbols, "charge": f"{total:g}"}
    chosen = (("device", device), ("precision", precision))
    potential |= {k: v for k, v in chosen if v is not None}
    files = begin.paths if equilibration is None else (Path(equilibrated.name),)
    known_momenta = bool(files) and begin.fictitious_masses == dynamics.fictitious_masses
    document = InputDocument(
        method=dynamics,
        method_parameters=parameters,
        response=response if strides.spectra else [],
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
        periodic=begin.periodic,
        barostat=barostat,
        correction=correction,
    )
    text = document.text()
    Description(text, path)
    checkpoint = None
    if begin.atoms is not None and equilibration is not None:
        evaluator = load_evaluator(
            model,
            begin.numbers,
            cell=begin.atoms.cell.array if begin.periodic else None,
            device=device,
            precision=precision,
            charge=total,
        )
        checkpoint = equilibrated_checkpoint(
            begin.atoms,
            evaluator if correction is None else corrected(evaluator, correction),
            equilibration,
            method=dynamics,
            temperature=temperature,
            timestep=timestep,
            beads=beads,
            seed=seed,
            progress=progress,
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    if begin.atoms is not None:
        write_structure(structure, begin.atoms)
    if checkpoint is not None:
        write_atomically(equilibrated, checkpoint.encode())
    write_atomically(path, text.encode())
    return path


def _path(key: str, path: str | Path) -> Path:
    """Return the absolute path of a model, which i-PI must be able to read."""
    path = Path(path).resolve()
    if "," in str(path):
        raise InputError(
            key=key, value=str(path), expected="a path without commas, as i-PI reads it"
        )
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


def _check_pressure(barostat: Barostat | None, method: DynamicsMethod, periodic: bool) -> None:
    """Raise InputError if this method, or a molecule, cannot be at constant pressure."""
    if barostat is None:
        return
    if not periodic:
        raise InputError(
            "a molecule has no pressure", key="barostat", expected="none, or a periodic structure"
        )
    if not method.thermostats_centroid:
        names = [n for n in method_names(engine="i-PI") if METHODS[n].thermostats_centroid]
        raise InputError(
            "constant pressure needs a thermostat on the centroid",
            key="method",
            value=method.name,
            expected=f"one of {', '.join(names)}",
        )


def _check_correction(
    correction: Path | None,
    method: DynamicsMethod,
    temperature: float,
    numbers: np.ndarray,
    masses: np.ndarray,
) -> None:
    """Raise InvalidInputError unless the method has the correction that it needs, or none."""
    if method.effective_potential and correction is None:
        raise InputError(
            key="correction",
            expected=f"a file of eqcalc.centroid.learn_correction, for {method.name}",
        )
    record = {} if correction is None else read_header(correction)["metadata"]
    require_potential(method, record, temperature, numbers.tolist(), masses.tolist())


def _check_response(model: Path, names: Sequence[str], numbers: np.ndarray, charge: float) -> None:
    """Raise InvalidInputError if a model has no such read-outs for a cell."""
    somewhere = torch.zeros(1, len(numbers), 3, dtype=torch.float64)
    cell = torch.eye(3, dtype=torch.float64)
    with located(file=model):
        load_model(model, device="cpu").require_outputs(
            names, Structures.stack(torch.as_tensor(numbers), somewhere, charge, cell)
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
