# SPDX-License-Identifier: MIT
"""The examples of the README run as they are written, in an empty folder."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from eqcalc.cli import build_parser
from eqcalc.files import shipped_models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
#: Options and arguments that name what a command writes.
_WRITTEN = ("target", "output", "figure")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def command_lines() -> list[list[str]]:
    """Arguments of every ``eqcalc`` command; those of one chain follow each other."""
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.startswith("eqcalc ")]
    return [shlex.split(line, comments=True)[1:] for line in lines]


def as_paths(value: object) -> list[Path]:
    values = value if isinstance(value, list | tuple) else [value]
    return [Path(v) for v in values if isinstance(v, str | Path) and re.search(r"[./]", str(v))]


def test_commands_are_known_and_take_files_of_each_other(tmp_path, monkeypatch) -> None:
    """Every input is shipped or was written before: no file of the checkout is needed."""
    monkeypatch.chdir(tmp_path)
    written = set(shipped_models().values())
    written |= {Path(name) for name in re.findall(r"^ase build \S+ (\S+)", README, re.MULTILINE)}
    for arguments in command_lines():
        options = vars(build_parser().parse_args(arguments))
        for name, value in options.items():
            if name not in _WRITTEN:
                for path in as_paths(value):
                    assert {path, *path.parents} & written, (arguments, path)
        outputs = {Path(options[name]) for name in _WRITTEN if options.get(name)}
        if template := options.get("template"):
            outputs.add(Path(f"{template.stem}-model"))  # the folder that these settings name
        written |= outputs | {path.parent for path in outputs if path.name == "input.xml"}
    assert len(command_lines()) >= 10


@pytest.mark.slow
def test_python_examples_run(tmp_path, monkeypatch) -> None:
    """One after the other, as a reader would; series given as arrays give the same spectrum."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    spectra = []
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
        spectra.append(names.get("spectrum"))
    _, from_trajectory, from_arrays = spectra
    assert from_trajectory.unit == "km/mol per cm⁻¹"
    np.testing.assert_allclose(from_arrays.values, from_trajectory.values, rtol=1e-6)
    assert "sr" in (tmp_path / "raman.csv").read_text(encoding="utf-8")


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


def test_extras_are_those_of_the_package() -> None:
    extras = re.search(r"optional-dependencies\](.*?)\n\[", (ROOT / "pyproject.toml").read_text(),
                       re.DOTALL).group(1)  # fmt: skip
    defined = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE))
    rows = re.findall(r"^\| (`.*?`) \|", README, re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert named == defined
