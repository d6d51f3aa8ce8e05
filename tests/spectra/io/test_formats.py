# SPDX-License-Identifier: MIT
import json

import h5py
import numpy as np
import pytest

from eqcalc.cli.program import main
from eqcalc.spectra import (
    SeriesReader,
    infrared,
    raman,
    read_series,
    read_spectrum,
    register_reader,
)
from eqcalc.spectra.io.formats import registry
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

RNG = np.random.default_rng(1)
DIPOLE = RNG.normal(size=(40, 3))
TENSOR = RNG.normal(size=(40, 3, 3))
TENSOR = TENSOR + TENSOR.swapaxes(-1, -2) + 10.0 * np.eye(3)


def series(paths, *arguments):
    """Return the only replica."""
    (values,) = read_series(paths if isinstance(paths, list) else [paths], *arguments).values()
    return values


def row(numbers):
    return " ".join(f"{x:.10e}" for x in numbers)


def test_columns(tmp_path):
    text = "# TimeStep v_x v_y v_z\n@ title\n" + "".join(
        f"{10 * i} {row(v)}\n" for i, v in enumerate(DIPOLE)
    )
    (tmp_path / "a.txt").write_text(text)
    other = "".join(f"{10 * i} {row(v)}\n" for i, v in enumerate(DIPOLE[::-1]))
    (tmp_path / "b.txt").write_text("! TimeStep\n" + other)
    paths = [tmp_path / "a.txt", tmp_path / "b.txt"]
    a, b = read_series(paths, "columns", [1, 2, 3], 0).values()
    assert np.allclose(a, DIPOLE, atol=1e-9)
    assert np.array_equal(a, b[::-1])
    spectrum = infrared([a, b], interval=1.0, temperature=300.0, unit="D", lag=10.0)
    assert spectrum.provenance["n_replicas"] == 2
    with refused(InvalidFileError, file=paths[0], key="line 3"):
        series(paths[0], "columns", [3, 4, 5])
    (tmp_path / "a.txt").write_text(text.replace("\n100 ", "\n105 "))
    with refused(InvalidFileError, file=paths[0], key="line 13"):
        series(paths[0], "columns", [1, 2, 3], 0)
    (tmp_path / "a.txt").write_text("1 2 three 4\n2 3 4 5\n")
    with refused(InvalidFileError, file=paths[0], key="line 1"):
        series(paths[0], "columns", [1, 2, 3])


def test_gpumd(tmp_path):
    (tmp_path / "dipole.out").write_text(
        "".join(f"{5 * i} {row(v)}\n" for i, v in enumerate(DIPOLE))
    )
    assert np.allclose(series(tmp_path / "dipole.out", "gpumd"), DIPOLE, atol=1e-9)
    six = TENSOR[:, [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
    path = tmp_path / "polarizability.out"
    path.write_text("".join(f"{5 * i} {row(v)}\n" for i, v in enumerate(six)))
    found = series(path, "gpumd")
    assert np.allclose(found, TENSOR, atol=1e-9)
    assert raman(found, interval=1.0, temperature=300.0, unit="bohr^3", lag=10.0)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[15:]))
    with refused(InvalidFileError, file=path, key="line 21"):
        series(path, "gpumd")


def test_ipi_extras_are_averaged_over_beads(tmp_path):
    paths = []
    for bead, shift in enumerate((-1.0, 0.5, 2.0)):
        path = tmp_path / f"simulation.dip_{bead}"
        path.write_text(
            "".join(
                f" #EXTRAS(dipole)# Step:  {2 * i:10d} \n{row(v + shift)}\n"
                for i, v in enumerate(DIPOLE)
            )
        )
        paths.append(path)
    assert np.allclose(series(paths, "i-pi"), DIPOLE + 0.5, atol=1e-9)
    tensor = tmp_path / "simulation.pol_0"
    tensor.write_text(
        "".join(
            f" #EXTRAS(polarizability)# Step:  {2 * i:10d} \n" + "".join(row(r) + "\n" for r in v)
            for i, v in enumerate(TENSOR)
        )
    )
    assert np.allclose(series(tensor, "i-pi"), TENSOR, atol=1e-9)
    tensor.write_text(tensor.read_text()[:-20])
    with refused(InvalidFileError, file=tensor, key="step 78", expected="numbers"):
        series(tensor, "i-pi")
    paths[1].write_text("".join(paths[1].read_text().splitlines(keepends=True)[:-2]))
    with refused(InvalidFileError, file=paths[1]):
        series(paths, "i-pi")


