# SPDX-License-Identifier: MIT
import json

import h5py
import numpy as np
import pytest

from eqcalc.spectra import infrared, raman
from eqcalc.spectra.readers import (
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
