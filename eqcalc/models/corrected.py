# SPDX-License-Identifier: MIT
"""A model plus a correction of its potential: V + δV."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from eqcalc.methods import DynamicsMethod
from eqcalc.models.committee import charge_of
from eqcalc.validation import InvalidInputError

if TYPE_CHECKING:
    from eqcalc.runtime.evaluator import Evaluator

#: Entry of the provenance of an evaluator, and of the metadata of a correction.
CORRECTION = "correction"
#: Temperature of the path integrals from which a correction was learned [K].
ELEVATED_TEMPERATURE = "elevated_temperature_K"
#: Masses of the atoms in them [amu].
MASSES = "masses_amu"
#: What an evaluator may have besides, and the sum takes from the model.
_OF_MODEL = ("cell", "diagnostics", "rates", "polar_tensors")


class Corrected:
    """Energy, forces and stress of a model plus those of a correction, all else of the model.

    It has the interface of an evaluator, so that each part is executed by its own kernels.

    Parameters
    ----------
    model
        Evaluator of V.
    correction
        Evaluator of δV, energy and forces, for the same molecule or cell.
    record
        What the correction is, such as the temperature of the path integrals that it was
        learned from; the entry ``"correction"`` of the provenance.

    Raises
    ------
    InvalidInputError
        They are for different molecules.
    """

    def __init__(self, model: Evaluator, correction: Evaluator, record: Mapping[str, Any]) -> None:
        for name, expected in (("numbers", model.numbers.tolist()), ("charge", charge_of(model))):
            value = correction.numbers.tolist() if name == "numbers" else charge_of(correction)
            if value != expected:
                raise InvalidInputError(
                    "a correction is for the molecule of its model",
                    key=f"correction.{name}",
                    value=value,
                    expected=str(expected),
                )
        #: The two parts.
        self.model, self.correction = model, correction
        self.numbers = model.numbers
        #: Total charge [e].
        self.charge = charge_of(model)
        self.quantities = model.quantities
        self.provenance: dict[str, Any] = {**model.provenance, CORRECTION: dict(record)}
        for name in _OF_MODEL:
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))

    def __call__(
        self, positions: Tensor, quantities: Collection[str], **options: Any
    ) -> dict[str, Tensor]:
        """Evaluate ``[n_structures, n_atoms, 3]`` Å; see :class:`~eqcalc.runtime.Evaluator`.

        Options are those of both parts.
        """
        values = dict(self.model(positions, quantities, **options))
        shared = [name for name in ("energy", "forces", "stress") if name in quantities]
        found = self.correction(positions, shared, **options) if shared else {}
        for name, value in found.items():
            values[name] = values[name] + value
        return values


def same_isotopes(numbers: Sequence[int], masses: ArrayLike, learned: ArrayLike) -> bool:
    """Return whether masses are those that a correction was learned for.

    The order of the atoms does not matter if all atoms of an element have one mass.

    Parameters
    ----------
    numbers
        Atomic numbers of the molecule, ``[n_atoms]``.
    masses, learned
        Of the molecule and of the correction [amu].
    """
    here, there = np.asarray(masses, dtype=float), np.asarray(learned, dtype=float)
    if here.shape != there.shape:
        return False
    if len({*here.tolist()}) == len({*numbers}):
        here, there = np.sort(here), np.sort(there)
    return np.allclose(here, there, atol=0.0, rtol=1e-6)


def require_potential(
    method: DynamicsMethod,
    provenance: Mapping[str, Any],
    temperature: float,
    numbers: Sequence[int],
    masses: Sequence[float],
) -> None:
    """Require a corrected potential for the methods that are meant for one, and only for them.

    Parameters
    ----------
    method
        Row of the table of methods.
    provenance
        That of the evaluator.
    temperature, numbers, masses
        Of the run [K; atomic numbers; amu].

    Raises
    ------
    InvalidInputError
        The potential is not the one of the method, or the run is hotter than the path integrals
        that its correction was learned from, or has other isotopes.
    """
    corrected = provenance.get(CORRECTION)
    if method.effective_potential and corrected is None:
        raise InvalidInputError(
            f"{method.name} is classical dynamics on the potential of the centroid",
            key="evaluator",
            expected="eqcalc.centroid.corrected(model, correction)",
        )
    if corrected is None:
        return
    if not method.effective_potential:
        raise InvalidInputError(
            "a corrected potential contains the quantum statistics of the nuclei already",
            key="method",
            value=method.name,
            expected="Te-PIGS",
        )
    elevated = corrected.get(ELEVATED_TEMPERATURE, temperature)
    if temperature > elevated:
        raise InvalidInputError(
            key="temperature",
            value=temperature,
            expected=f"at most {elevated:g} K, of the path integrals of the correction",
            advice="learn a correction at a higher temperature",
        )
    learned = corrected.get(MASSES, masses)
    if not same_isotopes(numbers, masses, learned):
        raise InvalidInputError(
            "quantum statistics depend on the masses",
            key="masses",
            value=list(masses),
            expected=f"{list(learned)} amu, of the path integrals of the correction",
            advice="learn a correction for these isotopes",
        )
