# SPDX-License-Identifier: MIT
"""eqcalc inside i-PI: potential, socket client, launcher, inputs and reader.

Importing this needs no i-PI; running it does (``pip install 'eqcalc[ipi]'``).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

#: Public names and the modules they come from.
_PUBLIC = {
    "Address": "eqcalc.ipi.client",
    "ExitStatus": "eqcalc.ipi.status",
    "InProcess": "eqcalc.ipi.input_options",
    "InputError": "eqcalc.ipi.description",
    "OutputError": "eqcalc.ipi.outputs",
    "ProtocolError": "eqcalc.ipi.protocol",
    "RunError": "eqcalc.ipi.launcher",
    "RunWarning": "eqcalc.ipi.notes",
    "ServerGoneError": "eqcalc.ipi.protocol",
    "Service": "eqcalc.ipi.client",
    "Strides": "eqcalc.ipi.input_options",
    "TCPSocket": "eqcalc.ipi.input_options",
    "UnixSocket": "eqcalc.ipi.input_options",
    "initial_conditions": "eqcalc.ipi.states",
    "read_run": "eqcalc.ipi.reader",
    "run": "eqcalc.ipi.launcher",
    "serve": "eqcalc.ipi.client",
    "write_input": "eqcalc.ipi.input",
}

__all__ = [
    "Address",
    "ExitStatus",
    "InProcess",
    "InputError",
    "OutputError",
    "ProtocolError",
    "RunError",
    "RunWarning",
    "ServerGoneError",
    "Service",
    "Strides",
    "TCPSocket",
    "UnixSocket",
    "initial_conditions",
    "read_run",
    "run",
    "serve",
    "write_input",
]

if TYPE_CHECKING:
    from eqcalc.ipi.client import Address, Service, serve
    from eqcalc.ipi.description import InputError
    from eqcalc.ipi.input import write_input
    from eqcalc.ipi.input_options import InProcess, Strides, TCPSocket, UnixSocket
    from eqcalc.ipi.launcher import RunError, run
    from eqcalc.ipi.notes import RunWarning
    from eqcalc.ipi.outputs import OutputError
    from eqcalc.ipi.protocol import ProtocolError, ServerGoneError
    from eqcalc.ipi.reader import read_run
    from eqcalc.ipi.states import initial_conditions
    from eqcalc.ipi.status import ExitStatus


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'eqcalc.ipi' has no attribute {name!r}")
