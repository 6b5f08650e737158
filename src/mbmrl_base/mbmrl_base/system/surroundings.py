"""What a process finds around it, completed and looked at before ROS 2 does.

That would end with a trace-back, or take no notice.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import xml.etree.ElementTree
from pathlib import Path
from typing import Final

from mbmrl_base.system.files import WriteError, check_folder

HIGHEST_DOMAIN: Final = 232
"""Beyond it the ports of DDS end (OMG DDSI-RTPS 2.5, 9.6.2.3)."""
CHOICES: Final = {
    "ROS_AUTOMATIC_DISCOVERY_RANGE": ("SUBNET", "LOCALHOST", "SYSTEM_DEFAULT"),
    "ROS_LOCALHOST_ONLY": ("0", "1"),
    # What is not enforced is run without keys where there are none, as if it were safe.
    "ROS_SECURITY_ENABLE": ("true", "false"),
    "RCUTILS_COLORIZED_OUTPUT": ("0", "1"),
    "RCUTILS_LOGGING_BUFFERED_STREAM": ("0", "1"),
    "RCUTILS_LOGGING_USE_STDOUT": ("0", "1"),
    "RMW_FASTRTPS_PUBLICATION_MODE": ("SYNCHRONOUS", "ASYNCHRONOUS", "AUTO"),
}
"""Variables and their values; with a discovery range of OFF, not even the nodes of one stack find each other."""
_PROFILES: Final = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Variables that name files of XML, of which Fast DDS reads one."""
_OWN_PROFILES: Final = Path(__file__).with_name("fastdds.xml")
"""By it a node that is killed is forgotten after LEASE; by Fast DDS itself, after 20 s."""
LEASE: Final = 1.5
"""Time after which a node that was killed no longer counts, s."""


class SurroundingsError(ValueError):
    """A variable of the environment with which ROS 2 cannot be started; the text names it."""


def open_streams() -> None:
    """Have closed standard streams lead nowhere: the files opened next would else get their numbers, and their text."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


def domain() -> int:
    """The ROS domain.

    Raises:
        SurroundingsError: If ROS_DOMAIN_ID is none.
    """
    text = os.environ.get("ROS_DOMAIN_ID") or "0"
    if not re.fullmatch(r"0|[1-9]\d{0,2}", text) or int(text) > HIGHEST_DOMAIN:
        raise SurroundingsError(f"ROS_DOMAIN_ID is {text!r}: allowed is 0 to {HIGHEST_DOMAIN}")
    return int(text)


def prepare() -> None:
    """Set what the user leaves open, and see whether ROS 2 can be started.

    A robot is reached from its own machine alone, and nodes that were killed are soon forgotten, unless the user has
    said otherwise.

    Raises:
        SurroundingsError: If ROS 2 cannot be started.
    """
    _set_defaults()
    domain()
    for name, allowed in CHOICES.items():
        if (value := os.environ.get(name, "")) and value not in allowed:
            raise SurroundingsError(f"{name} is {value!r}: allowed is {', '.join(allowed)}")
    middleware, there = os.environ.get("RMW_IMPLEMENTATION", ""), _middlewares()
    if middleware and there and middleware not in there:
        raise SurroundingsError(f"RMW_IMPLEMENTATION is {middleware!r}: there is {', '.join(there)}")
    for peer in filter(None, os.environ.get("ROS_STATIC_PEERS", "").split(";")):
        try:
            socket.getaddrinfo(peer, None)
        except (OSError, UnicodeError):
            raise SurroundingsError(f"ROS_STATIC_PEERS has {peer!r}: there is no such host") from None
    for name in _PROFILES:
        if file := os.environ.get(name):
            try:
                xml.etree.ElementTree.parse(file)
            except (OSError, xml.etree.ElementTree.ParseError) as error:
                why = error.strerror if isinstance(error, OSError) else str(error)
                raise SurroundingsError(f"{name} is {file!r}: it cannot be read as XML: {why}") from None
    _check_security()
    given = next(filter(os.environ.get, ("ROS_LOG_DIR", "ROS_HOME")), None)
    if given and (why := _unwritable(_log_folder())):
        raise SurroundingsError(f"{given} is {os.environ[given]!r}: {why}")


def lost_logs() -> str:
    """Why logs cannot be kept in files, if nobody has said where to keep them; empty: they can."""
    if any(map(os.environ.get, ("ROS_LOG_DIR", "ROS_HOME"))):
        return ""
    if not os.environ.get("HOME"):
        return "HOME is not set, nor is ROS_LOG_DIR"
    return _unwritable(_log_folder())


def _log_folder() -> Path:
    # As rcl_logging has it.
    given = os.environ.get("ROS_LOG_DIR")
    home = os.environ.get("ROS_HOME") or Path(os.environ.get("HOME", ""), ".ros")
    return Path(given).expanduser() if given else Path(home, "log")


def _unwritable(folder: Path) -> str:
    try:
        check_folder(folder)
    except WriteError as error:
        return str(error)
    return ""


def _middlewares() -> list[str]:
    """Middlewares that are installed, as the index of packages lists them; none if there is no index."""
    prefixes = filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep))
    files = (
        file for prefix in prefixes for file in Path(prefix).glob("share/ament_index/resource_index/rmw_typesupport/*")
    )
    return sorted({file.name for file in files} - {"rmw_implementation"})


def _set_defaults() -> None:
    if not any(map(os.environ.get, ("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY"))):
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    if not any(map(os.environ.get, _PROFILES)):
        os.environ.update(dict.fromkeys(_PROFILES, str(_OWN_PROFILES)))


def _check_security() -> None:
    if os.environ.get("ROS_SECURITY_ENABLE") != "true":
        return
    if (strategy := os.environ.get("ROS_SECURITY_STRATEGY", "")) != "Enforce":
        raise SurroundingsError(
            f"ROS_SECURITY_STRATEGY is {strategy!r}: a node without keys would run open to all, allowed is Enforce"
        )
    keystore = os.environ.get("ROS_SECURITY_KEYSTORE", "")
    if not keystore or not Path(keystore, "enclaves").is_dir():
        raise SurroundingsError(f"ROS_SECURITY_KEYSTORE is {keystore!r}: wanted is a folder with enclaves in it")
