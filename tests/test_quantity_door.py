# SPDX-License-Identifier: MIT
"""A quantity and its read-out, added from a file outside of the package, go the whole way."""

import importlib
import json
import re
import sys
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from ase.build import molecule

from eqcalc import quantities
from eqcalc.calculator import EqCalculator
from eqcalc.datasets import Dataset, Record, convert, statistics, validate
from eqcalc.dynamics import default_observables, simulate
from eqcalc.ipi.evaluation import BeadEvaluator
from eqcalc.ipi.units import extra_quantities, printed_units
from eqcalc.models import Potential, PotentialConfig, References, load_model, readouts, save_model
from eqcalc.models.networks.painn import PaiNNConfig
from eqcalc.runtime import eager_evaluator, evaluator_for
from eqcalc.runtime.cpp_compiler import compiler
from eqcalc.structures import Structures
from eqcalc.training import evaluate, train
from eqcalc.trajectory import Trajectory
from eqcalc.units import conversion_factor
from eqcalc.validation import InvalidFileError, InvalidInputError
from tests.errors import refused

FOLDER = Path(__file__).parents[1] / "workflows" / "own_quantity"
MODULE = "quadrupole"
#: Charges of a water molecule [e], and the stretched springs that hold it together.
CHARGES = np.array([-0.8, 0.4, 0.4])
STIFFNESS = 20.0


