"""An MQTT subscriber that keeps what it gets, with a client of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import aiomqtt


class Message(NamedTuple):
    """One message as it came."""

    topic: str
    payload: bytes
    retained: bool
    qos: int

    @property
    def content(self) -> Any:  # noqa: ANN401 - whatever JSON says
        """The payload as JSON."""
        return json.loads(self.payload)


class Subscriber:
    """What came so far, in order."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

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
    port: int, pattern: str = "#", *, session: str | None = None, v5: bool = True
) -> AsyncIterator[Subscriber]:
    """A subscriber at QoS 1; with `session` its subscription outlives the connection."""
    protocol = aiomqtt.ProtocolVersion.V5 if v5 and session is None else None
    found = Subscriber()
    client = aiomqtt.Client(
        "127.0.0.1",
        port,
        identifier=session,
        protocol=protocol or aiomqtt.ProtocolVersion.V311,
        clean_session=None if protocol else session is None,
    )
    async with client:
        await client.subscribe(pattern, qos=1)

        async def collect() -> None:
            async for message in client.messages:
                assert isinstance(message.payload, bytes)
                found.messages.append(
                    Message(
                        message.topic.value, message.payload, bool(message.retain), message.qos
                    )
                )

        task = asyncio.create_task(collect())
        try:
            yield found
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                await task
