# SPDX-License-Identifier: MIT
"""Training on CPUs by compiled kernels, without a second autograd graph.

The gradient of a loss of the forces with respect to the parameters is the derivative of that of the
energy along a direction of the positions, ``(∂L/∂F)·∂F/∂θ = −d/dε ∂E/∂θ(r + ε ∂L/∂F)``: the kernels
repeat their pass forward and backward for numbers with a tangent. See ``docs/theory/painn.md``.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from eqcalc.models.potential import Potential
from eqcalc.models.precision import in_precision
from eqcalc.neighbors import Pairs, pairs_within
from eqcalc.quantities import ordered
from eqcalc.runtime.cpu_kernels import (
    Composition,
    FusedPotential,
    Given,
    HalfPairs,
    pointers_to,
    require_memory,
)
from eqcalc.runtime.verification import TOLERANCES, agreement, trial_crystal, trial_molecule
from eqcalc.structures import Structures

#: What the kernels differentiate, in the order of their arguments.
_SEEDS = ("energy", "forces", "virial", "dipole", "polarizability", "scalars", "vectors")


class _Seeds(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in _SEEDS]


class _Tape:
    """The memory of an evaluation that can be differentiated, which is used again."""

    def __init__(self, recorder: _Recorder) -> None:
        self._free = recorder.free_tapes
        self.handle = self._free.pop() if self._free else recorder.new_tape()

    def __del__(self) -> None:
        self._free.append(self.handle)


class _Recorder(FusedPotential):
    """The kernels of a potential whose parameters change."""

    def __init__(self, potential: Potential) -> None:
        super().__init__(potential)
        #: Memory that no evaluation uses.
        self.free_tapes: list[ctypes.c_void_p] = []
        self._trained: dict[frozenset[str], list[nn.Parameter]] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """In the order of the kernels."""
        return self._parameters

    def trained(self, outputs: Collection[str]) -> list[nn.Parameter]:
        """Return the parameters that outputs depend on."""
        key = frozenset(outputs)
        if key not in self._trained:
            of = {"forces": "energy", "virial": "energy"}
            names = {of.get(name, name) for name in outputs} - {"scalars", "vectors"}
            parts = [self._potential.representation]
            parts += [self._potential.heads[name] for name in ordered(names)]
            self._trained[key] = [p for part in parts for p in part.parameters()]
        return self._trained[key]

    def update(self, numbers: Tensor) -> None:
        """Read the parameters, for structures of these elements.

        A fused optimizer changes them without changing their versions.
        """
        self._read(numbers.contiguous())

    def new_tape(self) -> ctypes.c_void_p:
        """Return the memory of another evaluation."""
        tape = ctypes.c_void_p(self._library.eqcalc_tape())
        weakref.finalize(self, self._library.eqcalc_free_tape, tape)
        return tape

    def record(
        self, tape: _Tape, given: Given, composition: Composition, names: Collection[str]
    ) -> dict[str, Tensor]:
        """Evaluate, and keep what the gradients need besides the input."""
        values, found = self._outputs(composition, names)
        status = self._library.eqcalc_record(
            self._network, tape.handle, given.pointer, ctypes.byref(found), torch.get_num_threads()
        )
        require_memory(status)
        return values

    def differentiate(
        self, tape: _Tape, seeds: dict[str, Tensor], wanted: Sequence[bool]
    ) -> list[Tensor | None]:
        """Return the gradients of the parameters that are wanted, from those of the outputs."""
        gradients = [
            torch.empty_like(parameter) if want else None
            for parameter, want in zip(self._parameters, wanted, strict=True)
        ]
        pointers = _Seeds(**{name: seed.data_ptr() for name, seed in seeds.items()})
        status = self._library.eqcalc_differentiate(
            tape.handle, ctypes.byref(pointers), pointers_to(gradients), torch.get_num_threads()
        )
        require_memory(status)
        return gradients


class _Kernels(torch.autograd.Function):
    """Outputs of the kernels, differentiable in the parameters only."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor, ...]:
        recorder, given, composition, names, *parameters = arguments
        ctx.save_for_backward(*parameters)  # a change before the backward pass is an error
        ctx.set_materialize_grads(False)
        ctx.names, ctx.tape, ctx.recorder = names, _Tape(recorder), recorder
        ctx.given = given  # whose memory the kernels read again
        found = recorder.record(ctx.tape, given, composition, names)
        return tuple(found[name] for name in names)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        trained = {id(parameter) for parameter in ctx.saved_tensors}
        seeds = {
            name: gradient.contiguous()
            for name, gradient in zip(ctx.names, gradients, strict=True)
            if gradient is not None
        }
        parameters = ctx.recorder.parameters
        found = ctx.recorder.differentiate(ctx.tape, seeds, [id(p) in trained for p in parameters])
        of = {id(p): gradient for p, gradient in zip(parameters, found, strict=True)}
        return (*[None] * 4, *(of[id(p)] for p in ctx.saved_tensors))


