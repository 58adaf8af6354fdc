"""The live lane: what is fresh, one message a record, as soon as it is committed.

Owns what is fresh. What is not, or cannot go now, is put aside: the history lane sends it. Runs
without a task or a wait of its own; `pump` sends what there is room for.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from functools import partial

from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.pace import Pace
from clampgateway.bridges.mqtt.routes import Route, Routes
from clampgateway.bridges.mqtt.work import QUOTA, TOO_LARGE
from clampgateway.feed import LaneReader
from clampgateway.feed.ranges import LIVE, OTHERS, RECORDS
from clampgateway.model import RECORD, RESTAMPED, Stored
from clampgateway.mqttsession import REFUSED, Connection
from clampgateway.mqttsession import TooLarge as TooLargeError

# A record whose interval ended so long ago is history.
LATE_MS = 60_000
BATCH = 256


class LiveLane:
    """One reader's live lane. `on_answer` is called at every answer: there may be room now."""

    def __init__(
        self,
        reader: LaneReader,
        routes: Routes,
        closed: ClosedTopics,
        pace: Pace,
        counts: Counter[str],
        on_refusal: Callable[[Route, str, int], None],
        on_answer: Callable[[], None],
        utc_ms: Callable[[], int],
        mono: Callable[[], float],
    ) -> None:
        self._reader = reader
        self._lanes = reader.lanes
        self._ranges = reader.lanes.ranges
        self._routes = routes
        self._closed = closed
        self._pace = pace
        self._counts = counts
        self._on_refusal = on_refusal
        self._on_answer = on_answer
        self._utc_ms = utc_ms
        self._mono = mono
        self._ready: deque[Stored] = deque()
        self._generation = 0

    def restart(self) -> None:
        """A connection came up: what has no answer is backlog, and live begins at the head."""
        self._generation += 1
        self._ready.clear()
        self._reader.connected()

    def pump(self, connection: Connection) -> bool:
        """Sends what is fresh; False if there is no room for more now. Raises SessionLost."""
        if self._reader.too_late():
            self._ready.clear()
        ready = self._ready
        old_ms = 0
        while True:
            if not ready:
                ready.extend(self._reader.live(BATCH))
                if not ready:
                    return True
            if not old_ms:
                old_ms = (self._utc_ms() or LATE_MS) - LATE_MS
            if not connection.has_room:
                return False
            self._send(connection, ready.popleft(), old_ms)
            if self._routes.introduced:
                return True

    def _send(self, connection: Connection, stored: Stored, old_ms: int) -> None:
        number, item = stored
        device = item.device
        route = self._routes.at(device)
        if item.kind == RECORD:
            kinds, topic, name = RECORDS, route.topics.data, (item.boot, item.seq)
            if topic not in self._closed and (name <= route.head or 0 < item.utc_ms < old_ms):
                self._counts["late"] += 1
                self._aside(number, device, kinds)
                return
        elif item.kind == RESTAMPED:
            self._ranges.mark(device, number)
            self._lanes.passed(number)
            return
        else:
            kinds, topic, name = OTHERS, route.topics.event, route.head
        if topic in self._closed:
            self._aside(number, device, kinds, topic, self._closed.reason(topic))
            return
        made = self._routes.make(route, item)
        if self._routes.introduced:
            self._ready.appendleft(stored)
            return
        if made is None:
            self._lanes.passed(number)
            return
        payload, before = made
        if before:
            self._counts["condensed"] += 1
            self._aside(number, device, kinds)
            return
        on_ack = partial(self._answered, self._generation, number, route, kinds)
        try:
            connection.send(topic, payload, on_ack)
        except TooLargeError:
            self._aside(number, device, kinds, topic, TOO_LARGE)
            self._on_refusal(route, topic, TOO_LARGE)
            return
        self._lanes.sent(number)
        if self._ranges.count:
            self._ranges.seal(LIVE, device, kinds)
        route.head = name

    def _aside(
        self, number: int, device: str, kinds: int, topic: str = "", reason: int = 0
    ) -> None:
        self._ranges.put(LIVE, topic, device, kinds, number, reason)
        self._lanes.passed(number)

    def _answered(self, generation: int, number: int, route: Route, kinds: int, code: int) -> None:
        if generation != self._generation:
            return
        self._on_answer()
        if code < REFUSED:
            self._counts["data" if kinds == RECORDS else "event"] += 1
            self._pace.taken()
            self._lanes.answered(number)
            return
        topic = route.topics.data if kinds == RECORDS else route.topics.event
        if code == QUOTA:
            self._pace.quota(self._mono())
            self._ranges.put(LIVE, "", route.device, kinds, number)
        else:
            self._ranges.put(LIVE, topic, route.device, kinds, number, code)
        self._lanes.answered(number)
        self._on_refusal(route, topic, code)
