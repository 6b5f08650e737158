"""Definitions of message types as recordings hold them, so that who reads them needs no other file."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any, Final

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from rclpy.serialization import serialize_message
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, TypesysError, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

HEADER: Final = 4
"""Bytes before a CDR message that say how it is encoded."""


def message_class(name: str) -> Any:
    """Python class of a message type, such as std_msgs/msg/String.

    Raises:
        ValueError: If its package is not installed.
    """
    package, _, kind = name.split("/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError):
        raise ValueError(f"the message type {name} is not installed") from None


class Definitions:
    """The definitions that rosbags has of ROS 2 Jazzy, and those of the packages that are installed."""

    def __init__(self) -> None:
        self.store: Typestore = get_typestore(Stores.ROS2_JAZZY)
        """Holds those that were asked for."""

    def add(self, name: str) -> None:
        """Make sure of the definition of a type, and of all types in it.

        Raises:
            ValueError: If it is not installed.
        """
        if name in self.store.fielddefs:
            return
        package, _, kind = name.split("/")
        try:
            file = Path(get_package_share_directory(package)) / "msg" / f"{kind}.msg"
            found = get_types_from_msg(file.read_text(encoding="utf-8"), name)
        except (PackageNotFoundError, OSError, TypesysError):
            raise ValueError(f"the definition of the message type {name} is not installed") from None
        fields: Any = found[name][1]
        for _, (form, content) in fields:
            element, part = content[0] if form in (Nodetype.ARRAY, Nodetype.SEQUENCE) else (form, content)
            if element == Nodetype.NAME:
                self.add(part)
        self.store.register(found)

    def agree(self, name: str, text: str) -> bool:
        """Whether a definition that a recording holds, with those of the types in it, is that of an installed type.

        Raises:
            ValueError: If the type is not installed.
        """
        self.add(name)
        other = get_typestore(Stores.EMPTY)
        try:
            other.register(get_types_from_msg(text, name))
            return other.hash_rihs01(name) == self.store.hash_rihs01(name)
        except (TypesysError, KeyError):
            return False

    def serialize(self, message: Any, name: str) -> bytes:
        """A message of a type that was asked for as CDR, little-endian.

        What ROS 2 serialises can have a rest of its buffer at the end, which strict readers refuse.
        """
        definition = self.store.get_msgdef(name)
        data: bytes = serialize_message(message)
        _, end = definition.deserialize_cdr_le(data[HEADER:], 0, definition.cls, self.store)
        return data[: HEADER + end]
