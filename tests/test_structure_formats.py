# SPDX-License-Identifier: MIT
"""Charge, spin and isotopes of structure files that readers of ASE leave out."""

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from eqcalc.datasets import convert
from eqcalc.molecules import (
    atomic_masses,
    read_structure,
    read_structures,
    total_charge,
    unpaired_electrons,
)
from eqcalc.validation import InvalidFileError

HYDRONIUM = Atoms("OH3", [[0, 0, 0.1], [0.94, 0, -0.2], [-0.47, 0.81, -0.2], [-0.47, -0.81, -0.2]])


def molfile(atoms, code=0, properties=()):
    """Return a molfile whose first atom has a charge code."""
    lines = [
        f"{x:10.4f}{y:10.4f}{z:10.4f} {symbol:3} 0{code if i == 0 else 0:3}  0"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions, strict=True))
    ]
    head = ["name", "", "", f"{len(atoms):3}  0  0  0  0  0  0  0  0  0999 V2000"]
    return "\n".join([*head, *lines, *properties, "M  END", ""])


def pdb(atoms, charge):
    return "".join(
        f"HETATM{i:5} {symbol:<4} HOH A   1    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
        f"          {symbol:>2}{charge if i == 1 else '':2}\n"
        for i, (symbol, (x, y, z)) in enumerate(zip(atoms.symbols, atoms.positions, strict=True), 1)
    )


@pytest.mark.parametrize(("code", "charge"), [(0, 0), (3, 1), (2, 2), (5, -1), (7, -3)])
def test_charges_in_the_atom_block_of_a_molfile(tmp_path, code, charge):
    (tmp_path / "a.mol").write_text(molfile(HYDRONIUM, code))
    assert total_charge(read_structure(tmp_path / "a.mol")) == charge


def test_property_lines_of_a_molfile_supersede_its_atom_block(tmp_path):
    (tmp_path / "a.mol").write_text(molfile(HYDRONIUM, 5, ["M  CHG  2   1   2   2  -1"]))
    assert total_charge(read_structure(tmp_path / "a.mol")) == 1.0


def test_radicals_and_isotopes_of_a_molfile(tmp_path):
    methylene = Atoms("CH2", [[0, 0, 0], [0.9, 0.5, 0], [-0.9, 0.5, 0]])
    properties = ["M  RAD  1   1   3", "M  ISO  1   2   2"]
    (tmp_path / "a.mol").write_text(molfile(methylene, 0, properties))
    read = read_structure(tmp_path / "a.mol")
    assert unpaired_electrons(read) == 2
    assert atomic_masses(read) == pytest.approx([12.011, 2.01410178, 1.008])


def test_every_molecule_of_an_sdf_is_read(tmp_path):
    """ASE reads the first of them."""
    water = Atoms("OH2", [[0, 0, 0], [0.9, 0.3, 0], [-0.9, 0.3, 0]])
    second = molfile(HYDRONIUM, 0, ["M  CHG  1   1   1"])
    (tmp_path / "a.sdf").write_text(f"{molfile(water)}$$$$\n{second}> <name>\nx\n\n$$$$\n")
    found = read_structures([tmp_path / "a.sdf"])
    assert [(len(atoms), total_charge(atoms)) for atoms in found] == [(3, 0.0), (4, 1.0)]


def test_a_molfile_of_version_3000_is_refused_by_name(tmp_path):
    text = molfile(HYDRONIUM).replace("V2000", "V3000")
    (tmp_path / "a.mol").write_text(text)
    with pytest.raises(InvalidFileError) as found:
        read_structure(tmp_path / "a.mol")
    assert found.value.key == "molfile" and found.value.file == tmp_path / "a.mol"


@pytest.mark.parametrize(("text", "charge"), [("1+", 1), ("2-", -2), ("", 0), ("+1", 1)])
def test_charges_of_a_pdb_file(tmp_path, text, charge):
    (tmp_path / "a.pdb").write_text(pdb(HYDRONIUM, text) + "END\n")
    assert total_charge(read_structure(tmp_path / "a.pdb")) == charge


@pytest.mark.parametrize("suffix", ["db", "json"])
def test_the_charge_of_a_row_is_not_hidden_by_its_property(tmp_path, suffix):
    """``row.charge`` of ASE is that of the initial charges, whatever the row says."""
    path = tmp_path / f"a.{suffix}"
    with ase.db.connect(path) as database:
        for shift in (0.0, 0.02):
            atoms = HYDRONIUM.copy()
            atoms.positions[0, 2] += shift
            atoms.calc = SinglePointCalculator(atoms, energy=-2090.0 + shift)
            database.write(atoms, charge=1)
    assert [total_charge(atoms) for atoms in read_structures([path])] == [1.0, 1.0]
    report = convert(path, tmp_path / "a.h5", level_of_theory="x", reference=None, progress=False)
    assert [report.dataset[i].charge for i in range(2)] == [1.0, 1.0]


def test_computed_charges_of_the_atoms_add_up_to_the_total(tmp_path):
    for charges, total in (([0.4, 0.2, 0.2, 0.2], 1), ([0.398, 0.2, 0.2, 0.2], 1), ([0.1] * 4, 0)):
        atoms = HYDRONIUM.copy()
        atoms.calc = SinglePointCalculator(atoms, energy=0.0, charges=np.array(charges))
        ase.io.write(tmp_path / "a.traj", atoms)
        assert total_charge(read_structure(tmp_path / "a.traj")) == total
        atoms.info["charge"] = 2  # what is stated counts
        assert total_charge(atoms) == 2.0
