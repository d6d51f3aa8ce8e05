# SPDX-License-Identifier: MIT
"""Checkpoints of a run, and what must agree for a run to be continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from eqcalc.dynamics.state import VARIABLES, State
from eqcalc.files import write_atomically
from eqcalc.trajectory import Trajectory
from eqcalc.validation import InvalidFileError, InvalidInputError, existing_file

FORMAT = "eqcalc dynamics checkpoint 1"


class CheckpointError(InvalidFileError):
    """The checkpoint of a simulation is missing, or cannot be read or written."""


class SettingsError(InvalidInputError):
    """A run cannot be continued with different settings.

    Parameters
    ----------
    output
        The trajectory.
    differences
        What it was started with and what was given, by the names of the settings.
    """

    def __init__(self, output: Path, differences: Mapping[str, tuple[Any, Any]]) -> None:
        listed = (f"{key} (was {old!r}, now {new!r})" for key, (old, new) in differences.items())
        super().__init__(
            f"was started with other settings: {'; '.join(listed)}",
            file=output,
            advice="use the same settings to continue it, or another output",
        )
        self.differences = dict(differences)

    def __reduce__(self) -> tuple[Any, ...]:
        return SettingsError, (self.file, self.differences)


def checkpoint_path(output: Path) -> Path:
    """Return where the checkpoint of a trajectory is: beside it."""
    return output.with_name(output.name + ".checkpoint")


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on: the state, and how many frames belong to it.

    The random numbers need no state of their own: they are a function of the seed, which
    is among the settings, and of the step. `reference` is that of the stability checks.
    """

    state: State
    frames: dict[str, int]
    reference: dict[str, Tensor]
    settings: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the checkpoint; at any time either the old or the new one exists."""
        tensors = {name: getattr(self.state, name) for name in VARIABLES} | self.reference
        metadata = {
            "format": FORMAT,
            "step": str(self.state.step),
            "frames": json.dumps(self.frames),
            "settings": json.dumps(self.settings, ensure_ascii=False),
        }
        contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        write_atomically(path, save(contiguous, metadata))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        InvalidFileError
            It does not exist or is not one.
        """
        try:
            data = existing_file(path, "the checkpoint of a simulation").read_bytes()
            tensors = load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            if metadata["format"] != FORMAT:
                raise CheckpointError(
                    file=path, key="format", value=metadata["format"], expected=repr(FORMAT)
                )
            stored: dict[str, Any] = {name: tensors.pop(name) for name in VARIABLES}
            state = State(step=int(metadata["step"]), **stored)
            frames, settings = json.loads(metadata["frames"]), json.loads(metadata["settings"])
        except InvalidInputError:
            raise
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(
                f"is damaged ({error})", file=path, expected="the checkpoint of a simulation"
            ) from error
        return cls(state, frames, tensors, settings)


def load_state(output: str | Path) -> State:
    """Return the last saved state of the run that writes the trajectory `output`."""
    return Checkpoint.read(checkpoint_path(Path(output))).state


def recorded_execution(output: str | Path) -> str | None:
    """Return how the model was executed for the trajectory `output`.

    A run that goes on must be executed the same way, since the execution
    decides the last digits. None if there is no such trajectory yet.
    """
    if not Path(output).exists():
        return None
    execution: str | None = Trajectory.open(output).settings.get("evaluator", {}).get("execution")
    return execution


def describe(value: Any) -> Any:
    """Return `value` as JSON can hold it; arrays become a digest of their first 5 decimals.

    A Hessian or a relaxed structure that is computed again may differ in the last digits.
    """
    if isinstance(value, Tensor):
        array = value.detach().cpu().double().round(decimals=5) + 0.0  # no −0
        digest = hashlib.sha256(array.contiguous().numpy().tobytes()).hexdigest()[:16]
        return f"{list(array.shape)} sha256 {digest}"
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    return value


def require_same_settings(old: Mapping[str, Any], new: Mapping[str, Any], output: Path) -> None:
    """Raise SettingsError, naming every difference, unless the settings agree."""
    was, now = _flatten(old), _flatten(new)
    pairs = {key: (was.get(key, "absent"), now.get(key, "absent")) for key in sorted({*was, *now})}
    differences = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    if differences:
        raise SettingsError(output, differences)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
