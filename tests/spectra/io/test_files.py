# SPDX-License-Identifier: MIT
import json

import h5py
import numpy as np
import pytest

from eqcalc import hdf5
from eqcalc.spectra import read_spectrum, write_spectrum
from eqcalc.spectra.io import files
from eqcalc.validation import InvalidFileError, MissingFileError
from tests.errors import refused


@pytest.mark.parametrize("ending", [".h5", ".csv", ".jdx"])
def test_files_lose_nothing(spectrum, tmp_path, ending):
    path = write_spectrum(spectrum, tmp_path / f"infrared{ending}")
    back = read_spectrum(path)
    assert np.array_equal(back.wavenumber, spectrum.wavenumber)
    assert np.array_equal(back.values, spectrum.values)
    assert np.array_equal(back.standard_error, spectrum.standard_error)
    assert len(spectrum.history) == 2
    assert spectrum.warnings
    for name in ("unit", "label", "n_independent", "warnings", "history"):
        assert getattr(back, name) == getattr(spectrum, name)
    assert back.provenance == json.loads(json.dumps(spectrum.provenance))
    if ending == ".h5":
        assert np.array_equal(back.samples, spectrum.samples)
        with h5py.File(path) as file:
            assert file["values"].attrs["unit"] == "km/mol per cm⁻¹"
            assert file["wavenumber"].attrs["unit"] == "cm^-1"
    for limit, expected in zip(
        back.confidence_band(0.95), spectrum.confidence_band(0.95), strict=True
    ):
        assert np.array_equal(limit, expected)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_failed_write_leaves_the_old_file(spectrum, tmp_path, monkeypatch):
    path = write_spectrum(spectrum, tmp_path / "s.csv")
    before = path.read_bytes()
    monkeypatch.setitem(files._WRITERS, ".csv", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_spectrum(2.0 * spectrum, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["s.csv"]


def test_foreign_and_damaged_files_are_refused(spectrum, tmp_path):
    with refused(MissingFileError, file=tmp_path / "absent.h5"):
        read_spectrum(tmp_path / "absent.h5")
    with refused(key="path", value="s.xlsx"):
        write_spectrum(spectrum, tmp_path / "s.xlsx")
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with refused(InvalidFileError, file=tmp_path / "a.h5"):
        read_spectrum(tmp_path / "a.h5")
    (tmp_path / "a.csv").write_text("1,2\n3,4\n")
    with refused(InvalidFileError, file=tmp_path / "a.csv"):
        read_spectrum(tmp_path / "a.csv")
    path = write_spectrum(spectrum, tmp_path / "s.csv")
    path.write_text(path.read_text().replace('"version": 1', '"version": 99'))
    with refused(InvalidFileError, file=path, key="version", value=99):
        read_spectrum(path)


def test_other_files_of_eqcalc_are_called_what_they_are(tmp_path):
    path = tmp_path / "parts.h5"
    kinds = {"eqcalc Raman spectrum": "spectrum-raman.h5", "eqcalc trajectory": "eqcalc spectra"}
    for kind, advice in kinds.items():
        with h5py.File(path, "w") as file:
            file.attrs["format"] = kind
        with refused(InvalidFileError, file=path) as caught:
            read_spectrum(path)
        assert advice in str(caught.value)


def test_a_damaged_record_is_named(spectrum, tmp_path):
    path = write_spectrum(spectrum, tmp_path / "s.h5")
    with h5py.File(path, "r+") as file:
        file.attrs["eqcalc"] = '{"format": '
    hdf5.seal(path)
    with refused(InvalidFileError, file=path, key="attribute 'eqcalc'"):
        read_spectrum(path)
    path = write_spectrum(spectrum, tmp_path / "s.jdx")
    path.write_text(path.read_text().replace('{"format"', '{"format'))
    with refused(InvalidFileError, file=path, key="##$EQCALC"):
        read_spectrum(path)
    (tmp_path / "s.csv").write_bytes(b"\x01\x00")
    with refused(InvalidFileError, file=tmp_path / "s.csv", expected="a text file"):
        read_spectrum(tmp_path / "s.csv")
