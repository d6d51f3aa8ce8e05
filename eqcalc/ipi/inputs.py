# SPDX-License-Identifier: MIT
"""Complete, commented inputs of i-PI for every ensemble that spectra are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms

from eqcalc.ipi.choices import Connection, InProcess, Strides
from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.document import InputDocument
from eqcalc.ipi.methods import METHODS, IPIMethod
from eqcalc.models.checkpoint import read_header
from eqcalc.trajectory import write_atomically

__all__ = ["write_input"]

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
    charge: float = 0.0,
    prefix: str = "simulation",
) -> Path:
    """Write an input of i-PI, and beside it the structure that it starts from.

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
        The molecule, with its masses, to start from with thermal velocities.
    starts
        Instead of `atoms`: checkpoints of an equilibrated run. Each starts one independent
        system with its positions and momenta; all are evaluated in one call.
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
    device, precision, charge
        As of :class:`~eqcalc.ipi.eqcalc_driver.EqcalcDriver`.
    prefix
        Of the outputs.

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
    for target in (path, structure):
        if target.exists():
            raise FileExistsError(f"{target} exists and is never overwritten")
    method = METHODS[method]() if isinstance(method, str) and method in METHODS else method
    if isinstance(method, str):
        raise InputError(
            f"unknown method {method!r}; expected one of {', '.join(METHODS)}, or PIGLET with "
            "matrices"
        )
    numbers = {"temperature": temperature, "timestep": timestep, "steps": steps}
    for name, value in numbers.items():
        if not value > 0:
            raise InputError(f"{name} must be positive, got {value}")
    method.check(beads)
    model = Path(model).resolve()
    if "," in str(model):
        raise InputError(f"i-PI cannot pass on a path with a comma: {model}")
    heads = read_header(model)["model"]["heads"]
    strides = Strides() if strides is None else strides
    if strides.spectra is None:
        strides = replace(strides, spectra=max(1, round(1.0 / timestep)))
    if (atoms is None) == (not starts):
        raise InputError("give either the molecule or checkpoints to start from")
    checkpoints = [Path(start).resolve() for start in starts]
    symbols = str(atoms.symbols) if atoms is not None else _symbols(checkpoints, beads)
    parameters = {"model": str(model), "symbols": symbols, "charge": f"{charge:g}"}
    chosen = (("device", device), ("precision", precision))
    parameters |= {k: v for k, v in chosen if v is not None}
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
        starts=tuple(checkpoints),
    )
    text = document.text()
    Description(text, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if atoms is not None:
        _write_structure(structure, atoms)
    write_atomically(path, text.encode())
    return path


def _symbols(checkpoints: Sequence[Path], beads: int) -> str:
    """Return the molecule of the checkpoints.

    Raises
    ------
    InputError
        They are of different molecules, or have other numbers of beads.
    """
    found = set()
    for checkpoint in checkpoints:
        systems = Description.read(checkpoint).systems()
        if len(systems) != 1:
            raise InputError(
                f"{checkpoint} has {len(systems)} systems, of which i-PI would take the first; "
                "equilibrate one system"
            )
        if systems[0].n_beads != beads:
            raise InputError(
                f"{checkpoint} has {systems[0].n_beads} beads, the run {beads}; equilibrate with "
                "the same number"
            )
        found.add(str(Atoms(systems[0].numbers).symbols))
    if len(found) != 1:
        raise InputError(f"the checkpoints are of different molecules: {', '.join(sorted(found))}")
    return found.pop()


def _write_structure(path: Path, atoms: Atoms) -> None:
    structure = Atoms(
        atoms.symbols, positions=atoms.positions, masses=atoms.get_masses(), pbc=False
    )
    structure.cell = np.diag(np.ptp(atoms.positions, axis=0) + _MARGIN)
    structure.center()
    ase.io.write(path, structure, format="extxyz", columns=["symbols", "positions", "masses"])
