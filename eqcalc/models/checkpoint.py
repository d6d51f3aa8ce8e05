# SPDX-License-Identifier: MIT
"""Model files: parameters in safetensors, everything else as JSON in its header.

A file holds tensors and text only, so reading it runs no code but that of eqcalc and of
representations the caller has registered (:mod:`eqcalc.models.registry`). It contains the format
and its version, the configuration of the network, the elements, units, reference values and level
of theory, the training record, and a hash of all of these that detects damage and manual changes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from eqcalc.files import model_file, shipped_models, write_atomically
from eqcalc.models.last_layers import LastLayers
from eqcalc.models.potential import Potential, PotentialConfig, References
from eqcalc.models.precision import checked_device
from eqcalc.models.registry import require_registered
from eqcalc.quantities import quantity
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    located,
    number,
    one_of,
)

FORMAT = "eqcalc-model"
VERSION = 1
_HEADER_KEY = "eqcalc"
_HEADER_FIELDS = ("format", "version", "model", "references", "units", "metadata", "hash")


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        errors="backslashreplace"  # names of files may have bytes that are not text
    )


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
    # the two keys that every file has, and the optional ones
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
    """Return the content hash of this model as stored in its file.

    It is that of the file a model was read from if the parameters are still those, in whatever
    precision.
    """
    header, tensors = _header(potential), potential.state_dict()
    found = _content_hash(header, tensors)
    if found == (known := potential.metadata.get("hash")) or known is None:
        return found
    for dtype in (torch.float32, torch.float64):
        stored = {name: tensor.to(dtype) for name, tensor in tensors.items()}
        same = all(torch.equal(stored[name].to(t.dtype), t) for name, t in tensors.items())
        if same and _content_hash(header, stored) == known:
            return str(known)
    return found


def save_model(potential: Potential, path: str | Path) -> None:
    """Write a model file, atomically.

    Parameters
    ----------
    potential
        The model; its ``metadata`` (level of theory, training record) is written too.
    path
        Target, conventionally with the suffix ``.eqc``. An existing file is replaced only when the
        new one is complete.

    Raises
    ------
    InvalidFileError
        The metadata cannot be written as JSON, or the directory cannot be written.
    InvalidInputError
        The representation is neither one of eqcalc nor registered
        (:func:`~eqcalc.models.registry.register_representation`).
    """
    path = Path(path)
    with located(file=path):
        require_registered(potential.config.representation)
    header = _header(potential)
    tensors = {name: t.detach().cpu().contiguous() for name, t in potential.state_dict().items()}
    try:
        header["hash"] = _content_hash(header, tensors)
        text = json.dumps(header, ensure_ascii=False)
        text = text.encode(errors="backslashreplace").decode()
    except TypeError as error:
        raise InvalidFileError(str(error), key="metadata", expected="JSON", file=path) from None
    try:
        write_atomically(path, safetensors.torch.save(tensors, metadata={_HEADER_KEY: text}))
    except OSError as error:
        raise InvalidFileError(f"cannot be written ({error.strerror})", file=path) from error


def read_header(path: str | Path) -> dict[str, Any]:
    """Return the header of a model file without reading the parameters.

    Raises
    ------
    MissingFileError
        There is no such file.
    InvalidFileError
        It is truncated, not an eqcalc model, or written by a newer version.
    """
    path = existing_file(path, f"a model file (.eqc), general, {', '.join(shipped_models())}")
    try:
        with safetensors.safe_open(path, framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise InvalidFileError(
            f"is truncated, damaged or not a model file ({error})",
            expected="a model file (.eqc)",
            file=path,
        ) from None
    try:
        header = json.loads(metadata.get(_HEADER_KEY, "null"))
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidFileError(f"is not JSON ({error})", key="header", file=path) from None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise InvalidFileError("was not written by eqcalc", expected=FORMAT, file=path)
    version = header.get("version")
    if not isinstance(version, int) or not 1 <= version <= VERSION:
        raise InvalidFileError(
            key="version",
            value=version,
            expected=f"a format version up to {VERSION}",
            file=path,
            advice="install a newer eqcalc",
        )
    for key in _HEADER_FIELDS:
        if key not in header:
            raise InvalidFileError("is missing in the header", key=key, file=path)
    for key in ("model", "references", "units", "metadata"):
        if not isinstance(header[key], dict):
            raise InvalidFileError(key=key, value=header[key], expected="a mapping", file=path)
    return header


def read_checked(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the parameters of a model file that match its hash.

    Raises
    ------
    InvalidFileError
        As :func:`read_header`, or the file has been changed, or a parameter is not finite.
    """
    header = read_header(path)
    try:
        tensors = safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, OSError) as error:
        raise InvalidFileError(f"cannot be read ({error})", key="parameters", file=path) from None
    found = _content_hash(header, tensors)
    if found != header["hash"]:
        raise InvalidFileError(
            "the file was changed after it was written",
            key="hash",
            value=found,
            expected=str(header["hash"]),
            file=path,
        )
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            advice = "the training has diverged; use an earlier model"
            raise InvalidFileError(key=name, expected="finite parameters", file=path, advice=advice)
    return header, tensors


