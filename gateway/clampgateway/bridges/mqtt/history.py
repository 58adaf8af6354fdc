"""The history lane: old records in arrays, oldest first, with their events, beside the live ones.

Owns how items become arrays, how many are in flight, and what an answer means. It sends at most
one message a call, so that live ones and the rest of the gateway have their turn in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from clampgateway import topics
from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.pace import Pace
from clampgateway.bridges.mqtt.replays import Replays
from clampgateway.bridges.mqtt.routes import Route, Routes
from clampgateway.bridges.mqtt.work import (
    QUOTA,
    TOO_LARGE,
    BacklogWork,
    RangeWork,
    ReplayWork,
    Sent,
    Step,
    Work,
)
from clampgateway.feed import BridgeContext, LaneReader
from clampgateway.model import RECORD, RESTAMPED, Stored
from clampgateway.mqttsession import REFUSED, Connection
from clampgateway.mqttsession import TooLarge as TooLargeError

IN_FLIGHT_MAX = 4
# Of batches that were read, so many may have something to send.
READ_AHEAD = 2


class _Batch:
    """A step of a work on its way: items of each device, oldest first."""

    __slots__ = ("groups", "open", "step", "work")

    def __init__(self, work: Work, step: Step) -> None:
        self.work = work
        self.step = step._replace(items=[])  # each goes when it is answered, not all at the end
        self.open = 0
        by_device: dict[str, list[Stored]] = {}
        for stored in step.items:
            by_device.setdefault(stored.item.device, []).append(stored)
        for items in by_device.values():
            items.sort(key=_name_of)
        self.groups = deque(deque(items) for items in by_device.values())

    @property
    def complete(self) -> bool:
        return not self.groups and not self.open


class _Message:
    """One message: an array, or an event."""

    __slots__ = ("batch", "items", "payload", "route", "sent_s", "topic")

    def __init__(
        self, batch: _Batch, route: Route, topic: str, payload: bytes, items: list[Sent]
    ) -> None:
        self.batch = batch
        self.route = route
        self.topic = topic
        self.payload = payload
        self.items = items
        self.sent_s = 0.0


class HistoryLane:
    """What one reader left out of its live lane, ranges that it put aside, and replays."""

    def __init__(
        self,
        reader: LaneReader,
        context: BridgeContext,
        routes: Routes,
        closed: ClosedTopics,
        pace: Pace,
        counts: Counter[str],
        on_refusal: Callable[[Route, str, int], None],
        wake: Callable[[], None],
    ) -> None:
        self.replays = Replays()
        self._reader = reader
        self._context = context
        self._routes = routes
        self._closed = closed
        self._pace = pace
        self._counts = counts
        self._on_refusal = on_refusal
        self._wake = wake
        self._generation = 0
        self._in_flight = 0
        self._again: deque[_Message] = deque()
        self._batches: deque[_Batch] = deque()
        self._backlog = BacklogWork(reader)
        self._working: deque[Work] = deque()
        self._reading: asyncio.Task[Step] | None = None
        self._reads: Work | None = None

    @property
    def waits(self) -> bool:
        """Whether it could send if its pace allowed."""
        made = self._again or any(batch.groups for batch in self._batches)
        return bool(made) and self._in_flight < IN_FLIGHT_MAX

    def restart(self) -> None:
        """A connection came up: what has no answer is read again, and sent if it was not taken."""
        self.stop()
        self._backlog = BacklogWork(self._reader, self._backlog.taken)
        self.replays.restart()
        self._reader.lanes.ranges.retry(TOO_LARGE)  # this broker may take larger ones

    def stop(self) -> None:
        """Nothing more is sent on this connection."""
        self._generation += 1
        self._in_flight = 0
        self._again.clear()
        self._batches.clear()
        self._working.clear()
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    # --- sending --------------------------------------------------------------------------------

    def pump(self, connection: Connection, now_s: float, *, reading: bool = True) -> bool:
        """Sends one message if one may go; whether another may follow. Raises SessionLost."""
        self._took()
        if reading:
            self._read_on()
        if self._in_flight >= IN_FLIGHT_MAX or not connection.has_room:
            return False
        if not (self._again or self._batches) or not self._pace.ready(now_s):
            return False
        message = self._again.popleft() if self._again else self._next()
        self._settle()
        if message is None:
            if reading:
                self._read_on()  # nothing of what was read has to be sent
            return False
        self._send(connection, message, now_s)
        return True

    def _send(self, connection: Connection, message: _Message, now_s: float) -> None:
        message.sent_s = now_s
        on_ack = partial(self._answered, self._generation, message)
        try:
            connection.send(message.topic, message.payload, on_ack)
        except TooLargeError:
            self._too_large(message)
            return
        self._in_flight += 1
        self._pace.spent(len(message.items))

    def _next(self) -> _Message | None:
        """The next message, made now; None if what was left had not to be sent."""
        for batch in self._batches:
            while batch.groups:
                group = batch.groups[0]
                message = None if batch.work.stale else self._made(batch, group)
                if batch.work.stale or not group:
                    batch.groups.popleft()
                if message is not None:
                    batch.open += 1
                    return message
                if self._routes.introduced:
                    return None
        return None

    def _made(self, batch: _Batch, group: deque[Stored]) -> _Message | None:
        route = self._routes.at(group[0].item.device)
        history = route.topics.history
        size = 0
        items: list[Sent] = []
        payloads: list[bytes] = []
        while group:
            stored = group[0]
            is_record = stored.item.kind == RECORD
            if items and (not is_record or size >= self._pace.size):
                break
            group.popleft()
            topic = history if is_record else route.topics.event
            if stored.item.kind == RESTAMPED:
                batch.work.refused(stored, "", 0)
                continue
            if topic in self._closed:
                batch.work.refused(stored, topic, self._closed.reason(topic))
                if batch.work.stale:
                    return None
                continue
            made = self._routes.make(route, stored.item)
            if self._routes.introduced:
                group.appendleft(stored)
                break
            if made is None:
                continue
            payload, before = made
            if not is_record:
                return _Message(batch, route, topic, payload, [(stored, 0)])
            items.append((stored, before))
            payloads.append(payload)
            size += len(payload) + 1
        if not items:
            return None
        return _Message(batch, route, history, topics.history_payload(payloads), items)

    # --- answers --------------------------------------------------------------------------------

    def _answered(self, generation: int, message: _Message, code: int) -> None:
        if generation != self._generation:
            return
        self._in_flight -= 1
        batch = message.batch
        if code < REFUSED:
            batch.open -= 1
            self._pace.answered(self._context.mono() - message.sent_s)
            if message.topic == message.route.topics.history:
                self._counts["history"] += len(message.items)
                self._counts["arrays"] += 1
            else:
                self._counts["event"] += 1
            batch.work.delivered(message.items)
        elif code == QUOTA:
            self._pace.quota(self._context.mono())
            self._again.append(message)
            self._on_refusal(message.route, message.topic, code)
        elif code == TOO_LARGE:
            self._too_large(message)
        else:
            batch.open -= 1
            self._on_refusal(message.route, message.topic, code)
            for stored, _before in message.items:
                batch.work.refused(stored, message.topic, code)
        self._settle()
        self._wake()

    def _too_large(self, message: _Message) -> None:
        """Half of it is tried next, and a single item is put aside."""
        message.batch.open -= 1
        items = message.items
        if len(items) == 1:
            message.batch.work.refused(items[0][0], message.topic, TOO_LARGE)
            self._on_refusal(message.route, message.topic, TOO_LARGE)
            return
        self._pace.shrink(len(message.payload) // 2)
        message.batch.groups.appendleft(deque(stored for stored, _before in items))

    def _settle(self) -> None:
        """Tells the works what is through, in the order in which it was read."""
        while self._batches and self._batches[0].complete:
            batch = self._batches.popleft()
            batch.work.done(batch.step)

    # --- reading --------------------------------------------------------------------------------

    def _ranges_busy(self) -> bool:
        """Whether a range is being delivered: the next begins when it is through."""
        works = (*self._working, *(batch.work for batch in self._batches))
        return any(isinstance(work, RangeWork) for work in works)

    def _read_on(self) -> None:
        if self._reading is not None:
            return
        if sum(1 for batch in self._batches if batch.groups) >= READ_AHEAD:
            return
        work = self._choose()
        if work is None:
            return
        self._reads = work
        self._reading = asyncio.create_task(work.read(), name="mqtt history")
        self._reading.add_done_callback(lambda _task: self._wake())

    def _choose(self) -> Work | None:
        """The work whose turn it is: replays, backlog and ranges each have theirs."""
        working = self._working
        if self.replays.waiting:
            working.append(ReplayWork(self.replays, self._context))
        if self._backlog.waits and self._backlog not in working:
            working.append(self._backlog)
        ranges = self._reader.lanes.ranges
        if ranges.ready and not self._ranges_busy():
            oldest = ranges.oldest("")
            if oldest is not None:
                working.append(RangeWork(self._reader, self._context, oldest))
        return working.popleft() if working else None

    def _took(self) -> None:
        if self._reading is None or not self._reading.done() or self._reads is None:
            return
        reading, work = self._reading, self._reads
        self._reading = self._reads = None
        step = reading.result()
        self._batches.append(_Batch(work, step))
        if not step.last and not (work is self._backlog and not self._backlog.waits):
            self._working.append(work)
        self._settle()


def _name_of(stored: Stored) -> tuple[int, int]:
    return stored.item.boot, stored.item.seq
