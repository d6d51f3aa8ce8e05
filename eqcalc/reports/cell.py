# SPDX-License-Identifier: MIT
"""The optics of a periodic cell along its trajectory: permittivity, refractive index, absorption.

``ε∞ = 1 + 4π⟨α⟩/V`` is from the recorded polarizability and ``ε(0) = ε∞ + ⟨δM²⟩/(3ε₀Vk_BT)`` from
the fluctuation of the dipole moment; between them lies :class:`eqcalc.spectra.Dielectric`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from eqcalc.facts import with_error
from eqcalc.quantities import DIPOLE, POLARIZABILITY
from eqcalc.spectra import Dielectric, Estimate, Spectrum, dielectric
from eqcalc.spectra.cross_terms import molecules_of_run
from eqcalc.trajectory import Trajectory
from eqcalc.units import AVOGADRO, BOLTZMANN, cell_permittivity
from eqcalc.validation import InvalidInputError

#: 1 amu/Å³ in g/cm³.
_GRAM_PER_CUBIC_CENTIMETRE = 1e24 / AVOGADRO
_SHORT_RANGED = (
    "note: a model with a cutoff has no electrostatics beyond it, so that ε(0) and long-range "
    "order of dipoles are those of a short-ranged liquid"
)


@dataclass(frozen=True)
class CellOptics:
    """The optics of a cell; what is not recorded is None.

    Parameters
    ----------
    dielectric
        α(ν̃)n(ν̃), and what follows from it.
    high_frequency
        ε∞, a third of the trace.
    static
        ε(0), if the dipole moment itself was recorded.
    """

    dielectric: Dielectric
    high_frequency: Estimate | None
    static: Estimate | None

    def spectra(self) -> dict[str, Spectrum]:
        """Return the spectra by the names of their files.

        Those that need ε∞ are left out where it is not known.
        """
        response = self.dielectric
        found = {
            "absorption-times-index": response.absorption,
            "permittivity-imaginary": response.imaginary(),
            "conductivity": response.conductivity(),
        }
        if self.high_frequency is not None:
            found |= {
                "permittivity-real": response.real(),
                "refractive-index": response.refractive_index(),
                "extinction-coefficient": response.extinction_coefficient(),
                "absorption-coefficient": response.absorption_coefficient(),
            }
        return found

    def lines(self) -> list[str]:
        """Return the permittivities as text."""
        parts = [
            f"{name} = {with_error(*value, '.3f')}"
            for name, value in (("ε∞", self.high_frequency), ("ε(0)", self.static))
            if value is not None
        ]
        volume = f"cell of {self.dielectric.volume:.1f} Å³"
        if self.high_frequency is None:
            parts.append(
                "no polarizability is recorded, so that ε∞, and with it n, k and ε′, are unknown"
            )
        return [f"{volume}: {', '.join(parts)}", _SHORT_RANGED]


def cell_optics(trajectory: Trajectory, **options: Any) -> CellOptics:
    """Return the optics of the cell of a trajectory.

    Parameters
    ----------
    trajectory
        Periodic, with the dipole moment or its time derivative.
    options
        See :func:`eqcalc.spectra.dielectric`.

    Raises
    ------
    InvalidInputError
        The trajectory is not periodic.
    """
    volume, recorded = cell_volume(trajectory), trajectory.observables()
    high = None
    if POLARIZABILITY.name in recorded:
        alpha = trajectory.observable(POLARIZABILITY.name).values.mean(axis=1)
        epsilon = np.trace(cell_permittivity(alpha, volume), axis1=-2, axis2=-1) / 3.0
        high = Estimate.of_mean(epsilon)
    response = dielectric(
        trajectory,
        volume=volume,
        high_frequency=1.0 if high is None else high.value,
        **options,
    )
    static = None
    if DIPOLE.name in recorded:
        moment = trajectory.observable(DIPOLE.name).values
        # 1/(3ε₀Vk_BT) as the permittivity of a polarizability ⟨δM²⟩/3k_BT
        square = np.square(moment - moment.mean(axis=(0, 1))).sum(axis=-1).mean(axis=1)
        response_of = square / (3.0 * BOLTZMANN * trajectory.temperature)
        base = 1.0 if high is None else high.value
        static = Estimate.of_mean(base - 1.0 + cell_permittivity(response_of, volume))
    return CellOptics(response, high, static)


def cell_volume(trajectory: Trajectory) -> float:
    """Return the volume [Å³] of the cell of a trajectory; InvalidInputError if it has none."""
    if trajectory.cell is None:
        raise InvalidInputError(
            "is of a molecule", file=trajectory.path, key="cell", expected="a periodic system"
        )
    return abs(float(np.linalg.det(trajectory.cell)))


def mean_density(trajectory: Trajectory) -> str:
    """Return mean volume, density and pressure of a run at constant pressure as text.

    Errors are those over the replicas.
    """
    volume = np.abs(np.linalg.det(trajectory.observable("cell").values)).mean(axis=1)
    mass = float(trajectory.masses.sum()) * _GRAM_PER_CUBIC_CENTIMETRE
    values = {
        "volume": (Estimate.of_mean(volume), "Å³"),
        "density": (Estimate.of_mean(mass / volume), "g/cm³"),
    }
    if "pressure" in trajectory.observables():
        pressure = trajectory.observable("pressure").values.mean(axis=1)
        values["pressure"] = (Estimate.of_mean(pressure), "bar")
    return "mean " + ", ".join(
        f"{name} {mean.value:.5g} ± {mean.error:.2g} {unit}"
        for name, (mean, unit) in values.items()
    )


def count_molecules(trajectory: Trajectory) -> int:
    """Return the number of molecules in the cell: groups of bonded atoms where the run starts."""
    return int(molecules_of_run(trajectory).max()) + 1