def test_cp2k(tmp_path):
    path = tmp_path / "moments.dat"
    path.write_text(
        "".join(
            " Dipole moment [Debye]\n"
            f"    X= {x:14.8f} Y= {y:14.8f} Z= {z:14.8f}     Total= {1.0:14.8f}\n"
            for x, y, z in DIPOLE
        )
    )
    assert np.allclose(series(path, "cp2k"), DIPOLE, atol=1e-8)
    path.write_text("nothing\n")
    with refused(InvalidFileError, file=path, value="0 of them"):
        series(path, "cp2k")


def test_vasp(tmp_path):
    path = tmp_path / "OUTCAR"

    def step(v):
        # two electronic steps, of which the second is converged
        lines = [f" dipolmoment {row(w)} electrons Angstroem\n" for w in (v + 0.3, v)]
        return "".join(lines) + " POSITION          TOTAL-FORCE (eV/Angst)\n"

    path.write_text(" vasp.6.4.2\n" + "".join(map(step, DIPOLE)))
    assert np.allclose(series(path, "vasp"), DIPOLE, atol=1e-9)
    path.write_text(step(DIPOLE[0]) + " POSITION   TOTAL-FORCE (eV/Angst)\n")
    with refused(InvalidFileError, file=path, key="line 4") as caught:
        series(path, "vasp")
    assert "LDIPOL" in caught.value.advice


def test_extxyz(tmp_path):
    from ase import Atoms
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = []
    for v, a in zip(DIPOLE, TENSOR, strict=True):
        atoms = Atoms("OH", [[0, 0, 0], [0, 0, 1]])
        atoms.info["polarizability"] = a.ravel()
        atoms.calc = SinglePointCalculator(atoms, dipole=v)
        frames.append(atoms)
    path = tmp_path / "t.extxyz"
    write(path, frames, format="extxyz")
    assert np.allclose(series(path, "extxyz", "dipole"), DIPOLE, atol=1e-7)
    assert np.allclose(series(path, "extxyz", "polarizability"), TENSOR, atol=1e-7)
    with refused(InvalidFileError, file=path, key="frame 0") as caught:
        series(path, "extxyz", "mu")
    assert "polarizability" in str(caught.value)
    path.write_text(path.read_text().replace("dipole=", "dipole=1 was="))
    with refused(InvalidFileError, file=path, key="dipole", value=[1]):
        series(path, "extxyz", "dipole")


def test_values_beyond_any_dipole_moment_are_refused(tmp_path):
    path = tmp_path / "a.dat"
    np.savetxt(path, 1e12 * DIPOLE)
    with refused(InvalidFileError, file=path, key="values"):
        series(path, "columns", [0, 1, 2])


def test_schnetpack(tmp_path):
    # 4 beads, 2 molecules, room for more frames than were written
    path = tmp_path / "simulation.hdf5"
    values = np.random.default_rng(2).normal(size=(60, 4, 2 * 3 + 2))
    with h5py.File(path, "w") as file:
        data = file.create_dataset("properties", data=values)
        file.create_dataset("molecules", data=np.zeros(1)).attrs["entries"] = 50
        data.attrs["shapes"] = json.dumps({"energy": [2, 1], "dipole_moment": [2, 3]})
        data.attrs["positions"] = json.dumps({"energy": [0, 2], "dipole_moment": [2, 8]})
    found = read_series([path], "schnetpack", "dipole_moment")
    assert list(found) == [f"{path}, molecule 0", f"{path}, molecule 1"]
    assert np.allclose(found[f"{path}, molecule 1"], values[:50, :, 5:8].mean(1))
    with refused(InvalidFileError, file=path) as caught:
        series(path, "schnetpack", "mu")
    assert "dipole_moment, energy" in str(caught.value)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with refused(InvalidFileError, file=tmp_path / "other.h5"):
        series(tmp_path / "other.h5", "schnetpack", "dipole_moment")


