"""When to ask a broker whether it is still there, and when to take it for gone. Pure.

Seen from the last byte that came: after 3/4 of the keepalive we ask, after 5/4 it is gone, so a
half-open connection is known within 1.5 of it, however often somebody looks. Whatever TCP says:
a broker that does not answer a PUBLISH for ACK_S while nothing else moves is gone, too.
"""

from __future__ import annotations

ACK_S = 20.0

# Looks in a keepalive, and the longest between two of them.
_LOOKS = 8
LOOK_MAX_S = 1.0
# Somebody who looks later than that has stood still himself: the silence may be his own.
_LATE_S = 1.0

PING, GONE, SILENT, FINE = "ping", "gone", "silent", "fine"


class Keepalive:
    """Watches one connection.

    Args:
        keepalive_s: As agreed with the broker.
        now_s: Monotonic clock, as in `look`.
    """

    def __init__(self, keepalive_s: float, now_s: float) -> None:
        self.every_s = min(LOOK_MAX_S, keepalive_s / _LOOKS)
        self._keepalive_s = keepalive_s
        self._looked_s = now_s
        self._pinged_s = now_s - keepalive_s
        self._excused_s = now_s  # silence before counts as of now
        self._oldest: object = None
        self._unwritten = 0
        self._waits_from_s = now_s

    def look(
        self, now_s: float, received_s: float, sent_s: float, oldest: object, unwritten: int
    ) -> str:
        """What to do now: FINE, PING, or give it up as GONE or SILENT.

        Args:
            now_s: The time.
            received_s: When something came last.
            sent_s: When something was sent last.
            oldest: The unanswered message that waits longest, None without one; equal while it
                is the same.
            unwritten: Bytes that the transport still holds.
        """
        if now_s - self._looked_s > self.every_s + _LATE_S:
            self._excused_s = self._waits_from_s = now_s
        self._looked_s = now_s
        if oldest is None or oldest != self._oldest or unwritten < self._unwritten:
            self._waits_from_s = now_s
        self._oldest, self._unwritten = oldest, unwritten
        if now_s - self._waits_from_s > ACK_S:
            return SILENT
        silent_s = now_s - max(received_s, self._excused_s)
        if silent_s >= 1.25 * self._keepalive_s:
            return GONE
        due_s = 0.75 * self._keepalive_s
        quiet_s = now_s - sent_s
        if max(silent_s, quiet_s) >= due_s and now_s - self._pinged_s >= due_s:
            self._pinged_s = now_s
            return PING
        return FINE
