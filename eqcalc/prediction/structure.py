# SPDX-License-Identifier: MIT
"""From a file, a formula, a name or a SMILES string to a structure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.symbols import Symbols

from eqcalc.molecules import isotope_masses, read_structure
from eqcalc.spectra.experiment.fundamentals import molecule_names
from eqcalc.validation import InvalidInputError, nearest

#: Common names of molecules: a formula of the G2 set, whose structures ASE ships, or SMILES. Beside
#: them there are those of the table of fundamentals.
_NAMES = {
    "water": "H2O",
    "ammonia": "NH3",
    "methane": "CH4",
    "methanol": "CH3OH",
    "ethanol": "CH3CH2OH",
    "formaldehyde": "H2CO",
    "acetaldehyde": "CH3CHO",
    "formic acid": "HCOOH",
    "acetic acid": "CH3COOH",
    "acetone": "CH3COCH3",
    "acetonitrile": "CH3CN",
    "acetylene": "C2H2",
    "ethylene": "C2H4",
    "ethane": "C2H6",
    "benzene": "C6H6",
    "carbon dioxide": "CO2",
    "carbon monoxide": "CO",
    "hydrogen cyanide": "HCN",
    "hydrogen peroxide": "H2O2",
    "hydrazine": "N2H4",
    "methylamine": "H3CNH2",
    "dimethyl ether": "CH3OCH3",
    "nitromethane": "CH3NO2",
    "furan": "C4H4O",
    "pyridine": "C5H5N",
    "thiophene": "C4H4S",
    "ketene": "H2CCO",
    "oxirane": "CH2OCH2",
    "chloromethane": "CH3Cl",
    "dimethyl sulfoxide": "C2H6SO",
    "hydrogen": "H2",
    "nitrogen": "N2",
    "nitrous oxide": "N2O",
    "ozone": "O3",
    "hydrogen chloride": "HCl",
    "hydrogen fluoride": "HF",
    "sulfur dioxide": "SO2",
    "heavy water": "D2O",
    "pyrrole": "C4H4NH",
    "propane": "C3H8",
    "propene": "C3H6_Cs",
    "cyanogen": "NCCN",
    "glyoxal": "OCHCHO",
    "methyl formate": "HCOOCH3",
    "glycine": "smiles:NCC(=O)O",
    "urea": "smiles:NC(N)=O",
    "formamide": "smiles:NC=O",
    "acetamide": "CH3CONH2",
    "nitric acid": "smiles:O[N+](=O)[O-]",
    "nitrous acid": "smiles:ON=O",
    "isocyanic acid": "smiles:N=C=O",
    "hydroxylamine": "smiles:NO",
    "glycolaldehyde": "smiles:OCC=O",
    "acrylonitrile": "H2CCHCN",
    "imidazole": "smiles:c1c[nH]cn1",
    "pyrazole": "smiles:c1cn[nH]c1",
    "pyrimidine": "smiles:c1cncnc1",
    "pyrazine": "smiles:c1cnccn1",
    "toluene": "smiles:Cc1ccccc1",
    "styrene": "smiles:C=Cc1ccccc1",
    "naphthalene": "smiles:c1ccc2ccccc2c1",
    "phenol": "smiles:Oc1ccccc1",
    "anisole": "smiles:COc1ccccc1",
    "aniline": "smiles:Nc1ccccc1",
    "benzaldehyde": "smiles:O=Cc1ccccc1",
    "benzoic acid": "smiles:OC(=O)c1ccccc1",
    "benzonitrile": "smiles:N#Cc1ccccc1",
    "nitrobenzene": "smiles:O=[N+]([O-])c1ccccc1",
    "chlorobenzene": "smiles:Clc1ccccc1",
    "salicylic acid": "smiles:OC(=O)c1ccccc1O",
    "acetylsalicylic acid": "smiles:CC(=O)Oc1ccccc1C(=O)O",
    "aspirin": "smiles:CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "smiles:CC(=O)Nc1ccc(O)cc1",
    "ibuprofen": "smiles:CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "caffeine": "smiles:Cn1cnc2c1c(=O)n(C)c(=O)n2C",
    "nicotine": "smiles:CN1CCC[C@H]1c1cccnc1",
    "vanillin": "smiles:COc1cc(C=O)ccc1O",
    "menthol": "smiles:CC(C)[C@@H]1CC[C@@H](C)C[C@H]1O",
    "camphor": "smiles:CC1(C)C2CCC1(C)C(=O)C2",
    "alanine": "smiles:C[C@H](N)C(=O)O",
    "lactic acid": "smiles:CC(O)C(=O)O",
    "oxalic acid": "smiles:OC(=O)C(=O)O",
    "acetic anhydride": "smiles:CC(=O)OC(C)=O",
    "ethyl acetate": "smiles:CCOC(C)=O",
    "diethyl ether": "smiles:CCOCC",
    "tetrahydrofuran": "smiles:C1CCOC1",
    "thf": "smiles:C1CCOC1",
    "dioxane": "smiles:C1COCCO1",
    "dimethylformamide": "smiles:CN(C)C=O",
    "dmf": "smiles:CN(C)C=O",
    "dimethylacetamide": "smiles:CN(C)C(C)=O",
    "dmso": "C2H6SO",
    "isopropanol": "smiles:CC(C)O",
    "propanol": "smiles:CCCO",
    "butanol": "smiles:CCCCO",
    "ethylene glycol": "smiles:OCCO",
    "glycerol": "smiles:OCC(O)CO",
    "trimethylamine": "smiles:CN(C)C",
    "triethylamine": "smiles:CCN(CC)CC",
    "pentane": "smiles:CCCCC",
    "hexane": "smiles:CCCCCC",
    "heptane": "smiles:CCCCCCC",
    "octane": "smiles:CCCCCCCC",
    "cyclopentane": "smiles:C1CCCC1",
    "cyclohexane": "smiles:C1CCCCC1",
    "dichloromethane": "smiles:ClCCl",
    "chloroform": "smiles:ClC(Cl)Cl",
    "carbon tetrachloride": "smiles:ClC(Cl)(Cl)Cl",
}
#: Molecules of the G2 set; a lone atom has no vibrations, and is a hydride as SMILES.
_MOLECULES = tuple(name for name in g2.names if len(g2[name]) > 1)
_EXPECTED = (
    "a structure file, a formula of ASE's G2 set, a common name, a SMILES string, or an InChI"
)


def molecule_from(text: str) -> Atoms:
    """Return a molecule, not relaxed.

    Parameters
    ----------
    text
        A structure file; a formula of ASE's G2 set of molecules (``CH3CH2OH``); a common name
        (``ethanol``); a SMILES string (``CCO``) or an InChI (``InChI=1S/…``), for which RDKit is
        needed. ``smiles:`` and ``formula:`` in front tell what is meant where both could be.

    Raises
    ------
    InvalidInputError
        It is none of these, or both a formula and a SMILES string.
    """
    text = text.strip()
    kind, separator, rest = text.partition(":")
    if separator and kind in ("smiles", "formula"):
        return _from_smiles(rest) if kind == "smiles" else _from_formula(rest)
    if Path(text).suffix and Path(text).exists():
        return read_structure(text)
    names = {**molecule_names(), **_NAMES}
    meant = names.get(text.lower(), text if text.startswith("InChI=") else None)
    if meant is not None:
        coded = meant.startswith(("smiles:", "InChI="))
        return _from_smiles(meant.removeprefix("smiles:")) if coded else _from_formula(meant)
    formula = _from_formula(text) if _is_formula(text) else None
    smiles = _parsed(text)
    if formula is not None and smiles is not None:
        other = _from_smiles(text)
        if _hill(other) != _hill(formula):
            if re.search(r"([A-Z][a-z]?)\1", text):  # nobody writes OO for O2
                return other
            raise InvalidInputError(
                f"is {_hill(formula)} as a formula and {_hill(other)} as SMILES",
                key="molecule",
                value=text,
                expected=f"formula:{text} or smiles:{text}",
            )
    if formula is not None:
        return formula
    if smiles is not None or Path(text).is_file():  # such as POSCAR
        return read_structure(text) if smiles is None else _from_smiles(text)
    missing = "" if _rdkit() is not None else "; SMILES need RDKit: pip install 'eqcalc[predict]'"
    raise InvalidInputError(
        "no such file" if re.search(r"/|\.\w{2,}$", text) else "",
        key="molecule",
        value=text,
        expected=_EXPECTED + missing,
        suggestion=nearest(text.lower(), [*names, *_MOLECULES]),
    )


def _hill(atoms: Atoms) -> str:
    return str(atoms.get_chemical_formula("hill"))


def _is_formula(text: str) -> bool:
    """Return whether a text is one of the formulas, or the sum formula of any of them."""
    text = _light(text)
    if text in _MOLECULES:
        return True
    try:
        return bool(_same_composition(text))
    except (KeyError, ValueError):
        return False


def _light(formula: str) -> str:
    """Return a formula with H for D."""
    return re.sub("D(?![a-z])", "H", formula)


def _same_composition(text: str) -> list[str]:
    composition = Symbols.fromsymbols(text).formula.format("hill")
    return [name for name in _MOLECULES if _hill(molecule(name)) == composition]


def _from_formula(text: str) -> Atoms:
    """Return a molecule of the G2 set.

    Raises
    ------
    InvalidInputError
        None or several of the molecules have this formula, or it does not tell which of the
        hydrogen atoms are deuterium.
    """
    if (light := _light(text)) != text:
        if re.search("H(?![a-z])", text):
            raise InvalidInputError(
                "a formula does not tell which of the hydrogen atoms are deuterium",
                key="molecule",
                value=text,
                expected=f"a SMILES string with [2H], or {light} and isotopes such as 3=D",
            )
        atoms = _from_formula(light)
        atoms.set_masses(isotope_masses(atoms, {"H": "D"}))
        return atoms
    if text in _MOLECULES:
        atoms = molecule(text)
        if "_s1" in text:  # a singlet that is not the ground state
            atoms.info["multiplicity"] = 1
        return atoms
    try:
        found = _same_composition(text)
    except (KeyError, ValueError):
        found = []
    if len(found) != 1:
        raise InvalidInputError(
            "several molecules have this formula" if found else "",
            key="molecule",
            value=text,
            expected=", ".join(found) or _EXPECTED,
        )
    return molecule(found[0])


def _rdkit() -> Any | None:
    try:
        return import_module("rdkit.Chem")
    except ImportError:
        return None


def _parsed(text: str) -> Any | None:
    """Return the molecule of a SMILES string or InChI, or None."""
    chem = _rdkit()
    if chem is None or not text:
        return None
    with import_module("rdkit.rdBase").BlockLogs():  # what matters is said by errors
        return chem.MolFromInchi(text) if text.startswith("InChI=") else chem.MolFromSmiles(text)


def _from_smiles(text: str) -> Atoms:
    """Return the molecule of a SMILES string or InChI, with its isotopes and charge.

    Raises
    ------
    InvalidInputError
        RDKit is missing, or there is no such molecule, or several, or no geometry of it.
    """
    chem = _rdkit()
    if chem is None:
        raise InvalidInputError(
            "SMILES and InChI need RDKit",
            key="molecule",
            value=text,
            advice="pip install 'eqcalc[predict]', or give a structure file",
        )
    parsed = _parsed(text)
    if parsed is None or not parsed.GetNumAtoms():
        raise InvalidInputError(key="molecule", value=text, expected="a SMILES string or InChI")
    all_chem: Any = import_module("rdkit.Chem.AllChem")
    if (n := len(chem.GetMolFrags(parsed))) > 1:
        raise InvalidInputError(
            f"consists of {n} molecules or ions",
            key="molecule",
            value=text,
            expected="a single molecule",
            advice="a complex takes a structure file",
        )
    with import_module("rdkit.rdBase").BlockLogs():
        whole = chem.AddHs(parsed)
        if all_chem.EmbedMolecule(whole, randomSeed=1) != 0:
            raise InvalidInputError(
                "RDKit finds no geometry", key="molecule", value=text, expected="a structure file"
            )
        if all_chem.MMFFHasAllMoleculeParams(whole):
            all_chem.MMFFOptimizeMolecule(whole, maxIters=2000)
    symbols: Sequence[str] = [atom.GetSymbol() for atom in whole.GetAtoms()]
    atoms = Atoms(symbols, whole.GetConformer().GetPositions())
    atoms.info["charge"] = chem.GetFormalCharge(whole)
    radicals = sum(atom.GetNumRadicalElectrons() for atom in whole.GetAtoms())
    if radicals > 1:
        atoms.info["multiplicity"] = radicals + 1
    # the natural masses of RDKit have other digits than those of ASE
    found = zip(whole.GetAtoms(), atoms.get_masses(), strict=True)
    atoms.set_masses([x.GetMass() if x.GetIsotope() else natural for x, natural in found])
    return atoms
