"""What a machine has of what the stack needs, and what to do about what is not right.

A part that is missing or broken is a finding, never an error: who looks has come because something does not work.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from mbmrl_base.system import surroundings
from mbmrl_base.system.files import WriteError, check_folder

DISTRO: Final = "jazzy"
"""Distribution of ROS 2 that the stack is made for."""
_RANGES: Final = {
    "LOCALHOST": "robots on this machine only",
    "SUBNET": "robots on this network",
    "SYSTEM_DEFAULT": "as the middleware's own settings say",
}
_LITTLE_SPACE: Final = 1e9
"""Free space on the disk below which long runs may not be kept, bytes."""
_NO_SPACE: Final = 1e8
"""Free space that a single run may take, bytes."""
_SHARED_MEMORY: Final = 64e6
"""Free shared memory below which DDS may fall back to the network, bytes."""
_CAN_LOCK: Final = 1 << 14
"""CAP_IPC_LOCK of Linux."""

State = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """What was found.

    Attributes:
        subject: What was looked at.
        state: A problem keeps the stack from running, a warning something that not all need.
        text: What is there.
        remedy: What to do about it; empty if it is ok.
    """

    subject: str
    state: State
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


def examine(check: Check) -> Iterator[Finding]:
    """Make one of `CHECKS`; one that fails is a problem."""
    try:
        yield from check()
    except Exception as error:  # what is broken may raise anything
        what = check.__name__.strip("_").replace("_", " ")
        why = " ".join(f"{type(error).__name__}: {error}".split())
        yield Finding(what, "problem", f"it cannot be looked at: {why}", _INSTALL)


_INSTALL: Final = "run `make setup`, or, with a ROS 2 of your own, install what `requirements/` lists (docs/ros2.md)"


def _ros() -> Iterator[Finding]:
    spec = importlib.util.find_spec("rclpy")
    if spec is None or spec.origin is None:
        remedy = f"source /opt/ros/{DISTRO}/setup.bash, or call .venv/bin/mbmrl, which `make setup` makes"
        yield Finding("ROS 2", "problem", "it is not there: Python finds no rclpy", remedy)
        return
    distro = os.environ.get("ROS_DISTRO", "")
    wheels = Path(spec.origin).is_relative_to(sys.prefix)
    place = f"from wheels, in {sys.prefix}" if wheels else f"installed, in {Path(spec.origin).parents[1]}"
    if distro == DISTRO:
        yield Finding("ROS 2", "ok", f"{distro}, {place}")
    else:
        remedy = f"source that of ROS 2 {DISTRO}, for which the stack is made"
        yield Finding("ROS 2", "warning", f"ROS_DISTRO is {distro!r}; {place}", remedy)
    from ament_index_python.packages import PackageNotFoundError, get_package_share_directory

    try:
        share = [get_package_share_directory(name) for name in ("mbmrl_msgs", "mbmrl_control")][-1]
        importlib.import_module("mbmrl_msgs.msg")
        yield Finding("workspace", "ok", f"built, in {Path(share).parents[1]}")
    except PackageNotFoundError as error:
        remedy = "run `make setup`, or `colcon build` and source install/setup.bash"
        yield Finding("workspace", "problem", f"it is not built, or not sourced: {error.args[0]}", remedy)


def _surroundings() -> Iterator[Finding]:
    try:
        surroundings.prepare()
    except surroundings.SurroundingsError as error:
        name = str(error).partition(" ")[0]
        yield Finding("environment", "problem", str(error), f"unset {name}, or set it to what is allowed")
        return
    within = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "SUBNET"
    middleware = os.environ.get("RMW_IMPLEMENTATION") or "the default middleware"
    yield Finding("environment", "ok", f"ROS_DOMAIN_ID {surroundings.domain()}, {middleware}")
    yield Finding("discovery range", "ok", f"{within}: {_RANGES[within]}")
    if lost := surroundings.lost_logs():
        yield Finding("logs", "warning", f"nodes keep no log files: {lost}", "set ROS_LOG_DIR to a folder of yours")


def _discovery() -> Iterator[Finding]:
    from mbmrl_control.bringup.greeting import TIME, UnheardError, meet

    try:
        yield Finding("discovery", "ok", f"two processes find each other within {meet():.1f} s")
    except UnheardError as error:
        remedy = (
            "let the firewall pass multicast, and UDP from port 7400 on, or, for this machine alone, set"
            " ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST"
        )
        if why := str(error):
            yield Finding(
                "discovery", "problem", f"ROS 2 does not start: {why}", "mend what is said above, else " + _INSTALL
            )
        else:
            yield Finding("discovery", "problem", f"two processes do not find each other within {TIME:g} s", remedy)


def _simulator() -> Iterator[Finding]:
    from mbmrl_sim.catalogue import SIMULATED, check_simulator

    for name in SIMULATED:
        check_simulator(name)
    yield Finding("simulator", "ok", f"PyBullet simulates {', '.join(SIMULATED)}")


def _serial_ports() -> Iterator[Finding]:
    from mbmrl_control.hardware.link.port import LinkError, check_port, port_names

    names = port_names()
    for name in names:
        try:
            check_port(name)
            yield Finding("serial port", "ok", f"{name} may be opened")
        except LinkError as error:
            text, _, remedy = str(error).partition("; ")
            yield Finding("serial port", "warning", text, remedy or "have its owner allow it")
    if not names:
        yield Finding("serial port", "ok", "none; only a real robot needs one")


def _processor() -> Iterator[Finding]:
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    if cores < 2:
        remedy = "give it another one, or fewer --candidates: simulator and planner share this one"
        yield Finding("processors", "warning", "one for all nodes", remedy)
    elif load > cores:
        text = f"{cores}, with a load of {load:.1f}"
        yield Finding("processors", "warning", text, "end other work while the robot walks: plans may come late")
    else:
        yield Finding("processors", "ok", f"{cores}, with a load of {load:.1f}")
    from mbmrl_control.planning.rollout import faster_precision

    flags = Path("/proc/cpuinfo").read_text().split()
    units = [name for name in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if name in flags]
    faster = str(faster_precision()).removeprefix("torch.")
    text = f"{faster} is faster; there is {units[0]}" if units else f"{faster} is faster; there is neither AVX2 nor AMX"
    remedy = "" if units else "plan with fewer candidates, or on another machine"
    yield Finding("precision", "ok" if units else "warning", text, remedy)


def _gpu() -> Iterator[Finding]:
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        yield Finding("GPU", "ok", f"{found.name}, {found.total_memory / 1e9:.0f} GB; `device: cuda` plans on it")
    elif not Path("/proc/driver/nvidia/version").exists():
        yield Finding("GPU", "ok", "none that torch knows; the processor plans")
    elif torch.version.cuda is None:
        remedy = "to plan on it, install a CUDA build of torch (pytorch.org)"
        yield Finding("GPU", "warning", "one is there, this build of torch is for processors only", remedy)
    else:
        remedy = f"see whether nvidia-smi works, and its driver is new enough for CUDA {torch.version.cuda}"
        yield Finding("GPU", "warning", "one is there, and torch cannot use it", remedy)


def _real_time() -> Iterator[Finding]:
    scheduler, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, scheduler, parameter)
        yield Finding("priority", "ok", "realtime_priority is allowed")
    except PermissionError:
        remedy = "add `@GROUP - rtprio 99` to /etc/security/limits.conf and log in anew, or use CAP_SYS_NICE"
        yield Finding("priority", "warning", "realtime_priority is not allowed: RLIMIT_RTPRIO is 0", remedy)
    effective = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff"))
    limit, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if limit == resource.RLIM_INFINITY or int(effective.split()[1], 16) & _CAN_LOCK:
        yield Finding("memory", "ok", "lock_memory is allowed")
    else:
        remedy = "add `@GROUP - memlock unlimited` to /etc/security/limits.conf and log in anew, or use CAP_IPC_LOCK"
        text = f"lock_memory is not allowed: RLIMIT_MEMLOCK is {limit / 1e6:.0f} MB"
        yield Finding("memory", "warning", text, remedy)
    files = Path("/sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    governors = sorted({file.read_text().strip() for file in files})
    if governors in ([], ["performance"]):
        yield Finding("governor", "ok", governors[0] if governors else "none; the machine sets its own frequency")
    else:
        text = f"{', '.join(governors)}: the processor may slow down between two ticks"
        yield Finding("governor", "warning", text, "sudo cpupower frequency-set --governor performance")


def _disk() -> Iterator[Finding]:
    try:
        check_folder(Path("runs"))
        free = shutil.disk_usage(".").free
        text, remedy = f"{free / 1e9:.1f} GB free in the current folder", "make room, or work in another folder"
        if free >= _LITTLE_SPACE:
            yield Finding("disk", "ok", text)
        else:
            yield Finding("disk", "warning" if free >= _NO_SPACE else "problem", text, remedy)
    except WriteError as error:
        yield Finding("disk", "problem", str(error), "work in a folder of yours, or give --out")
    try:
        free = shutil.disk_usage("/dev/shm").free
    except OSError:
        free = 0
    if free >= _SHARED_MEMORY:
        yield Finding("shared memory", "ok", f"{free / 1e6:.0f} MB free in /dev/shm")
    else:
        remedy = "remove what old programs left there; in a container: docker run --shm-size=512m"
        yield Finding("shared memory", "warning", f"{free / 1e6:.0f} MB free in /dev/shm", remedy)


def _films() -> Iterator[Finding]:
    import imageio_ffmpeg

    try:
        program = imageio_ffmpeg.get_ffmpeg_exe()
        subprocess.run([program, "-version"], capture_output=True, check=True)
        yield Finding("films", "ok", f"ffmpeg {imageio_ffmpeg.get_ffmpeg_version()}")
    except (OSError, RuntimeError, subprocess.CalledProcessError) as error:
        remedy = "pip install imageio-ffmpeg, unset IMAGEIO_FFMPEG_EXE, or run the demo with --no-film"
        yield Finding("films", "warning", f"ffmpeg does not run: {str(error).splitlines()[0]}", remedy)


def _camera() -> Iterator[Finding]:
    import numpy as np

    from mbmrl_base.robots.catalogue import DEFAULT_ROBOT, load_robot
    from mbmrl_sim.render import Scene

    state = np.zeros(len(load_robot(DEFAULT_ROBOT).state_names))
    with closing(Scene()) as scene:
        scene.draw(state)  # the first one takes longer
        start = time.monotonic()
        height, width, _ = scene.draw(state).shape
    yield Finding("camera", "ok", f"a picture of {width} x {height} takes {(time.monotonic() - start) * 1e3:.0f} ms")


def _screen() -> Iterator[Finding]:
    from mbmrl_sim.render import check_screen

    try:
        check_screen()
        yield Finding("screen", "ok", f"{os.environ.get('DISPLAY')}; `mbmrl sim --gui` opens a window")
    except ValueError as error:
        if display := os.environ.get("DISPLAY"):
            remedy = "unset DISPLAY, or allow this user to open it (xhost, ssh -X)"
            yield Finding("screen", "warning", f"{error}: it is {display}", remedy)
        else:
            yield Finding("screen", "ok", "none; --gui cannot be used, films and camera do not need one")


CHECKS: Final[tuple[Check, ...]] = (
    *(_ros, _surroundings, _discovery, _simulator, _serial_ports, _processor, _gpu, _real_time, _disk, _films),
    *(_camera, _screen),
)
