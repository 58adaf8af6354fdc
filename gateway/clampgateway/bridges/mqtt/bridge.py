"""The MQTT bridge: every committed item once in order, and what is true now as retained messages.

Owns the settings, what is published when, and the cursor "mqtt": it moves on after the PUBACK.
The connection is `mqttsession`, names and payloads are `topics`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from clampgateway import topics
from clampgateway.bridges.mqtt.lane import Lane
from clampgateway.bridges.mqtt.retained import Retained
from clampgateway.config import Wrong
from clampgateway.config.settings import LOOPBACK, Port, SecretFile, Settings
from clampgateway.devices import Device
from clampgateway.feed import BridgeContext
from clampgateway.model import (
    EVENT,
    RECORD,
    Description,
    Stored,
    decode_event,
    decode_gap,
    decode_record,
)
from clampgateway.mqttsession import REFUSED, Broker, Connection, MqttSession, Will
from clampgateway.topics import OFFLINE, ONLINE, DeviceTopics, Topics

_log = logging.getLogger(__name__)

CURSOR = "mqtt"
BATCH = 100


def _root(text: str) -> str:
    if not topics.is_root(text):
        raise Wrong(f"is {text!r}, must be a topic without + and #", 'for example "clampwork"')
    return text


class MqttSettings(Settings):
    host: str = LOOPBACK
    port: Port = 1883
    protocol: Annotated[
        Literal["5", "3.1.1"],
        Field(description="3.1.1 cannot tell a message that was refused from one that was taken"),
    ] = "5"
    root: Annotated[str, AfterValidator(_root)] = "clampwork"
    client_id: Annotated[str | None, Field(description="clampwork-<gateway id> unless given")] = (
        None
    )
    username: str | None = None
    password_file: SecretFile | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    window: Annotated[int, Field(ge=1, le=1000, description="messages in flight")] = 20


class MqttBridge:
    """Publishes everything of one gateway to one broker."""

    Settings = MqttSettings

    def __init__(self, settings: MqttSettings, context: BridgeContext) -> None:
        self._context = context
        self._topics = Topics(settings.root, context.site)
        self._by_device: dict[str, DeviceTopics] = {}
        self._availability = self._topics.gateway_availability(context.gateway_id)
        self._reader = context.feed.reader(CURSOR)
        self._reading: asyncio.Task[list[Stored]] | None = None
        self._lane = Lane()
        self._retained = Retained()
        self._wake = asyncio.Event()
        self._published: Counter[str] = Counter()
        self._reasons: Counter[int] = Counter()
        self._unreadable = 0
        password = settings.password_file
        broker = Broker(
            settings.host,
            settings.port,
            settings.client_id or f"clampwork-{context.gateway_id}",
            settings.protocol,
            settings.username,
            password.read_text().rstrip("\r\n") if password is not None else None,
            settings.keepalive_s,
            settings.window,
        )
        will = Will(self._availability, OFFLINE)
        self._session = MqttSession(broker, lambda: will, context.mono)

    async def run(self) -> None:
        """Publishes until cancelled. A new run goes on behind what was acknowledged."""
        self._reader = self._context.feed.reader(CURSOR)
        self._lane = Lane()
        unwatch = self._context.devices.watch(self._on_change)
        try:
            for device in self._context.devices:
                for what in ("description", "online", "state"):
                    self._on_change(device, what)
            await self._session.run(self._serve, self._farewell)
        finally:
            unwatch()
            if self._reading is not None:
                self._reading.cancel()
                self._reading = None

    def stats(self) -> dict[str, Any]:
        """The session's counters and this bridge's."""
        return {
            **self._session.stats(),
            "records": self._published["data"],
            "events": self._published["event"],
            "retained": self._published["retained"],
            "waiting": self._lane.open,
            "waiting_refused": self._lane.refused,
            "retained_unsent": self._retained.unsent,
            "unreadable": self._unreadable,
            "reasons": {f"0x{code:02X}": count for code, count in sorted(self._reasons.items())},
        }

    # --- what is true now -----------------------------------------------------------------------

    def _on_change(self, device: Device, what: str) -> None:
        names = self._of(device.key)
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

    def _want(self, topic: str, payload: bytes) -> None:
        if self._retained.set(topic, payload):
            self._wake.set()

    def _of(self, device: str) -> DeviceTopics:
        if device not in self._by_device:
            self._by_device[device] = self._topics.device(device)
        return self._by_device[device]

    # --- sending --------------------------------------------------------------------------------

    async def _serve(self, connection: Connection) -> None:
        self._lane.restart()
        self._retained.set(self._availability, ONLINE)
        self._retained.restart()
        while True:
            await self._send_retained(connection)
            await self._send_items(connection)
            await self._wait()

    async def _send_retained(self, connection: Connection) -> None:
        while (found := self._retained.next(self._context.mono())) is not None:
            topic, payload = found
            await connection.room()
            connection.send(topic, payload, partial(self._answered_retained, topic), retain=True)

    async def _send_items(self, connection: Connection) -> None:
        while (stored := self._lane.next(self._context.mono())) is not None:
            message = await self._message(stored)
            if message is None:
                self._delivered(stored.id)
                continue
            if self._retained.unsent:
                await self._send_retained(connection)
            await connection.room()
            lane, topic, payload = message
            connection.send(topic, payload, partial(self._answered, stored, lane, topic))

    async def _wait(self) -> None:
        """Waits for new items, a change, an answer that matters, or the time of a next try."""
        if self._reading is None and self._lane.wants_more:
            reading = self._reading = asyncio.create_task(self._reader.batch(BATCH))
            reading.add_done_callback(lambda _task: self._wake.set())
        due_s = min(self._lane.next_due_s(), self._retained.next_due_s())
        wait_s = due_s - self._context.mono()
        if wait_s > 0 and not (self._reading is not None and self._reading.done()):
            with contextlib.suppress(TimeoutError):  # time for the next try
                async with asyncio.timeout(None if wait_s == float("inf") else wait_s):
                    await self._wake.wait()
        self._wake.clear()
        if self._reading is not None and self._reading.done():
            reading, self._reading = self._reading, None
            self._lane.take(reading.result())

    async def _message(self, stored: Stored) -> tuple[str, str, bytes] | None:
        """(counter, topic, payload) of an item; None for one that cannot be read."""
        item = stored.item
        names = self._of(item.device)
        description = await self._context.feed.description(item.device, item.describe_crc)
        try:
            if item.kind == EVENT:
                return "event", names.event, topics.event_payload(decode_event(item, description))
            if item.kind != RECORD:
                return "event", names.event, topics.gap_payload(decode_gap(item, description))
            if description is not None:
                self._introduce(names, description)
                reading = decode_record(item, description)
                return "data", names.data, topics.data_payload(reading, description)
            why = f"no description {item.describe_crc:08x}"
        except ValueError as error:
            why = str(error)
        self._unreadable += 1
        _log.error(
            "an item cannot be published: device=%s boot=%d seq=%d: %s",
            item.device,
            item.boot,
            item.seq,
            why,
        )
        return None

    def _introduce(self, names: DeviceTopics, description: Description) -> None:
        """No data without a birth: of a device that has not come back since our start, too."""
        if names.birth not in self._retained:
            birth = topics.birth_payload(self._context.gateway_id, None, description)
            self._want(names.birth, birth)
        if names.availability not in self._retained:
            self._want(names.availability, OFFLINE)

    # --- answers --------------------------------------------------------------------------------

    def _answered(self, stored: Stored, lane: str, topic: str, code: int) -> None:
        if code < REFUSED:
            self._published[lane] += 1
            self._delivered(stored.id)
            return
        self._lane.refuse(stored.id, self._context.mono())
        self._refused(topic, code)

    def _answered_retained(self, topic: str, code: int) -> None:
        if code < REFUSED:
            self._published["retained"] += 1
            return
        self._retained.refuse(topic, self._context.mono())
        self._refused(topic, code)

    def _refused(self, topic: str, code: int) -> None:
        self._reasons[code] += 1
        self._wake.set()
        _log.error("the broker refuses topic=%s reason=0x%02X; tried again later", topic, code)

    def _delivered(self, key: int) -> None:
        before = self._lane.done
        self._lane.delivered(key)
        if self._lane.done != before:
            self._reader.done(self._lane.done)

    async def _farewell(self, connection: Connection) -> None:
        await connection.drained()
        self._retained.set(self._availability, OFFLINE)
        await connection.publish(self._availability, OFFLINE, retain=True)
