"""Messages from and to what the simulator uses; nothing else. Each number is cast to its field's type."""

from __future__ import annotations

import array
import math
import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from mbmrl_base.robots.faults import NUMBERS, Fault
from mbmrl_base.toolkit.conversions import BASE_FRAME, check_message, to_header, to_seconds, to_time
from mbmrl_msgs.msg import Fault as FaultMessage
from mbmrl_msgs.msg import FaultArray
from mbmrl_msgs.srv import InjectFault

CAMERA_FRAME = "camera_optical_frame"


def to_image(picture: NDArray[np.uint8], stamp: Time) -> Image:
    """Image of a picture, shape (height, width, 3), red, green and blue."""
    height, width, _ = picture.shape
    return Image(
        header=Header(stamp=stamp, frame_id=CAMERA_FRAME),
        height=height,
        width=width,
        encoding="rgb8",
        step=3 * width,
        data=array.array("B", picture.tobytes()),
    )


def to_camera_info(width: int, height: int, field_of_view: float, stamp: Time) -> CameraInfo:
    """What a pinhole camera is: its picture's size in pixels, and the angle that the height spans, rad."""
    focal_length = height / 2 / math.tan(field_of_view / 2)
    x, y = width / 2, height / 2
    return CameraInfo(
        header=Header(stamp=stamp, frame_id=CAMERA_FRAME),
        height=height,
        width=width,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=[focal_length, 0.0, x, 0.0, focal_length, y, 0.0, 0.0, 1.0],
        r=np.eye(3).ravel(),
        p=[focal_length, 0.0, x, 0.0, 0.0, focal_length, y, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


_FAULT_FIELDS: Final[dict[str, type]] = {
    **dict.fromkeys(("kind", "part", "terrain"), str),
    **dict.fromkeys(NUMBERS, float),
}


def _fault_values(fault: Fault) -> dict[str, Any]:
    return {name: kind(getattr(fault, name)) for name, kind in _FAULT_FIELDS.items()}


def to_fault(fault: Fault) -> FaultMessage:
    """Message of a fault in force."""
    return FaultMessage(since=to_time(fault.since), **_fault_values(fault))


def to_fault_request(fault: Fault) -> InjectFault.Request:
    """Request for a fault."""
    return InjectFault.Request(**_fault_values(fault))


def from_fault(message: FaultMessage | InjectFault.Request) -> Fault:
    """Fault of a message or of a request."""
    since = to_seconds(message.since) if isinstance(message, FaultMessage) else 0.0
    return Fault(**{name: getattr(message, name) for name in _FAULT_FIELDS}, since=since)


def to_fault_array(faults: Iterable[Fault], seconds: float) -> FaultArray:
    """Message of all faults in force."""
    return FaultArray(header=to_header(seconds, ""), faults=[to_fault(fault) for fault in faults])


def from_fault_array(message: FaultArray) -> tuple[Fault, ...]:
    """Faults of a message.

    Raises:
        ValueError: If it is of another version.
    """
    check_message(message)
    return tuple(map(from_fault, message.faults))


def to_fault_markers(faults: Iterable[Fault], urdf: str | None, prefix: str = "") -> MarkerArray:
    """Text that goes with the robot, above it: its faults; none if it has none.

    Args:
        faults: The faults.
        urdf: What the robot looks like: letters are a tenth of its largest box; None: as if that were 1 m.
        prefix: Prefix of the frame's name.
    """
    sizes = " ".join(re.findall(r'size="([-\d.eE+ ]+)"', urdf or "")).split()
    size = max(map(float, sizes), default=1.0)
    text = Marker(ns="faults", type=Marker.TEXT_VIEW_FACING, text=", ".join(map(str, faults)), frame_locked=True)
    text.header.frame_id = prefix + BASE_FRAME
    text.action = Marker.ADD if text.text else Marker.DELETE
    text.pose.position.z, text.scale.z = 0.8 * size, 0.1 * size
    text.color = ColorRGBA(r=0.8, g=0.1, b=0.1, a=1.0)
    return MarkerArray(markers=[text])
