# SPDX-License-Identifier: MIT
"""Provenance of a spectrum: molecule, simulation and model, for files and reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from ase.symbols import Symbols

from eqcalc.facts import joined_levels
from eqcalc.models.corrected import CORRECTION, ELEVATED_TEMPERATURE
from eqcalc.trajectory import Trajectory

#: Settings of a simulation that affect its spectra.
_SETTINGS = (
    "method",
    "propagator",
    "seed",
    "initial",
    "equilibration",
    "rotation",
    "translation",
)
#: Masses within this of the standard atomic mass are not isotopes [amu].
_NATURAL = 0.01
_UNKNOWN = "not stated"
#: Largest molecule whose geometry is kept with its spectra.
_LARGEST = 200


def trajectory_provenance(trajectory: Any, **more: Any) -> dict[str, Any]:
    """Return the provenance of a trajectory: molecule, run and model, JSON-able.

    The path of the model is omitted, since spectra are published. ``"molecule"`` holds atomic
    numbers, masses and, if known, a geometry: see :func:`molecule`.

    Parameters
    ----------
    trajectory
        An object with ``provenance`` and, optionally, ``numbers``, ``masses`` and ``settings``.
    more
        Added to its ``provenance``.
    """
    record: dict[str, Any] = _without_paths({**trajectory.provenance, **more})
    numbers = getattr(trajectory, "numbers", None)
    if numbers is not None:
        record |= molecule_facts(
            numbers, getattr(trajectory, "masses", None), _geometry(trajectory)
        )
    settings = getattr(trajectory, "settings", {})
    kept = {key: settings[key] for key in _SETTINGS if key in settings}
    return record | ({"settings": kept} if kept else {})


def molecule(
    numbers: np.ndarray, masses: np.ndarray | None = None, positions: np.ndarray | None = None
) -> dict[str, Any]:
    """Return the record of a molecule, JSON-able.

    Parameters
    ----------
    numbers
        ``[n_atoms]``, atomic numbers: the entry ``"numbers"``.
    masses
        ``[n_atoms]``, amu: the entry ``"masses_amu"``.
    positions
        ``[n_atoms, 3]``, Å, of any geometry: the entry ``"positions_angstrom"``, which large
        systems lack.
    """
    record: dict[str, Any] = {"numbers": np.asarray(numbers).tolist()}
    if masses is not None:
        record["masses_amu"] = np.asarray(masses, dtype=float).tolist()
    if positions is not None and len(record["numbers"]) <= _LARGEST:
        record["positions_angstrom"] = np.round(positions, 6).tolist()
    return record


def molecule_facts(
    numbers: np.ndarray, masses: np.ndarray | None = None, positions: np.ndarray | None = None
) -> dict[str, Any]:
    """Return formula, masses, isotopes and the ``"molecule"`` itself, as :func:`molecule` does."""
    atoms = np.asarray(numbers)
    record: dict[str, Any] = {"formula": str(Symbols(atoms).get_chemical_formula("hill"))}
    if masses is not None:
        record |= _masses(atoms, np.asarray(masses, dtype=float))
    return {**record, "molecule": molecule(atoms, masses, positions)}


def _geometry(trajectory: Any) -> np.ndarray | None:
    """Return the structure that a run started from, or its first frame, or None."""
    stored = trajectory.provenance.get("molecule", {}).get("positions_angstrom")
    if stored is not None or not isinstance(trajectory, Trajectory):
        return stored
    one = slice(0, 1)
    for name in {"positions", "bead_positions"} & set(trajectory.observables()):
        frames = trajectory.observable(name, one, one).values
        if frames.size:
            return np.asarray(frames.reshape(-1, trajectory.n_atoms, 3).mean(axis=0))
    return None


def _without_paths(record: Any) -> Any:
    if isinstance(record, Mapping):
        return {k: _without_paths(v) for k, v in record.items() if k != "model_file"}
    if isinstance(record, list | tuple):
        return [_without_paths(item) for item in record]
    return record


def _masses(numbers: np.ndarray, masses: np.ndarray) -> dict[str, Any]:
    """Return the mass of each element, and the atoms that are other isotopes."""
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


def title(label: str, provenance: Mapping[str, Any]) -> str:
    """Return the molecule, if known, and the label of the values."""
    facts, molecule = provenance_facts(provenance), formula(provenance)
    if not molecule:
        return label
    isotopes = f" ({facts['isotopes']})" if "isotopes" in facts else ""
    return f"{molecule}{isotopes}, {label}"


def formula(provenance: Mapping[str, Any]) -> str:
    """Return the formula in Hill order, empty if unknown."""
    return str(_source(provenance).get("formula", ""))


def molecular_formula(provenance: Mapping[str, Any]) -> str | None:
    """Return the formula in JCAMP-DX form, ``C2 H5 ^2H O``, or None if unknown."""
    source = _source(provenance)
    if "formula" not in source:
        return None
    counts = Symbols.fromsymbols(source["formula"]).indices()
    terms = []
    for symbol, atoms in counts.items():  # in Hill order
        others = [group for group in source.get("isotopes", ()) if group["element"] == symbol]
        natural = len(atoms) - sum(len(group["atoms"]) for group in others)
        if natural:
            terms.append(_term(symbol, natural))
        terms += [_term(f"^{g['mass_amu']:.0f}{symbol}", len(g["atoms"])) for g in others]
    return " ".join(terms)


def _term(symbol: str, count: int) -> str:
    return symbol if count == 1 else f"{symbol}{count}"


def provenance_facts(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return the known facts of the sample and method as short texts by name.

    Molecule and level of theory of a computed spectrum are "not stated" if unknown.
    """
    source = _source(provenance)
    settings = source.get("settings", {})
    models = [source, *source.get("committee", ())]
    hashes = [str(model["model"])[:12] for model in models if model.get("model")]
    software = (source.get("software") or {}).items()
    isotopes = [
        f"{len(group['atoms'])} {group['element']} of {group['mass_amu']:g} amu"
        for group in source.get("isotopes", ())
    ]
    facts = {
        "molecule": source.get("formula"),
        "isotopes": ", ".join(isotopes),
        "dynamics": _dynamics(provenance),
        "frame": provenance.get("frame"),
        "quantum factor": provenance.get("quantum_factor"),
        "seed": settings.get("seed"),
        "rotation": settings.get("rotation"),
        "equilibration": _equilibration(settings, provenance.get("timestep_fs")),
        "model": ", ".join(hashes),
        "correction": _correction(source.get(CORRECTION)),
        **{
            f"{key.removesuffix('_by')} by": str(other.get("model"))[:12]
            for key, other in source.items()
            if key.endswith("_by")
        },
        "level of theory": joined_levels(source.get("level_of_theory")),
        "run with": ", ".join(f"{name} {version}" for name, version in software),
    }
    if "eqcalc_version" in provenance:
        facts["analysed with"] = f"eqcalc {provenance['eqcalc_version']}"
    if "spectrum" in provenance:  # a computed one
        facts |= {name: facts[name] or _UNKNOWN for name in ("molecule", "level of theory")}
    return {name: str(fact) for name, fact in facts.items() if fact not in (None, "")}


