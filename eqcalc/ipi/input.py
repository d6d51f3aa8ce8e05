# SPDX-License-Identifier: MIT
"""Complete, commented inputs of i-PI for every ensemble that spectra are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.dynamics import Equilibration
from eqcalc.ipi.description import Description, InputError, System
from eqcalc.ipi.equilibration import equilibrated_checkpoint
from eqcalc.ipi.evaluation import load_evaluator
from eqcalc.ipi.input_document import InputDocument
from eqcalc.ipi.input_options import (
    Connection,
    InProcess,
    Strides,
    charge_of,
    check_device,
    check_elements,
    check_file_name,
    check_molecule,
    check_positive,
    check_whole,
)
from eqcalc.ipi.methods import METHODS, PACMD, IPIMethod
from eqcalc.models.checkpoint import read_header
from eqcalc.models.precision import check_precision
from eqcalc.trajectory import write_atomically

#: Empty space around the molecule [Å]; i-PI wants a cell, the model ignores it.
_MARGIN = 50.0


def write_input(
    path: str | Path,
    model: str | Path,
    *,
    method: str | IPIMethod,
    steps: int,
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
        ``"PILE-G"``, ``"PA-CMD"``, or an object of :mod:`eqcalc.ipi.methods`, such as
        ``PIGLET(matrices)``.
    steps
        Length of the run.
    atoms
        The molecule, with its masses and charge, to start from.
    starts
        Instead of `atoms`: checkpoints of a run equilibrated at `temperature`. Each starts one
        independent system with its positions and momenta; all are evaluated in one call.
    temperature, timestep
        [K], [fs].
    beads
        Beads of each ring polymer.
    seed
        Of all random numbers.
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
    InputError
        Something does not fit together; the message says what.
    FileExistsError
        The input exists.
    """
    path = Path(path)
    structure = path.with_name(f"{path.stem}.start.extxyz")
    equilibrated = path.with_name(f"{path.stem}.start.chk")
    for target in (path, structure, equilibrated):
        if target.exists():
            raise FileExistsError(f"{target} exists and is never overwritten")
    method = _method(method)
    check_positive(temperature=temperature, timestep=timestep)
    check_whole(1, steps=steps, beads=beads)
    check_whole(0, seed=seed)
    method.check(beads)
    check_file_name("prefix", prefix)
    check_precision(precision)
    check_device(device)
    model = Path(model).resolve()
    if "," in str(model):
        raise InputError(f"i-PI cannot pass on a path with a comma: {model}")
    header = read_header(model)
    heads = header["model"]["heads"]
    strides = Strides() if strides is None else strides
    if strides.spectra is None:
        strides = replace(strides, spectra=max(1, round(1.0 / timestep)))
    if (atoms is None) == (not starts):
        raise InputError("give either the molecule or checkpoints to start from")
    if starts and equilibration is not None:
        raise InputError("checkpoints are equilibrated already: leave out the equilibration")
    begin = _Starts.read(starts, beads=beads, temperature=temperature)
    if atoms is not None:
        check_molecule(atoms)
    numbers = begin.numbers if atoms is None else atoms.numbers
    check_elements(header, numbers, model)
    total = charge_of(atoms, begin.charges, charge, header["metadata"])
    symbols = str(Atoms(numbers).symbols)
    parameters = {"model": str(model), "symbols": symbols, "charge": f"{total:g}"}
    chosen = (("device", device), ("precision", precision))
    parameters |= {k: v for k, v in chosen if v is not None}
    files = begin.paths if equilibration is None else (Path(equilibrated.name),)
    known_momenta = bool(files) and begin.fictitious_masses == method.fictitious_masses
    document = InputDocument(
        method=method,
        response=[name for name in ("dipole", "polarizability") if name in heads],
        parameters=parameters,
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


def _method(method: str | IPIMethod) -> IPIMethod:
    """Return a method given itself or its name.

    Raises
    ------
    InputError
        There is none of that name.
    """
    if isinstance(method, IPIMethod):
        return method
    if method not in METHODS:
        raise InputError(
            f"unknown method {method!r}; expected one of {', '.join(METHODS)}, or PIGLET with "
            "matrices"
        )
    return METHODS[method]()


@dataclass(frozen=True)
class _Starts:
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
    def read(cls, files: Sequence[str | Path], *, beads: int, temperature: float) -> _Starts:
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
            systems.append(_only_system(path, description, beads, temperature))
            charges |= description.charges()
        molecules = {str(Atoms(system.numbers).symbols) for system in systems}
        if len(molecules) > 1:
            raise InputError(
                f"the checkpoints are of different molecules: {', '.join(sorted(molecules))}"
            )
        kinds = {system.method == PACMD.name for system in systems}
        if len(kinds) > 1:
            raise InputError(f"some checkpoints are of {PACMD.name}, others are not")
        numbers = systems[0].numbers if systems else np.zeros(0, dtype=int)
        return cls(paths, numbers, charges, True in kinds)


def _only_system(path: Path, description: Description, beads: int, temperature: float) -> System:
    """Return the system of a checkpoint.

    Raises
    ------
    InputError
        It has several, or another number of beads or temperature.
    """
    systems = description.systems()
    if len(systems) != 1:
        raise InputError(
            f"{path} has {len(systems)} systems, of which i-PI would take the first; equilibrate "
            "one system"
        )
    system = systems[0]
    if system.n_beads != beads:
        raise InputError(
            f"{path} has {system.n_beads} beads, the run {beads}; equilibrate with the same number"
        )
    if abs(system.temperature - temperature) > 1e-4 * temperature:
        raise InputError(
            f"{path} is of {system.temperature:.6g} K, the run of {temperature:g} K, and its "
            "positions and velocities would be those of the former; equilibrate at the temperature "
            "of the run"
        )
    return system


def _write_structure(path: Path, atoms: Atoms) -> None:
    structure = Atoms(
        atoms.symbols, positions=atoms.positions, masses=atoms.get_masses(), pbc=False
    )
    structure.cell = np.diag(np.ptp(atoms.positions, axis=0) + _MARGIN)
    structure.center()
    ase.io.write(path, structure, format="extxyz", columns=["symbols", "positions", "masses"])
