"""A simulated robot as a ROS node, in real time or at a multiple of it.

Each control interval starts with the newest command and ends with a `RobotState`. The interval is
simulated in slices of a few milliseconds, each published on /clock; it runs on the machine's steady clock.
Commands grow old by simulated time. Where that is faster than real time, it waits for a planner that is slower.
"""

from __future__ import annotations

import math
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from pydantic import Field, ValidationInfo, field_validator
from rclpy.clock import Clock as SteadyClock
from rclpy.clock import ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Bool
from std_srvs.srv import SetBool, Trigger

from mbmrl_base.robots.catalogue import DEFAULT_ROBOT
from mbmrl_base.robots.observation import Array, Observation
from mbmrl_base.robots.robot import Robot
from mbmrl_base.robots.simulator import Joints
from mbmrl_base.toolkit import qos
from mbmrl_base.toolkit.conversions import from_motor_command, to_diagnostics, to_time
from mbmrl_base.toolkit.health import Level, Part
from mbmrl_base.toolkit.parameters import declare, on_change
from mbmrl_base.toolkit.robot_topics import RobotTopics
from mbmrl_base.toolkit.settings import FRAME_PREFIX, PUBLISH_TF, ROBOT, SEED, NodeSettings, runtime_field
from mbmrl_base.toolkit.sole import DISCOVERY_TIME, SoleSubscription, claim, dispute, full_name, topics
from mbmrl_base.toolkit.spin import run
from mbmrl_base.toolkit.ticker import Ticker
from mbmrl_base.toolkit.worker import Worker
from mbmrl_msgs.msg import MotorCommand
from mbmrl_sim.bullet import quiet
from mbmrl_sim.catalogue import DEFAULT_TERRAIN, check_simulator, make_simulator
from mbmrl_sim.nodes.fault_services import FaultServices
from mbmrl_sim.render import check_screen

SLICE: Final = 0.01
"""Time between two messages on /clock, s of real time."""
REST: Final = 1e-4
"""Pause between two slices, s: a thread that is late, and takes a lock again at once, leaves it to nobody else."""
PATIENCE: Final = 0.5
"""Longest time that simulated time waits for a command, s of real time."""
CLOCK_REMEDY: Final = "set publish_clock:=false and use_sim_time:=false (mbmrl: --no-clock), or another ROS_DOMAIN_ID"
"""What lets two simulators run on one domain."""
LEAST_RATE: Final = 0.9
"""Share of the wanted real-time factor below which there is a warning."""


class SimulatorSettings(NodeSettings):
    """Parameters of the simulator node."""

    robot: str = Field(DEFAULT_ROBOT, description=ROBOT)
    simulator: str = Field("", description="File, *.py, whose simulator() simulates the robot; empty: the robot's own")
    seed: int = Field(0, ge=0, le=2**31 - 1, description=SEED)
    rate: float = Field(20.0, ge=5.0, le=200.0, description="Control rate, Hz")
    terrain: str = Field(DEFAULT_TERRAIN, description="Ground, of those that the simulator has")
    slope: float = Field(0.0, ge=-25.0, le=25.0, description="Angle of the ground, degrees")
    slope_direction: float = Field(
        0.0, ge=-360.0, le=360.0, description="Heading in odom that leads up the slope, degrees"
    )
    sensors: str = Field(
        "ideal", description="Imperfections: ideal, or real; exceptions follow it, as in real,delay=0,frozen=0"
    )
    gui: bool = Field(False, description="Whether to show the robot in a window")
    publish_clock: bool = Field(True, description="Whether to publish /clock; else stamps are of ROS time")
    frame_prefix: str = Field("", description=FRAME_PREFIX)
    publish_tf: bool = Field(True, description=PUBLISH_TF)
    real_time_factor: float = runtime_field(1.0, 0.01, 10.0, "Simulated seconds per second")
    command_timeout: float = Field(
        0.1, ge=0.01, le=1.0, description="Time after which a command is no longer in force, s"
    )

    @field_validator("real_time_factor")
    @classmethod
    def _is_real_time(cls, factor: float, info: ValidationInfo) -> float:
        if factor != 1.0 and not info.data.get("publish_clock", True):
            raise ValueError("without publish_clock time is real time, only 1 is allowed")
        return factor

    @property
    def simulated(self) -> str:
        """Robot, or file of a simulator."""
        return self.simulator or self.robot

    @property
    def world(self) -> dict[str, Any]:
        """What a simulator is asked for beside its seed, rate and window."""
        slope = math.radians(self.slope), math.radians(self.slope_direction)
        return {"terrain": self.terrain, "slope": slope, "sensors": self.sensors}

    def check(self) -> Robot:
        """As of `NodeSettings`."""
        robot, _ = check_simulator(self.simulated, self.rate, **self.world)
        if self.gui:
            check_screen()
        return robot


