# SPDX-License-Identifier: MIT
"""The socket client against i-PI's own interface, and against everything that is not i-PI."""

import json
import socket
import struct
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from eqcalc.ipi.client import Address, Client, serve
from eqcalc.ipi.evaluation import BeadEvaluator
from eqcalc.ipi.protocol import Channel, ProtocolError, ServerGoneError, header
from eqcalc.runtime import eager_evaluator
from eqcalc.validation import ABSENT, InvalidInputError

QUANTITIES = ("energy", "forces", "dipole", "polarizability")
CELL = 50.0 * np.eye(3)


@pytest.fixture
def evaluate(potential, ethanol):
    return BeadEvaluator(eager_evaluator(potential, torch.tensor(ethanol.numbers)), QUANTITIES)


@pytest.fixture
def beads(ethanol):
    noise = np.random.default_rng(2).normal(scale=0.1, size=(6, len(ethanol), 3))
    return (ethanol.positions + noise) * 1.8897261


@contextmanager
def connected(evaluate, *, idle=20.0, stall=20.0):
    """Run a client in a thread; give the other end of its socket and what it ended with."""
    ours, theirs = socket.socketpair()
    ending = []

    def work():
        try:
            Client(Channel(theirs, idle=idle, stall=stall), lambda parameters: evaluate).run()
            ending.append(None)
        except Exception as error:
            ending.append(error)
        finally:
            theirs.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    ours.settimeout(20.0)
    try:
        yield ours, ending
    finally:
        ours.close()
        thread.join(20.0)
    assert not thread.is_alive(), "the client hangs"


def posdata(positions, natoms=None):
    count = struct.pack("=i", positions.shape[-2] if natoms is None else natoms)
    return header("POSDATA") + CELL.tobytes() * 2 + count + positions.tobytes()


def init(text):
    return header("INIT") + struct.pack("=ii", 0, len(text)) + text.encode()


