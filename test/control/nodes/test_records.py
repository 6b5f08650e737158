"""What is told of ticks, and the process that keeps them."""

from __future__ import annotations

import math
import os
import subprocess
import sys

from mbmrl_base.toolkit.health import Level
from mbmrl_control.learners.online import Adaptation
from mbmrl_control.nodes.records import AdaptationRecord, TickRecord

PERIOD = 0.02


def test_ticks_in_order_are_told_with_their_figures() -> None:
    record = TickRecord(PERIOD)
    for _ in range(50):
        record.observe(1e-4, 8e-3, 7.9e-3, 800)
    part = record.report(50, 0)
    assert (part.level, part.message) == (Level.OK, "in order")
    assert part.values["begin after the tick, p99 (ms)"] == "0.10"
    assert part.values["command after the tick, p50 (ms)"] == "8.00"
    assert part.values["candidates, fewest"] == 800


def test_each_fault_is_told_once() -> None:
    """Counts go on; what is wrong is what happened since it was last told."""
    record = TickRecord(PERIOD)
    record.observe(3e-3, 8e-3, 5e-3, 800)
    record.observe(1e-4, 1.1 * PERIOD, 1.1 * PERIOD, 20)
    part = record.report(4, 2)
    assert part.level == Level.WARN
    assert part.message == "2 missed; 1 with a late command; they begin up to 3.0 ms late"
    assert part.values["candidates, fewest"] == 20
    record.observe(1e-4, 8e-3, 7.9e-3, 800)
    part = record.report(5, 2)
    assert part.level == Level.OK
    assert [part.values[name] for name in ("ticks", "missed", "late")] == [5, 2, 1]
    assert record.report(5, 2).level == Level.STALE


def test_states_that_were_left_out_are_told() -> None:
    record = AdaptationRecord()
    assert record.report(0).level == Level.STALE
    record.observe(Adaptation(1, 1, {}, math.nan, math.nan, 0, 0))
    part = record.report(3)
    assert (part.level, part.message) == (Level.WARN, "3 states left out: they come faster than they are adapted to")
    record.observe(Adaptation(2, 5, {}, math.nan, math.nan, 0, 0))
    part = record.report(3)
    assert (part.level, part.values["states left out"]) == (Level.OK, 3)


def test_process_is_set_up_with_all_its_threads() -> None:
    cpu = min(os.sched_getaffinity(0))
    script = f"""
import gc, os, threading, torch
from mbmrl_control.nodes.realtime import collect, prepare, take_over_garbage
ends = threading.Event()
thread = threading.Thread(target=ends.wait)
thread.start()
prepare(1, "{cpu}")
take_over_garbage()
print({{tuple(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")}}, torch.get_num_threads())
class Node: pass
node = Node(); node.itself = node
del node
alive = lambda: sum(isinstance(thing, Node) for thing in gc.get_objects())
print(gc.isenabled(), alive(), collect(1), alive())
ends.set()
"""
    output = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert output.splitlines() == [f"{{({cpu},)}} 1", "False 1 None 0"]
