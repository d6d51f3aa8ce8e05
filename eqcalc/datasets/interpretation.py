# SPDX-License-Identifier: MIT
"""What the keys of a file mean: quantities, units and charges of its structures."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import ase
import numpy as np

from eqcalc.datasets.readers import Frame, FrameError
from eqcalc.datasets.record import Record
from eqcalc.molecules import (
    ATOMIC_CHARGE_KEYS,
    CHARGE_KEYS,
    SPIN_KEYS,
    agreed_charge,
    stated_unpaired_electrons,
)
from eqcalc.quantities import Quantity, known_quantities, quantity
from eqcalc.units import (
    UnitError,
    cell_polarizability,
    common_units,
    conversion_factor,
    known_spelling,
    unit_in_name,
)
from eqcalc.validation import InvalidInputError, one_of

#: Meanings of keys besides quantities, and the quantity each is converted to.
DERIVED = {
    "gradients": "forces",
    "energy_per_atom": "energy",
    "permittivity": "polarizability",
}
#: Names of total charges that charges of atoms may have too.
_SHORT = ("q", "formal_charge")
#: Keys of a structure that are not labels.
_STRUCTURAL = ("charge", "source")


@dataclass(frozen=True)
class Interpretation:
    """Mapping from the keys of a file to quantities.

    What is missing is collected while structures are read; see :meth:`problems`.

    Parameters
    ----------
    keys
        Key in the file by meaning: a quantity; ``"gradients"`` (negative forces);
        ``"energy_per_atom"``; ``"permittivity"``, ε∞ of a cell; ``"charge"`` [e]; or
        ``"source"``, a text. The total charge under a usual name
        (:data:`~eqcalc.molecules.CHARGE_KEYS`) and initial charges need none, nor does a
        multiplicity (:data:`~eqcalc.molecules.SPIN_KEYS`).
    units
        Unit by meaning; that of ``"positions"`` also applies to the cell.
    ignore
        Keys to ignore.
    usual
        Keys by meaning that the format defines, which a file need not have.
    usual_units, units_by_key
        Units that the file or its format states, by meaning and by key; `units` take precedence.
    nan_is_missing
        Whether a label that is NaN throughout is missing.

    Raises
    ------
    InvalidInputError
        A meaning is unknown, or two keys map to one quantity.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    ignore: Collection[str] = ()
    usual: Mapping[str, str] = field(default_factory=dict)
    usual_units: Mapping[str, str] = field(default_factory=dict)
    units_by_key: Mapping[str, str] = field(default_factory=dict)
    nan_is_missing: bool = False
    _factors: dict[tuple[str, str], float] = field(default_factory=dict, init=False, repr=False)
    _seen: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _unknown: dict[str, int] = field(default_factory=dict, init=False, repr=False)
    _faults: dict[str, InvalidInputError] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        meanings = [*known_quantities(), *DERIVED, *_STRUCTURAL]
        for meaning in self.keys:
            one_of("keys", meaning, meanings)
        for meaning in self.units:
            one_of("units", meaning, [*meanings, "positions"])
        stated: dict[str, str] = {}
        for meaning in self.keys:
            name = DERIVED.get(meaning, meaning)
            if name in stated:
                expected = f"one key that gives {name}"
                both = [stated[name], meaning]
                raise InvalidInputError(key="keys", value=both, expected=expected)
            stated[name] = meaning
        taken = {*self.keys.values(), *self.ignore}
        usual = {
            meaning: key
            for meaning, key in self.usual.items()
            if key not in taken and DERIVED.get(meaning, meaning) not in stated
        }
        object.__setattr__(self, "usual", usual)

    @property
    def found(self) -> dict[str, str]:
        """Key by meaning of what the structures have."""
        return dict(self._seen)

    @property
    def used_units(self) -> dict[str, str]:
        """Unit by meaning of what the structures have."""
        return dict(self._factors.keys())

    def problems(self) -> list[InvalidInputError]:
        """Return everything that the caller has to state about the structures seen so far."""
        faults = list(self._faults.values())
        if self._unknown:
            by_index: dict[int, list[str]] = {}
            for key, index in self._unknown.items():
                by_index.setdefault(index, []).append(key)
            texts = [f"structure {index} has {', '.join(k)}" for index, k in by_index.items()]
            faults.append(
                InvalidInputError(
                    f"{'; '.join(texts)}, whose meaning is not stated",
                    key="keys",
                    value=list(self._unknown),
                    advice="give each a meaning or ignore it (eqcalc convert --key, --ignore)",
                )
            )
        absent = [key for meaning, key in self.keys.items() if meaning not in self._seen]
        if absent:
            faults.append(InvalidInputError(f"no structure has {', '.join(absent)}", key="keys"))
        for meaning in self.units:
            if meaning not in {*self._seen, *self.keys, "positions"}:
                faults.append(
                    InvalidInputError(
                        "no key of the file has that meaning",
                        key=f"units.{meaning}",
                        advice=f"name it (eqcalc convert --key {meaning}=KEY)",
                    )
                )
        return faults

    def look(self, values: Mapping[str, Any], units: Mapping[str, str], index: int = 0) -> None:
        """Note the keys and units of a structure.

        Every number or numeric array looks like a label; text and booleans do not.
        """
        self._factor("positions", "", units)
        mapped = {*self.keys.values(), *self.usual.values(), *self.ignore}
        mapped |= {*_charge_keys(values), *_spin_keys(values)}
        for meaning, key in {**self.usual, **self.keys}.items():
            if key in values:
                self._seen.setdefault(meaning, key)
                if meaning not in _STRUCTURAL:
                    self._factor(meaning, key, units)
        for key, value in values.items():
            if key not in mapped and _is_numeric(value):
                self._unknown.setdefault(key, index)

    def _factor(self, meaning: str, key: str, units: Mapping[str, str]) -> float:
        """Return the conversion factor to internal units; 1 for a unit that is not known."""
        if meaning == "permittivity":
            return 1.0  # relative to that of the vacuum
        name = DERIVED.get(meaning, meaning)
        internal = "Å" if meaning == "positions" else quantity(name).unit
        of_file = units.get(key or meaning) or self.units_by_key.get(key)
        if of_file:
            of_file = known_spelling(of_file, internal) or of_file
        unit = self.units.get(meaning) or of_file or self.usual_units.get(meaning)
        if unit is not None and (meaning, unit) in self._factors and of_file in (None, unit):
            return self._factors[meaning, unit]
        self._check_name(meaning, key, unit, of_file, internal)
        unit = unit or unit_in_name(key, internal)[1]
        problem, advice = (
            "not stated by the file",
            f"state it (eqcalc convert --unit {meaning}=UNIT)",
        )
        if unit is not None:
            try:
                factor = conversion_factor(unit, internal)
                return self._factors.setdefault((meaning, unit), factor)
            except UnitError as error:
                problem, advice = str(error), ""
        self._faults.setdefault(
            meaning,
            InvalidInputError(
                problem,
                key=f"units.{meaning}",
                expected=f"a unit such as {common_units(internal)}",
                advice=advice,
            ),
        )
        return 1.0

    def _check_name(
        self, meaning: str, key: str, unit: str | None, of_file: str | None, internal: str
    ) -> None:
        """Note a file or key whose name says another unit than the used one, or a mean."""
        said = of_file or unit_in_name(key, internal)[1]
        try:
            same = unit is None or said is None or abs(conversion_factor(said, unit) - 1.0) < 1e-3
        except UnitError:
            return  # noted with what is not known
        if not same:
            self._faults.setdefault(
                f"{meaning}, {key}",
                InvalidInputError(
                    f"the {'file' if of_file else 'key'} says {said} of {key or meaning}",
                    key=f"units.{meaning}",
                    value=unit,
                    expected=str(said),
                    advice="correct the one that is wrong",
                ),
            )
        if meaning == "energy" and re.search(r"per_?atom", key, re.IGNORECASE):
            self._faults.setdefault(
                f"{meaning}, {key}",
                InvalidInputError(
                    f"the name of the key {key} says energies per atom",
                    key="keys.energy",
                    value=key,
                    advice=f"give it that meaning (eqcalc convert --key energy_per_atom={key})",
                ),
            )

    def record(self, frame: Frame, index: int = 0) -> Record:
        """Return `frame` as a record in internal units.

        Raises
        ------
        FrameError
            A value has the wrong shape or type. Missing keys are allowed: not every structure
            needs every label.
        """
        self.look(frame.values, frame.units, index)
        n_atoms = len(frame.numbers)
        if n_atoms == 0:
            raise FrameError("it has no atoms")
        length = self._factor("positions", "", frame.units)
        labels: dict[str, np.ndarray] = {}
        source = ""
        for meaning, key in {**self.usual, **self.keys}.items():
            if key not in frame.values or meaning == "charge":
                continue
            value = frame.values[key]
            if meaning == "source":
                source = str(value)
                continue
            q = quantity(DERIVED.get(meaning, meaning))
            array = _label(value, q, n_atoms, frame.padded, key)
            if self.nan_is_missing and np.isnan(array).all():
                continue
            labels[q.name] = array * self._factor(meaning, key, frame.units)
            labels[q.name] *= {"gradients": -1, "energy_per_atom": n_atoms}.get(meaning, 1)
            if meaning == "permittivity":
                volume = _volume(frame, key) * length**3
                labels[q.name] = cell_polarizability(array, volume)
        periodic = frame.pbc is not None and bool(np.any(frame.pbc))
        try:
            charge = self._charge(frame)
            return Record(
                np.asarray(frame.numbers),
                _real(_unrounded(frame.positions, "positions"), "positions") * length,
                labels,
                charge,
                _real(frame.cell, "cell") * length if periodic else None,
                frame.pbc if periodic else None,
                source,
                None if periodic else self._unpaired_electrons(frame, charge),
            )
        except ValueError as error:
            raise FrameError(str(error)) from None

    def _charge(self, frame: Frame) -> float:
        """Return the total charge [e] on which all that a structure says agrees."""
        named = [key for key in (self.keys.get("charge"), self.usual.get("charge")) if key]
        keys = {*named, *_charge_keys(frame.values)} - {*self.ignore} & frame.values.keys()
        atomic = [key for key in sorted(keys) if key in ATOMIC_CHARGE_KEYS]
        return agreed_charge(
            {key: _scalar(frame.values[key], key) for key in sorted(keys) if key not in atomic},
            {key: _real(frame.values[key], key)[: len(frame.numbers)] for key in atomic},
        )

    def _unpaired_electrons(self, frame: Frame, charge: float) -> int | None:
        """Return what a structure says of its spin."""
        keys = {*_spin_keys(frame.values)} - {*self.keys.values(), *self.ignore}
        stated = {key: _scalar(frame.values[key], key) for key in keys}
        if not stated:
            return None
        atoms = ase.Atoms(frame.numbers, info={"charge": charge, **stated})
        return stated_unpaired_electrons(atoms)


