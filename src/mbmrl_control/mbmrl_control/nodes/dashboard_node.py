"""Shows a robot on a page in the browser, and asks for what is clicked there."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from functools import partial
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from nav_msgs.msg import Odometry
from nav_msgs.msg import Path as PathMessage
from rcl_interfaces.msg import Log
from rclpy.client import Client
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from mbmrl_base.robots.faults import Fault, FaultKinds
from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import check_message, to_seconds
from mbmrl_base.toolkit.parameters import declare
from mbmrl_base.toolkit.sole import SoleSubscription
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.ticker import Ticker
from mbmrl_base.toolkit.worker import Worker
from mbmrl_control.dashboard.page import Answer, Page
from mbmrl_control.dashboard.server import PageServer
from mbmrl_control.dashboard.settings import DashboardSettings
from mbmrl_control.dashboard.settings_panel import Setting
from mbmrl_control.dashboard.snapshot import NO_PATH, Snapshot
from mbmrl_control.dashboard.status import Status
from mbmrl_control.nodes.dashboard_conversions import (
    from_joint_state,
    from_plan_insight,
    from_pose,
    from_poses,
    from_statuses,
)
from mbmrl_control.nodes.remote_parameters import RemoteParameters
from mbmrl_msgs.msg import AdaptationStatus, FaultArray, PlanInsight, PlannerStatus, RobotState
from mbmrl_msgs.srv import ClearFaults, InjectFault, Push
from mbmrl_sim.catalogue import fault_kinds
from mbmrl_sim.nodes.conversions import from_fault_array, to_fault_request

ADJUSTED: Final = ("mpc_node", "simulator_node")
"""Nodes whose parameters the page offers."""
STALE: Final = 0.5
"""Age from which a state is none, s."""
LOST: Final = 3.5
"""Age from which what diagnostics say, each second, is too old, s."""
SILENT: Final = 1.5
"""Age from which a planner's status is none, s."""
ANSWER_TIME: Final = 3.0
"""Longest time that an answer of a node may take, s."""
INSIST: Final = 0.2
"""Time after which a stop that nobody has taken is asked for again, s."""
MOVES: Final = 0.005
"""Way within a second from which on a robot moves, m."""
OUTCOMES: Final = {
    PlannerStatus.PLANNED: "on its way",
    PlannerStatus.NO_STATE: "no state: it stands",
    PlannerStatus.STOPPED: "stopped",
    PlannerStatus.NO_FINITE_PLAN: "no plan: it stands",
    PlannerStatus.LAST_PLAN: "on its way, late plans",
}


def settle(answer: Answer, success: bool, sentence: str) -> None:
    """Give an answer, unless there is one."""
    with suppress(InvalidStateError):
        answer.set_result((success, sentence))


def expect(answer: Answer, otherwise: str) -> Answer:
    """Answer with a sentence if no answer comes within ANSWER_TIME."""
    timer = threading.Timer(ANSWER_TIME, settle, (answer, False, f"{otherwise} for {ANSWER_TIME:g} s"))
    timer.daemon = True
    timer.start()
    answer.add_done_callback(lambda _: timer.cancel())
    return answer


