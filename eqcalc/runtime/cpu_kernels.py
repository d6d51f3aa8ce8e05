# SPDX-License-Identifier: MIT
"""PaiNN in C++ kernels for CPUs, compiled once and called with the parameters of a model."""

from __future__ import annotations

import ctypes
import functools
import math
import operator
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import FORMS, Invariant, Length, soft_length, squared_length
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.models.radial import CosineCutoff, GaussianBasis, SincBasis, SquaredCosineCutoff
from eqcalc.models.readouts import (
    ORIGINS,
    AtomicScalarAndVector,
    DipoleHead,
    EnergyHead,
    PolarizabilityHead,
)
from eqcalc.neighbors import Pairs
from eqcalc.runtime.cpp_compiler import kernel_library
from eqcalc.runtime.execution import ClosestPair, ExecutionUnavailableError, ModelChangedError
from eqcalc.structures import Structures, volumes

_VERSION = operator.attrgetter("_version")
_SINE, _HARMONICS, _GAUSSIAN = range(3)
#: Kinds of invariants (network.h); any other is a Length.
_LENGTH, _INVARIANTS = 0, {squared_length: 1, soft_length: 2}
#: Power of the cosine in a cutoff function.
_POWERS = {CosineCutoff: 1, SquaredCosineCutoff: 2}
#: In the order in which the kernels take their parameters.
_HEADS = ("energy", "dipole", "polarizability")


