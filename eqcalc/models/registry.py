# SPDX-License-Identifier: MIT
"""The names under which representations are known to configurations and files.

Adding a representation is one module with a typed configuration, and one line here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from eqcalc.models.cormorant import CormorantConfig
from eqcalc.models.dimenet import DimeNetConfig
from eqcalc.models.irreps_gcn import IrrepsGCNConfig
from eqcalc.models.lnet import LNetConfig
from eqcalc.models.painn import PaiNNConfig
from eqcalc.models.painn_ablation import AblatedPaiNNConfig
from eqcalc.models.schnet import SchNetConfig
from eqcalc.pairs import Pairs
from eqcalc.structures import Structures

__all__ = ["REPRESENTATIONS", "RepresentationConfig", "representation_config"]


class Representation(Protocol):
    """A network that describes the surroundings of every atom."""

    def __call__(self, structures: Structures, pairs: Pairs) -> tuple[Tensor, Tensor]:
        """Return scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, V]``."""
        ...


class RepresentationConfig(Protocol):
    """What the potential needs to know of a representation."""

    name: ClassVar[str]

    @property
    def features(self) -> int:
        """Number of scalar features per atom."""
        ...

    @property
    def vectors(self) -> int:
        """Number of vector features per atom."""
        ...

    @property
    def read_out_layers(self) -> int:
        """Linear maps of the perceptrons that read out scalars."""
        ...

    @property
    def read_out_activation(self) -> str:
        """Activation between them."""
        ...

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not see each other [Å]."""
        ...

    @property
    def embeddings(self) -> int:
        """Atomic numbers must be smaller than this."""
        ...

    def build(self) -> nn.Module:
        """Return a representation with freshly drawn parameters."""
        ...


#: Configurations of representations by name.
REPRESENTATIONS: dict[str, type[Any]] = {
    config.name: config
    for config in (
        PaiNNConfig,
        AblatedPaiNNConfig,
        SchNetConfig,
        LNetConfig,
        IrrepsGCNConfig,
        CormorantConfig,
        DimeNetConfig,
    )
}


def representation_config(settings: dict[str, Any]) -> RepresentationConfig:
    """Make a typed configuration from a mapping with a ``name`` and settings.

    Raises
    ------
    ValueError
        The name or a setting is unknown, or a value is impossible.
    """
    settings = dict(settings)
    name = settings.pop("name", None)
    if name not in REPRESENTATIONS:
        known = ", ".join(REPRESENTATIONS)
        raise ValueError(f"representation.name: expected one of {known}, got {name!r}")
    kind = REPRESENTATIONS[name]
    known_keys = [field.name for field in dataclasses.fields(kind)]
    for key in settings:
        if key not in known_keys:
            raise ValueError(
                f"representation.{key}: {name} has no such setting; known: {', '.join(known_keys)}"
            )
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"representation ({name}): {error}") from None


def representation_settings(config: RepresentationConfig) -> dict[str, Any]:
    """Return the mapping from which :func:`representation_config` makes `config` again."""
    return {"name": config.name, **dataclasses.asdict(config)}  # type: ignore[call-overload]
