"""The report of a run: a page that needs nothing but itself."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from mbmrl_control.control.run_record import Record
from mbmrl_control.evaluation.report import write_report
from robot_testing import path_task, walked

Run = Callable[..., tuple[int, str, str]]
VOID = {"meta", "img"}


@pytest.fixture
def run() -> Record:
    """A robot that walks ahead for 6 s, beside its path, and loses a leg half-way."""
    return walked()


class Page(HTMLParser):
    """What is in a page: its elements must be closed in order."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(file.read_text(encoding="utf-8"))
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(f"{tag}.{name}", value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1] != "style":
            self.texts.append((self.open[-1], data.strip()))

    def of(self, tag: str) -> list[str]:
        """Texts of the elements of a name."""
        return [text for name, text in self.texts if name == tag]


def test_page_shows_the_figures_and_loads_nothing(run: Record, tmp_path: Path) -> None:
    summary = write_report(run, [], [], tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    assert page.of("h1") == page.of("title") == ["millirobot, grbal on straight, leg_loss:right_middle@3"]
    cards = dict(zip(page.of("span"), page.of("b"), strict=True))
    assert cards["model error after it, adapted"] == "0.100"
    assert cards["model error after it, prior"] == "0.400"
    assert cards["command rate"] == "20.0 Hz"
    cells = page.of("td")
    for name, value in (("planning time", "21.00 ms"), ("intervals without a command", "0 of 121")):
        assert cells[cells.index(name) + 1] == value
    assert summary["model_error"] == {"prior_after": pytest.approx(0.4), "adapted_after": pytest.approx(0.1)}
    pictures = [value for name, value in page.attributes if name == "img.src"]
    assert len(pictures) == 2
    assert all(value.startswith("data:image/svg+xml;base64,") for value in pictures)
    assert all(value for name, value in page.attributes if name == "img.alt")
    text = re.sub(r"data:[^\"]+", "", (tmp_path / "report.html").read_text())
    assert not re.search(r"https?:|//|url\(|@import|<script|<link", text)


def test_same_run_gives_the_same_page(run: Record, tmp_path: Path) -> None:
    for name in ("first.html", "second.html"):
        write_report(run, [], [], tmp_path / name)
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()


def test_texts_of_others_are_no_elements(run: Record, tmp_path: Path) -> None:
    evil = '<script>alert("1")</script>'
    write_report(
        replace(run, learner=evil, fault=f"{evil}@3"), [f"mpc_node: {evil}"], [f"cut {evil}"], tmp_path / "r.html"
    )
    page = Page(tmp_path / "r.html")
    assert evil in page.of("h1")[0]
    assert [text for text in page.of("p") if "script" in text] == [f"cut {evil}", f"mpc_node: {evil}"]
    assert "<script" not in (tmp_path / "r.html").read_text()


def test_film_is_a_page_within_the_page(run: Record, tmp_path: Path) -> None:
    film = '<html><script>alert("1 & 2")</script></html>'
    write_report(run, [], [], tmp_path / "r.html", film)
    assert ("iframe.srcdoc", film) in Page(tmp_path / "r.html").attributes
    assert "<script" not in (tmp_path / "r.html").read_text()
    write_report(run, [], [], tmp_path / "r.html")
    assert "<iframe" not in (tmp_path / "r.html").read_text()


def test_run_without_a_fault_or_a_tick_in_time_is_reported(run: Record, tmp_path: Path) -> None:
    for ticks in (run.ticks, run.ticks[:1]):
        write_report(replace(run, fault=None, fault_time=None, ticks=ticks), [], [], tmp_path / "report.html")
        titles = Page(tmp_path / "report.html").of("span")
        assert not [title for title in titles if "fault" in title or "after" in title or "recover" in title]


def test_report_of_a_folder_is_written_into_it(mbmrl: Run, run: Record, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    run.write(folder, run.track(path_task("straight")))
    (folder / "summary.json").write_text('{"errors": ["mpc_node: no finite plan"]}')
    code, output, errors = mbmrl("report", str(folder), "--json")
    assert (code, errors) == (0, f"written: {folder / 'report.html'}\n")
    summary: dict[str, Any] = json.loads(output)
    assert (summary["ticks"], summary["errors"]) == (121, ["mpc_node: no finite plan"])
    assert "mpc_node: no finite plan" in Page(folder / "report.html").of("p")
    for text in ("no JSON", "[]", '{"errors": 3}'):
        (folder / "summary.json").write_text(text)
        assert mbmrl("report", str(folder))[0] == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none",), "none holds no run: there is no run.json"),
        (("{run}", "--out", "none/r.html"), "none/r.html cannot be written: there is no folder none"),
        (("{run}", "--out", "."), ". cannot be written: it is a folder"),
    ],
)
def test_what_cannot_be_reported_is_refused(
    mbmrl: Run, run: Record, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    run.write(tmp_path, run.track(path_task("straight")))
    result = mbmrl("report", *(text.format(run=tmp_path) for text in arguments))
    assert result == (2, "", f"error: {sentence}\n")
