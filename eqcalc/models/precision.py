# SPDX-License-Identifier: MIT
"""Precision of a network by name, float64, float32, tf32 or bf16, and its device.

In ``"float64"`` and ``"float32"`` the whole network is computed in that type. In ``"tf32"`` and
``"bf16"`` it is float32 except for the matrix products of its linear layers, whose factors are
rounded to 10 or 7 mantissa bits, as in the matrix units of GPUs. The products are accumulated in
float32, and everything else stays in float32: geometry, radial functions and filters, sums over
neighbours, vector norms, the last layer of every read-out, and sums over atoms. Factors are rounded
in the backward pass too, so the forces are gradients of the energy up to this rounding.

A rounded network is for evaluation only. The accuracy of each precision is measured in
``workflows/benchmarks``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import FORMS
from eqcalc.models.potential import Potential
from eqcalc.validation import InvalidInputError, one_of

#: Recommended use of each precision, the most precise first.
PRECISIONS: dict[str, str] = {
    "float64": "derivatives, tight relaxation, finite differences",
    "float32": "dynamics and spectra",
    "tf32": "dynamics and spectra on GPUs; no tight relaxation, no finite differences",
    "bf16": "dynamics with a thermostat on GPUs; energy is conserved less well",
}

_TYPES = {"float64": torch.float64, "float32": torch.float32}


def check_precision(name: str | None) -> None:
    """Raise InvalidInputError unless `name` is None or one of :data:`PRECISIONS`."""
    if name is not None:
        one_of("precision", name, PRECISIONS)


def device_named(device: torch.device | str) -> torch.device:
    """Return a device that may be one of another machine.

    Raises
    ------
    InvalidInputError
        It is neither a CPU nor a CUDA GPU; others lack float64, in which positions are.
    """
    expected = "cpu, cuda or cuda:1"
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InvalidInputError(key="device", value=device, expected=expected) from None
    if found.type not in ("cpu", "cuda"):
        raise InvalidInputError(key="device", value=str(device), expected=expected)
    return found


def checked_device(device: torch.device | str) -> torch.device:
    """Return a device that exists here.

    Raises
    ------
    InvalidInputError
        There is no device of that name, or it is a GPU that torch does not see.
    """
    found = device_named(device)
    if found.type != "cuda":
        return found
    if not torch.cuda.is_available():
        built = "" if torch.version.cuda else ", which is built for CPUs only"
        problem = f"{device} requested, but torch {torch.__version__}{built} sees no GPU"
        raise InvalidInputError(problem, key="device", value=str(device), advice="use cpu")
    if (found.index or 0) >= (there := torch.cuda.device_count()):
        problem = f"{device} requested, but only {there} GPU{'s' * (there > 1)} available"
        raise InvalidInputError(problem, key="device", value=str(device))
    return found


def precision_of(potential: Potential) -> str:
    """Return which of :data:`PRECISIONS` a model is in."""
    for module in potential.modules():
        if isinstance(module, RoundedLinear):
            return module.precision
    return str(potential.dtype).removeprefix("torch.")


def in_precision(potential: Potential, name: str | None) -> Potential:
    """Return a model in a precision: the model itself if it has that precision, else a copy.

    Parameters
    ----------
    potential
        The model.
    name
        One of :data:`PRECISIONS`; None leaves the model as it is.

    Raises
    ------
    ValueError
        There is no such precision, or it is not supported for this network: rounded factors have
        been tested for PaiNN only.
    """
    check_precision(name)
    if name is None or name == precision_of(potential):
        return potential
    if name not in _TYPES and type(potential.representation) not in FORMS:
        raise InvalidInputError(
            f"{name} is defined for PaiNN only, not for {type(potential.representation).__name__}",
            key="precision",
            value=name,
            expected="float32 or float64",
        )
    result = copy.deepcopy(potential).to(_TYPES.get(name, torch.float32))
    for parent, attribute, layer in list(_layers_to_round(result)):
        setattr(parent, attribute, _plain(layer) if name in _TYPES else RoundedLinear(layer, name))
    if name not in _TYPES:
        result.requires_grad_(False)  # gradients of the weights are not needed
    return result


def _layers_to_round(potential: Potential) -> Iterator[tuple[nn.Module, str, nn.Linear]]:
    """Yield linear layers between features, with the module and name they belong to."""
    if type(potential.representation) not in FORMS:
        return
    network = cast("Any", potential.representation)
    parts: list[nn.Module] = [network.messages, network.updates]
    for part in (*parts, *potential.heads.values()):
        for parent in part.modules():
            for attribute, layer in parent.named_children():
                # the last layer of a read-out has one output, or one plus a gate
                if isinstance(layer, nn.Linear) and layer.out_features > 2:
                    yield parent, attribute, layer


def _plain(layer: nn.Linear) -> nn.Linear:
    plain = nn.Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    plain.weight, plain.bias = layer.weight, layer.bias
    return plain.train(layer.training)


class RoundedLinear(nn.Linear):
    """A linear layer whose matrix product rounds its factors.

    Parameters
    ----------
    layer
        The layer that supplies the parameters.
    precision
        ``"tf32"`` or ``"bf16"``.
    """

    def __init__(self, layer: nn.Linear, precision: str) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=False, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.precision = precision
        self.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """Map ``[..., n]`` to ``[..., m]``."""
        flat = input.reshape(-1, self.in_features)
        result = _product(flat, self.weight.T, self.precision)
        result = result.reshape(*input.shape[:-1], self.out_features)
        return result if self.bias is None else result + self.bias


class _RoundedProduct(torch.autograd.Function):
    """Matrix product of rounded factors; its derivatives are products of the same kind."""

    generate_vmap_rule = True

    @staticmethod
    def forward(left: Tensor, right: Tensor, precision: str) -> Tensor:
        if left.device.type == "cuda":
            return _on_matrix_units(left, right, precision)
        return _rounded(left, precision) @ _rounded(right, precision)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, str], output: Tensor) -> None:
        left, right, ctx.precision = inputs
        ctx.save_for_backward(left, right)
        ctx.save_for_forward(left, right)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,) = gradients
        left, right = ctx.saved_tensors
        to_left = to_right = None
        if ctx.needs_input_grad[0]:
            to_left = _product(gradient, right.mT, ctx.precision)
        if ctx.needs_input_grad[1]:
            to_right = _product(left.mT, gradient, ctx.precision)
        return to_left, to_right, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        of_left, of_right, _ = tangents
        left, right = ctx.saved_tensors
        result = torch.zeros_like(left[..., :1] * right[..., :1, :])
        if of_left is not None:
            result = result + _product(of_left, right, ctx.precision)
        if of_right is not None:
            result = result + _product(left, of_right, ctx.precision)
        return result


def _product(left: Tensor, right: Tensor, precision: str) -> Tensor:
    return cast("Tensor", _RoundedProduct.apply(left, right, precision))


def _rounded(values: Tensor, precision: str) -> Tensor:
    """Round to nearest with the mantissa of a precision, emulated for CPUs."""
    if precision == "bf16":
        return values.to(torch.bfloat16).to(values.dtype)
    # splitting after Dekker (Numer. Math. 18, 224 (1971)): keeps 24 − 13 significant bits
    shifted = values.float() * 8193.0
    return (shifted - (shifted - values.float())).to(values.dtype)


def _on_matrix_units(left: Tensor, right: Tensor, precision: str) -> Tensor:
    if precision == "bf16":
        if torch.__version__ < "2.8":
            raise ValueError("precision: bf16 on a GPU needs torch 2.8 or newer")
        factors = left.to(torch.bfloat16), right.to(torch.bfloat16)
        return torch.mm(*factors, out_dtype=torch.float32).to(left.dtype)
    with _tf32_allowed():
        return left @ right


@contextmanager
def _tf32_allowed() -> Iterator[None]:
    """Allow float32 matrix products on GPUs to round their factors inside the context."""
    flags = torch.backends.cuda.matmul
    flag, value = ("allow_tf32", True) if torch.__version__ < "2.9" else ("fp32_precision", "tf32")
    before = getattr(flags, flag)
    setattr(flags, flag, value)
    try:
        yield
    finally:
        setattr(flags, flag, before)