def _volume(frame: Frame, key: str) -> float:
    """Return the volume of a cell, in the unit of the file cubed."""
    if frame.pbc is None or not np.all(frame.pbc):
        raise FrameError(f"{key}: only a cell that is periodic in all directions has ε∞")
    return abs(float(np.linalg.det(_real(frame.cell, "cell"))))


def _charge_keys(values: Mapping[str, Any]) -> list[str]:
    """Return the keys of a structure that state its charge by their names."""
    names = (*CHARGE_KEYS, *ATOMIC_CHARGE_KEYS)
    return [
        key
        for key, value in values.items()
        if key.lower() in names and (key.lower() not in _SHORT or np.size(value) == 1)
    ]


def _spin_keys(values: Mapping[str, Any]) -> list[str]:
    """Return the keys of a structure that state its spin by their names, by one number."""
    return [key for key in values if key.lower() in SPIN_KEYS and np.size(values[key]) == 1]


def _is_numeric(value: Any) -> bool:
    try:
        return bool(np.issubdtype(np.asarray(value).dtype, np.number))
    except ValueError:  # lists of unequal length
        return True


def _scalar(value: Any, key: str) -> Any:
    """Return a total charge of a file, text as it is."""
    return value if isinstance(value, str) else float(_shaped(value, (), key))


