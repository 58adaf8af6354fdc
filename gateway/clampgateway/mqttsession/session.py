"""One MQTT connection after another to one broker: will, acknowledged publishing, back-off.

Owns everything of aiomqtt and paho, so that another client can take their place in this file.
What is published, and what to do about a refusal, is the caller's.

A PUBACK of MQTT 5 carries a reason code, and 0x80 or above means that the broker did not take the
message. aiomqtt 2.5.1 returns from `publish` all the same, so messages go through its paho client,
whose on_publish has the code. MQTT 3.1.1 has no code: a broker acknowledges what it threw away.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NoReturn

import aiomqtt
from paho.mqtt.client import MQTT_ERR_SUCCESS
from paho.mqtt.client import Client as Paho
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from clampgateway.mqttsession.values import Broker, SessionLost, Tally, Will

_log = logging.getLogger(__name__)

TAKEN_OVER = 0x8E
WRONG_VERSION = 0x84
PROTOCOLS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}

CONNECT_S = 4.0
BACKOFF_FIRST_S = 0.5
# In flight without an answer for so long: the other end is gone, whatever TCP says.
ACK_S = 20.0
FAREWELL_S = 2.0


class Connection:
    """One established connection. Publishes at QoS 1, at most `window` unanswered at a time."""

    def __init__(self, paho: Paho, window: int, tally: Tally, mono: Callable[[], float]) -> None:
        self.window = window
        self._paho = paho
        self._tally = tally
        self._mono = mono
        self._pending: dict[int, tuple[Callable[[int], None], float]] = {}
        self._moved = asyncio.Event()
        self._inner: tuple[Any, Any] = (paho.on_connect, paho.on_disconnect)  # aiomqtt's own
        self.end_reason: ReasonCode | None = None
        self.acked = 0
        paho.on_publish = self._on_publish
        paho.on_connect = self._on_connect
        paho.on_disconnect = self._on_disconnect

    @property
    def in_flight(self) -> int:
        """Published and not answered."""
        return len(self._pending)

    @property
    def ended(self) -> bool:
        """Whether there is no connection any more."""
        return self._paho.socket() is None

    @property
    def waits_s(self) -> float:
        """For how long the oldest unanswered message waits; 0 without one."""
        for _on_ack, sent in self._pending.values():
            return self._mono() - sent
        return 0.0

    def take_over_writing(self) -> None:
        """From now on the loop learns at once that there is something to write.

        aiomqtt tells it one turn later, because paho connects in a thread; by then the socket may
        be closed, or its number belong to another one.
        """
        loop = asyncio.get_running_loop()

        def on_register(_client: Paho, _data: object, sock: Any) -> None:  # noqa: ANN401
            loop.add_writer(sock.fileno(), self._paho.loop_write)

        self._paho.on_socket_register_write = on_register

    async def room(self) -> None:
        """Waits until a message may be sent."""
        while len(self._pending) >= self.window:
            self._moved.clear()
            await self._moved.wait()

    async def drained(self) -> None:
        """Waits until every message is answered."""
        while self._pending:
            self._moved.clear()
            await self._moved.wait()

    def send(
        self, topic: str, payload: bytes, on_ack: Callable[[int], None], *, retain: bool = False
    ) -> None:
        """Publishes; call it when there is room. `on_ack` gets the reason code of the PUBACK.

        If the connection ends first, `on_ack` is never called. Raises SessionLost if it has ended.
        """
        info = self._paho.publish(topic, payload, qos=1, retain=retain)
        if info.rc != MQTT_ERR_SUCCESS:
            raise SessionLost(f"publish of {len(payload)} bytes failed with paho's {info.rc!s}")
        self._pending[info.mid] = (on_ack, self._mono())
        self._tally.sent += 1

    async def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Publishes and waits for the PUBACK; returns its reason code. Raises SessionLost."""
        await self.room()
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def on_ack(code: int) -> None:
            if not answer.done():
                answer.set_result(code)

        self.send(topic, payload, on_ack, retain=retain)
        return await answer

    def _on_publish(
        self, _client: Paho, _data: object, mid: int, reason: ReasonCode, _properties: Properties
    ) -> None:
        code = reason.value
        self._tally.answered(code)
        self.acked += 1
        on_ack, _sent = self._pending.pop(mid)
        self._moved.set()
        on_ack(code)

    def _on_connect(self, *arguments: Any) -> None:  # noqa: ANN401 - paho's, passed on
        # (client, data, flags, reason, properties); properties is None on 3.1.1
        limit = getattr(arguments[4], "ReceiveMaximum", 0)
        if limit:
            self.window = min(self.window, limit)
        self._inner[0](*arguments)

    def _on_disconnect(self, *arguments: Any) -> None:  # noqa: ANN401 - paho's, passed on
        # As above.
        self.end_reason = arguments[3]
        self._inner[1](*arguments)


