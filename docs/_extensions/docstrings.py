# SPDX-License-Identifier: MIT
"""Docstrings as they are written: ``|x|`` is an absolute value, names may be those of rooms."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import eqcalc

_LITERAL = re.compile(r"(``.*?``|`.*?`)")


def _escape_bars(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Keep ``|`` outside of literals from being read as a substitution."""
    literal_at: int | None = None  # indentation of the paragraph that a literal block follows
    for index, line in enumerate(lines):
        indentation = len(line) - len(line.lstrip())
        if literal_at is not None and line.strip() and indentation <= literal_at:
            literal_at = None
        if literal_at is None:
            parts = _LITERAL.split(line)
            parts[::2] = [part.replace("|", r"\|") for part in parts[::2]]
            lines[index] = "".join(parts)
            if line.rstrip().endswith("::"):
                literal_at = indentation


def _resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.reference | None:
    """Resolve a name of a room, ``eqcalc.spectra.infrared``, as that of the public face."""
    package, _, path = node.get("reftarget", "").partition(".")
    name = path.rpartition(".")[2]
    if node.get("refdomain") != "py" or package != "eqcalc" or name not in eqcalc.__all__:
        return None
    return env.domains["py"].resolve_xref(
        env, node["refdoc"], app.builder, "obj", f"eqcalc.{name}", node, content
    )


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("autodoc-process-docstring", _escape_bars)
    app.connect("missing-reference", _resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
