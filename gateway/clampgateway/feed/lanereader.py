"""A bridge's way through the items in two lanes: live at the head, and backlog behind it.

Owns where the live lane reads, and when it is too far behind. What is delivered and what is put
aside is the account of `lanes.Lanes`; the bridge tells it, and both become durable together with
the next commit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

from clampgateway.feed.lanes import Lanes
from clampgateway.model import Parked, Stored

# Live jumps to the head when what it should send next was committed so long ago.
BEHIND_S = 5.0
_MARKS = 4096
# Items read at once, some milliseconds.
CHUNK_ITEMS = 500


class LaneSource(Protocol):
    """What a reader with lanes needs of the feed."""

    last_id: int

    def tail_after(self, position: int, limit: int) -> list[Stored] | None: ...

    async def after(self, position: int, limit: int) -> list[Stored]: ...


class LaneReader:
    """Reads for both lanes; `on_news` is called when there is something new."""

    def __init__(
        self, feed: LaneSource, name: str, lanes: Lanes, mono: Callable[[], float]
    ) -> None:
        self._feed = feed
        self._mono = mono
        self._marks: deque[tuple[int, float]] = deque(maxlen=_MARKS)
        self.name = name
        self.lanes = lanes
        self.position = lanes.taken
        self.on_news: Callable[[], None] = _nothing
        self.left_out = 0

    # --- live -----------------------------------------------------------------------------------

    @property
    def behind(self) -> int:
        """Ids that the live lane has not come to: without a connection, all that is new."""
        return max(0, self._feed.last_id - self.lanes.taken)

    def connected(self) -> None:
        """A connection came up: what has no answer of the last one and all that is new since."""
        self.lanes.lost()
        self._jump()

    def live(self, limit: int) -> list[Stored]:
        """The next items of the live lane, none if there are none; the caller sends them all.

        If they are too many or too old to be called live, they are left to the backlog.
        """
        if self.position >= self._feed.last_id:
            return []
        items = self._feed.tail_after(self.position, limit)
        if items is None:
            self._jump()
            return []
        if items:
            self.position = items[-1].id
        return items

    def too_late(self) -> bool:
        """Whether the live lane is too far behind; then all it has not sent is backlog."""
        marks = self._marks
        taken = self.lanes.taken
        while marks and marks[0][0] <= taken:
            marks.popleft()
        if not marks or self._mono() - marks[0][1] <= BEHIND_S:
            return False
        self._jump()
        return True

    def _jump(self) -> None:
        left_out = self.lanes.jump(self._feed.last_id)
        self.position = self.lanes.taken
        self.left_out += left_out
        self._marks.clear()

    # --- backlog --------------------------------------------------------------------------------

    async def backlog(self, limit: int, after: int = 0) -> tuple[list[Stored], int]:
        """(items, up to which id they are all) of the oldest backlog above `after`.

        ([], 0) if there is none.
        """
        span = self.lanes.span_after(after)
        if span is None:
            return [], 0
        found: list[Stored] = []
        at = max(span.after, after)
        while len(found) < limit:
            # Commits have their turn between these: live ones must not wait for a long read.
            items = await self._feed.after(at, min(CHUNK_ITEMS, limit - len(found)))
            if not items or items[-1].id > span.to:
                return found + [each for each in items if each.id <= span.to], span.to
            found += items
            at = items[-1].id
        return found, at

    # --- for the feed ---------------------------------------------------------------------------

    @property
    def cursor(self) -> int:
        """Up to which all is delivered or put aside."""
        return self.lanes.cursors()[0]

    def cursors(self) -> dict[str, int]:
        """The durable cursors by name."""
        cursor, to, live = self.lanes.cursors()
        return {self.name: cursor, f"{self.name}.to": to, f"{self.name}.live": live}

    def parked(self) -> tuple[Parked, ...]:
        """What is put aside, durable with the cursors."""
        return self.lanes.parked()

    def places(self) -> list[int]:
        """Where this reader stands or will stand."""
        return [self.position, *self.lanes.places()]

    def wake(self) -> None:
        """There is something new."""
        self._marks.append((self._feed.last_id, self._mono()))
        self.on_news()


def _nothing() -> None:
    pass
