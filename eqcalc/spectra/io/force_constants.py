# SPDX-License-Identifier: MIT
r"""Read the harmonic vibrations that quantum-chemistry programs computed.

Force constants, and derivatives of dipole moment and polarizability where there are any, become
normal modes as those of a model do:

===================  ==================  =======================  =========================
file                 force constants     derivatives              masses
===================  ==================  =======================  =========================
ORCA ``.hess``       yes                 dipole, polarizability   of the file
Gaussian ``.fchk``   yes                 dipole, polarizability   of the file
Q-Chem ``.fchk``     yes                                          of the commonest isotopes
Gaussian output      in its last entry   dipole, polarizability   of the file
Q-Chem output        if printed                                   of the commonest isotopes
CP2K output          if printed                                   standard atomic weights
===================  ==================  =======================  =========================

Of other outputs cclib (optional; O'Boyle, Tenderholt and Langner, J. Comput. Chem. 29, 839 (2008))
reads the wavenumbers, intensities and displacements that are printed, to their few digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_masses_common

from eqcalc.normal_modes import NormalModes
from eqcalc.program_outputs import PROGRAMS, REAL, Gaussian, Output, real
from eqcalc.quantities import quantity
from eqcalc.spectra.double_harmonic import HarmonicSpectrum, PrintedModes, harmonic_analysis
from eqcalc.spectra.provenance import molecule_facts
from eqcalc.units import atomic_unit, conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file, located

_BOHR = conversion_factor("bohr", "Å")
_ELECTRON_MASS = atomic_unit("amu")
#: Rows and columns of the tensors that programs print as six numbers.
_LOWER = ((0, 1, 1, 2, 2, 2), (0, 0, 1, 0, 1, 2))  # xx, xy, yy, xz, yz, zz
_DIAGONAL_FIRST = ((0, 1, 2, 0, 0, 1), (0, 1, 2, 1, 2, 2))  # xx, yy, zz, xy, xz, yz
#: Printed force constants: the heading, and the unit that follows from it.
_PRINTED = {
    "CP2K": r"VIB\| Hessian in cartesian coordinates",
    "Q-Chem": r"Hessian of the SCF Energy",
}


def read_harmonic(path: str | Path) -> tuple[Atoms, HarmonicSpectrum | PrintedModes]:
    """Return the molecule of a file and its harmonic vibrations.

    Parameters
    ----------
    path
        See :mod:`eqcalc.spectra.io.force_constants`.

    Returns
    -------
    atoms
        Geometry and charge, with the masses of the file.
    modes
        The vibrations with their intensities, as far as the file has them; a
        :class:`~eqcalc.spectra.double_harmonic.PrintedModes` if only modes are printed.

    Raises
    ------
    InvalidFileError
        The file has no vibrations that can be read.
    """
    path = existing_file(path, "the output of a frequency calculation, .hess or .fchk")
    text = path.read_text(encoding="utf-8", errors="replace")
    program = next((one for one in PROGRAMS if one.signature in text[: 2**16]), None)
    try:
        with located(file=path):
            if "$orca_hessian_file" in text[:1000]:
                return _of_orca(text)
            if re.search(r"^Cartesian Force Constants +R", text, re.MULTILINE):
                return _of_fchk(text)
            if program is Gaussian and (archive := _archive(text)):
                return _of_archive(text, archive)
            printed = _printed_modes(path) if program is not None or path.suffix else None
            if printed is not None:
                return printed
            if program is not None and (found := _last(_PRINTED.get(program.name, "$^"), text)):
                return _of_output(program(text), text[found.end() :])
    except InvalidInputError:
        raise
    except (LookupError, ValueError) as error:
        raise InvalidFileError(f"its vibrations cannot be read ({error})", file=path) from error
    advice = "" if find_spec("cclib") else "; other outputs are read with cclib (eqcalc[outputs])"
    raise InvalidFileError(
        "it has no force constants that can be read",
        expected="an ORCA .hess, a .fchk, or the output of a frequency calculation" + advice,
        file=path,
    )


def _harmonic(
    atoms: Atoms,
    hessian: np.ndarray,
    level: str = "",
    dipole: np.ndarray | None = None,
    polarizability: np.ndarray | None = None,
) -> tuple[Atoms, HarmonicSpectrum]:
    """Return a molecule and its modes from derivatives in atomic units.

    Those of the dipole moment are ``[3 n_atoms, 3]``, of the polarizability ``[3 n_atoms, 3, 3]``.
    """
    n = len(atoms)
    tensors = quantity("polarizability").factor_from("bohr^3") / _BOHR
    spectrum = harmonic_analysis(
        atoms.positions,
        atoms.get_masses(),
        hessian * conversion_factor("hartree/bohr^2", "eV/Å^2"),
        dipole_derivative=None if dipole is None else dipole.reshape(n, 3, 3),
        polarizability_derivative=None
        if polarizability is None
        else polarizability.reshape(n, 3, 3, 3) * tensors,
        provenance=_provenance(atoms, level),
    )
    return atoms, spectrum


def _provenance(atoms: Atoms, level: str) -> dict[str, Any]:
    facts = molecule_facts(atoms.numbers, atoms.get_masses(), atoms.positions)
    return {**facts, "level_of_theory": level or None}


def _symmetric(components: np.ndarray, order: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Return tensors ``[n, 3, 3]`` of six components ``[n, 6]``."""
    tensors = np.zeros((len(components), 3, 3))
    rows, columns = order
    tensors[:, rows, columns] = tensors[:, columns, rows] = components
    return tensors


