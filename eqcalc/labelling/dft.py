# SPDX-License-Identifier: MIT
"""DFT labels from PySCF, with analytic gradients and polarizabilities."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import ase
import numpy as np
from ase.units import Bohr, Hartree

from eqcalc.labelling.method import (
    ConvergenceError,
    MoleculeMethod,
    finite_field_polarizability,
)
from eqcalc.molecules import unpaired_electrons
from eqcalc.validation import InvalidInputError, MissingExtraError, nearest, positive, within


@dataclass(frozen=True)
class PySCF(MoleculeMethod):
    """Restricted Kohn–Sham energies, forces, dipoles and polarizabilities (closed shell).

    Parameters
    ----------
    functional
        Exchange-correlation functional in PySCF's spelling, such as ``"PBE0"``,
        ``"wB97X-V"`` or ``"HF"``.
    basis
        Gaussian basis set.
    density_fitting
        Use density fitting for Coulomb and exchange; noted in :attr:`level_of_theory`.
    grid_level
        Integration grid, 0 to 9. The gradient includes the grid response, so that forces
        sum to zero.
    energy_tolerance
        SCF energy convergence threshold [Hartree].

    Raises
    ------
    InvalidInputError
        PySCF does not know the functional or the basis.
    """

    functional: str = "PBE0"
    basis: str = "def2-TZVP"
    density_fitting: bool = True
    grid_level: int = 3
    energy_tolerance: float = 1e-9

    quantities: ClassVar[tuple[str, ...]] = ("energy", "forces", "dipole", "polarizability")
    unpaired_electrons: ClassVar[int] = 0

    def __post_init__(self) -> None:
        within("grid_level", self.grid_level, 0, 9)
        positive("energy_tolerance", self.energy_tolerance, unit="Hartree")
        _check_functional(self.functional)
        _check_basis(self.basis)

    @property
    def name(self) -> str:
        """Name of the method."""
        return f"{self.functional}/{self.basis}"

    @property
    def level_of_theory(self) -> str:
        """Functional and basis set."""
        return self.name + (" (density fitting)" if self.density_fitting else "")

    @property
    def version(self) -> str:
        """Program and version."""
        return f"PySCF {_pyscf().__version__}"

    def _compute(
        self, molecule: ase.Atoms, charge: float, quantities: tuple[str, ...]
    ) -> dict[str, Any]:
        """Return labels of a centred molecule."""
        field = self._converged_field(molecule, charge)
        labels: dict[str, Any] = {}
        for name in quantities:
            if name == "energy":
                labels[name] = field.e_tot * Hartree
            elif name == "forces":
                gradient = field.nuc_grad_method()
                gradient.verbose = 0
                gradient.grid_response = True
                labels[name] = -gradient.kernel() * (Hartree / Bohr)
            elif name == "dipole":
                labels[name] = field.dip_moment(unit="AU", verbose=0) * Bohr
            else:
                # atomic units e²a₀²/Hartree
                compute = _finite_field if field.do_nlc() else _polarizability
                labels[name] = compute(field) * (Bohr**2 / Hartree)
        return labels

    def _converged_field(self, atoms: ase.Atoms, charge: float) -> Any:
        """Return PySCF's converged SCF object of a centred molecule."""
        pyscf = _pyscf()
        from pyscf import dft, gto
        from pyscf.lib.exceptions import BasisNotFoundError

        unpaired_electrons(atoms, self.unpaired_electrons)
        try:
            molecule = gto.M(
                atom=list(zip(atoms.symbols, atoms.positions / Bohr, strict=True)),
                unit="Bohr",
                basis=self.basis,
                charge=round(charge),
                verbose=0,
            )
        except BasisNotFoundError:
            raise InvalidInputError(
                key="basis", value=self.basis, expected=f"one for all elements of {atoms.symbols}"
            ) from None
        field = dft.RKS(molecule, xc=self.functional)
        if self.density_fitting:
            field = field.density_fit()
        field.grids.level = self.grid_level
        field.conv_tol = self.energy_tolerance
        field.kernel()
        if not field.converged:
            raise ConvergenceError(
                f"{self.name}: no self-consistency to {self.energy_tolerance:g} Hartree in "
                f"{field.max_cycle} cycles (PySCF {pyscf.__version__})"
            )
        return field


