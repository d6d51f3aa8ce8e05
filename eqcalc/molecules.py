# SPDX-License-Identifier: MIT
"""What ASE atoms say besides their positions: charge, spin, constraints and masses.

The total charge is read here for every room: from ``atoms.info["charge"]``, the same under
other usual names, and the sum of the initial charges; statements that disagree are an error.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, ground_state_magnetic_moments
from ase.io.formats import UnknownFileTypeError
from numpy.typing import ArrayLike

from eqcalc.elements import ISOTOPES
from eqcalc.structure_formats import check_atoms, read_atoms, stated_beside, warn_of_distances
from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    finite,
    located,
    number_in,
    one_of,
    positive,
    shape,
)
from eqcalc.xyz_files import IonWarning

#: Names of the total charge [e] in files and ``atoms.info``, in any case of letters.
CHARGE_KEYS = (
    "charge",
    "total_charge",
    "net_charge",
    "molecular_charge",
    "tot_charge",
    "formal_charge",
    "q",
    "chrg",
    "chg",
    ".chrg",  # a file of xtb
)
#: Names of charges of single atoms whose sum is the total charge.
ATOMIC_CHARGE_KEYS = ("initial_charges",)
#: Names of the number of unpaired electrons, 2S.
_UNPAIRED_KEYS = ("unpaired_electrons", "unpaired", "uhf", ".uhf")
#: Names of the spin: 2S + 1, or under "spin" also 2S, whichever fits the number of electrons.
SPIN_KEYS = ("multiplicity", "mult", "spin_multiplicity", "spin", *_UNPAIRED_KEYS)
#: Neutral molecules with two unpaired electrons in their ground state, though Lewis structures or
#: even numbers of electrons suggest none (Huber and Herzberg, Constants of Diatomic Molecules,
#: 1979; CH2: Herzberg and Johns, J. Chem. Phys. 54, 2276 (1971)).
_TRIPLETS = ("O2", "S2", "OS", "HN", "FN", "B2", "Si2", "CH2")
#: Charges closer than this [e] are equal.
_SAME_CHARGE = 1e-6
#: Rounding error [e] of each of several partial charges, in the files of programs.
_ROUNDED = 1e-3


class IgnoredInputWarning(UserWarning):
    """The atoms have properties that the model ignores."""


# --- charge ---------------------------------------------------------------------------


def total_charge(atoms: Atoms) -> float:
    """Return the total charge of atoms [e]; 0 if they do not state it.

    See :func:`agreed_charge`. Computed charges of the atoms, in the results of a calculator, count
    if they add up to an integer and nothing else states a charge.
    """
    initial = {}
    if atoms.has("initial_charges"):
        initial["initial charges"] = atoms.get_initial_charges()
    stated = _named(atoms.info, CHARGE_KEYS)
    results: Mapping[str, Any] = getattr(atoms.calc, "results", None) or {}
    if not stated and not initial and np.shape(results.get("charges", 0.0)) == (len(atoms),):
        total = _summed(results["charges"])
        return total if total.is_integer() else 0.0
    return agreed_charge(stated, initial)


def _summed(charges: ArrayLike) -> float:
    """Return the sum of partial charges [e], a whole number if it is one but for rounding."""
    total = float(np.sum(charges))
    close = abs(total - round(total)) < _ROUNDED * max(np.size(charges), 1)
    return float(round(total)) if close else total


def agreed_charge(stated: Mapping[str, Any], of_atoms: Mapping[str, ArrayLike]) -> float:
    """Return the total charge [e] on which all statements agree; 0 if there is none.

    Parameters
    ----------
    stated
        Total charges by the key that states them; numbers, or text of files.
    of_atoms
        Charges of all atoms by key; their sum, rounded to an integer if it is close to one, is
        the total charge.

    Raises
    ------
    InvalidInputError
        A charge is not a finite number, or two statements disagree.
    """
    found: dict[str, float] = {}
    for key, given in stated.items():
        # "charge 1" without "=" is read as a flag
        charge = math.nan if isinstance(given, bool | np.bool_) else _number(given)
        if not math.isfinite(charge):
            raise InvalidInputError(key=key, value=given, expected="a number, such as charge=1")
        found[key] = charge
    for key, charges in of_atoms.items():
        found[f"sum of the {key.replace('_', ' ')}"] = _summed(finite(key, charges))
    if not found:
        return 0.0
    (first, charge), *others = found.items()
    for key, other in others:
        if abs(charge - other) > _SAME_CHARGE:
            raise InvalidInputError(
                "two statements of the total charge disagree",
                key=first,
                value=charge,
                expected=f"that of {key}, {other:g}",
                advice="remove the wrong one",
            )
    return charge


def states_charge(atoms: Atoms) -> bool:
    """Return whether atoms specify their charge, or :func:`total_charge` is a default."""
    return bool(_named(atoms.info, CHARGE_KEYS)) or bool(atoms.has("initial_charges"))


def _named(info: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the entries under one of the names, by ``atoms.info['key']``."""
    found = {
        f"atoms.info[{key!r}]": value
        for key, value in info.items()
        if str(key).lower().rstrip(":") in names
    }
    return found


