# SPDX-License-Identifier: MIT
"""Input checks and the errors they raise.

A check returns its value, typed, or raises :class:`InvalidInputError`, whose attributes
hold the file, the key, the expectation and the value found. Checks know only the key;
code that reads a file or a section of settings adds its name with :func:`located`.

Does not import torch, and imports NumPy and ASE only on demand, to keep the start-up of the
command line short.
"""

from __future__ import annotations

import difflib
import math
import re
import reprlib
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

Choice = TypeVar("Choice")
Kind = TypeVar("Kind", bound="InvalidInputError")
Instance = TypeVar("Instance")

#: Sentinel for a missing value, where None could be a value.
ABSENT: Any = type("Absent", (), {"__repr__": lambda self: "nothing", "__slots__": ()})()


class InvalidInputError(ValueError):
    """Invalid input.

    The message is ``file: key: expected …, got …; did you mean …?``, from the given attributes.

    Parameters
    ----------
    problem
        Description of the problem, if "expected …, got …" does not suffice.
    key
        Name of the argument, setting or column, with its sections: ``model.cutoff``.
    value
        The invalid value.
    expected
        Description of valid values, following "expected".
    file
        File in which it was found.
    suggestion
        Most similar valid value.
    advice
        How to fix it.
    """

    def __init__(
        self,
        problem: str = "",
        *,
        key: str = "",
        value: object = ABSENT,
        expected: str = "",
        file: str | Path | None = None,
        suggestion: str | None = None,
        advice: str = "",
    ) -> None:
        super().__init__(problem)  # pickle passes positional arguments only
        self.problem = problem
        self.key = key
        self.value = value
        self.expected = expected
        self.file = None if file is None else Path(file)
        self.suggestion = suggestion
        self.advice = advice

    def __str__(self) -> str:
        got = "" if self.value is ABSENT else f"got {_shown(self.value)}"
        expected = f"expected {self.expected}" if self.expected else ""
        told = self.value if isinstance(self.value, list | tuple) else [self.value]
        if expected or not all(str(part) in self.problem for part in told):
            expected = ", ".join(filter(None, (expected, got)))
        meant = "" if self.suggestion is None else f"did you mean {self.suggestion!r}?"
        text = "; ".join(part for part in (self.problem, expected, meant, self.advice) if part)
        place = [str(part) for part in (self.file, self.key) if part]
        return ": ".join([*place, text] if text else place)

    def __reduce__(self) -> tuple[Any, ...]:
        # ABSENT is compared by identity, which a pickle of it would not keep
        state = {name: item for name, item in vars(self).items() if item is not ABSENT}
        return type(self), (self.problem,), state

    def within_file(self, file: str | Path) -> InvalidInputError:
        """Return this error with the name of the file, unless it has one."""
        self.file = Path(file) if self.file is None else self.file
        return self

    def within_section(self, section: str) -> InvalidInputError:
        """Return this error with a section before its key: ``cutoff`` in ``model.cutoff``."""
        self.key = f"{section}.{self.key}" if self.key and section else section or self.key
        return self

    def of_kind(self, kind: type[Kind]) -> Kind:
        """Return this error as one of another kind, with the same attributes."""
        names = ("problem", "key", "value", "expected", "file", "suggestion", "advice")
        return kind(**{name: getattr(self, name) for name in names})


def _shown(value: object) -> str:
    """Return a value as in a message, shortened if it is long or deeply nested."""
    short = reprlib.Repr()
    short.maxlevel = 4
    short.maxlist = short.maxtuple = short.maxdict = short.maxset = 30
    short.maxstring = short.maxother = short.maxlong = 400
    return short.repr(value)


class InvalidFileError(InvalidInputError):
    """A file is of the wrong kind, damaged, incomplete or too new."""


class MissingFileError(InvalidFileError, FileNotFoundError):
    """A file or directory does not exist."""


class MissingExtraError(InvalidInputError, ImportError):
    """A package is not installed; `key` is the extra of eqcalc that brings it along."""

    @classmethod
    def of(cls, extra: str, task: str, package: str) -> MissingExtraError:
        """Return the error of a task that needs a package of an extra."""
        advice = f"install it with `pip install 'eqcalc[{extra}]'`"
        return cls(f"{task} needs {package}", key=extra, advice=advice)


class SeveralInputsError(InvalidInputError):
    """Several things are missing or wrong.

    Attributes
    ----------
    errors
        Each of them; ``key`` joins their keys.
    """

    errors: tuple[InvalidInputError, ...] = ()


