# SPDX-License-Identifier: MIT
"""What to cite, as BibTeX."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from eqcalc._version import __version__
from eqcalc.validation import one_of

_FILE = Path(__file__).parent / "assets" / "citations.bib"


def bibliography(keys: Iterable[str]) -> str:
    """Return the entries of ``assets/citations.bib`` with these keys, each once.

    Raises
    ------
    InvalidInputError
        There is no such entry.
    """
    text = _FILE.read_text(encoding="utf-8").replace("VERSION", __version__)
    entries = {
        re.match(r"@\w+\{(\w+),", entry)[1]: entry.strip()  # type: ignore[index]
        for entry in re.split(r"\n(?=@)", text)
    }
    return "\n".join(entries[one_of("citation", key, entries)] for key in dict.fromkeys(keys))
