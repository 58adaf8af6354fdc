"""Modbus on a serial line: frames with a CRC, ended by silence.

# Ref: MODBUS over Serial Line Specification and Implementation Guide V1.02, section 2.5.1

Owns the frame, its CRC and how long a silence ends it. The line's own rule is kept, a pause of 3.5
characters, with one allowance: adapters on USB hand bytes over in pieces with pauses of their own,
so what is no whole frame yet is waited for longer. pymodbus frames by the length that a function
code implies, of which a damaged byte makes nonsense, and has no silence to recover by. Knows no
ports; what a request means is `pdu.py`.
"""

from __future__ import annotations

from collections.abc import Callable

from clampgateway.registers.mbap import Answer

FRAME_MIN, FRAME_MAX = 4, 256
# Section 2.5.1.1: above 19,200 baud a fixed silence, since that of 3.5 characters is too short.
FAST_BAUD = 19_200
FAST_SILENCE_S = 0.00175
SILENT_CHARACTERS = 3.5
# A start bit, 8 data bits, parity or a second stop bit, a stop bit.
BITS = 11
# An FTDI adapter sends what it has every 16 ms unless told otherwise.
INCOMPLETE_S = 0.05


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_TABLE = _table()


def crc16(data: bytes | bytearray) -> int:
    """The CRC of a frame, section 6.2.2: polynomial 0xA001 reflected, from 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc


def frame(unit: int, pdu: bytes) -> bytes:
    """Unit id and PDU as they go over the line; the CRC's low byte is first."""
    body = bytes((unit,)) + pdu
    return body + crc16(body).to_bytes(2, "little")


def silence_s(baud: int) -> float:
    """Seconds of silence that end a frame."""
    return FAST_SILENCE_S if baud > FAST_BAUD else SILENT_CHARACTERS * BITS / baud


class Slave:
    """Collects bytes between silences and answers the frames that are ours.

    Args:
        answer: Unit id and PDU to the response.
        is_ours: Whether a unit id is served here. To another, nothing is said: on a line with
            several slaves it is theirs, and a broadcast (unit 0) is never answered.
        baud: Speed of the line.

    Attributes:
        requests, exceptions: Answered, and of these with an exception.
        broken: Frames of a wrong CRC or an impossible length.
        cut: Answers that the line did not take whole; counted by who writes them.
        foreign: Frames for others, what others answer, and broadcasts.
    """

    def __init__(self, answer: Answer, is_ours: Callable[[int], bool], baud: int) -> None:
        self._answer = answer
        self._is_ours = is_ours
        self._silence_s = silence_s(baud)
        self._received = bytearray()
        self.requests = 0
        self.exceptions = 0
        self.broken = 0
        self.foreign = 0
        self.cut = 0

    def receive(self, data: bytes) -> float:
        """Takes bytes of the frame that is coming; returns after what silence it has ended."""
        self._received += data
        # One more than a frame: it stays too long, whatever else comes.
        del self._received[FRAME_MAX + 1 :]
        return self._silence_s if _is_whole(self._received) else INCOMPLETE_S

    def silence(self) -> bytes:
        """The frame has ended; what to send back, nothing if there is no answer to it."""
        data, self._received = bytes(self._received), bytearray()
        if not _is_whole(data):
            self.broken += bool(data)
            return b""
        unit = data[0]
        if not self._is_ours(unit):
            self.foreign += 1
            return b""
        response = self._answer(unit, data[1:-2])
        self.requests += 1
        self.exceptions += response[0] >= 0x80
        return frame(unit, response)


def _is_whole(data: bytes | bytearray) -> bool:
    # The CRC over a frame with its own CRC is 0.
    return FRAME_MIN <= len(data) <= FRAME_MAX and not crc16(data)
