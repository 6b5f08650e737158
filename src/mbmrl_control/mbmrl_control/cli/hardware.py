"""Commands of the real robot, and of the emulated one that stands in for it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbmrl_base.system import surroundings
from mbmrl_control.cli.options import (
    Checkpoint,
    FramePrefix,
    Learner,
    Namespace,
    PathName,
    Protocol,
    Rate,
    Seed,
    Sensors,
    Terrain,
    refuse,
    topic,
    within,
)

if TYPE_CHECKING:
    from mbmrl_control.bringup.graph import NodeSpec

app = typer.Typer()
ANSWER_TIME = 5.0
"""Longest time until a running bridge answers, s."""
COMPLAINT_TIME = 2.0
"""Longest time until its log tells why it refuses, s."""
LOOK_PERIOD = 0.01
"""Time between two looks whether all nodes run, s: where one does not, the robot is to stop."""

Profile = Annotated[str, typer.Option(help="Firmware that speaks velociroach: millirobot or turner.")]
Framing = Annotated[str, typer.Option(help="Frames of velociroach: wired or xbee.")]


def _run(nodes: tuple[NodeSpec, ...], values: Mapping[str, Any]) -> None:
    """Run nodes until Ctrl-C."""
    from mbmrl_control.bringup.node_processes import NodeEndedError, Processes

    with Processes(nodes, values, use_sim_time=False) as running:
        try:
            while True:
                running.check()
                time.sleep(LOOK_PERIOD)
        except NodeEndedError as error:
            refuse(error)
        except KeyboardInterrupt:
            pass


@app.command()
def hardware(
    port: Annotated[str, typer.Option(help="Serial port of the robot, such as /dev/ttyUSB0.")],
    protocol: Protocol = "mbmrl",
    baud: Annotated[int | None, typer.Option(help="Speed of the port, bit/s; 1000000 where not given.")] = None,
    profile: Profile = "millirobot",
    framing: Framing = "wired",
    path: PathName = "figure_eight",
    learner: Learner = None,
    checkpoint: Checkpoint = None,
    seed: Seed = 0,
    rate: Rate = 20.0,
    autostart: Annotated[bool, typer.Option(help="Enable the motors at the start.")] = True,
    reactivate: Annotated[
        bool,
        typer.Option("--reactivate", help="Enable the motors again when a lost link to the same robot is there again."),
    ] = False,
    pose_topic: Annotated[
        str | None, typer.Option(help="Topic of poses; motion_capture/pose where not given.", callback=topic)
    ] = None,
    odometry_topic: Annotated[
        str | None,
        typer.Option(help="Topic of poses with velocity; motion_capture/odom where not given.", callback=topic),
    ] = None,
    namespace: Namespace = "",
    frame_prefix: FramePrefix = "",
) -> None:
    """Drive the robot on a serial port until Ctrl-C."""
    from mbmrl_control.bringup.checks import check_bridge, check_run
    from mbmrl_control.hardware.link.port import LinkError, check_port

    values = {
        "port": port,
        "protocol": protocol,
        "baud": baud,
        "profile": profile,
        "framing": framing,
        "rate": rate,
        "autostart": autostart,
        "reactivate": reactivate,
    }
    try:
        check_bridge(values)
        learner = check_run(learner, checkpoint, path, rate, namespace=namespace)
        check_port(port)
    except (ValueError, LinkError) as error:
        refuse(error)
    values |= {
        "path": path,
        "learner": learner,
        "checkpoint": str(checkpoint.resolve()) if checkpoint else None,
        "seed": seed,
        "pose_topic": pose_topic,
        "odometry_topic": odometry_topic,
        "namespace": namespace,
        "frame_prefix": frame_prefix,
    }
    from mbmrl_control.bringup.graph import HARDWARE

    _run(HARDWARE, values)


@app.command()
def emulate(
    protocol: Protocol = "mbmrl",
    tty: Annotated[
        Path | None, typer.Option(help="Link to the pseudo-terminal, to be made; /tmp/mbmrl-tty-UID where not given.")
    ] = None,
    profile: Profile = "millirobot",
    framing: Framing = "wired",
    terrain: Terrain = "carpet",
    sensors: Sensors = "ideal",
    seed: Seed = 0,
    noise: Annotated[float, typer.Option(help="Share of the bytes that are changed.", min=0, max=1)] = 0.0,
    loss: Annotated[float, typer.Option(help="Share of the bytes that are lost.", min=0, max=1)] = 0.0,
    delay: Annotated[float, typer.Option(help="Time that bytes take each way, s.", min=0, max=1)] = 0.0,
    disconnects: Annotated[float, typer.Option(help="Cables pulled per minute.", min=0, max=60)] = 0.0,
    reboots: Annotated[float, typer.Option(help="Resets of the board per minute.", min=0, max=60)] = 0.0,
    namespace: Namespace = "",
) -> None:
    """Put the simulated robot behind a pseudo-terminal, with motion capture beside it, until Ctrl-C."""
    from mbmrl_control.bringup.checks import check_emulator
    from mbmrl_control.bringup.graph import EMULATOR
    from mbmrl_control.hardware.emulator.emulator import default_link

    tty = tty.absolute() if tty else default_link()
    values = {
        "protocol": protocol,
        "tty": str(tty),
        "profile": profile,
        "framing": framing,
        "terrain": terrain,
        "sensors": sensors,
        "seed": seed,
        "noise": noise,
        "loss": loss,
        "delay": delay,
        "disconnects": disconnects,
        "reboots": reboots,
        "namespace": namespace,
    }
    try:
        check_emulator(values)
    except ValueError as error:
        refuse(error)
    print(tty, flush=True)
    _run(EMULATOR, values)


@app.command()
def activate(namespace: Namespace = "") -> None:
    """Let the robot move again, after its link was lost or an emergency stop."""
    surroundings.check()
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    from mbmrl_base.toolkit.spin import beside
    from mbmrl_control.nodes.monitor_node import Complaints, MonitorNode

    steps = {
        State.PRIMARY_STATE_UNCONFIGURED: (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE),
        State.PRIMARY_STATE_INACTIVE: (Transition.TRANSITION_ACTIVATE,),
        State.PRIMARY_STATE_ACTIVE: (),
    }
    with beside(partial(MonitorNode, namespace)) as monitor:
        complaints = Complaints(monitor, "serial_bridge_node")
        change = monitor.create_client(ChangeState, "serial_bridge_node/change_state")
        asked = monitor.ask(GetState, "serial_bridge_node/get_state", ANSWER_TIME)
        if asked is None:
            refuse(
                f"no bridge{within(namespace)} answers within {ANSWER_TIME:g} s:"
                " start one with `mbmrl hardware`, on this ROS_DOMAIN_ID, or give its --namespace"
            )
        for transition in steps.get(asked.current_state.id, ()):
            request = ChangeState.Request(transition=Transition(id=transition))
            complaints.forget()
            answer = monitor.answer(change.call_async(request), ANSWER_TIME)
            if answer is None or not answer.success:
                why = complaints.wait(COMPLAINT_TIME) or "the bridge's log says why"
                refuse(f"the motors could not be enabled: {why}")
    print("the motors are enabled")
