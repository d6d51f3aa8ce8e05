# SPDX-License-Identifier: MIT
"""Tables of results under the command they were made with.

Files of results name it in a comment in their first line, or in a column; where neither is so, the
directive does.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.parsers.rst.directives.tables import CSVTable
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: Columns that are shown above the table instead of in it.
_RECORD = ("command", "commit", "hardware")


class ResultTable(SphinxDirective, CSVTable):
    """``{result-table} path`` shows a CSV file of ``workflows/*/results``."""

    required_arguments = 1
    optional_arguments = 0
    option_spec: ClassVar[Any] = {"command": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        """Return the command and the table."""
        relative, absolute = self.env.relfn2path(self.arguments[0])
        self.env.note_dependency(relative)
        text = Path(absolute).read_text(encoding="utf-8")
        record = [self.options.pop("command", "")]
        if text.startswith("# "):
            first, text = text.split("\n", 1)
            record = first.removeprefix("# ").split("; ")
        header, *rows = list(csv.reader(io.StringIO(text)))
        aside = [header.index(name) for name in _RECORD if name in header]
        if aside:
            # the same for all rows, or several commands of one sweep
            record = ["\n".join(dict.fromkeys(row[i] for row in rows)) for i in aside]
        if not record[0]:
            raise self.error(f"{absolute}: names no command; state it in the directive")
        table = io.StringIO()
        csv.writer(table).writerows(
            [cell for i, cell in enumerate(row) if i not in aside] for row in (header, *rows)
        )
        self.arguments = []
        self.options["header-rows"] = 1
        self.content = StringList(table.getvalue().splitlines(), source=absolute)
        shown = nodes.literal_block(record[0], record[0], language="console")
        circumstances = nodes.paragraph(text="; ".join(record[1:]).replace("\n", ", "))
        return [shown, circumstances, *super().run()]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("result-table", ResultTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
