# SPDX-License-Identifier: MIT
"""YAML files with settings, read so that nothing stated in them is lost."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from eqcalc.training.settings import ConfigError

__all__ = ["read_yaml"]


class _Loader(yaml.SafeLoader):
    """Refuses keys that are stated twice, of which YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key, line = self.construct_object(key_node, deep=True), key_node.start_mark.line + 1
            if not isinstance(key, Hashable) or key_node.tag == "tag:yaml.org,2002:merge":
                continue
            if key in first:
                raise ConfigError(
                    f"line {line}: {key} is stated twice, first in line {first[key]}; "
                    "put all of it in one place"
                )
            first[key] = line
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds.

    Raises
    ------
    ConfigError
        It is missing or not YAML, or a key is stated twice; the message names the file and
        the line.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), _Loader)
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


def _in_one_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())
