"""What the history lane has to send: backlog, ranges that were put aside, replays.

A `Work` reads its items in steps and is told when a step is delivered; how they become messages
and when they go is the lane's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from clampgateway.bridges.mqtt.replays import Replays
from clampgateway.feed import BridgeContext, LaneReader
from clampgateway.feed.ranges import MARKER, OTHERS, RECORDS, Range
from clampgateway.model import RECORD, RESTAMPED, Item, Stored, restamped_range

STEP_ITEMS = 4000
# Of numbered ranges, which are read at one go.
RANGE_ITEMS = 1000
BACKLOG = "backlog"
# Reason codes of MQTT 5 that are about a message, not about its topic.
QUOTA, TOO_LARGE = 0x97, 0x95


class Step(NamedTuple):
    """Items to send, and up to which place this step goes; `last` if the work ends with it."""

    items: list[Stored]
    up_to: int
    last: bool


Sent = tuple[Stored, int]  # and how many numbers it covers before its own


class Work(Protocol):
    """One thing to catch up with."""

    @property
    def stale(self) -> bool:
        """Whether what is left of it must not be sent now."""
        ...

    async def read(self) -> Step:
        """The next items; called again when the last call has returned."""
        ...

    def done(self, step: Step) -> None:
        """All steps up to this one are delivered or put aside."""
        ...

    def refused(self, stored: Stored, topic: str, reason: int) -> None:
        """The broker does not take the topic of this item, or not the item itself."""
        ...

    def delivered(self, sent: Sequence[Sent]) -> None:
        """The broker has taken these."""
        ...


class BacklogWork:
    """The oldest backlog, then the next, until there is none.

    `taken` are ids that the broker has taken in steps that are not done: after a lost connection
    the next work begins with those of the last, and does not send them again.
    """

    stale = False

    def __init__(self, reader: LaneReader, taken: frozenset[int] | set[int] = frozenset()) -> None:
        self.taken = set(taken)
        self._reader = reader
        self._lanes = reader.lanes
        self._at = 0

    @property
    def waits(self) -> bool:
        """Whether there is some to read."""
        return self._lanes.span_after(self._at) is not None

    async def read(self) -> Step:
        items, up_to = await self._reader.backlog(STEP_ITEMS, self._at)
        self._at = up_to or self._at
        ranges = self._lanes.ranges
        if ranges.count:
            items = [
                each
                for each in items
                if not ranges.covers(each.item.device, each.item.kind, each.id)
            ]
        if self.taken:
            items = [each for each in items if each.id not in self.taken]
        return Step(items, up_to, last=False)

    def done(self, step: Step) -> None:
        self._lanes.backlog_done(step.up_to)
        self.taken = {each for each in self.taken if each > step.up_to}

    def refused(self, stored: Stored, topic: str, reason: int) -> None:
        device, kinds, ranges = stored.item.device, kinds_of(stored.item), self._lanes.ranges
        if stored.item.kind == RESTAMPED:
            ranges.mark(device, stored.id)
        elif reason == TOO_LARGE:
            ranges.apart(topic, device, kinds, stored.id, reason)
        else:
            ranges.put(BACKLOG, topic, device, kinds, stored.id, reason)

    def delivered(self, sent: Sequence[Sent]) -> None:
        self.taken.update(stored.id for stored, _before in sent)
        ranges = self._lanes.ranges
        if ranges.count:
            item = sent[0][0].item
            ranges.seal(BACKLOG, item.device, kinds_of(item))


class RangeWork:
    """One range that was put aside and may go now."""

    def __init__(self, reader: LaneReader, context: BridgeContext, each: Range) -> None:
        self._ranges = reader.lanes.ranges
        self._context = context
        self._range = each
        self._at = each.first - 1
        self._marker: tuple[int, int, int] | None = None
        # For good: the range may be ready again before what was read of it is forgotten.
        self._refused = False

    async def read(self) -> Step:
        each = self._range
        if self._refused:
            return Step([], self._at, last=True)  # refused meanwhile
        if each.kinds == MARKER:
            return await self._read_restamped()
        last = each.last
        items = await self._context.read_ids(each.device, each.kinds, self._at, last, STEP_ITEMS)
        full = len(items) >= STEP_ITEMS
        self._at = items[-1].id if full else last
        return Step(items, self._at, not full)

    async def _read_restamped(self) -> Step:
        """The items that a marker stands for, by number; the place is the marker's to the end."""
        each = self._range
        if self._marker is None:
            found = await self._context.feed.after(each.first - 1, 1)
            if not found or found[0].id != each.first:
                return Step([], each.first, last=True)  # forgotten with what it stood for
            self._marker = restamped_range(found[0].item)
            self._at = self._marker[1] - 1
        boot, first, last = self._marker
        items = await self._context.read_range(
            each.device, boot, first, last, self._at, RANGE_ITEMS
        )
        if len(items) < RANGE_ITEMS:
            return Step(items, each.first, last=True)
        self._at = items[-1].item.seq
        return Step(items, each.first - 1, last=False)

    @property
    def stale(self) -> bool:
        return self._refused

    def done(self, step: Step) -> None:
        if not self._refused:
            self._ranges.drained(self._range, step.up_to)

    def refused(self, stored: Stored, topic: str, reason: int) -> None:
        each = self._range
        if reason == TOO_LARGE:
            self._ranges.apart(topic, each.device, kinds_of(stored.item), stored.id, reason)
        elif not self._refused:
            self._refused = True
            self._ranges.refuse(each, topic, reason)

    def delivered(self, sent: Sequence[Sent]) -> None:
        if self._range.kinds != MARKER:
            self._ranges.delivered(self._range, len(sent))


class ReplayWork:
    """A range of numbers that a subscriber asked for."""

    stale = False

    def __init__(self, replays: Replays, context: BridgeContext) -> None:
        self._replays = replays
        self._context = context
        self._replay = replays.begin()
        self._at = self._replay.first - 1

    async def read(self) -> Step:
        replay = self._replay
        items = await self._context.read_range(
            replay.device, replay.boot, replay.first, replay.last, self._at, RANGE_ITEMS
        )
        if items:
            self._at = items[-1].item.seq
        return Step(items, self._at, len(items) < RANGE_ITEMS)

    def done(self, step: Step) -> None:
        if step.last:
            self._replays.end(self._replay)

    def refused(self, stored: Stored, topic: str, reason: int) -> None:
        self._replay.refused(stored.item, topic, reason)

    def delivered(self, sent: Sequence[Sent]) -> None:
        for stored, before in sent:
            self._replay.took(stored.item, before)


def kinds_of(item: Item) -> int:
    """The kinds that go to the same topics as this item."""
    return RECORDS if item.kind == RECORD else OTHERS
