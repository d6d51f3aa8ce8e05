# SPDX-License-Identifier: MIT
"""Force constants in the layouts of other programs give the modes of the molecule behind them."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from eqcalc.spectra import PrintedModes, harmonic_analysis, read_harmonic
from eqcalc.spectra.io import force_constants
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError, MissingFileError
from tests.errors import refused
from tests.spectra import toy_water as water

BOHR = conversion_factor("bohr", "Å")
SYMBOLS, NUMBERS = ("O", "H", "H"), (8, 1, 1)
HESSIAN = water.hessian().reshape(9, 9) / conversion_factor("hartree/bohr^2", "eV/Å^2")
DIPOLE = water.derivatives(water.dipole).reshape(9, 3)
# Å² to bohr²
TENSORS = water.derivatives(water.polarizability).reshape(9, 3, 3) / BOHR**2
LOWER = np.tril_indices(9)
ROWS, COLUMNS = np.tril_indices(3)


@pytest.fixture(scope="module")
def expected():
    return water.harmonic_modes()


def blocks(matrix, width, first, labels=None):
    """Return a matrix in blocks of columns below their numbers."""
    lines = []
    for start in range(0, len(matrix), width):
        columns = range(start, min(start + width, len(matrix)))
        lines.append(" ".join(f"{first + k:12d}" for k in columns))
        for i, row in enumerate(matrix):
            label = f" {labels[i // 3]} " if labels else " "
            lines.append(f"{first + i:5d}{label}" + " ".join(f"{row[k]:.12f}" for k in columns))
    return "\n".join(lines)


def orca(tmp_path):
    atoms = zip(SYMBOLS, water.MASSES, water.EQUILIBRIUM / BOHR, strict=True)
    rows = [f" {s} {m:.5f} {x:.12f} {y:.12f} {z:.12f}" for s, m, (x, y, z) in atoms]
    diagonal_first = TENSORS[:, [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
    tables = {"dipole_derivatives": DIPOLE, "polarizability_derivatives": diagonal_first}
    text = f"\n$orca_hessian_file\n\n$hessian\n9\n{blocks(HESSIAN, 5, 0)}\n\n"
    text += "#\n# The atoms: label mass x y z\n#\n$atoms\n3\n" + "\n".join(rows) + "\n\n"
    for name, table in tables.items():
        lines = "\n".join(" ".join(f"{x:.12f}" for x in row) for row in table)
        text += f"${name}\n9\n{lines}\n\n"
    path = tmp_path / "water.hess"
    path.write_text(text + "#\n# The IR spectrum\n#\n$ir_spectrum\n1\n 1. 2. 3.\n\n$end\n")
    return path


def checkpoint(tmp_path):
    def entry(name, values, kind="R"):
        form = ("{:12d}", "{:16.8E}")[kind == "R"]
        lines = [f"{name:<40}   {kind}   N={len(values):12d}"]
        for start in range(0, len(values), 5):
            lines.append("".join(form.format(x) for x in values[start : start + 5]))
        return "\n".join(lines)

    parts = [
        "A title",
        f"{'Freq':<10}{'RPBE1PBE':<60}def2TZVP",
        f"{'Charge':<40}   I{0:17d}",
        entry("Atomic numbers", NUMBERS, "I"),
        entry("Current cartesian coordinates", water.EQUILIBRIUM.ravel() / BOHR),
        entry("Real atomic weights", water.MASSES),
        entry("Cartesian Gradient", np.zeros(9)),
        entry("Cartesian Force Constants", HESSIAN[LOWER]),
        entry("Dipole Derivatives", DIPOLE.ravel()),
        entry("Polarizability Derivatives", TENSORS[:, ROWS, COLUMNS].ravel()),
    ]
    path = tmp_path / "water.fchk"
    path.write_text("\n".join(parts) + "\n")
    return path


def archive(tmp_path):
    def listed(values):
        return ",".join(f"{x:.10f}" for x in np.ravel(values))

    entry = (
        "1\\1\\GINC-A\\Freq\\RPBE1PBE\\def2TZVP\\H2O1\\ME\\1-Jan\\0\\\\#p freq\\\\T\\\\0,1\\O\\H\\H"
    )
    entry += f"\\\\Version=X\\HF=-76.\\DipoleDeriv={listed(DIPOLE)}"
    entry += f"\\PolarDeriv={listed(TENSORS[:, ROWS, COLUMNS])}\\PG=C02V\\NImag=0\\\\"
    entry += f"{listed(HESSIAN[LOWER])}\\\\{listed(np.zeros(9))}\\\\\\@"
    rows = [
        f" {i + 1:6d} {number:10d} {0:10d} " + " ".join(f"{x:.10f}" for x in r)
        for i, (number, r) in enumerate(zip(NUMBERS, water.EQUILIBRIUM, strict=True))
    ]
    lines = [
        " Gaussian, Inc.",
        " ---",
        " #p pbe1pbe/def2tzvp freq",
        " ---",
        " Charge =  0 Mult = 1",
    ]
    lines += ["          Input orientation:", " ---", " Center", " Number", " ---", *rows, " ---"]
    lines += [
        f" Atom {i + 1:5d} has atomic number {n:2d} and mass {m:9.5f}"
        for i, (n, m) in enumerate(zip(NUMBERS, water.MASSES, strict=True))
    ]
    lines += [f" {entry[k : k + 70]}" for k in range(0, len(entry), 70)]
    path = tmp_path / "water.log"
    path.write_text("\n".join([*lines, " Normal termination of Gaussian 16", ""]))
    return path


def qchem(tmp_path):
    rows = [
        f" {i + 1} {s} " + " ".join(f"{x:.10f}" for x in r)
        for i, (s, r) in enumerate(zip(SYMBOLS, water.EQUILIBRIUM, strict=True))
    ]
    lines = ["Welcome to Q-Chem", "$rem", "method pbe0", "basis def2-TZVP", "$end"]
    lines += [
        "    Standard Nuclear Orientation (Angstroms)",
        " I Atom X Y Z",
        " ---",
        *rows,
        " ---",
    ]
    lines += [" Hessian of the SCF Energy", blocks(HESSIAN, 6, 1), " Gradient time: 1"]
    path = tmp_path / "water.out"
    path.write_text("\n".join(lines))
    return path


def cp2k(tmp_path):
    rows = [
        f" {i + 1} 1 {s} {n} " + " ".join(f"{x:.10f}" for x in r) + f" 1.0 {m:.4f}"
        for i, (s, n, r, m) in enumerate(
            zip(SYMBOLS, NUMBERS, water.EQUILIBRIUM, water.MASSES, strict=True)
        )
    ]
    root = np.sqrt(np.repeat(1822.888486 * water.MASSES, 3))  # electron masses
    lines = [" CP2K| version string", " MODULE QUICKSTEP:  ATOMIC COORDINATES IN angstrom", ""]
    lines += [" Atom Kind Element X Y Z Z(eff) Mass", "", *rows, ""]
    weighted = blocks(1e6 * HESSIAN / np.outer(root, root), 5, 1, SYMBOLS)
    lines += [" VIB| Hessian in cartesian coordinates", "", weighted, " VIB| Cartesian Low"]
    path = tmp_path / "water.out"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("write", [orca, checkpoint, archive])
def test_derivatives_give_modes_and_intensities(write, tmp_path, expected):
    atoms, found = read_harmonic(write(tmp_path))
    assert atoms.symbols.get_chemical_formula() == "H2O"
    np.testing.assert_allclose(found.wavenumber, expected.wavenumber, atol=0.01)
    np.testing.assert_allclose(found.infrared_intensity, expected.infrared_intensity, rtol=1e-4)
    np.testing.assert_allclose(found.raman_activity, expected.raman_activity, rtol=1e-4)
    np.testing.assert_allclose(found.masses, water.MASSES, atol=1e-4)
    level = found.provenance["level_of_theory"]
    assert level is None if write is orca else "PBE1PBE/def2TZVP".lower() in level.lower()


@pytest.mark.parametrize("write", [qchem, cp2k])
def test_printed_force_constants_give_modes(write, tmp_path, expected):
    """Of other masses: the molecule's force constants are what is read."""
    atoms, found = read_harmonic(write(tmp_path))
    modes = harmonic_analysis(water.EQUILIBRIUM, atoms.get_masses(), water.hessian())
    np.testing.assert_allclose(found.wavenumber, modes.wavenumber, atol=0.01)
    assert not found.known


