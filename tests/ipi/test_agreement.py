# SPDX-License-Identifier: MIT
"""i-PI and the in-process engine are the same dynamics and give the same spectra."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ipi")

from eqcalc.dynamics import simulate
from eqcalc.ipi import ExitStatus, Strides, initial_conditions, read_run
from eqcalc.ipi.description import Description
from eqcalc.ipi.units import HARTREE, HARTREE_TEMPERATURE
from eqcalc.spectra import infrared, raman
from eqcalc.units import BOLTZMANN
from tests.analytic import ToyWater

BEADS = 4
#: i-PI rounds Boltzmann's constant; at this temperature our k_B T is its k_B · 300 K.
TEMPERATURE = 300.0 * HARTREE / HARTREE_TEMPERATURE / BOLTZMANN

DRIVER = """
from ipi.pes.dummy import Dummy_driver

from eqcalc.ipi.eqcalc_driver import EqcalcDriver
from eqcalc.ipi.evaluation import BeadEvaluator, parse_quantities
from tests.analytic import ToyWater

__DRIVER_NAME__ = "toy"
__DRIVER_CLASS__ = "Toy"


class Toy(EqcalcDriver):
    def __init__(self, quantities, **others):
        self.evaluate = BeadEvaluator(ToyWater(), parse_quantities(quantities))
        Dummy_driver.__init__(self)
"""


@pytest.fixture
def toy(prepare, launch, tmp_path):
    """Run i-PI with the toy water molecule."""
    driver = tmp_path / "toy_driver.py"
    driver.write_text(DRIVER)

    def work(name, **options) -> Path:
        path = prepare(name, atoms=None if "starts" in options else ToyWater().atoms, **options)
        original = Description.read(path).root.findtext("ffdirect/pes_path").strip()
        path.write_text(path.read_text().replace(original, str(driver)))
        process = launch(path)
        assert process.wait() == ExitStatus.COMPLETE, process.text()
        return path.parent

    return work


@pytest.fixture
def starts(toy):
    """Checkpoints along an equilibrated path-integral run."""
    strides = Strides(spectra=0, energies=100, centroid=0, checkpoint=0, series=250)
    folder = toy("pile", method="PILE-L", beads=BEADS, steps=1500, strides=strides)
    return [folder / f"simulation.start_{i}" for i in range(1, 7)]


def in_process(tmp_path, starts, method, steps, **options):
    return simulate(
        ToyWater().atoms,
        ToyWater(),
        output=tmp_path / f"{method}.h5",
        method=method,
        temperature=TEMPERATURE,
        timestep=0.25,
        steps=steps,
        seed=8,
        replicas=len(starts),
        beads=BEADS,
        initial=initial_conditions(starts),
        propagator="exact",
        progress=False,
        **options,
    )


@pytest.mark.slow
def test_rpmd_is_the_same_trajectory(toy, starts, tmp_path):
    """Same states, same Hamiltonian, same integrator: dipole by dipole, after 100 fs too."""
    observables = {"dipole": 2, "polarizability": 2, "potential_energy": 20, "positions": 20}
    strides = Strides(spectra=2, energies=20, centroid=20)
    options = {"method": "RPMD", "beads": BEADS, "starts": starts[:3], "steps": 400}
    there = read_run(toy("rpmd", strides=strides, **options))
    here = in_process(tmp_path, starts[:3], "RPMD", 400, observables=observables)
    for name in observables:
        ours, theirs = here.observable(name), there.observable(name)
        assert ours.unit == theirs.unit
        assert ours.interval == pytest.approx(theirs.interval, rel=1e-12)
        spread = np.abs(ours.values - ours.values.mean(axis=1, keepdims=True)).max()
        assert np.abs(ours.values - theirs.values).max() < 1e-4 * spread, name
    spectra = [infrared(t, lag=50.0) for t in (here, there)]
    scale = np.abs(spectra[0].values).max()
    assert np.abs(spectra[0].values - spectra[1].values).max() < 1e-4 * scale


@pytest.mark.slow
def test_trpmd_gives_the_same_infrared_and_raman_bands(toy, starts, tmp_path):
    """Same starts, other random numbers: bands agree within their standard errors."""
    strides = Strides(spectra=4, energies=400, centroid=0)
    options = {"method": "T-RPMD", "beads": BEADS, "starts": starts, "steps": 2000}
    there = read_run(toy("trpmd", strides=strides, **options))
    observables = {"dipole": 4, "polarizability": 4}
    here = in_process(tmp_path, starts, "T-RPMD", 2000, observables=observables)
    assert here.method == there.method
    for make in (infrared, lambda t, **o: raman(t, **o).activity()):
        one, other = (make(t, lag=150.0) for t in (here, there))
        for lower, upper in ((1000.0, 2500.0), (3000.0, 4500.0)):  # bend, stretches
            a, b = one.integrate(lower, upper), other.integrate(lower, upper)
            assert a.value > 0.0
            assert abs(a.value - b.value) < 4.0 * np.hypot(a.error, b.error)
            assert np.hypot(a.error, b.error) < 1.0 * a.value  # not agreement by ignorance