def write_columns(path, steps, values):
    path.write_text("# step x y z\n" + "".join(f"{i} {row(values[i])}\n" for i in steps))
    return path


@pytest.mark.parametrize(
    ("steps", "line"),
    [([*range(30), *range(20, 40)], 32), ([*range(20), *range(25, 40)], 22)],
)
def test_steps_in_the_first_column_are_checked_unasked(tmp_path, steps, line):
    path = write_columns(tmp_path / "a.txt", steps, DIPOLE)
    with refused(InvalidFileError, file=path, key=f"line {line}"):
        series(path, "columns", [1, 2, 3])


def test_a_first_column_that_is_no_time_is_left_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{v[0]} {row(v)}\n" for v in DIPOLE))
    assert np.allclose(series(path, "columns", [1, 2, 3]), DIPOLE, atol=1e-9)
    with refused(InvalidFileError, file=path):
        series(path, "columns", [1, 2, 3], 0)


def test_repeated_frames_are_found_where_they_have_no_number(tmp_path):
    twice = [*range(30), *range(20, 40)]
    moments = tmp_path / "moments.dat"
    moments.write_text("".join("X= {:.8f} Y= {:.8f} Z= {:.8f}\n".format(*DIPOLE[i]) for i in twice))
    with refused(InvalidFileError, file=moments) as caught:
        series(moments, "cp2k")
    assert caught.value.problem.startswith("frames 30 to 39 repeat those from 20 on")
    columns = tmp_path / "a.txt"
    columns.write_text("".join(row(DIPOLE[i]) + "\n" for i in twice))
    with refused(InvalidFileError, file=columns) as caught:
        series(columns, "columns", [0, 1, 2])
    assert caught.value.problem.startswith("frames 30 to 39 repeat those from 20 on")
    frames = tmp_path / "a.xyz"
    for key, place in (("name", ""), ("Time", "frame 30")):
        head = f"1\nProperties=species:S:1:pos:R:3 {key}="
        frames.write_text(
            "".join(f'{head}{0.5 * i} mu="{row(DIPOLE[i])}"\nH 0 0 0\n' for i in twice)
        )
        with refused(InvalidFileError, file=frames, key=place):
            series(frames, "extxyz", "mu")
    with refused(InvalidFileError, key="frame 30"):
        series(frames, "extxyz", "mu", "Time")
    with refused(InvalidFileError, key="frame 0, step", value=None):
        series(frames, "extxyz", "mu", "step")
    simulation = tmp_path / "simulation.hdf5"
    with h5py.File(simulation, "w") as file:
        data = file.create_dataset("properties", data=DIPOLE[twice, None])
        data.attrs["shapes"] = json.dumps({"mu": [1, 3]})
        data.attrs["positions"] = json.dumps({"mu": [0, 3]})
    with refused(InvalidFileError, file=simulation) as caught:
        series(simulation, "schnetpack", "mu")
    assert caught.value.problem.startswith("frames 30 to 39 repeat those from 20 on")


@pytest.mark.parametrize("label", ["STEP NUMBER          = ", "MD| Step number      "])
def test_steps_of_cp2k(tmp_path, label):
    path = tmp_path / "run.out"
    steps = [*range(1, 21), *range(23, 41)]
    path.write_text("".join(f"X= 0.1 Y= {i} Z= {row([i**2])}\n {label}{i}\n" for i in steps))
    with refused(InvalidFileError, file=path, key="line 42"):
        series(path, "cp2k")
    path.write_text("X= 0.1 Y= 0.1 Z= 0.2\nX= ******** Y= 0.1 Z= 0.2\n")
    with refused(InvalidFileError, file=path, key="line 2", value="******** 0.1 0.2"):
        series(path, "cp2k")


