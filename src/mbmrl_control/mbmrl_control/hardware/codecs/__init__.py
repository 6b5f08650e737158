"""What hosts and robots send each other, and the protocols that put it on a serial line."""

from __future__ import annotations

from typing import Final

from mbmrl_control.hardware.codecs.mbmrl_codec import MbmrlCodec
from mbmrl_control.hardware.codecs.velociroach_codec import VelociroachCodec
from mbmrl_control.hardware.codecs.wire import Codec

CODEC_TYPES: Final[dict[str, type[Codec]]] = {codec.name: codec for codec in (MbmrlCodec, VelociroachCodec)}
"""Protocols by name."""
