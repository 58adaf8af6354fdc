"""Modbus on TCP: frames out of a stream of bytes, and the short cut for a plain read.

# Ref: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, section 3.1.3 (MBAP header)

Owns the header, when a stream cannot be Modbus, pipelining, and what was answered a moment ago.
Knows no sockets; what a request means is `pdu.py`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from clampgateway.registers.image import UnitImage
from clampgateway.registers.pdu import READ_MAX

HEADER = 6
# Unit id and a PDU of 1 to 253 bytes: what the length field of an MBAP header can say.
LENGTH_MIN, LENGTH_MAX = 2, 254
READ_SIZE = 12
_MBAP = struct.Struct(">HHHB")
# A read behind its transaction id: protocol id and length are one number, unit and function too.
_REQUEST = struct.Struct(">IHHH").unpack
_ANSWER = struct.Struct(">IHB").pack

# Unit id and request to the response, as `pdu` gives it.
Answer = Callable[[int, bytes], bytes]
# The age is in whole milliseconds, so that within one the same request has the same answer.
SAME_S = 0.001


class Shortcut:
    """The short way for a segment that is one plain read, as nearly all are.

    It gives the answer of `serve`, at a third of the cost, and a tenth if the same was asked in
    the same millisecond, as many masters do. What it does not know, or would have to answer with
    an exception, it leaves to `serve`.

    Args:
        mono: The monotonic clock, in seconds.
    """

    def __init__(self, mono: Callable[[], float]) -> None:
        self._mono = mono
        self._images: dict[int, UnitImage] = {}
        self._said: dict[bytes, bytes] = {}
        self._until_s = 0.0

    def show(self, unit: int, functions: Iterable[int], image: UnitImage) -> None:
        """From now on the unit's registers are read from this image with these functions."""
        for function in functions:
            self._images[unit << 8 | function] = image
        self._said.clear()

    def hide(self, unit: int, functions: Iterable[int]) -> None:
        """The unit's image is not true any more; nothing is read from it until the next."""
        for function in functions:
            self._images.pop(unit << 8 | function, None)
        self._said.clear()

    def answer(self, request: bytes) -> bytes | None:
        """The answer to READ_SIZE bytes; None if another way has to be gone."""
        now_s = self._mono()
        asked = request[2:]  # all but the transaction id
        if now_s < self._until_s:
            said = self._said.get(asked)
            if said is not None:
                return request[:2] + said
        else:
            self._said.clear()
            self._until_s = now_s + SAME_S
        frame, who, first, count = _REQUEST(asked)
        image = self._images.get(who)
        if image is None or frame != HEADER or not 0 < count <= READ_MAX:
            return None
        words = image.read(first, count)
        if words is None:
            return None
        size = 2 * count
        said = self._said[asked] = _ANSWER(size + 3, who, size) + words
        return request[:2] + said


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