#: Common names, suggested first for a misspelled one.
_USUAL_FUNCTIONALS = (
    *("PBE", "PBE0", "BLYP", "B3LYP", "CAM-B3LYP", "TPSS", "TPSSh", "SCAN", "r2SCAN", "M06-2X"),
    *("HSE06", "wB97X", "wB97X-V", "wB97M-V", "B97M-V", "HF"),
)
_USUAL_BASES = (
    *("def2-SVP", "def2-TZVP", "def2-TZVPP", "def2-TZVPD", "def2-QZVP"),
    *("cc-pVDZ", "cc-pVTZ", "aug-cc-pVDZ", "aug-cc-pVTZ", "6-31G*", "6-311++G(d,p)"),
)


def _check_functional(name: str) -> None:
    _pyscf()
    from pyscf.dft import libxc

    try:
        hybrid, terms = libxc.parse_xc(name)
    except (KeyError, ValueError, TypeError):
        hybrid, terms = (), ()
    if not any(hybrid) and not terms:
        raise InvalidInputError(
            key="functional",
            value=name,
            expected="a functional of PySCF, such as PBE0, B3LYP or wB97X-V",
            suggestion=nearest(name, _USUAL_FUNCTIONALS, fold=_folded)
            or nearest(name, [*libxc.XC_ALIAS, *libxc.XC_CODES], fold=_folded),
        )


def _check_basis(name: str) -> None:
    from pyscf.gto import basis
    from pyscf.lib.exceptions import BasisNotFoundError

    for element in ("H", "C", "Fe"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a package that has more of them
                basis.load(name, element)
        except (BasisNotFoundError, KeyError):
            continue
        return
    raise InvalidInputError(
        key="basis",
        value=name,
        expected="a basis set of PySCF, such as def2-TZVP",
        suggestion=nearest(name, _USUAL_BASES, fold=_folded)
        or nearest(name, basis.ALIAS, fold=_folded),
    )


def _folded(name: str) -> str:
    """Normalise a name: upper case, no hyphens, zeros for the letter O."""
    return name.lower().replace("-", "").replace("_", "").replace("o", "0")


def _polarizability(field: Any) -> np.ndarray:
    """Return the static polarizability [atomic units], ``[3, 3]``.

    Solves the coupled-perturbed Kohn–Sham equations of a uniform electric field,
    (ε_a − ε_i) U_ai + v_ai[U] = −r_ai; α = −tr(r D¹) with the first-order density D¹
    (Gerratt, Mills, J. Chem. Phys. 49, 1719 (1968)).
    """
    from pyscf.lib import krylov

    dipole = field.mol.intor_symmetric("int1e_r", comp=3)
    occupied = field.mo_coeff[:, field.mo_occ > 0]
    empty = field.mo_coeff[:, field.mo_occ == 0]
    gap = field.mo_energy[field.mo_occ == 0][:, None] - field.mo_energy[field.mo_occ > 0]
    response = field.gen_response(hermi=1)

    def density(rotation: np.ndarray) -> np.ndarray:
        half = 2.0 * empty @ rotation.reshape(-1, *gap.shape) @ occupied.T
        return half + half.transpose(0, 2, 1)

    def coupling(rotation: np.ndarray) -> np.ndarray:
        potential = empty.T @ response(density(rotation)) @ occupied
        return (potential / gap).reshape(rotation.shape)

    source = -(empty.T @ dipole @ occupied) / gap
    rotation = krylov(coupling, source.reshape(3, -1), tol=1e-8, max_cycle=50)
    residual = rotation + coupling(rotation) - source.reshape(3, -1)
    if np.abs(residual).max() > 1e-4 * np.abs(source).max():
        raise ConvergenceError("the coupled-perturbed equations of the polarizability diverged")
    alpha = -np.einsum("xpq,ypq->xy", dipole, density(rotation))
    return 0.5 * (alpha + alpha.T)


def _finite_field(field: Any, step: float = 1e-3) -> np.ndarray:
    """Return the static polarizability by finite fields [atomic units], ``[3, 3]``.

    For non-local correlation (VV10), whose second derivative PySCF lacks. A field F enters
    the one-electron Hamiltonian as +F·r.
    """
    core = field.get_hcore()
    r = field.mol.intor_symmetric("int1e_r", comp=3)

    def dipole(axis: int, sign: int) -> np.ndarray:
        perturbed = field.copy()
        perturbed.get_hcore = lambda *_: core + sign * step * r[axis]
        perturbed.kernel(field.make_rdm1())
        if not perturbed.converged:
            raise ConvergenceError("no self-consistency in the field of the polarizability")
        return np.asarray(perturbed.dip_moment(unit="AU", verbose=0))

    return finite_field_polarizability(dipole, step)


def _pyscf() -> Any:
    try:
        import pyscf
    except ImportError as error:
        task = "labelling with density-functional theory"
        raise MissingExtraError.of("dft", task, "PySCF") from error
    return pyscf
