"""An MQTT subscriber that keeps what it gets, with a client of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiomqtt


class Message(NamedTuple):
    """One message as it came."""

    topic: str
    payload: bytes
    retained: bool
    qos: int
    at_s: float  # monotonic

    @property
    def content(self) -> Any:  # noqa: ANN401 - whatever JSON says
        """The payload as JSON."""
        return json.loads(self.payload)


class Subscriber:
    """What came so far, in order. One without a client only collects what others got."""

    def __init__(self, client: aiomqtt.Client | None = None) -> None:
        self.messages: list[Message] = []
        self._client = client
        self._mark = ""
        self._marked = asyncio.Event()

    async def run(self) -> None:
        """Collects."""
        assert self._client is not None
        async for message in self._client.messages:
            if message.topic.value == self._mark:
                self._marked.set()
                continue
            assert isinstance(message.payload, bytes)
            flags = bool(message.retain), message.qos
            self.messages.append(
                Message(message.topic.value, message.payload, *flags, time.monotonic())
            )

    async def caught_up(self, below: str = "mark", timeout_s: float = 20.0) -> None:
        """Waits until all is here that the broker had acknowledged before.

        A broker hands on in the order in which it took, so a mark of our own comes last: behind
        it nothing of before can come, however slow this machine is. Its topic is `below` one
        that an access list allows.
        """
        assert self._client is not None
        self._mark = f"{below}/{uuid.uuid4().hex}"
        self._marked.clear()
        await self._client.subscribe(self._mark, qos=1)
        await self._client.publish(self._mark, b"", qos=1)
        async with asyncio.timeout(timeout_s):
            await self._marked.wait()

    async def publish(self, topic: str, payload: object) -> None:
        """Publishes JSON, as a platform that asks for something."""
        assert self._client is not None
        await self._client.publish(topic, json.dumps(payload), qos=1)

    def on(self, end: str) -> list[Message]:
        """Messages whose topic ends so."""
        return [each for each in self.messages if each.topic.endswith(end)]

    def seqs(self, end: str = "/data") -> list[int]:
        """The record numbers of these messages, in order of arrival."""
        return [each.content["seq"] for each in self.on(end)]

    def records(self, start: str = "") -> list[dict[str, Any]]:
        """All records of topics that begin so, live ones and those in arrays, as they came."""
        found: list[dict[str, Any]] = []
        for each in self.messages:
            if each.topic.startswith(start) and each.topic.endswith("/data"):
                found.append(each.content)
            elif each.topic.startswith(start) and each.topic.endswith("/history"):
                found += each.content
        return found

    def last(self, end: str) -> bytes | None:
        """The newest payload of such a topic."""
        found = self.on(end)
        return found[-1].payload if found else None


@contextlib.asynccontextmanager
async def subscribed(
    port: int,
    pattern: str = "#",
    *,
    session: str | None = None,
    v5: bool = True,
    login: tuple[str, str] | None = None,
) -> AsyncIterator[Subscriber]:
    """A subscriber at QoS 1; with `session` its subscription outlives the connection.

    `login` is a user's name and password.
    """
    username, password = login or (None, None)
    protocol = aiomqtt.ProtocolVersion.V5 if v5 and session is None else None
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=session,
        username=username,
        password=password,
        protocol=protocol or aiomqtt.ProtocolVersion.V311,
        clean_session=None if protocol else session is None,
    )
    async with client:
        await client.subscribe(pattern, qos=1)
        found = Subscriber(client)
        task = asyncio.create_task(found.run())
        try:
            yield found
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task
