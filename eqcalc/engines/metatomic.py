# SPDX-License-Identifier: MIT
"""Models for the engines that metatomic knows: ASE, i-PI, LAMMPS, torch-sim and others.

The network is traced as a function of tensors whose sizes stay free, and a module of TorchScript
around it takes systems and neighbour lists as metatomic passes them. Forces and stresses are
derivatives that the engine takes of the energy. Annotations are those of TorchScript, which reads
them.
"""

import copy
import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Dict, List, Optional, Tuple  # noqa: UP035

import torch
from torch import Tensor, nn

from eqcalc._version import __version__
from eqcalc.facts import joined_levels
from eqcalc.files import replacing
from eqcalc.models.compositions import check_charge
from eqcalc.models.derivatives import interaction_range
from eqcalc.models.potential import Potential
from eqcalc.neighbors import Pairs, pairs_within
from eqcalc.quantities import quantity
from eqcalc.runtime.execution import ExecutionUnavailableError
from eqcalc.structures import Structures
from eqcalc.validation import file_suffix

try:
    from metatensor.torch import Labels, TensorBlock, TensorMap
    from metatomic.torch import (
        AtomisticModel,
        ModelCapabilities,
        ModelMetadata,
        ModelOutput,
        NeighborListOptions,
        System,
    )
except ImportError:  # metatomic_model says so
    Labels = TensorBlock = TensorMap = ModelOutput = NeighborListOptions = System = object
    AtomisticModel = ModelCapabilities = ModelMetadata = object

#: Largest relative difference from the model itself, of structures of other sizes than the traced.
_TOLERANCE = 1e-4


class TensorFunction(nn.Module):
    """A function of tensors, without parameters of its own: those it uses become constants."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the value of the function."""
        return self.function(*tensors)


def features_of(potential: Potential) -> TensorFunction:
    """Return scalars and vectors of atoms as a function of tensors.

    Its arguments are those of :class:`~eqcalc.structures.Structures` without the number of
    structures, the cell zero where nothing is periodic, and of :class:`~eqcalc.neighbors.Pairs`.
    """

    def function(*tensors: Tensor) -> tuple[Tensor, ...]:
        *structures, receiver, sender, image = tensors
        pairs = Pairs(receiver, sender, image)
        features: tuple[Tensor, ...] = potential.representation(_batch(*structures), pairs)
        return features

    return TensorFunction(function)


def quantity_of(potential: Potential, name: str) -> TensorFunction:
    """Return a quantity of structures as a function of atomic features and structures."""

    def function(scalars: Tensor, vectors: Tensor, *structures: Tensor) -> tuple[Tensor, ...]:
        return (potential.read_out(name, (scalars, vectors), _batch(*structures)),)

    return TensorFunction(function)


def _batch(
    numbers: Tensor, positions: Tensor, owner: Tensor, charge: Tensor, cell: Tensor
) -> Structures:
    return Structures(numbers, positions, owner, charge.shape[0], charge, cell)


