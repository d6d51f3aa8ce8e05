# SPDX-License-Identifier: MIT
"""Spectra of a committee of models, with the disagreement of the models beside the sampling."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.models.checkpoint import load_model
from eqcalc.quantities import DIPOLE, POLARIZABILITY
from eqcalc.runtime import EagerEvaluator, Evaluator
from eqcalc.spectra import CommitteeSpectrum, Spectrum, combine_committee, infrared, raman
from eqcalc.trajectory import Trajectory

__all__ = [
    "committee_of_trajectories",
    "committee_on_trajectory",
    "reevaluated",
    "write_committee",
]

#: Geometries evaluated in one call.
_BATCH = 4096

#: What is computed of a series: the quantity, its unit and the spectrum.
_KINDS: dict[str, tuple[str, str, Callable[..., Spectrum]]] = {
    "infrared": (DIPOLE.name, DIPOLE.unit, infrared),
    "raman": (
        POLARIZABILITY.name,
        POLARIZABILITY.unit,
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
    """Return the observable with the geometries of all beads."""
    recorded = trajectory.observables()
    classical = ("positions",) if trajectory.n_beads == 1 else ()
    found = [name for name in (*classical, "bead_positions") if name in recorded]
    if not found:
        raise ValueError(
            f"{trajectory.path} has no positions of {'the atoms' if classical else 'the beads'}; "
            "record them as often as the dipole"
        )
    return found[0]


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
    """
    quantity, unit, function = _kind(spectrum)
    known = {
        "interval": trajectory.observable(
            _geometries(trajectory), slice(0, 1), slice(0, 1)
        ).interval,
        "temperature": trajectory.temperature,
        "method": trajectory.method,
        "timestep": trajectory.timestep,
        "n_beads": trajectory.n_beads,
        "unit": unit,
        **options,
    }
    found = [function(reevaluated(trajectory, member, quantity), **known) for member in members]
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
    _, _, function = _kind(spectrum)
    found = [function(trajectory, **options) for trajectory in trajectories]
    return combine_committee(found, common_trajectory=False)


def write_committee(
    trajectory: Trajectory,
    models: Sequence[str | Path],
    folder: str | Path,
    *,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    **options: Any,
) -> str:
    """Write the infrared spectrum of a committee on a trajectory; return its bands as text.

    Parameters
    ----------
    trajectory
        See :func:`committee_on_trajectory`.
    models
        Files of at least two models.
    folder
        Receives ``committee.png``, the mean with the sampling error as
        ``committee-mean.h5`` and each member as ``committee-1.h5``, ….
    limits, reversed_axis
        Of the figure.
    options
        See :func:`eqcalc.spectra.infrared`.
    """
    numbers = torch.tensor(trajectory.numbers)
    members = [EagerEvaluator(load_model(path), numbers) for path in models]
    found = committee_on_trajectory(trajectory, members, **options)
    folder = Path(folder)
    found.plot(folder / "committee.png", limits=limits, reversed_axis=reversed_axis)
    found.mean.write(folder / "committee-mean.h5")
    for number, member in enumerate(found.members, 1):
        member.write(folder / f"committee-{number}.h5")
    lines = [
        f"infrared bands of a committee of {len(members)} on this trajectory: area, error of the "
        "sampling, disagreement of the models [km/mol]"
    ]
    for band in found.mean.bands(lower=100.0):
        area = found.integrate(band.lower, band.upper)
        lines.append(
            f"  {band.lower:6.0f} – {band.upper:6.0f} cm⁻¹   {area.value:8.1f}  "
            f"± {area.sampling:.1f} (sampling)  ± {area.model:.1f} (models)"
        )
    return "\n".join(lines)


def _kind(spectrum: str) -> tuple[str, str, Callable[..., Spectrum]]:
    try:
        return _KINDS[spectrum]
    except KeyError:
        raise ValueError(f"spectrum: expected 'infrared' or 'raman', got {spectrum!r}") from None
