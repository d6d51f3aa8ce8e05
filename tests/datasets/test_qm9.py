# SPDX-License-Identifier: MIT
"""The QM9 archive: methane as published, and what is not a molecule."""

import io
import tarfile

import numpy as np
import pytest

from eqcalc.datasets import ConversionError, convert
from eqcalc.datasets.readers.qm9 import Qm9Reader, read_molecule
from eqcalc.units import conversion_factor

# dsgdb9nsd_000001.xyz of QM9 (CC0), verbatim
METHANE = "\n".join(
    [
        "5",
        "gdb 1\t157.7118\t157.70997\t157.70699\t0.\t13.21\t-0.3877\t0.1171\t0.5048\t35.3641\t"
        "0.044749\t-40.47893\t-40.476062\t-40.475117\t-40.498597\t6.469\t",
        "C\t-0.0126981359\t 1.0858041578\t 0.0080009958\t-0.535689",
        "H\t 0.002150416\t-0.0060313176\t 0.0019761204\t 0.133921",
        "H\t 1.0117308433\t 1.4637511618\t 0.0002765748\t 0.133922",
        "H\t-0.540815069\t 1.4475266138\t-0.8766437152\t 0.133923",
        "H\t-0.5238136345\t 1.4379326443\t 0.9063972942\t 0.133923",
        "1341.307\t1341.3284\t1341.365\t1562.6731\t1562.7453\t3038.3205\t3151.6034\t3151.6788\t"
        "3151.7078",
        "C\tC\t",
        "InChI=1S/CH4/h1H4\tInChI=1S/CH4/h1H4",
        "",
    ]
)


def archive(path, texts):
    with tarfile.open(path, "w:bz2") as tar:
        for index, text in enumerate(texts, 1):
            entry = tarfile.TarInfo(f"dsgdb9nsd_{index:06d}.xyz")
            entry.size = len(text.encode())
            tar.addfile(entry, io.BytesIO(text.encode()))
    return path


def other(index, shift):
    """Methane stretched, under another index, with a number in the notation of Mathematica."""
    text = METHANE.replace("gdb 1\t", f"gdb {index}\t").replace("0.0080009958", "8.0009958*^-3")
    return text.replace("-0.0060313176", f"{-0.0060313176 - shift:.10f}")


def test_the_archive_becomes_a_dataset_in_internal_units(tmp_path):
    source = archive(tmp_path / "dsgdb9nsd.xyz.tar.bz2", [METHANE, other(2, 0.1), other(3, 0.2)])
    report = convert(source, tmp_path / "qm9.h5", progress=False)
    dataset = report.dataset
    assert len(dataset) == 3
    assert dataset.level_of_theory == "B3LYP/6-31G(2df,p)"
    record = dataset[0]
    hartree = conversion_factor("hartree", "eV")
    assert record.labels["internal_energy_0K"] == pytest.approx(-40.47893 * hartree)
    assert record.labels["homo_lumo_gap"] == pytest.approx(0.5048 * hartree)
    assert record.labels["heat_capacity"] == pytest.approx(6.469 * 4.184e-3 / 96.48533212)
    assert record.labels["electronic_spatial_extent"] == pytest.approx(35.3641 * 0.529177**2)
    assert len(record.labels) == 12
    np.testing.assert_array_equal(record.numbers, [6, 1, 1, 1, 1])
    assert dataset[1].positions[0, 2] == pytest.approx(0.0080009958)
    assert "energy" not in dataset.quantities  # U₀ contains the zero-point energy


def test_uncharacterised_molecules_are_left_out(tmp_path):
    source = archive(tmp_path / "qm9.tar.bz2", [METHANE, other(2, 0.1), other(3, 0.2)])
    listed = tmp_path / "uncharacterized.txt"
    listed.write_text("     Index  SMILES\n\n     2   C  C\n", encoding="utf-8")
    report = convert(source, tmp_path / "qm9.h5", options={"exclude": listed}, progress=False)
    assert len(report.dataset) == 2


def test_a_folder_of_files_is_read_in_order(tmp_path):
    for index in (2, 1):
        (tmp_path / f"dsgdb9nsd_00000{index}.xyz").write_text(other(index, 0.1 * index))
    frames = list(Qm9Reader(tmp_path))
    assert frames[1].positions[1, 1] < frames[0].positions[1, 1]


@pytest.mark.parametrize(
    "text",
    [METHANE.replace("gdb 1", "gdb"), METHANE.replace("5\n", "50\n", 1), "", "x\ny\n"],
    ids=["tag", "count", "empty", "text"],
)
def test_damaged_molecules_are_reported(tmp_path, text):
    with pytest.raises((ValueError, IndexError)):
        read_molecule(text)
    source = archive(tmp_path / "qm9.tar.bz2", [METHANE, text])
    with pytest.raises(ConversionError, match="000002"):
        convert(source, tmp_path / "qm9.h5", progress=False)


def test_a_truncated_archive_is_refused(tmp_path):
    source = archive(tmp_path / "qm9.tar.bz2", [METHANE] * 50)
    source.write_bytes(source.read_bytes()[:200])
    with pytest.raises(ValueError, match="archive"):
        convert(source, tmp_path / "qm9.h5", progress=False)
