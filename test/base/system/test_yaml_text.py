"""YAML of strangers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mbmrl_base.system.yaml_text import MOST_BYTES, YamlError, parse, read_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(codec="utf-8"))
VALUES = st.recursive(SCALARS, lambda each: st.lists(each) | st.dictionaries(st.text(max_size=5), each), max_leaves=20)
LAUGHS = "a: &a0 [1, 1]\n" + "".join(f"b{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@given(VALUES)
def test_what_was_written_is_read(value: object) -> None:
    assert parse(yaml.safe_dump(value)) == value


@given(st.text() | st.text("[]{}&*a:-, \n'\"!?|>%@#1"))
def test_any_text_is_read_or_refused_in_a_line(text: str) -> None:
    try:
        parse(text)
    except YamlError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (LAUGHS, "holds more than 100000 values"),
        ("&a [*a]", "holds more than 100000 values"),
        ("{a: &a {b: *a}}", "holds more than 100000 values"),
        ("[" * 100_000, "recursion"),
        ("2000-13-45", "month"),
        ("!!bool x", "a value is not what its tag says"),
        ("!!int ''", "a value is not what its tag says"),
        ("1" + ":59" * 300 + ".5", "a value is not what its tag says"),
        ("1" + ":59" * 100_000, "a number has more than 1000 digits"),
        ("a: 1\na: 2", "'a' stands twice"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
    ids=["laughs", "in itself", "in its value", "deep", "no date", "bool", "int", "float", "digits", "twice", "code"],
)
def test_what_would_take_too_much_or_do_harm_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(YamlError, match=sentence):
        parse(text)


def test_alias_is_what_it_names() -> None:
    assert parse("a: &x [1, 2]\nb: *x") == {"a": [1, 2], "b": [1, 2]}


def test_large_file_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    with file.open("wb") as stream:
        stream.truncate(10**12)  # with nothing on the disk
    with pytest.raises(YamlError, match=f"more than {MOST_BYTES / 1e6:g} MB"):
        read_text(file)
    file.write_bytes(b"\xff")
    with pytest.raises(YamlError, match="invalid start byte"):
        read_text(file)


@given(st.sampled_from(["bool", "int", "float", "timestamp", "binary", "set", "omap"]), st.text("01:.-_e"))
def test_any_tag_is_read_or_refused_in_a_line(tag: str, text: str) -> None:
    for value in (f"'{text}'", f"[{text}]", f"{{{text}: 1}}"):
        try:
            parse(f"!!{tag} {value}")
        except YamlError as error:
            assert "\n" not in str(error)
