# SPDX-License-Identifier: MIT
"""Convert nested mappings, as read from YAML, to typed dataclasses and back.

Errors have the dotted key, the value and the expectation as attributes.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from eqcalc.validation import (
    InvalidFileError,
    InvalidInputError,
    existing_file,
    known_keys,
    located,
    number,
    one_of,
)

TEMPLATE_ADVICE = "eqcalc train --template DATASET --output FILE writes settings for a dataset"
#: Bounds of a file of settings: depth, values with aliases expanded, and bytes.
_DEEPEST, _MOST_NODES, _LARGEST = 40, 20_000, 2**20
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})$")
_FLOAT = re.compile(
    r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
#: Types whose YAML 1.1 notations are not used.
_REPLACED = ("int", "float", "timestamp")


class DuplicateKeyError(InvalidFileError):
    """A YAML file contains a duplicate key, in the given `lines`."""

    def __init__(self, key: str = "", lines: tuple[int, int] = (0, 0)) -> None:
        super().__init__(
            f"is given in line {lines[0]} and again in line {lines[1]}",
            key=key,
            advice="put all of it in one place",
        )
        self.lines = lines


def require(condition: bool, key: str, expected: str, value: object) -> None:
    """Raise InvalidInputError with `key`, `expected` and `value` unless `condition` holds."""
    if not condition:
        raise InvalidInputError(key=key, value=value, expected=expected)


def build(kind: type[Any], settings: Any, where: str, folder: Path) -> Any:
    """Create the dataclass `kind` from the mapping `settings` at the key `where`."""
    require(isinstance(settings, Mapping), where or "settings", "a mapping", settings)
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    known_keys(settings, fields, section=where)
    prefix = f"{where}." if where else ""
    values = {
        name: _convert(hints[name], value, prefix + name, folder)
        for name, value in settings.items()
    }
    for name, f in fields.items():
        if name not in values and f.default is f.default_factory is dataclasses.MISSING:
            raise InvalidInputError("missing", key=prefix + name)
    with located(section=where):
        return kind(**values)


def _convert(kind: Any, value: Any, key: str, folder: Path) -> Any:
    """Convert `value` to the annotated type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        return _convert_union(arguments, value, key, folder)
    if dataclasses.is_dataclass(kind):
        return build(typing.cast("type[Any]", kind), value, key, folder)
    if kind is Path:
        require(isinstance(value, str | Path) and str(value) != "", key, "a path", value)
        try:
            return (folder / Path(value).expanduser()).resolve()
        except (RuntimeError, ValueError) as error:  # of nobody's home, or a null character
            raise InvalidInputError(str(error), key=key, value=value) from None
    if origin is tuple:
        require(isinstance(value, list | tuple), key, "a list", value)
        return tuple(_convert(arguments[0], item, key, folder) for item in value)
    if origin is not None:
        require(isinstance(value, Mapping), key, "a mapping", value)
        return {k: _convert(arguments[1], v, f"{key}.{k}", folder) for k, v in value.items()}
    return value if kind is Any else _scalar(kind, value, key)


def _scalar(kind: type, value: Any, key: str) -> Any:
    if kind is float:
        if isinstance(value, str) and _FLOAT.fullmatch(value):
            value = float(value)
        return number(key, value)
    if kind is int:
        require(isinstance(value, int) and not isinstance(value, bool), key, "an integer", value)
    else:
        require(isinstance(value, kind), key, "text", value)
    return value


def _convert_union(kinds: tuple[Any, ...], value: Any, key: str, folder: Path) -> Any:
    if value is None and type(None) in kinds:
        return None
    kinds = tuple(k for k in kinds if k is not type(None))
    named: dict[str, Any] = {k.name: k for k in kinds if dataclasses.is_dataclass(k)}  # type: ignore[union-attr]
    if named:
        require(isinstance(value, Mapping), key, "a mapping", value)
        settings = dict(value)
        name = settings.pop("name", next(iter(named)))
        return build(named[one_of(f"{key}.name", name, named)], settings, key, folder)
    if len(kinds) == 1:
        return _convert(kinds[0], value, key, folder)
    if isinstance(value, kinds) and not isinstance(value, bool):
        return value
    names = " or ".join({int: "an integer", str: "text"}.get(k, str(k)) for k in kinds)
    raise InvalidInputError(key=key, value=value, expected=names)


def section_of(settings: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the section of a dotted key, created if missing, and the last part of the key."""
    *sections, last = key.split(".")
    for section in sections:
        if settings.get(section) is None:
            settings[section] = {}
        settings = settings[section]
        require(isinstance(settings, dict), key, f"{section} to be a section", settings)
    return settings, last


def plain(value: Any) -> Any:
    """Return `value` as nested mappings, lists, numbers and text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = {"name": value.name} if hasattr(value, "name") else {}
        return name | {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys; merged ones may be overridden.

    Numbers are those of YAML 1.2: what 1.1 takes for octal (0100), sexagesimal (1:30) or
    grouped digits (1_000) is text, and dates are. Depth and expansion are limited.
    """

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise InvalidFileError("is nested too deeply", expected=f"{_DEEPEST} levels at most")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _expanded(node, {}) > _MOST_NODES:
            expected = f"{_MOST_NODES} values at most, with all aliases expanded"
            raise InvalidFileError("is too large", expected=expected)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        first: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in first:
                raise DuplicateKeyError(key.value, (first[name], line))
            first[name] = line
        return node


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] not in _REPLACED]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def _expanded(node: yaml.Node, known: dict[int, float]) -> float:
    """Return the number of nodes below a node, counting those of aliases each time."""
    if id(node) not in known:
        known[id(node)] = math.inf  # of an alias inside of what it stands for
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        pairs = (part if isinstance(part, tuple) else (part,) for part in parts)
        known[id(node)] = 1 + sum(_expanded(child, known) for pair in pairs for child in pair)
    return known[id(node)]


def read_yaml(path: Path) -> Any:
    """Read a YAML file; errors give its name and, if known, the line."""
    existing_file(path, "a YAML file with the settings")
    if (size := path.stat().st_size) > _LARGEST:
        expected = f"settings of at most {_LARGEST} bytes"
        raise InvalidFileError(file=path, value=f"{size} bytes", expected=expected)
    try:
        text = path.read_text(encoding="utf-8")
        with located(file=path):
            return yaml.load(text, _Loader)
    except InvalidInputError:
        raise
    except OSError as error:
        raise InvalidFileError(f"cannot be read ({error.strerror})", file=path) from None
    except UnicodeDecodeError:
        raise InvalidFileError(
            "not text", file=path, expected="settings in YAML", advice=TEMPLATE_ADVICE
        ) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"not valid YAML: {_in_one_line(error)}", file=path) from None


def _in_one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
