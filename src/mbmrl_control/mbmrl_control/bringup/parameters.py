"""What the nodes of a graph will read as their parameters, known before they are started."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from ament_index_python.packages import get_package_share_directory

from mbmrl_base.toolkit.parameters import read
from mbmrl_base.toolkit.settings import NodeSettings
from mbmrl_control.bringup.graph import NodeSpec, Values


def params_file(values: Values) -> Path:
    """The file of parameters that is meant."""
    installed = Path(get_package_share_directory("mbmrl_control")) / "config" / "mbmrl.yaml"
    return Path(values.get("params_file") or installed)


def overrides(spec: NodeSpec, values: Values) -> dict[str, Any]:
    """Parameters of a node that are given beside the file."""
    return {name: values[argument] for argument, name in spec.arguments.items() if values.get(argument) is not None}


def is_started(spec: NodeSpec, values: Values) -> bool:
    """Whether a node is wanted."""
    return not spec.optional_rate or bool(values.get(spec.optional_rate))


def read_settings(spec: NodeSpec, values: Values) -> NodeSettings:
    """The settings that a node will have: its defaults, the file of parameters, and what is given.

    Raises:
        ValueError: If the file cannot be read, or the node would refuse a value.
    """
    file = params_file(values)
    node = f"{values.get('namespace') or ''}/{spec.executable}"
    found: dict[str, Any] = {}
    for pattern, parameters in _sections(file):
        if re.fullmatch(pattern, node):
            found |= parameters
    return read(spec.settings, found | overrides(spec, values))


def _sections(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Parameters in a file, after a regular expression for the full names of their nodes."""
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"the file of parameters {file} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the file of parameters {file} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the file of parameters {file} holds no nodes: wanted is NODE: {{ros__parameters: ...}}")
    yield from _sections_of("", content)


def _sections_of(name: str, content: dict[Any, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key, value in content.items():
        if key == "ros__parameters" and isinstance(value, dict):
            # As rcl has it: ** stands for any number of names, * for one.
            yield re.sub(r"/\*\*|/\*", lambda mark: r"(/\w+)*" if mark[0] == "/**" else r"/\w+", name), value
        elif isinstance(value, dict):
            yield from _sections_of(f"{name}/{str(key).lstrip('/')}", value)
