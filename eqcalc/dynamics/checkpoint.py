# SPDX-License-Identifier: MIT
"""Checkpoints of a run, and what must agree for a run to be continued."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from eqcalc import files
from eqcalc.dynamics.state import State
from eqcalc.trajectory import Trajectory, write_atomically

FORMAT = "eqcalc dynamics checkpoint 1"
_FIELDS = ("positions", "momenta", "forces", "potential_energies", "heat", "auxiliary")


class CheckpointError(RuntimeError):
    """A checkpoint is missing or cannot be read."""


class SettingsError(ValueError):
    """A run cannot be continued with different settings."""


def checkpoint_path(output: Path) -> Path:
    """Return where the checkpoint of a trajectory is: beside it."""
    return output.with_name(output.name + ".checkpoint")


@dataclass(frozen=True)
class Checkpoint:
    """Everything needed to go on: the state, and how many frames belong to it.

    The random numbers need no state of their own: they are a function of the seed, which
    is among the settings, and of the step.

    Parameters
    ----------
    state
        State of all replicas.
    frames
        Frames in the trajectory up to this state, by observable.
    reference
        Tensors of the stability checks.
    settings
        Settings of the run.
    """

    state: State
    frames: dict[str, int]
    reference: dict[str, Tensor]
    settings: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the checkpoint; at any time either the old or the new one exists."""
        tensors = {name: getattr(self.state, name) for name in _FIELDS} | self.reference
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
        CheckpointError
            It does not exist or is not one.
        """
        try:
            data = path.read_bytes()
            tensors = load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            if metadata["format"] != FORMAT:
                raise CheckpointError(
                    f"{path}: expected the format {FORMAT!r}, found {metadata['format']!r}"
                )
            stored: dict[str, Any] = {name: tensors.pop(name) for name in _FIELDS}
            state = State(step=int(metadata["step"]), **stored)
            frames, settings = json.loads(metadata["frames"]), json.loads(metadata["settings"])
        except FileNotFoundError:
            raise CheckpointError(f"there is no checkpoint {path}") from None
        except (SafetensorError, KeyError, ValueError) as error:
            raise CheckpointError(f"{path} is not a checkpoint of a simulation: {error}") from error
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
    flat_old, flat_new = _flatten(old), _flatten(new)
    differences = [
        f"{key} (was {flat_old.get(key, 'absent')!r}, now {flat_new.get(key, 'absent')!r})"
        for key in sorted(flat_old.keys() | flat_new.keys())
        if flat_old.get(key, "absent") != flat_new.get(key, "absent")
    ]
    if differences:
        raise SettingsError(
            f"{output} was started with other settings: {'; '.join(differences)}. Use the same "
            "settings to continue it, or another output"
        )


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


@contextmanager
def exclusive(output: Path) -> Iterator[None]:
    """Keep a second process from writing the same trajectory.

    Raises
    ------
    CheckpointError
        Another process writes it, or nothing can be written beside it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(files.exclusive(output.with_name(f".{output.name}.lock")))
        except BlockingIOError:
            raise CheckpointError(f"another process is writing {output}") from None
        except OSError as error:
            raise CheckpointError(
                f"cannot write in the folder of {output}: {error.strerror or error}"
            ) from error
        yield