class Settings(ctypes.Structure):
    """Settings of the kernels besides the parameters; see ``native/painn.cpp``."""

    _fields_ = [
        *(
            (name, ctypes.c_int64)
            for name in (
                "features", "layers", "embeddings", "radial_functions", "basis",
                "invariant", "cutoff_power", "has_energy", "has_dipole", "has_polarizability",
                "has_atomic_dipoles", "polarizability_about_mass",
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


def kernel_parameters(potential: Potential) -> tuple[Tensor, Settings, list[nn.Parameter]]:
    """Return constants of the radial functions, settings, and parameters in the kernels' order.

    Raises
    ------
    ExecutionUnavailableError
        There are no kernels for a part of the model.
    """
    representation = cast("Any", potential.representation)
    if potential.device.type != "cpu":
        raise ExecutionUnavailableError(key="device", value=str(potential.device), expected="a CPU")
    if type(potential) is not Potential or type(representation) not in FORMS:
        raise ExecutionUnavailableError(
            f"there are no compiled kernels for {type(representation).__name__}", key="network"
        )
    if precision_of(potential) not in ("float32", "float64"):
        raise ExecutionUnavailableError(
            "a CPU emulates this precision to measure errors, and is slower than in float32",
            key="precision",
            value=precision_of(potential),
            expected="float32 or float64 for compiled kernels",
        )
    compiled = compiled_heads(potential)
    if "energy" in potential.heads and "energy" not in compiled:
        raise ExecutionUnavailableError(
            "there are no compiled kernels for this read-out, whose gradient the forces are",
            key="read_outs.energy",
        )
    config = representation.config
    gated = {name: potential.heads[name] for name in compiled if _is_gated(potential.heads[name])}
    polarizability = gated.get("polarizability")
    basis, constants, exponent = _radial_basis(representation.basis, config.cutoff)
    settings = Settings(
        features=config.features,
        layers=config.layers,
        embeddings=config.embeddings,
        radial_functions=config.radial_functions,
        basis=basis,
        invariant=_INVARIANTS.get(config.invariant(), _LENGTH),
        cutoff_power=_POWERS[type(representation.cutoff)],
        exponent=exponent,
        cutoff=config.cutoff,
        epsilon=_epsilon(config.invariant()),
        **{f"has_{name}": name in compiled for name in _HEADS},
        **{f"{name}_scale": potential.references.scales.get(name, 1.0) for name in _HEADS},
        **{
            f"{name}_epsilon": _epsilon(cast("Any", head).blocks[0].invariant)
            for name, head in gated.items()
        },
        has_atomic_dipoles="dipole" in gated,
        polarizability_about_mass=getattr(polarizability, "origin", None)
        is ORIGINS["center_of_mass"],
    )
    modules: list[nn.Module] = [representation.embedding, representation.filters]
    for message, update in zip(representation.messages, representation.updates, strict=True):
        modules += [message, update.mix, update.context]
    for name in compiled:
        if name in gated:
            for block in cast("Any", gated[name]).blocks:
                modules += [block.mix, block.gate]
        else:
            modules.append(potential.heads[name])
    settings.constants = constants.data_ptr()
    return constants, settings, [p for module in modules for p in module.parameters()]


def _epsilon(invariant: Invariant) -> float:
    """Return what is added to squared lengths; read-outs have the invariant of the network."""
    return invariant.epsilon if isinstance(invariant, Length) else 0.0


def compiled_heads(potential: Potential) -> tuple[str, ...]:
    """Return the quantities whose read-outs have kernels, in the kernels' order."""
    return tuple(
        name for name in _HEADS if name in potential.heads and _has_kernels(potential.heads[name])
    )


def _radial_basis(basis: nn.Module, cutoff: float) -> tuple[int, Tensor, float]:
    """Return kind, wavenumbers or centres in float64, and the exponent of Gaussians."""
    if type(basis) is GaussianBasis:
        return _GAUSSIAN, basis.centers.double(), basis.exponent
    if type(basis) is not SincBasis:
        raise ExecutionUnavailableError(
            f"there are no compiled kernels for the radial basis {type(basis).__name__}",
            key="radial_basis",
        )
    harmonics = torch.arange(1, len(basis.wavenumbers) + 1).double() * (math.pi / cutoff)
    rounding = torch.finfo(basis.wavenumbers.dtype).eps
    if torch.allclose(basis.wavenumbers.double(), harmonics, rtol=rounding, atol=0.0):
        return _HARMONICS, harmonics, 0.0
    return _SINE, basis.wavenumbers.double(), 0.0


def _has_kernels(head: nn.Module) -> bool:
    if type(head) is PolarizabilityHead:
        return head.gated and head.origin is not ORIGINS["center_of_charge"]
    if type(head) is EnergyHead or (type(head) is DipoleHead and not head.gated):
        return [type(module) for module in head.atomwise] == [nn.Linear, nn.SiLU, nn.Linear]
    return type(head) is DipoleHead


def _is_gated(head: nn.Module) -> bool:
    return isinstance(head, AtomicScalarAndVector) and head.gated


class _Input(ctypes.Structure):
    _fields_ = [
        ("n_structures", ctypes.c_int64),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "first_atom", "rows", "positions", "masses", "charges",
                "energy_reference", "polarizability_reference",
            )
        ),
        ("before", ctypes.c_int64),
        ("n_pairs", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("receivers", "senders", "shifts")),
    ]  # fmt: skip


class _Output(ctypes.Structure):
    _fields_ = [
        ("shortest", ctypes.c_double),
        ("shortest_pair", ctypes.c_int64 * 2),
        *(
            (name, ctypes.c_void_p)
            for name in (
                "energy", "forces", "virial", "dipole", "polarizability", "scalars", "vectors",
            )
        ),
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Composition:
    """The part of a batch that does not change while its atoms move.

    Parameters
    ----------
    numbers
        Atomic numbers, ``[n_atoms]``.
    first_atom
        Where each structure begins, and the end, ``[n_structures + 1]``.
    owner
        Index of the structure of each atom, ``[n_atoms]``.
    masses
        ``[n_atoms]`` amu.
    charge
        Total charges, ``[n_structures]`` e.
    energy_reference, polarizability_reference
        Sums of the reference values of the elements, ``[n_structures]``.
    """

    numbers: Tensor
    first_atom: Tensor
    owner: Tensor
    masses: Tensor
    charge: Tensor
    energy_reference: Tensor
    polarizability_reference: Tensor

    @property
    def n_structures(self) -> int:
        """Number of structures."""
        return len(self.charge)

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs of the kernels, features excluded."""
        n = self.n_structures
        return {
            "energy": (n,),
            "forces": (len(self.numbers), 3),
            "virial": (n, 3, 3),
            "dipole": (n, 3),
            "polarizability": (n, 3, 3),
        }

    @functools.cached_property
    def pointers(self) -> _Input:
        """The arguments of the kernels, except the positions."""
        return _Input(
            n_structures=self.n_structures,
            first_atom=self.first_atom.data_ptr(),
            rows=self.numbers.data_ptr(),
            masses=self.masses.data_ptr(),
            charges=self.charge.data_ptr(),
            energy_reference=self.energy_reference.data_ptr(),
            polarizability_reference=self.polarizability_reference.data_ptr(),
            n_pairs=-1,
        )

    def __reduce__(self) -> Any:  # pointers are not valid in another process
        return type(self), tuple(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True, eq=False)
class HalfPairs:
    """Each pair of a periodic batch once; see :class:`~eqcalc.neighbors.Pairs`."""

    receiver: Tensor
    sender: Tensor
    image: Tensor

    @classmethod
    def of(cls, pairs: Pairs) -> HalfPairs:
        """Keep one of the two directions of every pair."""
        assert pairs.image is not None
        x, y, z = pairs.image.unbind(-1)
        onward = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
        keep = (pairs.sender > pairs.receiver) | ((pairs.sender == pairs.receiver) & onward)
        return cls(pairs.receiver[keep], pairs.sender[keep], pairs.image[keep].double())


class FusedPotential:
    """A potential evaluated by compiled kernels.

    Large calls are divided over ``torch.get_num_threads()`` threads. The kernels are thread-safe.
    The result of a structure is bitwise independent of the rest of its batch and of the number of
    threads.

    Parameters
    ----------
    potential
        The model, on a CPU, in float32 or float64.

    Raises
    ------
    ExecutionUnavailableError
        The model has parts for which there are no kernels, is not on a CPU, or
        the kernels cannot be compiled.
    """

    def __init__(self, potential: Potential) -> None:
        self._constants, self._settings, self._parameters = kernel_parameters(potential)
        self._potential = potential
        #: Outputs of the kernels: quantities, and the atomic features.
        self.outputs = frozenset((*compiled_heads(potential), "scalars", "vectors"))
        if "energy" in self.outputs:
            self.outputs |= {"forces", "stress"}
        self._library = _declared(kernel_library(potential.dtype))
        self._width = potential.config.representation.features
        self._network = ctypes.c_void_p(self._library.eqcalc_network())
        weakref.finalize(self, self._library.eqcalc_free, self._network)
        self._tables = {name: potential.reference(name) for name in ("energy", "polarizability")}
        self._read(torch.arange(self._settings.embeddings))

    def _read(self, rows: Tensor) -> None:
        """Give the kernels the present parameters, for elements `rows` of the embedding."""
        self._versions = [*map(_VERSION, self._parameters)]
        pointers = pointers_to(self._parameters)
        status = self._library.eqcalc_read(
            self._network,
            ctypes.byref(self._settings),
            pointers,
            rows.data_ptr(),
            len(rows),
            torch.get_num_threads(),
        )
        require_memory(status)

    def __reduce__(self) -> tuple[type[FusedPotential], tuple[Potential]]:
        return FusedPotential, (self._potential,)  # copies and pickles are rebuilt

    def composition(self, structures: Structures) -> Composition:
        """Return the input of :meth:`evaluate` other than the positions."""

        def reference(name: str) -> Tensor:
            # summed atom by atom, so that the result does not depend on the other structures
            zeros = torch.zeros(structures.n_structures, dtype=torch.float64)
            atomic = self._tables[name][structures.numbers]
            return zeros.index_add(0, structures.owner, atomic)

        zero = torch.zeros(1, dtype=torch.int64)
        return Composition(
            numbers=structures.numbers.contiguous(),
            first_atom=torch.cat([zero, torch.cumsum(structures.counts, 0)]),
            owner=structures.owner,
            masses=structures.masses.double().contiguous(),
            charge=structures.charge.double().contiguous(),
            energy_reference=reference("energy"),
            polarizability_reference=reference("polarizability"),
        )

    def kernel_outputs(self, names: Collection[str]) -> set[str]:
        """Return the outputs of the kernels from which quantities follow."""
        found = self.outputs.intersection(names)
        beside = {"scalars", "vectors"} if len(found) < len(set(names)) else set()
        if "stress" in found:
            found = found - {"stress"} | {"forces", "virial"}
        return {*found, *beside}

    def from_outputs(
        self, values: dict[str, Tensor], names: Collection[str], structures: Structures
    ) -> dict[str, Tensor]:
        """Return quantities: outputs of the kernels, the stress, and other read-outs, eagerly."""
        found = {}
        for name in names:
            if name in values:
                found[name] = values[name]
            elif name == "stress":
                found[name] = _stress(values["virial"], structures)
            else:
                features = values["scalars"], values["vectors"]
                found[name] = self._potential.read_out(name, features, structures)
        return found

    def evaluate(
        self,
        composition: Composition,
        structures: Structures,
        names: Collection[str],
        pairs: HalfPairs | None = None,
    ) -> tuple[dict[str, Tensor], ClosestPair]:
        """Return quantities by name, and the closest pair.

        Read-outs without kernels are evaluated eagerly, from the features of the atoms.

        Parameters
        ----------
        composition
            Composition of the batch.
        structures
            The batch.
        names
            Quantities of the model, or any of :attr:`outputs`.
        pairs
            Those of periodic structures.

        Returns
        -------
        dict
            New float64 tensors with the shapes of :meth:`~eqcalc.models.Potential.evaluate`;
            ``scalars`` ``[n_atoms, F]`` and ``vectors`` ``[n_atoms, 3, F]``, the features of
            the atoms, in the precision of the model.
        ClosestPair
            The closest pair within the cutoff.

        Raises
        ------
        ModelChangedError
            The parameters of the model have changed since.
        """
        if not self.is_current:
            raise ModelChangedError
        given = Given(composition, structures, pairs)
        values, closest = self.evaluate_given(given, composition, self.kernel_outputs(names))
        with torch.no_grad():
            return self.from_outputs(values, names, structures), closest

    @property
    def is_current(self) -> bool:
        """Whether the kernels have the present parameters of the model."""
        return self._versions == [*map(_VERSION, self._parameters)]

    def evaluate_given(
        self, given: Given, composition: Composition, names: Collection[str]
    ) -> tuple[dict[str, Tensor], ClosestPair]:
        """Return outputs of the kernels by name, and the closest pair."""
        values, found = self._outputs(composition, names)
        require_memory(
            self._library.eqcalc_evaluate(
                self._network, given.pointer, ctypes.byref(found), torch.get_num_threads()
            )
        )
        return values, ClosestPair(found.shortest, *found.shortest_pair)

    def _outputs(
        self, composition: Composition, names: Collection[str]
    ) -> tuple[dict[str, Tensor], _Output]:
        """Return memory for outputs by name."""
        n_atoms = len(composition.numbers)
        features = {"scalars": (n_atoms, self._width), "vectors": (n_atoms, 3, self._width)}
        values = {
            name: torch.empty(features[name], dtype=self._potential.dtype)
            if name in features
            else torch.empty(composition.shapes[name], dtype=torch.float64)
            for name in names
        }
        return values, _Output(**{name: value.data_ptr() for name, value in values.items()})


class Given:
    """What goes into the kernels, kept for as long as they use it."""

    def __init__(
        self, composition: Composition, structures: Structures, pairs: HalfPairs | None
    ) -> None:
        self._positions = structures.positions.detach().to(torch.float64).contiguous()
        self._composition, self._pairs = composition, pairs
        given = _Input.from_buffer_copy(composition.pointers)
        given.positions = self._positions.data_ptr()
        if pairs is not None:
            assert structures.cell is not None
            cells = structures.cell.detach().double()[composition.owner[pairs.receiver]]
            self._shifts = torch.einsum("pa,pac->pc", pairs.image, cells).contiguous()
            given.n_pairs = len(pairs.receiver)
            given.receivers = pairs.receiver.data_ptr()
            given.senders = pairs.sender.data_ptr()
            given.shifts = self._shifts.data_ptr()
        self._input = given
        self.pointer = ctypes.byref(given)


def _stress(virial: Tensor, structures: Structures) -> Tensor:
    """Return the stress from ``Σ r ⊗ ∂E/∂r``, both ``[n_structures, 3, 3]``."""
    assert structures.cell is not None
    return 0.5 * (virial + virial.mT) / volumes(structures.cell.double())[:, None, None]


def pointers_to(tensors: Sequence[Tensor | None]) -> Any:
    """Return an array of pointers, null for None."""
    addresses = (None if tensor is None else tensor.data_ptr() for tensor in tensors)
    return (ctypes.c_void_p * len(tensors))(*addresses)


def require_memory(status: int) -> None:
    """Raise MemoryError if the kernels had none."""
    if status != 0:
        raise MemoryError("there is no memory to evaluate so many structures at once")


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    pointer, number = ctypes.c_void_p, ctypes.c_int
    for name, result, arguments in (
        ("network", pointer, ()),
        ("tape", pointer, ()),
        ("free", None, (pointer,)),
        ("free_tape", None, (pointer,)),
        ("read", number, (*[pointer] * 4, ctypes.c_int64, number)),
        ("evaluate", number, (*[pointer] * 3, number)),
        ("record", number, (*[pointer] * 4, number)),
        ("differentiate", number, (*[pointer] * 3, number)),
    ):
        function = getattr(library, f"eqcalc_{name}")
        function.restype, function.argtypes = result, [*arguments]
    return library
