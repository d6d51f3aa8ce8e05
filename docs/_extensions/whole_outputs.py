# SPDX-License-Identifier: MIT
"""Outputs of cells in one piece: MyST-NB would break lines where a kernel sent them in parts."""

from __future__ import annotations

from functools import partialmethod
from typing import Any

from nbclient import NotebookClient
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Let the client join the parts, which it does only when told to."""
    NotebookClient.__init__ = partialmethod(NotebookClient.__init__, coalesce_streams=True)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
