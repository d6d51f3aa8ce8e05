# SPDX-License-Identifier: MIT
"""A potential as the compiled kernels take it: settings and parameters in their order."""

from __future__ import annotations

import ctypes
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqcalc.models.heads import DipoleHead, EnergyHead, PolarizabilityHead
from eqcalc.models.painn import PaiNN
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.models.radial import GaussianBasis, SincBasis
from eqcalc.models.readout import ORIGINS
from eqcalc.models.tensor_heads import AtomicScalarAndVector
from eqcalc.runtime.compiler import ExecutionUnavailableError

__all__ = ["Settings", "kernel_parameters"]

_SINE, _HARMONICS, _GAUSSIAN = range(3)
#: In the order in which the kernels take their parameters.
_HEADS = ("energy", "dipole", "polarizability")


class Settings(ctypes.Structure):
    """What the kernels need to know besides parameters; see ``native/painn.cpp``."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                "features", "layers", "embeddings", "radial_functions", "basis",
                "has_energy", "has_dipole", "has_polarizability",
            )
        ),
        *(
            (name, ctypes.c_double)
            for name in (
                "cutoff", "epsilon", "dipole_epsilon", "polarizability_epsilon",
                "energy_scale", "dipole_scale", "polarizability_scale", "exponent",
            )
        ),
        ("constants", ctypes.c_void_p),
    ]  # fmt: skip


def kernel_parameters(potential: Potential) -> tuple[Tensor, Settings, list[Tensor]]:
    """Return constants of the radial functions, settings, and parameters in the kernels' order.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for a part of the model.
    """
    representation = potential.representation
    if potential.device.type != "cpu":
        raise ExecutionUnavailableError("the compiled kernels run on CPUs only")
    if type(potential) is not Potential or type(representation) is not PaiNN:
        raise ExecutionUnavailableError(
            f"there are no compiled kernels for {type(representation).__name__}"
        )
    if precision_of(potential) not in ("float32", "float64"):
        raise ExecutionUnavailableError(
            f"there are no compiled kernels in {precision_of(potential)}, which a CPU does not "
            "have; it is imitated, to measure errors, and is slower than float32"
        )
    for name, head in potential.heads.items():
        if not _has_kernels(head):
            raise ExecutionUnavailableError(
                f"there are no compiled kernels for this read-out of the {name}"
            )
    config = representation.config
    basis, constants, exponent = _radial_basis(representation.basis, config.cutoff)
    settings = Settings(
        features=config.features,
        layers=config.layers,
        embeddings=config.embeddings,
        radial_functions=config.radial_functions,
        basis=basis,
        exponent=exponent,
        cutoff=config.cutoff,
        epsilon=config.norm_epsilon,
        **{f"has_{name}": name in potential.heads for name in _HEADS},
        **{f"{name}_scale": potential.references.scales.get(name, 1.0) for name in _HEADS},
        **{
            f"{name}_epsilon": cast("Any", head).blocks[0].epsilon
            for name, head in potential.heads.items()
            if name != "energy"
        },
    )
    modules: list[nn.Module] = [representation.embedding, representation.filters]
    messages, updates = cast("Any", representation.messages), cast("Any", representation.updates)
    for message, update in zip(messages, updates, strict=True):
        modules += [message, update.mix, update.context]
    for name in _HEADS:
        if name == "energy" and name in potential.heads:
            modules.append(potential.heads[name])
        elif name in potential.heads:
            for block in cast("Any", potential.heads[name]).blocks:
                modules += [block.mix, block.gate]
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return constants, settings, [parameter.detach().contiguous() for parameter in parameters]


def _radial_basis(basis: nn.Module, cutoff: float) -> tuple[int, Tensor, float]:
    """Return kind, wavenumbers or centres in float64, and the exponent of Gaussians."""
    if type(basis) is GaussianBasis:
        return _GAUSSIAN, basis.centers.double(), basis.exponent
    if type(basis) is not SincBasis:
        raise ExecutionUnavailableError(
            f"there are no compiled kernels for the radial basis {type(basis).__name__}"
        )
    harmonics = torch.arange(1, len(basis.wavenumbers) + 1).double() * (math.pi / cutoff)
    rounding = torch.finfo(basis.wavenumbers.dtype).eps
    if torch.allclose(basis.wavenumbers.double(), harmonics, rtol=rounding, atol=0.0):
        return _HARMONICS, harmonics, 0.0
    return _SINE, basis.wavenumbers.double(), 0.0


def _has_kernels(head: nn.Module) -> bool:
    if type(head) is EnergyHead:
        return [type(module) for module in head.atomwise] == [nn.Linear, nn.SiLU, nn.Linear]
    if type(head) is PolarizabilityHead and head.origin is not ORIGINS["centroid"]:
        return False
    return isinstance(head, AtomicScalarAndVector) and (
        type(head) in (DipoleHead, PolarizabilityHead) and head.gated
    )