@pytest.fixture
def importable(monkeypatch):
    """The folder of the example is in the path; nothing of it is imported or registered."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(quantities, "_QUANTITIES", dict(quantities._QUANTITIES))
    monkeypatch.setattr(readouts, "_READOUTS", dict(readouts._READOUTS))
    monkeypatch.delenv("EQCALC_PLUGINS", raising=False)
    yield
    sys.modules.pop(MODULE, None)


@pytest.fixture
def quadrupole(importable):
    """The module of the example, imported."""
    return importlib.import_module(MODULE)


def moment(positions, masses):
    """Θ = ½ Σ q (3 x ⊗ x − x² 1) about the centre of mass [e Å²]."""
    x = positions - masses @ positions / masses.sum()
    return 0.5 * (
        3.0 * np.einsum("i,ia,ib->ab", CHARGES, x, x) - CHARGES @ (x * x).sum(1) * np.eye(3)
    )


def waters(n):
    """Rattled water molecules whose labels are exact for point charges on springs."""
    rng = np.random.default_rng(3)
    rest = molecule("H2O")
    lengths = rest.get_all_distances()
    for _ in range(n):
        atoms = rest.copy()
        atoms.rattle(0.06, rng=rng)
        arms = atoms.positions[:, None] - atoms.positions
        distances = np.linalg.norm(arms, axis=-1) + np.eye(3)
        stretch = np.where(np.eye(3, dtype=bool), 0.0, distances - lengths)
        yield Record(
            atoms.numbers,
            atoms.positions,
            {
                "energy": 0.25 * STIFFNESS * (stretch**2).sum(),
                "forces": -STIFFNESS * np.einsum("ij,ija->ia", stretch / distances, arms),
                "quadrupole": moment(atoms.positions, atoms.get_masses()),
            },
        )


@pytest.fixture
def dataset(quadrupole, tmp_path):
    return Dataset.create(tmp_path / "water.h5", waters(60), level_of_theory="point charges")


def small_potential(heads=("energy", "quadrupole")):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        config = PotentialConfig(PaiNNConfig(features=8, layers=1, radial_functions=8), heads)
        return Potential(config, References((1, 8), scales={"quadrupole": 0.3})).double()


@pytest.fixture
def ase_water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.mark.slow
def test_the_whole_way(dataset, tmp_path, ase_water):
    """Labels, training, errors, ASE, dynamics and the trajectory."""
    settings = {
        "output": str(tmp_path / "run"),
        "data": {"path": str(dataset.path), "training": 40, "validation": 10, "test": 10},
        "model": {"representation": {"name": "painn", "features": 16, "layers": 1}},
        "loss": ["energy", "forces", "quadrupole"],
        "optimizer": {"learning_rate": 0.005},
        "stopping": {"epochs": 12},
        "ema": {"decay": 0.5},
    }
    result = train(settings, progress=False)
    assert result.record["config"]["loss"]["quadrupole"]["weight"] == 0.02
    model = load_model(tmp_path / "run" / "model.eqc")
    assert model.config.heads == ("energy", "quadrupole")

    table = evaluate(model, dataset, split="test")
    row = table.row("quadrupole", "mD Å")
    assert row.n == 90 and row.mae < 0.5 * row.spread
    assert table.row("quadrupole magnitude", "mD Å").n == 10
    assert (tmp_path / "evaluation-quadrupole.png") in table.write(tmp_path)

    ase_water.calc = EqCalculator(model, precision="float64")
    ase_water.get_forces()
    found = ase_water.calc.results["quadrupole"]
    np.testing.assert_allclose(found, found.T, atol=1e-12)
    assert np.trace(found) == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_array_equal(ase_water.calc.get_property("quadrupole", ase_water), found)

    evaluator = evaluator_for(model, ase_water.numbers)
    assert evaluator.parts["quadrupole"] != "eager" or evaluator.parts["energy"] == "eager"
    assert default_observables(0.5, evaluator.quantities)["quadrupole"] == 2
    if compiler() is not None:
        assert evaluator.parts["forces"] == "compiled kernels"
        assert evaluator.parts["quadrupole"] == "eager read-out"
        for text in (repr(evaluator), repr(ase_water.calc), evaluator._repr_html_()):
            assert "energy, forces, stress: compiled kernels; quadrupole: eager read-out" in text
    positions = torch.from_numpy(ase_water.positions)[None]
    expected = eager_evaluator(model, ase_water.numbers)(positions, evaluator.quantities[:2])
    for name, value in evaluator(positions, tuple(expected)).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-4)
    trajectory = simulate(
        ase_water,
        evaluator,
        output=tmp_path / "water-md.h5",
        method="NVE",
        temperature=50.0,
        timestep=0.1,
        steps=10,
        seed=1,
        replicas=2,
        observables={"quadrupole": 1, "quadrupole_rate": 1, "positions": 1},
        progress=False,
    )
    series = Trajectory.open(trajectory.path).observable("quadrupole")
    assert (series.unit, series.values.shape) == ("e*Å^2", (2, 11, 3, 3))
    rate = trajectory.observable("quadrupole_rate")
    assert rate.unit == "e*Å^2/fs"
    change = (series.values[:, 2:] - series.values[:, :-2]) / 0.2
    np.testing.assert_allclose(rate.values[:, 1:-1], change, atol=2e-2 * np.abs(rate.values).max())
    frame = trajectory.observable("positions").values[1, 5]
    ase_water.positions = frame
    np.testing.assert_allclose(
        ase_water.calc.get_property("quadrupole", ase_water), series.values[1, 5], atol=1e-5
    )


def test_the_checks_of_the_page_pass(importable):
    code = re.findall(r"```python\n(.*?)```", (FOLDER / "README.md").read_text(), re.DOTALL)[-1]
    exec(code, {})


def test_the_read_out_of_a_charge_and_a_dipole(quadrupole):
    """An atom of charge q and dipole μ away from the origin, by hand."""

    class Fixed(quadrupole.QuadrupoleHead):
        def atomic(self, scalars, vectors, dtype):
            return torch.tensor([[0.4], [0.6]], dtype=dtype), torch.tensor(
                [[0.0, 0.0, 0.1], [0.2, 0.0, 0.0]], dtype=dtype
            )

    head = Fixed(readouts.FeatureCounts(4, 4))
    atoms = molecule("H2")
    atoms.positions = [[0.0, 0.0, 1.0], [2.0, 0.0, 0.0]]
    atoms.info["charge"] = 1.0
    origin = torch.zeros(1, 3, dtype=torch.float64)
    found = head(torch.zeros(2, 4), torch.zeros(2, 3, 4), Structures.from_atoms(atoms), origin)[0]
    charges = np.diag([0.5 * 0.6 * 8.0 - 0.2, -1.2 - 0.2, 0.4 - 1.2])
    dipoles = np.diag([-0.1 + 3 * 0.4 - 0.4, -0.1 - 0.4, 0.3 - 0.1 - 0.4])
    np.testing.assert_allclose(found.detach(), charges + dipoles, atol=1e-12)


def test_labels_in_every_format(dataset, tmp_path):
    records = list(dataset)[:5]
    assert validate(dataset).errors == []
    assert statistics(dataset)["quadrupole"].n == 60

    frames = [record.atoms() for record in records]
    assert all("quadrupole" in frame.info for frame in frames)
    ase.io.write(tmp_path / "water.extxyz", frames)
    np.savez(
        tmp_path / "water.npz",
        z=records[0].numbers,
        R=np.stack([record.positions for record in records]),
        quadrupole=np.stack([record.labels["quadrupole"] for record in records]),
    )
    factor = conversion_factor("e*Å^2", "e*bohr^2")
    for suffix, unit, scale in ((".extxyz", "e*Å^2", 1.0), (".npz", "e*bohr^2", factor)):
        units = {"positions": "Å", "quadrupole": unit}
        if suffix == ".extxyz":
            units |= {"energy": "eV", "forces": "eV/Å"}
        target = tmp_path / f"from{suffix}.h5"
        convert(tmp_path / f"water{suffix}", target, units=units, level_of_theory="x")
        for record, back in zip(records, Dataset.open(target), strict=True):
            np.testing.assert_allclose(
                back.labels["quadrupole"] * scale, record.labels["quadrupole"], rtol=1e-6
            )


def test_a_label_that_is_not_traceless_is_found(quadrupole, tmp_path):
    water = next(waters(1))
    wrong = Record(water.numbers, water.positions, {"quadrupole": np.eye(3)})
    report = validate(Dataset.create(tmp_path / "a.h5", [wrong], level_of_theory="x"))
    assert [p.message for p in report.errors] == ["quadrupole is not traceless"]


def test_i_pi_is_handed_it_in_atomic_units(quadrupole, ase_water):
    potential = small_potential()
    evaluator = evaluator_for(potential, ase_water.numbers, execution="eager")
    beads = BeadEvaluator(evaluator, ("energy", "forces", "quadrupole"))
    bohr = conversion_factor("bohr", "Å")
    extras = json.loads(beads(ase_water.positions[None] / bohr)[0].extras)
    ase_water.calc = EqCalculator(potential, execution="eager")
    expected = ase_water.calc.get_property("quadrupole", ase_water) / bohr**2
    assert extra_quantities()["quadrupole"].ipi_property == "quadrupole_mean"
    assert printed_units()["quadrupole_mean"][""] == pytest.approx(bohr**2)
    np.testing.assert_allclose(extras["quadrupole"], expected.ravel(), atol=1e-12)


def test_a_file_needs_the_module_that_was_let_in(quadrupole, tmp_path, monkeypatch, ase_water):
    potential = small_potential()
    save_model(potential, tmp_path / "model.eqc")
    del sys.modules[MODULE]
    quantities._QUANTITIES.pop("quadrupole")
    readouts._READOUTS.pop("quadrupole")
    with refused(InvalidFileError, key="heads", value="quadrupole") as caught:
        load_model(tmp_path / "model.eqc")
    assert "EQCALC_PLUGINS" in caught.value.advice
    assert MODULE not in sys.modules
    monkeypatch.setenv("EQCALC_PLUGINS", MODULE)
    assert load_model(tmp_path / "model.eqc").quantities[-1] == "quadrupole"


def test_rows_that_cannot_be(importable):
    Quantity = quantities.Quantity
    for key, row in (
        ("shape", {"name": "q", "shape": (5,), "unit": "e*Å^2"}),
        ("shape", {"name": "q", "shape": (3,), "unit": "e*Å^2", "traceless": True}),
        ("name", {"name": "two words", "shape": (), "unit": "eV"}),
        ("name", {"name": "positions", "shape": (3,), "unit": "Å"}),
        ("invariant", {"name": "q", "shape": (3,), "unit": "Å", "invariant": "isotropic"}),
    ):
        with pytest.raises(InvalidInputError) as caught:
            Quantity(**row)
        assert caught.value.key == f"{row['name']}.{key}"
    with pytest.raises(InvalidInputError) as caught:
        quantities.register_quantity(Quantity("dipole", (), "eV"))
    assert (caught.value.key, caught.value.value) == ("dipole.name", "dipole")
    with pytest.raises(InvalidInputError) as caught:
        readouts.register_readout("forces")
    assert caught.value.value == "forces"
