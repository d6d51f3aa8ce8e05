# SPDX-License-Identifier: MIT
"""Modules of ``workflows/``, which are scripts beside the package, as tests import them."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def module(place: str) -> ModuleType:
    """Import a module by its place in ``workflows/``."""
    path = Path(__file__).parents[2] / "workflows" / place
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = found  # where dataclasses look their module up
    spec.loader.exec_module(found)
    return found
