# SPDX-License-Identifier: MIT
"""Imported models of SchNetPack give the results of SchNetPack.

The reference files were written by SchNetPack itself; see make_schnetpack_reference.py.
"""

import base64
import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from eqcalc.models.schnetpack_import import import_schnetpack
from eqcalc.neighbors import all_pairs
from eqcalc.runtime import evaluator_for
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.structures import Structures
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidInputError

UNITS = {"energy": "kcal/mol", "dipole": "debye", "polarizability": "bohr^3"}


def unpacked(entry):
    data = np.frombuffer(base64.b64decode(entry["base64"]), entry["dtype"])
    return torch.tensor(data.reshape(entry["shape"]))


@pytest.fixture(params=["GaussianRBF", "BesselRBF"])
def record(request):
    text = (Path(__file__).parent / f"schnetpack_{request.param}.json").read_text("utf-8")
    record = json.loads(text)
    for part in ("state", "results"):
        record[part] = {name: unpacked(entry) for name, entry in record[part].items()}
    record["atoms"] = Atoms(record["numbers"], unpacked(record["positions"]).numpy())
    return record


def imported(record, **changes):
    arguments = {"elements": (1, 6, 8), "units": UNITS, **changes}
    return import_schnetpack(record["state"], record["settings"], **arguments)


def test_results_are_those_of_schnetpack(record):
    potential = imported(record).double()
    structure = Structures.from_atoms(record["atoms"])
    names = ("energy", "forces", "dipole", "polarizability")
    found = potential.evaluate(structure, all_pairs(structure), names)
    for name, theirs, unit, target in (
        ("energy", "energy", "kcal/mol", "eV"),
        ("forces", "forces", "kcal/mol/Å", "eV/Å"),
        ("dipole", "dipole_moment", "debye", "e*Å"),
        ("polarizability", "polarizability", "bohr^3", "e^2*Å^2/eV"),
    ):
        expected = record["results"][theirs] * conversion_factor(unit, target)
        error = (found[name] - expected.reshape(found[name].shape)).abs().max()
        assert float(error) < 1e-9 * max(1.0, float(expected.abs().max())), name


def test_both_bases_and_both_dipoles_occur(record):
    """The files cover constants in single and in double precision, with and without vectors."""
    potential = imported(record)
    gaussian = "GaussianRBF" in str(record["settings"])
    expected = "gaussian_single" if gaussian else "sinc"
    assert potential.config.representation.radial_basis == expected
    assert potential.heads["dipole"].gated == gaussian
    assert potential.dtype == (torch.float32 if gaussian else torch.float64)


def test_positions_need_not_be_centred_here(record):
    potential = imported(record).double()
    moved = record["atoms"].copy()
    moved.positions += (3.0, -5.0, 7.0)
    values = []
    for atoms in (record["atoms"], moved):
        structure = Structures.from_atoms(atoms)
        values.append(potential.evaluate(structure, all_pairs(structure), ("polarizability",)))
    torch.testing.assert_close(
        values[0]["polarizability"], values[1]["polarizability"], rtol=1e-10, atol=1e-12
    )


def test_shared_filters_are_repeated(record):
    state = record["state"]
    for kind in ("weight", "bias"):
        name = f"representation.filter_net.{kind}"
        state[name] = state[name][:24]
    potential = imported(record)
    filters = potential.representation.filters.weight
    assert torch.equal(filters[:24], filters[24:])


def changed(settings, path, value):
    settings = copy.deepcopy(settings)
    part = settings
    *path, last = path
    for key in path:
        part = part[key]
    part[last] = value
    return settings


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("representation", "_target_"), "schnetpack.representation.SO3net", "SO3net"),
        (("representation", "activation"), "torch.nn.functional.relu", "silu"),
        (("representation", "radial_basis", "_target_"), "x.GaussianRBFCentered", "Centered"),
        (("representation", "cutoff_fn", "_target_"), "x.MollifierCutoff", "Mollifier"),
        (("representation", "electronic_embeddings"), [1], "embedding"),
        (("representation", "radial_basis", "n_rbf"), 7, "constants"),
        (("output_modules", 0, "n_layers"), 3, "two layers"),
        (("output_modules", 0, "aggregation_mode"), "avg", "summed"),
        (("output_modules", 2, "correct_charges"), False, "correct_charges"),
        (("output_modules", 1, "_target_"), "schnetpack.atomistic.Response", "Response"),
        (("postprocessors", 1, "_target_"), "x.ScaleProperty", "ScaleProperty"),
        (("representation", "radial_basis", "n_rbf"), None, r"radial_basis\.n_rbf: missing"),
        (("representation", "n_interactions"), None, r"representation\.n_interactions: missing"),
        (("postprocessors",), [], r"the state has postprocessors\.1\.\w+, but the settings have 0"),
        (("representation",), None, "config: it has no representation"),
    ],
)
def test_what_cannot_be_imported_is_named(record, path, value, message):
    settings = changed(record["settings"], path, value)
    with pytest.raises(InvalidInputError, match=message):
        import_schnetpack(record["state"], settings, elements=(1, 6, 8), units=UNITS)


def test_missing_units_and_parameters_are_named(record):
    with pytest.raises(InvalidInputError, match="unit of the dipole"):
        imported(record, units={"energy": "eV"})
    stranger = {**record["state"], "representation.charge_embedding": torch.zeros(3)}
    with pytest.raises(InvalidInputError, match="charge_embedding"):
        imported({**record, "state": stranger})
    incomplete = dict(record["state"])
    del incomplete["representation.mixing.1.mu_channel_mix.weight"]
    with pytest.raises(InvalidInputError, match="mu_channel_mix"):
        imported({**record, "state": incomplete})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": ("H", "C", "O")}, r"elements: expected atomic numbers such as \(1, 6, 8\)"),
        ({"elements": ()}, "elements: expected atomic numbers"),
        ({"elements": (1, 6, 300)}, "elements: 300 does not fit the embedding"),
        ({"units": {**UNITS, "enrgy": "eV"}}, "units: expected some of energy, .* got 'enrgy'"),
        ({"state": "state.pt"}, r"state: expected the tensors that torch\.load.*'state\.pt'"),
        ({"config": "model.json"}, r"config: expected the mapping .*'model\.json'"),
        ({"config": {"model": {}}}, "config: it has no representation; pass the section"),
        ({"units": {"energy": "eV"}}, r"unit of the dipole, for example dipole='e\*Å'"),
    ],
)
def test_wrong_arguments_are_named(record, changes, message):
    arguments = {"state": record["state"], "config": record["settings"]}
    arguments |= {"elements": (1, 6, 8), "units": UNITS, **changes}
    with pytest.raises(InvalidInputError, match=message):
        import_schnetpack(**arguments)


def test_an_offset_that_the_state_lacks_is_named(record):
    state = {name: v for name, v in record["state"].items() if "postprocessors" not in name}
    with pytest.raises(InvalidInputError, match=r"the state has no postprocessors\.1\.mean"):
        imported({**record, "state": state})


@pytest.mark.skipif(compiler() is None, reason="needs a C++ compiler")
def test_everything_runs_on_compiled_kernels(record):
    potential = imported(record)
    chosen = evaluator_for(potential, torch.tensor(record["numbers"]))
    assert set(chosen.parts.values()) == {"compiled kernels"}