def _named_as(key: str, *names: str) -> bool:
    """Return whether a key of :func:`_named` is one of the names."""
    return any(f"'{name}'" in key.lower().replace(":", "") for name in names)


def _number(value: Any) -> float:
    """Return a number, also of a text of other programs; NaN if it is not one."""
    if isinstance(value, str):
        found = number_in(re.sub(r"^\s*(\d+)([+-])\s*$", r"\2\1", value).strip())  # 1+
        return math.nan if found is None else found
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


# --- spin -----------------------------------------------------------------------------


def unpaired_electrons(atoms: Atoms, chosen: int | None = None) -> int:
    """Return the number of unpaired electrons of an isolated molecule.

    It is that of the method, or that which the atoms state by their initial magnetic moments,
    ``atoms.info["multiplicity"]`` or ``atoms.info["spin"]``, or that of the ground state of an atom
    or of a molecule such as O2, or the least possible, 0 or 1.

    Parameters
    ----------
    atoms
        The molecule with its charge.
    chosen
        The number set for the method, if any; 0 for one that is restricted to closed shells.

    Raises
    ------
    InvalidInputError
        The charge is not an integer, the number does not fit that of the electrons, or
        two statements disagree.
    """
    charge = total_charge(atoms)
    electrons = int(atoms.numbers.sum()) - round(charge)
    if abs(charge - round(charge)) > _SAME_CHARGE or electrons < 0:
        raise InvalidInputError(
            key=f"charge of {atoms.symbols}", value=charge, expected="that of whole electrons"
        )
    stated = dict(_stated_spins(atoms, electrons)) or _ground_state(atoms, charge)
    if chosen is not None:
        stated = {"unpaired_electrons": float(chosen), **stated}
    if not stated:
        return electrons % 2
    (key, number), *others = stated.items()
    for other, second in others:
        if number != second:
            raise InvalidInputError(
                f"two statements of the spin of {atoms.symbols} disagree",
                key=key,
                value=number,
                expected=f"{second:g} unpaired electrons, as {other} says",
                advice="set unpaired_electrons of a method that has it, remove the wrong one, or "
                "state the multiplicity of an excited state with the atoms",
            )
    if number < 0 or number > electrons or number % 2 != electrons % 2:
        raise InvalidInputError(
            f"{atoms.symbols} with charge {charge:g} has {electrons} electrons",
            key=key,
            value=number,
            expected=f"an {'odd' if electrons % 2 else 'even'} number of unpaired electrons",
            advice="is the charge right? An open shell needs a method with unpaired_electrons",
        )
    return int(number)


def _ground_state(atoms: Atoms, charge: float) -> dict[str, float]:
    """Return the number of unpaired electrons of what has more than the least possible one."""
    if round(charge) or atoms.pbc.any():
        return {}
    if len(atoms) == 1:
        number = float(ground_state_magnetic_moments[atoms.numbers[0]])
    else:
        number = 2.0 * (atoms.get_chemical_formula("hill") in _TRIPLETS)
    return {f"the ground state of {atoms.symbols}": number} if number > 1.0 else {}


