# SPDX-License-Identifier: MIT
import json

import h5py
import numpy as np
import pytest

from eqcalc.spectra import infrared, raman, read_foreign
from eqcalc.spectra.io.readers import (
    SeriesError,
    read_columns,
    read_cp2k_moments,
    read_extxyz_series,
    read_gpumd,
    read_ipi_extras,
    read_schnetpack,
    read_vasp_outcar,
)

RNG = np.random.default_rng(1)
DIPOLE = RNG.normal(size=(40, 3))
TENSOR = RNG.normal(size=(40, 3, 3))
TENSOR = TENSOR + TENSOR.swapaxes(-1, -2)


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
    a, b = read_columns(paths, [1, 2, 3], time_column=0)
    assert np.allclose(a, DIPOLE, atol=1e-9)
    assert np.array_equal(a, b[::-1])
    spectrum = infrared([a, b], interval=1.0, temperature=300.0, unit="D", lag=10.0)
    assert spectrum.provenance["n_replicas"] == 2
    with pytest.raises(SeriesError, match="4 columns, but column 5 is asked for"):
        read_columns(paths[0], [3, 4, 5])
    (tmp_path / "a.txt").write_text(text.replace("\n100 ", "\n105 "))
    with pytest.raises(SeriesError, match=r"a\.txt, line 13: column 0: 105 follows 90"):
        read_columns(paths[0], [1, 2, 3], time_column=0)
    (tmp_path / "a.txt").write_text("1 2 three 4\n")
    with pytest.raises(SeriesError, match=r"a\.txt, line 1: expected numbers"):
        read_columns(paths[0], [1, 2, 3])


