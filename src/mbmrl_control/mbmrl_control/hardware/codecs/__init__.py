"""The real robot on a serial line: codecs, link, pose and state, and an emulated other side; without ROS."""

from __future__ import annotations

from typing import Any, Final

from mbmrl_control.hardware.codecs.codec import Codec, Side
from mbmrl_control.hardware.codecs.mbmrl_codec import MbmrlCodec
from mbmrl_control.hardware.codecs.velociroach_codec import VelociroachCodec

CODEC_TYPES: Final[dict[str, type[Codec]]] = {codec.name: codec for codec in (MbmrlCodec, VelociroachCodec)}


def make_codec(protocol: str, side: Side, **options: Any) -> Codec:
    """A codec by the name of its protocol; options are those of its class.

    Raises:
        ValueError: If there is no such protocol, or an option has a wrong value.
    """
    if protocol not in CODEC_TYPES:
        raise ValueError(f"unknown protocol {protocol!r}: allowed is {', '.join(CODEC_TYPES)}")
    return CODEC_TYPES[protocol](side, **options)