def cclib_that_finds(monkeypatch, data):
    module = SimpleNamespace(io=SimpleNamespace(ccread=lambda *_, **__: data))
    monkeypatch.setitem(sys.modules, "cclib", module)
    monkeypatch.setattr(force_constants, "find_spec", lambda _: True)


def printed(expected, **changes):
    values = {
        "atomnos": np.array(NUMBERS),
        "atomcoords": water.EQUILIBRIUM[None],
        "atommasses": water.MASSES,
        "vibfreqs": expected.wavenumber[::-1],
        "vibdisps": np.round(expected.vectors[::-1], 2),
        "vibirs": expected.infrared_intensity[::-1],
        "metadata": {"basis_set": "def2-TZVP"},
    }
    return SimpleNamespace(**(values | changes))


def test_printed_modes(monkeypatch, tmp_path, expected):
    cclib_that_finds(monkeypatch, printed(expected))
    path = tmp_path / "other.out"
    path.write_text("of another program")
    _, found = read_harmonic(path)
    assert isinstance(found, PrintedModes) and found.known == {"infrared"}
    np.testing.assert_allclose(found.wavenumber, expected.wavenumber)
    np.testing.assert_allclose(found.infrared_intensity, expected.infrared_intensity)
    np.testing.assert_allclose(np.abs(found.vectors), np.abs(expected.vectors), atol=0.02)
    area = found.infrared(10.0, shape="gaussian").integrate(0.0, 3860.0)
    assert area.value == pytest.approx(found.infrared_intensity.sum(), rel=1e-3)
    with refused(InvalidInputError, key="polarizability_derivative"):
        found.raman()


def test_displacements_in_other_axes_are_refused(monkeypatch, tmp_path, expected):
    turned = expected.vectors[..., [1, 2, 0]]
    cclib_that_finds(monkeypatch, printed(expected, vibdisps=turned[::-1]))
    path = tmp_path / "other.out"
    path.write_text("of another program")
    with refused(InvalidInputError, key="displacements"):
        read_harmonic(path)


def test_files_without_vibrations_are_named(tmp_path):
    with refused(MissingFileError):
        read_harmonic(tmp_path / "nothing.hess")
    path = tmp_path / "some.out"
    path.write_text("Welcome to Q-Chem\n Hessian of the SCF Energy\n 1 2\n")
    with refused(InvalidFileError, file=path, key="positions"):
        read_harmonic(path)
    for text in ("$atoms\n0\n", "$atoms\n1\n H 1.0 0.0 0.0 0.0\n$hessian\n1\n 0\n 0 1.0\n 1 x\n"):
        path.write_text(f"$orca_hessian_file\n\n{text}")
        with refused(InvalidInputError, file=path):
            read_harmonic(path)
    path.write_text("nothing")
    with refused(InvalidFileError, file=path):
        read_harmonic(path)