def sample(provenance: Mapping[str, Any]) -> str:
    """Return molecule, level of theory and model in a line, each "not stated" if unknown."""
    facts = provenance_facts(provenance)
    isotopes = f" ({facts['isotopes']})" if "isotopes" in facts else ""
    model = f"; model: {facts['model']}" if "model" in facts else ""
    return (
        f"molecule: {facts.get('molecule', _UNKNOWN)}{isotopes}; "
        f"level of theory: {facts.get('level of theory', _UNKNOWN)}{model}"
    )


def _source(provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    source = provenance.get("source")
    return source if isinstance(source, Mapping) else {}


def _dynamics(record: Mapping[str, Any]) -> str:
    if "method" not in record:
        return ""
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


def _correction(record: Any) -> str:
    """Return what path integrals a correction of the potential was learned from, and its error."""
    if not isinstance(record, Mapping):
        return ""
    parts = [str(record.get("model", ""))[:12]]
    if ELEVATED_TEMPERATURE in record:
        parts.append(f"path integrals at {record[ELEVATED_TEMPERATURE]:g} K")
    if "beads" in record:
        parts.append(f"{record['beads']} beads")
    if test := record.get("test"):
        left, all_of_it = (1000.0 * test[name] for name in ("residual", "difference"))
        parts.append(f"error {left:.1f} of {all_of_it:.1f} meV/Å")
    return ", ".join(filter(None, parts))


def _equilibration(settings: Mapping[str, Any], timestep: float | None) -> str:
    if "equilibration" not in settings:
        return ""
    equilibration = settings["equilibration"]
    if equilibration is None:
        return "none"
    steps = equilibration["steps"]
    time = f"{steps} steps" if timestep is None else f"{steps * timestep:g} fs"
    return f"{equilibration['method']['name']}, {time}"