class MetatomicModule(nn.Module):
    """A potential with the interface of metatomic; in the language of TorchScript.

    Parameters
    ----------
    features, read_outs
        The traced :func:`features_of`, and :func:`quantity_of` by name.
    of_isolated
        Names of quantities that are of isolated molecules only.
    cutoff
        Cutoff [Å].
    charge
        Total charge of every system [e].
    """

    of_isolated: List[str]  # noqa: UP006

    def __init__(
        self,
        features: nn.Module,
        read_outs: dict[str, nn.Module],
        of_isolated: List[str],  # noqa: UP006
        cutoff: float,
        charge: float,
    ) -> None:
        super().__init__()
        self.features = features
        self.read_outs = nn.ModuleDict(read_outs)
        self.of_isolated = of_isolated
        self.cutoff = cutoff
        self.charge = charge

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:  # noqa: UP006
        """Return the neighbour lists that an engine has to compute."""
        return [NeighborListOptions(cutoff=self.cutoff, full_list=True, strict=True)]

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels] = None,  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        """Return the requested outputs of all systems."""
        number, position, owner, atom, cell, pair, image = self.gathered(systems)
        charge = torch.full_like(cell[:, 0, 0], self.charge)
        scalars, vectors = self.features(
            number, position, owner, charge, cell, pair[:, 0], pair[:, 1], image
        )
        samples = self.of_systems(len(systems), owner.device)
        results = torch.jit.annotate(Dict[str, TensorMap], {})  # noqa: UP006
        for name, read_out in self.read_outs.items():
            if name == "energy" and "energy" in outputs:
                # of every atom: as of structures of one atom each
                apart = torch.arange(number.size(0), device=number.device)
                values = read_out(
                    scalars, vectors, number, position, apart, charge[owner], cell[owner]
                )[0]
                rows = apart
                if selected_atoms is not None:
                    chosen = selected_atoms.values.to(torch.int64)
                    indices = torch.arange(len(systems), device=owner.device)
                    rows = torch.searchsorted(owner, indices)[chosen[:, 0]] + chosen[:, 1]
                if outputs["energy"].sample_kind == "atom":
                    labels = torch.stack([owner[rows], atom[rows]], 1).to(torch.int32)
                    of_atoms = Labels(["system", "atom"], labels)
                    results["energy"] = self.labelled(values[rows].unsqueeze(-1), of_atoms, name)
                else:
                    total = torch.zeros_like(charge).index_add(0, owner[rows], values[rows])
                    results["energy"] = self.labelled(total.unsqueeze(-1), samples, name)
            if name != "energy" and "mtt::" + name in outputs:
                # LAMMPS selects those that are no ghosts
                if selected_atoms is not None and selected_atoms.values.size(0) < number.size(0):
                    raise ValueError("mtt::" + name + " is of whole systems: select all atoms")
                if name in self.of_isolated and any([bool(s.pbc.any()) for s in systems]):  # noqa: C419
                    raise ValueError("mtt::" + name + " of this model is of molecules only")
                response = read_out(scalars, vectors, number, position, owner, charge, cell)[0]
                results["mtt::" + name] = self.labelled(response.unsqueeze(-1), samples, name)
        return results

    def gathered(
        self,
        systems: List[System],  # noqa: UP006
    ) -> Tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # noqa: UP006
        """Return all systems as one batch.

        Atomic numbers, positions, the system of every atom and its index there, cells, pairs of
        atoms, and the lattice translations of their second.
        """
        numbers: List[Tensor] = []  # noqa: UP006
        positions: List[Tensor] = []  # noqa: UP006
        owners: List[Tensor] = []  # noqa: UP006
        atoms: List[Tensor] = []  # noqa: UP006
        cells: List[Tensor] = []  # noqa: UP006
        pairs: List[Tensor] = []  # noqa: UP006
        images: List[Tensor] = []  # noqa: UP006
        first = 0
        options = self.requested_neighbor_lists()[0]
        for index, system in enumerate(systems):
            n_atoms = len(system)
            numbers.append(system.types.to(torch.int64))
            positions.append(system.positions)
            owners.append(torch.full_like(numbers[-1], index))
            atoms.append(torch.arange(n_atoms, dtype=torch.int64, device=system.types.device))
            cells.append(system.cell)
            samples = system.get_neighbor_list(options).samples.values.to(torch.int64)
            pairs.append(samples[:, :2] + first)
            images.append(samples[:, 2:])
            first += n_atoms
        return (
            torch.cat(numbers),
            torch.cat(positions),
            torch.cat(owners),
            torch.cat(atoms),
            torch.stack(cells),
            torch.cat(pairs),
            torch.cat(images),
        )

    def of_systems(self, n_systems: int, device: torch.device) -> Labels:
        """Return the samples of an output of whole systems."""
        indices = torch.arange(n_systems, dtype=torch.int32, device=device)
        return Labels(["system"], indices.unsqueeze(1))

    def labelled(self, values: Tensor, samples: Labels, name: str) -> TensorMap:
        """Return values ``[n_samples, (3, (3,)) 1]`` with names on their axes."""
        zero = torch.zeros(1, 1, dtype=torch.int32, device=values.device)
        axis = torch.arange(3, dtype=torch.int32, device=values.device).unsqueeze(1)
        components = torch.jit.annotate(List[Labels], [])  # noqa: UP006
        if values.dim() == 3:
            components = [Labels(["xyz"], axis)]
        elif values.dim() == 4:
            components = [Labels(["xyz_1"], axis), Labels(["xyz_2"], axis)]
        block = TensorBlock(values, samples, components, Labels([name], zero))
        return TensorMap(Labels(["_"], zero), [block])


