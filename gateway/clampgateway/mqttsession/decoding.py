"""The packets that a broker sends, read from bytes. Pure. Raises Malformed and nothing else.

Source: MQTT Version 5.0 and MQTT Version 3.1.1, chapters 2 and 3.
"""

from __future__ import annotations

from typing import NamedTuple

from clampgateway.mqttsession.reasons import CONNACK_311, WRONG_VERSION
from clampgateway.mqttsession.splitter import Malformed, Packet

# Property identifiers by the type of their value (MQTT 5, table 2-4).
_BYTES = frozenset((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A))
_TWO = frozenset((0x13, 0x21, 0x22, 0x23))
_FOUR = frozenset((0x02, 0x11, 0x18, 0x27))
_STRINGS = frozenset((0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F))
_BINARY = frozenset((0x09, 0x16))
_SUBSCRIPTION_ID, _USER = 0x0B, 0x26

Value = int | str | bytes
Properties = dict[int, Value]


class ConnAck(NamedTuple):
    """CONNACK: the reason code as of MQTT 5, whichever version it came in."""

    code: int
    properties: Properties


class Publish(NamedTuple):
    """PUBLISH, as far as it is wanted. `cut`: bytes of the payload that are not in it."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int
    properties: Properties
    cut: int


class Reader:
    """Reads one value after another."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        end = self.at + count
        if end > len(self.data):
            raise Malformed(f"a packet ends after {len(self.data)} bytes, {end} are due")
        found = self.data[self.at : end]
        self.at = end
        return found

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def variable(self) -> int:
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Malformed("a number of more than four bytes")

    def binary(self) -> bytes:
        return self.take(self.number(2))

    def string(self) -> str:
        raw = self.binary()
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise Malformed(f"no UTF-8: {raw[:40].hex()}") from None
        if "\0" in text:
            raise Malformed(f"a NUL in {text[:40]!r}")
        return text

    def properties(self) -> Properties:
        """The properties, of which only User Property and Subscription Identifier may repeat."""
        end = self.variable() + self.at
        found: Properties = {}
        while self.at < end:
            key = self.variable()
            if key == _USER:
                self.string()
                self.string()
            elif key == _SUBSCRIPTION_ID:
                self.variable()
            elif key in found:
                raise Malformed(f"property 0x{key:02X} twice")
            else:
                found[key] = self._value(key)
        if self.at != end:
            raise Malformed("properties run over their end")
        return found

    def _value(self, key: int) -> Value:
        if key in _BYTES:
            return self.number(1)
        if key in _TWO:
            return self.number(2)
        if key in _FOUR:
            return self.number(4)
        if key in _STRINGS:
            return self.string()
        if key in _BINARY:
            return self.binary()
        raise Malformed(f"property 0x{key:02X} is unknown")


def connack(packet: Packet, *, v5: bool) -> ConnAck:
    """Reads a CONNACK."""
    reader = Reader(packet.body)
    reader.take(1)  # session present: it never is, we start clean
    code = reader.number(1)
    if not v5:
        return ConnAck(CONNACK_311.get(code, 0x80) if code else 0, {})
    if not reader.left and code in CONNACK_311:
        # A broker of 3.1.1 answers in its own way that it does not know MQTT 5.
        return ConnAck(WRONG_VERSION if code == 1 else CONNACK_311[code], {})
    return ConnAck(code, reader.properties() if reader.left else {})


def puback(packet: Packet, *, v5: bool) -> tuple[int, int]:
    """Reads a PUBACK: (packet id, reason code)."""
    reader = Reader(packet.body)
    packet_id = reader.number(2)
    code = reader.number(1) if v5 and reader.left else 0
    if v5 and reader.left:
        reader.properties()
    return packet_id, code


def suback(packet: Packet, *, v5: bool) -> tuple[int, list[int]]:
    """Reads a SUBACK: (packet id, a reason code for each filter)."""
    reader = Reader(packet.body)
    packet_id = reader.number(2)
    if v5:
        reader.properties()
    return packet_id, list(reader.take(reader.left))


def disconnect(packet: Packet) -> ConnAck:
    """Reads a DISCONNECT (MQTT 5): reason code and properties."""
    reader = Reader(packet.body)
    code = reader.number(1) if reader.left else 0
    return ConnAck(code, reader.properties() if reader.left else {})


def publish(packet: Packet, *, v5: bool) -> Publish:
    """Reads a PUBLISH; of one that was cut as far as it goes."""
    qos = packet.first >> 1 & 3
    if qos > 1:
        raise Malformed(f"a message at QoS {qos}, 1 is the most that was asked for")
    reader = Reader(packet.body)
    topic = reader.string()
    if not topic or "+" in topic or "#" in topic:
        raise Malformed(f"a message on {topic[:40]!r}, which is no topic")
    packet_id = reader.number(2) if qos else 0
    if qos and not packet_id:
        raise Malformed("a message with packet id 0")
    lost = packet.size - len(packet.body)
    found: Properties = {}
    if v5:
        try:
            found = reader.properties()
        except Malformed:
            if not lost:
                raise
            reader.take(reader.left)
    retain, duplicate = bool(packet.first & 1), bool(packet.first & 8)
    payload = reader.take(reader.left)
    return Publish(topic, payload, qos, retain, duplicate, packet_id, found, lost)


def text_of(properties: Properties, key: int) -> str:
    """A property that is a string; "" if there is none."""
    value = properties.get(key, "")
    return value if isinstance(value, str) else ""


def number_of(properties: Properties, key: int, default: int) -> int:
    """A property that is a number."""
    value = properties.get(key, default)
    return value if isinstance(value, int) else default
