# SPDX-License-Identifier: MIT
"""What can be chosen in an input of i-PI: how the model is reached, what is written."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from ase import Atoms

from eqcalc.ipi.description import InputError
from eqcalc.models.compositions import check_charge
from eqcalc.molecules import states_charge, total_charge
from eqcalc.validation import count, number

_FILE_NAME = re.compile(r"\w[\w.+-]*")
#: Known to eqcalc; torch knows the names of other machines too.
_DEVICES = ("cpu", "cuda")
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
        check_file_name("address", self.address)
        count("clients", self.clients)


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
        count("clients", self.clients)
        if count("port", self.port) > _LAST_PORT:
            raise InputError(key="port", value=self.port, expected=f"at most {_LAST_PORT}")


Connection = InProcess | UnixSocket | TCPSocket


@dataclass(frozen=True)
class Strides:
    """How often what is written [steps]; zero: never.

    Parameters
    ----------
    spectra
        Bead-averaged dipole and polarizability. None: as close to 1 fs as the time step allows.
    energies
        Temperature, energies.
    centroid
        Positions and velocities of the centroid.
    beads
        Positions of all beads.
    checkpoint
        Checkpoint from which a run that was killed is continued.
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
            if value is not None:
                count(f"strides.{name}", value, least=0)


# --- checks ---------------------------------------------------------------------------


def check_file_name(key: str, text: str) -> None:
    """Raise InputError unless a text can be a part of the name of a file."""
    if _FILE_NAME.fullmatch(text) is None:
        raise InputError(
            key=key,
            value=text,
            expected="a name of letters, digits and . _ + -, without folders and spaces",
        )


def check_device(name: str | None) -> None:
    """Raise InputError unless a text names a device; it need not be of this machine."""
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
    InvalidInputError
        The molecule, the checkpoints and the caller disagree, or the model was not trained
        on this charge.
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
