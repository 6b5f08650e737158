"""The page in a real browser, with a robot that is played."""

from __future__ import annotations

import io
import queue
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import trimesh
import viser
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from browser_testing import TIME_LIMIT, Browser, browser
from mbmrl_base.robots.faults import Fault
from mbmrl_base.robots.observation import Array
from mbmrl_control.dashboard import settings_panel
from mbmrl_control.dashboard.page import Answer, Page
from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dashboard.settings_panel import Setting
from mbmrl_control.dashboard.snapshot import Foresight, Snapshot
from mbmrl_control.dashboard.status import Status
from mbmrl_sim.catalogue import fault_kinds
from robot_testing import MILLIROBOT

PATH = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])


class Played:
    """A robot that keeps what it is asked for, and answers as is set."""

    def __init__(self) -> None:
        self.asked: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.answer = True, "so be it"

    def _take(self, what: str, value: Any = None) -> Answer:
        self.asked.put((what, value))
        answer: Answer = Future()
        answer.set_result(self.answer)
        return answer

    def inject(self, fault: Fault) -> Answer:
        return self._take("inject", fault)

    def clear(self) -> Answer:
        return self._take("clear")

    def push(self, ahead: float, left: float) -> Answer:
        return self._take("push", (ahead, left))

    def reset(self) -> Answer:
        return self._take("reset")

    def pause(self, paused: bool) -> Answer:
        return self._take("pause", paused)

    def stop(self, stopped: bool) -> Answer:
        return self._take("stop", stopped)

    def freeze(self, frozen: bool) -> Answer:
        return self._take("freeze", frozen)

    def change(self, setting: Setting, value: Any) -> Answer:
        return self._take("change", (setting.name, value))


@pytest.fixture(scope="module")
def played() -> Played:
    return Played()


@pytest.fixture(scope="module")
def server() -> Iterator[PageServer]:
    server = PageServer("127.0.0.1", 0)
    yield server
    server.close()


@pytest.fixture(scope="module")
def page(server: PageServer, played: Played) -> Page:
    page = Page(server.viser, fault_kinds("millirobot"), played)
    page.describe(MILLIROBOT.urdf() or "")
    return page


@pytest.fixture(scope="module")
def window(server: PageServer, page: Page) -> Iterator[Browser]:
    with browser() as opened:
        opened.driver.get(server.address)
        opened.wait(lambda: opened.shows("STOP"))
        opened.wait(lambda: server.viser.get_clients())
        yield opened


def moment(time: float, x: float = 0.0, **numbers: float) -> Snapshot:
    way = np.column_stack([x + np.linspace(0.0, 0.16, 17), np.zeros(17), np.zeros(17)])
    foresight = Foresight(
        way,
        way + np.array([0.0, 0.03, 0.0]),
        way[None].repeat(4, 0),
        {"distance": np.array([1.0, 2.0, 3.0, 4.0])},
        np.arange(3.0),
    )
    return Snapshot(time, np.array([x, 0.0, 0.02]), np.array([1.0, 0.0, 0.0, 0.0]), {}, (), foresight, numbers, PATH)


def pixels(camera: viser.CameraHandle, place: Array, window: Browser) -> tuple[float, float]:
    """Where a place, m, is on the canvas, pixels to the right of its centre and down."""
    ahead = camera.look_at - camera.position
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    seen = place - camera.position
    scale = window.canvas.size["height"] / 2 / np.tan(camera.fov / 2) / (seen @ ahead)
    return scale * (seen @ right), -scale * (seen @ np.cross(right, ahead))


def test_buttons_ask_for_what_they_say(window: Browser, page: Page, played: Played) -> None:
    window.button("STOP").click()
    assert played.asked.get(timeout=60) == ("stop", True)
    window.wait(lambda: window.shows("so be it"))
    page.say(Status(state="stopped", stopped=True))
    window.button("STOP").click()
    assert played.asked.get(timeout=60) == ("stop", True)  # twice is not to go on
    window.button("Go on").click()
    assert played.asked.get(timeout=60) == ("stop", False)
    page.say(Status(paused=False))
    window.button("Pause").click()
    assert played.asked.get(timeout=60) == ("pause", True)
    page.say(Status(state="paused", paused=True))
    window.button("Resume").click()
    assert played.asked.get(timeout=60) == ("pause", False)
    page.say(Status())  # a real robot's time does not stand still
    window.wait(lambda: not window.shows("Pause") and not window.shows("Resume"))
    window.button("Let it happen").click()
    assert played.asked.get(timeout=60) == ("inject", Fault("leg_loss"))
    window.button("left").click()
    assert played.asked.get(timeout=60) == ("push", (0.0, -0.3))
    window.button("Clear all faults").click()
    assert played.asked.get(timeout=60)[0] == "clear"
    window.button("Reset the robot").click()
    assert played.asked.get(timeout=60)[0] == "reset"
    # A real robot takes none.
    page.say(Status(steered_by="cmd_vel", takes_faults=False))
    window.wait(lambda: window.shows("Nobody serves faults") and not window.shows("Clear all faults"))
    assert window.shows("steered by cmd_vel")
    page.say(Status())
    window.wait(lambda: window.shows("Clear all faults") and not window.shows("Nobody serves faults"))


