# SPDX-License-Identifier: MIT
"""Short human-readable descriptions of eqcalc files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from ase.data import chemical_symbols
from ase.symbols import Symbols

from eqcalc import hdf5
from eqcalc.datasets import Dataset
from eqcalc.facts import joined_levels
from eqcalc.ipi.reader import describe_run
from eqcalc.labelling.sampling import sampled_temperatures
from eqcalc.models.checkpoint import read_checked
from eqcalc.models.compositions import Compositions, trained_on
from eqcalc.spectra import Spectrum, read_raman, read_spectrum
from eqcalc.spectra.provenance import provenance_facts, trajectory_provenance
from eqcalc.training.evaluation_table import describe_force_error
from eqcalc.training.run_folder import unfinished
from eqcalc.trajectory import Trajectory
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    located,
    one_of,
)

#: The rows of the evaluation to show.
_ERRORS = {("energy", "meV"), ("forces", "meV/Å"), ("dipole", "mD"), ("polarizability", "bohr³")}

_EXPECTED = "a model (.eqc), dataset, trajectory or spectrum (.h5, .csv, .jdx), or folder of i-PI"
#: Suffixes of text spectra.
_TEXT_SPECTRA = (".csv", ".jdx", ".dx", ".jcm")


def describe_file(path: str | Path) -> str:
    """Describe a model, dataset, trajectory or spectrum file, or the folder of an i-PI run.

    Raises
    ------
    InvalidFileError
        The file does not exist or is none of these.
    """
    path = Path(path)
    if path.is_dir():
        try:
            return describe_run(path)
        except InvalidInputError as error:
            if (path / "RESTART").exists():
                raise
            raise InvalidFileError("is a directory", file=path, expected=_EXPECTED) from error
    existing_file(path)
    if path.suffix == ".eqc":
        try:
            return describe_model(read_checked(path)[0])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InvalidFileError(f"cannot be described ({error!r})", file=path) from None
    if path.suffix.lower() in _TEXT_SPECTRA:
        return _describe_spectrum(read_spectrum(path))
    if not h5py.is_hdf5(path):
        raise InvalidFileError("is of no known format", file=path, expected=_EXPECTED)
    with hdf5.reading(path, _EXPECTED) as file:
        kind = str(file.attrs.get("format", "not stated"))
    describers: dict[str, Callable[[Path], str]] = {
        "eqcalc trajectory": _describe_trajectory,
        "eqcalc dataset": _describe_dataset,
        "eqcalc spectrum": lambda path: _describe_spectrum(read_spectrum(path)),
        "eqcalc Raman spectrum": _describe_raman,
    }
    with located(file=path):
        return describers[one_of("format", kind, describers)](path)


def _describe_trajectory(path: Path) -> str:
    trajectory = Trajectory.open(path)
    facts = provenance_facts({"source": trajectory_provenance(trajectory)})
    recorded = []
    for name in trajectory.observables():
        for index in range(trajectory.n_replicas):  # which checks all of its frames
            replica = trajectory.observable(name, slice(index, index + 1))
        recorded.append(f"{name} [{replica.unit}] every {replica.interval:g} fs")
    facts["recorded"] = ", ".join(recorded)
    notes = trajectory.settings.get("notes", [])
    return "\n".join(
        [
            repr(trajectory),
            *(f"{name}: {fact}" for name, fact in facts.items()),
            *(f"note: {note}" for note in notes),
        ]
    )


def _describe_dataset(path: Path) -> str:
    dataset = Dataset.open(path)
    span = sampled_temperatures(dataset.provenance)
    known = "not recorded" if span is None else f"{span[0]:g} to {span[1]:g} K"
    return f"{dataset!r}\ntemperatures of the geometries: {known}"


def _describe_raman(path: Path) -> str:
    spectrum = read_raman(path)
    return (
        "the isotropic and the anisotropic part, of which every Raman intensity is made\n"
        f"{spectrum.isotropic!r}\n{_describe_spectrum(spectrum.anisotropic)}"
    )


def _describe_spectrum(spectrum: Spectrum) -> str:
    """Describe a spectrum and its origin, with notes."""
    lines = [
        repr(spectrum),
        *(f"{name}: {fact}" for name, fact in provenance_facts(spectrum.provenance).items()),
    ]
    if spectrum.history:
        lines.append(f"history: {'; '.join(spectrum.history)}")
    lines += [f"note: {warning}" for warning in spectrum.warnings]
    return "\n".join(lines)


def describe_model(header: Mapping[str, Any]) -> str:
    """Describe a model, its outputs and training data, from the header of its file."""
    model, metadata = header["model"], header["metadata"]
    settings = dict(model["representation"])
    name = settings.pop("name")
    training = metadata.get("training", {})
    symbols = " ".join(chemical_symbols[z] for z in header["references"]["elements"])
    lines = [
        f"model {header['hash'][:12]}: {name}, "
        + ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in settings.items()),
        f"predicts {', '.join(model['heads'])} of molecules of {symbols}",
        f"level of theory: {level_of_theory(metadata)}",
    ]
    if training:
        lines.append("trained on " + _data(training))
        lines.append(f"knows {trained_on(metadata)}")
        if progress := unfinished(training):
            lines.append(f"note: {progress}")
        start = training.get("started_from")
        while start:
            lines.append(
                f"  started from {start['hash'][:12]}, {level_of_theory(start)}, trained on "
                + _data(start["training"])
            )
            start = start["training"].get("started_from")
        errors = [
            f"{row['quantity']} {row['mae']:.3g} {row['unit']}"
            for row in training.get("test", ())
            if (row["quantity"], row["unit"]) in _ERRORS
        ]
        if errors:
            n = training["dataset"].get("test", "its")
            lines.append(f"mean absolute errors on {n} held-out structures: {', '.join(errors)}")
            lines += _meaning(training["test"], Compositions.of_model(metadata))
    return "\n".join(lines)


def _meaning(rows: Sequence[Mapping[str, Any]], known: Compositions | None) -> list[str]:
    """Return what the errors of forces mean for wavenumbers, if the molecules are recorded."""
    errors = [r["mae"] for r in rows if (r["quantity"], r["unit"]) == ("forces", "meV/Å")]
    if not errors or known is None or not known.formulas:
        return []
    molecules = [Symbols.fromsymbols(text).numbers for text in known.formulas]
    return [describe_force_error(errors[0] / 1000.0, molecules)]


def level_of_theory(metadata: Mapping[str, Any]) -> str:
    """Return the level of theory of a model, by quantity if it differs."""
    return joined_levels(metadata.get("level_of_theory")) or "not stated"


def _data(training: Mapping[str, Any]) -> str:
    data = training.get("dataset", {})
    return (
        f"{data.get('training', '?')} structures of {data.get('file', '?')} "
        f"(sha256 {str(data.get('sha256', '?'))[:12]})"
    )
