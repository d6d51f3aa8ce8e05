# SPDX-License-Identifier: MIT
"""What i-PI leaves behind, also after a kill: one record per step, in internal units."""

import time
from pathlib import Path

import numpy as np
import pytest

from eqcalc.ipi import InputError, read_run
from eqcalc.ipi.description import Description
from eqcalc.ipi.outputs import OutputError, read_extras, read_frames, read_properties
from eqcalc.units import conversion_factor
from eqcalc.validation import ABSENT, InvalidInputError
from tests.errors import refused

BOHR = conversion_factor("bohr", "Å")
RNG = np.random.default_rng(4)
DIPOLES = RNG.normal(size=(8, 3))
TENSORS = RNG.normal(size=(8, 9))
HEADER = (
    "# column   1     --> step : The current simulation time step.\n"
    "# column   2     --> time{femtosecond} : The elapsed simulation time.\n"
    "# cols.    3-5   --> mu_mean(1) : Bead average.\n"
    "# cols.    6-14  --> alpha_mean(1) : Bead average.\n"
)


def record(index, step=None):
    step = 2 * index if step is None else step
    numbers = [step, 0.25 * step, *DIPOLES[index], *TENSORS[index]]
    return "  " + " ".join(f"{number:.16e}" for number in numbers) + "\n"


def properties(tmp_path, text):
    path = tmp_path / "simulation.spectra"
    path.write_text(HEADER + text)
    return read_properties(path)


def check(found, count=8):
    assert found["mu_mean"].steps.tolist() == [2 * i for i in range(count)]
    np.testing.assert_allclose(found["mu_mean"].values, DIPOLES[:count] * BOHR, rtol=1e-12)
    tensors = found["alpha_mean"].values * conversion_factor("e^2*Å^2/eV", "bohr^3")
    np.testing.assert_allclose(tensors.reshape(-1, 9), TENSORS[:count], rtol=1e-12)


ALL = "".join(record(i) for i in range(8))


def test_properties(tmp_path):
    check(properties(tmp_path, ALL))


def test_of_several_records_of_a_step_the_last_counts(tmp_path):
    wrong = "".join(record(7 - i, step=2 * i) for i in range(3, 6))
    before = "".join(record(i) for i in range(3))
    check(properties(tmp_path, before + wrong + "".join(record(i) for i in range(3, 8))))


@pytest.mark.parametrize("cut", [5, 60, 200, 330])
def test_a_record_that_was_cut_off_is_none(tmp_path, cut):
    """At the end of the file, and with the next one appended to the same line."""
    before, half = "".join(record(i) for i in range(5)), record(6)[:cut]
    check(properties(tmp_path, before + half), 5)
    check(properties(tmp_path, before + half + "".join(record(i) for i in range(5, 8))))


def test_missing_records_are_named(tmp_path):
    with pytest.raises(OutputError) as error:
        properties(tmp_path, "".join(record(i) for i in range(8) if i != 4))
    assert error.value.file == tmp_path / "simulation.spectra"
    assert (error.value.value, error.value.expected) == (10, "8")


def test_damaged_steps_and_headers_take_neither_memory_nor_time(tmp_path):
    path = tmp_path / "properties"
    head = "# column   1     --> step : The step.\n# column   2     --> potential : V.\n"
    path.write_text(f"{head}  0 1.0\n  1 1.0\n  4294967295 1.0\n")
    with refused(OutputError, file=path, key="step", value=4294967295):
        read_properties(path)
    path.write_text(head.replace("step", "step{" + 10**5 * " ") + "  0 1.0\n")
    began = time.process_time()
    read_properties(path)
    assert time.process_time() - began < 2.0


def test_units_are_read_from_the_header(tmp_path):
    path = tmp_path / "out"
    text = (
        "# column 1 --> step : x\n# column 2 --> potential{electronvolt} : x\n"
        "# column 3 --> temperature{kelvin} : x\n# cols. 4-6 --> mu_mean{ase} : x\n"
        "0 -1.5 310 1 2 3\n"
    )
    path.write_text(text)
    found = read_properties(path)
    assert found["potential"].values[0] == pytest.approx(-1.5, rel=2e-7)  # the eV of i-PI
    assert found["temperature"].values[0] == 310.0
    assert found["mu_mean"].values[0].tolist() == [1.0, 2.0, 3.0]
    path.write_text(text.replace("{electronvolt}", ""))
    assert read_properties(path)["potential"].values[0] == pytest.approx(-1.5 * 27.211386, rel=1e-7)
    path.write_text(text.replace("electronvolt", "furlong"))
    with pytest.raises(InvalidInputError) as error:
        read_properties(path)
    assert (error.value.file, error.value.value) == (path, "furlong")
    path.write_text(text.replace("step", "time"))
    with pytest.raises(OutputError) as error:
        read_properties(path)
    assert (error.value.file, error.value.key) == (path, "step")