def test_click_on_a_leg_loses_it(window: Browser, server: PageServer, page: Page, played: Played) -> None:
    page.show(moment(0.0))
    (client,) = server.viser.get_clients().values()
    window.wait(lambda: client.camera.fov)
    leg = server.viser.scene.get_handle_by_name("/world/robot/right_middle_hip/right_middle_leg")
    hip = server.viser.scene.get_handle_by_name("/world/robot/right_middle_hip")
    assert isinstance(leg, viser.GlbHandle) and hip is not None
    (middle,) = trimesh.load_scene(io.BytesIO(leg.glb_data), "glb").geometry.values()
    place = np.array([0.0, 0.0, 0.02]) + hip.position + middle.centroid
    right, down = pixels(client.camera, place, window)

    def asked() -> tuple[str, Any] | None:
        window.click_on_canvas(right, down)  # what is not drawn yet cannot be clicked
        with suppress(queue.Empty):
            return played.asked.get(timeout=2.0)
        return None

    assert window.wait(asked) == ("inject", Fault("leg_loss", "right_middle"))


def test_settings_are_as_declared_and_what_is_refused_goes_back(window: Browser, page: Page, played: Played) -> None:
    page.offer("mpc_node", [Setting("mpc_node", "path", "figure_eight", "Path to follow")])
    window.tab("Settings")
    field = window.wait(lambda: window.field("figure_eight"))
    played.answer = False, "unknown path"
    field.send_keys("s")
    assert played.asked.get(timeout=60) == ("change", ("path", "figure_eights"))
    window.wait(lambda: window.shows("unknown path"))
    window.wait(lambda: field.get_attribute("value") == "figure_eight")
    page.note("mpc_node", "path", "zigzag")  # somebody else has set it
    window.wait(lambda: field.get_attribute("value") == "zigzag")


def test_words_charts_and_reasons_are_there_after_a_reload(window: Browser, page: Page) -> None:
    for step in range(20):
        page.show(moment(0.05 * step, 0.01 * step, cross_track_m=0.003, prior_error=4.0, adapted_error=1.0))
    page.chart("cross_track_m")
    page.say(Status("millirobot", "mb", "follow_path", "walking", True, faults=("leg_loss:left_rear",)))
    page.report([("mpc_node: ticks", 1, "3 missed")], "mpc_node: a model is refused")
    window.driver.refresh()
    window.wait(lambda: window.shows("leg_loss:left_rear"))
    window.tab("Charts")
    window.wait(lambda: window.shows("cross track (mm)"))
    window.tab("Why")
    page.show(moment(1.0))
    window.wait(lambda: window.shows("30 mm"))
    assert window.shows("cheapest candidate: 2.00")
    window.tab("Nodes")
    window.wait(lambda: window.shows("3 missed") and window.shows("a model is refused"))


def test_look_back_holds_a_moment_until_it_is_given_up(server: PageServer, page: Page) -> None:
    for step in range(101):
        page.show(moment(0.05 * step, 0.01 * step))
    world = server.viser.scene.get_handle_by_name("/world/robot")
    assert world is not None
    page.look_back(2.0)
    assert world.position[0] == pytest.approx(0.01 * (100 - 40))
    page.look_back(0.0)
    page.look_back(1000.0)
    assert world.position[0] == pytest.approx(0.0)
    page.look_back(0.0)


def test_what_is_typed_is_taken_when_nobody_types_on(
    window: Browser, page: Page, played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings_panel, "TYPING", 5.0)  # a busy machine types slowly
    settings = [
        Setting("mpc_node", "speed", 0.2, "m/s", 0.0, 100.0),
        Setting("mpc_node", "goal", (0.0, 0.0), "x and y, m"),
        Setting("mpc_node", "task", "follow_path", "What it does", choices=("follow_path", "go_to_goal")),
    ]
    page.offer("mpc_node", settings)
    window.tab("Settings")
    for value, keys, wanted in (("0.2", "0.35", ("speed", 0.35)), ("0.0, 0.0", "0.5, -0.25", ("goal", [0.5, -0.25]))):
        field = window.wait(lambda value=value: window.field(value))
        field.send_keys(Keys.CONTROL, "a")
        for key in keys:  # one by one, as a person types
            field.send_keys(key)
        assert played.asked.get(timeout=TIME_LIMIT) == ("change", wanted)
        assert played.asked.empty()
    labels = [each.text for each in window.driver.find_elements(By.TAG_NAME, "label")]
    assert labels.index("task") < labels.index("speed")  # what it does, before how


def test_goal_is_marked_and_goes_with_its_task(server: PageServer, page: Page) -> None:
    scene = server.viser.scene
    page._world.show(replace(moment(200.0), path=np.array([[0.4, 0.2, 0.0]])))
    goal = scene.get_handle_by_name("/world/goal")
    assert goal is not None and goal.position.tolist() == [0.4, 0.2, 0.0]
    assert scene.get_handle_by_name("/world/goal/pole") is not None
    page._world.show(moment(201.0))
    assert scene.get_handle_by_name("/world/goal") is None


def test_looking_back_is_said(page: Page) -> None:
    for tick in range(30):
        page.show(moment(300.0 + 0.1 * tick))
    page.look_back(2.0)
    assert page._ago.visible and "<b>2.0 s</b> ago" in page._ago.content
    page.look_back(0.0)
    assert not page._ago.visible


def test_robot_that_was_shown_stays_if_the_next_one_is_none(page: Page) -> None:
    two_roots = '<robot name="r"><link name="a"/><link name="b"/></robot>'
    for description in ("<robot", two_roots):
        with pytest.raises(ValueError, match="is no URDF"):
            page.describe(description)
    page._world.show(moment(400.0))  # it is there