class Requests:
    """Asks the services of a robot, as of `dashboard.page.Robot`."""

    def __init__(self, node: Node) -> None:
        """Ask by a node."""
        services = {
            "inject_fault": InjectFault,
            "clear_faults": ClearFaults,
            "push": Push,
            "reset": Trigger,
            "pause": SetBool,
            "stop": SetBool,
            "freeze": SetBool,
        }
        self.parameters: RemoteParameters
        """Those of other nodes."""
        self._clients: dict[str, Client] = {name: node.create_client(kind, name) for name, kind in services.items()}
        self._stops = False
        """Whether a stop was asked for that nobody has taken."""
        node.create_timer(INSIST, self._insist, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _call(self, service: str, request: Any) -> Answer:
        answer: Answer = Future()
        client = self._clients[service]
        if not client.service_is_ready():
            answer.set_result((False, f"nobody serves {service}"))
            return answer

        def respond(done: Any) -> None:
            response = done.result()
            settle(answer, response.success, response.message)

        client.call_async(request).add_done_callback(respond)
        return expect(answer, f"nobody has answered to {service}")

    @property
    def take_faults(self) -> bool:
        """Whether somebody serves them."""
        return bool(self._clients["inject_fault"].service_is_ready())

    def inject(self, fault: Fault) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("inject_fault", to_fault_request(fault))

    def clear(self) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("clear_faults", ClearFaults.Request())

    def push(self, ahead: float, left: float) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("push", Push.Request(ahead=ahead, left=left))

    def reset(self) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("reset", Trigger.Request())

    def pause(self, paused: bool) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("pause", SetBool.Request(data=paused))

    def stop(self, stopped: bool) -> Answer:
        """As of `dashboard.page.Robot`; a planner that was held up must not walk on, so that a stop is insisted on."""
        answer = self._call("stop", SetBool.Request(data=stopped))
        self._stops = stopped
        answer.add_done_callback(self._heed)
        return answer

    def _heed(self, answer: Answer) -> None:
        if answer.result()[0]:
            self._stops = False

    def _insist(self) -> None:
        if self._stops and self._clients["stop"].service_is_ready():
            self._call("stop", SetBool.Request(data=True)).add_done_callback(self._heed)

    def freeze(self, frozen: bool) -> Answer:
        """As of `dashboard.page.Robot`."""
        return self._call("freeze", SetBool.Request(data=frozen))

    def change(self, setting: Setting, value: Any) -> Answer:
        """As of `dashboard.page.Robot`."""
        return expect(self.parameters.set(setting, value), f"{setting.node} has not answered")


class DashboardNode(Node):
    """Keeps the newest of all that is published; one worker shows it."""

    def __init__(self) -> None:
        """Serve the page.

        Raises:
            ValueError: If a parameter is refused, or the port is in use.
        """
        super().__init__("dashboard_node", automatically_declare_parameters_from_overrides=True)
        self._settings = declare(self, DashboardSettings)
        self._stop = threading.Event()
        self._newest: dict[str, Any] = {}
        self._came: dict[str, float] = {}
        """When the newest came, s of the steady clock."""
        self._places: deque[tuple[float, Array]] = deque()
        """Where the robot was in the last second, and when."""
        self._odometry: tuple[float, Array, Array] | None = None
        self._placed = False
        """Whether the robot says where it is."""
        self._server = PageServer(self._settings.host, self._settings.page_port, self._settings.token)
        self._requests = Requests(self)
        self._page = Page(self._server.viser, self._kinds(), self._requests)
        self._requests.parameters = RemoteParameters(self, ADJUSTED, self._page.offer, self._page.note)
        for message_type, topic, profile in (
            (PlannerStatus, "planner_status", qos.LATEST),
            (AdaptationStatus, "adaptation_status", qos.LATEST),
            (PlanInsight, "plan_insight", qos.LATEST),
            (FaultArray, "faults", qos.LATCHED),
        ):
            SoleSubscription(self, message_type, topic, partial(self._keep, topic), profile)
        for message_type, topic, profile in ((JointState, "joint_states", qos.LATEST), (Bool, "paused", qos.LATCHED)):
            self.create_subscription(message_type, topic, partial(self._newest.__setitem__, topic), profile)
        self.create_subscription(Odometry, "odom", self._take_odometry, qos.LATEST)
        SoleSubscription(self, RobotState, "robot_state", self._take_state, qos.LATEST)
        self.create_subscription(PathMessage, "reference_path", self._take_path, qos.LATCHED)
        self.create_subscription(String, "robot_description", self._take_description, qos.LATCHED)
        self._parts: dict[str, tuple[float, int, str]] = {}
        """Parts of diagnostics: when they came, s of the steady clock, level and words."""
        self.create_subscription(DiagnosticArray, "/diagnostics", self._take_diagnostics, qos.STATE)
        self.create_subscription(Log, "/rosout", self._take_log, qos.STATE)
        self.worker = Worker(self._show, "page")
        self.get_logger().info(f"the page: {self._server.address}")

    def close(self) -> None:
        """Stop serving."""
        self._stop.set()
        self.worker.join()
        self._server.close()

    def _take_diagnostics(self, message: DiagnosticArray) -> None:
        own = self.get_namespace().strip("/")
        for status in message.status:
            name = status.name.removeprefix(f"{own}/") if own else status.name
            if "/" not in name:
                self._parts[name] = time.monotonic(), status.level[0], status.message
        self._page.report(self._health())

    def _take_log(self, message: Log) -> None:
        own, _, name = message.name.rpartition(".")
        if message.level >= Log.ERROR and own == self.get_namespace().strip("/").replace("/", "."):
            self._page.report(self._health(), f"{name}: {message.msg}")

    def _health(self) -> list[tuple[str, int, str]]:
        """Parts of diagnostics: name, level, and words; those that come no more are errors."""
        now, found = time.monotonic(), []
        for name, (came, level, words) in sorted(self._parts.items()):
            is_old = now - came > LOST
            found.append((name, 2, f"silent for {now - came:.0f} s") if is_old else (name, level, words))
        return found

    def _kinds(self) -> FaultKinds:
        try:
            return fault_kinds(self._settings.simulator or self._settings.robot)
        except ValueError:  # a robot that nobody simulates
            return FaultKinds()

    def _keep(self, topic: str, message: Any) -> None:
        check_message(message, getattr(message, "robot", ""))  # of whichever robot
        if isinstance(message, AdaptationStatus) and message.members and message.member >= len(message.members):
            raise ValueError(f"member is {message.member}: there are {len(message.members)}")
        self._came[topic] = time.monotonic()
        # Once, and not in each moment until the next one comes.
        self._newest[topic] = from_plan_insight(message) if isinstance(message, PlanInsight) else message

    def _take_odometry(self, message: Odometry) -> None:
        self._placed = True
        self._odometry = to_seconds(message.header.stamp), *from_pose(message.pose.pose)

    def _take_state(self, message: RobotState) -> None:
        if not self._placed:  # a robot with no place on the ground is drawn at the origin
            self._odometry = to_seconds(message.header.stamp), np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])

    def _take_path(self, message: PathMessage) -> None:
        path = from_poses(message)
        if not np.array_equal(path, self._newest.get("reference_path", NO_PATH)):  # it comes again and again
            self._newest["reference_path"] = path

    def _take_description(self, message: String) -> None:
        try:
            self._page.describe(message.data)
        except ValueError as error:
            self.get_logger().error(str(error))

    def _show(self) -> None:
        ticker, shown, since = Ticker(1.0 / self._settings.rate), None, 0
        faults = None
        while ticker.wait(self._stop):
            odometry, newest = self._odometry, dict(self._newest)
            since = 0 if odometry is not shown else since + 1
            self._page.say(self._status(newest, since / self._settings.rate < STALE and odometry is not None))
            # While time stands still faults may come all the same.
            if odometry is None or (odometry is shown and newest.get("faults") is faults):
                continue
            shown, faults = odometry, newest.get("faults")
            # By the robot's time, which may be slower than that of who looks, or begin anew.
            self._places.append((odometry[0], odometry[1] if self._placed else np.full(3, np.nan)))
            while not 0.0 <= odometry[0] - self._places[0][0] <= 1.0:
                self._places.popleft()
            self._page.show(self._snapshot(odometry, newest))

    def _stands(self) -> bool:
        """Whether the robot has not moved for a second."""
        places = np.array([place for _, place in self._places])
        return len(places) > 1 and bool(np.linalg.norm(np.ptp(places, axis=0)) < MOVES)

    def _snapshot(self, odometry: tuple[float, Array, Array], newest: dict[str, Any]) -> Snapshot:
        time, position, turn = odometry
        planner, adaptation = newest.get("planner_status"), newest.get("adaptation_status")
        if planner is not None and planner.figure_names:
            self._page.chart(planner.figure_names[0])
        faults, joints = (newest.get(topic) for topic in ("faults", "joint_states"))
        return Snapshot(
            time,
            np.nan_to_num(position),
            turn if np.isfinite(turn).all() else np.array([1.0, 0.0, 0.0, 0.0]),
            from_joint_state(joints) if joints else {},
            tuple(map(str, from_fault_array(faults))) if faults else (),
            newest.get("plan_insight"),
            from_statuses(planner, adaptation),
            newest.get("reference_path", NO_PATH),
        )

    def _status(self, newest: dict[str, Any], alive: bool) -> Status:
        planner, adaptation = newest.get("planner_status"), newest.get("adaptation_status")
        outcome = planner.outcome if planner else PlannerStatus.NO_STATE
        paused = newest["paused"].data if "paused" in newest else None
        alive = alive or bool(paused)
        state = "paused" if paused else OUTCOMES.get(outcome, "?") if alive else "no state comes"
        silent = time.monotonic() - self._came.get("planner_status", math.inf)
        if alive and not paused and planner is None:
            state = "no planner"
        elif alive and not paused and silent > SILENT:
            alive, state = False, f"no plan for {silent:.0f} s: the planner is silent"
        elif alive and not paused and outcome == PlannerStatus.PLANNED and self._stands():
            state = "standing"
        learner = ""
        if adaptation and (members := list(adaptation.members)):
            # The name, since the class of a committee would load torch.
            learner = ("committee: " if len(members) > 1 else "") + members[adaptation.member]
        return Status(
            robot=self._settings.robot,
            learner=learner,
            task=planner.task if planner else "",
            steered_by=planner.steered_by if planner else "",
            takes_faults=self._requests.take_faults,
            state=state,
            alive=alive,
            paused=paused,
            stopped=outcome == PlannerStatus.STOPPED,
            frozen=bool(adaptation and adaptation.frozen),
            faults=tuple(map(str, from_fault_array(newest["faults"]))) if "faults" in newest else (),
        )


main = partial(run, DashboardNode)

if __name__ == "__main__":
    sys.exit(main())
