# SPDX-License-Identifier: MIT
"""Write spectra, figures and summaries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eqcalc.facts import with_bracketed_error
from eqcalc.files import file_hash, write_atomically, write_record
from eqcalc.progress import duration
from eqcalc.reports.committee import (
    committee_on_trajectory,
    describe_committee,
    read_members,
    write_committee,
)
from eqcalc.reports.molecular import (
    MolecularSpectra,
    SumRuleCheck,
    check_sum_rule,
    model_of,
    molecular_spectra,
    motion_spectra,
    rotates,
    spectra_of_series,
    term_spectra,
)
from eqcalc.runtime import eager_evaluator
from eqcalc.spectra import (
    Band,
    CommitteeSpectrum,
    HarmonicSpectrum,
    Spectrum,
    convert_infrared,
    plot_infrared_raman,
    plot_spectrum,
    replicas_needed,
    save_figure,
    unresolved_notes,
    write_spectrum,
)
from eqcalc.spectra.provenance import sample
from eqcalc.spectra.quantum_factors import exact_factor, merged_warnings
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidInputError

#: Target relative error of band areas.
_WANTED_ERROR = 0.05
#: Lower limit for bands, to exclude rotation and noise [cm⁻¹].
LOWEST = 100.0
#: Resolution above which neighbouring bands merge [cm⁻¹].
_COARSE = 30.0


# --- files ------------------------------------------------------------------------


def write_molecular_spectra(
    spectra: MolecularSpectra,
    folder: Path,
    stem: str,
    *,
    laser: float = 532.0,
    **scattering: Any,
) -> list[Path]:
    """Write every spectrum as HDF5, CSV and JCAMP-DX and return the files.

    Infrared intensity density and molar absorption coefficient; Raman activity,
    without rotation too if there are bands without it,
    depolarization ratio (not as JCAMP-DX, which cannot represent undefined values),
    cross-section, and the isotropic and anisotropic parts, from which all other Raman
    intensities follow. Of a periodic cell also αn, ε′, ε″, n, k, α and the conductivity.

    Parameters
    ----------
    spectra
        The spectra to write.
    folder, stem
        Output folder, and prefix of the file names.
    laser
        Wavelength of the Raman laser [nm].
    scattering
        Geometry, anti-Stokes, photon counting: see
        :meth:`eqcalc.spectra.RamanSpectrum.cross_section`.
    """
    found: dict[str, Spectrum] = {}
    files = []
    inside = spectra.vibrations
    if inside is not None and inside.infrared is not None:
        found["infrared-without-rotation"] = inside.infrared
    if inside is not None and inside.raman is not None:
        found["raman-without-rotation"] = inside.raman.activity()
    if spectra.infrared is not None:
        found["infrared"] = spectra.infrared
        found["molar-absorption"] = convert_infrared(
            spectra.infrared, "molar absorption coefficient"
        )
    if spectra.raman is not None:
        found["raman"] = spectra.raman.activity()
        found["depolarization-ratio"] = spectra.raman.depolarization_ratio()
        found["raman-cross-section"] = spectra.raman.cross_section(laser, **scattering)
        files.append(write_spectrum(spectra.raman, folder / f"{stem}-raman-parts.h5"))
    if spectra.optics is not None:
        found |= spectra.optics.spectra()
    return files + [
        write_spectrum(spectrum, folder / f"{stem}-{kind}{suffix}")
        for kind, spectrum in found.items()
        for suffix in (".h5", ".csv", ".jdx")
        if suffix != ".jdx" or np.isfinite(spectrum.values).all()
    ]


def write_figure(
    path: Path,
    spectra: Sequence[MolecularSpectra],
    harmonic: HarmonicSpectrum | None = None,
    **options: Any,
) -> Path:
    """Plot infrared and Raman spectra in two panels, with harmonic sticks, and save the figure.

    The options are those of :func:`eqcalc.spectra.plot_infrared_raman`.
    """
    infrared = [s.infrared for s in spectra if s.infrared is not None]
    raman = [s.raman for s in spectra if s.raman is not None]
    for inside in (s.vibrations for s in spectra):
        infrared += [inside.infrared] if inside and inside.infrared else []
        raman += [inside.raman] if inside and inside.raman else []
    return save_figure(plot_infrared_raman(infrared, raman, harmonic, **options), path)


def write_spectra(
    trajectory: Trajectory,
    folder: str | Path,
    *,
    model: str | Path | None = None,
    committee: Sequence[str | Path] | None = None,
    scattering: Mapping[str, Any] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    density_of_states: bool = False,
    groups: Mapping[str, Sequence[int]] | None = None,
    internal: Sequence[str] = (),
    decompose: Sequence[float] | None = None,
    **options: Any,
) -> str:
    """Write the spectra of a trajectory, a figure and a summary; return the summary.

    Files that only an earlier call wrote are removed from the folder and listed after the
    summary.

    Parameters
    ----------
    trajectory
        The trajectory; it may still be growing.
    folder
        Output folder, created if necessary.
    model
        The model used in the simulation, for the sum rule; found automatically for eqcalc's.
    committee
        Models whose disagreement about the dipole is shown: see
        :func:`eqcalc.reports.committee.committee_on_trajectory`.
    scattering
        Laser and geometry of the Raman cross-section: see :func:`write_molecular_spectra`.
    limits
        Wavenumbers shown in the figure [cm⁻¹].
    reversed_axis
        Wavenumbers decrease from left to right in the figure.
    density_of_states, groups, internal
        Spectra of the motion of atoms and of internal coordinates, which are written as well: see
        :func:`eqcalc.reports.molecular.motion_spectra`.
    decompose
        Distances [Å] between the shells of neighbours, none of them for single-molecule and cross
        terms alone, which are written as well: see :func:`eqcalc.reports.molecular.term_spectra`.
    options
        See :func:`molecular_spectra`.
    """
    options = {"frequency_correction": True, **options}
    members = None if committee is None else read_members(trajectory, committee)
    motion = motion_spectra(
        trajectory,
        density_of_states=density_of_states,
        groups=groups,
        internal=internal,
        **options,
    )
    if decompose is not None:
        motion |= term_spectra(trajectory, decompose, **options)
    spectra = molecular_spectra(trajectory, **options)
    check = None
    if options.get("frame", "laboratory") == "laboratory":
        potential = model_of(trajectory, model)
        if potential is not None:
            evaluator = eager_evaluator(
                potential, torch.tensor(trajectory.numbers), cell=trajectory.cell
            )
            check = check_sum_rule(spectra.infrared, trajectory, evaluator)
    options["n_molecules"] = spectra.provenance["n_molecules"]
    found = None if members is None else committee_on_trajectory(trajectory, members, **options)
    return _write(
        *(spectra, folder, check, scattering or {}, limits, reversed_axis),
        committee=found,
        motion=motion,
        seconds=trajectory.wall_time,
    )


def write_series_spectra(
    folder: str | Path,
    *,
    scattering: Mapping[str, Any] | None = None,
    limits: tuple[float, float] | None = None,
    reversed_axis: bool = False,
    **series: Any,
) -> str:
    """Write the spectra of series of another code, a figure and a summary; return the summary.

    See :func:`write_spectra`, and for the series :func:`spectra_of_series`.
    """
    spectra = spectra_of_series(**series)
    return _write(spectra, folder, None, scattering or {}, limits, reversed_axis)


def _write(
    spectra: MolecularSpectra,
    folder: str | Path,
    check: SumRuleCheck | None,
    scattering: Mapping[str, Any],
    limits: tuple[float, float] | None,
    reversed_axis: bool,
    committee: CommitteeSpectrum | None = None,
    motion: Mapping[str, Spectrum] | None = None,
    seconds: float | None = None,
) -> str:
    for spectrum in (spectra.infrared, spectra.raman and spectra.raman.isotropic):
        if limits is not None and spectrum is not None:
            first, last = spectrum.wavenumber[0], spectrum.wavenumber[-1]
            if limits[0] >= last or limits[1] <= first:
                expected = (
                    f"a range that overlaps with the spectrum, {first:.0f} to {last:.0f} cm⁻¹"
                )
                raise InvalidInputError(key="limits", value=limits, expected=expected)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shown: dict[str, Any] = {"limits": limits, "reversed_axis": reversed_axis}
    summary = folder / "summary.txt"
    written = [
        *write_molecular_spectra(spectra, folder, "spectrum", **scattering),
        write_figure(folder / "spectra.png", [spectra], **shown),
        *([] if committee is None else write_committee(committee, folder, **shown)),
        *_write_motion(motion or {}, folder, shown),
        summary,
    ]
    text = describe_spectra(spectra, check, committee, seconds)
    write_atomically(summary, text + "\n")
    return "\n".join([text, *remove_outdated(folder, written)])


def _write_motion(
    motion: Mapping[str, Spectrum], folder: Path, shown: Mapping[str, Any]
) -> list[Path]:
    """Write spectra of motions and of terms, those of one unit into one figure."""
    files = [
        write_spectrum(spectrum, folder / f"spectrum-{name}{suffix}")
        for name, spectrum in motion.items()
        for suffix in (".h5", ".csv")
    ]
    for unit in dict.fromkeys(spectrum.unit for spectrum in motion.values()):
        named = {name: spectrum for name, spectrum in motion.items() if spectrum.unit == unit}
        figure = plot_spectrum(list(named.values()), names=list(named), **shown)
        files.append(save_figure(figure, folder / f"{next(iter(named))}.png"))
    return files


# --- text -------------------------------------------------------------------------


def describe_spectra(
    spectra: MolecularSpectra,
    check: SumRuleCheck | None = None,
    committee: CommitteeSpectrum | None = None,
    seconds: float | None = None,
) -> str:
    """Return the settings of the run, bands with errors, the sum rule and warnings.

    `seconds` is the wall time of the run, if known.
    """
    mean = None if committee is None else committee.mean
    sources = [s for s in (spectra.infrared, spectra.raman, mean) if s is not None]
    record = spectra.provenance
    step = record["timestep_fs"]
    lines = [
        f"{spectra.name}, {record['temperature_K']:g} K: {record['n_replicas']} replicas, "
        f"{record['total_time_ps']:.3g} ps in all, "
        + ("" if step is None else f"time step {step:g} fs, ")
        + f"resolution {record['resolution_cm-1']:.0f} cm⁻¹, "
        + f"quantum factor {record['quantum_factor']}",
        sample(record),
        *(spectra.optics.lines() if spectra.optics else ()),
    ]
    if (n_molecules := record.get("n_molecules", 1)) > 1:
        lines.append(f"intensities are per molecule, of {n_molecules} in the cell")
    # rotation splits a band into branches, whose maxima are no vibrations
    shown = spectra.vibrations or spectra
    where = f" {shown.name}" if spectra.vibrations else ""
    if shown.infrared is not None:
        bands = shown.infrared.bands(lower=LOWEST)
        lines += [f"infrared bands{where}: position, area (standard errors in brackets)"]
        lines += [_band_line(band, "km/mol") for band in bands] or ["  none"]
        lines += _longer_run(bands, shown.infrared, seconds)
        lines += [f"  {note}" for note in unresolved_notes(shown.infrared, lower=LOWEST)]
    if shown.raman is not None:
        what = "position, area, depolarization ratio (standard errors in brackets)"
        lines += [f"Raman bands{where}: {what}"]
        activity = shown.raman.activity()
        lines += [
            f"{_band_line(band, 'Å⁴/amu')}   "
            f"{with_bracketed_error(*shown.raman.band_depolarization(*band[:2]), '.3f')}"
            for band in activity.bands(lower=LOWEST)
        ] or ["  none"]
        lines += [f"  {note}" for note in unresolved_notes(activity, lower=LOWEST)]
    if spectra.vibrations is not None:
        lines += [
            "  the rotational envelope is in the files of the spectra and in the figure; "
            "…-without-rotation are the files of these bands"
        ]
    whole = record.get("frame") == "laboratory" and "source" in record  # a series has no geometries
    if spectra.infrared is not None and whole:
        lines += [_sum_rule_line(check, record)]
    if committee is not None:
        lines += describe_committee(committee)
    warnings = merged_warnings(w for source in sources for w in source.warnings)
    notes = [*spectra.notes, *_resolution_note(record), *warnings]
    return "\n".join([*lines, *(f"note: {note}" for note in notes)])


def _sum_rule_line(check: SumRuleCheck | None, record: Mapping[str, Any]) -> str:
    """Return the result of the sum-rule check, and what was compared."""
    if check is not None:
        factor, right = record["quantum_factor"], exact_factor(record.get("correlation"))
        changed = "" if factor == right else f" with the {right} quantum factor, not {factor}"
        exact = "exact value" if check.rotating else "exact value without rotation"
        value = with_bracketed_error(*check.exact)
        ratio = with_bracketed_error(*check.ratio, ".3f")
        return (
            f"sum rule: integrated infrared intensity{changed} / {exact} {value} km/mol = {ratio}"
        )
    if record["n_beads"] > 1 and not rotates(record.get("source", {})):
        return (
            "sum rule: not checked; the ring polymers started without rotation, which the exact "
            "value contains"
        )
    return (
        "sum rule: not checked; it takes the model (eqcalc spectra --model FILE) and the "
        "positions of all beads in the trajectory"
    )


def _band_line(band: Band, unit: str) -> str:
    position = with_bracketed_error(*band.position, ".0f")
    return (
        f"  {band.lower:6.0f} – {band.upper:6.0f} cm⁻¹   {position:>12} cm⁻¹   "
        f"{with_bracketed_error(*band.area):>16} {unit}"
    )


def _longer_run(
    bands: Sequence[Band], spectrum: Spectrum, seconds: float | None = None
) -> list[str]:
    """Return the run length for 5 % errors of areas of at least a tenth of the strongest band.

    Its time is proportional to that of this run, which took `seconds`.
    """
    strongest = max((band.area.value for band in bands), default=0.0)
    known = [
        band.area
        for band in bands
        if band.area.value > 0.1 * strongest and np.isfinite(band.area.error)
    ]
    if not known or spectrum.n_independent < 2:
        return []
    worst = max(known, key=lambda area: area.error / area.value)
    needed = replicas_needed(worst, _WANTED_ERROR, spectrum.n_independent)
    part = spectrum.provenance["resampled"]
    text = f"  largest error of these areas {100.0 * worst.error / worst.value:.0f} %"
    if needed > spectrum.n_independent:
        text += f"; for {100.0 * _WANTED_ERROR:.0f} % run about {needed} {part}"
        text += f" instead of {spectrum.n_independent}"
        if seconds is not None:
            longer = duration(seconds * needed / spectrum.n_independent)
            text += f", {longer} at the speed of this run, which took {duration(seconds)}"
    return [text]


def _resolution_note(record: Mapping[str, Any]) -> list[str]:
    """Return a note if the resolution may merge neighbouring bands."""
    resolution = record["resolution_cm-1"]
    if resolution <= _COARSE:
        return []
    return [
        f"at a resolution of {resolution:.0f} cm⁻¹ what lies closer is one band here, with the sum "
        "of the areas: neighbouring vibrations, or rotation and a low vibration; a longer run "
        "(simulate --time) takes --resolution 10"
    ]


# --- a folder that is written again --------------------------------------------------

#: Manifest of a folder: names and SHA-256 of the files written.
_RECORD = ".eqcalc-spectra.json"


def remove_outdated(folder: Path, written: Iterable[Path]) -> list[str]:
    """Remove stale files of an earlier call from a folder; return a note on them.

    Only files that are unchanged since that call are removed.
    """
    now = {path.name: file_hash(path) for path in written}
    removed, kept = [], []
    for name, digest in sorted(_recorded(folder).items()):
        path = folder / name
        if name in now or path.is_symlink() or not path.is_file():
            continue
        if file_hash(path) == digest:
            path.unlink()
            removed.append(name)
        else:
            kept.append(name)
    write_record(folder / _RECORD, {"files": now})
    told = {
        "removed from {}, as an earlier call wrote them and this one does not": removed,
        "left in {}, though not from this call, as they were changed since an earlier one wrote "
        "them": kept,
    }
    return [f"{what.format(folder)}: {', '.join(names)}" for what, names in told.items() if names]


def _recorded(folder: Path) -> dict[str, str]:
    """Return names and digests of the files of the last call; empty if unknown."""
    try:
        files = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["files"]
        return {name: digest for name, digest in files.items() if Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