def load_model(
    path: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Potential:
    """Read a model file.

    Parameters
    ----------
    path
        A file written by :func:`save_model`, or the name of a shipped model
        (:func:`eqcalc.files.model_file`).
    device
        Device of the parameters.
    dtype
        Precision of the network; as stored if not given.

    Raises
    ------
    MissingFileError
        There is no such file.
    InvalidFileError
        It is truncated, not a model file or written by a newer version, or its content does not
        match its hash or configuration.
    InvalidInputError
        There is no such device here.
    """
    path, device = model_file(path), checked_device(device)
    header, tensors = read_checked(path)
    try:
        config = PotentialConfig.from_settings(header["model"])
        stored = header["references"]
        values = {name: stored[name] for name in ("energy", "polarizability")}
        references = References(
            elements=tuple(stored["elements"]),
            values={**values, **stored.get("scalars", {})},
            scales=stored["scales"],
        )
        for key in ("model", "references"):
            _check_numbers(header[key], tensors, key)
        with torch.random.fork_rng(devices=[]):  # the initial parameters are overwritten
            potential = Potential(config, references)
    except InvalidInputError as error:
        raise error.within_file(path).of_kind(InvalidFileError) from None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InvalidFileError(f"cannot be used ({error})", key="model", file=path) from None
    for name, unit in header["units"].items():
        with located(file=path):
            expected = quantity(name).unit
        if expected != unit:
            raise InvalidFileError(
                key=f"units.{name}", value=unit, expected=repr(expected), file=path
            )
    place = "last_layers."
    if spreads := {k.removeprefix(place): v for k, v in tensors.items() if k.startswith(place)}:
        potential.last_layers = LastLayers(spreads)
    precision = next(iter(tensors.values())).dtype if tensors else torch.float32
    potential.to(precision)
    try:
        potential.load_state_dict(tensors)
    except RuntimeError as error:
        raise InvalidFileError(
            f"do not fit the configuration ({error})", key="parameters", file=path
        ) from None
    potential.metadata = {**header["metadata"], "hash": header["hash"]}
    potential.file = path.resolve()
    return potential.to(device=device, dtype=dtype or precision).eval()


def _check_numbers(settings: Any, tensors: Mapping[str, Tensor], place: str) -> None:
    """Check that numbers are finite, and integers such as layers not more than the file holds."""
    most = max(1000, sum(tensor.numel() for tensor in tensors.values()))
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            _check_numbers(value, tensors, f"{place}.{key}")
    elif isinstance(settings, float):
        number(place, settings)
    elif isinstance(settings, int) and settings > most:
        expected = f"at most {most}, the numbers stored"
        raise InvalidInputError(key=place, value=settings, expected=expected)


def shipped_model(name: str = "ethanol") -> Path:
    """Return the path of a model that comes with eqcalc.

    Raises
    ------
    InvalidInputError
        There is no such model; the message lists the available ones.
    """
    known = shipped_models()
    return known[one_of("model", name, known)]