def raise_all(errors: Sequence[InvalidInputError], *, file: str | Path | None = None) -> None:
    """Raise the errors, if any, as one that tells all of them."""
    if not errors:
        return
    error = errors[0]
    if len(errors) > 1:
        told = "".join(f"\n  {one}" for one in errors)
        keys = ", ".join(dict.fromkeys(one.key for one in errors))
        error = SeveralInputsError(f"{len(errors)} things are missing or wrong:{told}", key=keys)
        error.errors = tuple(errors)
    if file is not None:
        error.within_file(file)
    raise error


class ExistingFileError(InvalidFileError, FileExistsError):
    """A file to be written exists, and is not overwritten."""


class UnknownElementError(InvalidInputError):
    """A structure contains an element that a model or method does not support.

    Attributes
    ----------
    unknown, known
        Atomic numbers.
    """

    unknown: tuple[int, ...] = ()
    known: tuple[int, ...] = ()


@contextmanager
def located(*, file: str | Path | None = None, section: str = "") -> Iterator[None]:
    """Add the name of a file, or a section of settings, to errors raised in the block."""
    try:
        yield
    except InvalidInputError as error:
        if section:
            error.within_section(section)
        if file is not None:
            error.within_file(file)
        raise


# --- numbers --------------------------------------------------------------------------


def number(key: str, value: Any, *, unit: str = "") -> float:
    """Return a finite number; booleans and text are rejected."""
    return _number(key, value, "a finite number", unit, lambda x: True)


def positive(key: str, value: Any, *, unit: str = "") -> float:
    """Return a positive finite number."""
    return _number(key, value, "a positive number", unit, lambda x: x > 0.0)


def non_negative(key: str, value: Any, *, unit: str = "") -> float:
    """Return a non-negative finite number."""
    return _number(key, value, "zero or a positive number", unit, lambda x: x >= 0.0)


def within(key: str, value: Any, low: float, high: float, *, unit: str = "") -> float:
    """Return a number in the closed interval from `low` to `high`."""
    expected = f"a number from {low:g} to {high:g}"
    return _number(key, value, expected, unit, lambda x: low <= x <= high)


