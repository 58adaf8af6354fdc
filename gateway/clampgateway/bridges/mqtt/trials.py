"""Trying closed topics: now and then, the oldest item that waits for one is sent there.

If the broker takes it, the topic is open, and all that waits for it goes as history.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from clampgateway import topics
from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.routes import Route, Routes
from clampgateway.bridges.mqtt.work import QUOTA, TOO_LARGE
from clampgateway.feed import BridgeContext, LaneReader
from clampgateway.feed.ranges import MARKER, Range
from clampgateway.model import RECORD, Stored, restamped_range
from clampgateway.mqttsession import REFUSED, Connection
from clampgateway.mqttsession import TooLarge as TooLargeError

# Items that cannot be read at all are passed over, so many at a time.
LOOK_ITEMS = 100


class _Trial(NamedTuple):
    topic: str
    route: Route
    payload: bytes
    range: Range
    stored: Stored | None  # None if its range stays whole


class Trials:
    """One trial at a time, of the topics of `closed`."""

    def __init__(
        self,
        reader: LaneReader,
        context: BridgeContext,
        routes: Routes,
        closed: ClosedTopics,
        counts: Counter[str],
        on_refusal: Callable[[Route, str, int], None],
        wake: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._ranges = reader.lanes.ranges
        self._context = context
        self._routes = routes
        self._closed = closed
        self._counts = counts
        self._on_refusal = on_refusal
        self._wake = wake
        self._generation = 0
        self._task: asyncio.Task[_Trial | None] | None = None

    def restart(self, now_s: float) -> None:
        """A new connection: all closed topics are tried soon."""
        self.stop()
        for each in self._ranges:
            if each.topic:
                self._closed.load(each.topic, each.reason)
        self._closed.restart(now_s)

    def stop(self) -> None:
        """Nothing is tried any more on this connection."""
        self._generation += 1
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def pump(self, connection: Connection, now_s: float) -> None:
        """Tries a topic whose time has come. Raises SessionLost."""
        if self._task is not None and self._task.done():
            task, self._task = self._task, None
            trial = task.result()
            if trial is not None:
                self._send(connection, trial)
        if self._task is None and connection.has_room:
            topic = self._closed.due(now_s)
            if topic is not None:
                self._task = asyncio.create_task(self._make(topic), name=f"try {topic}")
                self._task.add_done_callback(lambda _task: self._wake())

    async def _make(self, topic: str) -> _Trial | None:
        """The message for a trial; None if nothing waits for the topic any more."""
        while (each := self._ranges.oldest(topic)) is not None:
            last = each.last  # it may grow while it is read
            items = await self._read(each)
            route = self._routes.at(each.device)
            for at, stored in enumerate(items):
                is_record = stored.item.kind == RECORD
                if is_record is (topic == route.topics.event):
                    continue  # the gap of what was dropped, in a range of records
                made = self._routes.make(route, stored.item)
                if made is None:
                    continue
                payload, _before = made
                if topic == route.topics.history:
                    payload = topics.history_payload([payload])
                whole = at > 0 or each.kinds == MARKER
                return _Trial(topic, route, payload, each, None if whole else stored)
            if items:
                # Nothing of these can be a trial: the history lane tells them, and tries itself.
                break
            self._ranges.drained(each, last)
        self._opened(topic)
        return None

    async def _read(self, each: Range) -> list[Stored]:
        context = self._context
        if each.kinds != MARKER:
            return await context.read_ids(
                each.device, each.kinds, each.first - 1, each.last, LOOK_ITEMS
            )
        found = await context.feed.after(each.first - 1, 1)
        if not found or found[0].id != each.first:
            return []
        boot, first, last = restamped_range(found[0].item)
        return await context.read_range(each.device, boot, first, last, first - 1, LOOK_ITEMS)

    def _send(self, connection: Connection, trial: _Trial) -> None:
        if trial.topic not in self._closed:
            return
        on_ack = partial(self._answered, self._generation, trial)
        try:
            connection.send(trial.topic, trial.payload, on_ack)
        except TooLargeError:
            # Not this one, but what comes behind it may be taken: its turn is in the history lane.
            self._opened(trial.topic)

    def _answered(self, generation: int, trial: _Trial, code: int) -> None:
        if generation != self._generation:
            return
        if code >= REFUSED:
            self._on_refusal(trial.route, trial.topic, code)
            if code == TOO_LARGE:
                self._opened(trial.topic)  # as above
            elif code == QUOTA:
                # Of the messages, not of the topic: it stays closed for the reason that it had.
                reason = self._closed.reason(trial.topic)
                self._closed.refuse(trial.topic, reason, self._context.mono())
            return
        names = trial.route.topics
        kind = next(
            name for name in ("data", "history", "event") if getattr(names, name) == trial.topic
        )
        self._counts[kind] += 1
        if trial.stored is not None:
            self._ranges.delivered(trial.range, 1)
            self._ranges.drained(trial.range, trial.stored.id)
        self._opened(trial.topic)

    def _opened(self, topic: str) -> None:
        self._closed.open(topic)
        self._ranges.reopen(topic)
        self._wake()