class MqttSession:
    """Keeps a connection to a broker, without end.

    Args:
        broker: Where to.
        will: Made anew for every connection.
        mono: The monotonic clock, in seconds.
        sleep: How the back-off waits.
    """

    def __init__(
        self,
        broker: Broker,
        will: Callable[[], Will],
        mono: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._broker = broker
        self._will = will
        self._mono = mono
        self._sleep = sleep
        self._connection: Connection | None = None
        self._worked = False
        self._error = ""
        self.tally = Tally()

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._connection is not None

    async def run(
        self,
        serve: Callable[[Connection], Awaitable[None]],
        farewell: Callable[[Connection], Awaitable[None]],
    ) -> NoReturn:
        """Connects, and again and again, until cancelled.

        `serve` runs on each connection and is cancelled when that is lost. `farewell` is what to
        publish when this method is cancelled or `serve` raises an error of its own, which ends
        it; a DISCONNECT follows, so the will stays unpublished.
        """
        failed = 0
        while True:
            self._worked = False
            try:
                await self._connect_and_serve(serve, farewell)
            except SessionLost as error:
                self._error = str(error)
            if self._worked:
                failed = 0
            # Half of it at random: a shop full of gateways shall not come back as one.
            full_s = min(self._broker.backoff_max_s, BACKOFF_FIRST_S * 2**failed)
            delay_s = full_s * random.uniform(0.5, 1.0)
            failed = min(failed + 1, 30)
            host, port = self._broker.host, self._broker.port
            _log.warning("no connection to broker=%s:%d: %s", host, port, self._error)
            await self._sleep(delay_s)

    def stats(self) -> dict[str, Any]:
        """Counters, and why there is no connection ("" if there is one)."""
        tally = self.tally
        return {
            "connected": self.connected,
            "error": "" if self.connected else self._error,
            "in_flight": self._connection.in_flight if self._connection else 0,
            "connects": tally.connects,
            "failures": tally.failures,
            "losses": tally.losses,
            "taken_over": tally.taken_over,
            "sent": tally.sent,
            "acked": tally.acked,
            "refused": tally.refused,
            "no_subscribers": tally.no_subscribers,
        }

    async def _connect_and_serve(
        self,
        serve: Callable[[Connection], Awaitable[None]],
        farewell: Callable[[Connection], Awaitable[None]],
    ) -> None:
        client, connection = await self._connect()
        self._connection = connection
        serving = asyncio.ensure_future(serve(connection))
        watching = [
            asyncio.create_task(_until_silent(connection)),
            asyncio.create_task(_until_lost(client)),
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
            await _close(client)

    async def _ended(
        self,
        connection: Connection,
        serving: asyncio.Future[None],
        watching: list[asyncio.Task[NoReturn]],
    ) -> NoReturn:
        """Raises why a connection is over: an error of the caller's first, then its loss."""
        error = serving.exception() if serving.done() else None
        if error is not None and not isinstance(error, SessionLost):
            raise error
        reason = connection.end_reason
        if reason is not None and reason.value == TAKEN_OVER:
            # The back-off goes on: starting small again would be a fight with the other one.
            self.tally.taken_over += 1
            raise SessionLost(
                f"another client took over client_id={self._broker.client_id}: "
                "give each gateway an id of its own"
            )
        self._worked = connection.acked > 0
        for task in watching:
            if task.done():
                await task
        raise error or SessionLost("serving ended by itself")

    async def _connect(self) -> tuple[aiomqtt.Client, Connection]:
        """Connects, with a new client each time: nothing of the last connection is left."""
        broker, will = self._broker, self._will()
        client = aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=broker.password,
            logger=_log.getChild("paho"),
            identifier=broker.client_id,
            protocol=PROTOCOLS[broker.protocol],
            will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
            timeout=CONNECT_S,
            keepalive=broker.keepalive_s,
            # Our window is the limit; paho would hold back what is above its own.
            max_inflight_messages=0,
            socket_options=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        )
        paho = client._client  # noqa: SLF001 - see the module; test_mqttsession watches it
        paho.connect_timeout = CONNECT_S
        connection = Connection(paho, broker.window, self.tally, self._mono)
        try:
            await client.__aenter__()
        except aiomqtt.MqttError as error:
            self.tally.failures += 1
            await _close(client)
            raise SessionLost(self._explain(error)) from error
        connection.take_over_writing()
        self.tally.connects += 1
        _log.info(
            "connected broker=%s:%d protocol=%s client_id=%s window=%d",
            broker.host,
            broker.port,
            broker.protocol,
            broker.client_id,
            connection.window,
        )
        return client, connection

    def _explain(self, error: aiomqtt.MqttError) -> str:
        reason = getattr(error, "rc", None)
        wrong_version = isinstance(reason, ReasonCode) and reason.value == WRONG_VERSION
        silent = str(error) == "Operation timed out"
        if self._broker.protocol == "5" and (wrong_version or silent):
            # A broker of 3.1.1 says so, or cannot even read the CONNECT.
            return f'{error}; a broker that speaks 3.1.1 only needs protocol = "3.1.1"'
        return str(error)

    async def _say(
        self, farewell: Callable[[Connection], Awaitable[None]], connection: Connection
    ) -> None:
        try:
            async with asyncio.timeout(FAREWELL_S):
                await farewell(connection)
        except (TimeoutError, SessionLost) as error:
            _log.warning("the farewell did not reach the broker: %s", error or "timeout")


async def _until_lost(client: aiomqtt.Client) -> NoReturn:
    try:
        # Nothing is subscribed; the iterator tells when the connection ends.
        async for _message in client.messages:
            pass
    except aiomqtt.MqttError as error:
        raise SessionLost(f"connection lost: {error.__cause__ or error}") from error
    raise SessionLost("connection lost")


async def _until_silent(connection: Connection) -> NoReturn:
    while True:
        await asyncio.sleep(1.0)
        # aiomqtt forgets an end that comes in the moment of the CONNACK.
        if connection.ended:
            raise SessionLost(f"connection lost: {connection.end_reason}")
        if connection.waits_s > ACK_S:
            raise SessionLost(f"no PUBACK for {ACK_S:g} s")


async def _cancel(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _close(client: aiomqtt.Client) -> None:
    """Sends DISCONNECT where there is a connection, and leaves no socket behind."""
    paho = client._client  # noqa: SLF001 - aiomqtt leaves a half-made connection open
    paho.disconnect()
    for _ in range(50):
        if paho.socket() is None:
            return
        await asyncio.sleep(0.01)
    open_socket = paho.socket()
    if isinstance(open_socket, socket.socket):
        # The other end does not take a DISCONNECT any more.
        loop = asyncio.get_running_loop()
        loop.remove_reader(open_socket)
        loop.remove_writer(open_socket)
        open_socket.close()
