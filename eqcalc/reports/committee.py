# SPDX-License-Identifier: MIT
"""Spectra of a committee of models, with model uncertainty and sampling error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.models.checkpoint import load_model
from eqcalc.quantities import DIPOLE, POLARIZABILITY, Quantity
from eqcalc.runtime import Evaluator, eager_evaluator
from eqcalc.spectra import (
    CommitteeSpectrum,
    Series,
    Spectrum,
    combine_committee,
    infrared,
    plot_committee,
    raman,
    save_figure,
    write_spectrum,
)
from eqcalc.spectra.estimation import HIGHEST_VIBRATION
from eqcalc.spectra.estimator.correlation import highest_wavenumber
from eqcalc.spectra.provenance import trajectory_provenance
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError, located, one_of

#: Geometries evaluated in one call.
_BATCH = 4096

#: The quantity and the function of each kind of spectrum.
_KINDS: dict[str, tuple[Quantity, Callable[..., Spectrum]]] = {
    "infrared": (DIPOLE, infrared),
    "raman": (POLARIZABILITY, lambda *data, **options: raman(*data, **options).activity()),
}


def reevaluated(trajectory: Trajectory, evaluator: Evaluator, quantity: Quantity) -> Series:
    """Re-evaluate a quantity with a model along the geometries of a trajectory.

    Parameters
    ----------
    trajectory
        With ``"bead_positions"``, or ``"positions"`` of classical nuclei.
    evaluator
        Any model of the same molecule.
    quantity
        The dipole moment or the polarizability, averaged over the beads.

    Raises
    ------
    InvalidInputError
        There are no positions, or they are recorded so rarely that vibrations would be
        aliased.
    """
    geometries = _geometries(trajectory, quantity.name)
    replicas = []
    for replica in geometries.replicas:
        positions = np.asarray(replica[:])
        flat = torch.from_numpy(positions.reshape(-1, *positions.shape[-2:]))
        parts = [evaluator(b, (quantity.name,))[quantity.name].cpu() for b in flat.split(_BATCH)]
        values = torch.cat(parts).numpy()
        replicas.append(values.reshape(len(positions), -1, *values.shape[1:]).mean(axis=1))
    seen = "positions" in trajectory.observables()
    return replace(
        geometries,
        replicas=replicas,
        quantity=quantity.name,
        unit=quantity.unit,
        positions=Series.from_trajectory(trajectory, "positions") if seen else None,
        provenance=trajectory_provenance(
            trajectory, **{f"{quantity.name}_by": evaluator.provenance}
        ),
    )


def _geometries(trajectory: Trajectory, quantity: str) -> Series:
    """Return the geometries of all beads, if recorded often enough for vibrations."""
    intervals = {name: trajectory.interval(name) for name in trajectory.observables()}
    own = intervals.get(quantity, intervals.get(f"{quantity}_rate"))
    classical = trajectory.n_beads == 1
    atoms = "the atoms" if classical else "all beads"
    wanted = own or trajectory.timestep
    command = f"eqcalc simulate --observables {'' if classical else 'bead_'}positions={wanted:g}"
    if "engine" in trajectory.settings:
        command = f"eqcalc ipi input --bead-positions {wanted:g}"
    advice = f"record them as often as the {quantity}: {command}"
    known = (*(("positions",) if classical else ()), "bead_positions")
    found = [name for name in known if name in intervals]
    if not found:
        problem = f"no positions of {atoms}"
        raise InvalidInputError(problem, file=trajectory.path, key="positions", advice=advice)
    name = min(found, key=intervals.__getitem__)
    interval = intervals[name]
    reach = highest_wavenumber(interval)
    if own is not None and interval > 1.001 * own and reach < HIGHEST_VIBRATION:
        raise InvalidInputError(
            f"positions of {atoms} are recorded every {interval:g} fs, the {quantity} every "
            f"{own:g} fs; in the spectrum of a committee vibrations above {reach:.0f} cm⁻¹ would "
            "be folded back to wrong wavenumbers",
            file=trajectory.path,
            advice=advice,
        )
    return Series.from_trajectory(trajectory, name)


def committee_on_trajectory(
    trajectory: Trajectory,
    members: Sequence[Evaluator],
    spectrum: str = "infrared",
    **options: Any,
) -> CommitteeSpectrum:
    """Return the spectrum of one trajectory with the response properties of every member.

    All members share the geometries, so that the spread is due to the dipole moments or
    polarizabilities only, and the sampling errors are correlated.

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
    InvalidInputError
        See :func:`reevaluated`.
    """
    quantity, function = _KINDS[one_of("spectrum", spectrum, _KINDS)]
    found = [function(reevaluated(trajectory, m, quantity), **options) for m in members]
    return combine_committee(found, common_trajectory=True)


def read_members(trajectory: Trajectory, models: Sequence[str | Path]) -> list[Evaluator]:
    """Return the models of a committee on the molecule of a trajectory.

    Raises
    ------
    InvalidInputError
        There are fewer than two, one does not predict a dipole or support an element, or the
        geometries are recorded too rarely.
    """
    if len(models) < 2:
        raise InvalidInputError(key="models", value=len(models), expected="at least two models")
    _geometries(trajectory, DIPOLE.name)
    numbers = torch.tensor(trajectory.numbers)
    members: list[Evaluator] = []
    for path in models:
        with located(file=path):
            member = eager_evaluator(load_model(path), numbers, cell=trajectory.cell)
            if DIPOLE.name not in member.quantities:
                problem = f"a model of {', '.join(member.quantities)}, without a dipole"
                raise InvalidInputError(problem)
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
        The committee spectrum.
    folder
        Output folder for ``committee.png``, the mean with its sampling error
        (``committee-mean.h5``) and each member (``committee-1.h5``, …).
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
    """Return the infrared bands of a committee on a trajectory, one per line."""
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
