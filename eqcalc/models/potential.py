# SPDX-License-Identifier: MIT
"""A potential: representation, read-outs and reference values as one model.

It maps structures to energy, dipole, polarizability and other properties, and differentiates the
energy for forces and stress. All offsets and scales applied after the network are in
:class:`References`, so that a file separates them from the network's own prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from eqcalc import quantities as q
from eqcalc.facts import described, facts_table, joined_levels
from eqcalc.models.readouts import (
    FeatureCounts,
    Head,
    build_head,
    readable_quantities,
    readouts_of,
)
from eqcalc.models.registry import (
    DEFAULT,
    RepresentationConfig,
    representation_config,
    representation_settings,
)
from eqcalc.neighbors import Pairs
from eqcalc.structures import Structures, volumes
from eqcalc.validation import InvalidInputError, known_elements, known_keys, located


@dataclass(frozen=True)
class PotentialConfig:
    """Configuration of a :class:`Potential`.

    Parameters
    ----------
    representation
        Typed configuration of the representation.
    heads
        Quantities that have a read-out.
    read_outs
        Options of read-outs by quantity; see :func:`eqcalc.models.readouts.build_head`.
    """

    representation: RepresentationConfig
    heads: tuple[str, ...] = ("energy", "dipole", "polarizability")
    read_outs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.heads:
            raise InvalidInputError(key="heads", value=(), expected="at least one quantity")
        for name in (*self.heads, *self.read_outs):
            if not readouts_of(name):
                q.named("heads", name, readable_quantities())
        known_keys(self.read_outs, self.heads, section="read_outs")
        object.__setattr__(self, "heads", q.ordered(self.heads))

    def build_heads(self) -> dict[str, Head]:
        """Return read-outs with random initial parameters.

        Raises
        ------
        InvalidInputError
            An option is unknown or invalid.
        """
        network = self.representation
        counts = FeatureCounts(
            network.features,
            network.vectors,
            network.read_out_layers,
            network.read_out_activation,
            getattr(network, "read_out_invariant", None),
        )
        return {name: build_head(name, counts, self.read_outs.get(name, {})) for name in self.heads}

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> PotentialConfig:
        """Build a configuration from a mapping of ``representation``, ``heads``, ``read_outs``.

        Raises
        ------
        InvalidInputError
            A key is missing or unknown, or a value is invalid.
        """
        known_keys(settings, ("representation", "heads", "read_outs"))
        representation = settings.get("representation", {"name": DEFAULT})
        heads, read_outs = settings.get("heads", cls.heads), settings.get("read_outs", {})
        if not isinstance(representation, Mapping):
            raise InvalidInputError(
                key="representation", value=representation, expected="a mapping"
            )
        if isinstance(heads, str) or not all(isinstance(name, str) for name in heads):
            raise InvalidInputError(key="heads", value=heads, expected="a list of quantities")
        if not isinstance(read_outs, Mapping) or not all(
            isinstance(options, Mapping) for options in read_outs.values()
        ):
            raise InvalidInputError(
                key="read_outs", value=read_outs, expected="options for each quantity"
            )
        return cls(
            representation_config(dict(representation)),
            tuple(heads),
            {name: dict(options) for name, options in read_outs.items()},
        )

    def settings(self) -> dict[str, Any]:
        """Return the mapping from which :meth:`from_settings` rebuilds this configuration."""
        settings = {
            "representation": representation_settings(self.representation),
            "heads": list(self.heads),
        }
        if self.read_outs:
            settings["read_outs"] = {name: dict(o) for name, o in self.read_outs.items()}
        return settings


@dataclass(frozen=True)
class References:
    """Offsets and scales of the output of the network.

    ``E = Σ_i E_ref[Z_i] + s_E · network`` and likewise for the isotropic part
    of the polarizability and for other scalars, whose reference values are
    averaged instead of summed if the quantity is intensive. Read-outs that
    weight with positions, such as that of the dipole, have a scale only.

    Parameters
    ----------
    elements
        Atomic numbers the model knows.
    values
        Reference values by quantity and atomic number, in internal units: energy [eV],
        isotropic polarizability [e²Å²/eV] or another scalar; 0 where not given.
    scales
        Scale of each head in internal units; 1 where not given.
    """

    elements: tuple[int, ...]
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "elements", tuple(sorted(int(z) for z in self.elements)))
        tables = {name: self._checked(name, table) for name, table in self.values.items()}
        object.__setattr__(self, "values", tables)
        for name, scale in self.scales.items():
            if not readouts_of(name) or not scale > 0.0:
                raise InvalidInputError(
                    key=f"references.scales.{name}",
                    value=scale,
                    expected="a positive scale of a read-out",
                )

    def _checked(self, name: str, values: Mapping[int, float]) -> dict[int, float]:
        table = {int(z): float(value) for z, value in values.items()}
        with located(section=f"references.{name}"):
            known_elements(table, self.elements)
        return table


class Potential(nn.Module):
    """Energy, dipole, polarizability and other properties of molecules and cells.

    Parameters
    ----------
    config
        Configuration of the representation and heads.
    references
        Known elements, reference values and scales.
    """

    def __init__(self, config: PotentialConfig, references: References) -> None:
        super().__init__()
        if not references.elements:
            raise InvalidInputError(key="references.elements", value=(), expected="an element")
        rows = config.representation.embeddings
        if references.elements[0] < 1 or references.elements[-1] >= rows:
            raise InvalidInputError(
                key="references.elements",
                value=references.elements,
                expected=f"atomic numbers from 1 to {rows - 1}, the rows of the embedding",
            )
        self.config = config
        self.references = references
        #: Free-form record: level of theory, training, hash; written to checkpoints.
        self.metadata: dict[str, Any] = {}
        #: The file it was read from, if it was; not written to checkpoints.
        self.file: Path | None = None
        #: Distribution of the last layers of the read-outs, if known
        #: (:mod:`eqcalc.models.last_layers`).
        self.last_layers: nn.Module | None = None
        self.representation = config.representation.build()
        self.heads = nn.ModuleDict(config.build_heads())
        self._additive = [name for name in config.heads if self._head(name).additive]
        for name in self._additive:
            self.register_buffer(f"{name}_reference", self.reference(name), persistent=False)

    def reference(self, name: str) -> Tensor:
        """Return the reference values of a quantity by atomic number, ``[embeddings]`` float64."""
        table = torch.zeros(self.config.representation.embeddings, dtype=torch.float64)
        for number, value in self.references.values.get(name, {}).items():
            table[number] = value
        return table

    def _head(self, name: str) -> Head:
        return cast("Head", self.heads[name])

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Potential:
        # float32 is not precise enough for total energies of heavy elements
        super()._apply(fn, recurse)
        for name in self._additive:
            moved = getattr(self, f"{name}_reference")
            setattr(self, f"{name}_reference", self.reference(name).to(moved.device))
        return self

    @property
    def cutoff(self) -> float:
        """Distance beyond which atoms do not interact directly [Å]."""
        return self.config.representation.cutoff

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the network."""
        return next(self.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Device of the network."""
        return next(self.parameters()).device

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of all quantities the model predicts, derivatives of the energy included."""
        derived = [d.name for d in (q.FORCES, q.STRESS) if d.derivative_of in self.config.heads]
        return q.ordered((*self.config.heads, *derived))

    @property
    def atomic_parts(self) -> dict[str, str]:
        """Names of the contributions of atoms to sums over them, and which sums these are."""
        return {
            part.name: whole
            for whole, part in q.ATOMIC_PARTS.items()
            if whole in self.config.heads and not self._head(whole).isolated
        }

    @property
    def of_isolated(self) -> tuple[str, ...]:
        """Which of :attr:`quantities` are undefined for periodic structures.

        Those whose read-out contains absolute positions.
        """
        return tuple(name for name in self.config.heads if self._head(name).isolated)

    def facts(self) -> dict[str, str]:
        """Return a description of the model, by topic."""
        size = sum(parameter.numel() for parameter in self.parameters())
        return {
            "network": f"{type(self.representation).__name__}, {size} parameters",
            "elements": " ".join(chemical_symbols[z] for z in self.references.elements),
            "quantities": ", ".join(self.quantities),
            "level of theory": joined_levels(self.metadata.get("level_of_theory"))
            or "not recorded",
            "cutoff": f"{self.cutoff:g} Å",
            "precision": f"{str(self.dtype).removeprefix('torch.')} on {self.device}",
            **({} if self.file is None else {"file": str(self.file)}),
        }

    def __repr__(self) -> str:
        return f"Potential({described(self.facts())})"

    def _repr_html_(self) -> str:
        return facts_table("Potential", self.facts())

    def require_outputs(self, names: Collection[str], structures: Structures | None = None) -> None:
        """Raise InvalidInputError unless the model predicts quantities (of `structures`)."""
        names = {self.atomic_parts.get(name, name) for name in names}
        for name in sorted(names - set(self.quantities)):
            raise InvalidInputError(
                f"this model does not predict a {name}",
                key="quantities",
                value=name,
                expected=f"some of {', '.join(self.quantities)}",
            )
        if structures is None:
            return
        for name in sorted(names - set(self.available_for(structures))):
            raise InvalidInputError(
                "an isolated molecule has no stress"
                if not structures.periodic
                else "its read-out weights with absolute positions, which a periodic structure "
                "lacks; that with form: local does not"
                if name in self.of_isolated
                else "a charged cell has no dipole moment",
                key="quantities",
                value=name,
                expected=f"some of {', '.join(self.available_for(structures))}",
            )

    def available_for(self, structures: Structures) -> tuple[str, ...]:
        """Return which of :attr:`quantities` are defined for these structures.

        Periodic structures have none whose read-out contains absolute positions, and charged ones
        no dipole moment; isolated molecules have no stress.
        """
        missing: tuple[str, ...] = ("stress",)
        if structures.periodic:
            missing = self.of_isolated
            assert structures.pbc is not None
            if bool((structures.charge * structures.pbc.any(-1)).any()):
                missing += tuple(n for n in self.config.heads if self._head(n).conserves_charge)
        return tuple(name for name in self.quantities if name not in missing)

    def forward(
        self,
        structures: Structures,
        pairs: Pairs,
        names: Collection[str] | None = None,
        dipole_origin: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the outputs of the heads, differentiable in positions and cell.

        Parameters
        ----------
        structures
            Structures to evaluate.
        pairs
            Pairs, at least all those within the cutoff.
        names
            Heads to evaluate; all if not given.
        dipole_origin
            Origin of the dipole, ``[n_structures, 3]`` Å; it matters for charged
            molecules only. Default: centre of mass.
        """
        features = self.representation(structures, pairs)
        wanted = self.config.heads if names is None else names
        self.require_outputs(wanted, structures)
        return {name: self.read_out(name, features, structures, dipole_origin) for name in wanted}

    def read_out(
        self,
        name: str,
        features: tuple[Tensor, Tensor],
        structures: Structures,
        dipole_origin: Tensor | None = None,
    ) -> Tensor:
        """Return one quantity from the atomic features.

        Parameters
        ----------
        name
            A head of the model, or one of :attr:`atomic_parts`.
        features
            Scalars ``[n_atoms, F]`` and vectors ``[n_atoms, 3, V]`` of the representation.
        structures, dipole_origin
            As for :meth:`forward`.
        """
        if name in self.atomic_parts:
            return self.read_out(self.atomic_parts[name], features, structures.apart())
        scalars, vectors = features
        head = self._head(name)
        scale = self.references.scales.get(name, 1.0)
        if head.conserves_charge:
            # the total charge is not scaled, so the charge correction is applied before scaling
            structures = replace(structures, charge=structures.charge / scale)
        value = scale * head(scalars, vectors, structures, dipole_origin)
        if head.additive:
            atomic = getattr(self, f"{name}_reference")[structures.numbers]
            value = value + head.reference(atomic, structures).to(value.dtype)
        return value

    def evaluate(
        self,
        structures: Structures,
        pairs: Pairs,
        names: Collection[str],
        *,
        create_graph: bool = False,
    ) -> dict[str, Tensor]:
        """Return quantities by name, including forces and stress.

        Parameters
        ----------
        structures
            Structures to evaluate; give float64 positions for float64 results.
        pairs
            Pairs, at least all those within the cutoff.
        names
            Any of :attr:`quantities` and :attr:`atomic_parts`.
        create_graph
            Keep everything differentiable in the parameters, for training.

        Returns
        -------
        dict
            Energy ``[n_structures]`` eV, forces ``[n_atoms, 3]`` eV/Å, stress
            ``[n_structures, 3, 3]`` eV/Å³, dipole ``[n_structures, 3]`` e·Å,
            polarizability ``[n_structures, 3, 3]`` e²Å²/eV, others in the shapes and
            units of :mod:`eqcalc.quantities`.

        Raises
        ------
        ValueError
            The model does not predict the quantity, or it is undefined for a structure (the stress
            of an isolated molecule).
        """
        self.require_outputs(names, structures)
        inputs: dict[str, Tensor] = {}
        if "forces" in names or "stress" in names:
            positions = structures.positions.detach().requires_grad_(True)
            inputs["forces"] = positions
            structures = structures.with_positions(positions)
        if "stress" in names:
            strain = structures.positions.new_zeros(structures.n_structures, 3, 3)
            inputs["stress"] = strain.requires_grad_(True)
            structures = _strained(structures, strain)

        with torch.set_grad_enabled(bool(inputs) or create_graph):
            features = self.representation(structures, pairs)
            results: dict[str, Tensor] = {}
            if inputs or "energy" in names:
                results["energy"] = self.read_out("energy", features, structures)
        if not create_graph:
            # read-outs of response properties need no gradient: skip the graph
            features = (features[0].detach(), features[1].detach())
        frozen = (
            structures if create_graph else structures.with_positions(structures.positions.detach())
        )
        with torch.set_grad_enabled(create_graph):
            for name in names:
                if name != "energy" and (name in self.config.heads or name in self.atomic_parts):
                    results[name] = self.read_out(name, features, frozen)
        if inputs:
            with torch.enable_grad():  # even under the caller's no_grad
                gradients = torch.autograd.grad(
                    results["energy"].sum(),
                    tuple(inputs.values()),
                    create_graph=create_graph,
                    materialize_grads=True,
                )
            for name, gradient in zip(inputs, gradients, strict=True):
                if name == "forces":
                    results[name] = -gradient
                else:
                    assert structures.cell is not None
                    results[name] = gradient / volumes(structures.cell)[:, None, None]
        return {
            name: results[name] if create_graph else results[name].detach()
            for name in q.ordered(names)
        }


def _strained(structures: Structures, strain: Tensor) -> Structures:
    """Apply the symmetric part of a strain to positions and cells."""
    assert structures.cell is not None
    symmetric = 0.5 * (strain + strain.transpose(-1, -2))
    positions = structures.positions
    moved = positions + torch.einsum("ac,acd->ad", positions, symmetric[structures.owner])
    return structures.with_positions(moved, structures.cell + structures.cell @ symmetric)