def count(key: str, value: Any, *, least: int = 1) -> int:
    """Return an integer of at least `least`, also NumPy's; booleans and 3.0 are rejected."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise InvalidInputError(key=key, value=value, expected=f"an integer of at least {least}")
    return int(value)


def bounds(key: str, value: Sequence[Any], *, unit: str = "") -> tuple[float, float]:
    """Return two finite numbers in ascending order."""
    expected = "two finite numbers, the lower one first" + (f" [{unit}]" if unit else "")
    pair = value if isinstance(value, Collection) and len(value) == 2 else (math.nan, math.nan)
    low, high = pair
    if not (_is_finite(low) and _is_finite(high) and low < high):
        raise InvalidInputError(key=key, value=value, expected=expected)
    return float(low), float(high)


def positive_fields(config: Any, *names: str) -> None:
    """Check that fields of a dataclass are positive, and integers if annotated as int."""
    kinds = typing.get_type_hints(type(config))
    for name in names:
        value = getattr(config, name)
        if kinds[name] is int:
            count(name, value)
        else:
            positive(name, value)


#: Decimal numbers of programs: exponents may have the D of Fortran or the *^ of Mathematica.
_DECIMAL = re.compile(r"[+\-−]?(?:\d+(?:\.\d*)?|\.\d+)(?:(?:[eEdD]|\*\^)[+\-]?\d{1,6})?", re.ASCII)
#: No quantity is that large in any unit; sums and squares of larger numbers may overflow.
LARGEST = 1e100
#: Fortran leaves out the letter before exponents of three digits: 0.1234-104.
_NO_LETTER = re.compile(r"([+\-]?\d?\.\d{3,})(-[123]\d\d)", re.ASCII)


def number_in(text: str) -> float | None:
    """Return the finite decimal number that a text is; None if it is not one.

    What only Python takes for a number is none: ``1_10``, ``１``, ``nan``, ``inf``, ``1e999``; nor
    are numbers from 1e100 on, which no quantity has.
    """
    if _DECIMAL.fullmatch(text) is None:
        if _NO_LETTER.fullmatch(text) is None:
            return None
        text = _NO_LETTER.sub(r"\1e\2", text)
    try:
        value = float(text)
    except ValueError:
        value = float(re.sub(r"[dD]|\*\^", "e", text).replace("−", "-"))
    return value if abs(value) < LARGEST else None


def numbers_in(text: str, key: str = "") -> list[float]:
    """Return the numbers in a text between blanks.

    Raises
    ------
    InvalidFileError
        A word is not a number (:func:`number_in`).
    """
    found = [number_in(word) for word in text.split()]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        raise InvalidFileError(key=key, expected="numbers", value=text.strip()[:60])
    return values


def _number(key: str, value: Any, expected: str, unit: str, holds: Callable[[Any], bool]) -> float:
    if not (_is_finite(value) and holds(value)):
        expected += f" [{unit}]" if unit else ""
        raise InvalidInputError(key=key, value=value, expected=expected)
    return float(value)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


# --- arrays ---------------------------------------------------------------------------


def real(key: str, values: ArrayLike) -> np.ndarray:
    """Return an array of real numbers; text, complex, masked and ragged values are none."""
    import numpy as np

    try:
        array = np.asarray(values)
    except ValueError:  # lists of different length
        array = np.asarray(None)
    if array.dtype.kind not in "fiu" or np.ma.is_masked(values):
        raise InvalidInputError(key=key, value=values, expected="an array of real numbers")
    return array


def finite(key: str, values: ArrayLike) -> np.ndarray:
    """Return an array of finite numbers; the error gives the index of the first non-finite one."""
    import numpy as np

    array = real(key, values)
    broken = ~(np.abs(array) < LARGEST)
    if broken.any():
        index = tuple(int(i) for i in np.argwhere(broken)[0])
        place = f"{key}[{', '.join(map(str, index))}]" if index else key
        raise InvalidInputError(key=place, value=array[index].item(), expected="finite numbers")
    return array


def shape(key: str, values: ArrayLike, expected: Sequence[Any]) -> np.ndarray:
    """Return an array of shape `expected`, in which a name stands for any length.

    A name used twice stands for the same length: ``("n", "n")`` is a square matrix. Three dots at
    the start stand for any further axes.
    """
    array = real(key, values)
    given, wanted = array.shape, tuple(expected)
    if wanted and wanted[0] is ...:
        wanted = wanted[1:]
        given = given[max(len(given) - len(wanted), 0) :]
    lengths: dict[str, int] = {}
    fits = len(given) == len(wanted) and all(
        length == (each if isinstance(each, int) else lengths.setdefault(each, length))
        for each, length in zip(wanted, given, strict=True)
    )
    if not fits:
        text = ", ".join("…" if each is ... else str(each) for each in expected)
        raise InvalidInputError(key=key, value=list(array.shape), expected=f"the shape [{text}]")
    return array


def array_of(key: str, values: ArrayLike, expected: Sequence[Any]) -> np.ndarray:
    """Return finite numbers of a shape (:func:`shape`), in double precision."""
    import numpy as np

    return np.asarray(finite(key, shape(key, values, expected)), dtype=np.float64)


def indices(key: str, values: ArrayLike, n: int) -> np.ndarray:
    """Return indices from 0 to n − 1, of any shape, that differ along the last axis."""
    import numpy as np

    array = real(key, values)
    whole = array.dtype.kind in "iu" and array.ndim > 0 and array.size > 0
    inside = whole and 0 <= array.min() <= array.max() < n
    if not inside or not np.diff(np.sort(array)).all():
        expected = f"different indices from 0 to {n - 1}"
        raise InvalidInputError(key=key, value=array.tolist(), expected=expected)
    return array


# --- types ----------------------------------------------------------------------------


def instance(key: str, value: Any, kind: type[Instance], expected: str = "") -> Instance:
    """Return a value of a type, of which `expected` may say more than the name."""
    if not isinstance(value, kind):
        raise InvalidInputError(key=key, value=value, expected=expected or f"a {kind.__name__}")
    return value


def instances(key: str, values: Any, kind: type[Instance]) -> list[Instance]:
    """Return values of a type as a list."""
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        raise InvalidInputError(key=key, value=values, expected=f"a list of {kind.__name__}")
    return [instance(f"{key}[{index}]", value, kind) for index, value in enumerate(values)]


# --- names ----------------------------------------------------------------------------


def one_of(
    key: str,
    value: object,
    choices: Iterable[Choice],
    *,
    fold: Callable[[str], str] | None = None,
) -> Choice:
    """Return the element of `choices` that matches a value; the error suggests the nearest.

    Parameters
    ----------
    key
        Name of the argument or setting.
    value
        The value.
    choices
        Valid values.
    fold
        Normalisation under which names are compared, such as ``str.lower``.
    """
    known = list(choices)
    for choice in known:
        if _equal(choice, value) or (
            fold is not None
            and isinstance(value, str)
            and isinstance(choice, str)
            and fold(choice) == fold(value)
        ):
            return choice
    names = [str(choice) for choice in known if choice is not None]
    raise InvalidInputError(
        key=key,
        value=value,
        expected=f"one of {', '.join(names)}" if names else "nothing, since there is none",
        suggestion=nearest(value, names, fold=fold),
    )


def _equal(choice: object, value: object) -> bool:
    try:
        return bool(choice == value)
    except (TypeError, ValueError):  # an array
        return False


def known_keys(
    settings: Mapping[str, Any], known: Collection[str], *, section: str = ""
) -> Mapping[str, Any]:
    """Return settings after checking that all keys are among the `known` ones."""
    for key in settings:
        if key not in known:
            suggestion = nearest(key, known)
            listed = f"; known: {', '.join(known) or 'none'}" if suggestion is None else ""
            raise InvalidInputError(
                f"unknown key{listed}",
                key=f"{section}.{key}" if section else str(key),
                value=settings[key],
                suggestion=suggestion,
            )
    return settings


def by_dotted_key(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings in one mapping, with keys such as ``"model.cutoff"``."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        nested = isinstance(value, Mapping)
        flat |= by_dotted_key(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return flat


def nearest(
    value: object, names: Iterable[str], *, fold: Callable[[str], str] | None = None
) -> str | None:
    """Return the name most similar to a misspelled one, if any is close."""
    fold = fold or str.lower
    folded = {fold(name): name for name in names}
    found = difflib.get_close_matches(fold(str(value)), folded, 1)
    return folded[found[0]] if found else None


def known_elements(
    numbers: Iterable[int], known: Iterable[int], *, file: str | Path | None = None
) -> None:
    """Check that atomic numbers are all among the `known` ones.

    Parameters
    ----------
    numbers
        Atomic numbers of the structure.
    known
        Atomic numbers supported by the model or method.
    file
        File of the structure.

    Raises
    ------
    UnknownElementError
        The structure has other elements.
    """
    there, trained = {int(z) for z in numbers}, {int(z) for z in known}
    if there <= trained:
        return
    from ase.data import chemical_symbols  # ASE takes a while to import

    symbols = [[chemical_symbols[z] for z in sorted(zs)] for zs in (there - trained, trained)]
    error = UnknownElementError(
        key="elements",
        value=" ".join(symbols[0]),
        expected=f"only {' '.join(symbols[1])}",
        file=file,
    )
    error.unknown, error.known = tuple(sorted(there - trained)), tuple(sorted(trained))
    raise error


# --- files ----------------------------------------------------------------------------


def file_path(path: str | Path) -> Path:
    """Return a path, of a text or a path."""
    if not isinstance(path, str | Path) or "\0" in str(path):
        raise InvalidInputError(key="path", value=path, expected="the name of a file")
    return Path(path)


def existing_file(path: str | Path, what: str = "a file") -> Path:
    """Return the path of an existing file.

    Parameters
    ----------
    path
        The path.
    what
        Kind of file expected, such as "a model file (.eqc)".

    Raises
    ------
    MissingFileError, InvalidFileError
        It does not exist, or is a directory, pipe or device.
    """
    path = file_path(path)
    if path.is_dir():
        raise InvalidFileError("is a directory", expected=what, file=path)
    if not path.exists():
        raise MissingFileError("no such file", expected=what if what != "a file" else "", file=path)
    if not path.is_file():  # opening a pipe could wait forever
        raise InvalidFileError("is a pipe, socket or device", expected=what, file=path)
    return path


def absent_file(path: str | Path, advice: str = "choose another name") -> Path:
    """Return the path of a file to write, which does not exist yet.

    Raises
    ------
    ExistingFileError
        It exists, if only as a broken link.
    """
    path = file_path(path)
    if path.exists() or path.is_symlink():
        raise ExistingFileError("exists and is never overwritten", file=path, advice=advice)
    return path


def existing_directory(path: str | Path, what: str = "a directory") -> Path:
    """Return the path of an existing directory.

    Raises
    ------
    MissingFileError, InvalidFileError
        It does not exist, or is a file.
    """
    path = file_path(path)
    if not path.exists():
        raise MissingFileError("no such directory", file=path)
    if not path.is_dir():
        raise InvalidFileError("is a file", expected=what, file=path)
    return path


def file_suffix(path: str | Path, suffixes: Collection[str], *, key: str = "") -> str:
    """Return the suffix of a file name in lower case, checked against `suffixes`."""
    suffix = Path(path).suffix.lower()
    if suffix not in suffixes:
        expected = f"a name that ends in {' or '.join(suffixes)}"
        raise InvalidInputError(
            key=key, value=Path(path).name, expected=expected, suggestion=nearest(suffix, suffixes)
        )
    return suffix
