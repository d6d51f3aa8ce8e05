# SPDX-License-Identifier: MIT
"""Routes that need nothing of eqcalc.ipi: i-PI's own drivers and ASE's socket client."""

import shutil
import sys
import sysconfig
from pathlib import Path

import ase.io
import numpy as np
import pytest

pytest.importorskip("ipi")

from eqcalc.engines.metatomic import export_metatomic
from eqcalc.ipi import ExitStatus, Strides, UnixSocket, read_run
from eqcalc.models.checkpoint import load_model
from tests.ipi.conftest import wait_for

ASE_DRIVER = """
from ipi.pes._ase import ASEDriver

from eqcalc import EqCalculator

__DRIVER_NAME__ = "eqcalc-ase"
__DRIVER_CLASS__ = "EqcalcASE"


class EqcalcASE(ASEDriver):
    def __init__(self, template, model, **others):
        self.model = model
        super().__init__(template, **others)

    def check_parameters(self):
        super().check_parameters()
        self.ase_calculator = EqCalculator(self.model, device="cpu")
"""
SOCKET_CLIENT = """
import ase.io
from ase.calculators.socketio import SocketClient
from eqcalc import EqCalculator
atoms = ase.io.read({structure!r})
atoms.pbc = False
atoms.calc = EqCalculator({model!r}, device="cpu")
SocketClient(unixsocket={address!r}).run(atoms, use_stress=False)
"""


@pytest.fixture
def without_response(prepare):
    """An input whose clients evaluate one structure at a time and send forces only."""

    def write(name, connection=None, **options):
        path = prepare(
            name,
            connection=connection,
            strides=Strides(spectra=0, energies=2, centroid=4),
            method="PILE-L",
            beads=2,
            steps=20,
        )
        text = path.read_text().replace("<batch_size> 2 </batch_size>", "")
        path.write_text(text)
        return path

    return write


def energies(folder):
    return read_run(folder).observable("potential_energy").values


@pytest.fixture
def expected(without_response, launch):
    path = without_response("expected")
    assert launch(path).wait() == ExitStatus.COMPLETE
    return energies(path.parent)


def socket_file(address):
    return Path(f"/tmp/ipi_{address.address}")


def driver_script():
    script = shutil.which("i-pi-py_driver", path=sysconfig.get_path("scripts"))
    assert script is not None
    return script


@pytest.mark.slow
def test_ase_socket_client(without_response, launch, background, model, expected, tmp_path):
    """Energies and forces are right; the dipole is lost on the way."""
    address = UnixSocket()
    path = without_response("run", address)
    process = launch(path)
    wait_for(socket_file(address).exists)
    structure = str(path.with_name("input.start.extxyz"))
    code = SOCKET_CLIENT.format(structure=structure, model=str(model), address=address.address)
    background(sys.executable, "-c", code, log=tmp_path / "client.log")
    assert process.wait() == ExitStatus.COMPLETE
    np.testing.assert_allclose(energies(path.parent), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_ase_mode_of_ipis_own_driver(
    without_response, launch, background, model, expected, tmp_path
):
    """The same; i-PI 3.3.1 wants a stress, so the template is a molecule in a periodic box."""
    address = UnixSocket()
    path = without_response("run", address)
    process = launch(path)
    wait_for(socket_file(address).exists)
    template = ase.io.read(path.with_name("input.start.extxyz"))
    template.pbc = True
    ase.io.write(tmp_path / "template.extxyz", template)
    driver = tmp_path / "ase_driver.py"
    driver.write_text(ASE_DRIVER)
    options = f"template={tmp_path / 'template.extxyz'},model={model}"
    command = ("-u", "-a", address.address, "-m", "custom", "-P", driver, "-o", options)
    background(sys.executable, driver_script(), *command, log=tmp_path / "client.log")
    assert process.wait() == ExitStatus.COMPLETE, process.text()
    # ASEDriver uses the eV and Å of i-PI, which are rounded in the eighth digit
    np.testing.assert_allclose(energies(path.parent), expected, rtol=2e-7)
    np.testing.assert_allclose(np.diff(energies(path.parent)), np.diff(expected), atol=1e-7)


@pytest.mark.slow
def test_metatomic_mode_of_ipis_own_driver(
    without_response, launch, background, model, expected, tmp_path
):
    """A file of ``eqcalc export`` moves the beads; the driver passes no dipole moment on."""
    pytest.importorskip("metatomic.torch")
    pytest.importorskip("vesin.metatomic")
    exported = export_metatomic(load_model(model), tmp_path / "model.pt")
    address = UnixSocket()
    path = without_response("run", address)
    process = launch(path)
    wait_for(socket_file(address).exists)
    template = path.with_name("input.start.extxyz")
    options = f"template={template},model={exported}"
    command = ("-u", "-a", address.address, "-m", "metatomic", "-o", options)
    log = tmp_path / "client.log"
    background(sys.executable, driver_script(), *command, log=log)
    wait_for(lambda: process.popen.poll() is not None or "Error" in log.read_text())
    assert process.popen.poll() == ExitStatus.COMPLETE, log.read_text()
    # the driver uses the eV and Å of i-PI, which are rounded in the eighth digit
    np.testing.assert_allclose(energies(path.parent), expected, rtol=2e-7)
    np.testing.assert_allclose(np.diff(energies(path.parent)), np.diff(expected), atol=1e-7)
