"""MQTT sessions for tests: to one port, with a will and no farewell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from clampgateway.mqttsession import Broker, Connection, MqttSession, Will

CLIENT_ID = "gateway-test"
WILL = Will("allowed/availability", b"offline")
Serve = Callable[[Connection], Awaitable[None]]


async def nothing(_connection: Connection) -> None:
    """No farewell."""


async def forever(_connection: Connection) -> NoReturn:
    """Serves without doing anything."""
    await asyncio.Event().wait()
    raise AssertionError


def broker_at(port: int, protocol: str = "5", **options: Any) -> Broker:  # noqa: ANN401
    """A broker on loopback; options as for Broker."""
    return Broker("127.0.0.1", port, CLIENT_ID, protocol, **options)


def session_to(port: int, protocol: str = "5", **options: Any) -> MqttSession:  # noqa: ANN401
    """A session with one broker on loopback; options as for Broker."""
    return MqttSession([broker_at(port, protocol, **options)], lambda: WILL)


async def on_one_connection(
    port: int,
    serve: Serve,
    protocol: str = "5",
    **options: Any,  # noqa: ANN401
) -> MqttSession:
    """Runs `serve` to its end on one connection, then stops the session."""
    return await served(session_to(port, protocol, **options), serve)


async def served(session: MqttSession, serve: Serve) -> MqttSession:
    """Runs `serve` to its end on one connection of a session, then stops it."""
    done = asyncio.Event()

    async def once(connection: Connection) -> None:
        await serve(connection)
        done.set()
        await forever(connection)

    running = asyncio.create_task(session.run(once, nothing))
    finished = asyncio.create_task(done.wait())
    await asyncio.wait([running, finished], return_when=asyncio.FIRST_COMPLETED, timeout=30)
    finished.cancel()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert done.is_set(), session.stats()["error"]
    return session


class Ends:
    """The back-off of a session that waits for nothing: keeps why each connection ended.

    Args:
        count: After so many the session is cancelled.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.session: MqttSession | None = None
        self.reasons: list[str] = []
        self.delays_s: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """What the session calls between two tries."""
        assert self.session is not None
        self.reasons.append(self.session.stats()["error"])
        self.delays_s.append(seconds)
        if len(self.reasons) >= self.count:
            raise asyncio.CancelledError
        await asyncio.sleep(0.01)

    async def of(self, brokers: list[Broker], serve: Serve = forever) -> MqttSession:
        """Runs a session on these brokers until it has ended so often."""
        self.session = MqttSession(brokers, lambda: WILL, sleep=self.sleep)
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(30):
                await self.session.run(serve, nothing)
        return self.session
