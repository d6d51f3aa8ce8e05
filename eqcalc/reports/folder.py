# SPDX-License-Identifier: MIT
"""A folder of results that is written again: what no longer belongs there is taken away."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from eqcalc.trajectory import write_atomically

#: What was written into a folder: names and SHA-256.
_RECORD = ".eqcalc-spectra.json"


def remove_outdated(folder: Path, written: Iterable[Path]) -> list[str]:
    """Remove what an earlier call wrote into a folder and this one did not; return what to tell.

    Only files that are exactly as that call left them are removed.

    Parameters
    ----------
    folder
        Where the results are.
    written
        All that was written there now.
    """
    now = {path.name: _digest(path) for path in written}
    removed, kept = [], []
    for name, digest in sorted(_recorded(folder).items()):
        path = folder / name
        if name in now or path.is_symlink() or not path.is_file():
            continue
        if _digest(path) == digest:
            path.unlink()
            removed.append(name)
        else:
            kept.append(name)
    text = json.dumps({"files": now}, indent=1, ensure_ascii=False)
    write_atomically(folder / _RECORD, (text + "\n").encode())
    notes = []
    if removed:
        notes.append(
            f"removed from {folder}, as an earlier call wrote them and this one does not: "
            + ", ".join(removed)
        )
    if kept:
        notes.append(
            f"left in {folder}, though not from this call, as they were changed since an earlier "
            "one wrote them: " + ", ".join(kept)
        )
    return notes


def _recorded(folder: Path) -> dict[str, str]:
    """Return names and digests of what the last call wrote; none if that is not known."""
    try:
        files = json.loads((folder / _RECORD).read_text(encoding="utf-8"))["files"]
        return {name: digest for name, digest in files.items() if Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
