"""How fast and in what pieces old records go, so that live ones never wait for them.

Pure. A bucket of tokens bounds the rate. The size of a piece follows the time in which the broker
acknowledges it: on a slow line pieces become small, and what is in flight before a live message
takes a fraction of a second. When the broker says that it is too much, all pauses.
"""

from __future__ import annotations

SIZE_MIN = 1024
SIZE_FIRST = 8192
# An answer later than this halves the pieces, one earlier than that lets them grow.
SLOW_S, QUICK_S = 0.25, 0.1
GROWTH = 1.5
BURST_S = 0.25
PAUSE_FIRST_S = 0.5
PAUSE_MAX_S = 30.0


class Pace:
    """Of one connection. `rate` in records/s, `size_max` in bytes."""

    def __init__(self, rate: float, size_max: int) -> None:
        self._rate = rate
        self._size_max = self._size_most = size_max
        self._burst = max(1.0, rate * BURST_S)
        self._tokens = self._burst
        self._at_s: float | None = None
        self._pause_s = 0.0
        self._paused_until_s = 0.0
        self.size = min(SIZE_FIRST, size_max)
        self.pauses = 0

    def restart(self) -> None:
        """A new connection begins with small pieces."""
        self._size_most = self._size_max
        self.size = min(SIZE_FIRST, self._size_max)
        self._paused_until_s = self._pause_s = 0.0

    def ready(self, now_s: float) -> bool:
        """Whether a piece may go now."""
        if self._at_s is not None:
            earned = max(0.0, now_s - self._at_s) * self._rate
            self._tokens = min(self._burst, self._tokens + earned)
        self._at_s = now_s
        return self._tokens > 0 and now_s >= self._paused_until_s

    def spent(self, records: int) -> None:
        """A piece of so many records goes; it may be more than there were tokens."""
        self._tokens -= records

    def due_s(self) -> float:
        """When the next piece may go."""
        at_s = self._at_s or 0.0
        if self._tokens <= 0:
            at_s += (1 - self._tokens) / self._rate
        return max(at_s, self._paused_until_s)

    def answered(self, seconds: float) -> None:
        """A piece was taken after so long."""
        self._pause_s = 0.0
        if seconds > SLOW_S:
            self.size = max(min(SIZE_MIN, self._size_most), self.size // 2)
        elif seconds < QUICK_S:
            self.size = min(self._size_most, int(self.size * GROWTH))

    def shrink(self, size: int) -> None:
        """Pieces above this are too large for the broker, as long as this connection lasts."""
        self._size_most = max(1, size)
        self.size = min(self.size, self._size_most)

    # --- too much -------------------------------------------------------------------------------

    def quota(self, now_s: float) -> None:
        """The broker took a message for too much: all pauses, ever longer until it takes one."""
        if now_s < self._paused_until_s:
            return  # of those that were in flight
        self._pause_s = min(PAUSE_MAX_S, 2 * self._pause_s or PAUSE_FIRST_S)
        self._paused_until_s = now_s + self._pause_s
        self.pauses += 1

    def taken(self) -> None:
        """The broker took a message after a pause."""
        self._pause_s = 0.0

    def paused(self, now_s: float) -> bool:
        """Whether nothing may go now."""
        return now_s < self._paused_until_s

    @property
    def paused_until_s(self) -> float:
        """The end of the pause."""
        return self._paused_until_s
