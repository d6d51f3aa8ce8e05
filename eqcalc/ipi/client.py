# SPDX-License-Identifier: MIT
"""A client for i-PI's socket interface: base and batched protocol, unix and TCP sockets."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eqcalc.ipi.description import SOCKETS_PREFIX, check_socket
from eqcalc.ipi.evaluation import BeadEvaluator, parse_quantities
from eqcalc.ipi.input_document import check_file_name
from eqcalc.ipi.protocol import (
    Channel,
    ProtocolError,
    Result,
    ServerGoneError,
    batch_size,
    encode_results,
    header,
    parse_init,
)
from eqcalc.models.precision import check_precision, checked_device
from eqcalc.validation import InvalidInputError, number_in

_ALL = "energy+forces+dipole+polarizability"
#: Timeout within a message [s].
_STALL = 60.0


@dataclass(frozen=True)
class Address:
    """Address of i-PI: a unix socket, or a host and port.

    Parameters
    ----------
    unix
        Name of the unix socket, as in ``<address>`` of the input.
    host, port
        Host and port of a TCP socket.
    prefix
        Prefix of the name of a unix socket, ``sockets_prefix`` of the input.

    Raises
    ------
    InvalidInputError
        Not exactly one of the two is given.
    """

    unix: str | None = None
    host: str | None = None
    port: int | None = None
    prefix: str = SOCKETS_PREFIX

    def __post_init__(self) -> None:
        if self.unix is not None:
            check_file_name("unix", self.unix)
            check_socket(self.prefix, self.unix)
        given = (self.unix is not None, self.host is not None, self.port is not None)
        if given not in ((True, False, False), (False, True, True)):
            raise InvalidInputError(
                key="address",
                value=(self.unix, self.host, self.port),
                expected="either the name of a unix socket, or both a host and a port",
            )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.unix is None else f"{self.prefix}{self.unix}"

    def connect(self, timeout: float) -> socket.socket:
        """Return a connected socket; OSError if the connection is refused."""
        if self.unix is not None:
            connection = socket.socket(socket.AF_UNIX)
            try:
                connection.settimeout(timeout)
                connection.connect(str(self))
            except OSError:
                connection.close()
                raise
            return connection
        connection = socket.create_connection((self.host or "", self.port or 0), timeout=timeout)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # a vanished host closes nothing; keep-alive probes detect it after two minutes
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 15), ("TCP_KEEPCNT", 4)):
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        return connection

    def connect_within(self, patience: float) -> socket.socket:
        """Return a connected socket, retrying for `patience` s, or raise ServerGoneError."""
        deadline = time.monotonic() + patience
        while True:
            try:
                return self.connect(max(1.0, deadline - time.monotonic()))
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise ServerGoneError(
                        f"no i-PI listens at {self} ({error}); tried for {patience:g} s"
                    ) from None
            time.sleep(0.1)


@dataclass(frozen=True)
class Service:
    """Counters of a client: model calls, structures, and connections."""

    calls: int
    structures: int
    connections: int


class Client:
    """Serves i-PI over one connection.

    `molecule` returns the evaluator for the molecule given by the parameters in INIT.
    """

    def __init__(
        self, channel: Channel, molecule: Callable[[dict[str, str]], BeadEvaluator]
    ) -> None:
        self.channel = channel
        self._molecule = molecule
        self._evaluate: BeadEvaluator | None = None
        self._batch: int | None = None
        self._results: list[Result] = []

    def run(self) -> None:
        """Serve until i-PI sends EXIT; for errors see :func:`serve`."""
        answers = {
            b"STATUS": self._status,
            b"INIT": self._initialise,
            b"POSDATA": self._compute,
            b"GETFORCE": self._answer,
        }
        while (name := self.channel.next_header()) != b"EXIT":
            answers[name]()

    def _status(self) -> None:
        ready = "HAVEDATA" if self._results else "READY"
        self.channel.send(header("NEEDINIT" if self._evaluate is None else ready))

    def _initialise(self) -> None:
        parameters = parse_init(self.channel.read_init())
        self._batch = batch_size(parameters)
        self._evaluate = self._molecule(parameters)

    def _compute(self) -> None:
        if self._evaluate is None:
            raise ProtocolError("i-PI sends positions before INIT")
        positions, cells = self.channel.read_positions(self._evaluate.n_atoms, self._batch)
        self.channel.read_ahead()
        n = _without_padding(positions, cells)
        results = self._evaluate(positions[:n], cells[:n])
        self._results = results + results[-1:] * (len(positions) - n)

    def _answer(self) -> None:
        if not self._results:
            raise ProtocolError("i-PI asks for forces of positions that it has not sent")
        self.channel.send(encode_results(self._results))
        self._results = []


def _without_padding(*arrays: np.ndarray) -> int:
    """Return the number of structures without the copies of the last one that pad a batch."""
    same = np.logical_and.reduce([(array == array[-1]).all(axis=(1, 2)) for array in arrays])
    others = np.flatnonzero(~same)
    return (int(others[-1]) if len(others) else -1) + 2


def serve(
    model: str | Path,
    address: Address,
    *,
    symbols: str | None = None,
    device: str | None = None,
    precision: str | None = None,
    charge: float | None = None,
    correction: str | Path | None = None,
    patience: float = 60.0,
    idle: float = 600.0,
    reconnect: bool = False,
) -> Service:
    """Provide energies, forces, virials and extras to i-PI until it sends EXIT.

    Elements, quantities and charge are read from the ``<parameters>`` of the force field, which
    i-PI sends when a client connects; ``eqcalc ipi input`` writes them.

    Parameters
    ----------
    model
        Model file.
    address
        Address of i-PI.
    symbols
        Elements in the order of the atoms, if not given in the input of i-PI.
    device, precision
        Device and precision of the network; see :meth:`BeadEvaluator.load`.
    charge
        Total charge [e], if not given in the input of i-PI.
    correction
        File of the correction of the potential, if i-PI is to simulate ``Te-PIGS``.
    patience
        Timeout for connecting [s].
    idle
        Timeout between messages [s].
    reconnect
        If i-PI disconnects without EXIT, wait for it to restart instead of raising.

    Raises
    ------
    ServerGoneError
        The connection failed or was lost.
    ProtocolError
        The server is not i-PI, or simulates another molecule.
    """
    check_precision(precision)
    if device is not None:
        checked_device(device)
    loaded: dict[tuple[str, str, float, bool], BeadEvaluator] = {}

    def molecule(parameters: dict[str, str]) -> BeadEvaluator:
        elements = symbols or parameters.get("symbols")
        if elements is None:
            raise ProtocolError(
                key="symbols",
                expected="the elements in <parameters> of the force field of i-PI",
                advice="add {symbols: C2OH6} there, or give the structure to the client",
            )
        quantities = parameters.get("quantities", _ALL)
        total = number_in(parameters.get("charge", "0").strip()) if charge is None else charge
        if total is None or not math.isfinite(total):
            raise ProtocolError(key="charge", value=parameters["charge"], expected="a number [e]")
        if (parameters.get("correction") is None) is not (correction is None):
            expected = "none, for i-PI is to simulate the model alone"
            raise ProtocolError(
                key="correction",
                value="" if correction is None else str(correction),
                expected="that of the potential" if correction is None else expected,
            )
        periodic = parameters.get("periodic", "").lower() == "true"
        key = (elements, quantities, total, periodic)
        if key not in loaded:
            loaded[key] = BeadEvaluator.load(
                str(model),
                elements,
                quantities=parse_quantities(quantities),
                device=device,
                precision=precision,
                charge=total,
                periodic=periodic,
                correction=None if correction is None else str(correction),
            )
        return loaded[key]

    connections = 0
    while True:
        channel = Channel(address.connect_within(patience), idle=idle, stall=_STALL)
        connections += 1
        try:
            Client(channel, molecule).run()
            break
        except ServerGoneError:
            if not reconnect:
                raise
        finally:
            channel.connection.close()
    return Service(
        sum(evaluator.calls for evaluator in loaded.values()),
        sum(evaluator.structures for evaluator in loaded.values()),
        connections,
    )
