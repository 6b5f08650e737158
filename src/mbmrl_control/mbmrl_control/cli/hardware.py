"""Commands of the real robot, and of the emulated one that stands in for it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from mbmrl_base.system import surroundings
from mbmrl_control.bringup.graph import EMULATOR, EXPLORE, HARDWARE, NAMESPACE, TOPICS, Values
from mbmrl_control.cli.options import AsJson, Namespace, Respawn, console, refuse, refusing, within
from mbmrl_control.cli.parameters import takes_parameters
from mbmrl_control.cli.run import LOOK_PERIOD, load, run_nodes

app = typer.Typer()
ANSWER_TIME = 5.0
"""Longest time until a running bridge answers, s."""
BRIDGES = ("serial_bridge_node", "topic_bridge_node")
COMPLAINT_TIME = 2.0
"""Longest time until its log says why it refuses, s."""


@takes_parameters(app, HARDWARE, "mbmrl hardware --port /dev/ttyUSB0")
def hardware(values: Values, context: typer.Context, respawn: Respawn = False) -> None:
    """Drive the robot on a serial port until Ctrl-C."""
    nursery = load(context, HARDWARE, values)
    from mbmrl_control.bringup.parameters import check_nodes
    from mbmrl_control.hardware.link.port import LinkError, check_port
    from mbmrl_control.hardware.settings import BridgeSettings

    with refusing(ValueError, LinkError):
        bridge = check_nodes(HARDWARE, values)["serial_bridge_node"]
        assert isinstance(bridge, BridgeSettings)
        check_port(bridge.port)
    run_nodes(HARDWARE, values, False, respawn, nursery)


@takes_parameters(app, TOPICS, "mbmrl run --contract rover.yaml --checkpoint rover.safetensors")
def run(values: Values, context: typer.Context, respawn: Respawn = False) -> None:
    """Drive a robot that speaks ROS until Ctrl-C.

    Its topics are those that --contract names; this stack's are in a
    namespace of their own, /mbmrl if --namespace is not given.
    """
    given = {**values, "namespace": values["namespace"] or NAMESPACE}
    nursery = load(context, TOPICS, given)
    from mbmrl_control.bringup.parameters import check_nodes, implied

    with refusing():
        if not given["contract"]:
            refuse("a contract is missing: give its file, --contract robot.yaml")
        given |= implied(given)
        check_nodes(TOPICS, given)
    run_nodes(TOPICS, given, False, respawn, nursery)


@takes_parameters(
    app,
    EXPLORE,
    "mbmrl explore --contract rover.yaml --duration 600 --out drive",
    ("contract", "seed", "reach", "longest_hold"),
)
def explore(
    values: Values,
    duration: Annotated[float, typer.Option(help="How long, s.", min=1.0, max=86400.0)] = 60.0,
    out: Annotated[Path | None, typer.Option(help="Folder to record in, which is made; none if not given.")] = None,
) -> None:
    """Drive a robot that speaks ROS by random actions.

    Within their bounds in the contract, and record all topics. Stand by: the
    robot goes anywhere. Ctrl-C stops it.
    """
    from mbmrl_control.bringup.node_processes import NodeEndedError, Processes
    from mbmrl_control.bringup.parameters import check_nodes
    from mbmrl_control.training.pipeline import progress_bar

    given = {**values, "namespace": values["namespace"] or NAMESPACE, "bag": None if out is None else str(out)}
    with refusing():
        if not given["contract"]:
            refuse("a contract is missing: give its file, --contract robot.yaml")
        check_nodes(EXPLORE, given)
    with (
        suppress(KeyboardInterrupt),
        refusing(NodeEndedError),
        Processes(EXPLORE, given, False) as running,
        progress_bar(console) as bar,
    ):
        task, start = bar.add_task("random actions, s", total=round(duration), note=""), time.monotonic()
        while (passed := time.monotonic() - start) < duration:
            running.check()
            bar.update(task, completed=int(passed))
            time.sleep(LOOK_PERIOD)
        bar.update(task, completed=round(duration))


@takes_parameters(app, EMULATOR, "mbmrl emulate --protocol velociroach")
def emulate(values: Values) -> None:
    """Put the simulated robot behind a pseudo-terminal.

    With motion capture beside it, until Ctrl-C.
    """
    from mbmrl_control.bringup.parameters import check_nodes
    from mbmrl_control.nodes.emulator_node import EmulatorSettings

    with refusing():
        emulator = check_nodes(EMULATOR, values)["emulator_node"]
    assert isinstance(emulator, EmulatorSettings)
    print(emulator.link.absolute(), flush=True)
    run_nodes(EMULATOR, values, use_sim_time=False)


@app.command(epilog="Example: mbmrl activate")
def activate(namespace: Namespace = "", as_json: AsJson = False) -> None:
    """Let the robot move again, after a lost link or a stop.

    After an emergency stop its motors are off until then.
    """
    surroundings.prepare()
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
        # Before they are asked: see `MonitorNode.ask`.
        complaints = {name: Complaints(monitor, name) for name in BRIDGES}
        changes = {name: monitor.create_client(ChangeState, f"{name}/change_state") for name in BRIDGES}
        asked = monitor.ask(GetState, [f"{name}/get_state" for name in BRIDGES], ANSWER_TIME)
        name = next((each for each in BRIDGES if changes[each].service_is_ready()), BRIDGES[0])
        if asked is None:
            refuse(
                f"no bridge{within(namespace)} answers within {ANSWER_TIME:g} s:"
                " start one with `mbmrl hardware` or `mbmrl run`, on this ROS_DOMAIN_ID, or give its --namespace"
            )
        for transition in steps.get(asked.current_state.id, ()):
            request = ChangeState.Request(transition=Transition(id=transition))
            complaints[name].forget()
            answer = monitor.answer(changes[name].call_async(request), ANSWER_TIME)
            if answer is None or not answer.success:
                why = complaints[name].wait(COMPLAINT_TIME) or "the bridge's log says why"
                refuse(f"the motors could not be enabled: {why}")
    print("the motors are enabled")
    if as_json:
        print(json.dumps({"message": "the motors are enabled"}))