def stated_unpaired_electrons(atoms: Atoms) -> int | None:
    """Return the number of unpaired electrons that an isolated molecule states, if it does."""
    states = bool(_named(atoms.info, SPIN_KEYS)) or np.any(atoms.get_initial_magnetic_moments())
    return unpaired_electrons(atoms) if states and not atoms.pbc.any() else None


def open_shell(atoms: Atoms) -> dict[str, int]:
    """Return the entry of ``atoms.info`` that states the spin, if it does not go without."""
    return spin_entry(atoms, unpaired_electrons(atoms))


def spin_entry(atoms: Atoms, unpaired: int) -> dict[str, int]:
    """Return the entry of ``atoms.info`` that states a number of unpaired electrons.

    There is none where without it the least possible number is meant and is that.
    """
    stated = unpaired > 1 or _ground_state(atoms, total_charge(atoms))
    return {"multiplicity": unpaired + 1} if stated else {}


def _stated_spins(atoms: Atoms, electrons: int) -> Iterable[tuple[str, float]]:
    """Yield the numbers of unpaired electrons that atoms state, by what states it."""
    moments = atoms.get_initial_magnetic_moments()
    if np.abs(moments).max(initial=0.0) > _SAME_CHARGE:
        total = float(np.linalg.norm(np.sum(moments, axis=0)))
        yield "initial magnetic moments", round(total, 6)
    for key, value in _named(atoms.info, SPIN_KEYS).items():
        number = _number(value)
        if not number.is_integer() or number < 0:
            raise InvalidInputError(key=key, value=value, expected="a multiplicity, 2S + 1")
        is_unpaired = _named_as(key, *_UNPAIRED_KEYS) or (
            _named_as(key, "spin") and number % 2 == electrons % 2
        )
        yield key, number if is_unpaired else number - 1.0


# --- constraints ----------------------------------------------------------------------


def unconstrained(atoms: Atoms) -> Atoms:
    """Check that nothing constrains the atoms, for what cannot obey it, and return them.

    A fixed centre of mass (``FixCom``) does not constrain a molecule that nothing pushes.

    Raises
    ------
    InvalidInputError
        There are constraints; they are named.
    """
    found = [
        constraint
        for constraint in atoms.constraints
        if type(constraint).__name__ != "FixCom" and np.size(getattr(constraint, "index", 0))
    ]
    if found:
        raise InvalidInputError(
            f"{atoms.symbols} is constrained",
            key="atoms.constraints",
            value=", ".join(_described(constraint) for constraint in found),
            expected="none, since all atoms move here",
            advice="remove them, atoms.set_constraint(), or move_mask from the file; "
            "EqCalculator with the optimisers and dynamics of ASE obeys them",
        )
    return atoms


def _described(constraint: Any) -> str:
    text = " ".join(repr(constraint).split())
    return text if len(text) < 80 and not text.startswith("<") else type(constraint).__name__


# --- what a model ignores -------------------------------------------------------------


def warn_of_ignored(atoms: Atoms) -> None:
    """Warn of spins and partial charges, which are ignored.

    Python shows identical warnings once.
    """
    ignored = []
    no_spin = "the model does not depend on the spin; it describes the state it was trained on"
    if np.any(np.abs(atoms.get_initial_magnetic_moments()) > 1e-6):
        ignored.append(f"initial magnetic moments are ignored: {no_spin}")
    charges = atoms.get_initial_charges()
    if np.any(np.abs(charges) > _SAME_CHARGE) and abs(charges.sum()) < _SAME_CHARGE:
        ignored.append("initial charges of the atoms are ignored: only their sum, zero, counts")
    for key, value in _named(atoms.info, SPIN_KEYS).items():
        if value not in ((0, 1) if _named_as(key, "spin", *_UNPAIRED_KEYS) else (1,)):
            ignored.append(f"{key} is ignored: {no_spin}")
    for text in ignored:
        # attributed to this line for all callers, so that two calculators warn once
        warnings.warn(text, IgnoredInputWarning, stacklevel=1)


# --- masses ---------------------------------------------------------------------------


