# SPDX-License-Identifier: MIT
"""Write ``schnetpack_*.json``: models of SchNetPack with random parameters and their results.

Run where SchNetPack 2 is installed, for example

    python tests/models/make_schnetpack_reference.py tests/models

The files in the repository are from SchNetPack 2.1.1 with torch 2.13, in float64.
"""

import base64
import json
import sys
from pathlib import Path

import numpy as np
import schnetpack
import torch
from ase.build import molecule
from schnetpack import properties

FEATURES, LAYERS, FUNCTIONS, CUTOFF = 8, 2, 6, 4.0


def configuration(basis, vectors):
    return {
        "_target_": "schnetpack.model.NeuralNetworkPotential",
        "representation": {
            "_target_": "schnetpack.representation.PaiNN",
            "n_atom_basis": FEATURES,
            "n_interactions": LAYERS,
            "radial_basis": {
                "_target_": f"schnetpack.nn.radial.{basis}",
                "n_rbf": FUNCTIONS,
                "cutoff": CUTOFF,
            },
            "cutoff_fn": {"_target_": "schnetpack.nn.cutoff.CosineCutoff", "cutoff": CUTOFF},
        },
        "output_modules": [
            {"_target_": "schnetpack.atomistic.Atomwise", "n_in": FEATURES, "output_key": "energy"},
            {"_target_": "schnetpack.atomistic.Forces"},
            {
                "_target_": "schnetpack.atomistic.DipoleMoment",
                "n_in": FEATURES,
                "use_vector_representation": vectors,
            },
            {"_target_": "schnetpack.atomistic.Polarizability", "n_in": FEATURES},
        ],
        "postprocessors": [
            {"_target_": "schnetpack.transform.CastTo64"},
            {
                "_target_": "schnetpack.transform.AddOffsets",
                "property": "energy",
                "add_mean": True,
                "add_atomrefs": True,
            },
        ],
    }


def build(settings):
    """Instantiate nested settings as hydra does."""
    if isinstance(settings, list):
        return [build(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    arguments = {key: build(value) for key, value in settings.items() if key != "_target_"}
    kind = schnetpack
    for part in settings["_target_"].split(".")[1:]:
        kind = getattr(kind, part)
    return kind(**arguments)


def inputs(atoms):
    positions = torch.tensor(atoms.positions - atoms.get_center_of_mass())
    n = len(atoms)
    i, j = (~torch.eye(n, dtype=torch.bool)).nonzero().unbind(-1)
    return {
        properties.Z: torch.tensor(atoms.numbers),
        properties.R: positions,
        properties.n_atoms: torch.tensor([n]),
        properties.idx_m: torch.zeros(n, dtype=torch.int64),
        properties.idx_i: i,
        properties.idx_j: j,
        properties.offsets: torch.zeros(len(i), 3, dtype=torch.float64),
        properties.cell: torch.zeros(1, 3, 3, dtype=torch.float64),
        properties.pbc: torch.zeros(1, 3, dtype=torch.bool),
    }


def packed(tensor):
    array = tensor.detach().numpy()
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "base64": base64.b64encode(array.tobytes()).decode(),
    }


def main(folder):
    atoms = molecule("CH3CH2OH")
    atoms.positions += np.random.default_rng(7).normal(scale=0.05, size=(9, 3))
    for basis, vectors, single in (("GaussianRBF", True, True), ("BesselRBF", False, False)):
        torch.manual_seed(4)
        if not single:
            torch.set_default_dtype(torch.float64)
        settings = configuration(basis, vectors)
        parts = {key: build(value) for key, value in settings.items() if key != "_target_"}
        parts["input_modules"] = [schnetpack.atomistic.PairwiseDistances()]
        model = schnetpack.model.NeuralNetworkPotential(**parts)
        offsets = model.postprocessors[1]
        offsets.mean = torch.tensor([-3.7], dtype=torch.float64)
        offsets.atomref = torch.linspace(0.0, -9.9, 100, dtype=torch.float64)
        stored = {name: value.clone() for name, value in model.state_dict().items()}
        model = model.double()
        results = model(inputs(atoms))
        names = ("energy", "forces", "dipole_moment", "polarizability")
        record = {
            "settings": settings,
            "state": {name: packed(value) for name, value in stored.items()},
            "numbers": atoms.numbers.tolist(),
            "positions": packed(torch.tensor(atoms.positions)),
            "results": {name: packed(results[name].detach()) for name in names},
        }
        path = Path(folder) / f"schnetpack_{basis}.json"
        path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
