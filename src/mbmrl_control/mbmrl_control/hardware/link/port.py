"""Opens a serial port for one program alone, and says in one sentence why it cannot be opened."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import stat
import termios
from dataclasses import dataclass
from typing import Any, Final

import serial
from serial.tools import list_ports

WRITE_TIME: Final = 0.05
"""Longest time in which a port takes what is written, s."""


class LinkError(RuntimeError):
    """A link that cannot be made, or was lost; its text says why."""


class LinkLostError(LinkError):
    """A link that was lost."""


class NoAnswerError(LinkLostError):
    """A link on which a request is not answered."""


class DisobeyedError(LinkError):
    """A request that was acknowledged and not done."""


@dataclass(frozen=True)
class Adapter:
    """What distinguishes a USB adapter, or a board with USB, from others.

    Attributes:
        kind: Vendor and product, hexadecimal.
        serial_number: Its serial number; empty if it has none, as with many cheap ones.
        place: Which of its ports it is, if it has several; without a serial number also where it is plugged in.
    """

    kind: str
    serial_number: str
    place: str

    def __str__(self) -> str:
        """As in a sentence."""
        place = f" at {self.place}" if self.place else ""
        number = f"serial number {self.serial_number}" if self.serial_number else "no serial number"
        return f"USB {self.kind}{place}, {number}"


def adapter_of(port: str) -> Adapter | None:
    """The USB adapter that a port is of; none if it is of something else.

    Raises:
        LinkError: If it is pulled meanwhile.
    """
    device = os.path.realpath(port)
    found = next((entry for entry in _ports() if entry.device == device), None)
    if found is None or found.vid is None:
        return None
    serial_number, place = found.serial_number or "", found.location or ""
    if serial_number:
        place = place.partition(":")[2]
    return Adapter(f"{found.vid:04x}:{found.pid:04x}", serial_number, place)


def check_port(port: str) -> None:
    """See whether a port can be opened, as far as that can be known without doing so, which resets many a board.

    Raises:
        LinkError: If it cannot.
    """
    if not port:
        raise LinkError(f"no serial port is given: {_choice()}")
    try:
        status = os.stat(port)
    except PermissionError:
        raise LinkError(f"{port} may not be opened by this user: a folder on its path is closed to it") from None
    except (OSError, ValueError):
        raise LinkError(f"there is no port {port}: {_choice()}") from None
    if not stat.S_ISCHR(status.st_mode):
        raise LinkError(f"{port} is no serial port")
    if not os.access(port, os.R_OK | os.W_OK):
        raise LinkError(f"{port} may not be opened by this user: {_remedy(status.st_gid)}")


def open_port(port: str, baud: int) -> serial.Serial:
    """Open a port: raw, without flow control, and locked against other programs.

    Raises:
        LinkError: If it cannot be opened.
    """
    check_port(port)
    try:
        opened = serial.Serial(port, baud, timeout=0, exclusive=True)
        # The lock holds off programs that ask for it, this one all that have no right to override it.
        fcntl.ioctl(opened.fileno(), termios.TIOCEXCL)
    except serial.SerialException as error:
        if error.errno in (errno.EBUSY, errno.EAGAIN) or "lock" in str(error):
            raise LinkError(f"{port} is in use by another program") from None
        if error.errno == errno.EACCES:
            raise LinkError(f"{port} may not be opened by this user: its driver does not allow it") from None
        cause = error.__context__
        number = error.errno or (cause.args[0] if isinstance(cause, termios.error) else 0)
        if number in (errno.ENOTTY, errno.EINVAL):
            raise LinkError(f"{port} is no serial port") from None
        raise LinkError(
            f"{port} cannot be opened as a serial port: {os.strerror(number) if number else error}"
        ) from None
    except (ValueError, OSError, termios.error) as error:
        raise LinkError(f"{port} cannot be set to {baud} baud: {error}") from None
    return opened


def close_port(opened: serial.Serial) -> None:
    """Close a port, also one whose other end is gone."""
    try:
        fcntl.ioctl(opened.fileno(), termios.TIOCNXCL)
        opened.close()
    except (OSError, termios.error, serial.SerialException):
        # What is left to close is the file; its device is gone.
        if opened.fd is not None:
            os.close(opened.fd)


def _ports() -> list[Any]:
    try:
        return list(list_ports.comports())
    except (OSError, TypeError, ValueError):  # pyserial reads numbers of files that may be gone
        raise LinkError("a device was pulled while this machine's serial ports were looked for") from None


def port_names() -> list[str]:
    """The serial ports that there are.

    Raises:
        LinkError: If a device is pulled meanwhile.
    """
    return sorted(entry.device for entry in _ports())


def _choice() -> str:
    there = port_names()
    return f"there are {', '.join(there)}" if there else "no serial port is there"


def _remedy(number: int) -> str:
    try:
        group = grp.getgrgid(number).gr_name
    except KeyError:
        group = str(number)
    if group == "root" or number in os.getgroups():
        return "its owner has not allowed it"
    return f"it is for the group {group}; `sudo usermod -a -G {group} $USER`, and a new log-in, add this user"