def metatomic_model(potential: Potential, *, charge: float = 0.0) -> AtomisticModel:
    """Return an ``AtomisticModel`` with the energy, ``mtt::dipole`` and ``mtt::polarizability``.

    Parameters
    ----------
    potential
        The model; engines run it on the device on which it is now.
    charge
        Total charge of every system [e]: engines pass none.

    Raises
    ------
    ExecutionUnavailableError
        metatomic is not installed, the network cannot be traced, or what is traced differs from it
        for other structures.
    InvalidInputError
        The model does not predict an energy, or was not trained on molecules of this charge.
    """
    if importlib.util.find_spec("metatomic") is None:
        raise ExecutionUnavailableError("pip install 'eqcalc[metatomic]'", key="metatomic")
    potential.require_outputs(["energy"])
    check_charge(potential.metadata, charge)
    frozen = copy.deepcopy(potential).requires_grad_(False).eval()
    names = frozen.config.heads
    try:
        with warnings.catch_warnings():
            # of lengths that become constants (verified below), and of TorchScript's age
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            arguments = _trial(frozen, [5, 3], charge)
            features = _traced(features_of(frozen), arguments)
            inputs = (*features(*arguments), *arguments[:5])
            read_outs = {name: _traced(quantity_of(frozen, name), inputs) for name in names}
        for counts in ([1, 7], [4]):
            _verify(frozen, features, read_outs, _trial(frozen, counts, charge))
    except (RuntimeError, TypeError, ValueError) as error:
        raise ExecutionUnavailableError(f"cannot be traced: {error}", key="metatomic") from error
    responses = [name for name in names if name != "energy"]
    outputs = {"energy": ModelOutput(unit="eV", sample_kind="atom")}
    for name in responses:
        unit = quantity(name).unit.replace("Å", "A")
        outputs[f"mtt::{name}"] = ModelOutput(unit=unit, sample_kind="system")
    isolated = [name for name in responses if name in potential.of_isolated]
    module = MetatomicModule(features, read_outs, isolated, float(potential.cutoff), float(charge))
    level = joined_levels(potential.metadata.get("level_of_theory")) or "not recorded"
    return AtomisticModel(
        module.eval(),
        ModelMetadata(
            name=potential.file.stem if potential.file is not None else "eqcalc",
            description=f"{potential.facts()['network']}; level of theory: {level}; "
            f"charge of every system: {charge:g} e; written by eqcalc {__version__}",
        ),
        ModelCapabilities(
            outputs=outputs,
            atomic_types=list(potential.references.elements),
            interaction_range=interaction_range(potential),
            length_unit="angstrom",
            supported_devices=[potential.device.type],
            dtype="float64",
        ),
    )


def export_metatomic(potential: Potential, path: str | Path, *, charge: float = 0.0) -> Path:
    """Write :func:`metatomic_model` to `path` (``.pt``), and return the path."""
    path = Path(path)
    file_suffix(path, (".pt",))
    model = metatomic_model(potential, charge=charge)
    with replacing(path) as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the suffix of the scratch file, and of TorchScript
        model.save(str(scratch))
    return path


def _trial(potential: Potential, counts: list[int], charge: float) -> tuple[Tensor, ...]:
    """Return arguments of a :class:`TensorFunction`: random structures of so many atoms each."""
    generator = torch.Generator().manual_seed(sum(counts))
    elements = torch.tensor(potential.references.elements)
    n = sum(counts)
    numbers = elements[torch.randint(len(elements), (n,), generator=generator)]
    spread = torch.rand(n, 3, generator=generator, dtype=torch.float64)
    positions = 1.2 * torch.arange(n).unsqueeze(1) * torch.eye(3)[0] + 0.8 * spread
    total = torch.full((len(counts),), charge, dtype=torch.float64)
    structures = Structures.pack(numbers, positions.double(), counts, total)
    pairs = pairs_within(structures, potential.cutoff)
    image = torch.zeros(len(pairs.receiver), 3, dtype=torch.int64)
    cell = torch.zeros(len(counts), 3, 3, dtype=torch.float64)
    arguments = (structures.numbers, structures.positions, structures.owner, total, cell)
    moved = (*arguments, pairs.receiver, pairs.sender, image)
    return tuple(tensor.to(potential.device) for tensor in moved)


def _traced(function: TensorFunction, arguments: tuple[Tensor, ...]) -> nn.Module:
    traced: nn.Module = torch.jit.trace(function, arguments, check_trace=False)
    return traced


def _verify(
    potential: Potential,
    features: nn.Module,
    read_outs: dict[str, nn.Module],
    arguments: tuple[Tensor, ...],
) -> None:
    """Raise ValueError unless quantities and forces agree with those of the potential."""

    def outputs(represent: nn.Module, read: dict[str, nn.Module]) -> list[Tensor]:
        positions = arguments[1].clone().requires_grad_(True)
        structures = (arguments[0], positions, *arguments[2:5])
        atomic = represent(*structures, *arguments[5:])
        values = [read[name](*atomic, *structures)[0] for name in read_outs]
        energy = read["energy"](*atomic, *structures)[0]
        return [*values, torch.autograd.grad(energy.sum(), positions)[0]]

    exact: dict[str, nn.Module] = {n: quantity_of(potential, n) for n in read_outs}
    wanted = outputs(features_of(potential), exact)
    for found, expected in zip(outputs(features, read_outs), wanted, strict=True):
        scale = expected.abs().max().clamp(min=1.0)
        if found.shape != expected.shape or bool(
            ((found - expected).abs() > _TOLERANCE * scale).any()
        ):
            raise ValueError("outputs of structures of other sizes differ")
