# SPDX-License-Identifier: MIT
"""The anharmonic spectrum of a molecule from the command line."""

import json

import pytest
from ase.io import write

from eqcalc.cli import main
from eqcalc.demo import ethanol_conformers
from eqcalc.models.checkpoint import load_model, shipped_model


@pytest.mark.slow
def test_ethanol(tmp_path, capsys):
    """Quantum nuclei lower the O–H stretch by about 200 cm⁻¹; both torsions turn."""
    model = shipped_model("ethanol")
    write(tmp_path / "gauche.xyz", ethanol_conformers(load_model(model))["gauche"])
    output = tmp_path / "levels.json"
    command = ["anharmonic", str(model), str(tmp_path / "gauche.xyz"), "--quanta", "2"]
    assert main([*command, "--output", str(output)]) == 0
    record = json.loads(output.read_text())
    shown = capsys.readouterr().out
    assert "motions of large amplitude, in place of ν1, ν2" in shown
    stretch = [
        nu
        for nu, found in zip(record["wavenumber_cm-1"], record["assignment"], strict=True)
        if found[0]["quanta"] == {"21": 1}
    ]
    assert 120.0 < record["harmonic_cm-1"][20] - stretch[0] < 260.0
    methyl, hydroxyl = (motion["fundamental_cm-1"] for motion in record["motions"])
    assert 200.0 < methyl < 280.0
    assert 180.0 < hydroxyl < 280.0
