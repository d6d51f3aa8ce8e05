# SPDX-License-Identifier: MIT
"""A structure as a file holds it, and its interpretation: keys, units, signs, shapes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from eqcalc.datasets.record import Record
from eqcalc.quantities import known_quantities, quantity
from eqcalc.units import UnitError, conversion_factor
from eqcalc.validation import InvalidInputError, one_of


class FrameError(ValueError):
    """One structure of a file cannot be used; the others may be fine."""


@dataclass(frozen=True)
class Frame:
    """A structure as it stands in a file, in the units of the file.

    Parameters
    ----------
    numbers, positions
        ``[n_atoms]`` and ``[n_atoms, 3]``.
    values
        Everything else the file says about the structure, by its key there.
    cell, pbc
        Cell vectors as rows, in the unit of the positions, and periodicity.
    """

    numbers: np.ndarray
    positions: np.ndarray
    values: Mapping[str, Any] = field(default_factory=dict)
    cell: np.ndarray | None = None
    pbc: np.ndarray | None = None


class Reader(Protocol):
    """A file that is read one structure after the other.

    It is opened by a class whose first argument is the path; other arguments are the
    options of the format. It may have a length, the number of structures.

    Attributes
    ----------
    keys
        Keys whose meaning the format fixes, by what they mean.
    units
        Units that the file or its format states, by what they are the unit of. Those of
        other keys may be in an attribute ``units_by_key``.
    level_of_theory
        What the file says about it; empty if nothing.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    level_of_theory: str

    def __iter__(self) -> Iterator[Frame | FrameError]:
        """Yield structures; an unreadable one as the error that says why."""
        ...


#: What a key may mean besides a quantity: the quantity it is turned into and its unit.
DERIVED: dict[str, tuple[str, str]] = {
    "gradients": ("forces", "eV/Å"),
    "energy_per_atom": ("energy", "eV"),
}
#: Keys of a structure that are not labels.
STRUCTURAL = ("charge", "source")


@dataclass(frozen=True)
class Interpretation:
    """What the keys of a file mean.

    Parameters
    ----------
    keys
        Key in the file by meaning: a quantity; ``"gradients"``, which are the
        negative of forces; ``"energy_per_atom"``; ``"charge"`` [e]; or
        ``"source"``, a text.
    units
        Unit by meaning, and that of ``"positions"``, which is also that of the cell.
    ignore
        Keys that are not wanted.

    Raises
    ------
    InvalidInputError
        A unit is missing or wrong, a meaning is unknown, or two keys give one quantity.
    """

    keys: Mapping[str, str]
    units: Mapping[str, str]
    ignore: Collection[str] = ()

    def __post_init__(self) -> None:
        meanings = [*known_quantities(), *DERIVED, *STRUCTURAL]
        for meaning in self.keys:
            one_of("keys", meaning, meanings)
        for meaning in self.units:
            one_of("units", meaning, [*meanings, "positions"])
        targets = [DERIVED.get(m, (m, ""))[0] for m in self.keys]
        for name in {t for t in targets if targets.count(t) > 1}:
            both = [m for m in self.keys if DERIVED.get(m, (m, ""))[0] == name]
            raise InvalidInputError(key="keys", value=both, expected=f"one key that gives {name}")
        factors = {}
        for meaning in ("positions", *(m for m in self.keys if m not in STRUCTURAL)):
            internal = "Å" if meaning == "positions" else _internal_unit(meaning)
            if meaning not in self.units:
                raise InvalidInputError(
                    "not stated by the file",
                    key=f"units.{meaning}",
                    expected=f"a unit such as {internal}",
                    advice=f"state it (eqcalc convert --unit {meaning}=UNIT)",
                )
            try:
                factors[meaning] = conversion_factor(self.units[meaning], internal)
            except UnitError as error:
                raise InvalidInputError(
                    str(error), key=f"units.{meaning}", expected=f"a unit such as {internal}"
                ) from None
        for meaning in self.units:
            if meaning not in factors:
                raise InvalidInputError(
                    "no key of the file has that meaning",
                    key=f"units.{meaning}",
                    advice=f"name it (eqcalc convert --key {meaning}=KEY)",
                )
        object.__setattr__(self, "_factors", factors)

    def unknown(self, frame: Frame) -> list[str]:
        """Return keys of `frame` that look like labels but are neither mapped nor ignored.

        Every number or numeric array does; texts and truth values do not.
        """
        expected = {*self.keys.values(), *self.ignore}
        return [
            key
            for key, value in frame.values.items()
            if key not in expected and np.issubdtype(np.asarray(value).dtype, np.number)
        ]

    def record(self, frame: Frame) -> Record:
        """Return `frame` as a record in internal units.

        Raises
        ------
        FrameError
            A value has the wrong shape or type. Keys that are absent are not an
            error: not every structure needs every label.
        """
        factors: Mapping[str, float] = self.__dict__["_factors"]
        n_atoms = len(frame.numbers)
        if n_atoms == 0:
            raise FrameError("it has no atoms")
        labels: dict[str, np.ndarray] = {}
        charge, source = 0.0, ""
        for meaning, key in self.keys.items():
            if key not in frame.values:
                continue
            value = frame.values[key]
            if meaning == "source":
                source = str(value)
                continue
            array = _real(value, key)
            if meaning == "charge":
                charge = float(_shaped(array, (), key))
                continue
            name = DERIVED.get(meaning, (meaning, ""))[0]
            q = quantity(name)
            array = _shaped(array, (n_atoms, *q.shape) if q.per_atom else q.shape, key)
            array = array * factors[meaning]
            if meaning == "gradients":
                array = -array
            elif meaning == "energy_per_atom":
                array = array * n_atoms
            labels[name] = array
        periodic = frame.pbc is not None and bool(np.any(frame.pbc))
        try:
            return Record(
                np.asarray(frame.numbers),
                _real(frame.positions, "positions") * factors["positions"],
                labels,
                charge,
                _real(frame.cell, "cell") * factors["positions"] if periodic else None,
                frame.pbc if periodic else None,
                source,
            )
        except ValueError as error:
            raise FrameError(str(error)) from None


def _internal_unit(meaning: str) -> str:
    return DERIVED[meaning][1] if meaning in DERIVED else quantity(meaning).unit


def _real(value: Any, key: str) -> np.ndarray:
    try:
        array = np.asarray(value)
    except ValueError:  # lists of unequal length
        array = np.empty(0, dtype=object)
    if array.dtype.kind not in "fiu":
        raise FrameError(f"{key}: expected real numbers, got {_shorten(value)}")
    return array.astype(np.float64)


def _shaped(array: np.ndarray, shape: tuple[int, ...], key: str) -> np.ndarray:
    """Return `array` in `shape`; extra axes of length one and flattened tensors are fine."""
    if array.shape == shape:
        return array
    if array.size == np.prod(shape, dtype=int) and (
        np.squeeze(array).shape == tuple(n for n in shape if n != 1)
        or (shape == (3, 3) and array.shape == (9,))
    ):
        return array.reshape(shape)
    raise FrameError(f"{key}: expected shape {shape}, got {array.shape}")


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else text[:37] + "..."
