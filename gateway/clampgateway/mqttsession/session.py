"""One MQTT connection after another to the brokers of a list: will, farewell, back-off.

What is published, and what to do about a refusal, is the caller's, and so is keeping what was not
acknowledged: every connection begins with a clean session, and the caller sends again. Nothing
that was meant for a gateway an hour ago is done late, and a take-over is not fought.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

from clampgateway.mqttsession import keepalive, packets, reasons
from clampgateway.mqttsession.connection import Connection
from clampgateway.mqttsession.dialling import Refused, dial
from clampgateway.mqttsession.values import Broker, SessionLost, Tally, Will

_log = logging.getLogger(__name__)

BACKOFF_FIRST_S = 0.5
FAREWELL_S = 2.0
_CLOSE_S = 0.5

Serve = Callable[[Connection], Awaitable[None]]


class MqttSession:
    """Keeps a connection to one of its brokers, without end.

    Args:
        brokers: Where to: the first, and after a failure the next, round and round.
        will: Made anew for every connection.
        mono: The monotonic clock, in seconds.
        sleep: How the back-off waits.
    """

    def __init__(
        self,
        brokers: Sequence[Broker],
        will: Callable[[], Will],
        mono: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._brokers = tuple(brokers)
        if not self._brokers:
            raise ValueError("a session needs a broker")
        self._will = will
        self._mono = mono
        self._sleep = sleep
        self._at = 0
        self._connection: Connection | None = None
        self._worked = False
        self._error = ""
        # Largest packet that a broker takes, where it was found out the hard way.
        self._found_max: dict[str, int] = {}
        self.tally = Tally()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    @property
    def broker(self) -> Broker:
        """The broker of this connection, or of the next try."""
        return self._brokers[self._at]

    async def run(self, serve: Serve, farewell: Serve) -> NoReturn:
        """Connects, and again and again, until cancelled.

        `serve` runs on each connection and is cancelled when that is lost. `farewell` is what to
        publish when this method is cancelled or `serve` raises an error of its own, which ends
        it; a DISCONNECT follows, so the will stays unpublished.
        """
        failed = 0
        while True:
            self._worked = False
            broker = self.broker
            try:
                await self._connect_and_serve(serve, farewell)
            except SessionLost as error:
                self._error = str(error)
            if self._worked:
                failed = 0
            # Half of it at random: a shop full of gateways shall not come back as one.
            round_ = failed // len(self._brokers)
            full_s = min(broker.backoff_max_s, BACKOFF_FIRST_S * 2**round_)
            delay_s = full_s * random.uniform(0.5, 1.0)
            failed = min(failed + 1, 30 * len(self._brokers))
            _log.warning("no connection to broker=%s: %s", broker.name, self._error)
            await self._sleep(delay_s)

    def stats(self) -> dict[str, Any]:
        """Counters, and why there is no connection ("" if there is one)."""
        tally = self.tally
        connection = self._connection
        return {
            "connected": self.connected,
            "broker": self.broker.name,
            "error": "" if self.connected else self._error,
            "in_flight": connection.in_flight if connection else 0,
            "window": connection.window if connection else 0,
            "connects": tally.connects,
            "failures": tally.failures,
            "losses": tally.losses,
            "taken_over": tally.taken_over,
            "throttled": tally.throttled,
            "sent": tally.sent,
            "acked": tally.acked,
            "refused": tally.refused,
            "no_subscribers": tally.no_subscribers,
            "too_large": tally.too_large,
            "stray": tally.stray,
            "received": tally.received,
            "oversize": tally.oversize,
            "overrun": tally.overrun,
            "answers_dropped": tally.answers_dropped,
        }

    # --- one connection -------------------------------------------------------------------------

    async def _connect_and_serve(self, serve: Serve, farewell: Serve) -> None:
        connection = await self._connect()
        self._connection = connection
        serving = asyncio.ensure_future(serve(connection))
        watching = [
            asyncio.create_task(_until_lost(connection)),
            asyncio.create_task(_watch(connection, self._mono)),
            asyncio.create_task(connection.deliver()),
        ]
        try:
            await asyncio.wait([serving, *watching], return_when=asyncio.FIRST_COMPLETED)
            await self._ended(connection, serving, watching)
        except SessionLost:
            self.tally.losses += 1
            raise
        except BaseException:
            # Cancelled, or an error of the caller's: the broker is still there to be told.
            await _cancel([serving])
            await self._say(farewell, connection)
            raise
        finally:
            self._connection = None
            await _cancel([serving, *watching])
            await connection.line.close(_CLOSE_S)

    async def _connect(self) -> Connection:
        broker = self.broker
        try:
            connection = await dial(broker, self._will(), self.tally, self._mono)
        except SessionLost as error:
            self.tally.failures += 1
            if isinstance(error, Refused) and error.code in reasons.THROTTLING:
                self.tally.throttled += 1
            self._next(error.server if isinstance(error, Refused) else "")
            raise
        found_max = self._found_max.get(broker.name)
        if found_max is not None:
            connection.packet_max = min(connection.packet_max, found_max)
        self.tally.connects += 1
        _log.info(
            "connected broker=%s protocol=%s tls=%s client_id=%s window=%d keepalive_s=%d",
            broker.name,
            broker.protocol,
            broker.tls is not None,
            broker.client_id,
            connection.window,
            connection.keepalive_s,
        )
        return connection

    async def _ended(
        self,
        connection: Connection,
        serving: asyncio.Future[None],
        watching: list[asyncio.Task[NoReturn]],
    ) -> NoReturn:
        """Raises why a connection is over: an error of the caller's first, then its loss."""
        done = [each for each in (serving, *watching) if each.done()]
        errors = [error for each in done if (error := each.exception()) is not None]
        for error in errors:
            if not isinstance(error, SessionLost):
                raise error
        code = connection.end_code
        if code == reasons.TAKEN_OVER:
            # The back-off goes on: starting small again would be a fight with the other one.
            self.tally.taken_over += 1
            raise SessionLost(
                f"another client took over client_id={connection.broker.client_id}: "
                "give each gateway an id of its own"
            )
        if code in reasons.THROTTLING:
            self.tally.throttled += 1
        else:
            self._worked = connection.acked > 0
        if code == reasons.TOO_LARGE and connection.largest:
            # Whatever it was, the same again would end the next connection as well.
            self._found_max[connection.broker.name] = connection.largest - 1
        if code in (reasons.OTHER_SERVER, reasons.SERVER_MOVED):
            self._next(connection.end_server)
        # The line knows why; whoever waited for something on it knows only that.
        error = connection.line.error if connection.line.ended else None
        raise error or (errors[0] if errors else SessionLost("serving ended by itself"))

    def _next(self, server: str = "") -> None:
        """The broker to try next: the one that is named, if it is in the list."""
        names = [each.name for each in self._brokers]
        for name in server.split():
            if name in names:
                self._at = names.index(name)
                return
        self._at = (self._at + 1) % len(self._brokers)

    async def _say(self, farewell: Serve, connection: Connection) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await farewell(connection)
        except (TimeoutError, SessionLost) as error:
            _log.warning("the farewell did not reach the broker: %s", error or "timeout")


async def _until_lost(connection: Connection) -> NoReturn:
    await connection.line.closed.wait()
    raise connection.line.error or SessionLost("connection lost")


async def _watch(connection: Connection, mono: Callable[[], float]) -> NoReturn:
    """Asks a silent broker whether it is there, and gives up one that is not."""
    line = connection.line
    watch = keepalive.Keepalive(connection.keepalive_s, mono())
    while True:
        await asyncio.sleep(watch.every_s)
        found = watch.look(mono(), line.received_s, line.sent_s, connection.oldest, line.unwritten)
        if found == keepalive.PING:
            line.write(packets.PING)
        elif found == keepalive.SILENT:
            raise SessionLost(f"no PUBACK for {keepalive.ACK_S:g} s")
        elif found == keepalive.GONE:
            raise SessionLost(
                f"the broker is silent, even when asked (keepalive {connection.keepalive_s} s)"
            )


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
