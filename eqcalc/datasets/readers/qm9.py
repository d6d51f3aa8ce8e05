# SPDX-License-Identifier: MIT
"""Read the QM9 archive as published (Ramakrishnan et al., Sci. Data 1, 140022 (2014)).

The archive ``dsgdb9nsd.xyz.tar.bz2`` holds one text per molecule: the number of
atoms; a line with a tag, an index and fifteen properties; a line per atom with
element, position and Mulliken charge; vibrational wavenumbers; SMILES; InChI. Numbers may
be written as ``1.5*^-6``. Rotational constants, charges, wavenumbers and names are skipped.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.validation import InvalidFileError, existing_file, numbers_in

#: Properties of a molecule in the order of the file: quantity and unit; None is skipped.
QM9_LABELS: tuple[tuple[str, str] | None, ...] = (
    None,  # rotational constants A, B, C
    None,
    None,
    ("dipole_magnitude", "debye"),
    ("isotropic_polarizability", "bohr^3"),
    ("homo_energy", "hartree"),
    ("lumo_energy", "hartree"),
    ("homo_lumo_gap", "hartree"),
    ("electronic_spatial_extent", "bohr^2"),
    ("zero_point_energy", "hartree"),
    ("internal_energy_0K", "hartree"),
    ("internal_energy", "hartree"),
    ("enthalpy", "hartree"),
    ("gibbs_energy", "hartree"),
    ("heat_capacity", "cal/mol/K"),
)


class Qm9Reader:
    """The molecules of the QM9 archive, of a folder of its files, or of a single file.

    Parameters
    ----------
    path
        ``dsgdb9nsd.xyz.tar.bz2``, a folder with ``.xyz`` files, or one such file.
    exclude
        A text file with the index of a molecule to leave out at the start of each line,
        such as ``uncharacterized.txt``, the list of the 3,054 molecules whose connectivity
        changed in the relaxation.
    """

    level_of_theory = "B3LYP/6-31G(2df,p)"

    def __init__(self, path: str | Path, *, exclude: str | Path | None = None) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            existing_file(self.path, "the archive of QM9")
        self._excluded = frozenset[int]() if exclude is None else _indices(Path(exclude))
        known = [label for label in QM9_LABELS if label is not None]
        self.keys: Mapping[str, str] = {name: name for name, _ in known}
        self.units: Mapping[str, str] = {"positions": "Å", **dict(known)}

    def __iter__(self) -> Iterator[Frame | FrameError]:
        for name, text in self._texts():
            try:
                index, frame = read_molecule(text)
            except (ValueError, IndexError, KeyError) as error:
                yield FrameError(f"{name}: not a molecule of QM9: {error}")
                continue
            if index not in self._excluded:
                yield frame

    def _texts(self) -> Iterator[tuple[str, str]]:
        if self.path.is_dir():
            for file in sorted(self.path.glob("*.xyz")):
                yield file.name, file.read_text(encoding="utf-8")
        elif self.path.suffix == ".xyz":
            yield self.path.name, self.path.read_text(encoding="utf-8")
        else:
            try:
                with tarfile.open(self.path, "r|*") as archive:
                    for member in archive:
                        content = archive.extractfile(member) if member.isfile() else None
                        if content is not None and member.name.endswith(".xyz"):
                            yield member.name, content.read().decode("utf-8")
            except (tarfile.TarError, EOFError, OSError) as error:
                raise InvalidFileError(
                    f"incomplete ({error})", expected="a tar archive", file=self.path
                ) from None


def read_molecule(text: str) -> tuple[int, Frame]:
    """Return the index of a molecule and its structure with labels, from its text.

    Raises
    ------
    ValueError, IndexError, KeyError
        The text has another layout.
    """
    lines = text.splitlines()
    n_atoms = int(lines[0])
    tag, index, *values = lines[1].split()
    if tag != "gdb" or len(values) != len(QM9_LABELS):
        raise ValueError(f"expected 'gdb', an index and {len(QM9_LABELS)} numbers in line 2")
    atoms = [line.split() for line in lines[2 : 2 + n_atoms]]
    if len(atoms) != n_atoms:
        raise ValueError(f"{n_atoms} atoms announced, {len(atoms)} found")
    labels = {
        label[0]: value
        for label, value in zip(QM9_LABELS, numbers_in(" ".join(values)), strict=True)
        if label is not None
    }
    return int(index), Frame(
        np.array([atomic_numbers[fields[0]] for fields in atoms]),
        np.array([numbers_in(" ".join(fields[1:4])) for fields in atoms]),
        labels,
    )


def _indices(path: Path) -> frozenset[int]:
    """Return the integers at the start of lines, skipping other lines."""
    first = [
        line.split()[0] for line in path.read_text(encoding="utf-8").splitlines() if line.split()
    ]
    found = frozenset(int(word) for word in first if word.isdigit())
    if not found:
        raise InvalidFileError(expected="an index at the beginning of each line", file=path)
    return found
