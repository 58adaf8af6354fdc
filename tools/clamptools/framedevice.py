"""A device made of frames alone: what benches and fault tests set against a gateway in numbers.

Sans-IO and cheap, so that a thousand run in one process. It keeps every record until it is
acknowledged, sends again in a new session, and notes when which record was acknowledged: `acked`
is the truth of what a gateway has promised to keep. It measures nothing and knows no spool limit.
"""

from __future__ import annotations

import binascii
import struct
from collections import deque
from collections.abc import Callable

from clampwire import framing, messages
from clampwire.codec import Codec, WireError

_CODEC = Codec()
HELLO_S = 1.0
# Unacknowledged records are sent again after this.
RESEND_S = 3.0
SILENCE_S = 30.0
# Nine channels' worth of numbers: the 44 bytes of values of a default record.
VALUES = 22
_FEATURES = tuple((f"f{index}", "A", ord("H"), 1, -3) for index in range(VALUES))
_CHANNEL = (
    "current1", "current", "A", "bench", 6400.0, 30.0, 0.02, 1.0, "", _FEATURES,
)  # fmt: skip
_VALUES = struct.Struct(f"<{VALUES}H")


def _describe(crc: int) -> bytes:
    return _CODEC.encode("Describe", crc, crc & 0xFF, 1, 0, *_CHANNEL)


DESCRIBE_CRC = binascii.crc32(_describe(0))
LAYOUT = DESCRIBE_CRC & 0xFF


class FrameDevice:
    """One device. `now_s` is a monotonic clock; `rate` is not its business: call `make`."""

    def __init__(
        self, device: str, now_s: Callable[[], float], boot: int = 1, first_seq: int = 0
    ) -> None:
        self.device = device
        self.boot = boot
        self.next_seq = first_seq
        self.ready = False
        self.refused = 0
        self.sessions = 0
        self.made: dict[int, bytes] = {}
        self.acked: set[int] = set()
        self.acked_twice = 0
        self.latencies_s: list[float] = []
        self._now_s = now_s
        self._zero_s = now_s()
        self._nonce = binascii.crc32(device.encode()) | 1
        self._unacked: dict[int, float] = {}  # seq to when it was sent last, oldest first
        self._first_sent: dict[int, float] = {}
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX)
        self._out: deque[bytes] = deque()
        self._hello_due_s = self._heard_s = self._now_s()

    def connect(self) -> None:
        """A new line: whoever was at the other end is forgotten."""
        self.ready = False
        self._out.clear()
        self._deframer = framing.Deframer(messages.PAYLOAD_MAX)
        self._nonce = self._nonce * 1664525 + 1013904223 & 0xFFFFFFFF
        self._hello_due_s = self._now_s()

    @property
    def waiting(self) -> int:
        """Records that are made and not acknowledged."""
        return len(self._unacked)

    @property
    def has_answers(self) -> bool:
        """Whether something other than records is to be sent."""
        return bool(self._out)

    def _tick_ms(self) -> int:
        return int(1000 * (self._now_s() - self._zero_s)) + 1000

    def make(self) -> int:
        """Make a record that ends now; returns its number."""
        seq = self.next_seq
        self.next_seq = seq + 1 & 0xFFFFFFFF
        values = _VALUES.pack(*[seq + index & 0x7FFF for index in range(VALUES)])
        payload = _CODEC.encode("Record", self.boot, seq, self._tick_ms(), 5, LAYOUT, b"", values)
        self.made[seq] = payload
        self._unacked[seq] = 0.0
        return seq

    # --- the line -------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the gateway."""
        for payload in self._deframer.feed(data):
            try:
                name, message = _CODEC.decode(payload)
            except WireError:
                continue
            self._heard_s = self._now_s()
            if name == "Welcome" and message.nonce == self._nonce:
                self._took_welcome(message)
            elif name == "Ack":
                self._took_ack(message)
            elif name == "Time":
                now_us = 1000 * self._tick_ms()
                fields = (message.id, message.gateway_us, message.utc_ms, now_us, now_us)
                self._out.append(_CODEC.encode("Time", *fields))
            elif name == "Command":
                self._took_command(message)

    def _took_welcome(self, message) -> None:  # noqa: ANN001 - a namedtuple from the table
        if not message.accepted:
            self.refused += 1
            return
        if not self.ready:
            self.ready = True
            self.sessions += 1
            self._out.append(_describe(DESCRIBE_CRC))
            self._unacked = dict.fromkeys(self._unacked, 0.0)

    def _took_command(self, message) -> None:  # noqa: ANN001
        if message.name == "describe":
            self._out.append(_describe(DESCRIBE_CRC))
        elif message.name == "hello":
            self.ready = False
            self._hello_due_s = self._now_s()
        self._out.append(_CODEC.encode("Answer", message.id, 0, b"{}"))

    def _took_ack(self, message) -> None:  # noqa: ANN001
        now_s = self._now_s()
        for boot, first, last in message.ranges:
            if boot != self.boot:
                continue
            for seq in range(first, last + 1):
                if self._unacked.pop(seq, None) is None:
                    self.acked_twice += seq in self.acked
                    continue
                self.acked.add(seq)
                self.latencies_s.append(now_s - self._first_sent.pop(seq, now_s))

    def take(self, most: int = 64) -> bytes:
        """What the device writes now: answers, then at most `most` records, live ones first."""
        now_s = self._now_s()
        out = bytearray()
        while self._out:
            out += framing.frame(self._out.popleft())
        if self.ready and now_s - self._heard_s > SILENCE_S:
            self.connect()
        if not self.ready:
            if now_s >= self._hello_due_s:
                self._hello_due_s = now_s + HELLO_S
                out += framing.frame(self._hello())
            return bytes(out)
        if self._unacked:
            out += self._records(now_s, most)
        return bytes(out)

    def _records(self, now_s: float, most: int) -> bytes:
        due = [seq for seq, sent_s in self._unacked.items() if now_s - sent_s >= RESEND_S]
        out = bytearray()
        for seq in due[:most]:
            self._unacked[seq] = now_s
            self._first_sent.setdefault(seq, now_s)
            out += framing.frame(self.made[seq])
        return bytes(out)

    def _hello(self) -> bytes:
        return _CODEC.encode(
            "Hello",
            messages.WIRE_MAJOR,
            messages.WIRE_MINOR,
            _CODEC.table_crc,
            self.device,
            self.boot,
            self._nonce,
            "bench",
            "bench",
            "0.0.0",
            "frames",
            DESCRIBE_CRC,
            next(iter(self._unacked), self.next_seq),
            self.next_seq,
            1,
        )