def atomic_masses(
    atoms: Atoms, masses: ArrayLike | Mapping[str, float | str] | None = None
) -> np.ndarray:
    """Return masses ``[n_atoms]`` [amu].

    Parameters
    ----------
    atoms
        The molecule; its masses are the default.
    masses
        One mass per atom, or isotopes as in :func:`isotope_masses`.

    Raises
    ------
    InvalidInputError
        There is no such element or atom, or a mass is missing or not positive.
    """
    if masses is None or isinstance(masses, Mapping):
        values = isotope_masses(atoms, masses or {})
    else:
        values = np.asarray(masses, dtype=float)
    values = finite("masses", shape("masses", values, (len(atoms),)))
    if not (values > 0.0).all():
        atom = int(np.argmin(values))
        raise InvalidInputError(
            key=f"masses[{atom}]", value=float(values[atom]), expected="a positive number [amu]"
        )
    return values


def isotope_masses(atoms: Atoms, isotopes: Mapping[str, float | str]) -> np.ndarray:
    """Return the masses ``[n_atoms]`` [amu] of a molecule with other isotopes.

    Parameters
    ----------
    atoms
        The molecule.
    isotopes
        Mass [amu] or isotope (:data:`ISOTOPES`) of all atoms of an element, ``{"H": 2.014}`` or
        ``{"H": "D"}``, or of one atom by its index from zero, ``{"3": "D"}``, which takes
        precedence.

    Raises
    ------
    InvalidInputError
        There is no such element, atom or isotope, it is one of another element, or a mass is not
        positive.
    """
    masses = atoms.get_masses().astype(float)
    for key, mass in sorted(isotopes.items(), key=lambda item: item[0].isdecimal()):
        if key.isdecimal():
            chosen = np.arange(len(atoms)) == int(key)
        else:
            chosen = atoms.numbers == atomic_numbers.get(key, -1)
        if not chosen.any():
            raise InvalidInputError(
                key="masses",
                value=key,
                expected=f"an element of {atoms.symbols}, or the index of an atom "
                f"(0 to {len(atoms) - 1})",
            )
        value = mass
        if isinstance(mass, str):
            symbol, value = ISOTOPES[one_of(f"masses.{key}", mass, ISOTOPES)]
            other = [x for x in np.array(atoms.get_chemical_symbols())[chosen] if x != symbol]
            if other:
                raise InvalidInputError(
                    key=f"masses.{key}", value=mass, expected=f"an isotope of {other[0]}"
                )
        masses[chosen] = positive(f"masses.{key}", value, unit="amu")
    return masses


# --- bonds ----------------------------------------------------------------------------


def bonds(atoms: Atoms, stretch: float = 1.15) -> np.ndarray:
    """Return the pairs of bonded atoms, ``[n_bonds, 2]``, of periodic ones across the boundary too.

    They are closer than `stretch` times the sum of their covalent radii.
    """
    from ase.neighborlist import natural_cutoffs, neighbor_list

    i, j = neighbor_list("ij", atoms, natural_cutoffs(atoms, mult=stretch))
    return np.stack([i, j], axis=1)[i < j]


def bonded_neighbours(atoms: Atoms) -> list[list[int]]:
    """Return the atoms that each atom is bonded to."""
    found: list[list[int]] = [[] for _ in atoms]
    for i, j in bonds(atoms).tolist():
        found[i].append(j)
        found[j].append(i)
    return found


