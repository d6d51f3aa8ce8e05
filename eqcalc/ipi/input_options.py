# SPDX-License-Identifier: MIT
"""What an input of i-PI asks for, and checks of it."""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.data import chemical_symbols

from eqcalc.dynamics.setup import atomic_masses
from eqcalc.ipi.description import InputError
from eqcalc.models.compositions import check_charge
from eqcalc.molecules import total_charge

_FILE_NAME = re.compile(r"\w[\w.+-]*")
#: Known to eqcalc; torch knows the names of other machines too.
_DEVICES = ("cpu", "cuda")


def check_positive(**values: float) -> None:
    """Raise InputError unless all are finite numbers above zero."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0.0):
            raise InputError(f"{name} must be positive, got {value}")


def check_whole(least: int, **values: int) -> None:
    """Raise InputError unless all are whole numbers from `least` on."""
    for name, value in values.items():
        if value != int(value) or value < least:
            raise InputError(f"{name} must be a whole number of at least {least}, got {value}")


def check_file_name(what: str, text: str) -> None:
    """Raise InputError unless a text can be a part of the name of a file."""
    if _FILE_NAME.fullmatch(text) is None:
        raise InputError(
            f"{what}: expected a name of letters, digits and . _ + -, without folders and "
            f"spaces, got {text!r}"
        )


def check_device(name: str | None) -> None:
    """Raise InputError unless a text names a device; it need not be of this machine."""
    if name is None:
        return
    try:
        kind = torch.device(name).type
    except RuntimeError:
        kind = ""
    if kind not in _DEVICES:
        raise InputError(f"device: expected {', '.join(_DEVICES)} or such as cuda:1, got {name!r}")


def check_molecule(atoms: Atoms) -> None:
    """Raise InputError unless atoms are an isolated molecule somewhere in space."""
    if atoms.pbc.any():
        raise InputError(
            f"{atoms.symbols} is periodic, and this is of isolated molecules; for a molecule in a "
            "box set atoms.pbc = False, or write the file without its cell"
        )
    if not np.isfinite(atoms.positions).all():
        atom = int(np.flatnonzero(~np.isfinite(atoms.positions).all(axis=1))[0])
        raise InputError(f"the position of atom {atom} of {atoms.symbols} is not finite")
    atomic_masses(atoms, None)


def check_elements(header: Mapping[str, Any], numbers: np.ndarray, model: Path) -> None:
    """Raise InputError if a molecule has an element that a model does not know."""
    known = header["references"]["elements"]
    others = sorted(set(np.asarray(numbers).tolist()) - set(known))
    if others:
        raise InputError(
            f"{model} knows {', '.join(chemical_symbols[z] for z in known)}, but not "
            f"{', '.join(chemical_symbols[z] for z in others)}"
        )


def charge_of(
    atoms: Atoms | None, stored: set[float], stated: float | None, metadata: Mapping[str, Any]
) -> float:
    """Return the total charge of a run [e].

    Parameters
    ----------
    atoms
        The molecule, which may know its charge.
    stored
        Charges of the checkpoints to start from.
    stated
        What the caller says.
    metadata
        Of the model.

    Raises
    ------
    InputError
        The molecule, the checkpoints and the caller disagree, or the model was not trained
        on this charge.
    """
    known = set(stored)
    if atoms is not None and ("charge" in atoms.info or atoms.has("initial_charges")):
        known.add(total_charge(atoms))
    if stated is not None:
        known.add(stated)
    if len(known) > 1:
        raise InputError(
            f"the charge is stated as {' and as '.join(f'{q:g}' for q in sorted(known))} e, by the "
            "structure or checkpoints and by charge; correct one"
        )
    charge = known.pop() if known else 0.0
    if not math.isfinite(charge):
        raise InputError(f"charge must be a number, got {charge}")
    try:
        check_charge(metadata, charge)
    except ValueError as error:
        raise InputError(f"charge: {error}") from None
    return charge


#: Ports are 16 bits.
_LAST_PORT = 65535


@dataclass(frozen=True)
class InProcess:
    """The model runs inside i-PI; dipole and polarizability are evaluated at outputs only."""


@dataclass(frozen=True)
class UnixSocket:
    """Clients on the same machine.

    Parameters
    ----------
    address
        Name of the socket; by default one that nobody else uses.
    clients
        How many will connect; the beads are divided among them.
    """

    address: str = field(default_factory=lambda: f"eqcalc-{secrets.token_hex(4)}")
    clients: int = 1

    def __post_init__(self) -> None:
        check_file_name("the name of the unix socket", self.address)
        check_whole(1, clients=self.clients)


@dataclass(frozen=True)
class TCPSocket:
    """Clients on any machine.

    Parameters
    ----------
    host
        Address of this machine on which i-PI listens; ``"0.0.0.0"`` for all of them.
    port
        The port.
    clients
        How many will connect; the beads are divided among them.
    """

    host: str
    port: int
    clients: int = 1

    def __post_init__(self) -> None:
        check_whole(1, port=self.port, clients=self.clients)
        if self.port > _LAST_PORT:
            raise InputError(f"port must be at most {_LAST_PORT}, got {self.port}")


Connection = InProcess | UnixSocket | TCPSocket


@dataclass(frozen=True)
class Strides:
    """How often what is written [steps]; zero: never.

    Parameters
    ----------
    spectra
        Bead-averaged dipole and polarizability. None: the time step that comes next to 1 fs.
    energies
        Temperature, energies.
    centroid
        Positions and velocities of the centroid.
    beads
        Positions of all beads.
    checkpoint
        Checkpoint from which a run that was killed goes on.
    series
        Numbered checkpoints from which other runs start.
    """

    spectra: int | None = None
    energies: int = 40
    centroid: int = 40
    beads: int = 0
    checkpoint: int = 1000
    series: int = 0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < 0:
                raise InputError(f"the stride of {name} must not be negative, got {value}")
