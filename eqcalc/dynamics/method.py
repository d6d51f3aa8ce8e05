# SPDX-License-Identifier: MIT
"""What every kind of dynamics is: a name, a thermostat, and how to integrate it."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from torch import Tensor

from eqcalc.dynamics.integrator import Integrator
from eqcalc.dynamics.ring_polymer import ring_frequencies
from eqcalc.dynamics.thermostats.langevin import Ensemble, Thermostat
from eqcalc.units import FEMTOSECOND


@dataclass(frozen=True)
class Method:
    """A kind of dynamics and its parameters."""

    #: Name in files, messages and on the command line.
    name: ClassVar[str]
    #: Ring polymers, or a classical molecule.
    ring_polymer: ClassVar[bool]
    #: Whether the thermostat acts on the motion of the centroid.
    thermostats_centroid: ClassVar[bool]
    #: Whether the thermostat sets a molecule at rest into rotation; one on the internal modes
    #: of a ring polymer does, because they exchange angular momentum with the centroid.
    excites_rotation: ClassVar[bool]

    def thermostat(self, ensemble: Ensemble) -> Thermostat | None:
        """Return the thermostat of one step, None for constant energy."""
        return None

    def pace(self, ensemble: Ensemble) -> Tensor | None:
        """Return by how much the time of each ring mode is faster, None for not at all."""
        return None

    def integrator(
        self,
        *,
        timestep: float,
        temperature: float,
        n_beads: int,
        masses: Tensor,
        translation: str = "none",
        freedom: int | None = None,
        propagator: str = "cayley",
    ) -> Integrator:
        """Return the integrator of this kind of dynamics.

        Parameters
        ----------
        timestep
            [fs].
        temperature
            [K].
        n_beads
            Number of beads.
        masses
            ``[n_atoms]`` [amu].
        translation
            ``"none"``: the thermostat leaves the total momentum alone.
        freedom
            Degrees of freedom of the centroid. None: all but the translation, if that is
            ``"none"``.
        propagator
            ``"cayley"`` or ``"exact"``.

        Raises
        ------
        ValueError
            The number of beads does not fit the method.
        """
        if self.ring_polymer and n_beads < 2:
            raise ValueError(
                f"{self.name} is ring-polymer dynamics and needs at least 2 beads, got "
                f"{n_beads}; the classical methods are {_names(ring_polymer=False)}"
            )
        if not self.ring_polymer and n_beads != 1:
            raise ValueError(
                f"{self.name} is classical dynamics of one bead, got {n_beads} beads; the "
                f"ring-polymer methods are {_names(ring_polymer=True)}"
            )
        if freedom is None:
            freedom = 3 * len(masses) - (3 if translation == "none" else 0)
        ensemble = Ensemble(
            frequencies=ring_frequencies(n_beads, temperature),
            timestep=timestep * FEMTOSECOND,
            masses=masses.double().view(-1, 1).cpu(),
            temperature=temperature,
            translation=translation,
            freedom=freedom,
        )
        thermostat = self.thermostat(ensemble)
        return Integrator.build(
            timestep=ensemble.timestep,
            temperature=temperature,
            n_beads=n_beads,
            masses=masses,
            thermostat=None if thermostat is None else thermostat.to(masses.device),
            propagator=propagator,
            pace=self.pace(ensemble),
        )


def _names(*, ring_polymer: bool) -> str:
    kinds = (kind for kind in Method.__subclasses__() if kind.ring_polymer is ring_polymer)
    return ", ".join(kind.name for kind in kinds)


def require_positive(method: Method) -> None:
    """Raise ValueError for a parameter of a method that is not positive."""
    for item in fields(method):
        value = getattr(method, item.name)
        if not value > 0:
            raise ValueError(f"{method.name}: {item.name} must be positive, got {value}")
