"""The packets that a client sends, as bytes. Pure.

A PUBLISH, of which there are many, is put together in `connection`.
Source: MQTT Version 5.0 and MQTT Version 3.1.1, chapter 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from clampgateway.mqttsession.values import Broker, Will

CONNECT, CONNACK, PUBLISH, PUBACK = 0x10, 0x20, 0x30, 0x40
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP = 0x80, 0x90, 0xC0, 0xD0
DISCONNECT = 0xE0

# Identifiers of properties (MQTT 5, 2.2.2.2).
EXPIRY = 0x02
RESPONSE_TOPIC = 0x08
CORRELATION = 0x09
ASSIGNED_CLIENT_ID = 0x12
SERVER_KEEP_ALIVE = 0x13
SERVER_REFERENCE = 0x1C
REASON_STRING = 0x1F
RECEIVE_MAXIMUM = 0x21
MAXIMUM_QOS = 0x24
MAXIMUM_PACKET_SIZE = 0x27

PING = bytes((PINGREQ, 0))
REMAINING_MAX = 268_435_455

_CLEAN, _WILL, _WILL_QOS_1, _WILL_RETAIN, _PASSWORD, _USER = 0x02, 0x04, 0x08, 0x20, 0x40, 0x80


def variable(number: int) -> bytes:
    """A Variable Byte Integer. `number`: 0 to 268,435,455."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        if not number:
            out.append(low)
            return bytes(out)
        out.append(low | 0x80)


def string(text: str) -> bytes:
    """A UTF-8 Encoded String. Raises ValueError for one above 65,535 bytes or with a NUL."""
    if "\0" in text:
        raise ValueError(f"{text[:60]!r} has a NUL, which MQTT cannot carry")
    return binary(text.encode())


def binary(data: bytes) -> bytes:
    """Binary Data. Raises ValueError for more than 65,535 bytes."""
    if len(data) > 0xFFFF:
        raise ValueError(f"{len(data)} bytes, at most 65,535 can be carried")
    return len(data).to_bytes(2, "big") + data


def topic_name(topic: str) -> bytes:
    """A topic to publish to. Raises ValueError for one that no broker may take."""
    if not topic or "+" in topic or "#" in topic:
        raise ValueError(f"{topic[:60]!r} is no topic to publish to: empty, or with + or #")
    return string(topic)


def packet(first: int, *parts: bytes) -> bytes:
    """A packet of a first byte and the parts of its body."""
    body = b"".join(parts)
    return bytes((first,)) + variable(len(body)) + body


def with_length(data: bytes) -> bytes:
    """Properties behind their length."""
    return variable(len(data)) + data


def connect(broker: Broker, will: Will, receive_maximum: int, packet_max: int) -> bytes:
    """CONNECT with a clean start; the session ends with the connection.

    Args:
        broker: As whom, and how.
        will: The broker publishes it, retained at QoS 1, if there is no farewell.
        receive_maximum: How many QoS 1 messages may be on their way to us (MQTT 5).
        packet_max: Bytes of the largest packet that we want (MQTT 5).
    """
    v5 = broker.protocol == "5"
    flags = _CLEAN | _WILL | _WILL_QOS_1 | _WILL_RETAIN
    parts = [string(broker.client_id)]
    if v5:
        parts.append(b"\0")  # the will's properties
    parts += [topic_name(will.topic), binary(will.payload)]
    if broker.username is not None:
        flags |= _USER
        parts.append(string(broker.username))
    if broker.password is not None:
        flags |= _PASSWORD
        parts.append(binary(broker.password.encode()))
    head = b"\0\x04MQTT" + bytes((5 if v5 else 4, flags)) + broker.keepalive_s.to_bytes(2, "big")
    if v5:
        properties = bytes((RECEIVE_MAXIMUM,)) + receive_maximum.to_bytes(2, "big")
        properties += bytes((MAXIMUM_PACKET_SIZE,)) + packet_max.to_bytes(4, "big")
        head += with_length(properties)
    return packet(CONNECT, head, *parts)


def subscribe(packet_id: int, filters: Sequence[str], *, v5: bool) -> bytes:
    """SUBSCRIBE to each filter at QoS 1."""
    parts = [string(each) + b"\x01" for each in filters]
    return packet(SUBSCRIBE | 2, packet_id.to_bytes(2, "big"), b"\0" if v5 else b"", *parts)


def puback(packet_id: int, code: int, *, v5: bool) -> bytes:
    """PUBACK; 3.1.1 has no reason code."""
    body = packet_id.to_bytes(2, "big")
    return packet(PUBACK, body + bytes((code,)) if v5 and code else body)


def disconnect(code: int, *, v5: bool) -> bytes:
    """DISCONNECT; 3.1.1 has no reason code."""
    return packet(DISCONNECT, bytes((code,)) if v5 and code else b"")


def properties(
    *, expiry_s: int | None = None, response_topic: str = "", correlation: bytes | None = None
) -> bytes:
    """Properties of a PUBLISH (MQTT 5), without their length."""
    out = b""
    if expiry_s is not None:
        out += bytes((EXPIRY,)) + min(max(expiry_s, 0), 0xFFFF_FFFF).to_bytes(4, "big")
    if response_topic:
        out += bytes((RESPONSE_TOPIC,)) + topic_name(response_topic)
    if correlation is not None:
        out += bytes((CORRELATION,)) + binary(correlation)
    return out
