# SPDX-License-Identifier: MIT
"""Modules outside of eqcalc that add networks, quantities and read-outs.

They are listed in the environment variable ``EQCALC_PLUGINS``, several separated by
commas, which processes that are started inherit. Listing a module is leave to run it, as
importing it would be; nothing is imported because a file says so, and a model file from
elsewhere can only choose among what was let in.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

#: Environment variable with the modules that may be imported for what they register.
PLUGINS = "EQCALC_PLUGINS"


class PluginError(ValueError):
    """A module listed in ``EQCALC_PLUGINS`` cannot be imported.

    Attributes
    ----------
    module
        The module.
    """

    def __init__(self, module: str, reason: object = "") -> None:
        super().__init__(
            f"{PLUGINS}: {module} cannot be imported ({type(reason).__name__}: {reason}); install "
            "it, or put its folder into PYTHONPATH"
        )
        self.module = module


def plugin_modules() -> tuple[str, ...]:
    """Return the names of the modules listed in ``EQCALC_PLUGINS``."""
    return tuple(name.strip() for name in os.environ.get(PLUGINS, "").split(",") if name.strip())


def load_plugins() -> None:
    """Import every module listed in ``EQCALC_PLUGINS``, which registers what it adds.

    Raises
    ------
    PluginError
        One of them cannot be imported.
    """
    for name in plugin_modules():
        import_plugin(name)


def import_plugin(name: str) -> ModuleType:
    """Return a module that the caller has let in.

    Raises
    ------
    PluginError
        It cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever the module raises
        raise PluginError(name, error) from error
