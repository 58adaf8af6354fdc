"""Which items are on their way to the broker, and up to which everything has arrived.

Pure. Items are sent in order of id. One that the broker refused waits for its next try while
others pass it, but the cursor stays before it: it is neither forgotten nor passed over. How many
may wait so is bounded; then nothing new is taken in until the broker changes its mind.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from clampgateway.model import Stored

RETRY_FIRST_S = 5.0
RETRY_MAX_S = 300.0
REFUSED_MAX = 1000


class Lane:
    """All items that were read from the feed and are not delivered, oldest first."""

    def __init__(self, refused_max: int = REFUSED_MAX) -> None:
        self._refused_max = refused_max
        self._open: dict[int, Stored] = {}  # taken in and not delivered, by id, rising
        self._ready: deque[Stored] = deque()
        self._refused: dict[int, tuple[int, float]] = {}  # id to tries, and when the next is due
        self._due_s = float("inf")  # the earliest next try of a refused one
        self._last = 0

    @property
    def done(self) -> int:
        """All items up to this id are delivered; 0 while nothing is known."""
        return next(iter(self._open)) - 1 if self._open else self._last

    @property
    def open(self) -> int:
        """Items taken in and not delivered."""
        return len(self._open)

    @property
    def refused(self) -> int:
        """Of these, items that wait because the broker refused them."""
        return len(self._refused)

    @property
    def wants_more(self) -> bool:
        """Whether the next batch should be taken in."""
        return not self._ready and len(self._refused) < self._refused_max

    def take(self, batch: Sequence[Stored]) -> None:
        """Takes in items behind all earlier ones."""
        for stored in batch:
            self._open[stored.id] = stored
            self._last = stored.id
        self._ready.extend(batch)

    def next(self, now_s: float) -> Stored | None:
        """The item to send now, if there is one: an overdue refused one first."""
        if now_s >= self._due_s:
            key = min(self._refused, key=lambda each: self._refused[each][1])
            tries, _at = self._refused[key]
            # Not due again before the broker answers; a lost connection brings it back anyway.
            self._set_refused(key, tries, float("inf"))
            return self._open[key]
        return self._ready.popleft() if self._ready else None

    def delivered(self, key: int) -> None:
        """The broker took the item."""
        self._open.pop(key, None)
        if self._refused.pop(key, None) is not None:
            self._find_due()

    def refuse(self, key: int, now_s: float) -> float:
        """The broker refused the item; returns the seconds until the next try."""
        tries, _at = self._refused.get(key, (0, 0.0))
        wait_s = min(RETRY_MAX_S, RETRY_FIRST_S * 2 ** min(tries, 16))
        self._set_refused(key, tries + 1, now_s + wait_s)
        return wait_s

    def next_due_s(self) -> float:
        """When the next refused item is to be tried; infinity if none waits."""
        return self._due_s

    def restart(self) -> None:
        """The connection was lost: what has no answer goes out again, in order."""
        for key in [key for key, (_n, at) in self._refused.items() if at == float("inf")]:
            del self._refused[key]
        self._find_due()
        self._ready = deque(each for key, each in self._open.items() if key not in self._refused)

    def _set_refused(self, key: int, tries: int, at_s: float) -> None:
        self._refused[key] = (tries, at_s)
        self._find_due()

    def _find_due(self) -> None:
        self._due_s = min((at for _n, at in self._refused.values()), default=float("inf"))
