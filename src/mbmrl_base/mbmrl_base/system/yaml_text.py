"""YAML of files that may come from strangers: its size is bounded before anything is made of it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 2_000_000
"""Size of a file that is read at most."""
MOST_NODES: Final = 100_000
"""Values that a text may hold, each as often as its aliases name it."""
MOST_DIGITS: Final = 1000
"""Characters of a number: to read one whose digits are of base 60 takes as long as the square of them."""
_NUMBERS: Final = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


class YamlError(ValueError):
    """A text that is no YAML, or too large; one line that says what is wrong."""


def read_text(path: Path) -> str:
    """Text of a file.

    Raises:
        OSError: If it cannot be read.
        YamlError: If it is too large, or no text.
    """
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise YamlError(f"it has more than {MOST_BYTES / 1e6:g} MB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise YamlError(str(error)) from None


def parse(text: str) -> Any:
    """What a text holds; a key stands once in a mapping (YAML 1.2.2, section 3.2.1.1).

    Raises:
        YamlError: If it is no YAML, or holds more than MOST_NODES values.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            seen = set()
            for key in keys:
                if not isinstance(key, Hashable):
                    break  # what is inherited refuses it
                if key in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands twice", node.start_mark)
                seen.add(key)
            return super().construct_mapping(node, deep)

    try:
        if (root := yaml.compose(text, Loader)) is not None and _size(root, {}) > MOST_NODES:
            raise YamlError(f"it holds more than {MOST_NODES} values, with those that its aliases name")
        return yaml.load(text, Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:  # ValueError: of a date that there is not
        raise YamlError(" ".join(str(error).split())) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError):  # as of `!!bool x` and `!!int ""`
        raise YamlError("a value is not what its tag says") from None


def _size(node: Any, known: dict[int, int]) -> int:
    """Values below a node, which may be below itself: then they are without number."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # where it is below itself
        value = node.value
        if len(value) > MOST_DIGITS and node.tag in _NUMBERS:
            raise ValueError(f"a number has more than {MOST_DIGITS} digits")
        parts = value if isinstance(value, list) else []
        below = [part for each in parts for part in (each if isinstance(each, tuple) else (each,))]
        known[id(node)] = 1 + sum(_size(part, known) for part in below)
    return known[id(node)]
