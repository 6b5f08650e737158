"""The page of recorded runs in a real browser."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import viser
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser_testing import Browser, browser
from mbmrl_control.dashboard.replay import Beside, Replay, replay_of
from mbmrl_control.dashboard.replay_page import ReplayPage
from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dashboard.snapshot import Foresight
from robot_testing import walked

LAST_TIMES = "return Object.values(window.__viserTestpoints.uplots).map(each => Array.from(each.chart.data[0]).at(-1))"
"""JavaScript that returns the last time in each chart, s."""


def foresight(x: float) -> Foresight:
    """The adapted model expects the robot to walk 0.16 m ahead, the prior 30 mm beside."""
    way = np.column_stack([x + np.linspace(0.0, 0.16, 17), np.zeros(17), np.zeros(17)])
    terms = {"distance": np.array([1.0, 2.0, 3.0, 4.0])}
    return Foresight(way, way + np.array([0.0, 0.03, 0.0]), way[None].repeat(4, 0), terms, np.arange(3.0))


def recorded(learner: str = "grbal", aside: float = 0.002) -> Replay:
    """A walk of 1.2 m in 6 s, whose plans were recorded in every other tick."""
    beside = Beside(foresights={index: foresight(0.01 * index) for index in range(0, 121, 2)})
    return replay_of(walked(learner, aside=aside), beside)


@contextmanager
def opened(*runs: Replay) -> Iterator[tuple[Browser, viser.SceneApi]]:
    """The page of runs in a browser, at their end, where they stop, and its scene."""
    server, stop = PageServer("127.0.0.1", 0), threading.Event()
    page = ReplayPage(server.viser, runs, [run.record.learner for run in runs])
    thread = threading.Thread(target=page.play, args=(stop,))
    thread.start()
    try:
        with browser() as window:
            window.driver.get(server.address)
            scrub(window, Keys.END)
            window.button("Play")
            window.wait(lambda: window.shows("leg_loss:right_middle"))
            yield window, server.viser.scene
    finally:
        stop.set()
        thread.join()
        server.close()


def node(scene: viser.SceneApi, name: str) -> Any:
    found = scene.get_handle_by_name(name)
    assert found is not None, name
    return found


def scrub(window: Browser, key: str) -> None:
    """Press a key at the scrubber."""
    window.wait(lambda: window.driver.find_elements(By.CSS_SELECTOR, "[role=slider]"))[0].send_keys(key)


def choose(window: Browser, old: str, new: str) -> None:
    """Choose another value of a dropdown."""
    window.wait(lambda: window.field(old)).click()
    options = "[role=option]"
    window.wait(
        lambda: next((o for o in window.driver.find_elements(By.CSS_SELECTOR, options) if o.text == new), None)
    ).click()


def test_scrubber_leads_robot_ghosts_charts_and_reasons() -> None:
    with opened(recorded()) as (window, scene):
        assert not any(window.shows(word) for word in ("STOP", "Faults", "Settings", "freeze"))
        robot, ghost = (node(scene, f"/run0/{name}") for name in ("robot", "adapted_ghost"))
        lost = node(scene, "/run0/robot/right_middle_hip/right_middle_leg_lost")
        window.wait(lambda: window.driver.execute_script(LAST_TIMES) == pytest.approx([6.0] * 4))
        assert robot.position[0] == pytest.approx(1.2) and lost.visible
        assert ghost.visible and ghost.position[0] == pytest.approx(1.36)
        scrub(window, Keys.HOME)
        window.wait(lambda: not window.shows("leg_loss:right_middle"))
        window.wait(lambda: window.driver.execute_script(LAST_TIMES) == pytest.approx([0.0] * 4, abs=0.06))
        assert robot.position[0] == 0.0 and not lost.visible
        assert ghost.position[0] == pytest.approx(0.16)
        window.tab("Why")
        window.wait(lambda: window.shows("30 mm") and window.shows("cheapest candidate: 2.00"))
        # It plays to its end, and then again.
        choose(window, "1", "4")
        window.button("Play").click()
        window.wait(lambda: robot.position[0] == pytest.approx(1.2) and window.button("Play"))
        choose(window, "4", "0.25")
        window.button("Play").click()
        window.wait(lambda: robot.position[0] < 0.6)
        window.wait(lambda: robot.position[0] > 0.0)


def test_run_whose_plans_were_not_recorded_is_shown_without_ghosts() -> None:
    with opened(replay_of(walked())) as (window, scene):
        assert node(scene, "/run0/robot").position[0] == pytest.approx(1.2)
        assert not node(scene, "/run0/adapted_ghost").visible
        assert not window.shows("Why")


def test_two_runs_are_shown_at_the_same_time() -> None:
    with opened(recorded(), recorded("mb", aside=0.05)) as (window, scene):
        window.wait(lambda: window.shows("mb less grbal"))
        window.wait(lambda: window.driver.execute_script(LAST_TIMES) == pytest.approx([6.0] * 5))
        robots = [node(scene, f"/run{number}/robot") for number in range(2)]
        grounds = [node(scene, f"/run{number}") for number in range(2)]
        ghosts = [node(scene, f"/run{number}/prior_ghost") for number in range(2)]
        assert [robot.position[1] for robot in robots] == pytest.approx([0.002, 0.05])
        assert [each.visible for each in ghosts] == [True, False]
        assert grounds[0].position == pytest.approx(grounds[1].position)
        choose(window, "grbal", "mb")
        window.wait(lambda: [each.visible for each in ghosts] == [False, True])
        boxes = window.driver.find_elements(By.CSS_SELECTOR, "input[type=checkbox]")
        window.driver.execute_script("arguments[0].click()", boxes[-1])  # side by side
        window.wait(lambda: all(each.visible for each in ghosts))
        assert np.linalg.norm(grounds[0].position - grounds[1].position) > 0.1
