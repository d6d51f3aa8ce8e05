# SPDX-License-Identifier: MIT
"""Commands that pages quote are accepted by the parsers of what they call."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from eqcalc.cli import build_parser

ROOT = Path(__file__).parents[2]
VALIDATION = ROOT / "docs" / "validation" / "index.md"
PAGES = [*sorted(ROOT.glob("workflows/*/README.md")), VALIDATION]
#: Pages of which some have commands only that are not of eqcalc.
GUIDES = [ROOT / "docs" / "first-spectrum.md", *sorted(ROOT.glob("docs/how-to/*.md"))]

#: A command, without what is set for it and whether a shell waits for it.
_COMMAND = re.compile(r"\s*(?:[A-Z_]+=\S+ |nice -n \d+ )*((?:eqcalc|python|cd) .*?)(?: &)?")

#: A command in a table that names a file, and is neither an option alone nor cut short.
_WITH_FILE = re.compile(r"eqcalc \w+ [^ …-][^ …]*\.\w+[^…]*")


def quoted(page: Path) -> Iterator[tuple[Path, list[str]]]:
    """Give the folder and the words of each command of a page: blocks of code, rows of tables."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```bash\n(.*?)^```|((?:^    \S.*\n)+)", text, re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\|.*\|$", text, re.MULTILINE)
    in_rows = [code for row in rows for code in re.findall(r"`([^`]+)`", row)]
    if page != VALIDATION:
        in_rows = [code for code in in_rows if _WITH_FILE.fullmatch(code)]
    for lines in [*(fenced or indented for fenced, indented in blocks), *in_rows]:
        folder = ROOT
        for line in lines.replace("\\\n", " ").splitlines():
            found = _COMMAND.fullmatch(line)
            words = shlex.split(found[1], comments=True) if found else []
            if words[:1] == ["cd"]:
                folder = (folder / words[1]).resolve()
            elif words[1:] and (words[0] == "eqcalc" or page not in GUIDES or "/" in words[1]):
                yield folder, words


COMMANDS = [(page, *command) for page in PAGES + GUIDES for command in quoted(page)]


class Parsed(Exception):  # noqa: N818
    """The arguments were accepted."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with the inputs of a checkout, where scripts end with their parser."""
    parse = argparse.ArgumentParser.parse_args

    def parse_only(*arguments: object) -> None:
        parse(*arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_only)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "folder", "words"),
    COMMANDS,
    ids=[f"{page.parent.name}/{page.stem}-{' '.join(words)[:60]}" for page, _, words in COMMANDS],
)
def test_a_command_is_accepted(
    page: Path, folder: Path, words: list[str], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if words[0] == "eqcalc":
        for word in words:
            if not word.startswith("-") and "/" in word:
                (runs / word).parent.mkdir(parents=True, exist_ok=True)
        with pytest.raises(Parsed):
            build_parser().parse_args(words[1:])
        return
    script = folder / words[1]
    monkeypatch.setattr(sys, "argv", words[1:])
    monkeypatch.syspath_prepend(script.parent)
    before = set(sys.modules)
    try:
        with pytest.raises(Parsed):
            runpy.run_path(str(script), run_name="__main__")
    except ModuleNotFoundError as missing:
        pytest.skip(f"{missing.name} is not installed")
    finally:
        for name in set(sys.modules) - before:
            if (script.parent / f"{name}.py").exists():
                del sys.modules[name]


def test_every_page_has_commands() -> None:
    guide = ROOT / "docs" / "how-to" / "coming-from.md"
    assert {page for page, _, _ in COMMANDS} >= {*PAGES, guide}
