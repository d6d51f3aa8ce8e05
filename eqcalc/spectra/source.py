# SPDX-License-Identifier: MIT
"""What a spectrum is of: the molecule, the run and the model, for files and people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.symbols import Symbols

if TYPE_CHECKING:
    from eqcalc.spectra.spectrum import Spectrum

__all__ = ["joined_levels", "molecular_formula", "source_facts", "source_record", "title"]

#: Settings of a run that decide what its spectra show.
_SETTINGS = (
    "method",
    "propagator",
    "seed",
    "initial",
    "equilibration",
    "rotation",
    "translation",
)
#: Masses that differ by less than this are those of the element as it is found [amu].
_NATURAL = 0.01


def source_record(trajectory: Any) -> dict[str, Any]:
    """Return what a trajectory knows of molecule, run and model, JSON-able.

    Spectra are published, and folders of one machine say nothing there: the
    path of the model is left out.

    Parameters
    ----------
    trajectory
        With ``provenance``, and as far as it has them ``numbers``, ``masses``
        and ``settings``.
    """
    record: dict[str, Any] = _without_paths(trajectory.provenance)
    numbers = getattr(trajectory, "numbers", None)
    if numbers is not None:
        record["formula"] = str(Symbols(np.asarray(numbers)).get_chemical_formula("hill"))
        masses = getattr(trajectory, "masses", None)
        if masses is not None:
            record |= _masses(np.asarray(numbers), np.asarray(masses, dtype=float))
    settings = getattr(trajectory, "settings", {})
    kept = {key: settings[key] for key in _SETTINGS if key in settings}
    return record | ({"settings": kept} if kept else {})


def _without_paths(record: Any) -> Any:
    if isinstance(record, Mapping):
        return {k: _without_paths(v) for k, v in record.items() if k != "model_file"}
    if isinstance(record, list | tuple):
        return [_without_paths(item) for item in record]
    return record


def _masses(numbers: np.ndarray, masses: np.ndarray) -> dict[str, Any]:
    """Return the masses of each element, and of the atoms that are other isotopes."""
    found: dict[str, list[float]] = {}
    for number, mass in sorted(set(zip(numbers.tolist(), masses.tolist(), strict=True))):
        found.setdefault(chemical_symbols[number], []).append(mass)
    isotopes = [
        {
            "element": symbol,
            "mass_amu": mass,
            "atoms": np.flatnonzero(
                (numbers == atomic_numbers[symbol]) & (masses == mass)
            ).tolist(),
        }
        for symbol, values in found.items()
        for mass in values
        if abs(mass - atomic_masses[atomic_numbers[symbol]]) > _NATURAL
    ]
    return {"masses_amu": found} | ({"isotopes": isotopes} if isotopes else {})


def title(spectrum: Spectrum) -> str:
    """Return the molecule, if it is known, and what the values are."""
    facts = source_facts(spectrum.provenance)
    molecule = facts.get("molecule")
    if molecule is None:
        return spectrum.label
    isotopes = f" ({facts['isotopes']})" if "isotopes" in facts else ""
    return f"{molecule}{isotopes}, {spectrum.label}"


def molecular_formula(provenance: Mapping[str, Any]) -> str | None:
    """Return the formula as JCAMP-DX has it, ``C2 H5 ^2H O``, or None if it is not known."""
    source = _source(provenance)
    if "formula" not in source:
        return None
    counts = Symbols.fromsymbols(source["formula"]).indices()
    terms = []
    for symbol, atoms in counts.items():  # in the order of Hill
        others = [group for group in source.get("isotopes", ()) if group["element"] == symbol]
        natural = len(atoms) - sum(len(group["atoms"]) for group in others)
        if natural:
            terms.append(_term(symbol, natural))
        terms += [_term(f"^{g['mass_amu']:.0f}{symbol}", len(g["atoms"])) for g in others]
    return " ".join(terms)


def _term(symbol: str, count: int) -> str:
    return symbol if count == 1 else f"{symbol}{count}"


def source_facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what was measured, and how, as short texts by name; what is not known is left out."""
    source = _source(provenance)
    settings = source.get("settings", {})
    facts: dict[str, str] = {}
    if "formula" in source:
        facts["molecule"] = str(source["formula"])
    if source.get("isotopes"):
        facts["isotopes"] = ", ".join(
            f"{len(group['atoms'])} {group['element']} of {group['mass_amu']:g} amu"
            for group in source["isotopes"]
        )
    if "method" in provenance:
        facts["dynamics"] = _dynamics(provenance)
    for name in ("frame", "quantum_factor"):
        if name in provenance:
            facts[name.replace("_", " ")] = str(provenance[name])
    for name in ("seed", "rotation"):
        if name in settings:
            facts[name] = str(settings[name])
    if "equilibration" in settings:
        facts["equilibration"] = _equilibration(
            settings["equilibration"], provenance.get("timestep_fs")
        )
    models = [source, *source.get("committee", ())]
    hashes = [str(model["model"])[:12] for model in models if model.get("model")]
    if hashes:
        facts["model"] = ", ".join(hashes)
    if source.get("level_of_theory"):
        facts["level of theory"] = joined_levels(source["level_of_theory"])
    software = dict(source.get("software", {}))
    if software:
        facts["run with"] = ", ".join(f"{name} {version}" for name, version in software.items())
    if "eqcalc_version" in provenance:
        facts["analysed with"] = f"eqcalc {provenance['eqcalc_version']}"
    return facts


def _source(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    source = provenance.get("source")
    return source if isinstance(source, Mapping) else {}


def _dynamics(record: Mapping[str, Any]) -> str:
    beads, step = record.get("n_beads", 1), record.get("timestep_fs")
    parts = [
        str(record["method"]),
        f"{beads} beads" if beads > 1 else "",
        f"{record['temperature_K']:g} K" if "temperature_K" in record else "",
        f"time step {step:g} fs" if step is not None else "",
        f"{record['n_replicas']} replicas" if "n_replicas" in record else "",
        f"{record['total_time_ps']:.4g} ps in all" if "total_time_ps" in record else "",
    ]
    return ", ".join(part for part in parts if part)


def _equilibration(settings: Mapping[str, Any] | None, timestep: float | None) -> str:
    if settings is None:
        return "none"
    steps = settings["steps"]
    time = f"{steps} steps" if timestep is None else f"{steps * timestep:g} fs"
    return f"{settings['method']['name']}, {time}"


def joined_levels(levels: Mapping[str, str] | str) -> str:
    """Return levels of theory by quantity as one text, shorter where they are the same."""
    if isinstance(levels, str):
        return levels
    if len(set(levels.values())) == 1:
        return str(next(iter(levels.values())))
    return ", ".join(f"{name} {level}" for name, level in levels.items())
