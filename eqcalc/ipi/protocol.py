# SPDX-License-Identifier: MIT
"""i-PI's socket protocol, with timeouts.

i-PI's own client, ``i-pi-py_driver``, is a script without timeouts that reads on for ever after a
connection has ended, takes every unknown message for the next one, evaluates the padding of
batches, and passes none of the parameters in INIT on; hence this one.

A message starts with a header of 12 characters, padded with blanks; numbers follow in the
byte order of the machine: 4-byte integers and 8-byte reals, in atomic units. The base
protocol sends one structure at a time::

    STATUS                                       → NEEDINIT | READY | HAVEDATA
    INIT     bead, length, text
    POSDATA  h, h⁻¹, n_atoms, positions
    GETFORCE                                     → FORCEREADY energy, n_atoms, forces, virial,
                                                   length, extras
    EXIT

Since i-PI 3.3 the text of INIT may contain ``batch_size:B``, and then::

    POSDATA  n_atoms, B·(h, h⁻¹), B·positions
    GETFORCE                                     → FORCEREADY B·energy, n_atoms, B·forces,
                                                   B·virial, B·(length, extras)
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eqcalc.validation import InvalidInputError

HEADER_LENGTH = 12
HEADERS = (b"STATUS", b"INIT", b"POSDATA", b"GETFORCE", b"EXIT")
#: Longest plausible INIT text.
_LONGEST_TEXT = 2**18
#: Largest plausible batch, which bounds the memory of a message.
_LARGEST_BATCH = 1_000_000
_REAL = 8
_CELL = 9 * _REAL


class ProtocolError(InvalidInputError):
    """A received message violates i-PI's protocol."""


class ServerGoneError(ConnectionError):
    """i-PI has closed the connection or does not respond."""


class Result(NamedTuple):
    """One structure, in atomic units.

    Parameters
    ----------
    energy
        [hartree].
    forces
        ``[n_atoms, 3]`` [hartree/bohr].
    virial
        −∂V/∂strain, ``[3, 3]`` [hartree]: Σ_i r_i ⊗ F_i of a molecule, −volume · stress of a cell.
    extras
        JSON with ``dipole``, 3 numbers [e·bohr], and ``polarizability``, the 9 numbers
        of the tensor row by row [e²bohr²/hartree]; empty if neither is evaluated.
    """

    energy: float
    forces: np.ndarray
    virial: np.ndarray
    extras: str


def header(name: str) -> bytes:
    """Return the header of a message."""
    return name.encode().ljust(HEADER_LENGTH)


