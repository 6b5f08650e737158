"""Why a value is refused, in the words of YAML, which it was written in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_REASONS: Final = {
    "missing": "it is missing",
    "too_long": "it has {actual_length} values, allowed are at most {max_length}",
    "too_short": "it has {actual_length} values, allowed are at least {min_length}",
    "tuple_type": "wanted is a list",
}
"""Instead of texts of pydantic that speak of Python's types."""


def reason(error: Mapping[str, Any]) -> str:
    """Why pydantic refuses a value, as part of a sentence."""
    context = error.get("ctx", {})
    # pydantic puts "Value error, " before the text of a ValueError.
    text = str(context["error"]) if error["type"] == "value_error" else error["msg"]
    if plain := _REASONS.get(error["type"]):
        text = plain.format(**context)
    return text[:1].lower() + text[1:]
