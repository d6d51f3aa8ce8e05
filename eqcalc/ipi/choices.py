# SPDX-License-Identifier: MIT
"""What an input of i-PI can be asked for: how the model is reached, and what is written."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from eqcalc.ipi.checks import check_file_name, check_whole
from eqcalc.ipi.description import InputError

#: Ports are 16 bits.
_LAST_PORT = 65535

__all__ = ["Connection", "InProcess", "Strides", "TCPSocket", "UnixSocket"]


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
