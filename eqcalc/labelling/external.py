# SPDX-License-Identifier: MIT
"""Labels by programs that the user installs: AIQM2 by MLatom, and PTB by xtb.

Neither is a dependency of eqcalc. AIQM2: Chen, Dral, Chem. Sci. 16,
15901 (2025); energies and forces near coupled cluster for neutral closed-shell molecules of H,
C, N and O. PTB: Grimme, Müller, Hansen, J. Chem. Phys. 158, 124111 (2023); densities and
their response near ωB97X-V at the price of a semiempirical method.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import ase
import ase.io
import numpy as np
from ase.units import Bohr, Hartree

from eqcalc.labelling.gfn2 import GFN2
from eqcalc.labelling.method import ConvergenceError, MoleculeMethod
from eqcalc.molecules import unpaired_electrons
from eqcalc.units import convert
from eqcalc.validation import InvalidInputError, positive_fields

_AIQM2_ELEMENTS = {1, 6, 7, 8}
_TIME_LIMIT = 600.0  # of one single point of xtb [s]


@dataclass(frozen=True)
class AIQM2(MoleculeMethod):
    """AIQM2 energies and forces: GFN2-xTB without dispersion, networks, and D4 of ωB97X.

    Needs MLatom, TorchANI, dftd4 and tblite (``pip install mlatom torchani dftd4 tblite``).

    Parameters
    ----------
    maximum_spread
        Largest standard deviation of the energies of its eight networks [eV]; a geometry with
        more is not labelled (:class:`ConvergenceError`), and typical ones have 0.02.

    Notes
    -----
    The gradient of GFN2-xTB by xtb 6.7.0, which MLatom brings along, is wrong near geometries of
    exact symmetry, such as minima; that of tblite takes its place.
    """

    maximum_spread: float = 0.1

    quantities: ClassVar[tuple[str, ...]] = ("energy", "forces")
    name: ClassVar[str] = "AIQM2"
    level_of_theory: ClassVar[str] = "AIQM2"

    def __post_init__(self) -> None:
        positive_fields(self, "maximum_spread")

    @property
    def version(self) -> str:
        """Programs and versions."""
        _aiqm2()
        from importlib.metadata import version

        return ", ".join(f"{name} {version(name)}" for name in ("mlatom", "dftd4", "tblite"))

    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return labels of a neutral closed-shell molecule."""
        if charge or unpaired_electrons(molecule) or not set(molecule.numbers) <= _AIQM2_ELEMENTS:
            raise InvalidInputError(
                key="molecule",
                value=f"{molecule.symbols}, charge {charge:g}",
                expected="a neutral closed-shell molecule of H, C, N and O for AIQM2",
            )
        mlatom, method, gfn2 = _aiqm2()
        from dftd4.interface import DampingParam, DispersionModel

        one, other = (
            mlatom.data.molecule.from_numpy(
                coordinates=molecule.positions, species=molecule.numbers.astype(int)
            )
            for _ in range(2)
        )
        wanted = {"calculate_energy": True, "calculate_energy_gradients": True}
        try:
            with _scratch_folder():
                method.predict(molecule=one, **wanted)
                gfn2.predict(molecule=other, **wanted)
            gradient = (one.get_energy_gradients() - other.get_energy_gradients()) * Bohr
            spread = float(one.aiqm2_nn.energy_standard_deviation) * Hartree
        except Exception as error:  # of a program that MLatom starts, of any kind
            raise ConvergenceError(f"AIQM2: {error}") from error
        dispersion = DispersionModel(molecule.numbers, molecule.positions / Bohr).get_dispersion(
            DampingParam(method="wb97x"), grad=True
        )
        forces = GFN2().label(molecule, ("forces",))["forces"]
        forces -= (gradient + dispersion["gradient"]) * (Hartree / Bohr)
        if spread > self.maximum_spread:
            raise ConvergenceError(f"AIQM2: its networks disagree by {spread:.2f} eV")
        labels = {
            "energy": (float(one.energy) + dispersion["energy"]) * Hartree,
            "forces": forces,
        }
        return {name: labels[name] for name in quantities}


