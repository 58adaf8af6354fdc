"""What a session has to say: frames in order, then the time, then acknowledgements.

Bounded by what the line has room for at each turn. Time is stamped when it is handed out, because
waiting in a queue would count as a slow line.
"""

from __future__ import annotations

from collections import deque

from clampgateway.clocksync import ClockSync
from clampgateway.link.acks import AckQueue
from clampwire import framing, messages
from clampwire.codec import Codec

# What a frame towards a device can take at most: every byte escaped, and two flags.
FRAME_BYTES_MAX = 2 * (messages.PAYLOAD_MAX_TO_DEVICE + 4) + 2
FRAMES_MAX = 32
_CODEC = Codec()


class Outbox:
    """Frames and acknowledgements towards one device."""

    def __init__(self, clock: ClockSync, acks: AckQueue) -> None:
        self._clock = clock
        self._acks = acks
        self._frames: deque[bytes] = deque()
        self._bytes_out = 0
        self._dropped = 0

    def __bool__(self) -> bool:
        """Whether there is something to send besides what time brings."""
        return bool(self._frames or self._acks)

    def put(self, payload: bytes) -> None:
        """Queue a payload; of too many the oldest goes (a device asks again by itself)."""
        if len(self._frames) >= FRAMES_MAX:
            self._frames.popleft()
            self._dropped += 1
        self._frames.append(framing.frame(payload, 1))

    def take(self, now_us: int, room: int, with_time: bool) -> bytes:
        """At most `room` bytes to write now."""
        out = bytearray()
        while self._frames and len(out) + len(self._frames[0]) <= room:
            out += self._frames.popleft()
        if with_time and self._clock.due(now_us) and len(out) + FRAME_BYTES_MAX <= room:
            out += framing.frame(_CODEC.encode("Time", *self._clock.ask(now_us), 0, 0), 1)
        while self._acks and len(out) + FRAME_BYTES_MAX <= room:
            out += framing.frame(_CODEC.encode("Ack", self._acks.take()), 1)
        self._bytes_out += len(out)
        return bytes(out)

    def stats(self) -> dict[str, float]:
        return {
            "bytes_out": self._bytes_out,
            "ack_ranges": self._acks.sent,
            "out_dropped": self._dropped + self._acks.dropped,
        }

    def clear(self) -> None:
        """Nobody is left to hear it."""
        self._frames.clear()
        self._acks.clear()
