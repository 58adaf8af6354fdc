"""Modbus on TCP: frames out of a stream of bytes, and the short cut for a plain read.

# Ref: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header)

Owns the header, when a stream cannot be Modbus, and pipelining. Knows no sockets; what a request
means is `pdu.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import NamedTuple

from clampgateway.registers.image import UnitImage
from clampgateway.registers.pdu import READ_MAX

HEADER = 6
# Unit id and a PDU of 1 to 253 bytes: what the length field of an MBAP header can say.
LENGTH_MIN, LENGTH_MAX = 2, 254
READ_SIZE = 12
_MBAP = struct.Struct(">HHHB")
# A read, with protocol id and length in one number, and unit and function in one.
_REQUEST = struct.Struct(">HIHHH").unpack
_ANSWER = struct.Struct(">HIHB").pack

# Unit id and request to the response, as `pdu` gives it.
Answer = Callable[[int, bytes], bytes]
# Unit * 256 + function code to the image that is read with it.
Images = Mapping[int, UnitImage]


def quick(images: Images, request: bytes) -> bytes | None:
    """The answer to a segment of READ_SIZE bytes that is one plain read; None if it is not.

    Nearly all requests are such, and this costs a third of the way by `serve`, which gives the
    same answer. What is not in `images`, not well formed or an exception goes there.
    """
    transaction, frame, who, first, count = _REQUEST(request)
    image = images.get(who)
    if image is None or frame != HEADER or not 0 < count <= READ_MAX:
        return None
    words = image.read(first, count)
    if words is None:
        return None
    size = 2 * count
    return _ANSWER(transaction, size + 3, who, size) + words


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


def serve(answer: Answer, received: bytes, limit: int) -> Served:
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
        response = answer(unit, received[at + HEADER + 1 : end])
        exceptions += response[0] >= 0x80
        replies.append(_MBAP.pack(transaction, 0, len(response) + 1, unit) + response)
        at = end
    return Served(b"".join(replies), at, False, len(replies), exceptions)


def _broken(start: bytes) -> bool:
    """Whether the first bytes of a header, as far as they came, can be no request's."""
    if len(start) >= 4 and start[2:4] != b"\0\0":
        return True
    return len(start) >= HEADER and not LENGTH_MIN <= start[4] << 8 | start[5] <= LENGTH_MAX