class TestAgainstIPI:
    """i-PI's own code on the other side."""

    @pytest.fixture(autouse=True)
    def ipi(self):
        pytest.importorskip("ipi")

    @staticmethod
    def requests(beads):
        from ipi.engine.forcefields import ForceRequest

        cell = (CELL, np.linalg.inv(CELL))
        size = beads[0].size
        return [
            ForceRequest(
                id=i, pos=bead.ravel(), active=np.arange(size), cell=cell, pars=" ", offset=0.0,
                result=None, status="Queued", start=-1.0,
            )
            for i, bead in enumerate(beads)
        ]  # fmt: skip

    @staticmethod
    def check(request, result):
        energy, forces, virial, extras = request["result"]
        assert energy == result.energy
        assert np.array_equal(forces, result.forces.ravel())
        assert np.array_equal(virial, result.virial)
        assert {k: extras[k] for k in ("dipole", "polarizability")} == json.loads(result.extras)

    def test_base_protocol(self, evaluate, beads):
        from ipi.interfaces.sockets import Driver, Status

        with connected(evaluate) as (ours, ending):
            driver = Driver(ours)
            driver.get_status()
            assert driver.status & Status.NeedsInit
            for request, bead in zip(self.requests(beads[:2]), beads, strict=False):
                assert driver.dispatch_send(request)
                assert driver.dispatch_recv(request)
                self.check(request, evaluate(bead[None])[0])
            assert driver.status & Status.Ready
            driver.shutdown()
        assert ending == [None]

    def test_messages_one_by_one(self, evaluate, beads):
        """As i-PI did before 3.2, and does with consolidate_messages off."""
        from ipi.interfaces.sockets import Driver

        with connected(evaluate) as (ours, ending):
            driver = Driver(ours)
            driver.get_status()
            request = self.requests(beads[:1])[0]
            driver.dispatch(request)
            self.check(request, evaluate(beads[:1])[0])
            driver.shutdown()
        assert ending == [None]

    def test_batched_protocol_does_not_evaluate_padding(self, evaluate, beads):
        from ipi.interfaces.sockets import Driver

        expected = evaluate(beads)
        evaluate.structures = 0
        with connected(evaluate) as (ours, ending):
            driver = Driver(ours)
            driver.batch_size = 4
            driver.get_status()
            requests = self.requests(beads)
            for part in (requests[:4], requests[4:]):
                assert driver.dispatch_send_batch(part)
                assert driver.dispatch_recv_batch(part)
            for request, result in zip(requests, expected, strict=True):
                assert request["result"][0] == pytest.approx(result.energy, rel=1e-13)
                np.testing.assert_allclose(request["result"][1], result.forces.ravel(), atol=1e-13)
            driver.shutdown()
        assert ending == [None]
        assert evaluate.structures == 6

    @pytest.mark.parametrize("batch", [1, 2])
    def test_the_job_of_a_client_that_is_reset_is_given_to_another(self, beads, batch, tmp_path):
        """i-PI's own interface raises here, which ends the thread that serves all clients."""
        from ipi.interfaces.sockets import Driver, InterfaceSocket, Status

        from eqcalc.ipi.engine import Interface

        original = InterfaceSocket(address="a", sockets_prefix=f"{tmp_path}/", batch_size=batch)
        original.requests = requests = self.requests(beads[: 2 * batch])
        done, lost = requests[:batch], requests[batch:]
        interface = Interface.like(original)
        interface.open()
        ours, theirs = socket.socketpair()
        other, silent = socket.socketpair()
        client, finished = Driver(ours), Driver(other)
        client.batch_size = batch
        client.status = Status.Up | Status.Ready
        interface.clients, interface.poll_iter = [client], 0
        if batch == 1:
            (done, lost), send = (done[0], lost[0]), client.dispatch_send
        else:
            send = client.dispatch_send_batch
        assert send(lost)
        for request in requests[:batch]:
            request["status"] = "Done"  # found in the same round, before the reset
        for request in requests[batch:]:
            request["status"] = "Running"
        interface.jobs = [[done, finished, None], [lost, client, None]]
        theirs.close()  # with the positions unread
        for _ in range(3):
            interface.poll()
        assert [request["status"] for request in requests[batch:]] == ["Queued"] * batch
        assert (interface.jobs, interface.clients) == ([], [])
        interface.close()
        for end in (ours, other, silent, client, finished):
            end.close()

    def test_the_request_is_read_before_the_computation(self, evaluate, beads):
        """A client killed while it computes must leave nothing unread in its socket."""
        left = []

        class Looking:
            n_atoms = evaluate.n_atoms

            def __call__(self, positions, cells):
                theirs.setblocking(False)
                try:
                    left.append(theirs.recv(1))
                except BlockingIOError:
                    left.append(b"")
                return evaluate(positions, cells)

        ours, theirs = socket.socketpair()
        ours.sendall(init("x:1") + posdata(beads[0]) + header("GETFORCE") + header("EXIT"))
        Client(Channel(theirs, idle=5.0, stall=5.0), lambda parameters: Looking()).run()
        assert left == [b""]
        ours.close()
        theirs.close()


@pytest.mark.parametrize(
    ("message", "key", "value"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "message", b"GET / HTTP/1"),
        (header("STATU"), "message", b"STATU"),
        (header("STATUS")[:5], "", ABSENT),
        (init("x:1")[:15], "", ABSENT),
        (header("INIT") + struct.pack("=ii", 0, -1), "bytes of INIT", -1),
        (header("INIT") + struct.pack("=ii", 0, 2**30), "bytes of INIT", 2**30),
        (init("batch_size:0"), "batch_size", "0"),
        (init("batch_size:many"), "batch_size", "many"),
        (header("GETFORCE"), "", ABSENT),
        (header("POSDATA"), "", ABSENT),
        (init(" ") + posdata(np.zeros((8, 3))), "atoms sent by i-PI", 8),
        (init(" ") + posdata(np.zeros((9, 3)), natoms=-9), "atoms sent by i-PI", -9),
        (init(" ") + posdata(np.zeros((9, 3)))[:-8], "", ABSENT),
        (init("batch_size:2") + posdata(np.zeros((9, 3))), "atoms sent by i-PI", None),
    ],
)
def test_garbage_half_messages_and_wrong_numbers_are_clear_errors(evaluate, message, key, value):
    with connected(evaluate) as (ours, ending):
        ours.sendall(message)
        ours.shutdown(socket.SHUT_WR)
    (error,) = ending
    assert isinstance(error, ProtocolError)
    assert error.key == key
    assert value is None or error.value == value
    assert error.problem or error.expected


