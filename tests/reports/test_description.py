# SPDX-License-Identifier: MIT
"""Files are described by what they are, and models by what they were trained on."""

import h5py
import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc.dynamics import simulate
from eqcalc.models.checkpoint import shipped_model
from eqcalc.reports.description import describe_file, level_of_theory
from eqcalc.reports.molecular import molecular_spectra
from eqcalc.runtime import eager_evaluator
from eqcalc.spectra import raman, write_spectrum
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.conftest import make_potential
from tests.errors import refused


def test_the_shipped_model_tells_its_history_and_errors():
    text = describe_file(shipped_model("ethanol"))
    assert "PBE0/def2-TZVP" in text
    assert "trained on 25292 structures" in text
    assert "61 held-out" in text
    assert "knows compositions: C2H6O; temperatures of the geometries: not recorded" in text
    assert "forces 8.07 meV/Å" in text
    # it deviates by 0.9 cm⁻¹: force constants were fitted; the model before by 1.5 and 2.2
    assert "a mean error of forces of 8.07 meV/Å typically means one of 3 cm⁻¹ in harm" in text


def test_trajectories_and_spectra(tmp_path):
    trajectory = simulate(
        molecule("H2O"),
        eager_evaluator(make_potential(features=8), torch.tensor(molecule("H2O").numbers)),
        output=tmp_path / "run.h5",
        method="NVE",
        temperature=20.0,
        timestep=0.05,
        steps=60,
        observables={"dipole": 1},
        seed=5,
        progress=False,
    )
    spectrum = write_spectrum(molecular_spectra(trajectory).infrared, tmp_path / "spectrum.h5")
    told = describe_file(trajectory.path)
    assert "NVE" in told and "molecule: H2O" in told
    assert "recorded: dipole [e*Å] every 0.05 fs" in told
    damaged = tmp_path / "damaged.h5"
    data = bytearray(trajectory.path.read_bytes())
    data[data.index(trajectory.observable("dipole").values[0, 30].tobytes())] ^= 1
    damaged.write_bytes(data)
    with refused(file=damaged, key="dipole, frame 30"):
        describe_file(damaged)
    assert "km/mol" in describe_file(spectrum)
    for ending in (".csv", ".jdx"):
        text = describe_file(
            write_spectrum(molecular_spectra(trajectory).infrared, tmp_path / f"s{ending}")
        )
        assert text == describe_file(spectrum)
        assert "molecule: H2O" in text
        assert "seed: 5" in text
    tensors = np.random.default_rng(1).normal(size=(2, 300, 6))
    scattering = raman(tensors, interval=1.0, temperature=300.0, unit="Å^3")
    parts = write_spectrum(scattering, tmp_path / "parts.h5")
    assert describe_file(parts).startswith("the isotropic and the anisotropic part")


def test_other_files_are_refused(tmp_path):
    notes, cut, gone = (tmp_path / name for name in ("notes.txt", "cut.h5", "gone.eqc"))
    notes.write_text("nothing")
    with h5py.File(cut, "w") as file:
        file["values"] = np.arange(10_000)
    cut.write_bytes(cut.read_bytes()[:9000])
    for path in (notes, tmp_path, cut, gone):
        with pytest.raises(InvalidFileError) as error:
            describe_file(path)
        assert error.value.file == path
    assert isinstance(error.value, FileNotFoundError)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file.attrs["format"] = "of somebody"
    with pytest.raises(InvalidInputError) as error:
        describe_file(tmp_path / "other.h5")
    assert error.value.value == "of somebody"


def test_a_level_of_theory_is_named_quantity_by_quantity_where_it_differs():
    levels = {"energy": "CCSD(T)", "dipole": "MP2"}
    assert level_of_theory({"level_of_theory": levels}) == "energy: CCSD(T); dipole: MP2"
    assert level_of_theory({}) == "not stated"
