"""The MQTT bridge: every committed item, live or as history, and what is true now as retained.

Owns the one loop that serves a connection, and who of the lanes has its turn when. What a lane
sends is its own; names and payloads are `topics`; the connection is `mqttsession`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from functools import partial
from typing import Any

from clampgateway import topics
from clampgateway.bridges.mqtt.closed import ClosedTopics
from clampgateway.bridges.mqtt.commands import Commands
from clampgateway.bridges.mqtt.gate import Gate
from clampgateway.bridges.mqtt.history import HistoryLane
from clampgateway.bridges.mqtt.live import LiveLane
from clampgateway.bridges.mqtt.pace import Pace
from clampgateway.bridges.mqtt.removed import Removed
from clampgateway.bridges.mqtt.retained import Retained
from clampgateway.bridges.mqtt.routes import Route, Routes
from clampgateway.bridges.mqtt.settings import MqttSettings
from clampgateway.bridges.mqtt.trials import Trials
from clampgateway.bridges.mqtt.work import QUOTA, TOO_LARGE
from clampgateway.devices import Device
from clampgateway.feed import BridgeContext, LaneReader
from clampgateway.model import Description
from clampgateway.mqttsession import REFUSED, Connection, MqttSession, Will
from clampgateway.mqttsession import TooLarge as TooLargeError
from clampgateway.topics import OFFLINE, ONLINE, Topics

_log = logging.getLogger(__name__)

CURSOR = "mqtt"
# How often the lanes look whether live is too far behind, at least.
LOOK_S = 1.0
# What of the history is already read is sent before a farewell, for so long.
FAREWELL_HISTORY_S = 0.5
PARKED_SHOWN = 20


class MqttBridge:
    """Publishes everything of one gateway to one broker."""

    Settings = MqttSettings

    def __init__(self, settings: MqttSettings, context: BridgeContext) -> None:
        self._settings = settings
        self._context = context
        self._topics = Topics(settings.root, context.site)
        self._availability = self._topics.gateway_availability(context.gateway_id)
        self._retained = Retained()
        self._removed = Removed(CURSOR, context, self._topics, self._retained)
        self._wake = asyncio.Event()
        self._stalled = False
        self._counts: Counter[str] = Counter()
        self._reasons: Counter[int] = Counter()
        self._closed = ClosedTopics()
        self._pace = Pace(settings.history_records_per_s, settings.history_bytes)
        self._routes = Routes(context, self._topics, self._introduce)
        gate = Gate(self._topics, context.gateway_id, settings.allow_commands)
        self._commands = Commands(
            context, self._topics, gate, lambda: self._history.replays, self._wake.set
        )
        self._build(context.feed.lane_reader(CURSOR))
        brokers = settings.brokers(context.gateway_id)
        will = Will(self._availability, OFFLINE)
        self._session = MqttSession(brokers, lambda: will, context.mono)
        if settings.username is not None and not settings.tls:
            _log.warning("the password goes over the network as plain text: set mqtt.tls = true")

    def _build(self, reader: LaneReader) -> None:
        self._reader = reader
        reader.on_news = self._wake.set
        context, counts = self._context, self._counts
        self._live = LiveLane(
            reader,
            self._routes,
            self._closed,
            self._pace,
            counts,
            self._refused,
            self._room,
            context.utc_ms,
            context.mono,
        )
        self._history = HistoryLane(
            reader,
            context,
            self._routes,
            self._closed,
            self._pace,
            counts,
            self._refused,
            self._wake.set,
        )
        self._trials = Trials(
            reader, context, self._routes, self._closed, counts, self._refused, self._wake.set
        )

    async def run(self) -> None:
        """Publishes until cancelled. A new run goes on behind what was acknowledged."""
        self._build(self._context.feed.lane_reader(CURSOR))
        ledger = self._context.ledger
        unwatch = [self._context.devices.watch(self._on_change)]
        if ledger is not None:
            unwatch.append(ledger.watch(self._on_ledger))
        self._removed.restart()
        try:
            for device in self._context.devices:
                for what in ("description", "online", "state"):
                    self._on_change(device, what)
                self._on_ledger(device.key)
            await self._session.run(self._serve, self._farewell)
        finally:
            self._commands.stop()
            self._history.stop()
            self._trials.stop()
            for stop in unwatch:
                stop()

    # --- what is true now -----------------------------------------------------------------------

    def _on_change(self, device: Device, what: str) -> None:
        names = self._routes.at(device.key).topics
        if what == "removed":
            self._removed.removed(device.key)
            self._wake.set()
        elif what == "added":
            self._removed.returned(device.key)
        if what in ("identity", "description") and device.description is not None:
            if device.identity is not None:
                birth = topics.birth_payload(
                    self._context.gateway_id, device.identity, device.description
                )
                self._want(names.birth, birth)
        if what in ("online", "offline", "refused"):
            self._want(names.availability, ONLINE if device.online else OFFLINE)
        if what in ("state", "identity"):
            state = device.state
            machine = topics.machine_of(device.key, device.identity)
            self._want(
                names.state, topics.state_payload(machine, state.state, state.since_ms, state.why)
            )

    def _on_ledger(self, device: str) -> None:
        ledger = self._context.ledger
        payload = ledger.payload(device) if ledger is not None else b""
        if payload:
            self._want(self._routes.at(device).topics.ledger, payload)

    def _introduce(self, route: Route, description: Description) -> bool:
        """No data without a birth: of a device that has not come back since our start, too.

        Whether one has to go out first.
        """
        if not self._removed.may_speak(route.device):
            return False
        unborn = route.topics.birth not in self._retained
        if unborn:
            birth = topics.birth_payload(self._context.gateway_id, None, description)
            self._want(route.topics.birth, birth)
        if route.topics.availability not in self._retained:
            self._want(route.topics.availability, OFFLINE)
        return unborn

    def _want(self, topic: str, payload: bytes) -> None:
        if self._retained.set(topic, payload):
            self._wake.set()

    # --- serving --------------------------------------------------------------------------------

    async def _serve(self, connection: Connection) -> None:
        self._live.restart()
        self._history.restart()
        self._pace.restart()
        self._trials.restart(self._context.mono())
        self._retained.set(self._availability, ONLINE)
        self._retained.restart()
        subscribing = asyncio.create_task(self._commands.serve(connection), name="mqtt commands")
        try:
            while True:
                if subscribing.done():
                    subscribing.result()  # its error is ours
                if self._turn(connection):
                    await asyncio.sleep(0)
                else:
                    await self._wait(connection)
        finally:
            subscribing.cancel()

    def _turn(self, connection: Connection) -> bool:
        """Sends what may go now; whether there is more. Raises SessionLost."""
        now_s = self._context.mono()
        self._removed.look(self._reader)
        self._stalled = True
        if not self._send_retained(connection, now_s):
            return False
        self._stalled = False
        self._routes.introduced = False
        if self._pace.paused(now_s):
            return False
        self._stalled = not self._live.pump(connection)
        if self._retained.unsent and self._retained.next_due_s() <= now_s:
            return True  # of a device that was met just now
        if self._stalled:
            return False
        self._trials.pump(connection, now_s)
        return self._history.pump(connection, now_s)

    def _send_retained(self, connection: Connection, now_s: float) -> bool:
        """Whether all that is due is sent."""
        while connection.has_room:
            found = self._retained.next(now_s)
            if found is None:
                return True
            topic, payload = found
            on_ack = partial(self._answered_retained, topic, payload)
            try:
                connection.send(topic, payload, on_ack, retain=True)
            except TooLargeError:
                on_ack(TOO_LARGE)
        return self._retained.next_due_s() > now_s

    def _room(self) -> None:
        """An answer came: whoever waits for room may go on."""
        if self._stalled:
            self._stalled = False
            self._wake.set()

    async def _wait(self, connection: Connection) -> None:
        """Waits for news, an answer that matters, or the time of a next try."""
        now_s = self._context.mono()
        due_s = min(
            now_s + LOOK_S,
            self._closed.next_due_s(),
            self._retained.next_due_s(),
            self._pace.due_s() if self._history.waits else now_s + LOOK_S,
        )
        if self._pace.paused(now_s):
            due_s = max(due_s, self._pace.paused_until_s)
        if not connection.has_room:
            # What is due has to wait for an answer, which wakes.
            self._stalled = True
            due_s = now_s + LOOK_S
        loop = asyncio.get_running_loop()
        alarm = loop.call_later(max(0.0, due_s - now_s), self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()
        self._wake.clear()

    # --- answers --------------------------------------------------------------------------------

    def _answered_retained(self, topic: str, payload: bytes, code: int) -> None:
        self._room()
        if code < REFUSED:
            self._counts["retained"] += 1
            self._retained.taken(topic, payload)
            if not payload:
                self._routes.forget(self._removed.emptied(topic))
            return
        self._retained.refuse(topic, self._context.mono())
        self._reasons[code] += 1
        self._wake.set()
        _log.error("the broker refuses topic=%s reason=0x%02X; tried again later", topic, code)

    def _refused(self, route: Route, topic: str, code: int) -> None:
        """The broker did not take something: quota and size are of messages, others of topics."""
        self._reasons[code] += 1
        self._wake.set()
        if code == TOO_LARGE:
            _log.error("too large for the broker, put aside topic=%s", topic)
        elif code == QUOTA:
            _log.warning("the broker says that it is too much topic=%s", topic)
        elif self._closed.refuse(topic, code, self._context.mono()):
            _log.error(
                "the broker refuses topic=%s reason=0x%02X; what is for it waits, one is tried"
                " now and then device=%s",
                topic,
                code,
                route.device,
            )

    async def _farewell(self, connection: Connection) -> None:
        until_s = self._context.mono() + FAREWELL_HISTORY_S
        while self._context.mono() < until_s:
            # What was read goes out, so that the cursors are where the messages are.
            if not self._history.pump(connection, self._context.mono(), reading=False):
                if not connection.in_flight:
                    break
                await asyncio.sleep(0.005)
            else:
                await asyncio.sleep(0)
        await connection.drained()
        self._retained.set(self._availability, OFFLINE)
        await connection.publish(self._availability, OFFLINE, retain=True)

    # --- what operators see ---------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """The session's counters and this bridge's."""
        lanes = self._reader.lanes
        counts = self._counts
        parked = [each for each in lanes.ranges if each.topic]
        return {
            **self._session.stats(),
            "records": counts["data"],
            "history": counts["history"],
            "arrays": counts["arrays"],
            "events": counts["event"],
            "retained": counts["retained"],
            "late": counts["late"],
            "condensed": counts["condensed"],
            "waiting": lanes.open,
            "backlog": lanes.backlog + self._reader.behind,
            "deferred": sum(each.items for each in lanes.ranges if not each.topic),
            "parked": sum(each.items for each in parked),
            "parked_topics": _by_topic(parked),
            "left_out": self._reader.left_out,
            "repeated_ranges": lanes.joined_spans + lanes.ranges.joined,
            "pauses": self._pace.pauses,
            "retained_unsent": self._retained.unsent,
            "removals": self._removed.stats(),
            "unreadable": self._routes.unreadable,
            "replays": self._history.replays.done,
            "replays_waiting": len(self._history.replays),
            "replays_failed": self._history.replays.failed,
            "commands": self._commands.stats(),
            "reasons": {f"0x{code:02X}": count for code, count in sorted(self._reasons.items())},
            "alarm": self._alarm(),
        }

    def _alarm(self) -> str:
        """What the broker does not take, for whoever looks after it."""
        refused = [each for each in self._reader.lanes.ranges if each.topic]
        if not refused:
            return ""
        names = sorted({f"{each.topic} (0x{each.reason:02X})" for each in refused})
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        return (
            f"the broker refuses {', '.join(names[:3])}{more}: see its access list;"
            " what is for it waits here"
        )


def _by_topic(parked: list[Any]) -> dict[str, dict[str, Any]]:
    """Reason and count of each refused topic; `exact` is false where the count is a bound."""
    out: dict[str, dict[str, Any]] = {}
    for each in sorted(parked, key=lambda each: each.topic):
        if each.topic not in out and len(out) >= PARKED_SHOWN:
            continue
        entry = out.setdefault(each.topic, {"reason": "", "count": 0, "exact": True})
        entry["reason"] = f"0x{each.reason:02X}"
        entry["count"] += each.items
        entry["exact"] = entry["exact"] and each.exact
    return out
