# SPDX-License-Identifier: MIT
"""Model files: parameters in safetensors, everything else as JSON in its header.

A file holds tensors and text, so reading it can run no code but that of eqcalc and of
representations that the caller has let in (:mod:`eqcalc.models.registry`). It states what it
is (format and version), how to build the network (configuration), what the
numbers mean (elements, units, reference values, level of theory), how it was
made (training record), and a hash of all of this with which damage or a change
by hand is noticed.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from eqcalc.files import write_atomically
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.models.precision import checked_device
from eqcalc.models.registry import require_registered
from eqcalc.quantities import quantity

FORMAT = "eqcalc-model"
VERSION = 1
_HEADER_KEY = "eqcalc"
_HEADER_FIELDS = ("format", "version", "model", "references", "units", "metadata", "hash")


class CheckpointError(ValueError):
    """A model file cannot be used; the message says which and why."""


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _content_hash(header: dict[str, Any], tensors: dict[str, Tensor]) -> str:
    """SHA-256 over the header without its hash, and over every tensor's name, type and bytes."""
    digest = hashlib.sha256(_canonical({k: v for k, v in header.items() if k != "hash"}))
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(_canonical([name, str(tensor.dtype), list(tensor.shape)]))
        digest.update(tensor.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _header(potential: Potential) -> dict[str, Any]:
    references = potential.references
    values = {
        name: {str(z): value for z, value in table.items()}
        for name, table in references.values.items()
    }
    # the two that every file has, and the others
    first = {name: values.pop(name, {}) for name in ("energy", "polarizability")}
    return {
        "format": FORMAT,
        "version": VERSION,
        "model": potential.config.settings(),
        "references": {
            "elements": list(references.elements),
            **first,
            "scales": dict(references.scales),
            **({"scalars": values} if values else {}),
        },
        "units": {name: quantity(name).unit for name in potential.quantities},
        "metadata": {key: v for key, v in potential.metadata.items() if key != "hash"},
    }


def model_hash(potential: Potential) -> str:
    """Return the content hash that a file of this model carries."""
    return _content_hash(_header(potential), potential.state_dict())


def save_model(potential: Potential, path: str | Path) -> None:
    """Write a model file, atomically.

    Parameters
    ----------
    potential
        The model; its ``metadata`` (level of theory, training record) is written too.
    path
        Target, by custom with the suffix ``.eqc``. An existing file is replaced
        only when the new one is complete.

    Raises
    ------
    CheckpointError
        The metadata cannot be written as JSON, the directory cannot be written, or the
        representation is neither one of eqcalc nor registered
        (:func:`~eqcalc.models.registry.register_representation`).
    """
    path = Path(path)
    try:
        require_registered(potential.config.representation)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    header = _header(potential)
    tensors = {name: t.detach().cpu().contiguous() for name, t in potential.state_dict().items()}
    try:
        header["hash"] = _content_hash(header, tensors)
        text = json.dumps(header, ensure_ascii=False)
    except TypeError as error:
        raise CheckpointError(
            f"{path}: the metadata or the settings of the network are not JSON: {error}"
        ) from None
    try:
        write_atomically(path, safetensors.torch.save(tensors, metadata={_HEADER_KEY: text}))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write the model: {error.strerror}") from error


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a model file without reading the parameters.

    Raises
    ------
    CheckpointError
        The file is missing, truncated, not a model of eqcalc, or too new.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError(
            f"{path}: is a directory; expected a model file, such as model.eqc in it"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such model file")
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a complete model file (truncated, damaged, or of another kind): {error}"
        ) from None
    if _HEADER_KEY not in metadata:
        raise CheckpointError(
            f"{path}: a safetensors file, but not a model written by eqcalc "
            f"(its header lacks {_HEADER_KEY!r})"
        )
    try:
        header = json.loads(metadata[_HEADER_KEY])
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: the header is not valid JSON: {error}") from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise CheckpointError(f"{path}: the header does not describe an {FORMAT}")
    version = header.get("version")
    if not isinstance(version, int) or version < 1:
        raise CheckpointError(f"{path}: invalid format version {version!r}")
    if version > VERSION:
        raise CheckpointError(
            f"{path}: written in format version {version}, but this eqcalc reads versions up to "
            f"{VERSION}; install a newer eqcalc"
        )
    for key in _HEADER_FIELDS:
        if key not in header:
            raise CheckpointError(f"{path}: the header lacks {key!r}")
    return header


def load_model(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Potential:
    """Read a model file.

    Parameters
    ----------
    path
        A file written by :func:`save_model`.
    device
        Where to put the parameters.
    dtype
        Precision of the network; as stored if not given.

    Raises
    ------
    CheckpointError
        The file is missing, truncated, foreign, too new, or its content does
        not match its hash or its own configuration.
    ValueError
        There is no such device here.
    """
    path, device = Path(path), checked_device(device)
    header = read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: cannot read the parameters: {error}") from None
    found = _content_hash(header, tensors)
    if found != header["hash"]:
        raise CheckpointError(
            f"{path}: the content does not match its hash (stored {str(header['hash'])[:12]}…, "
            f"found {found[:12]}…); the file was changed after it was written"
        )
    try:
        config = PotentialConfig.from_settings(header["model"])
        stored = header["references"]
        values = {name: stored[name] for name in ("energy", "polarizability")}
        references = References(
            elements=tuple(stored["elements"]),
            values={**values, **stored.get("scalars", {})},
            scales=stored["scales"],
        )
        with torch.random.fork_rng(devices=[]):  # the initial parameters are thrown away
            potential = Potential(config, references)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: the configuration cannot be used: {error}") from None
    for name, unit in header["units"].items():
        if quantity(name).unit != unit:
            raise CheckpointError(f"{path}: {name} is in {unit!r}, which this eqcalc does not use")
    precision = next(iter(tensors.values())).dtype if tensors else torch.float32
    potential.to(precision)
    try:
        potential.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path}: the parameters do not fit the configuration: {error}"
        ) from None
    potential.metadata = {**header["metadata"], "hash": header["hash"]}
    potential.file = path.resolve()
    return potential.to(device=device, dtype=dtype or precision).eval()


_PACKAGE = Path(__file__).parents[1]


def shipped_model(name: str = "ethanol") -> Path:
    """Return the path of a model that comes with eqcalc.

    Raises
    ------
    FileNotFoundError
        There is no such model; the message lists those that exist.
    """
    known = {path.stem: path for path in shipped_models()}
    if name not in known:
        raise FileNotFoundError(
            f"no model called {name!r} comes with eqcalc; there are: {', '.join(known) or 'none'}"
        )
    return known[name]


def shipped_models() -> list[Path]:
    """Return the paths of all models that come with eqcalc."""
    # in a wheel the models lie inside the package, in a checkout beside it
    for folder in (_PACKAGE / "data" / "models", _PACKAGE.parent / "data" / "models"):
        if found := sorted(folder.glob("*.eqc")):
            return found
    return []