def _full(triangle: Sequence[float] | np.ndarray, size: int) -> np.ndarray:
    """Return a symmetric matrix of its lower triangle, row by row."""
    matrix = np.zeros((size, size))
    matrix[np.tril_indices(size)] = triangle
    return matrix + np.tril(matrix, -1).T


def _reals(text: str) -> np.ndarray:
    return np.array([real(word) for word in text.split()])


# --- ORCA -----------------------------------------------------------------------------


def _of_orca(text: str) -> tuple[Atoms, HarmonicSpectrum]:
    """Return the vibrations of an ORCA .hess."""
    parts = re.split(r"^ *\$(\w+)", re.sub(r"^ *#.*$", "", text, flags=re.MULTILINE), flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    rows = [line.split() for line in sections["atoms"].splitlines() if len(line.split()) == 5]
    symbols = [word[0] for word in rows]
    values = np.array([[float(word) for word in words[1:]] for words in rows])
    atoms = Atoms(symbols, values[:, 1:] * _BOHR, masses=values[:, 0])
    size = 3 * len(atoms)

    def table(name: str, width: int) -> np.ndarray | None:
        found = _reals(sections.get(name, "\n\n").split("\n", 2)[2])
        return found.reshape(size, width) if len(found) else None

    tensors = table("polarizability_derivatives", 6)
    return _harmonic(
        atoms,
        _matrix(sections["hessian"].splitlines()),
        dipole=table("dipole_derivatives", 3),
        polarizability=None if tensors is None else _symmetric(tensors, _DIAGONAL_FIRST),
    )


# --- formatted checkpoint files -------------------------------------------------------


def _of_fchk(text: str) -> tuple[Atoms, HarmonicSpectrum]:
    """Return the vibrations of a formatted checkpoint file."""
    entries: dict[str, np.ndarray] = {}
    for match in re.finditer(r"^(\S.{39})   [RI](?: {5}|   N=) *(\S+)(?=\s)", text, re.MULTILINE):
        name, end = match[1].strip(), match.end()
        if "N=" in match.group():
            words = text[end : end + 18 * int(match[2]) + 1000].split(maxsplit=int(match[2]))
            entries[name] = np.array([real(word) for word in words[: int(match[2])]])
        else:
            entries[name] = np.array(real(match[2]))
    numbers = entries["Atomic numbers"].astype(int)
    atoms = Atoms(numbers, entries["Current cartesian coordinates"].reshape(-1, 3) * _BOHR)
    atoms.info["charge"] = int(entries.get("Charge", 0))
    masses = entries.get("Vib-AtMass", entries.get("Real atomic weights"))
    atoms.set_masses(atomic_masses_common[numbers] if masses is None else masses)
    tensors = entries.get("Polarizability Derivatives")
    job = text.split("\n", 2)[1][10:].split()
    return _harmonic(
        atoms,
        _full(entries["Cartesian Force Constants"], 3 * len(atoms)),
        "/".join(word for word in job if word not in ("R", "U", "RO")),
        entries.get("Dipole Derivatives"),
        None if tensors is None else _symmetric(tensors.reshape(-1, 6), _LOWER),
    )


# --- outputs --------------------------------------------------------------------------


def _archive(text: str) -> str:
    r"""Return the last entry with force constants in the archive of a Gaussian output."""
    found = re.findall(r"^ 1\\1\\.*?\\\\@", text, re.MULTILINE | re.DOTALL)
    joined = [re.sub(r"\n ", "", entry) for entry in found]
    return next((entry for entry in reversed(joined) if "\\NImag=" in entry), "")


def _of_archive(text: str, archive: str) -> tuple[Atoms, HarmonicSpectrum]:
    """Return the vibrations in the archive of a Gaussian output, in the axes of the input."""
    output = Gaussian(text)
    step = output.step
    atoms = _atoms(output)
    masses = re.findall(r"^ Atom +\d+ has atomic number +\d+ and mass +(\S+)", text, re.MULTILINE)
    atoms.set_masses([float(mass) for mass in masses[-len(atoms) :]])
    fields = dict(re.findall(r"\\(\w+)=([^\\]*)", archive))

    def numbers(field: str) -> np.ndarray | None:
        return _reals(fields[field].replace(",", " ")) if field in fields else None

    triangle = re.split(r"\\NImag=\d+\\\\", archive)[1].split("\\")[0]
    tensors = numbers("PolarDeriv")
    return _harmonic(
        atoms,
        _full(_reals(triangle.replace(",", " ")), 3 * len(atoms)),
        step.level or output.level,
        numbers("DipoleDeriv"),
        None if tensors is None else _symmetric(tensors.reshape(-1, 6), _LOWER),
    )


def _atoms(output: Output) -> Atoms:
    """Return the last geometry of an output."""
    step = next((step for step in reversed(output.steps) if len(step.numbers)), None)
    if step is None:
        raise InvalidFileError("it prints no geometry", key="positions")
    return Atoms(step.numbers, step.positions, info={"charge": step.charge})


def _of_output(output: Output, following: str) -> tuple[Atoms, HarmonicSpectrum]:
    """Return the vibrations of force constants that an output prints; it has no derivatives."""
    atoms = _atoms(output)
    matrix = _matrix(following.splitlines())
    if output.name != "CP2K":
        atoms.set_masses(atomic_masses_common[atoms.numbers])
    else:  # mass-weighted, of electron masses, and a million times as large
        root = np.sqrt(np.repeat(atomic_masses[atoms.numbers], 3) / _ELECTRON_MASS)
        matrix = 1e-6 * matrix * np.outer(root, root)
    return _harmonic(atoms, matrix, output.level)


def _matrix(lines: Iterable[str]) -> np.ndarray:
    """Return a matrix that is printed in blocks of columns, below their numbers."""
    blocks: list[list[list[float]]] = []
    width = 0
    for line in lines:
        words = line.split()
        if words and all(word.isdigit() for word in words):
            width = len(words)
            blocks.append([])
        elif width and words[:1] and words[0].isdigit() and len(words) > width:
            if not all(map(REAL.fullmatch, words[-width:])):
                break
            blocks[-1].append([real(word) for word in words[-width:]])
        elif words and any(blocks):
            break
    return np.concatenate([np.array(block) for block in blocks if block], axis=1)


def _last(pattern: str, text: str) -> re.Match[str] | None:
    """Return the last match of a pattern."""
    found = None
    for match in re.finditer(pattern, text):
        found = match
    return found


# --- what cclib reads -----------------------------------------------------------------


def _printed_modes(path: Path) -> tuple[Atoms, PrintedModes] | None:
    """Return the modes that an output prints, if cclib is installed and finds them."""
    if find_spec("cclib") is None:
        return None
    import logging

    import cclib

    try:
        data = cclib.io.ccread(str(path), loglevel=logging.CRITICAL)
    except Exception:  # of any type, for outputs that it does not know
        return None
    if not {"vibfreqs", "vibdisps"} <= vars(data or object).keys():
        return None
    numbers = np.asarray(data.atomnos, dtype=int)
    masses = getattr(data, "atommasses", atomic_masses_common[numbers])
    atoms = Atoms(numbers, data.atomcoords[-1], masses=masses)
    atoms.info["charge"] = int(getattr(data, "charge", 0))
    stated = [data.metadata.get(key, "") for key in ("functional", "basis_set")]
    order = np.argsort(data.vibfreqs, kind="stable")
    names = {"infrared": "vibirs", "raman": "vibramans"}
    modes = NormalModes.from_displacements(
        atoms.positions, masses, data.vibfreqs[order], data.vibdisps[order]
    )
    found = PrintedModes(
        **vars(modes),
        printed={k: getattr(data, v)[order] for k, v in names.items() if hasattr(data, v)},
        provenance=_provenance(atoms, "/".join(filter(None, stated))),
    )
    return atoms, found
