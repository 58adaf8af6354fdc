"""Modbus requests to responses: one pure function for a PDU, and the framing of Modbus TCP.

# Ref: MODBUS Application Protocol Specification V1.1b3, sections 4.1, 6 and 7
# Ref: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header)

Owns function codes, their checks in the order of the specification's state diagrams (function,
quantity, address), exception codes, and when a stream of bytes cannot be Modbus. Knows neither
sockets nor what the registers mean. Serial lines bring a framing of their own to the same `pdu`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol

ILLEGAL_FUNCTION = 0x01
ILLEGAL_ADDRESS = 0x02
ILLEGAL_VALUE = 0x03
# Section 7: "usually means that the device is not present on the network". 0x0A, the other code
# of a gateway, means that the gateway itself is misconfigured or overloaded.
TARGET_FAILED = 0x0B

READ_HOLDING, READ_INPUT = 0x03, 0x04
READ_MAX = 125

HEADER = 6
# Unit id and a PDU of 1 to 253 bytes: what the length field of an MBAP header can say.
LENGTH_MIN, LENGTH_MAX = 2, 254
_MBAP = struct.Struct(">HHHB")
_READ = struct.Struct(">HH")


class Registers(Protocol):
    """What a unit answers from: one frozen image."""

    def read(self, first: int, count: int) -> bytes | None:
        """Registers as bytes, big-endian; None if some of them do not exist."""


Lookup = Callable[[int], Registers | None]


def pdu(lookup: Lookup, unit: int, request: bytes) -> bytes:
    """The response to one request; an exception response where it cannot be answered.

    Args:
        lookup: Unit id to its registers; None for a unit that is not there.
        unit: Unit id of the request.
        request: Function code and data, at least one byte.
    """
    function = request[0]
    registers = lookup(unit)
    if registers is None:
        return exception(function, TARGET_FAILED)
    handler = HANDLERS.get(function)
    if handler is None:
        return exception(function, ILLEGAL_FUNCTION)
    return handler(registers, request)


def exception(function: int, code: int) -> bytes:
    """An exception response: the function code with its top bit set, and the code."""
    return bytes((function | 0x80, code))


def _read_registers(registers: Registers, request: bytes) -> bytes:
    # Section 7, code 03: also "the implied length is incorrect".
    if len(request) != 5:
        return exception(request[0], ILLEGAL_VALUE)
    first, count = _READ.unpack_from(request, 1)
    if not 1 <= count <= READ_MAX:
        return exception(request[0], ILLEGAL_VALUE)
    data = registers.read(first, count)
    if data is None:
        return exception(request[0], ILLEGAL_ADDRESS)
    return bytes((request[0], len(data))) + data


HANDLERS: dict[int, Callable[[Registers, bytes], bytes]] = {
    READ_HOLDING: _read_registers,
    READ_INPUT: _read_registers,
}


class Served(NamedTuple):
    """What to do with received bytes: send `reply`, forget `used` of them, close if `close`.

    `requests` were answered, `exceptions` of them with one. Complete requests may be left behind
    `used` if the limit was reached.
    """

    reply: bytes
    used: int
    close: bool
    requests: int
    exceptions: int


def serve(lookup: Lookup, received: bytes, limit: int) -> Served:
    """Answers the complete requests at the start of `received`, at most `limit` of them.

    A protocol id other than 0 or an impossible length means that the sender does not speak Modbus
    or that the stream is out of step: nothing behind it can be trusted, so the connection ends.
    """
    at = 0
    replies: list[bytes] = []
    exceptions = 0
    size = len(received)
    while len(replies) < limit:
        if size - at < _MBAP.size:
            return Served(b"".join(replies), at, _broken(received[at:]), len(replies), exceptions)
        transaction, protocol, length, unit = _MBAP.unpack_from(received, at)
        if protocol or not LENGTH_MIN <= length <= LENGTH_MAX:
            return Served(b"".join(replies), at, True, len(replies), exceptions)
        end = at + HEADER + length
        if end > size:
            break
        response = pdu(lookup, unit, received[at + HEADER + 1 : end])
        exceptions += response[0] >= 0x80
        replies.append(_MBAP.pack(transaction, 0, len(response) + 1, unit) + response)
        at = end
    return Served(b"".join(replies), at, False, len(replies), exceptions)


def _broken(start: bytes) -> bool:
    """Whether the first bytes of a header, as far as they came, can be no request's."""
    if len(start) >= 4 and start[2:4] != b"\0\0":
        return True
    return len(start) >= HEADER and not LENGTH_MIN <= start[4] << 8 | start[5] <= LENGTH_MAX
