"""Writes a rosbag2 folder (MCAP) of which all but the last second can be read whatever ends the process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer, WriterError

from mbmrl_base.system.files import WriteError, check_folder
from mbmrl_control.nodes.message_definitions import Definitions

VERSION: Final = 9
"""Of rosbag2's metadata, as ROS 2 Jazzy writes it."""
FLUSH_PERIOD: Final = 1.0
"""Time after which what was written goes to the file, s: as much is lost if the process is killed."""


def check_new(folder: Path) -> None:
    """See whether a folder can be made for a recording; nothing is made.

    Raises:
        WriteError: If it cannot, or it exists.
    """
    if folder.exists():
        raise WriteError(f"{folder} cannot be written: it exists, and a recording makes a folder of its own")
    check_folder(folder)


class BagWriter:
    """A recording that is being made; one thread writes it."""

    def __init__(self, folder: Path) -> None:
        """Make the folder and the file in it.

        Raises:
            WriteError: If it cannot be made, or exists.
        """
        check_new(folder)
        self.folder = folder
        self.messages = 0
        """Messages written so far."""
        self._definitions = Definitions()
        self._connections: dict[str, Connection] = {}
        self._written = False
        self._flush_at = time.monotonic() + FLUSH_PERIOD
        self._writer = Writer(folder, version=VERSION, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        try:
            self._writer.open()
        except (OSError, WriterError) as error:
            raise WriteError(f"{folder} cannot be written: {reason(error)}") from None

    @property
    def topics(self) -> int:
        """Number of topics."""
        return len(self._connections)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.folder.joinpath(f"{self.folder.name}.mcap").stat().st_size

    def add(self, topic: str, message_type: str, profiles: Sequence[QoSProfile]) -> None:
        """Add a topic, of a type such as std_msgs/msg/String, with the quality of service of its publishers.

        Raises:
            ValueError: If the type is not installed.
        """
        self._definitions.add(message_type)
        self._connections[topic] = self._writer.add_connection(
            topic,
            message_type,
            typestore=self._definitions.store,
            offered_qos_profiles=[_to_qos(profile) for profile in profiles],
        )

    def write(self, topic: str, received: int, message: bytes) -> None:
        """Write a serialised message of a topic, received at a time in ns of the system's clock.

        Of a topic that could not be added, nothing is written.

        Raises:
            OSError: If the system does not take what is written.
        """
        if (connection := self._connections.get(topic)) is not None:
            self._writer.write(connection, received, message)
            self.messages += 1
            self._written = True

    def write_message(self, topic: str, received: int, message: Any) -> None:
        """Write a message, as of `write`."""
        self.write(topic, received, self._definitions.serialize(message, self._connections[topic].msgtype))

    def flush(self) -> float:
        """Let what was written go to the file if it is due; returns the time until it is next, s.

        Raises:
            OSError: If the system does not take what is written.
        """
        now = time.monotonic()
        if now >= self._flush_at:
            self._flush_at = now + FLUSH_PERIOD
            storage = self._writer.storage
            if self._written and storage is not None:
                storage.close_chunk()  # type: ignore[attr-defined]  # of MCAP
                storage.bio.flush()  # type: ignore[attr-defined]
                self._written = False
        return self._flush_at - now

    def close(self) -> None:
        """Write the index and metadata.yaml.

        Raises:
            OSError: If the system does not take what is written.
        """
        self._writer.close()

    def abort(self) -> None:
        """Close without an index: what was flushed can be read."""
        with suppress(OSError):
            self._writer.abort()


def reason(error: Exception) -> str:
    """Why something cannot be written, as part of a sentence."""
    return (getattr(error, "strerror", None) or str(error)).lower()


def _to_qos(profile: QoSProfile) -> Qos:
    def duration(given: Duration) -> QosTime:
        return QosTime(*divmod(given.nanoseconds, 10**9))

    return Qos(
        QosHistory(int(profile.history)),
        profile.depth,
        QosReliability(int(profile.reliability)),
        QosDurability(int(profile.durability)),
        duration(profile.deadline),
        duration(profile.lifespan),
        QosLiveliness(int(profile.liveliness)),
        duration(profile.liveliness_lease_duration),
        profile.avoid_ros_namespace_conventions,
    )
