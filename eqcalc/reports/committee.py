# SPDX-License-Identifier: MIT
"""Spectra of a committee of models, with the disagreement of the models beside the sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.models.checkpoint import load_model
from eqcalc.quantities import DIPOLE, POLARIZABILITY
from eqcalc.runtime import Evaluator, eager_evaluator
from eqcalc.spectra import (
    CommitteeSpectrum,
    Spectrum,
    combine_committee,
    infrared,
    plot_committee,
    raman,
    save_figure,
    write_spectrum,
)
from eqcalc.spectra.estimation import HIGHEST_VIBRATION, highest_wavenumber
from eqcalc.trajectory import TimeSeries, Trajectory
from eqcalc.validation import located

#: Geometries evaluated in one call.
_BATCH = 4096

#: The quantity and the function of each kind of spectrum.
_KINDS: dict[str, tuple[str, Callable[..., Spectrum]]] = {
    "infrared": (DIPOLE.name, infrared),
    "raman": (
        POLARIZABILITY.name,
        lambda *data, **options: raman(*data, **options).activity(),
    ),
}


def reevaluated(trajectory: Trajectory, evaluator: Evaluator, quantity: str) -> np.ndarray:
    """Return a quantity along the geometries of a trajectory, averaged over the beads.

    Parameters
    ----------
    trajectory
        With ``"bead_positions"``, or ``"positions"`` of classical nuclei.
    evaluator
        Any model of the same molecule.
    quantity
        ``"dipole"`` or ``"polarizability"``.

    Returns
    -------
    ``[n_replicas, n_frames, ...]`` in the unit of the quantity.
    """
    name = _geometries(trajectory)
    results = []
    for replica in range(trajectory.n_replicas):
        positions = trajectory.observable(name, slice(replica, replica + 1)).values[0]
        n_frames, shape = len(positions), positions.shape[-2:]
        flat = torch.from_numpy(positions.reshape(-1, *shape))
        parts = [evaluator(batch, (quantity,))[quantity].cpu() for batch in flat.split(_BATCH)]
        values = torch.cat(parts).numpy()
        results.append(values.reshape(n_frames, -1, *values.shape[1:]).mean(axis=1))
    return np.stack(results)


def _geometries(trajectory: Trajectory) -> str:
    """Return the observable with the geometries of all beads, the one recorded most often."""
    recorded = trajectory.observables()
    classical = ("positions",) if trajectory.n_beads == 1 else ()
    found = [name for name in (*classical, "bead_positions") if name in recorded]
    if not found:
        raise ValueError(
            f"{trajectory.path} has no positions of {_atoms(trajectory)}; record them as often as "
            f"the dipole: {_advice(trajectory, 'dipole')}"
        )
    return min(found, key=lambda name: _interval(trajectory, name))


def _atoms(trajectory: Trajectory) -> str:
    return "the atoms" if trajectory.n_beads == 1 else "all beads"


def _interval(trajectory: Trajectory, name: str) -> float:
    """Return the time between frames of an observable [fs]."""
    return trajectory.observable(name, slice(0, 1), slice(0, 1)).interval


def _own_interval(trajectory: Trajectory, quantity: str) -> float | None:
    """Return the time between frames of a quantity, or of its rate [fs]."""
    for name in (quantity, f"{quantity}_rate"):
        if name in trajectory.observables():
            return _interval(trajectory, name)
    return None


def _advice(trajectory: Trajectory, quantity: str) -> str:
    """Return how to simulate for a committee."""
    interval = _own_interval(trajectory, quantity) or trajectory.timestep
    if "engine" in trajectory.settings:
        return f"eqcalc ipi input --bead-positions {interval:g}"
    if trajectory.n_beads == 1:
        return "eqcalc simulate --positions"
    return f"eqcalc simulate --bead-positions {interval:g}"


def _check_interval(trajectory: Trajectory, quantity: str) -> None:
    """Refuse geometries so far apart that vibrations are folded back."""
    name = _geometries(trajectory)
    interval = _interval(trajectory, name)
    reach = highest_wavenumber(interval)
    own = _own_interval(trajectory, quantity)
    if own is not None and interval > 1.001 * own and reach < HIGHEST_VIBRATION:
        raise ValueError(
            f"{trajectory.path}: positions of {_atoms(trajectory)} are recorded every "
            f"{interval:g} fs, the {quantity} every {own:g} fs; in the spectrum of a committee "
            f"vibrations above {reach:.0f} cm⁻¹ would be folded back to wrong wavenumbers. Record "
            f"the positions as often: {_advice(trajectory, quantity)}"
        )


@dataclass(frozen=True)
class _Reevaluated:
    """A trajectory as it were if another model had given the property along the same geometries."""

    trajectory: Trajectory
    evaluator: Evaluator
    quantity: str

    @property
    def method(self) -> str:
        return self.trajectory.method

    @property
    def temperature(self) -> float:
        return self.trajectory.temperature

    @property
    def timestep(self) -> float:
        return self.trajectory.timestep

    @property
    def n_beads(self) -> int:
        return self.trajectory.n_beads

    @property
    def numbers(self) -> np.ndarray:
        return self.trajectory.numbers

    @property
    def masses(self) -> np.ndarray:
        return self.trajectory.masses

    @property
    def settings(self) -> dict[str, Any]:
        return self.trajectory.settings

    @property
    def provenance(self) -> dict[str, Any]:
        return {**self.trajectory.provenance, f"{self.quantity}_by": self.evaluator.provenance}

    def observables(self) -> tuple[str, ...]:
        frames = {"positions"} & set(self.trajectory.observables())
        return (self.quantity, *frames)

    def observable(self, name: str, /) -> TimeSeries:
        if name != self.quantity:
            return self.trajectory.observable(name)
        values = reevaluated(self.trajectory, self.evaluator, name)
        unit = {q.name: q.unit for q in (DIPOLE, POLARIZABILITY)}[name]
        interval = _interval(self.trajectory, _geometries(self.trajectory))
        return TimeSeries(values, interval, 0.0, unit)


def committee_on_trajectory(
    trajectory: Trajectory,
    members: Sequence[Evaluator],
    spectrum: str = "infrared",
    **options: Any,
) -> CommitteeSpectrum:
    """Return the spectrum of one trajectory with the properties of every member.

    The geometries are the same for all, so that the spread is that of the
    dipole moments or polarizabilities, and sampling moves all members together.

    Parameters
    ----------
    trajectory
        See :func:`reevaluated`; positions as often as spectra need them.
    members
        At least two models with the property.
    spectrum
        ``"infrared"`` or ``"raman"`` (the activity).
    options
        See :func:`eqcalc.spectra.infrared`.

    Raises
    ------
    ValueError
        There are no positions, or they are recorded so much less often than the
        property that vibrations would appear at wrong wavenumbers.
    """
    quantity, function = _kind(spectrum)
    _check_interval(trajectory, quantity)
    found = [function(_Reevaluated(trajectory, m, quantity), **options) for m in members]
    return combine_committee(found, common_trajectory=True)


def committee_of_trajectories(
    trajectories: Sequence[Trajectory], spectrum: str = "infrared", **options: Any
) -> CommitteeSpectrum:
    """Return the mean spectrum of members that ran trajectories of their own.

    The spread contains what the members disagree in about the potential too;
    the part of it that sampling explains is taken out.

    Parameters
    ----------
    trajectories
        One for each member, with the same settings.
    spectrum, options
        See :func:`committee_on_trajectory`.
    """
    _, function = _kind(spectrum)
    found = [function(trajectory, **options) for trajectory in trajectories]
    return combine_committee(found, common_trajectory=False)


def read_members(trajectory: Trajectory, models: Sequence[str | Path]) -> list[Evaluator]:
    """Return the models of a committee on the molecule of a trajectory.

    Raises
    ------
    ValueError
        There are fewer than two, one has no dipole or does not know an element,
        or the geometries of the trajectory are too far apart.
    """
    if len(models) < 2:
        raise ValueError(f"a committee needs at least two models, got {len(models)}")
    _check_interval(trajectory, DIPOLE.name)
    numbers = torch.tensor(trajectory.numbers)
    members: list[Evaluator] = []
    for path in models:
        with located(file=path):
            member = eager_evaluator(load_model(path), numbers)
        if DIPOLE.name not in member.quantities:
            raise ValueError(f"{path}: a model of {', '.join(member.quantities)}, without a dipole")
        members.append(member)
    return members


def write_committee(
    found: CommitteeSpectrum,
    folder: str | Path,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
) -> list[Path]:
    """Write the spectrum of a committee and return the files.

    Parameters
    ----------
    found
        What to write.
    folder
        Receives ``committee.png``, the mean with the sampling error as
        ``committee-mean.h5`` and each member as ``committee-1.h5``, ….
    limits, reversed_axis
        Of the figure.
    """
    folder = Path(folder)
    drawn = plot_committee(found, limits=limits, reversed_axis=reversed_axis)
    members = enumerate(found.members, 1)
    return [
        save_figure(drawn, folder / "committee.png"),
        write_spectrum(found.mean, folder / "committee-mean.h5"),
        *(write_spectrum(member, folder / f"committee-{number}.h5") for number, member in members),
    ]


def describe_committee(found: CommitteeSpectrum) -> list[str]:
    """Return the infrared bands of a committee on a trajectory, one on a line."""
    lines = [
        f"infrared bands of a committee of {len(found.members)} on this trajectory: area, error of "
        "the sampling, disagreement of the models [km/mol]"
    ]
    for band in found.mean.bands(lower=100.0):
        area = found.integrate(band.lower, band.upper)
        sampling = "" if np.isnan(area.sampling) else f"± {area.sampling:.1f} (sampling)  "
        lines.append(
            f"  {band.lower:6.0f} – {band.upper:6.0f} cm⁻¹   {area.value:8.1f}  "
            f"{sampling}± {area.model:.1f} (models)"
        )
    return lines if len(lines) > 1 else [*lines, "  none above 100 cm⁻¹"]


def _kind(spectrum: str) -> tuple[str, Callable[..., Spectrum]]:
    try:
        return _KINDS[spectrum]
    except KeyError:
        raise ValueError(f"spectrum: expected 'infrared' or 'raman', got {spectrum!r}") from None
