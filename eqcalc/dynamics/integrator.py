# SPDX-License-Identifier: MIT
"""One time step of classical or ring-polymer dynamics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from eqcalc.dynamics.cell_rescaling import Barostat
from eqcalc.dynamics.ring_polymer import (
    Propagator,
    from_modes,
    ring_frequencies,
    ring_transform,
    to_modes,
)
from eqcalc.dynamics.state import State, evaluate
from eqcalc.dynamics.thermostats.langevin import Thermostat, kinetic_energy

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator


@dataclass(frozen=True, eq=False)
class Integrator:
    """The symmetric splitting B C O C B of ring-polymer dynamics.

    ::

        B   p_j ← p_j + (Δt/2) F(r_j)                    force on every bead
        C   (x̃_k, p̃_k) ← half a step of the free ring    see Propagator
        O   p̃_k ← thermostat over the whole step         see thermostats
        C, B as before, F at the new positions

    With one bead C is free flight over Δt/2, and the scheme is BAOAB (Leimkuhler and
    Matthews, Appl. Math. Res. Express 2013, 34). Without a thermostat the two C join to
    one, and it is velocity Verlet for one bead and ring-polymer dynamics for more.
    Configurations are sampled with an error of order Δt² that vanishes for a harmonic
    potential with one bead and, with the Cayley propagator, is independent of the number
    of beads (Korol et al., J. Chem. Phys. 152, 104102 (2020)).

    With a scaling s_k the time of ring mode k runs s_k times faster: B adds s_k F̃_k and C
    rotates by s_k times the angle, which leaves the energy and the canonical distribution
    as they are. It is the same as giving the mode the mass m/s_k² with momenta p̃_k/s_k,
    as centroid molecular dynamics does. s_0 is 1, or 0 to hold the centroid.

    With a barostat V (one bead) the step is O B C V C B, so that V is in the middle of a reversible
    step that O is not part of; see :mod:`eqcalc.dynamics.cell_rescaling`.

    ======  ===========================  =========================================
    symbol  variable                     unit
    ======  ===========================  =========================================
    r_j     ``state.positions``          Å, ``[n_replicas, n_beads, n_atoms, 3]``
    p_j     ``state.momenta``            amu·Å/ASE time, same shape
    F       ``state.forces``             eV/Å, same shape
    Δt      ``timestep``                 ASE time
    C       ``transform``                1, ``[n_beads, n_beads]``
    ω_k     ``frequencies``              1/ASE time, ``[n_beads]``
    s_k     ``mode_scaling``             1, ``[n_beads, 1, 1]``; None: all 1
    m       ``masses``                   amu, ``[n_atoms, 1]``
    ======  ===========================  =========================================
    """

    timestep: float
    temperature: float
    masses: Tensor
    transform: Tensor
    frequencies: Tensor
    half: Propagator
    whole: Propagator
    thermostat: Thermostat | None
    mode_scaling: Tensor | None
    barostat: Barostat | None = None

    @classmethod
    def build(
        cls,
        *,
        timestep: float,
        temperature: float,
        n_beads: int,
        masses: Tensor,
        thermostat: Thermostat | None = None,
        barostat: Barostat | None = None,
        propagator: str = "cayley",
        mode_scaling: Tensor | None = None,
    ) -> Integrator:
        """Build an integrator.

        Parameters
        ----------
        timestep
            Δt [ASE time].
        temperature
            Physical temperature [K], which fixes the springs.
        n_beads
            P.
        masses
            ``[n_atoms]`` [amu].
        thermostat
            Applied in the middle of the step; none for microcanonical dynamics.
        barostat
            None at constant volume; only for one bead.
        propagator
            ``"cayley"`` or ``"exact"``, see :class:`~eqcalc.dynamics.ring_polymer.Propagator`.
        mode_scaling
            s_k, ``[n_beads]``; None for the dynamics of beads with the physical mass.
        """
        device = masses.device
        frequencies = ring_frequencies(n_beads, temperature)
        return cls(
            timestep=timestep,
            temperature=temperature,
            masses=masses.double().view(-1, 1),
            transform=ring_transform(n_beads).to(device),
            frequencies=frequencies.to(device),
            half=Propagator.build(frequencies, timestep, propagator, 0.5, mode_scaling).to(device),
            whole=Propagator.build(frequencies, timestep, propagator, 1.0, mode_scaling).to(device),
            thermostat=thermostat,
            barostat=barostat,
            mode_scaling=None if mode_scaling is None else mode_scaling.to(device).view(-1, 1, 1),
        )

    @property
    def n_beads(self) -> int:
        """Number of beads."""
        return len(self.transform)

    @property
    def noise_sets(self) -> int:
        """Number of standard normals per momentum and step; the last are for the barostat."""
        of_thermostat = 0 if self.thermostat is None else self.thermostat.noise_sets
        return of_thermostat + (self.barostat is not None)

    def step(
        self,
        state: State,
        evaluator: Evaluator,
        noise: Tensor | None = None,
        quantities: Collection[str] = (),
    ) -> State:
        """Advance the state by one step, with one call of the evaluator.

        Parameters
        ----------
        state
            Its forces must be those at its positions.
        evaluator
            The potential.
        noise
            ``[n_replicas, noise_sets, n_beads, n_atoms, 3]`` standard normals for the
            thermostat and barostat.
        quantities
            Quantities to evaluate at the new positions besides energy and forces.
        """
        if noise is None and (self.thermostat is not None or self.barostat is not None):
            raise ValueError("a thermostatted step needs noise")
        if self.barostat is not None and noise is not None:
            return self._isobaric_step(state, evaluator, self.barostat, noise, quantities)
        momenta = self._kick(state.momenta, state.forces)
        x, p = to_modes(self.transform, state.positions), to_modes(self.transform, momenta)
        heat, auxiliary = state.heat, state.auxiliary
        if self.thermostat is None or noise is None:
            x, p = self.whole(x, p, self.masses)
        else:
            x, p = self.half(x, p, self.masses)
            p, auxiliary, taken = self.thermostat(p, auxiliary, noise)
            heat = heat + taken
            x, p = self.half(x, p, self.masses)
        positions, momenta = from_modes(self.transform, x), from_modes(self.transform, p)
        energies, forces, properties = evaluate(evaluator, positions, quantities)
        return State(
            positions=positions,
            momenta=self._kick(momenta, forces),
            forces=forces,
            potential_energies=energies,
            heat=heat,
            auxiliary=auxiliary,
            cell=state.cell,
            stress=state.stress,
            step=state.step + 1,
            properties=properties,
        )

    def _isobaric_step(
        self,
        state: State,
        evaluator: Evaluator,
        barostat: Barostat,
        noise: Tensor,
        quantities: Collection[str],
    ) -> State:
        """Take the step O B C V C B of one bead."""
        p, auxiliary, heat = state.momenta, state.auxiliary, state.heat
        if self.thermostat is not None:
            p, auxiliary, taken = self.thermostat(p, auxiliary, noise[:, :-1])
            heat = heat + taken
        p = self._kick(p, state.forces)
        force = barostat.force(p, state.stress, state.cell)
        x, p = self.half(state.positions, p, self.masses)
        x, p, cell = barostat(x, p, state.cell, force, noise[:, -1])
        x, p = self.half(x, p, self.masses)
        energies, forces, properties = evaluate(evaluator, x, quantities, cell)
        stress = properties["stress"].mean(dim=1)
        later = barostat.force(p, stress, cell)
        return State(
            positions=x,
            momenta=self._kick(p, forces),
            forces=forces,
            potential_energies=energies,
            heat=heat + barostat.heat((state.cell, force), (cell, later)),
            auxiliary=auxiliary,
            cell=cell,
            stress=stress,
            step=state.step + 1,
            properties=properties,
        )

    def _kick(self, momenta: Tensor, forces: Tensor) -> Tensor:
        """Return the momenta after half a time step of the forces."""
        return torch.add(momenta, self._scaled(forces), alpha=0.5 * self.timestep)

    def _scaled(self, beads: Tensor) -> Tensor:
        """Multiply each normal mode of ``[n_replicas, n_beads, n_atoms, 3]`` by its s_k."""
        if self.mode_scaling is None:
            return beads
        return from_modes(self.transform, self.mode_scaling * to_modes(self.transform, beads))

    def velocities(self, momenta: Tensor) -> Tensor:
        """Return the velocities of the beads, same shape as the momenta [Å/ASE time]."""
        return self._scaled(momenta) / self.masses

    def spring_energy(self, positions: Tensor) -> Tensor:
        """Return Σ_j ½ m ω_P² (r_j − r_{j+1})², ``[n_replicas]`` [eV]."""
        if self.n_beads == 1:
            return positions.new_zeros(len(positions))
        modes = to_modes(self.transform, positions)
        stiffness = self.masses * self.frequencies.square().view(-1, 1, 1)
        return 0.5 * (stiffness * modes.square()).sum(dim=(1, 2, 3))

    def conserved_energy(self, state: State) -> Tensor:
        """Return the conserved quantity (H_P + heat)/P.

        ``[n_replicas]`` [eV], per bead; for one bead it is the total energy plus the heat
        absorbed by the thermostat and, at constant pressure, the barostat and its energy.
        """
        energy = (
            kinetic_energy(state.momenta, self.masses)
            + self.spring_energy(state.positions)
            + state.potential_energies.sum(dim=1)
            + state.heat
        )
        if self.thermostat is not None:
            energy = energy + self.thermostat.energy(state.auxiliary)
        if self.barostat is not None:
            energy = energy + self.barostat.energy(state.cell)
        return energy / self.n_beads
