# SPDX-License-Identifier: MIT
"""Read-outs: from atomic features to the properties of a structure.

Every head returns one value per structure. Those that weight with positions
do it about a point that moves with the molecule, so that nothing but the
dipole of a charged molecule depends on an origin.

A head is made from the numbers of features of the representation,
:class:`FeatureCounts`, and options, the keyword arguments of its class.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from eqcalc.models.readout import FeatureCounts, Head
from eqcalc.models.scalar_heads import EnergyHead, ScalarHead, SpatialExtentHead
from eqcalc.models.tensor_heads import (
    DipoleHead,
    DipoleMagnitudeHead,
    GatedEquivariantBlock,
    PolarizabilityHead,
)
from eqcalc.quantities import MOLECULAR_SCALARS, QUANTITIES

__all__ = [
    "HEADS",
    "DipoleHead",
    "DipoleMagnitudeHead",
    "EnergyHead",
    "FeatureCounts",
    "GatedEquivariantBlock",
    "Head",
    "PolarizabilityHead",
    "ScalarHead",
    "SpatialExtentHead",
    "build_head",
]


#: Read-outs by quantity, the default one first; options may name another.
HEADS: dict[str, dict[str, type[Head]]] = {
    "energy": {"sum": EnergyHead},
    "dipole": {"vector": DipoleHead},
    "polarizability": {"tensor": PolarizabilityHead},
    **{q.name: {"scalar": ScalarHead} for q in MOLECULAR_SCALARS},
    "dipole_magnitude": {"vector": DipoleMagnitudeHead, "scalar": ScalarHead},
    "electronic_spatial_extent": {"weighted": SpatialExtentHead, "scalar": ScalarHead},
}


def build_head(name: str, counts: FeatureCounts, options: Mapping[str, Any]) -> Head:
    """Make the read-out of a quantity.

    Parameters
    ----------
    name
        The quantity, a key of :data:`HEADS`.
    counts
        Numbers of features.
    options
        ``form``, where there is more than one, and keyword arguments of its class.

    Raises
    ------
    ValueError
        There is no such read-out or option, or its value is impossible.
    """
    if name not in HEADS:
        raise ValueError(f"heads: expected some of {', '.join(HEADS)}, got {name!r}")
    options = dict(options)
    forms = HEADS[name]
    form = options.pop("form", next(iter(forms)))
    if form not in forms:
        raise ValueError(f"read_outs.{name}.form: expected {' or '.join(forms)}, got {form!r}")
    kind = forms[form]
    known = [key for key in inspect.signature(kind).parameters if key != "counts"]
    for key in options:
        if key not in known:
            raise ValueError(
                f"read_outs.{name}.{key}: unknown option; known: {', '.join(['form', *known])}"
            )
    if "aggregation" in known and not QUANTITIES[name].extensive:
        options.setdefault("aggregation", "mean")
    try:
        return kind(counts, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"read_outs.{name}: {error}") from None
