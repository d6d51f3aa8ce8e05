# SPDX-License-Identifier: MIT
"""A training with Triton kernels, on a CPU, is the one without."""

import torch

from eqcalc.datasets import Dataset
from eqcalc.training import train
from tests.training.conftest import LEVEL, records

SETTINGS = {
    "data": {"path": "data.h5", "training": 2, "validation": 1, "test": 1},
    "model": {
        "representation": {"name": "painn", "features": 4, "layers": 2, "radial_functions": 2}
    },
    "loss": ["energy", "forces", "dipole"],
    "optimizer": {"batch_size": 2},
    "stopping": {"epochs": 2},
}


def test_a_training_with_kernels_is_that_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Dataset.create(tmp_path / "data.h5", records(4, names=("H2O",)), level_of_theory=LEVEL)
    plain, fused = (
        train(
            SETTINGS
            | {
                "output": kernels,
                "trainer": {"kernels": kernels, "precision": "64-true", "accelerator": "cpu"},
            },
            progress=False,
        ).model
        for kernels in ("torch", "triton")
    )
    expected = dict(plain.named_parameters())
    found = dict(fused.named_parameters())
    assert found.keys() == expected.keys()
    assert any(not torch.equal(value, expected[name]) for name, value in found.items())
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-9, msg=name)
