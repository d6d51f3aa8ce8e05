# SPDX-License-Identifier: MIT
"""Checkpoints of a run, and the comparison of settings on resuming."""

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
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    by_dotted_key,
    existing_file,
)

FORMAT = "eqcalc dynamics checkpoint 1"


class SettingsError(InvalidInputError):
    """A run cannot be resumed with different settings.

    Parameters
    ----------
    output
        The trajectory.
    differences
        Original and new value, by the name of the setting.
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
    """Return the path of the checkpoint of a trajectory, in the same folder."""
    return output.with_name(output.name + ".checkpoint")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """Everything needed to resume: the state, and the numbers of frames up to it.

    Random numbers are a function of the seed, which is among the settings, and the step, so no
    generator state is stored. `reference` is that of the stability checks.
    """

    state: State
    frames: dict[str, int]
    reference: dict[str, Tensor]
    settings: dict[str, Any]

    def write(self, path: Path) -> None:
        """Write the checkpoint atomically."""
        tensors = {name: getattr(self.state, name) for name in VARIABLES} | self.reference
        metadata = {
            "format": FORMAT,
            "step": str(self.state.step),
            "frames": json.dumps(self.frames),
            "settings": json.dumps(self.settings, ensure_ascii=False),
        }
        contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
        metadata["sha256"] = _digest(contiguous, metadata)
        write_atomically(path, save(contiguous, metadata))

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a checkpoint.

        Raises
        ------
        InvalidFileError
            It does not exist or is not a checkpoint.
        """
        try:
            data = existing_file(path, "the checkpoint of a simulation").read_bytes()
            tensors = load(data)
            length = int.from_bytes(data[:8], "little")
            metadata = json.loads(data[8 : 8 + length])["__metadata__"]
            if metadata["format"] != FORMAT:
                raise InvalidFileError(
                    file=path, key="format", value=metadata["format"], expected=repr(FORMAT)
                )
            stated = metadata.pop("sha256", None)  # not in files of 0.2
            if stated is not None and stated != _digest(tensors, metadata):
                raise InvalidFileError(
                    "was changed after it was written", file=path, key="sha256", advice="use a copy"
                )
            none = tensors["heat"].new_zeros(len(tensors["heat"]), 0)  # of 0.2: without cells
            stored: dict[str, Any] = {name: tensors.pop(name, none) for name in VARIABLES}
            state = State(step=int(metadata["step"]), **stored)
            frames, settings = json.loads(metadata["frames"]), json.loads(metadata["settings"])
        except InvalidInputError:
            raise
        except (SafetensorError, KeyError, ValueError, TypeError, RecursionError) as error:
            raise InvalidFileError(
                f"is damaged ({error})", file=path, expected="the checkpoint of a simulation"
            ) from error
        return cls(state, frames, tensors, settings)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def load_state(output: str | Path) -> State:
    """Return the last saved state of the run that writes the trajectory `output`."""
    return Checkpoint.read(checkpoint_path(Path(output))).state


def recorded_execution(output: str | Path) -> str | None:
    """Return how the model was executed for the trajectory `output`.

    A resumed run must be executed the same way, since results of different executions differ
    in the last digits. None if the trajectory does not exist yet.
    """
    if not Path(output).exists():
        return None
    evaluator = Trajectory.open(output).settings.get("evaluator")
    return evaluator.get("execution") if isinstance(evaluator, dict) else None


def recorded_observables(output: str | Path) -> dict[str, int]:
    """Return the steps between frames in the trajectory `output`; none if there is none yet."""
    if not Path(output).exists():
        return {}
    return dict(Trajectory.open(output).settings.get("observables", {}))


def describe(value: Any) -> Any:
    """Return `value` JSON-able; arrays become a digest of their first 5 decimals.

    A recomputed Hessian or relaxed structure may differ in the last digits.
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
    """Raise SettingsError with all differences unless the settings agree."""
    was, now = by_dotted_key(old), by_dotted_key(new)
    pairs = {key: (was.get(key, "absent"), now.get(key, "absent")) for key in sorted({*was, *now})}
    differences = {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}
    if differences:
        raise SettingsError(output, differences)