def test_silence_is_not_waited_for(evaluate):
    with connected(evaluate, idle=0.2) as (_, ending):
        threading.Event().wait(0.6)
        assert isinstance(ending[0], ServerGoneError)
        assert "nothing from i-PI" in str(ending[0])
    with connected(evaluate, stall=0.2) as (ours, ending):
        ours.sendall(init("x:1") + posdata(np.zeros((9, 3)))[:100])
        threading.Event().wait(0.6)
        assert isinstance(ending[0], ProtocolError)
        assert "then nothing for" in str(ending[0])


def test_a_server_that_vanishes_is_an_error(evaluate, beads):
    with connected(evaluate) as (ours, ending):
        ours.sendall(header("STATUS"))
        ours.recv(12)
    assert isinstance(ending[0], ServerGoneError)
    with connected(evaluate) as (ours, ending):  # with an answer on the way
        ours.sendall(init("x:1") + posdata(beads[0]) + header("GETFORCE"))
    assert isinstance(ending[0], ServerGoneError)


class TestServe:
    """The whole client, over unix and TCP."""

    @pytest.fixture(params=["unix", "tcp"])
    def server(self, request, tmp_path):
        if request.param == "unix":
            address = Address(unix="socket", prefix=f"{tmp_path}/")
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(address))
        else:
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            address = Address(host="127.0.0.1", port=listener.getsockname()[1])
        listener.listen()
        listener.settimeout(20.0)
        yield listener, address
        listener.close()

    @staticmethod
    def play(listener, *messages):
        """Accept a client for each of the messages, send it and close the connection."""

        def work():
            for message in messages:
                connection, _ = listener.accept()
                connection.sendall(message)
                connection.settimeout(20.0)
                connection.recv(12)
                connection.close()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        return thread

    def test_exit_ends_and_a_vanished_server_does_only_without_reconnect(self, server, model):
        listener, address = server
        status, leave = header("STATUS"), header("STATUS") + header("EXIT")
        thread = self.play(listener, status, status, leave)
        service = serve(model, address, reconnect=True, patience=10.0)
        thread.join(20.0)
        assert (service.connections, service.structures) == (3, 0)
        thread = self.play(listener, status)
        with pytest.raises(ServerGoneError):
            serve(model, address, patience=10.0)
        thread.join(20.0)

    def test_the_molecule_comes_from_ipi_or_from_the_user(self, server, model, water):
        listener, address = server
        positions = water.positions * 1.8897261

        def work(text):
            with listener.accept()[0] as connection:
                connection.settimeout(20.0)
                connection.sendall(init(text) + posdata(positions) + header("GETFORCE"))
                reply = b""
                while len(reply) < 12 + 8:
                    reply += connection.recv(1000)
                replies.append(reply)
                connection.sendall(header("EXIT"))

        replies = []
        for text, symbols in ((" symbols : OH2 , charge : 0 , ", None), (" ", "OH2")):
            thread = threading.Thread(target=work, args=(text,), daemon=True)
            thread.start()
            assert serve(model, address, symbols=symbols, patience=10.0).structures == 1
            thread.join(20.0)
        assert replies[0][:20] == replies[1][:20]
        assert replies[0].startswith(b"FORCEREADY")
        thread = self.play(listener, init("bead : 3"))
        with pytest.raises(ProtocolError) as error:
            serve(model, address, patience=10.0)
        assert error.value.key == "symbols"


def test_nobody_listens(tmp_path, model):
    with pytest.raises(ServerGoneError, match=r"no i-PI listens at .*/nothing"):
        serve(model, Address(unix="nothing", prefix=f"{tmp_path}/"), patience=0.2)
    for given in ({"host": "localhost"}, {"unix": "a", "host": "b", "port": 1}, {}):
        with pytest.raises(InvalidInputError) as error:
            Address(**given)
        assert error.value.key == "address"