class Channel:
    """A buffered connection to i-PI with timeouts.

    Parameters
    ----------
    connection
        A connected socket.
    idle, stall
        Timeouts between and within messages [s].
    """

    def __init__(self, connection: socket.socket, *, idle: float, stall: float) -> None:
        self.connection = connection
        self.idle = idle
        self.stall = stall
        self._buffer = bytearray()

    def next_header(self) -> bytes:
        """Return the name of the next message.

        Raises ServerGoneError if the connection was closed or nothing came for too long, and
        ProtocolError for what is no message of i-PI, here and below.
        """
        if not self._buffer:
            self._receive(self.idle, "nothing")
        name = self.read(HEADER_LENGTH, "a header").rstrip()
        if name not in HEADERS:
            raise ProtocolError(
                key="message",
                value=name,
                expected=f"one of {', '.join(h.decode() for h in HEADERS)}",
                advice="is this the address of an i-PI server?",
            )
        return name

    def read(self, size: int, what: str) -> bytes:
        """Return the next `size` bytes of what the message calls `what`."""
        while len(self._buffer) < size:
            got = len(self._buffer)
            self._receive(self.stall, f"{got} of the {size} bytes of {what}")
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def read_init(self) -> str:
        """Return the text of INIT."""
        _, length = struct.unpack("=ii", self.read(8, "INIT"))  # the first is the bead
        if not 0 <= length <= _LONGEST_TEXT:
            raise ProtocolError(
                key="bytes of INIT", value=length, expected=f"at most {_LONGEST_TEXT}"
            )
        return self.read(length, "INIT").decode(errors="replace")

    def read_positions(self, n_atoms: int, batch: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and cells of POSDATA [bohr].

        They are ``[n_structures, n_atoms, 3]`` and ``[n_structures, 3, 3]`` with the vectors of
        the cell as columns. `batch` is the number of structures of the batched protocol, None for
        the base protocol.
        """
        count = batch or 1
        if batch is not None:
            self._check_atoms(n_atoms)
        cells = np.frombuffer(self.read(2 * _CELL * count, "POSDATA")).reshape(count, 2, 3, 3)
        if batch is None:
            self._check_atoms(n_atoms)
        data = self.read(3 * _REAL * n_atoms * count, "POSDATA")
        return np.frombuffer(data).reshape(count, n_atoms, 3), cells[:, 0]

    def _check_atoms(self, n_atoms: int) -> None:
        (sent,) = struct.unpack("=i", self.read(4, "POSDATA"))
        if sent != n_atoms:
            raise ProtocolError(
                key="atoms sent by i-PI",
                value=sent,
                expected=f"{n_atoms}, as in the molecule",
                advice="are the structure of i-PI and that of this client the same?",
            )

    def read_ahead(self) -> None:
        """Read data that has already arrived.

        i-PI sends GETFORCE together with the positions. A client that dies with this
        unread resets the connection, which i-PI 3.3 handles worse than its end.
        """
        self.connection.setblocking(False)
        try:
            while data := self.connection.recv(1 << 16):
                self._buffer += data
        except (BlockingIOError, ConnectionResetError):
            pass  # a connection that is gone is noticed when the answer is sent

    def send(self, data: bytes) -> None:
        """Send a whole message; ServerGoneError if i-PI does not accept it."""
        self.connection.settimeout(self.stall)
        try:
            self.connection.sendall(data)
        except TimeoutError:
            raise ServerGoneError(
                f"i-PI has not taken an answer for {self.stall:g} s; is it stopped?"
            ) from None
        except OSError as error:
            raise ServerGoneError(f"i-PI has closed the connection: {error}") from error

    def _receive(self, limit: float, got: str) -> None:
        """Wait for more bytes, at most `limit` s."""
        self.connection.settimeout(limit)
        try:
            data = self.connection.recv(1 << 16)
        except TimeoutError:
            if self._buffer:
                raise ProtocolError(f"{got} arrived, then nothing for {limit:g} s") from None
            raise ServerGoneError(f"nothing from i-PI for {limit:g} s") from None
        except OSError as error:
            raise ServerGoneError(f"the connection to i-PI broke: {error}") from error
        if not data:
            if self._buffer:
                raise ProtocolError(f"the connection ended after {got}")
            raise ServerGoneError("i-PI closed the connection without EXIT; was it killed?")
        self._buffer += data


def parse_init(text: str) -> dict[str, str]:
    """Return the parameters in the text of INIT, ``"key : value , key : value"``."""
    pairs = (item.partition(":") for item in text.split(","))
    return {key.strip(): value.strip() for key, colon, value in pairs if colon and value.strip()}


def batch_size(parameters: dict[str, str]) -> int | None:
    """Return the batch size that INIT announces, None for the base protocol."""
    text = parameters.get("batch_size")
    if text is None:
        return None
    digits = text.isascii() and text.isdecimal() and len(text) < 10
    if not (digits and 0 < int(text) <= _LARGEST_BATCH):
        expected = f"an integer from 1 to {_LARGEST_BATCH}"
        raise ProtocolError(key="batch_size", value=text[:40], expected=expected)
    return int(text)


def encode_results(results: Sequence[Result]) -> bytes:
    """Return FORCEREADY with the results, of one structure or of a batch alike."""
    n_atoms = len(results[0].forces)
    extras = [result.extras.encode() for result in results]
    return b"".join(
        [
            header("FORCEREADY"),
            np.array([result.energy for result in results], dtype=np.float64).tobytes(),
            struct.pack("=i", n_atoms),
            np.stack([result.forces for result in results]).astype(np.float64).tobytes(),
            np.stack([result.virial for result in results]).astype(np.float64).tobytes(),
            *(part for text in extras for part in (struct.pack("=i", len(text)), text)),
        ]
    )
