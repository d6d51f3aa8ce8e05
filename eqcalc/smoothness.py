# SPDX-License-Identifier: MIT
r"""Whether an energy is smooth enough for anharmonic vibrations, mode by mode.

Along the dimensionless normal coordinate q = Q√(ω/ħ) of a mode the energy is

    V(q) = ½ω q² + φ_kkk q³/6 + φ_kkkk q⁴/24 + …,

with all constants in cm⁻¹. The derivatives at the minimum are taken twice: *local* ones from
forces at \|q\| ≤ 0.05, and those of the *grid* from the energies on 0.15 ≤ \|q\| ≤ 1.5, the range
of the lowest vibrational states. For a smooth energy they agree. A network may have features
narrower than that range, of which energies and forces show nothing, but local derivatives all:
then perturbation theory with them is wrong, and what dynamics visits is given by the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from eqcalc.facts import aligned, facts_table
from eqcalc.normal_modes import NormalModes, require_minimum
from eqcalc.units import WAVENUMBER_PER_EV

#: Largest difference of the curvatures, and of φ_kkkk/16, of a trusted mode [cm⁻¹].
TOLERANCE = 5.0

#: Dimensionless coordinates of the forces for local derivatives, multiples of the step.
_STEP = 0.025
_LOCAL = _STEP * np.array([-2.0, -1.0, 1.0, 2.0])
#: Dimensionless coordinates of the energies, of one sign.
_GRID = 0.15 * np.arange(1, 11)
#: Powers of q in the fit of the even part; the constant takes up what happens at \|q\| < 0.15.
_POWERS = np.array([0, 2, 4, 6])

#: Energies ``[n]`` eV and forces ``[n, n_atoms, 3]`` eV/Å of positions ``[n, n_atoms, 3]`` Å.
EnergyAndForces = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True, repr=False)
class Smoothness:
    """Curvatures and quartic constants of each mode [cm⁻¹], local and on the grid.

    Parameters
    ----------
    local_curvature, grid_curvature
        ∂²V/∂q² at the minimum, ``[n_modes]``; the wavenumber of the mode if harmonic.
    local_quartic, grid_quartic
        φ_kkkk = ∂⁴V/∂q⁴ at the minimum, ``[n_modes]``.
    """

    local_curvature: np.ndarray
    grid_curvature: np.ndarray
    local_quartic: np.ndarray
    grid_quartic: np.ndarray

    @property
    def curvature_deviation(self) -> np.ndarray:
        """Difference of the curvatures, local less grid [cm⁻¹]."""
        return np.asarray(self.local_curvature - self.grid_curvature)

    @property
    def quartic_deviation(self) -> np.ndarray:
        """Difference of φ_kkkk/16, local less grid [cm⁻¹]: what it adds to x_kk."""
        return np.asarray((self.local_quartic - self.grid_quartic) / 16.0)

    @property
    def trusted(self) -> np.ndarray:
        """Whether local derivatives of a mode are those of its vibration, ``[n_modes]``."""
        deviations = np.abs([self.curvature_deviation, self.quartic_deviation])
        return np.asarray((deviations <= TOLERANCE).all(axis=0))

    def __len__(self) -> int:
        return len(self.local_curvature)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} modes; {self.summary()})"

    def _repr_html_(self) -> str:
        """Return what notebooks show."""
        rows = {f"mode {cells[0]}": ", ".join(cells[1:]) for cells in self._cells()}
        heads = "ν̃ local, grid; φ_kkkk local, grid; (φ_kkkk local − grid)/16 [cm⁻¹]"
        return facts_table(f"{self.summary()}. {heads}", rows)

    def summary(self) -> str:
        """Return in a line which modes are trusted."""
        doubtful = [str(k + 1) for k in np.flatnonzero(~self.trusted)]
        if not doubtful:
            return "anharmonic results may be trusted for all modes"
        return f"anharmonic results may be trusted for all modes but {', '.join(doubtful)}"

    def table(self) -> str:
        """Return the constants of each mode as text."""
        heads = ["mode", "ν̃/cm⁻¹", "ν̃/cm⁻¹", "φ_kkkk/cm⁻¹", "φ_kkkk/cm⁻¹", "Δφ_kkkk/16", ""]
        units = ["", "local", "grid", "local", "grid", "cm⁻¹", "trusted"]
        return aligned([heads, units, *self._cells()])

    def _cells(self) -> list[list[str]]:
        columns = (
            *(map("{:.1f}".format, c) for c in (self.local_curvature, self.grid_curvature)),
            *(map("{:.0f}".format, c) for c in (self.local_quartic, self.grid_quartic)),
            map("{:.1f}".format, self.quartic_deviation),
            ("yes" if good else "no" for good in self.trusted),
        )
        return [[str(k + 1), *cells] for k, cells in enumerate(zip(*columns, strict=True))]


def mode_smoothness(modes: NormalModes, energy_and_forces: EnergyAndForces) -> Smoothness:
    """Compare local derivatives of an energy with those of a finite range, mode by mode.

    Parameters
    ----------
    modes
        Normal modes of a minimum.
    energy_and_forces
        The energy, in double precision; called once, with all displaced geometries.

    Raises
    ------
    NotAMinimumError
        A wavenumber is imaginary or zero.
    """
    require_minimum(modes)
    q = np.concatenate([_LOCAL, -_GRID, _GRID])
    steps = modes.steps
    displaced = modes.positions + q[:, None, None] * steps[:, None]
    energies, forces = energy_and_forces(displaced.reshape(-1, *modes.positions.shape))
    forces = np.reshape(forces, displaced.shape)[:, : len(_LOCAL)]
    slopes = -WAVENUMBER_PER_EV * np.einsum("kqia,kia->kq", forces, steps)
    energies = WAVENUMBER_PER_EV * np.reshape(energies, displaced.shape[:2])[:, len(_LOCAL) :]

    # central differences of the slopes of fourth and second order
    local_curvature = slopes @ np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * _STEP)
    local_quartic = slopes @ np.array([-1.0, 2.0, -2.0, 1.0]) / (2.0 * _STEP**3)
    backward, forward = np.split(energies - energies.min(axis=1, keepdims=True), 2, axis=1)
    powers = _GRID[:, None] ** _POWERS
    even = np.linalg.lstsq(powers, 0.5 * (backward + forward).T, rcond=None)[0]
    return Smoothness(local_curvature, 2.0 * even[1], local_quartic, 24.0 * even[2])
