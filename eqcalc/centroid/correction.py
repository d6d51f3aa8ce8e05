# SPDX-License-Identifier: MIT
"""A network that learns what the potential of the centroid has beyond the classical one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from eqcalc.centroid.forces import SPLIT, CentroidForces, classical_forces, potential_identity
from eqcalc.datasets import Dataset
from eqcalc.files import shipped_data
from eqcalc.models.checkpoint import load_model, read_header, save_model
from eqcalc.models.committee import charge_of
from eqcalc.models.corrected import (
    CORRECTION,
    ELEVATED_TEMPERATURE,
    MASSES,
    Corrected,
    same_isotopes,
)
from eqcalc.models.potential import Potential
from eqcalc.runtime import evaluator_for
from eqcalc.training import TrainingConfig, train
from eqcalc.training.config import (
    AdamWConfig,
    CosineSchedule,
    DataConfig,
    LossTerm,
    ModelConfig,
    StoppingConfig,
)
from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator

#: A small network: what it learns is smooth and of short range.
REPRESENTATION: Mapping[str, Any] = {
    "name": "smooth_painn",
    "features": 32,
    "layers": 2,
    "cutoff": 3.5,
}


@dataclass(frozen=True)
class CorrectionError:
    """How well a correction agrees with mean forces on centroids that it was not trained on.

    Parameters
    ----------
    difference
        Root mean square of what is to be learned, without the noise [eV/Å].
    residual
        That of what the correction leaves of it, without the noise [eV/Å]; 0 if it is within it.
    noise
        That of the standard errors of the mean forces [eV/Å].
    chi_square
        Mean square of what is left over that of the standard errors: 1 if it is all noise.
    """

    difference: float
    residual: float
    noise: float
    chi_square: float

    @classmethod
    def of(cls, correction: Potential) -> CorrectionError:
        """Return the errors that a learned correction states."""
        return cls(**correction.metadata[CORRECTION]["test"])

    def __str__(self) -> str:
        difference, residual, noise = (
            1000.0 * value for value in (self.difference, self.residual, self.noise)
        )
        return (
            f"of {difference:.1f} meV/Å {residual:.1f} are left (noise of the test "
            f"{noise:.1f}, χ² = {self.chi_square:.2f})"
        )


def train_correction(
    dataset: Dataset,
    folder: str | Path,
    *,
    representation: Mapping[str, Any] = REPRESENTATION,
    epochs: int = 40,
    batch_size: int = 50,
    learning_rate: float = 2e-3,
    seed: int = 0,
    progress: bool = True,
) -> Potential:
    """Train δV on labels of :func:`~eqcalc.centroid.sampled_forces`.

    The labels are noisy, so that the loss stays large whatever is learned; what was learned is
    told by :func:`correction_error`. The same call resumes.

    Parameters
    ----------
    dataset
        The labels.
    folder
        Of the training, see :func:`eqcalc.training.train`.
    representation, epochs, batch_size, learning_rate, seed
        Settings of the training; the learning rate falls along a cosine.
    progress
        Show the progress.

    Returns
    -------
    Potential
        δV with energy and forces. Its metadata say what it corrects.
    """
    config = TrainingConfig(
        output=Path(folder),
        data=DataConfig(path=dataset.path, split=SPLIT),
        loss={"forces": LossTerm(1.0)},
        model=ModelConfig(representation=representation),
        optimizer=AdamWConfig(batch_size=batch_size, learning_rate=learning_rate),
        schedule=CosineSchedule(warm_up=1.0),
        stopping=StoppingConfig(epochs=epochs, patience=None),
        seed=seed,
    )
    model = train(config, progress=progress).model
    model.metadata[CORRECTION] = dict(dataset.provenance[CORRECTION])
    return model


def corrected(model: Evaluator, correction: Potential | str | Path) -> Corrected:
    """Return V + δV, to be simulated by ``method="Te-PIGS"``.

    Parameters
    ----------
    model
        Evaluator of V.
    correction
        δV that was trained for it, or its file.

    Raises
    ------
    InvalidInputError
        It is no correction, or that of another model.
    """
    if not isinstance(correction, Potential):
        correction = load_model(correction, device=str(model.numbers.device))
    record = correction.metadata.get(CORRECTION)
    if record is None:
        raise InvalidInputError(
            "is a model, but no correction of one",
            key="correction",
            value=str(correction.file or ""),
            expected="one of eqcalc.centroid.learn_correction",
        )
    if (found := potential_identity(model.provenance)) != record["potential"]:
        raise InvalidInputError(
            "was learned for another model, or in another precision",
            key="correction",
            value=record["potential"],
            expected=str(found),
        )
    cell = getattr(model, "cell", None)
    part = evaluator_for(correction, model.numbers, charge=charge_of(model), cell=cell)
    return Corrected(model, part, {**record, "model": part.provenance["model"]})


def shipped_correction(model: Evaluator, temperature: float, masses: ArrayLike) -> Path | None:
    """Return the correction that comes with eqcalc for a model and a run, or None.

    Parameters
    ----------
    model
        Evaluator of V.
    temperature, masses
        Of the run [K, amu]; the correction is of path integrals at this temperature or above, of
        the same isotopes.
    """
    identity = potential_identity(model.provenance)
    for path in shipped_data("models/corrections", "*.eqc"):
        record = read_header(path)["metadata"][CORRECTION]
        if (
            record["potential"] == identity
            and temperature <= record[ELEVATED_TEMPERATURE]
            and same_isotopes(model.numbers.tolist(), masses, record[MASSES])
        ):
            return path
    return None


def correction_error(correction: Evaluator, reference: CentroidForces) -> CorrectionError:
    """Return the errors of δV on mean forces with standard errors.

    Squares of the standard errors are subtracted from mean squares, which makes them unbiased.
    """
    noise = float(np.square(reference.standard_error).mean())
    left = classical_forces(correction, reference.positions) - reference.difference

    def without_noise(values: np.ndarray) -> float:
        return float(np.sqrt(max(np.square(values).mean() - noise, 0.0)))

    return CorrectionError(
        without_noise(reference.difference),
        without_noise(left),
        float(np.sqrt(noise)),
        float(np.square(left).mean()) / noise,
    )


def store_correction(correction: Potential, error: CorrectionError, path: Path) -> None:
    """Write a correction with its errors."""
    test = {key: round(value, 6) for key, value in asdict(error).items()}
    correction.metadata[CORRECTION]["test"] = test
    save_model(correction, path)
