# SPDX-License-Identifier: MIT
"""The documentation names every result, and its pages lead to files that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if not {"_build", "api", "commands"} & set(page.relative_to(DOCS).parts)
)


def test_validation_names_every_result() -> None:
    workflows = ROOT / "workflows"
    results = {p.relative_to(workflows) for p in workflows.glob("*/results/**/*") if p.is_file()}
    text = (DOCS / "validation" / "index.md").read_text(encoding="utf-8")
    named = set()
    for cell in re.findall(r"^\| (`\w+/results/[^|]*) \|", text, re.MULTILINE):
        first, *others = map(Path, re.findall(r"`([^`]+)`", cell))
        named |= {first, *(first.parent / other for other in others)}
    assert named == results


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    linked = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    included = re.findall(
        r"^```\{(?:include|figure|literalinclude|result-table)\} (\S+)", text, re.M
    )
    for target in (*linked, *included):
        assert (page.parent / target).exists(), target


def test_the_rooms_are_those_of_the_contract() -> None:
    """The table of the house and the reference list them in the order of imports."""
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    layers = re.search(r"^layers = \[(.*?)\]", contract, re.DOTALL | re.MULTILINE).group(1)
    rooms = [room for room in re.findall(r'"(\w+)"', layers)[::-1] if room != "_version"]
    house = (DOCS / "developers" / "house.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)/?` \|", house, re.MULTILINE) == rooms
    reference = (DOCS / "reference" / "api.md").read_text(encoding="utf-8")
    assert re.findall(r"^   eqcalc\.(\w+)$", reference, re.MULTILINE) == rooms[:-1]  # no cli