def frame(step, positions, what="positions{ase}"):
    lattice = 'Lattice="50.0 0 0 0 50.0 0 0 0 50.0" Properties=species:S:1:pos:R:3'
    comment = f'{lattice} ipi_comment="Step: {step:11d}  Bead: 0 {what}  cell{{ase}}" pbc="T T T"'
    rows = "".join("H " + " ".join(f"{x:16.8f}" for x in row) + "\n" for row in positions)
    return f"{len(positions)}\n{comment}\n{rows}"


def test_frames_after_a_kill_in_the_middle_of_one(tmp_path):
    positions = RNG.normal(size=(4, 3, 3)).round(8)
    path = tmp_path / "frames.extxyz"
    complete = [frame(4 * i, positions[i]) for i in range(4)]
    path.write_text("".join(complete))
    found = read_frames(path, 3)
    assert found.steps.tolist() == [0, 4, 8, 12]
    np.testing.assert_allclose(found.values, positions, atol=1e-12)
    whole = frame(8, positions[3])
    for cut in range(1, len(whole), 7):
        path.write_text("".join(complete[:2]) + whole[:cut] + "".join(complete[2:]))
        np.testing.assert_allclose(read_frames(path, 3).values, positions, atol=1e-12)
    path.write_text("".join(complete).replace("positions{ase}", "positions{angstrom}"))
    with pytest.raises(InvalidInputError) as error:
        read_frames(path, 3)
    assert (error.value.file, error.value.value) == (path, "angstrom")
    path.write_text("".join(complete).replace("positions{ase}", "forces{ase}"))
    with refused(file=path, key="output", value="forces"):
        read_frames(path, 3)


def test_extras(tmp_path):
    """One file of all beads, whose last record was cut off; the mean over the beads."""
    beads = RNG.normal(size=(5, 4, 12))
    rows = ["\n".join(" ".join(f"{x:.12e}" for x in row) for row in b) + "\n" for b in beads]
    head = " #EXTRAS_COMPONENT_RAW(dipole,polarizability)# Step: {:10d}  Bead:      0  \n"
    records = [head.format(3 * i) + rows[i] for i in range(5)]
    path = tmp_path / "extras"
    for cut in (30, 100, 300, 700, 950):
        path.write_text("".join(records[:4]) + records[4][:cut])
        found = read_extras(path, {"dipole": (3,), "polarizability": (3, 3)})
        np.testing.assert_allclose(found["dipole"].values, beads[:4, :, :3].mean(1), atol=1e-10)
        flat = found["polarizability"].values.reshape(-1, 9)
        np.testing.assert_allclose(flat, beads[:4, :, 3:].mean(1), atol=1e-10)
    path.write_text("".join(records[:4]).replace(rows[1].split()[0], "1e8"))
    with refused(OutputError, file=path, key="values"):
        read_extras(path, {"dipole": (3,), "polarizability": (3, 3)})


CHECKPOINT = """<!-- i-PI -->
<simulation>
  <output prefix='sim'>
    <trajectory filename='mu' stride='2' extra_type='dipole'> extras_component_raw(0) </trajectory>
    <checkpoint filename='chk' stride='4'/>
  </output>
  <step> 4 </step> <total_steps> 8 </total_steps>
  <ffdirect name='x'> <pes> somebody </pes> </ffdirect>
  <system>
    <ensemble> <temperature units='kelvin'> 250 </temperature> </ensemble>
    <motion mode='dynamics'> <dynamics mode='nvt'>
      <thermostat mode='pile_l'> <tau units='femtosecond'> 50 </tau> </thermostat>
      <timestep units='femtosecond'> 0.5 </timestep> </dynamics> </motion>
    <beads natoms='2' nbeads='4'> <q> [ 0 ] </q> <p> [ 0 ] </p>
      <m shape='(2)'> [ 1837.4716, 3671.5 ] </m> <names shape='(2)'> [ H, H2 ] </names>
    </beads>
  </system>
</simulation>
"""