def test_gpumd(tmp_path):
    (tmp_path / "dipole.out").write_text(
        "".join(f"{5 * i} {row(v)}\n" for i, v in enumerate(DIPOLE))
    )
    assert np.allclose(read_gpumd(tmp_path / "dipole.out")[0], DIPOLE, atol=1e-9)
    six = TENSOR[:, [0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
    path = tmp_path / "polarizability.out"
    path.write_text("".join(f"{5 * i} {row(v)}\n" for i, v in enumerate(six)))
    found = read_gpumd(path)[0]
    assert np.allclose(found, TENSOR, atol=1e-9)
    assert raman(found, interval=1.0, temperature=300.0, unit="bohr^3", lag=10.0)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:20] + lines[15:]))
    with pytest.raises(SeriesError, match=r"step 75 follows 95.*restart"):
        read_gpumd(path)


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
    assert np.allclose(read_ipi_extras(paths), DIPOLE + 0.5, atol=1e-9)
    tensor = tmp_path / "simulation.pol_0"
    tensor.write_text(
        "".join(
            f" #EXTRAS(polarizability)# Step:  {2 * i:10d} \n" + "".join(row(r) + "\n" for r in v)
            for i, v in enumerate(TENSOR)
        )
    )
    assert np.allclose(read_ipi_extras(tensor), TENSOR, atol=1e-9)
    tensor.write_text(tensor.read_text()[:-20])
    with pytest.raises(SeriesError, match="cut off"):
        read_ipi_extras(tensor)
    paths[1].write_text("".join(paths[1].read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(SeriesError, match="its steps are not those of"):
        read_ipi_extras(paths)


def test_cp2k(tmp_path):
    path = tmp_path / "moments.dat"
    path.write_text(
        "".join(
            " Dipole moment [Debye]\n"
            f"    X= {x:14.8f} Y= {y:14.8f} Z= {z:14.8f}     Total= {1.0:14.8f}\n"
            for x, y, z in DIPOLE
        )
    )
    assert np.allclose(read_cp2k_moments(path), DIPOLE, atol=1e-8)
    path.write_text("nothing\n")
    with pytest.raises(SeriesError, match="X= "):
        read_cp2k_moments(path)


def test_vasp(tmp_path):
    path = tmp_path / "OUTCAR"

    def step(v):
        # two electronic steps, of which the second is converged
        lines = [f" dipolmoment {row(w)} electrons Angstroem\n" for w in (v + 0.3, v)]
        return "".join(lines) + " POSITION          TOTAL-FORCE (eV/Angst)\n"

    path.write_text(" vasp.6.4.2\n" + "".join(map(step, DIPOLE)))
    assert np.allclose(read_vasp_outcar(path), DIPOLE, atol=1e-9)
    path.write_text(step(DIPOLE[0]) + " POSITION   TOTAL-FORCE (eV/Angst)\n")
    with pytest.raises(SeriesError, match=r"ionic step 2 has no dipole moment.*LDIPOL"):
        read_vasp_outcar(path)


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
    assert np.allclose(read_extxyz_series(path, "dipole"), DIPOLE, atol=1e-7)
    assert np.allclose(read_extxyz_series(path, "polarizability"), TENSOR, atol=1e-7)
    with pytest.raises(SeriesError, match="no 'mu'; there are: "):
        read_extxyz_series(path, "mu")


def test_schnetpack(tmp_path):
    # 4 beads, 2 molecules, room for more frames than were written
    path = tmp_path / "simulation.hdf5"
    values = np.random.default_rng(2).normal(size=(60, 4, 2 * 3 + 2))
    with h5py.File(path, "w") as file:
        data = file.create_dataset("properties", data=values)
        file.create_dataset("molecules", data=np.zeros(1)).attrs["entries"] = 50
        data.attrs["shapes"] = json.dumps({"energy": [2, 1], "dipole_moment": [2, 3]})
        data.attrs["positions"] = json.dumps({"energy": [0, 2], "dipole_moment": [2, 8]})
    found = read_schnetpack(path, "dipole_moment", skip=5)
    assert found.shape == (2, 45, 3)
    assert np.allclose(found[1], values[5:50, :, 5:8].mean(1))
    with pytest.raises(SeriesError, match="there are: dipole_moment, energy"):
        read_schnetpack(path, "mu")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(SeriesError, match="not a SchNetPack simulation"):
        read_schnetpack(tmp_path / "other.h5", "dipole_moment")


def write_columns(path, steps, values):
    path.write_text("# step x y z\n" + "".join(f"{i} {row(values[i])}\n" for i in steps))
    return path


@pytest.mark.parametrize(
    ("steps", "values"),
    [([*range(30), *range(20, 40)], "20 follows 29"), ([*range(20), *range(25, 40)], "25 follows")],
)
def test_steps_in_the_first_column_are_checked_unasked(tmp_path, steps, values):
    path = write_columns(tmp_path / "a.txt", steps, DIPOLE)
    with pytest.raises(SeriesError, match=rf"a\.txt, line \d+: column 0: {values}.*restart"):
        read_columns(path, [1, 2, 3])


def test_a_first_column_that_is_no_time_is_left_alone(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("".join(f"{v[0]} {row(v)}\n" for v in DIPOLE))
    assert np.allclose(read_columns(path, [1, 2, 3])[0], DIPOLE, atol=1e-9)
    with pytest.raises(SeriesError, match="column 0"):
        read_columns(path, [1, 2, 3], time_column=0)


def test_repeated_frames_are_found_where_they_have_no_number(tmp_path):
    twice = [*range(30), *range(20, 40)]
    moments = tmp_path / "moments.dat"
    moments.write_text("".join("X= {:.8f} Y= {:.8f} Z= {:.8f}\n".format(*DIPOLE[i]) for i in twice))
    with pytest.raises(SeriesError, match=r"moments\.dat: frames 30 to 39 repeat those from 20"):
        read_cp2k_moments(moments)
    columns = tmp_path / "a.txt"
    columns.write_text("".join(row(DIPOLE[i]) + "\n" for i in twice))
    with pytest.raises(SeriesError, match=r"a\.txt: frames 30 to 39 repeat"):
        read_columns(columns, [0, 1, 2])
    frames = tmp_path / "a.xyz"
    for key, message in (("name", "frames 30 to 39 repeat"), ("Time", "frame 30: Time 10 follows")):
        head = f"1\nProperties=species:S:1:pos:R:3 {key}="
        frames.write_text(
            "".join(f'{head}{0.5 * i} mu="{row(DIPOLE[i])}"\nH 0 0 0\n' for i in twice)
        )
        with pytest.raises(SeriesError, match=rf"a\.xyz.*{message}"):
            read_extxyz_series(frames, "mu")
    with pytest.raises(SeriesError, match=r"frame 30: Time 10 follows 14\.5"):
        read_extxyz_series(frames, "mu", "Time")
    with pytest.raises(SeriesError, match="frame 0: 'step': expected the time or step, got None"):
        read_extxyz_series(frames, "mu", "step")
    simulation = tmp_path / "simulation.hdf5"
    with h5py.File(simulation, "w") as file:
        data = file.create_dataset("properties", data=DIPOLE[twice, None])
        data.attrs["shapes"] = json.dumps({"mu": [1, 3]})
        data.attrs["positions"] = json.dumps({"mu": [0, 3]})
    with pytest.raises(SeriesError, match=r"simulation\.hdf5: frames 30 to 39 repeat"):
        read_schnetpack(simulation, "mu")


@pytest.mark.parametrize("label", ["STEP NUMBER          = ", "MD| Step number      "])
def test_steps_of_cp2k(tmp_path, label):
    path = tmp_path / "run.out"
    steps = [*range(1, 21), *range(23, 41)]
    path.write_text("".join(f"X= 0.1 Y= {i} Z= {row([i**2])}\n {label}{i}\n" for i in steps))
    with pytest.raises(SeriesError, match=r"run\.out, line 42: step 23 follows 20"):
        read_cp2k_moments(path)
    path.write_text("X= 0.1 Y= 0.1 Z= 0.2\nX= ******** Y= 0.1 Z= 0.2\n")
    with pytest.raises(SeriesError, match=r"line 2: cannot read 'X= \*\*\*"):
        read_cp2k_moments(path)


def test_ionic_steps_of_vasp(tmp_path):
    path = tmp_path / "OUTCAR"
    text = "".join(
        f"------ Iteration {step:6d}(   1)  ------\n dipolmoment {row(DIPOLE[i])} electrons Å\n"
        " POSITION          TOTAL-FORCE (eV/Angst)\n"
        for i, step in enumerate([1, 2, 3, 4, 1, 2, 3])
    )
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SeriesError, match="line 15: ionic step 1 follows 4"):
        read_vasp_outcar(path)


def test_a_bead_is_not_counted_twice(tmp_path):
    path, copy = tmp_path / "a.dip_0", tmp_path / "a.dip_1"
    path.write_text(
        "".join(f"#EXTRAS(dipole)# Step: {i}\n{row(v)}\n" for i, v in enumerate(DIPOLE))
    )
    copy.write_text(path.read_text().replace("Step: ", "Step:  "))
    with pytest.raises(SeriesError, match=r"a\.dip_1: the same numbers as in .*a\.dip_0"):
        read_ipi_extras([path, copy])


def test_files_of_another_kind_are_named(tmp_path):
    binary = tmp_path / "mu.npy"
    np.save(binary, DIPOLE + 1j)
    for reader in (read_cp2k_moments, read_gpumd, read_ipi_extras):
        with pytest.raises(SeriesError, match=r"mu\.npy: expected a text file"):
            reader(binary)
    with pytest.raises(SeriesError, match=r"mu\.npy: expected extended XYZ"):
        read_extxyz_series(binary, "dipole")
    with pytest.raises(SeriesError, match=r"mu\.npy: expected the HDF5 file"):
        read_schnetpack(binary, "dipole")
    empty = tmp_path / "empty"
    empty.write_text("# nothing\n")
    with pytest.raises(SeriesError, match="empty: 0 lines with numbers"):
        read_columns(empty, [1, 2, 3])
    with pytest.raises(SeriesError, match="columns are numbered from 0"):
        read_columns(empty, [-3, -2, -1])
    cut = tmp_path / "cut.xyz"
    frame = '2\nProperties=species:S:1:pos:R:3 dipole="1 2 3"\nO 0 0 0\nH 0 0 1\n'
    cut.write_text(frame * 3 + frame[:60])
    with pytest.raises(SeriesError, match=r"cut\.xyz, frame 3: cut off, or not extended XYZ"):
        read_extxyz_series(cut, "dipole")
    with pytest.raises(SeriesError, match="is a folder; expected a file"):
        read_foreign([tmp_path], "cp2k")
    with pytest.raises(SeriesError, match="given twice"):
        read_foreign([empty, tmp_path / "." / "empty"], "cp2k")
    with pytest.raises(SeriesError, match="format cp2k: takes no key of the time"):
        read_foreign([empty], "cp2k", time_key="time")


def test_replicas_are_named_by_their_files(tmp_path):
    paths = [write_columns(tmp_path / f"{n}.txt", range(40), DIPOLE + n) for n in range(2)]
    found = read_foreign(paths, "columns", [1, 2, 3])
    assert list(found) == [str(path) for path in paths]
    spectrum = infrared(found, interval=1.0, temperature=300.0, unit="D", lag=10.0)
    assert spectrum.provenance["n_replicas"] == 2
