"""The demo's MQTT subscriber: QoS 1, a persistent session, every message with its arrival time.

Owns the connection and takes topics apart. What the messages mean is the account's and the
view's business.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import aiomqtt

from clamptools.demo.account import Account
from clamptools.liveview import View

RETRY_S = 0.2
CONNECT_TIMEOUT_S = 5.0
_ITEMS = ("data", "event", "history")


class Subscriber:
    """Feeds an account and a view from a broker until cancelled.

    Args:
        host, port: The broker.
        root: First part of the topics.
        identifier: Client id; with it the broker keeps what comes while we are away.
        account: Gets every record, event and gap.
        view: Gets every message.
        protocol: MQTT version; 3.1.1 is what every broker speaks.
        on_answer: Gets the gateway's answers to commands that were sent by MQTT.
    """

    def __init__(
        self,
        host: str,
        port: int,
        root: str,
        identifier: str,
        account: Account,
        view: View,
        protocol: aiomqtt.ProtocolVersion = aiomqtt.ProtocolVersion.V311,
        on_answer: Callable[[dict[str, Any]], None] = lambda _content: None,
    ) -> None:
        self._host = host
        self._port = port
        self._root = root
        self._identifier = identifier
        self._account = account
        self._view = view
        self._protocol = protocol
        self._on_answer = on_answer
        self._client: aiomqtt.Client | None = None
        self._receiving: asyncio.Task[None] | None = None
        self._present = asyncio.Event()
        self._present.set()
        self.subscribed = asyncio.Event()
        self.connections = 0
        self.odd: list[str] = []
        self.topics: set[str] = set()

    async def run(self) -> None:
        """Receives for ever; connects again when the broker is gone."""
        while True:
            await self._present.wait()
            self._receiving = asyncio.create_task(self._receive())
            try:
                await asyncio.wait([self._receiving])
                if not self._receiving.cancelled():
                    self._receiving.result()
            except aiomqtt.MqttError:
                await asyncio.sleep(RETRY_S)
            finally:
                self._client = None
                self._receiving.cancel()

    def leave(self) -> None:
        """Be away until `come_back`: the broker keeps for us what it takes meanwhile."""
        self._present.clear()
        if self._receiving is not None:
            self._receiving.cancel()

    def come_back(self) -> None:
        """End of being away."""
        self._present.set()

    async def _receive(self) -> None:
        """Until the connection is lost. Raises aiomqtt.MqttError."""
        async with aiomqtt.Client(
            self._host,
            self._port,
            identifier=self._identifier,
            clean_session=False,
            protocol=self._protocol,
            timeout=CONNECT_TIMEOUT_S,
            max_queued_incoming_messages=0,
        ) as client:
            self.connections += 1
            await client.subscribe(f"{self._root}/#", qos=1)
            self.subscribed.set()
            self._client = client
            async for message in client.messages:
                payload = message.payload
                self.took(
                    message.topic.value,
                    bytes(payload) if isinstance(payload, bytes | bytearray) else b"",
                    time.time() * 1000,
                )

    async def command(self, site: str, device: str, name: str, payload: bytes) -> bool:
        """Send a command to a device by MQTT, QoS 1; whether the broker took it."""
        if self._client is None:
            return False
        topic = f"{self._root}/{site}/{device}/cmd/{name}"
        try:
            await self._client.publish(topic, payload, qos=1, timeout=CONNECT_TIMEOUT_S)
        except aiomqtt.MqttError:
            return False
        return True

    def took(self, topic: str, payload: bytes, at_ms: float) -> None:
        """One message. One that is not what docs/topics.md says is kept in `odd`."""
        self.topics.add(topic)
        self._view.took(topic, payload)
        parts = topic.removeprefix(self._root + "/").split("/")
        if parts[2:3] == ["cmd"] and parts[4:] == ["result"]:
            self._took_answer(topic, payload)
        if len(parts) != 3 or parts[2] not in _ITEMS:
            return
        _site, device, kind = parts
        try:
            for content in _items(kind, payload):
                self._account.add_received(device, kind, content, at_ms)
        except (ValueError, KeyError, TypeError) as error:
            self.odd.append(f"{topic}: {payload[:200]!r}: {error!r}")

    def _took_answer(self, topic: str, payload: bytes) -> None:
        try:
            (content,) = _items("answer", payload)
        except (ValueError, TypeError) as error:
            self.odd.append(f"{topic}: {payload[:200]!r}: {error!r}")
        else:
            self._on_answer(content)


def _items(kind: str, payload: bytes) -> list[dict[str, Any]]:
    content = json.loads(payload)
    items = content if kind == "history" else [content]
    if not all(isinstance(item, dict) for item in items):
        raise TypeError("a JSON object is expected")
    return items