def run_of_somebody(folder, change=("", "")):
    (folder / "RESTART").write_text(CHECKPOINT.replace(*change))
    text = "".join(
        f" #EXTRAS_COMPONENT_RAW(dipole)# Step: {step:10d}  Bead: 0 \n"
        + "\n".join(f"{step} {bead} 0.5" for bead in range(4))
        + "\n"
        for step in (0, 2, 4)
    )
    (folder / "sim.mu").write_text(text)
    return folder


def test_extras_of_another_code_need_a_unit(tmp_path):
    folder = run_of_somebody(tmp_path)
    with pytest.raises(OutputError, match="extra dipole"):
        read_run(folder)
    trajectory = read_run(folder, extras_units={"dipole": "e*bohr"})
    assert (trajectory.method, trajectory.n_beads, trajectory.n_atoms) == ("PILE-L", 4, 2)
    assert trajectory.temperature == 250.0
    assert trajectory.settings["method"]["time_constant"] == 50.0
    assert not trajectory.complete
    series = trajectory.observable("dipole")
    assert series.interval == 1.0
    expected = BOHR * np.array([[0.0, 1.5, 0.5], [2.0, 1.5, 0.5], [4.0, 1.5, 0.5]])
    np.testing.assert_allclose(series.values[0], expected, rtol=1e-12)
    # growing outputs are read again; another trajectory is never replaced
    again = read_run(folder, extras_units={"dipole": "D"})
    assert again.observable("dipole").values[0, 0, 2] == pytest.approx(0.5 * 0.20819434)


def test_extras_of_each_bead_in_its_own_file(tmp_path):
    """Averaged over the beads, as far as all files go."""
    (tmp_path / "RESTART").write_text(CHECKPOINT.replace("extras_component_raw(0)", "extras"))
    for bead in range(4):
        records = (f" #EXTRAS(dipole)# Step: {step}\n{step} {bead} 0.5\n" for step in (0, 2, 4))
        (tmp_path / f"sim.mu_{bead}").write_text("".join(records)[: -5 if bead == 3 else None])
    series = read_run(tmp_path, extras_units={"dipole": "e*Å"}).observable("dipole")
    np.testing.assert_allclose(series.values[0], [[0.0, 1.5, 0.5], [2.0, 1.5, 0.5]])


@pytest.mark.parametrize(
    ("change", "key", "value"),
    [
        (("pile_l", "ffl"), "dynamics", ("nvt", "ffl", 4)),
        (("units='kelvin'", "units='rankine'"), "units of temperature", "rankine"),
        (("H2 ]", "Q ]"), "names", "Q"),
        (("mode='dynamics'", "mode='planetary'"), "motion", "planetary"),
        (("<simulation>", "<simulatio>"), "", ABSENT),
    ],
)
def test_checkpoints_that_cannot_be_understood(tmp_path, change, key, value):
    with pytest.raises(InvalidInputError) as error:
        read_run(run_of_somebody(tmp_path, change), extras_units={"dipole": "D"})
    assert (error.value.key, error.value.value) == (key, value)
    assert error.value.file in (tmp_path, tmp_path / "RESTART")


def test_the_name_of_an_unknown_method_may_be_stated(tmp_path):
    folder = run_of_somebody(tmp_path, ("pile_l", "ffl"))
    trajectory = read_run(folder, method="PIMD", extras_units={"dipole": "D"})
    assert trajectory.method == "PIMD"


def test_empty_and_missing_folders(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_run(tmp_path / "nothing")
    with pytest.raises(InputError):
        read_run(tmp_path)


def test_inputs_that_are_not(tmp_path):
    for text in ("<simulation>", "<html></html>"):
        with pytest.raises(InputError) as error:
            Description(text, "input.xml")
        assert error.value.file == Path("input.xml")
    with pytest.raises(InputError) as error:
        _ = Description("<simulation><total_steps>x</total_steps></simulation>", "i").total_steps
    assert (error.value.key, error.value.value) == ("total_steps", "x")


def test_a_polarizability_of_another_code_is_one(tmp_path):
    folder = run_of_somebody(tmp_path)
    for sign in (1.0, -1.0):
        text = "".join(
            f" #EXTRAS_COMPONENT_RAW(polarizability)# Step: {step:10d}  Bead: 0 \n"
            + f"{9.0 * sign} 0 0 0 {8.0 * sign} 0.1 0 0.1 7.{step}\n" * 4
            for step in (0, 2, 4)
        )
        (folder / "sim.mu").write_text(text)
        units = {"polarizability": "bohr^3"}
        if sign > 0.0:
            assert read_run(folder, extras_units=units).observable("polarizability")
        else:
            with refused(file=folder, key="extras.polarizability"):
                read_run(folder, extras_units=units)