def connected_parts(pairs: np.ndarray, n: int) -> np.ndarray:
    """Return the index of the part that each of n atoms is in, connected by `pairs`, ``[n]``."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs)), pairs.T), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def molecules_of(atoms: Atoms) -> np.ndarray:
    """Return the index of the molecule, a group of bonded atoms, of each atom, ``[n_atoms]``."""
    return connected_parts(bonds(atoms, 1.25), len(atoms))


# --- positions and cell ---------------------------------------------------------------


def isolated_molecule(atoms: Atoms) -> Atoms:
    """Check that atoms are an isolated molecule with finite positions, and return them.

    Raises
    ------
    InvalidInputError
        There are no atoms, they are periodic, or a position is not finite.
    """
    if len(atoms) == 0:
        raise InvalidInputError(key="atoms", value=0, expected="at least one atom")
    if atoms.pbc.any():
        raise InvalidInputError(
            f"{atoms.symbols} is periodic",
            key="atoms.pbc",
            value=atoms.pbc.tolist(),
            expected="an isolated molecule",
            advice="for a molecule in a box set atoms.pbc = False, or write the file without its "
            "cell",
        )
    finite("positions", atoms.positions)
    return atoms


def periodic_cell(atoms: Atoms) -> np.ndarray | None:
    """Return the cell vectors of atoms as rows, ``[3, 3]`` Å, None of an isolated molecule.

    Raises
    ------
    InvalidInputError
        The atoms are periodic in one or two directions only, or the cell has no volume.
    """
    if not atoms.pbc.any():
        return None
    if not atoms.pbc.all():
        raise InvalidInputError(
            key="atoms.pbc",
            value=atoms.pbc.tolist(),
            expected="periodic in all three directions, or in none",
            advice="give a layer a cell that is high enough",
        )
    if not abs(atoms.cell.volume) > 1e-6:
        raise InvalidInputError(
            key="atoms.cell", value=atoms.cell.array.tolist(), expected="a cell with a volume"
        )
    return np.array(atoms.cell.array)


# --- structure files ------------------------------------------------------------------


def read_structure(path: str | Path) -> Atoms:
    """Read a file with a single structure, in any format that ASE reads.

    Raises
    ------
    InvalidFileError
        The file does not exist or does not contain exactly one structure.
    """
    structures = read_structures([path])
    if len(structures) != 1:
        raise InvalidFileError(file=path, value=len(structures), expected="one structure")
    return structures[0]


#: Largest coordinate of an atom [Å].
_FARTHEST = 1e6


def read_structures(paths: Sequence[str | Path]) -> list[Atoms]:
    """Read the structures of files, in any format that ASE reads.

    Charge and spin may be in xtb's ``.CHRG`` and ``.UHF`` beside them. Warns if an atom of a
    molecule has no bonded neighbour, for example if coordinates are in bohr.

    Raises
    ------
    InvalidFileError
        A file does not exist or contains no structures.
    InvalidInputError
        A position is not finite, an atom is a dummy, in part or upon another one, or statements of
        charge and spin disagree.
    """
    structures: list[Atoms] = []
    for path in paths:
        existing_file(path, "a structure file, such as .xyz")
        try:
            with located(file=path):
                found = read_atoms(Path(path), (*CHARGE_KEYS, *SPIN_KEYS))
            found[0]
        except InvalidInputError:
            raise
        except Exception as error:  # readers of ASE raise errors of many types
            said = f"{type(error).__name__}: {error}"
            if isinstance(error, UnknownFileTypeError):
                said = f"neither its name nor its content is of a format it knows: {error}"
            raise InvalidFileError(
                f"ASE cannot read it ({said})",
                file=path,
                expected="a structure file, such as .xyz",
                advice="charge= and multiplicity= may stand in the comment of an XYZ file",
            ) from error
        with located(file=path):
            for index, atoms in enumerate(found):
                if not len(atoms):
                    raise InvalidFileError(
                        key=f"structure {index}", value="no atoms", expected="a structure"
                    )
                for name, values in (("positions", atoms.positions), ("cell", atoms.cell.array)):
                    key = f"{name} of structure {index}"
                    if np.abs(finite(key, values)).max() > _FARTHEST:
                        raise InvalidFileError(
                            key=key,
                            value=float(np.abs(values).max()),
                            expected=f"coordinates below {_FARTHEST:g} Å",
                        )
                with located(section=f"structure {index}"):
                    check_atoms(atoms)
                    (total_charge if atoms.pbc.any() else unpaired_electrons)(atoms)
            _add_beside(Path(path), found)
        warn_of_distances(path, found)
        structures.extend(found)
    return structures


def _add_beside(path: Path, structures: Sequence[Atoms]) -> None:
    """Add to structures what xtb would read beside their file; what contradicts is an error."""
    beside = stated_beside(path)
    if beside.get(".CHRG") and not all(map(states_charge, structures)):
        text = f"{path}: the charge is {beside['.CHRG']:+d}, from {path.with_name('.CHRG')}"
        warnings.warn(text, IonWarning, stacklevel=3)
    for index, atoms in enumerate(structures if beside else ()):
        atoms.info.update(beside)
        with located(section=f"structure {index}"):
            (unpaired_electrons if ".UHF" in beside else total_charge)(atoms)
