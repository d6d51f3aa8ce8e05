# SPDX-License-Identifier: MIT
"""PaiNN through kernels in C++ for CPUs: compiled once, called with the parameters of a model."""

from __future__ import annotations

import ctypes
import math
import weakref
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from eqcalc.models.networks.painn import PaiNN
from eqcalc.models.potential import Potential
from eqcalc.models.precision import precision_of
from eqcalc.models.radial import GaussianBasis, SincBasis
from eqcalc.models.readouts import (
    ORIGINS,
    AtomicScalarAndVector,
    DipoleHead,
    EnergyHead,
    PolarizabilityHead,
)
from eqcalc.neighbors import Pairs
from eqcalc.runtime.cpp_compiler import ExecutionUnavailableError, kernel_library
from eqcalc.structures import Structures

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
        ("n_pairs", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("receivers", "senders", "shifts")),
    ]  # fmt: skip


class _Output(ctypes.Structure):
    _fields_ = [
        ("shortest", ctypes.c_double),
        ("shortest_pair", ctypes.c_int64 * 2),
        *(
            (name, ctypes.c_void_p)
            for name in ("energy", "forces", "virial", "dipole", "polarizability")
        ),
    ]


class Closest(NamedTuple):
    """The closest pair of atoms of a batch; the distance is infinite without pairs."""

    distance: float  # Å
    receiver: int
    sender: int


@dataclass(frozen=True)
class Composition:
    """What stays the same while the atoms of a batch move.

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


@dataclass(frozen=True)
class HalfPairs:
    """Every pair of a periodic batch once; see :class:`~eqcalc.neighbors.Pairs`."""

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
    """A potential evaluated by compiled kernels, without gradients for training.

    Calls from several threads are independent of each other. The result of a
    structure does not depend on the others of its batch, to the last bit.

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
        constants, settings, parameters = kernel_parameters(potential)
        self._potential = potential
        self._given = frozenset(potential.quantities)
        self._library = _declared(kernel_library(potential.dtype))
        self._parameters = parameters
        self._versions = [parameter._version for parameter in parameters]
        pointers = (ctypes.c_void_p * len(parameters))(*(p.data_ptr() for p in parameters))
        settings.constants = constants.data_ptr()
        network = self._library.eqcalc_network(ctypes.byref(settings), pointers)
        if not network:
            raise MemoryError("there is no memory for the compiled network")
        self._network = ctypes.c_void_p(network)
        weakref.finalize(self, self._library.eqcalc_free, self._network)
        self._tables = {name: potential.reference(name) for name in ("energy", "polarizability")}

    def __reduce__(self) -> tuple[type[FusedPotential], tuple[Potential]]:
        return FusedPotential, (self._potential,)  # copies and pickles are made anew

    def composition(self, structures: Structures) -> Composition:
        """Return what :meth:`evaluate` needs to know of structures besides positions."""

        def reference(name: str) -> Tensor:
            # atom after atom, so that the sum does not depend on the other structures
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

    def evaluate(
        self,
        composition: Composition,
        positions: Tensor,
        names: Collection[str],
        *,
        cell: Tensor | None = None,
        pairs: HalfPairs | None = None,
    ) -> tuple[dict[str, Tensor], Closest]:
        """Return quantities by name, and the closest pair.

        Parameters
        ----------
        composition
            What the atoms are.
        positions
            ``[n_atoms, 3]`` Å, of any type and memory layout.
        names
            Any of ``energy``, ``forces``, ``stress``, ``dipole``, ``polarizability``.
        cell, pairs
            Cells ``[n_structures, 3, 3]`` Å and pairs of periodic structures.

        Returns
        -------
        dict
            New float64 tensors with the shapes of :meth:`~eqcalc.models.Potential.evaluate`.
        Closest
            The closest pair within the cutoff.

        Raises
        ------
        ValueError
            The model has no such quantity.
        RuntimeError
            The parameters of the model have been changed since.
        """
        if not self._given.issuperset(names):  # the kernels would leave the memory as it was
            self._potential.check_gives(names)
        if self._versions != [parameter._version for parameter in self._parameters]:
            raise RuntimeError(
                "the parameters of the model were changed after its compiled form was made; make "
                "a new evaluator or calculator"
            )
        positions = positions.to(torch.float64).contiguous()
        n_structures, n_atoms = composition.n_structures, len(positions)
        given = _Input(
            n_structures=n_structures,
            first_atom=composition.first_atom.data_ptr(),
            rows=composition.numbers.data_ptr(),
            positions=positions.data_ptr(),
            masses=composition.masses.data_ptr(),
            charges=composition.charge.data_ptr(),
            energy_reference=composition.energy_reference.data_ptr(),
            polarizability_reference=composition.polarizability_reference.data_ptr(),
            n_pairs=-1,
        )
        if pairs is not None:
            assert cell is not None
            cells = cell.double()[composition.owner[pairs.receiver]]
            shifts = torch.einsum("pa,pac->pc", pairs.image, cells).contiguous()
            given.n_pairs = len(pairs.receiver)
            given.receivers = pairs.receiver.data_ptr()
            given.senders = pairs.sender.data_ptr()
            given.shifts = shifts.data_ptr()

        shapes = {
            "energy": (n_structures,),
            "forces": (n_atoms, 3),
            "virial": (n_structures, 3, 3),
            "dipole": (n_structures, 3),
            "polarizability": (n_structures, 3, 3),
        }
        found = _Output()
        values: dict[str, Tensor] = {}
        for name in {*names, "forces", "virial"} if "stress" in names else names:
            if name != "stress":
                values[name] = torch.empty(shapes[name], dtype=torch.float64)
                setattr(found, name, values[name].data_ptr())
        status = self._library.eqcalc_evaluate(
            self._network, ctypes.byref(given), ctypes.byref(found)
        )
        if status != 0:
            raise MemoryError(f"there is no memory to evaluate {n_atoms} atoms at once")
        if "stress" in names:
            assert cell is not None
            virial = values["virial"]
            volume = torch.linalg.det(cell.double()).abs()
            values["stress"] = 0.5 * (virial + virial.mT) / volume[:, None, None]
        closest = Closest(found.shortest, *found.shortest_pair)
        return {name: values[name] for name in names}, closest


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    library.eqcalc_network.restype = ctypes.c_void_p
    library.eqcalc_network.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    library.eqcalc_evaluate.restype = ctypes.c_int
    library.eqcalc_evaluate.argtypes = [ctypes.c_void_p] * 3
    library.eqcalc_free.restype = None
    library.eqcalc_free.argtypes = [ctypes.c_void_p]
    return library
