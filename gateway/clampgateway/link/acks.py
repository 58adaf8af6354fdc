"""Acknowledgements that wait to be sent: committed items, joined to ranges of (boot, first, last).

Bounded, because a device may send and never read: the oldest range goes when there are too many,
counted. That loses nothing: the device sends those items again and is answered again.
"""

from __future__ import annotations

from collections.abc import Iterable

from clampgateway.model import Item
from clampwire.messages import ACK_RANGES_MAX

RANGES_MAX = 256


class AckQueue:
    """Ranges to acknowledge. `sent` counts ranges handed out, `dropped` those given up."""

    def __init__(self) -> None:
        self._ranges: list[tuple[int, int, int]] = []
        self.sent = 0
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._ranges)

    def add(self, items: Iterable[Item]) -> None:
        """Queue committed items; order and repetition do not matter."""
        waiting = self._ranges
        for boot, seq in sorted((item.boot, item.seq) for item in items):
            if waiting:
                last_boot, first, last = waiting[-1]
                if boot == last_boot and first <= seq <= last + 1:
                    waiting[-1] = (boot, first, max(seq, last))
                    continue
            waiting.append((boot, seq, seq))
        if len(waiting) > RANGES_MAX:
            self.dropped += len(waiting) - RANGES_MAX
            del waiting[:-RANGES_MAX]

    def take(self) -> tuple[tuple[int, int, int], ...]:
        """The ranges of the next Ack, oldest first; empty when there is nothing to say."""
        out = tuple(self._ranges[:ACK_RANGES_MAX])
        del self._ranges[:ACK_RANGES_MAX]
        self.sent += len(out)
        return out

    def clear(self) -> None:
        """Forget everything: the session it was for is over."""
        self._ranges.clear()
