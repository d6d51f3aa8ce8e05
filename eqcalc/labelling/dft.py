# SPDX-License-Identifier: MIT
"""Density-functional labels through PySCF: gradients and polarizabilities are analytic."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import ase
import numpy as np
from ase.units import Bohr, Hartree

from eqcalc.labelling.method import ConvergenceError
from eqcalc.quantities import ordered


@dataclass(frozen=True)
class PySCF:
    """Restricted Kohn–Sham energies, forces, dipoles and polarizabilities.

    Parameters
    ----------
    functional
        Exchange-correlation functional, in PySCF's spelling.
    basis
        Gaussian basis set.
    quantities
        What :meth:`label` returns by default.
    density_fitting
        Fit Coulomb and exchange integrals, as :attr:`level_of_theory` states.
    grid_level
        Density of the integration grid, 0 to 9. Its dependence on the nuclei
        enters the gradient, so that forces sum to zero.
    energy_tolerance
        Convergence of the self-consistent energy [Hartree].
    """

    functional: str = "PBE0"
    basis: str = "def2-TZVP"
    quantities: tuple[str, ...] = ("energy", "forces", "dipole", "polarizability")
    density_fitting: bool = True
    grid_level: int = 3
    energy_tolerance: float = 1e-9

    def __post_init__(self) -> None:
        known = ("energy", "forces", "dipole", "polarizability")
        unknown = set(self.quantities) - set(known)
        if unknown:
            raise ValueError(f"PySCF labels {', '.join(known)}; got {', '.join(unknown)}")
        object.__setattr__(self, "quantities", ordered(self.quantities))

    @property
    def name(self) -> str:
        """Name of the method."""
        return f"{self.functional}/{self.basis}"

    @property
    def level_of_theory(self) -> str:
        """What the labels are."""
        return self.name + (" (density fitting)" if self.density_fitting else "")

    @property
    def version(self) -> str:
        """Program and version."""
        return f"PySCF {_pyscf().__version__}"

    def settings(self) -> dict[str, Any]:
        """Return every setting that changes the labels."""
        return {**asdict(self), "quantities": list(self.quantities)}

    def label(
        self, atoms: ase.Atoms, quantities: tuple[str, ...] | None = None
    ) -> dict[str, np.ndarray]:
        """Return `quantities` of the isolated molecule `atoms`; see :class:`Method`."""
        wanted = ordered(self.quantities if quantities is None else quantities)
        if atoms.pbc.any():
            raise ValueError("PySCF: only isolated molecules can be labelled, got a periodic cell")
        field = self._converged_field(atoms)
        labels: dict[str, np.ndarray] = {}
        for name in wanted:
            if name == "energy":
                labels[name] = np.asarray(field.e_tot * Hartree)
            elif name == "forces":
                gradient = field.nuc_grad_method()
                gradient.verbose = 0
                gradient.grid_response = True
                labels[name] = -gradient.kernel() * (Hartree / Bohr)
            elif name == "dipole":
                labels[name] = np.asarray(field.dip_moment(unit="AU", verbose=0)) * Bohr
            else:
                # atomic units e²a₀²/Hartree
                labels[name] = _polarizability(field) * (Bohr**2 / Hartree)
        return labels

    def _converged_field(self, atoms: ase.Atoms) -> Any:
        pyscf = _pyscf()
        charge = float(atoms.info.get("charge", 0.0))
        electrons = int(atoms.numbers.sum()) - round(charge)
        if charge != round(charge) or electrons % 2:
            raise ValueError(
                f"PySCF: {atoms.get_chemical_formula()} with charge {charge:g} has {electrons} "
                "electrons; only closed shells (an even number) are supported"
            )
        # the origin of the dipole is the centre of mass
        positions = atoms.positions - atoms.get_center_of_mass()
        from pyscf import dft, gto

        molecule = gto.M(
            atom=list(zip(atoms.get_chemical_symbols(), positions / Bohr, strict=True)),
            unit="Bohr",
            basis=self.basis,
            charge=round(charge),
            verbose=0,
        )
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


def _polarizability(field: Any, tolerance: float = 1e-8) -> np.ndarray:
    """Return the static polarizability [atomic units], ``[3, 3]``.

    Coupled-perturbed Kohn–Sham equations for the field's perturbation r of the
    electrons: (ε_a − ε_i) U_ai + v_ai[U] = −r_ai, then α = −tr(r D¹) with the
    first-order density D¹ (Gerratt, Mills, J. Chem. Phys. 49, 1719 (1968)).
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
    rotation = krylov(coupling, source.reshape(3, -1), tol=tolerance, max_cycle=50)
    residual = rotation + coupling(rotation) - source.reshape(3, -1)
    if np.abs(residual).max() > 1e-4 * np.abs(source).max():
        raise ConvergenceError("the coupled-perturbed equations of the polarizability diverged")
    alpha = -np.einsum("xpq,ypq->xy", dipole, density(rotation))
    return 0.5 * (alpha + alpha.T)


def _pyscf() -> Any:
    try:
        import pyscf
    except ImportError as error:
        raise ImportError(
            "labelling with density-functional theory needs PySCF; "
            "install it with `pip install 'eqcalc[dft]'`"
        ) from error
    return pyscf