class SimulatorNode(Node):
    """Publishes the robot's state at a fixed rate, takes motor commands, injects faults."""

    def __init__(self) -> None:
        """Set up the world, and start it unless another simulator is there.

        Raises:
            ValueError: If a parameter is refused, or another simulator publishes on this domain.
        """
        super().__init__("simulator_node", automatically_declare_parameters_from_overrides=True)
        self._settings = declare(self, SimulatorSettings)
        if self._settings.gui:
            check_screen()
        on_change(self, self._settings, self._set)
        self._simulator = make_simulator(
            self._settings.simulated,
            self._settings.seed,
            self._settings.rate,
            gui=self._settings.gui,
            **self._settings.world,
        )
        self._robot = self._simulator.robot
        time.sleep(DISCOVERY_TIME)
        self._held = [claim(self, "robot_state", "robot")]
        if self._settings.publish_clock:
            self._held.append(claim(self, "/clock", "simulator", CLOCK_REMEDY))
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._going = threading.Event()
        self._command: tuple[Array, int, float] | None = None
        """The newest command's action and number, and when it arrived, s of simulated time."""
        self._emergency_stop = False
        self._arrived = threading.Event()
        self._told = self._simulator.time
        """Simulated time that was published last, s."""
        self._offset = 0.0
        """ROS time less simulated time, s, where there is no /clock."""
        self._looked = (time.monotonic(), self._told)
        frames = self._settings.frame_prefix, self._settings.publish_tf
        self._topics = RobotTopics(self, self._robot, self._simulator.joints().names, *frames)
        self._clock_publisher = None
        if self._settings.publish_clock:
            self._clock_publisher = self.create_publisher(Clock, "/clock", qos.LATEST)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", qos.STATE)
        self._commands = SoleSubscription(self, MotorCommand, "motor_command", self._take_command, qos.LATEST)
        self.create_service(Trigger, "reset", self._reset)
        self.create_service(Trigger, "emergency_stop", self._stop_at_once)
        self.create_service(SetBool, "pause", self._pause)
        self._paused = self.create_publisher(Bool, "paused", qos.LATCHED)
        self._go(going=True)
        if not self._settings.publish_clock:
            self._offset = self._ros_time() - self._told
        self._faults = FaultServices(
            self, self._simulator, self._lock, lambda: self._offset, self._settings.frame_prefix
        )
        self.create_timer(1.0, self._diagnose, clock=SteadyClock(clock_type=ClockType.STEADY_TIME))
        self.worker = Worker(self._simulate, "physics")
        self.get_logger().info(f"simulating at {self._settings.rate:g} Hz, seed {self._settings.seed}")

    def close(self) -> None:
        """Stop the worker."""
        self._stop.set()
        self._going.set()
        self.worker.join()
        for held in self._held:
            held.close()
        with quiet():  # it says how its window ends
            self._simulator.close()

    def _set(self, settings: SimulatorSettings) -> None:
        self._settings = settings

    def _take_command(self, message: MotorCommand) -> None:
        action = self._robot.check_command(from_motor_command(self._robot, message))
        self._command = (action, message.sequence, self._told)
        self._arrived.set()

    def _fresh_command(self) -> tuple[Array, int] | None:
        """Action and number of the newest command, if nothing lets the robot stop.

        It is the only planner's, and watchdog and emergency stop let it be in force.
        """
        if self._command is None or self._commands.contested or self._emergency_stop:
            return None
        action, sequence, arrival = self._command
        return (action, sequence) if self._told - arrival <= self._settings.command_timeout else None

    def _await_command(self) -> None:
        """Faster than real time, wait for the next command rather than let the last one grow too old."""
        self._arrived.clear()
        if self._settings.real_time_factor <= 1.0 or self._fresh_command() is None or self._command is None:
            return
        end = self._told + 1.0 / self._settings.rate
        if end - self._command[2] > self._settings.command_timeout:
            self._arrived.wait(PATIENCE)

    def _simulate(self) -> None:
        ticker = Ticker(1.0 / self._settings.rate)
        episode = 0  # of the last state that was published
        while not self._stop.is_set():
            if not self._going.is_set():
                self._going.wait()
                ticker = Ticker(ticker.period)  # what it did not do meanwhile is not missed
                continue
            ticker.period = 1.0 / (self._settings.rate * self._settings.real_time_factor)
            slices = min(max(1, round(ticker.period / SLICE)), self._simulator.substeps)
            bounds = np.linspace(0, self._simulator.substeps, slices + 1).round().astype(int)
            end = ticker.deadline
            self._await_command()
            command = self._fresh_command()
            exact = True
            with self._lock:
                safe = self._robot.safe_action(self._simulator.observe().state)
                self._simulator.apply(safe if command is None else command[0])
            for part, (first, last) in enumerate(pairwise(bounds), start=1):
                time.sleep(REST)
                with self._lock:
                    if exact and command is not None and self._fresh_command() is None:
                        self._simulator.halt()
                        exact = False
                    self._simulator.advance(int(last - first))
                    now = self._simulator.time
                # The slice is simulated ahead of its time, and published when its time has come.
                due = end + (part - slices) / slices * ticker.period
                if part < slices and self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                if part < slices:
                    self._tell_time(now)
            if not ticker.wait(self._stop):
                return
            with self._lock:
                now = self._simulator.time
                observation = self._simulator.finish_interval(exact and self._simulator.episode == episode)
                episode = observation.episode
                joints = self._simulator.joints()
                if self._settings.gui:
                    self._simulator.show()
            if not self._settings.publish_clock:
                self._offset = self._ros_time() - (time.monotonic() - ticker.current) - now
            self._tell_time(now)
            self._publish(observation, joints, command[1] if command else 0)

    def _tell_time(self, seconds: float) -> None:
        self._told = seconds
        if self._clock_publisher is not None:
            self._clock_publisher.publish(Clock(clock=to_time(seconds)))

    def _ros_time(self) -> float:
        return float(self.get_clock().now().nanoseconds * 1e-9)

    def _publish(self, observation: Observation, joints: Joints, command_sequence: int) -> None:
        stamped = replace(observation, time=observation.time + self._offset)
        moving = (np.array(joints.positions), np.array(joints.velocities)) if joints.names else None
        self._topics.publish(stamped, command_sequence, moving)

    def _diagnose(self) -> None:
        clock = dispute(self, "/clock") if self._settings.publish_clock else ""
        motors = Part("motors")
        motors.check(self._emergency_stop, Level.ERROR, "emergency stop: reset the robot to let it move again")
        parts = [topics(self._commands.trouble, dispute(self, "robot_state"), clock), self._look_at_time(), motors]
        seconds = self._told + self._offset
        self._diagnostics.publish(to_diagnostics(parts, full_name(self), "", seconds))

    def _look_at_time(self) -> Part:
        """Whether the wanted real-time factor is reached."""
        before, self._looked = self._looked, (time.monotonic(), self._told)
        elapsed, simulated = (now - then for now, then in zip(self._looked, before, strict=True))
        wanted, reached = self._settings.real_time_factor, simulated / elapsed
        part = Part("time")
        if not self._going.is_set():
            part.check(True, Level.WARN, "paused")
            return part
        # What was published last may be a slice old.
        slow = simulated + SLICE * wanted < LEAST_RATE * wanted * elapsed
        part.check(slow, Level.WARN, f"a real-time factor of {reached:.2f} is reached, wanted is {wanted:g}")
        part.values = {"real-time factor": f"{reached:.2f}", "wanted": wanted}
        return part

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            self._simulator.reset()
            self._faults.publish()
            self._emergency_stop = False
        response.success, response.message = True, "the robot is intact and at the origin"
        self.get_logger().info(response.message)
        return response

    def _go(self, going: bool) -> None:
        (self._going.set if going else self._going.clear)()
        self._paused.publish(Bool(data=not going))

    def _pause(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = self._settings.publish_clock
        if not response.success:
            response.message = "without publish_clock time is real time, which does not stand still"
            return response
        self._go(not request.data)
        response.message = "time stands still" if request.data else "time goes on"
        self.get_logger().info(response.message)
        return response

    def _stop_at_once(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._emergency_stop = True
        response.success, response.message = True, "stopped: reset the robot to let it move again"
        self.get_logger().error(response.message)
        return response


main = partial(run, SimulatorNode)

if __name__ == "__main__":
    sys.exit(main())
