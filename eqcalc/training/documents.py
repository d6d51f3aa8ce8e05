# SPDX-License-Identifier: MIT
"""YAML files with settings, read so that nothing stated in them is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from eqcalc.training.settings import ConfigError

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises
    ------
    ConfigError
        It is missing or not YAML, or a key is stated twice; the message names the file and
        the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        root = yaml.compose(text, yaml.SafeLoader)
        if root is not None:
            _refuse_duplicates(root)
        return yaml.safe_load(text)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ConfigError(f"{path}: a folder; state the YAML file with the settings") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not text; expected settings in YAML") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid YAML: {_in_one_line(error)}") from None


def _refuse_duplicates(root: yaml.Node) -> None:
    """Raise ConfigError for a key that is stated twice, of which YAML would take the last."""
    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # aliases lead to one node
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            first: dict[tuple[str, str], int] = {}
            for key, value in node.value:
                left.append(value)
                if not isinstance(key, yaml.ScalarNode) or key.tag.endswith(":merge"):
                    continue
                name, line = (key.tag, key.value), key.start_mark.line + 1
                if name in first:
                    raise ConfigError(
                        f"line {line}: {key.value} is stated twice, first in line {first[name]}; "
                        "put all of it in one place"
                    )
                first[name] = line


def _in_one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