def test_ionic_steps_of_vasp(tmp_path):
    path = tmp_path / "OUTCAR"
    text = "".join(
        f"------ Iteration {step:6d}(   1)  ------\n dipolmoment {row(DIPOLE[i])} electrons Å\n"
        " POSITION          TOTAL-FORCE (eV/Angst)\n"
        for i, step in enumerate([1, 2, 3, 4, 1, 2, 3])
    )
    path.write_text(text, encoding="utf-8")
    with refused(InvalidFileError, file=path, key="line 15"):
        series(path, "vasp")


def test_a_bead_is_not_counted_twice(tmp_path):
    path, copy = tmp_path / "a.dip_0", tmp_path / "a.dip_1"
    path.write_text(
        "".join(f"#EXTRAS(dipole)# Step: {i}\n{row(v)}\n" for i, v in enumerate(DIPOLE))
    )
    copy.write_text(path.read_text().replace("Step: ", "Step:  "))
    with refused(InvalidFileError, file=copy, problem=f"the same numbers as in {path}"):
        series([path, copy], "i-pi")


def test_files_of_another_kind_are_named(tmp_path):
    binary = tmp_path / "mu.npy"
    np.save(binary, DIPOLE + 1j)
    for name in ("cp2k", "gpumd", "i-pi"):
        with refused(InvalidFileError, file=binary, expected="a text file"):
            series(binary, name)
    with refused(InvalidFileError, file=binary, expected="a text file"):
        series(binary, "extxyz", "dipole")
    with refused(InvalidFileError, file=binary):
        series(binary, "schnetpack", "dipole")
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    with refused(InvalidFileError, file=empty, value="0 lines with numbers"):
        series(empty, "columns", [1, 2, 3])
    with refused(InvalidInputError, key="columns", value=[-3, -2, -1]):
        series(empty, "columns", [-3, -2, -1])
    cut = tmp_path / "cut.xyz"
    frame = '2\nProperties=species:S:1:pos:R:3 dipole="1 2 3"\nO 0 0 0\nH 0 0 1\n'
    cut.write_text(frame * 3 + frame[:60])
    with refused(InvalidFileError, file=cut, key="frame 3"):
        series(cut, "extxyz", "dipole")


def test_arguments_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "empty"
    path.write_text("# nothing\n")
    with refused(InvalidFileError, file=tmp_path):
        read_series([tmp_path], "cp2k")
    with refused(file=tmp_path / "." / "empty", problem="given twice"):
        read_series([path, tmp_path / "." / "empty"], "cp2k")
    with refused(key="time_key", value="time"):
        read_series([path], "cp2k", time_key="time")
    with refused(key="key", value=None):
        read_series([path], "extxyz")
    path.write_text("1.5 2 3 4\n2 3.5 4 1\n" * 4)  # with the length, or a time that is not even
    for key, value in ((None, "4 columns"), ([1, 1, 2], [1, 1, 2])):
        with refused(key="columns", value=value):
            read_series([path], "columns", key)
    with refused(key="key", value="mu"):
        read_series([path], "cp2k", "mu")
    with refused(key="format", value="cp3k", suggestion="cp2k"):
        read_series([path], "cp3k")
    with refused(key="paths"):
        read_series([], "cp2k")


LEGENDS = "".join(f'\n@ s{i} legend "M{axis}"' for i, axis in enumerate("xyz"))
XVG = f'@ xaxis label "Time (fs)"{LEGENDS}'
IPI = """# column 1 --> step : The step.
# column 2 --> time{femtosecond} : The time.
# cols. 3-5 --> dipole{electron*angstrom} : The dipole moment."""


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ("step,time_fs,dipole_x,dipole_y,dipole_z", "nt xyz"),
        (XVG, "t xyzl"),
        (IPI, "nt xyz"),
        ("", "t xyzl"),
        ("", "t lxyz"),
        ("", "xyzl"),
        ("# t/fs E_pot mu_x mu_y mu_z", "ty xyz"),
    ],
)
def test_columns_of_a_vector_are_known_by_title_or_length(tmp_path, header, columns):
    vector = np.random.default_rng(0).normal(size=(30, 3))
    of = dict(zip("xyz", vector.T, strict=True))
    of |= {"n": np.arange(30), "t": 0.5 * np.arange(30), "l": np.linalg.norm(vector, axis=1)}
    path, mark = tmp_path / "a.dat", "," if header.startswith("step,") else " "
    table = np.stack([of[name] for name in columns.replace(" ", "")], axis=1)
    rows = "\n".join(mark.join(f"{value:.6f}" for value in row) for row in table)
    path.write_text(f"{header}\n{rows}\n")
    (read,) = read_series([path], "columns", unit="e*Å", interval=0.5).values()
    assert read == pytest.approx(vector, abs=1e-6)


