# SPDX-License-Identifier: MIT
"""Inputs of i-PI that are odd or hostile, and places where it cannot listen."""

import os
import socket

import pytest

from eqcalc.ipi import Address, UnixSocket
from eqcalc.ipi.description import Description, InputError
from eqcalc.ipi.evaluation import atomic_numbers
from eqcalc.ipi.launcher import remove_stale, require_free_port, where_to_start
from eqcalc.ipi.protocol import ProtocolError, batch_size
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

INPUT = """<simulation><output prefix='a'>
<properties stride='{stride}'> [ step ] </properties></output>
<total_steps> {steps} </total_steps></simulation>"""


def read(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "input.xml"
    path.write_bytes(text.encode(encoding))
    return Description.read(path)


def test_integers_are_read_however_they_are_written(tmp_path):
    found = read(tmp_path, INPUT.format(stride=" 4 ", steps="1e3"))
    assert (found.total_steps, found.outputs()[0].stride) == (1000, 4)


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "2.5", "1e400", "four", ""])
def test_strides_that_are_none(tmp_path, value):
    description = read(tmp_path, INPUT.format(stride=value, steps=9))
    with refused(InputError, file=tmp_path / "input.xml", key="properties.stride", value=value):
        description.outputs()


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("<simulation>", "<simulation safe_stride='nan'>", "safe_stride"),
        (
            "<total",
            "<ffdirect><batch_size> 0 </batch_size></ffdirect><total",
            "ffdirect.batch_size",
        ),
    ],
)
def test_numbers_with_which_i_pi_would_not_end(tmp_path, before, after, key):
    text = INPUT.format(stride=1, steps=9)
    read(tmp_path, text).check()
    with refused(InputError, file=tmp_path / "input.xml", key=key):
        read(tmp_path, text.replace(before, after)).check()


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e400", "1e30"])
def test_lengths_that_are_none(tmp_path, value):
    description = read(tmp_path, INPUT.format(stride=1, steps=value))
    with refused(InputError, file=tmp_path / "input.xml", key="total_steps", value=value):
        assert description.total_steps


def test_entities_and_other_encodings_are_refused(tmp_path):
    laughs = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>'
    for text, encoding in (
        (f"{laughs}<simulation>&b;</simulation>", "utf-8"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><simulation/>', "utf-8"),
        ("<simulation>é</simulation>", "latin-1"),
        ("<simulation>", "utf-8"),
        ("<a/>", "utf-8"),
    ):
        with refused(InvalidInputError, file=tmp_path / "input.xml"):
            read(tmp_path, text, encoding)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "input.xml")
    with refused(InvalidFileError, file=tmp_path / "input.xml"):
        Description.read(tmp_path / "input.xml")


@pytest.mark.parametrize("text", ["0", "-1", "1000001", "9" * 5000, "²", "٣", "1.5", "nan"])
def test_batches_that_are_none(text):
    with refused(ProtocolError, key="batch_size"):
        batch_size({"batch_size": text})


@pytest.mark.parametrize("text", ["H99999999999", "C2" * 100_000, "H1e9", "", "Xx"])
def test_molecules_that_are_none(text):
    with refused(InvalidInputError, key="symbols"):
        atomic_numbers(text)


def test_only_sockets_are_removed(tmp_path):
    mine, link, stale = tmp_path / "mine", tmp_path / "link", tmp_path / "stale"
    mine.write_text("precious")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(stale))
    link.symlink_to(stale)
    for path in (mine, link, tmp_path):
        with refused(InputError, key="address", value=str(path)):
            remove_stale(path)
    assert mine.read_text() == "precious" and link.is_symlink()
    remove_stale(stale)
    assert not stale.exists()
    remove_stale(stale)


@pytest.mark.parametrize("step", [0, 4])
@pytest.mark.parametrize("name", ["a.out", "s001_a.out", "a.beads_02.extxyz"])
def test_outputs_that_are_links_are_refused(tmp_path, step, name):
    """i-PI would write through a link, also one that points nowhere, and wait for a pipe."""
    text = f"""<simulation><output prefix='a'><properties> [ step ] </properties>
    <trajectory filename='beads'> positions </trajectory></output><step> {step} </step>
    <system><beads><q> [ 0 ] </q></beads></system></simulation>"""
    description = read(tmp_path, text)
    path = tmp_path / name
    others = tmp_path / "plots-of-a.out", tmp_path / "#a.out#0#", tmp_path / "model.eqc"
    others[0].mkdir()
    for link in others[1:]:
        link.symlink_to("/dev/null")
    path.write_text("1\n2")
    where_to_start(description)
    assert path.read_text() == ("1\n" if step else "1\n2")
    path.rename(tmp_path / "elsewhere")
    makers = (
        lambda: path.symlink_to(tmp_path / "elsewhere"),
        lambda: path.symlink_to(tmp_path / "nowhere"),
        lambda: os.mkfifo(path),
    )
    for make in makers:
        make()
        with refused(InputError, file=path):
            where_to_start(description)
        path.unlink()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("make", [UnixSocket, Address])
def test_names_that_sockets_cannot_have(make):
    make("a" * 90)
    with refused(InvalidInputError, key="address", value="a" * 150) as caught:
        make("a" * 150)
    assert "at most 94 letters" in caught.value.expected


def test_a_port_in_use_is_named_before_i_pi_starts():
    with socket.socket() as server:
        server.bind(("localhost", 0))
        server.listen()
        port = server.getsockname()[1]
        with refused(InputError, key="address, port", value=f"localhost:{port}"):
            require_free_port("localhost", port)
    require_free_port("localhost", port)
    with refused(InputError, key="address, port"):
        require_free_port("no.such.host.invalid", port)


CHECKPOINT = """<simulation>
  <total_steps>10</total_steps>
  <ffsocket name="driver" mode="unix"><address> abc </address></ffsocket>
  <system>
    <beads natoms="1" nbeads="2"><q shape="(2, 3)"> [ 0, 0, 0, 0, 0, {q} ] </q>
      <p shape="(2, 3)"> [ 0, 0, 1, 0, 0, {p} ] </p>
      <m shape="(1)"> [ 1837 ] </m><names shape="(1)"> [ H ] </names></beads>
    <motion mode="dynamics"><dynamics mode="nve"><timestep> 10 </timestep></dynamics></motion>
    <ensemble><temperature units="kelvin"> 300 </temperature></ensemble>
    <cell> [ 9, 0, 0, 0, 9, 0, 0, 0, 9 ] </cell>
  </system>
</simulation>
"""


def test_beads_of_a_checkpoint_are_bounded(tmp_path):
    path = tmp_path / "RESTART"
    path.write_text(CHECKPOINT.format(q=2.5, p=3))
    ((positions, momenta),) = Description.read(path).beads()
    assert (positions[1, 0, 2], momenta[1, 0, 2]) == (2.5, 3.0)
    for q, p, key in (("1e30", 1, "beads.q"), (1, "-4294967296", "beads.p")):
        path.write_text(CHECKPOINT.format(q=q, p=p))
        with refused(file=path, key=key):
            Description.read(path).beads()