def _real(value: Any, key: str) -> np.ndarray:
    """Return real numbers as float64."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        text = repr(value)
        shown = text if len(text) < 40 else text[:37] + "..."
        raise FrameError(f"{key}: expected real numbers, got {shown}")
    return array.astype(np.float64)


def _label(value: Any, q: Quantity, n_atoms: int, padded: int | None, key: str) -> np.ndarray:
    """Return a label in the shape of its quantity, without the padding of per-atom values."""
    array = _unrounded(value, key, whole=not q.rank)
    if q.per_atom and padded is not None and array.size == padded * 3**q.rank:
        return _shaped(array, q.shape_of(padded), key)[:n_atoms]
    return _shaped(value, q.shape_of(n_atoms), key)


def _unrounded(value: Any, key: str, whole: bool = True) -> np.ndarray:
    """Return an array after checking that its type did not round it, to `whole` numbers or more."""
    array = np.asarray(value)
    if array.dtype == np.float16 or (array.dtype.kind in "iu" and not whole and np.any(array)):
        raise FrameError(f"{key}: rounded to {array.dtype}; expected float32 or float64")
    return array


def _shaped(value: Any, shape: tuple[int, ...], key: str) -> np.ndarray:
    """Return real numbers in `shape`; accepts axes of length one and flattened tensors."""
    array = _real(value, key)
    same = np.squeeze(array).shape == tuple(n for n in shape if n != 1)
    if array.shape == shape or (
        array.size == np.prod(shape, dtype=int)
        and (same or (shape == (3, 3) and array.shape == (9,)))
    ):
        return array.reshape(shape)
    raise FrameError(f"{key}: expected shape {shape}, got {array.shape}")