def test_three_columns_beside_the_time_need_no_numbers(tmp_path):
    values = np.random.default_rng(0).normal(size=(30, 3))
    times = 0.5 * np.arange(30.0)
    for name, header, columns in (
        ("a", "", values),
        ("b", "# dipole moment in Debye\n", np.column_stack([times, values])),
        ("c", "# time(fs) mu_x mu_y mu_z\n", np.column_stack([times, values])),
    ):
        rows = "\n".join(" ".join(f"{x:.6f}" for x in row) for row in columns)
        (tmp_path / name).write_text(f"{header}{rows}\n")
        (read,) = read_series([tmp_path / name], "columns").values()
        assert read == pytest.approx(values, abs=1e-6)


def test_replicas_are_named_by_their_files(tmp_path):
    paths = [write_columns(tmp_path / f"{n}.txt", range(40), DIPOLE + n) for n in range(2)]
    found = read_series(paths, "columns", [1, 2, 3])
    assert list(found) == [str(path) for path in paths]
    spectrum = infrared(found, interval=1.0, temperature=300.0, unit="D", lag=10.0)
    assert spectrum.provenance["n_replicas"] == 2


OWN_READER = """
import numpy as np

from eqcalc.spectra import SeriesReader


class BinaryReader(SeriesReader):
    name = "own-binary"
    units = ("D", None)

    def read_file(self, path, key, time_key):
        return np.fromfile(path).reshape(-1, 3)
"""


@pytest.fixture
def own_reader(tmp_path, monkeypatch):
    """A module outside of the package, and a file in its format."""
    (tmp_path / "own_format.py").write_text(OWN_READER)
    monkeypatch.syspath_prepend(tmp_path)
    walk = np.cumsum(np.random.default_rng(3).normal(size=(400, 3)), axis=0)
    (walk - walk.mean(0)).tofile(tmp_path / "dipole.bin")
    return tmp_path / "dipole.bin"


def test_a_reader_of_your_own_is_one_file(own_reader):
    found = series(own_reader, "own_format:BinaryReader")
    assert found.shape == (400, 3)
    for name in ("own_format:Other", "own_format:np", "own_missing:BinaryReader"):
        with refused(key="format"):
            series(own_reader, name)


def test_a_reader_of_your_own_is_an_option_of_the_command(own_reader, tmp_path):
    command = f"spectra --dipole {own_reader} --format own_format:BinaryReader --interval 1"
    assert main([*command.split(), "--temperature", "300", "--output", str(tmp_path / "out")]) == 0
    spectrum = read_spectrum(tmp_path / "out" / "spectrum-infrared.csv")
    expected = infrared(
        series(own_reader, "own_format:BinaryReader"), interval=1.0, temperature=300.0, unit="D"
    )
    assert np.allclose(spectrum.values, expected.values)


def test_a_reader_is_registered_by_its_name(own_reader, monkeypatch):
    monkeypatch.setattr(registry, "_READERS", dict(registry._READERS))

    @register_reader
    class HalfReader(SeriesReader):
        name = "half"

        def read_file(self, path, key, time_key):
            return np.fromfile(path).reshape(-1, 3)[::2]

    assert len(series(own_reader, "half")) == 200
    with refused(key="name", value="half"):
        register_reader(type("Other", (HalfReader,), {}))
