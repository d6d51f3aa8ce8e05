# SPDX-License-Identifier: MIT
"""The reference of the command line, written from its parsers: one page for each command."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from eqcalc.cli import build_parser

_MARKUP = re.compile(r"([\\*`|_<>])")


def _commands(
    parser: argparse.ArgumentParser, summary: str = ""
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Yield the name and parser of every command, those with commands of their own first."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield command.prog, command
                yield from _commands(command)


def _text(text: str) -> str:
    """Return plain text as reStructuredText shows it unchanged."""
    return _MARKUP.sub(r"\\\1", text)


def _heading(text: str, line: str) -> list[str]:
    return [text, line * len(text), ""]


def _argument(action: argparse.Action, formatter: argparse.HelpFormatter) -> list[str]:
    """Return the entry of one option or positional argument."""
    help_text = _text(formatter._expand_help(action)) if action.help else ""
    if not action.option_strings:
        name = formatter._format_args(action, str(action.metavar or action.dest))
        return [f".. option:: {name}", "", f"   {help_text}", ""]
    arguments = ""
    if action.nargs != 0:
        arguments = " " + formatter._format_args(action, action.dest.upper())
    if action.choices is not None:
        help_text += f" (one of {', '.join(map(str, action.choices))})"
    names = ", ".join(f"{name}{arguments}" for name in action.option_strings)
    return [f".. option:: {names}", "", f"   {help_text}", ""]


def _page(name: str, parser: argparse.ArgumentParser) -> str:
    """Return the page of one command."""
    formatter = parser._get_formatter()
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    lines = [*_heading(name, "="), _text(parser.description or ""), "", f".. program:: {name}", ""]
    lines += [".. code-block:: text", "", *(f"   {line}" for line in usage.splitlines()), ""]
    for group in parser._action_groups:
        actions = [
            action
            for action in group._group_actions
            if action.help is not argparse.SUPPRESS
            and not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)
        ]
        if actions:
            lines += _heading((group.title or "options").capitalize(), "-")
            lines += [_text(group.description or ""), ""]
            for action in actions:
                lines += _argument(action, formatter)
    return "\n".join(lines)


def _write_pages(app: Sphinx) -> None:
    """Write ``reference/commands/*.rst``, leaving alone what has not changed."""
    folder = Path(app.srcdir) / "reference" / "commands"
    folder.mkdir(parents=True, exist_ok=True)
    pages = {
        f"{name.replace(' ', '-')}.rst": _page(name, parser)
        for name, parser in _commands(build_parser())
    }
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
