# SPDX-License-Identifier: MIT
"""Scripts that share evaluations behave as if they were alone."""

import copy
import subprocess
import sys

import numpy as np
import pytest
from ase import units
from ase.build import molecule
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from eqcalc.ase_batch import BatchingExecutor, run_together
from eqcalc.calculator import CalculatorInputError, EqCalculator
from eqcalc.runtime import EagerExecution
from eqcalc.runtime import cpp_compiler as compiler
from tests.conftest import make_potential
from tests.errors import refused


def distorted(name, seed):
    atoms = molecule(name)
    atoms.rattle(0.05, seed=seed)
    return atoms


def dynamics(atoms):
    """Go as many steps as there are atoms, so that scripts end at different times."""
    VelocityVerlet(atoms, 0.5 * units.fs).run(len(atoms))
    return atoms.get_potential_energy()


@pytest.mark.skipif(compiler.compiler() is None, reason="only kernels repeat the last bit")
def test_molecules_of_all_kinds_move_as_if_they_were_alone():
    potential = make_potential()
    names = ["H2O", "CH3CH2OH", "NH3", "C6H6", "CH4"]
    together = [distorted(name, seed) for seed, name in enumerate(names)]
    alone = [distorted(name, seed) for seed, name in enumerate(names)]
    energies = run_together(potential, together, dynamics)
    for atoms, other, energy in zip(together, alone, energies, strict=True):
        other.calc = EqCalculator(potential)
        assert dynamics(other) == energy
        np.testing.assert_array_equal(atoms.positions, other.positions)
        # the calculators go on working afterwards
        np.testing.assert_array_equal(atoms.get_forces(), other.get_forces())


def test_all_scripts_that_still_run_are_in_one_batch():
    executor = BatchingExecutor(EagerExecution(make_potential()))
    frames = [distorted("H2O", seed) for seed in range(4)]
    for frame in frames:
        frame.calc = EqCalculator(make_potential(), execution=executor)

    def script(atoms):
        for _ in range(1 + frames.index(atoms)):
            atoms.rattle(0.001, seed=1)
            atoms.get_forces()

    executor.run(script, frames)
    assert executor.batches == [4, 3, 2, 1]


def test_a_script_that_fails_does_not_stop_the_others():
    frames = [distorted("H2O", seed) for seed in range(3)]
    frames[1].positions[2] = frames[1].positions[0] + 0.01
    start = [frame.positions.copy() for frame in frames]
    with refused(CalculatorInputError, key="positions"):
        run_together(make_potential(), frames, lambda atoms: BFGS(atoms, logfile=None).run(steps=2))
    for index in (0, 2):
        assert np.abs(frames[index].positions - start[index]).max() > 1e-6


def test_an_evaluation_that_fails_is_seen_by_all_and_ends():
    class Broken:
        name = "broken"
        potential = make_potential()

        def evaluate(self, structures, quantities):
            raise MemoryError("no memory")

    executor = BatchingExecutor(Broken())
    frames = [distorted("H2O", seed) for seed in range(3)]
    for frame in frames:
        frame.calc = EqCalculator(make_potential(), execution=executor)
    with pytest.raises(MemoryError, match="no memory"):
        executor.run(lambda atoms: atoms.get_forces(), frames)


def test_periodic_structures_and_foreign_calls_are_refused():
    executor = BatchingExecutor(EagerExecution(make_potential()))
    atoms = distorted("H2O", 0)
    atoms.calc = EqCalculator(make_potential(), execution=executor)
    with refused(CalculatorInputError, key="calc"):
        atoms.get_forces()
    atoms.center(vacuum=2.0)
    atoms.pbc = True
    with refused(key="structures", expected="isolated molecules"):
        atoms.get_forces()


def test_an_object_given_twice_and_other_types_are_refused():
    atoms = distorted("H2O", 0)
    with refused(CalculatorInputError, key="structures"):
        run_together(make_potential(), [atoms, distorted("H2O", 1), atoms], dynamics)
    for key, frames, script in (
        ("structures", atoms, dynamics),
        ("structures", None, dynamics),
        ("structures[0]", ["H2O"], dynamics),
        ("script", [atoms], None),
    ):
        with refused(CalculatorInputError, key=key):
            run_together(make_potential(), frames, script)


def test_scripts_may_take_the_calculator_away_and_copy_atoms():
    def script(atoms):
        twin = copy.deepcopy(atoms)
        twin.rattle(0.01, seed=0)
        energy = twin.get_potential_energy()
        atoms.calc = None
        return energy

    frames = [distorted("H2O", seed) for seed in range(3)]
    found = run_together(make_potential(), frames, script)
    for seed, energy in enumerate(found):
        alone = distorted("H2O", seed)
        alone.rattle(0.01, seed=0)
        alone.calc = EqCalculator(make_potential())
        assert alone.get_potential_energy() == pytest.approx(energy, abs=1e-9)


@pytest.mark.slow
def test_an_interrupt_ends_every_script_at_its_next_evaluation():
    """The main thread of a process is the one that is interrupted."""
    program = """
import os, signal, threading
from tests.test_ase_batch import *
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
counts = [0, 0]
def script(atoms):
    seat = 0 if atoms is frames[0] else 1
    for _ in range(10**6):
        atoms.rattle(0.001, seed=1)
        atoms.positions[:] = start
        atoms.positions[0, 0] += 1e-4 * (counts[seat] % 7)
        atoms.get_forces()
        counts[seat] += 1
        if counts[0] == 20 and seat == 0:
            os.kill(os.getpid(), signal.SIGINT)
frames = [distorted("H2O", 0), distorted("H2O", 0)]
start = frames[0].positions.copy()
try:
    run_together(make_potential(), frames, script)
except KeyboardInterrupt:
    print("interrupted", threading.active_count(), max(counts) < 10**5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split() == ["interrupted", "1", "True"], done.stderr
