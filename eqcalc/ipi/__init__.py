# SPDX-License-Identifier: MIT
"""eqcalc inside i-PI: potential, socket client, launcher, inputs and reader.

i-PI is needed only to run simulations (``pip install 'eqcalc[ipi]'``).
"""

from eqcalc.ipi.client import Address, Service, serve
from eqcalc.ipi.description import InputError
from eqcalc.ipi.initial_state import initial_conditions
from eqcalc.ipi.input import write_input
from eqcalc.ipi.input_document import Barostat, InProcess, Strides, TCPSocket, UnixSocket
from eqcalc.ipi.launcher import ExitStatus, RunError, run
from eqcalc.ipi.outputs import OutputError
from eqcalc.ipi.protocol import ProtocolError, ServerGoneError
from eqcalc.ipi.reader import RunWarning, read_run

__all__ = [
    "Address",
    "Barostat",
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
