"""Figures of an example: how well the robot does before and after something breaks, learner by learner.

    .venv/bin/ros-env python test/example_figures.py examples/husky.py husky.yaml drive.yaml cross_track_m \
        "wheel front_left, ice left, load 40" 21 distance.png husky.safetensors mb.safetensors
    .venv/bin/ros-env python test/example_figures.py examples/ant.py ant.yaml walk.yaml forward_speed_m_s \
        "leg 1, leg 4" 20 speed.png ant.safetensors mb.safetensors

Each seed is a robot of its own, and what breaks is the next one of the list; each prior drives it at the same task,
live, over real DDS. Of the distance from a path, `cross_track_m`, the size counts.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from matplotlib import pyplot

from mbmrl_base.robots.observation import Array
from mbmrl_base.toolkit import qos
from mbmrl_control.evaluation.statistics import mean
from mbmrl_control.evaluation.units import in_units
from mbmrl_control.nodes.conversions import from_figures
from mbmrl_msgs.msg import PlannerStatus
from ros_testing import free_domain, peer_in

BEFORE, AFTER, STEP = 8, 20, 0.5
"""Time on the way before it breaks, time that counts after, and the time over which distances are averaged, s."""
FIRST_SEED = 2000
START = 60.0
"""Time in which it gets going, s."""


def run(robot: str, given: list[str], figure: str, breaks: str, prior: str, seed: int) -> Array:
    """Mean of a figure of the task in each STEP, the break between the first BEFORE / STEP and the others."""
    with tempfile.TemporaryDirectory() as logs, free_domain() as domain, peer_in(domain) as peer:
        environment = os.environ | {"ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": logs}
        seen: list[tuple[float, float]] = []

        def take(message: PlannerStatus) -> None:
            value = from_figures(message).get(figure, math.nan)
            if math.isfinite(value):
                seen.append((time.monotonic(), abs(value) if figure == "cross_track_m" else value))

        peer.node.create_subscription(PlannerStatus, "mbmrl/planner_status", take, qos.STATE)
        commands = (
            [sys.executable, robot, str(seed)],
            ["mbmrl", "run", *given, "--checkpoint", prior, "--seed", str(seed)],
        )
        nodes = [subprocess.Popen(each, env=environment, stdin=subprocess.PIPE, text=True) for each in commands]
        try:
            peer.spin_until(lambda: seen, limit=START)
            start = seen[0][0]
            peer.spin_until(lambda: time.monotonic() > start + BEFORE, limit=START)
            print(breaks, file=nodes[0].stdin, flush=True)
            broken = time.monotonic()
            peer.spin_until(lambda: time.monotonic() > broken + AFTER, limit=START)
        finally:
            for node in nodes[::-1]:
                node.send_signal(signal.SIGINT)
                node.wait()
    times, values = np.array(seen).T
    steps = np.floor((times - broken) / STEP)
    found = [values[steps == step] for step in range(int(-BEFORE / STEP), int(AFTER / STEP))]
    return np.array([each.mean() if len(each) else np.nan for each in found])  # nothing came in a STEP


def draw(table: dict[str, Array], shown: str, kinds: list[str], file: str) -> None:
    """The mean of a figure over time, a panel for each of what breaks."""
    unit = in_units(shown)
    size = 3.6 * len(kinds), 2.8
    figure, (panels,) = pyplot.subplots(1, len(kinds), figsize=size, sharey=True, squeeze=False, layout="constrained")
    times = np.arange(-BEFORE, AFTER, STEP) + STEP / 2
    for number, (panel, kind) in enumerate(zip(panels, kinds, strict=True)):
        for prior, values in table.items():
            of_kind = unit.factor * values[number :: len(kinds)]
            (line,) = panel.plot(times, np.nanmean(of_kind, 0), label=Path(prior).stem)
            panel.fill_between(
                times, np.nanmin(of_kind, 0), np.nanmax(of_kind, 0), color=line.get_color(), alpha=0.2, linewidth=0
            )
        panel.axvline(0, color="red", linewidth=1)
        panel.set(title=kind, xlabel="time since it broke (s)")
    panels[0].set(ylabel=f"{unit.title} ({unit.symbol})")
    panels[0].legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Run all, print a line for each run, and the figures, and draw them."""
    robot, contract, parameters, shown, breaks, count, file, *priors = sys.argv[1:]
    given, kinds = ["--contract", contract, "--params-file", parameters], breaks.split(", ")
    found: dict[str, list[Array]] = {prior: [] for prior in priors}
    split = int(BEFORE / STEP)
    for number in range(int(count)):
        seed, kind = FIRST_SEED + number, kinds[number % len(kinds)]
        for prior in priors:
            found[prior].append(run(robot, given, shown, kind, prior, seed))
            before, after = (np.nanmean(part) for part in np.split(found[prior][-1], [split]))
            print(f"{seed} {kind} {Path(prior).stem} {before:.4f} {after:.4f}", flush=True)
    table = {prior: np.array(values) for prior, values in found.items()}
    draw(table, shown, kinds, file)
    parts = {"all": slice(None), **{kind: slice(number, None, len(kinds)) for number, kind in enumerate(kinds)}}
    for name, part in parts.items():
        after = {prior: np.nanmean(values[part, split:], 1) for prior, values in table.items()}
        for prior, values in table.items():
            before = mean(np.nanmean(values[part, :split], 1))
            print(json.dumps({"breaks": name, "prior": prior, "before": before, "after": mean(after[prior])}))
        for other in priors[1:]:
            difference = mean(after[priors[0]] - after[other])
            print(json.dumps({"breaks": name, "after": f"{priors[0]} less {other}", **difference}))


if __name__ == "__main__":
    main()
