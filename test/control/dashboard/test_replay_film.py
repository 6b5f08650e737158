"""The report of a run plays it in 3-D, in a real browser and from disk."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.by import By

from browser_testing import Browser, browser
from mbmrl_control.dashboard.replay import replay_of
from mbmrl_control.dashboard.replay_film import as_page
from mbmrl_control.evaluation.report import write_report
from robot_testing import walked

LOADED = "return performance.getEntriesByType('resource').map(each => each.name)"
MOST_BYTES = 2_000_000


def colours(window: Browser) -> int:
    """Number of colours that are drawn on the canvas."""
    picture = Image.open(io.BytesIO(window.canvas.screenshot_as_png)).convert("RGB")
    return len(picture.getcolors(picture.width * picture.height) or ())


def test_report_plays_the_run_from_disk(tmp_path: Path) -> None:
    run, file = walked(), tmp_path / "report.html"
    write_report(run, [], [], file, as_page(replay_of(run)))
    assert file.stat().st_size < MOST_BYTES
    with browser() as window:
        window.driver.get(file.as_uri())
        assert window.driver.execute_script(LOADED) == []
        window.driver.switch_to.frame(window.driver.find_element(By.TAG_NAME, "iframe"))
        window.wait(lambda: colours(window) > 1000)
        window.wait(lambda: float(window.driver.find_element(By.TAG_NAME, "input").get_attribute("value") or 0) > 0.5)
        assert window.driver.execute_script(LOADED) == []


def test_run_of_one_moment_has_a_film() -> None:
    run = walked()
    del run.ticks[1:]
    assert "<html" in as_page(replay_of(run))


def test_same_run_gives_the_same_film() -> None:
    assert as_page(replay_of(walked())) == as_page(replay_of(walked()))
