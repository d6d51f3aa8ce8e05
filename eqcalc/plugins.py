# SPDX-License-Identifier: MIT
"""Plugins: external modules with networks, quantities, read-outs, methods and readers.

Classes named by the caller, as ``package.module:Class`` or by an entry point of an installed
package, are imported. Modules that files may refer to must be listed in the environment
variable ``EQCALC_PLUGINS``, separated by commas, which child processes inherit. Listing a
module permits its code to run. Files never cause imports: an untrusted model file can only
select among the listed modules.
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

#: Environment variable with the modules to import for what they register.
PLUGINS = "EQCALC_PLUGINS"


def plugin_modules() -> tuple[str, ...]:
    """Return the names of the modules listed in ``EQCALC_PLUGINS``."""
    return tuple(name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip())


def load_plugins() -> None:
    """Import every module listed in ``EQCALC_PLUGINS``.

    Raises
    ------
    InvalidInputError
        One of them cannot be imported.
    """
    for name in plugin_modules():
        import_plugin(name)


def import_plugin(name: str) -> ModuleType:
    """Import and return a module that the caller has named or listed.

    Raises
    ------
    InvalidInputError
        It cannot be imported.
    """
    return _import(PLUGINS, name)


def _import(key: str, module: str) -> ModuleType:
    """Import a module; `key` is the setting that named it, for errors."""
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
    """Return the class that a name refers to.

    Parameters
    ----------
    key
        Name of the argument or setting, for errors.
    name
        One of `own`, ``"package.module:Class"``, or an entry point of an installed package.
    own
        Built-in classes by name.
    group
        Entry-point group.

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
    """Import a module and return one of its classes.

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
    """Import and return the object ``"package.module:name"``.

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
    """Return an instance of a class with the keyword arguments `options`.

    Raises
    ------
    InvalidInputError
        An argument is unknown or missing, or a value is rejected.
    """
    try:
        signature = inspect.signature(kind)
    except (TypeError, ValueError):  # compiled classes have no signature
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