class FusedTraining:
    """A potential whose outputs, by compiled kernels, are differentiable in its parameters.

    Read-outs without kernels are evaluated eagerly, from the features of the atoms.
    Gradients do not depend on the number of threads, to the last bit.

    Parameters
    ----------
    potential
        The model, on a CPU, in float32 or float64; its parameters may change.
    verified
        Whether such a model has been verified before; by default gradients are compared with those
        by autograd.

    Raises
    ------
    ExecutionUnavailableError
        As for :class:`FusedPotential`, or a gradient deviates from that by autograd.
    """

    def __init__(self, potential: Potential, *, verified: bool = False) -> None:
        self._potential = potential
        self._recorder = _Recorder(potential)
        if not verified:
            verify_training(self, potential)

    def evaluate(
        self,
        structures: Structures,
        pairs: Pairs,
        names: Collection[str],
        *,
        create_graph: bool = False,
    ) -> dict[str, Tensor]:
        """Return quantities by name; see :meth:`eqcalc.models.Potential.evaluate`.

        Outputs are not differentiable in the positions.
        """
        potential, recorder = self._potential, self._recorder
        potential.require_outputs(names, structures)
        recorder.update(structures.numbers)
        wanted = sorted(recorder.kernel_outputs(names))
        composition = recorder.composition(structures)
        half = HalfPairs.of(pairs) if structures.periodic else None
        given = Given(composition, structures, half)
        if create_graph:
            trained = recorder.trained(wanted)
            found = _Kernels.apply(recorder, given, composition, wanted, *trained)
            values = dict(zip(wanted, found, strict=True))
        else:
            values, _ = recorder.evaluate_given(given, composition, wanted)
        with torch.set_grad_enabled(create_graph):
            return recorder.from_outputs(values, ordered(names), structures)


def verify_training(trained: FusedTraining, potential: Potential) -> dict[str, float]:
    """Compare gradients of the parameters with those by autograd.

    The loss is a sum of products of all outputs with random numbers, for two molecules
    and, where the model has an energy, a crystal.

    Returns
    -------
    dict
        The largest deviation of each parameter, relative to its largest gradient.

    Raises
    ------
    ExecutionUnavailableError
        One is larger than rounding.
    """
    tolerance = 10.0 * TOLERANCES[str(potential.dtype).removeprefix("torch.")]
    problem = "the gradient of the compiled kernels deviates from that by autograd"
    trials = [trial_molecule(potential, n=2)]
    if "energy" in potential.config.heads:
        trials.append(trial_crystal(potential))
    worst: dict[str, float] = {}
    for structures in trials:
        gradients = partial(
            _gradients,
            structures=structures,
            pairs=pairs_within(structures, potential.cutoff),
            names=potential.available_for(structures),
        )

        def exact(gradients: partial[dict[str, Tensor]] = gradients) -> dict[str, Tensor]:
            precise = in_precision(potential, "float64")
            return gradients(precise, dict(precise.named_parameters()))

        parameters = dict(potential.named_parameters())
        found, expected = (gradients(model, parameters) for model in (trained, potential))
        for name, deviation in agreement(problem, found, expected, exact, tolerance).items():
            worst[name] = max(deviation, worst.get(name, 0.0))
    return worst


def _gradients(
    model: FusedTraining | Potential,
    parameters: Mapping[str, nn.Parameter],
    structures: Structures,
    pairs: Pairs,
    names: Collection[str],
) -> dict[str, Tensor]:
    outputs = model.evaluate(structures, pairs, names, create_graph=True)
    generator = torch.Generator().manual_seed(0)
    # the same numbers in both precisions
    seeds = [
        torch.rand(value.shape, generator=generator).to(value.dtype) for value in outputs.values()
    ]
    found = torch.autograd.grad(
        [*outputs.values()], [*parameters.values()], seeds, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))