@contextmanager
def _scratch_folder() -> Iterator[None]:
    """Work in a temporary folder: MLatom leaves files of xtb in the current one."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)


@functools.cache
def _aiqm2() -> tuple[Any, Any, Any]:
    """Return MLatom, its AIQM2 without dispersion and its GFN2-xTB, loaded once per process."""
    # xtb overflows its stack at the default size
    os.environ.setdefault("OMP_STACKSIZE", "1G")
    try:
        import dftd4.interface  # noqa: F401
        import mlatom
        import tblite  # noqa: F401
        import torchani  # noqa: F401
        from mlatom.aiqm2 import aiqm2
    except ImportError as error:
        raise ImportError(
            f"AIQM2 needs MLatom, TorchANI, dftd4 and tblite, and found no {error.name}; "
            "install them with `pip install mlatom torchani dftd4 tblite`"
        ) from error
    gfn2 = mlatom.models.methods(method="GFN2-xTB")
    return mlatom, aiqm2(method="AIQM2", dispersion_kwargs=False), gfn2


@dataclass(frozen=True)
class PTB(MoleculeMethod):
    """PTB dipole moments and polarizabilities.

    Needs xtb 6.7 or newer.

    Parameters
    ----------
    program
        Its name, if it is on the search path, or its path.
    """

    program: str = "xtb"

    quantities: ClassVar[tuple[str, ...]] = ("dipole", "polarizability")
    name: ClassVar[str] = "PTB"
    level_of_theory: ClassVar[str] = "PTB"

    @property
    def version(self) -> str:
        """Program and version."""
        return _xtb_version(self.program)

    def settings(self) -> dict[str, Any]:
        """Return every setting that changes the labels: none."""
        return {}

    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return labels of a centred molecule."""
        _xtb_version(self.program)
        command = [self.program, "molecule.xyz", "--ptb", "--alpha", "--chrg", f"{charge:.0f}"]
        command += ["--uhf", str(unpaired_electrons(molecule))]
        with tempfile.TemporaryDirectory() as folder:
            ase.io.write(Path(folder) / "molecule.xyz", ase.Atoms(molecule), format="xyz")
            try:
                run = subprocess.run(
                    command,
                    cwd=folder,
                    capture_output=True,
                    text=True,
                    timeout=_TIME_LIMIT,
                    check=False,
                    env={**os.environ, "OMP_STACKSIZE": "1G"},
                )
            except subprocess.TimeoutExpired as error:
                raise ConvergenceError(f"PTB: no result in {_TIME_LIMIT:.0f} s") from error
        dipole = _numbers_after(run.stdout, r"Molecular dipole moment \(a\.u\.\).*\n.*\n.*\n", 3)
        rows = _numbers_after(run.stdout, r"polarizability tensor.*\n.*\n", 12, skip="XYZ")
        alpha = 0.5 * (rows.reshape(3, 3) + rows.reshape(3, 3).T)
        if np.linalg.eigvalsh(alpha)[0] <= 0.0:
            raise ConvergenceError("PTB: the polarizability is not positive definite")
        labels = {
            "dipole": convert(dipole, "e*bohr", "e*Å"),
            "polarizability": convert(alpha, "bohr^3", "e^2*Å^2/eV"),
        }
        return {name: labels[name] for name in quantities}


def _numbers_after(text: str, heading: str, words: int, skip: str = "") -> np.ndarray:
    """Return the numbers among the `words` that follow a heading in an output of xtb."""
    found = re.search(heading, text)
    if found is None:
        raise ConvergenceError(f"PTB: {text.strip().splitlines()[-1:]}")
    return np.array([w for w in text[found.end() :].split()[:words] if w not in skip], float)


@functools.cache
def _xtb_version(program: str) -> str:
    """Return the version of xtb, which older than 6.7 ignores ``--ptb``."""
    if shutil.which(program) is None:
        raise InvalidInputError(key="program", value=program, expected="xtb, by name or path")
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"xtb version (\d+)\.(\d+)[\w.]*", run.stdout)
    if found is None or (int(found[1]), int(found[2])) < (6, 7):
        raise InvalidInputError(
            key="program",
            value=found[0] if found else program,
            expected="xtb 6.7 or newer, which knows PTB",
        )
    return found[0].replace(" version", "")
