# SPDX-License-Identifier: MIT
"""Modules outside of eqcalc that add networks, quantities, read-outs, methods and readers.

Those that a caller names, by place (``package.module:Class``) or by the entry point of an
installed package, are imported. Those that files may choose among are listed in the
environment variable ``EQCALC_PLUGINS``, several separated by commas, which processes that
are started inherit. Listing a module is leave to run it, as importing it would be; nothing
is imported because a file says so, and a model file from elsewhere can only choose among
what was let in.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from eqcalc.validation import InvalidInputError, known_keys, one_of

#: Environment variable with the modules that may be imported for what they register.
PLUGINS = "EQCALC_PLUGINS"


def plugin_modules() -> tuple[str, ...]:
    """Return the names of the modules listed in ``EQCALC_PLUGINS``."""
    return tuple(name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip())


def load_plugins() -> None:
    """Import every module listed in ``EQCALC_PLUGINS``, which registers what it adds.

    Raises
    ------
    InvalidInputError
        One of them cannot be imported.
    """
    for name in plugin_modules():
        import_plugin(name)


def import_plugin(name: str) -> ModuleType:
    """Return a module that the caller has let in.

    Raises
    ------
    InvalidInputError
        It cannot be imported.
    """
    return _import(PLUGINS, name)


def _import(key: str, module: str) -> ModuleType:
    """Return a module; the error names the `key` under which it was given."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # whatever the module raises
        raise InvalidInputError(
            f"cannot be imported ({type(error).__name__}: {error})",
            key=key,
            value=module,
            expected="a module that can be imported",
            advice="install it, or put its folder into PYTHONPATH",
        ) from error


# --- classes that a caller names ------------------------------------------------------


def class_named(key: str, name: str, own: Mapping[str, Any], group: str) -> Any:
    """Return the class that a name stands for.

    Parameters
    ----------
    key
        What is named, for errors.
    name
        One of `own`; ``"package.module:Class"``; or the name under which an installed
        package announces a class as an entry point.
    own
        Classes of eqcalc by name.
    group
        Group of entry points.

    Raises
    ------
    InvalidInputError
        There is no such class, or its module cannot be imported.
    """
    if name in own:
        return own[name]
    module, separator, attribute = name.partition(":")
    if separator:
        return class_at(key, module, attribute)
    announced = {entry.name: entry for entry in entry_points(group=group)}
    try:
        entry = announced[one_of(key, name, [*own, *announced])]
    except InvalidInputError as error:
        error.expected += ", or package.module:Class"
        raise
    return class_at(key, entry.module, entry.attr)


def class_at(key: str, module: str, name: str) -> Callable[..., Any]:
    """Return a class of a module, which is imported.

    Raises
    ------
    InvalidInputError
        The module cannot be imported, or has no such class.
    """
    found = object_at(key, f"{module}:{name}")
    if not callable(found):
        raise InvalidInputError(key=key, value=name, expected=f"a class of {module}")
    made: Callable[..., Any] = found
    return made


def object_at(key: str, place: str) -> Any:
    """Return what ``"package.module:name"`` stands for, of a module that is imported.

    Raises
    ------
    InvalidInputError
        The module cannot be imported, or has no such name.
    """
    module, _, name = place.partition(":")
    found = getattr(_import(key, module), name, None)
    if found is None:
        raise InvalidInputError(key=key, value=place, expected=f"a name of {module}")
    return found


def instance(key: str, kind: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """Return an object of a class, whose arguments are `options`.

    Raises
    ------
    InvalidInputError
        The class has no such argument, needs another one, or refuses a value.
    """
    try:
        signature = inspect.signature(kind)
    except (TypeError, ValueError):  # of a class that is compiled
        return kind(**options)
    parameters = signature.parameters.values()
    if not any(p.kind is p.VAR_KEYWORD for p in parameters):
        known = [p.name for p in parameters if p.kind is not p.VAR_POSITIONAL]
        known_keys(options, known, section=key)
    try:
        signature.bind(**options)
    except TypeError as error:
        raise InvalidInputError(str(error), key=key) from None
    try:
        return kind(**options)
    except InvalidInputError:
        raise
    except ValueError as error:
        raise InvalidInputError(str(error), key=key) from error
