# SPDX-License-Identifier: MIT
"""A model as a potential of LAMMPS's ML-IAP package: ``pair_style mliap unified``.

LAMMPS calls an object of Python with the pairs of one process and takes energies of atoms and the
derivatives of the energy with respect to the vectors between pairs (its manual, ``pair_style
mliap``). An energy that several layers of messages pass on depends on pairs of ghost atoms, too:
LAMMPS lists them if asked to, and the network is evaluated on ghosts as on other atoms. Nothing is
imported from LAMMPS.
"""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor

from eqcalc.calculator import refuse_overlap
from eqcalc.files import write_atomically
from eqcalc.models.checkpoint import load_model, save_model
from eqcalc.models.derivatives import interaction_range
from eqcalc.models.potential import Potential
from eqcalc.neighbors import Pairs
from eqcalc.runtime import ClosestPair
from eqcalc.structures import Structures
from eqcalc.validation import InvalidInputError, file_suffix


class UnifiedModel:
    """A model with the unified interface of ML-IAP, in eV and Å (``units metal``).

    Parameters
    ----------
    potential
        The model, on the device on which LAMMPS runs.

    Attributes
    ----------
    element_types
        Symbols of the elements, of which ``pair_coeff * *`` chooses one for every atom type.
    range
        Distance over which the energy of an atom depends on others [Å]: in periodic boxes
        ``comm_modify cutoff`` must be that and the skin.

    Examples
    --------
    >>> from lammps.mliap import activate_mliappy, load_unified  # doctest: +SKIP
    >>> activate_mliappy(lmp)  # doctest: +SKIP
    >>> load_unified(UnifiedModel(load_model("ethanol")))  # doctest: +SKIP
    >>> lmp.command("pair_style mliap unified EXISTS")  # doctest: +SKIP
    """

    #: What LAMMPS needs of models that have descriptors.
    ndescriptors = nparams = 1

    def __init__(self, potential: Potential) -> None:
        potential.require_outputs(["energy"])
        self.potential = potential
        self.interface: Any = None  # set by LAMMPS
        self.element_types = [chemical_symbols[z] for z in potential.references.elements]
        self.rcutfac = 0.5 * float(potential.cutoff)  # LAMMPS adds one of each atom of a pair
        self.range = interaction_range(potential)
        self._numbers = torch.tensor(potential.references.elements, device=potential.device)

    def __reduce__(self) -> tuple[Any, ...]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.eqc")
            save_model(self.potential, path)
            return _from_file, (path.read_bytes(), self.potential.device.type)

    def compute_descriptors(self, data: Any) -> None:
        """Do nothing; called by LAMMPS first."""

    def compute_gradients(self, data: Any) -> None:
        """Do nothing; called by LAMMPS second."""

    def compute_forces(self, data: Any) -> None:
        """Give LAMMPS the energies of its atoms and the forces between pairs.

        Parameters
        ----------
        data
            Atoms and pairs of this process: ``elems`` ``[ntotal]``, indices of
            :attr:`element_types`; ``iatoms``, those that are not ghosts first, ``nlistatoms`` of
            them; ``pair_i`` and ``pair_j`` ``[npairs]``, and ``rij`` from i to j ``[npairs, 3]`` Å.

        Raises
        ------
        InvalidInputError
            Atoms overlap, or have neighbours among ghosts whose pairs are not listed.
        """
        if not data.nlistatoms:
            data.energy = 0.0
            return
        energies, forces = self._evaluate(data)
        data.energy = float(energies.sum())
        try:
            data.eatoms = energies.numpy(force=True)
        except AttributeError:  # with Kokkos it is to be written to
            torch.as_tensor(data.eatoms, device=energies.device)[:] = energies
        if data.npairs:
            on_host = forces.device.type == "cpu"
            data.update_pair_forces(forces.numpy() if on_host else forces)

    def _evaluate(self, data: Any) -> tuple[Tensor, Tensor]:
        """Return energies ``[nlistatoms]`` eV and ∂E/∂r_ij ``[npairs, 3]`` eV/Å."""
        device = self.potential.device
        own = torch.as_tensor(data.iatoms, device=device).long()[: data.nlistatoms]
        vectors = torch.zeros(0, 3, dtype=torch.float64, device=device)
        receiver = sender = own[:0]
        if data.npairs:
            receiver = torch.as_tensor(data.pair_i, device=device).long()
            sender = torch.as_tensor(data.pair_j, device=device).long()
            vectors = torch.as_tensor(data.rij, device=device).clone()
            self._check(own, receiver, sender, vectors)
        vectors.requires_grad_(True)
        # pairs of atoms at one place in a cell of 1 Å, translated by their vectors
        order = torch.argsort(receiver, stable=True)
        pairs = Pairs(receiver[order], sender[order], vectors[order])
        atoms = Structures.pack(
            self._numbers[torch.as_tensor(data.elems, device=device).long()],
            vectors.new_zeros(data.ntotal, 3),
            [data.ntotal],
            cell=torch.eye(3, dtype=vectors.dtype, device=device).unsqueeze(0),
            pbc=torch.ones(1, 3, dtype=torch.bool, device=device),
        )
        with torch.enable_grad():
            features = self.potential.representation(atoms, pairs)
            energies = self.potential.read_out("energy", features, atoms.apart())[own]
            (forces,) = torch.autograd.grad(energies.sum(), vectors, materialize_grads=True)
        return energies.detach().double(), forces.contiguous()

    def _check(self, own: Tensor, receiver: Tensor, sender: Tensor, vectors: Tensor) -> None:
        distances = torch.linalg.vector_norm(vectors, dim=1)
        nearest = int(distances.argmin())
        refuse_overlap(
            ClosestPair(float(distances[nearest]), int(receiver[nearest]), int(sender[nearest]))
        )
        several_layers = self.range > 1.5 * self.potential.cutoff
        if several_layers and int(sender.max()) > int(own.max()) >= int(receiver.max()):
            raise InvalidInputError(
                key="pair_style mliap unified FILE ghostneigh",
                value=0,
                expected=f"1, and comm_modify cutoff {self.range:g} and more, for a network "
                "with several layers in a periodic box or on several ranks",
            )


def _from_file(model: bytes, device: str) -> UnifiedModel:
    """Return the object from the content of a model file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.eqc")
        path.write_bytes(model)
        return UnifiedModel(load_model(path, device=device))


def export_ml_iap(potential: Potential, path: str | Path) -> Path:
    """Write a :class:`UnifiedModel` to `path` (``.pkl``), and return the path.

    LAMMPS reads such objects as pickles. This one holds the content of a model file, which eqcalc
    reads where LAMMPS runs.
    """
    path = Path(path)
    file_suffix(path, (".pkl",))
    write_atomically(path, pickle.dumps(UnifiedModel(potential)))
    return path
