"""Cuts the bytes that a broker sends into packets. Pure.

PUBACKs, of which there are many, come out decoded; runs of equal ones are decoded at once. Of a
packet that is larger than anything wanted only the beginning is kept: nobody can make it grow.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from clampgateway.mqttsession.packets import (
    CONNACK,
    DISCONNECT,
    PINGRESP,
    PUBACK,
    PUBLISH,
    SUBACK,
)

# Kept of one packet: the longest topic there can be (65,535 bytes) and what is wanted beside it.
KEPT_MAX = 80_000

# How a packet may begin that a broker sends to us; the low bits are flags of a PUBLISH alone.
_FIRST = frozenset((CONNACK, PUBACK, SUBACK, PINGRESP, DISCONNECT, *range(PUBLISH, PUBLISH + 16)))

_PLAIN = struct.Struct(">xxH")  # 40 02 and the packet id: success
_REASON = struct.Struct(">xxHB")  # 40 03, the packet id and the reason code


class Malformed(Exception):
    """What came is not MQTT; the text says what."""


class Packet(NamedTuple):
    """One packet: its first byte, its body or the first bytes of it, and the body's size."""

    first: int
    body: bytes
    size: int


class Splitter:
    """A stream of bytes in, packets out, however the bytes are cut."""

    def __init__(self) -> None:
        self._rest = bytearray()  # the beginning of a packet
        self._needed = 0  # bytes of it at which another look is worth while
        self._skip = 0  # bytes still to come of a packet whose end is not wanted

    def feed(self, data: bytes) -> tuple[list[tuple[int, int]], list[Packet]]:
        """Takes what came. Returns PUBACKs as (packet id, reason code), and other packets.

        Raises Malformed; after that nothing can be made of the stream any more.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return [], []
            data = bytes(self._rest)
            self._rest.clear()
        # Mostly a chunk is a run of equal PUBACKs.
        count, odd = divmod(len(data), 4)
        if not odd and data[::4] == b"\x40" * count and data[1::4] == b"\x02" * count:
            return [(packet_id, 0) for (packet_id,) in _PLAIN.iter_unpack(data)], []
        count, odd = divmod(len(data), 5)
        if not odd and data[::5] == b"\x40" * count and data[1::5] == b"\x03" * count:
            return list(_REASON.iter_unpack(data)), []
        return self._cut(data)

    def _cut(self, data: bytes) -> tuple[list[tuple[int, int]], list[Packet]]:
        acks: list[tuple[int, int]] = []
        packets: list[Packet] = []
        at, end = 0, len(data)
        while at < end:
            first = data[at]
            if first not in _FIRST:
                raise Malformed(f"0x{first:02X} begins no packet that can come")
            body, size = _remaining(data, at + 1)
            if body < 0:
                break
            kept = min(size, KEPT_MAX)
            if end - body < kept:
                self._needed = body - at + kept
                self._rest += data[at:]
                return acks, packets
            if first == PUBACK and size in (2, 3):
                code = data[body + 2] if size == 3 else 0
                acks.append((data[body] << 8 | data[body + 1], code))
            else:
                packets.append(Packet(first, data[body : body + kept], size))
            at = body + size
        if at > end:
            self._skip = at - end
        elif at < end:
            self._needed = 0
            self._rest += data[at:]
        return acks, packets


def _remaining(data: bytes, at: int) -> tuple[int, int]:
    """The Remaining Length at `at`: (where the body begins, its size); (-1, 0) if not all came."""
    size = shift = 0
    for place in range(at, min(at + 4, len(data))):
        byte = data[place]
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return place + 1, size
        shift += 7
    if len(data) >= at + 4:
        raise Malformed(f"a length of more than four bytes: {data[at - 1 : at + 4].hex()}")
    return -1, 0
