"""The clients that `clampwork bench mqtt` compares: one a process, each publishing the same.

Run as `python -m clamptools.mqttbench_clients NAME PORT WINDOW COUNT BYTES TOPIC`; prints seconds
and processor seconds from the first PUBLISH to the last PUBACK, connecting not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from clampgateway.mqttsession import Broker, Connection, MqttSession, Will

HOST = "127.0.0.1"


class Load(NamedTuple):
    """What to publish: `messages` of `size` bytes, `window` at a time unanswered."""

    port: int
    window: int
    messages: int
    size: int
    topic: str


class Clock:
    """Seconds and processor seconds since it was made."""

    def __init__(self) -> None:
        self._begun_s, self._cpu_s = time.perf_counter(), time.process_time()

    def tell(self) -> None:
        """Prints them."""
        seconds = time.perf_counter() - self._begun_s
        cpu_s = time.process_time() - self._cpu_s
        print(json.dumps({"seconds": seconds, "cpu_s": cpu_s}))


async def session(load: Load, protocol: str = "5") -> None:
    """Clampwork's own, as a bridge uses it."""
    answered, finished = 0, asyncio.Event()

    def on_ack(_code: int) -> None:
        nonlocal answered
        answered += 1

    async def serve(connection: Connection) -> None:
        payload = bytes(load.size)
        clock = Clock()
        for _ in range(load.messages):
            if not connection.has_room:
                await connection.room()
            connection.send(load.topic, payload, on_ack)
        await connection.drained()
        clock.tell()
        assert answered == load.messages
        finished.set()
        await asyncio.Event().wait()

    async def farewell(_connection: Connection) -> None:
        """None."""

    broker = Broker(HOST, load.port, "bench-session", protocol, window=load.window)
    running = asyncio.create_task(
        MqttSession([broker], lambda: Will("bench/will", b"")).run(serve, farewell)
    )
    await finished.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def session_311(load: Load) -> None:
    """Clampwork's own with MQTT 3.1.1."""
    await session(load, "3.1.1")


async def aiomqtt(load: Load) -> None:
    """Tasks that each publish and wait."""
    import aiomqtt as library

    logging.getLogger("mqtt").setLevel(logging.ERROR)  # it warns of every call above ten
    left = iter(range(load.messages))
    payload = bytes(load.size)
    async with library.Client(
        HOST,
        load.port,
        protocol=library.ProtocolVersion.V5,
        max_inflight_messages=load.window,
        max_concurrent_outgoing_calls=load.window,
    ) as client:

        async def publish() -> None:
            for _ in left:
                await client.publish(load.topic, payload, qos=1)

        clock = Clock()
        await asyncio.gather(*(publish() for _ in range(load.window)))
        clock.tell()


async def paho(load: Load) -> None:
    """paho's own loop in this thread."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    client = Client(CallbackAPIVersion.VERSION2, "bench-paho", protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(load.window)
    answered = 0

    def on_publish(*_: object) -> None:
        nonlocal answered
        answered += 1

    client.on_publish = on_publish
    client.connect(HOST, load.port)
    while not client.is_connected():
        client.loop(0.1)
    payload = bytes(load.size)
    sent = 0
    clock = Clock()
    while answered < load.messages:
        while sent < load.messages and sent - answered < load.window:
            client.publish(load.topic, payload, 1)
            sent += 1
        client.loop(1.0)
    clock.tell()
    client.disconnect()


class _Floor(asyncio.Protocol):
    """Packets made beforehand, and nothing understood of the answers but their number."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._sent = self._answered = 0
        self._rest = 0
        self._clock: Clock | None = None
        self.finished = asyncio.Event()
        topic = load.topic.encode()
        body = len(topic).to_bytes(2, "big") + topic + b"\0\x01\0" + bytes(load.size)
        size = len(body)
        assert 128 <= size < 16384
        self._packet = bytes((0x32, size & 0x7F | 0x80, size >> 7)) + body

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"\x10\x12\0\x04MQTT\x05\x02\0\x3c\0\0\x05floor")

    def data_received(self, data: bytes) -> None:
        if self._clock is None:
            self._clock = Clock()
        else:
            # Nobody has subscribed: a PUBACK of five bytes with the reason 0x10.
            self._rest += len(data)
            count, self._rest = divmod(self._rest, 5)
            self._answered += count
        if self._answered == self._load.messages:
            self._clock.tell()
            self._transport.write(b"\xe0\0")
            self._transport.close()
            self.finished.set()
            return
        room = self._load.window - (self._sent - self._answered)
        more = min(room, self._load.messages - self._sent)
        self._sent += more
        self._transport.write(self._packet * more)


async def floor(load: Load) -> None:
    """What asyncio itself can do: one packet again and again, answers counted by their bytes."""
    loop = asyncio.get_running_loop()
    _transport, protocol = await loop.create_connection(lambda: _Floor(load), HOST, load.port)
    await protocol.finished.wait()


CLIENTS: dict[str, Callable[[Load], Awaitable[None]]] = {
    "clampwork": session,
    "clampwork-311": session_311,
    "aiomqtt": aiomqtt,
    "paho": paho,
    "asyncio-floor": floor,
}

if __name__ == "__main__":
    _name, _port, _window, _count, _size, _topic = sys.argv[1:]
    asyncio.run(
        CLIENTS[_name](Load(int(_port), int(_window), int(_count), int(_size), _topic))  # type: ignore[arg-type]
    )
