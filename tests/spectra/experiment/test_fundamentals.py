# SPDX-License-Identifier: MIT
"""The table of fundamentals, and recognition of a molecule by its geometry and isotopes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from ase.build import molecule as ase_molecule

from eqcalc.spectra import known_fundamentals
from eqcalc.spectra.experiment.fundamentals import parse_inchi
from eqcalc.spectra.provenance import molecule as record_of
from tests.errors import refused
from tests.spectra.experiment.bands import BANDS, lines

TABLE = Path(__file__).parents[3] / "data/experiment/fundamentals.csv"
DEGENERACY = {"e": 2, "f": 3, "π": 2}


def entries():
    found = {}
    for row in csv.DictReader(TABLE.open(encoding="utf-8", newline="")):
        found.setdefault((row["name"], row["inchi"]), []).append(row)
    return found


def test_the_modes_of_every_entry_are_those_of_the_atoms_of_its_inchi():
    """3N − 6, or 3N − 5 if linear; 2-butyne has no torsion there, methanol has it twice."""
    found = entries()
    assert len(found) == 216
    assert len({inchi for _, inchi in found if inchi}) == 214  # the rest are polymers
    for (name, inchi), rows in found.items():
        if not inchi:
            assert name.startswith("Poly")
            continue
        modes = sum(DEGENERACY.get(row["symmetry"][0], 1) for row in rows)
        degrees = 3 * len(parse_inchi(inchi).atoms) - 6
        linear = any(row["symmetry"].startswith("π") for row in rows)
        assert modes == degrees + linear + {"2-Butyne": -1, "Methyl Alcohol": 1}.get(name, 0), name


def test_inchi():
    propyne = parse_inchi("1S/C3H4/c1-3-2/h1H,2H3/i1D,2D3")
    assert sorted(propyne.atoms) == [(1, 1)] * 4 + [(6, 0)] * 3
    assert sorted(map(sorted, propyne.bonds))[:3] == [[0, 2], [0, 3], [1, 2]]
    ring = parse_inchi("1S/C4H8O/c1-3-4(2)5/h3H2,1-2H3")
    assert len(ring.bonds) == len(ring.atoms) - 1 == 12
    assert sorted(parse_inchi("1S/N2O/c1-2-3/i1+1,2+1").atoms) == [(7, 1), (7, 1), (8, 0)]
    acid = parse_inchi("1S/CH2O2/c2-1-3/h1H,(H,2,3)/i1D/hD")
    assert sorted(acid.atoms) == [(1, 1), (1, 1), (6, 0), (8, 0), (8, 0)]
    diborane = parse_inchi("1S/B2H6/c1-3-2-4-1/h1-2H2/i1-1D2,2-1D2,3D,4D")
    assert diborane.composition == {(5, -1): 2, (1, 1): 6}
    assert len(diborane.bonds) == 8
    assert parse_inchi("1S/6FH.W/h6*1H;/q;;;;;;+6/p-6").formula == "F6W"


def spectrum_of(atoms, label="IR intensity", positions=True):
    places = atoms.positions if positions else None
    source = {"molecule": record_of(atoms.numbers, atoms.get_masses(), places)}
    found = lines(*BANDS)
    found.provenance["source"] = source
    object.__setattr__(found, "label", label)
    return found


def deuterated(name, *places):
    atoms = ase_molecule(name)
    masses = atoms.get_masses()
    masses[list(places)] = 2.014
    atoms.set_masses(masses)
    return atoms


def dichloroethylene(angle):
    """Return CHCl=CHCl with the dihedral angle [°] of its chlorine atoms."""
    atoms = ase_molecule("H2CCHCl")
    chlorine = int(np.argmax(atoms.numbers == 17))
    carbons = np.flatnonzero(atoms.numbers == 6)
    near, far = sorted(carbons, key=lambda i: atoms.get_distance(i, chlorine))
    hydrogens = [i for i in np.flatnonzero(atoms.numbers == 1) if atoms.get_distance(i, far) < 1.3]
    for i in hydrogens:
        dihedral = atoms.get_dihedral(chlorine, near, far, i)
        if abs((dihedral - angle + 180.0) % 360.0 - 180.0) < 20.0:
            atoms.numbers[i] = 17
            atoms.set_distance(far, i, 1.72, fix=0)
    atoms.set_masses(None)
    return atoms


@pytest.mark.parametrize(
    ("atoms", "name"),
    [
        (ase_molecule("CH3CH2OH"), "Ethanol"),
        (ase_molecule("CH3OCH3"), "Dimethyl ether"),
        (ase_molecule("H2CO"), "Formaldehyde"),
        (deuterated("H2CO", 2), "Formaldehyde-d1"),
        (deuterated("H2CO", 2, 3), "Formaldehyde-d2"),
        (ase_molecule("CH3OH"), "Methyl Alcohol"),
        (deuterated("CH3OH", 3), "Methanol-d1"),
        (ase_molecule("C3H6_D3h"), "Cyclopropane"),
        (ase_molecule("HCOOH"), "Formic acid"),
        (ase_molecule("SiF4"), "Silicon tetrafluoride"),
        (dichloroethylene(0.0), "Ethylene, 1,2-dichloro-, (Z)-"),
        (dichloroethylene(180.0), "Ethylene, 1,2-dichloro-, (E)-"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_molecules_are_recognised_in_any_order_of_their_atoms(atoms, name):
    for order in (np.arange(len(atoms)), np.random.default_rng(0).permutation(len(atoms))):
        found = known_fundamentals(spectrum_of(atoms[order]))
        assert found.provenance["molecule"] == name
        assert found.warnings == () or "active" in found.warnings[0]


def test_isomers_are_told_apart_or_said_to_be_possible():
    ethanol = spectrum_of(ase_molecule("CH3CH2OH"), positions=False)
    with refused(key="molecule", value="C2H6O") as caught:
        known_fundamentals(ethanol)
    assert "Dimethyl ether, Ethanol" in caught.value.problem
    assert known_fundamentals(ethanol, "ethanol").provenance["molecule"] == "Ethanol"
    methanol = known_fundamentals(spectrum_of(ase_molecule("CH3OH"), positions=False))
    assert methanol.provenance["molecule"] == "Methyl Alcohol"
    assert methanol.warnings == ("recognised by its formula alone, CH4O",)
    # an isomer, and an isotopologue, that are not in the table
    for atoms in (ase_molecule("cyclobutene"), deuterated("CH3CH2OH", 8)):
        with refused(key="molecule", value=atoms.get_chemical_formula("hill")) as caught:
            known_fundamentals(spectrum_of(atoms))
        assert "not in the table" in caught.value.problem
    with refused(key="molecule", value="H4N"):
        spectrum = spectrum_of(ase_molecule("CH4"))
        spectrum.provenance["source"] |= {"charge": 1.0, "formula": "H4N"}
        known_fundamentals(spectrum)
    with refused(key="molecule") as caught:
        known_fundamentals(lines(*BANDS))
    assert "--molecule" in caught.value.advice


def test_a_name_may_be_given():
    water = spectrum_of(ase_molecule("H2O"))
    heavy = known_fundamentals(water, "InChI=1S/H2O/h1H2/i/hD2")
    assert heavy.provenance["molecule"] == "deuterium oxide"
    assert heavy.warnings == ("the spectrum is of a molecule with other atoms or isotopes, H2O",)
    with refused(key="molecule", value="Watr", suggestion="Water"):
        known_fundamentals(water, "Watr")


def test_what_symmetry_forbids_is_left_out():
    # of carbon dioxide the symmetric stretch, of methane a1 and e, are not infrared active
    carbon_dioxide = ase_molecule("CO2")
    found = known_fundamentals(spectrum_of(carbon_dioxide))
    assert sorted(found.position) == [667.0, 2349.0]
    assert "1 of 3 fundamentals are not infrared active" in found.warnings
    found = known_fundamentals(spectrum_of(carbon_dioxide, "Raman activity"))
    assert found.position.tolist() == [1333.0]
    assert sorted(known_fundamentals(spectrum_of(ase_molecule("CH4"))).position) == [1306, 3019]
    assert len(known_fundamentals(spectrum_of(ase_molecule("CH4"), "Raman activity")).position) == 4
