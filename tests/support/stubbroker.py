"""A broker that misbehaves on request: refuses, keeps silent, limits, or never answers a PUBLISH.

It speaks just enough MQTT to be believed, and keeps what it got. A real mosquitto is used where
one can be made to do the same. Nothing of the client's own code is used to read or write packets.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

CONNECT, PUBLISH, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 1, 3, 4, 8, 12, 14


@dataclass
class StubBroker:
    """What to do, and what came.

    Args:
        v5: Whether it speaks MQTT 5; else 3.1.1.
        connack: The CONNACK's reason code; None for no answer at all.
        properties: Of the CONNACK, encoded, without their length.
        receive_maximum: Announced in the CONNACK if not 0.
        ack: The reason code of every PUBACK; None for no PUBACK.
        acks: Reason codes by payload, before `ack`.
        suback: The code for every filter.
        disconnect: Reason code of a DISCONNECT sent after the CONNACK; None for none.
        pings: Whether a PINGREQ is answered.
        one_by_one: Whether every byte is sent alone.
        after: Sent behind the CONNACK.
    """

    v5: bool = True
    connack: int | None = 0
    properties: bytes = b""
    receive_maximum: int = 0
    ack: int | None = 0
    acks: dict[bytes, int] = field(default_factory=dict)
    suback: int = 1
    disconnect: int | None = None
    pings: bool = True
    one_by_one: bool = False
    after: bytes = b""
    port: int = 0
    connects: int = 0
    connect_bodies: list[bytes] = field(default_factory=list)
    published: list[bytes] = field(default_factory=list)
    publishes: list[tuple[int, bytes]] = field(default_factory=list)
    answered: list[tuple[int, int]] = field(default_factory=list)
    pinged: int = 0
    goodbyes: list[int] = field(default_factory=list)
    _unacked: list[tuple[asyncio.StreamWriter, bytes]] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._open)

    @property
    def said_goodbye(self) -> bool:
        """Whether a DISCONNECT came."""
        return bool(self.goodbyes)

    def ack_all(self, code: int) -> None:
        """Answers every PUBLISH that has no answer yet, and further ones from now on."""
        self.ack = code
        for writer, packet_id in self._unacked:
            self._send(writer, b"\x40\x03" + packet_id + bytes([code]))
        self._unacked.clear()

    def say(self, data: bytes) -> None:
        """Sends bytes to every client."""
        for writer in self._open:
            self._send(writer, data)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until it goes."""
        self._open.add(writer)
        try:
            while True:
                await self._packet(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()

    async def _packet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = (await reader.readexactly(1))[0]
        size = shift = 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        body = await reader.readexactly(size)
        kind = first >> 4
        if kind == CONNECT:
            self._connected(writer, body)
        elif kind == PUBLISH:
            self.publishes.append((first, body))
            self._published(writer, body)
        elif kind == PUBACK:
            self.answered.append((int.from_bytes(body[:2], "big"), body[2] if size > 2 else 0))
        elif kind == SUBSCRIBE:
            self._subscribed(writer, body)
        elif kind == PINGREQ:
            self.pinged += 1
            if self.pings:
                self._send(writer, b"\xd0\x00")
        elif kind == DISCONNECT:
            self.goodbyes.append(body[0] if body else 0)

    def _connected(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        self.connects += 1
        self.connect_bodies.append(body)
        if self.connack is None:
            return
        answer = bytes([0, self.connack])
        if self.v5:
            properties = self.properties
            if self.receive_maximum:
                properties += b"\x21" + self.receive_maximum.to_bytes(2, "big")
            answer += bytes([len(properties)]) + properties
        self._send(writer, bytes([0x20, len(answer)]) + answer + self.after)
        if self.connack:
            writer.close()
        elif self.disconnect is not None:
            self._send(writer, bytes([0xE0, 1, self.disconnect]))
            writer.close()

    def _published(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        packet_id = body[at : at + 2]
        at += 2
        if self.v5:
            assert body[at] < 128, "properties of a length that this stub does not read"
            at += 1 + body[at]
        payload = body[at:]
        self.published.append(payload)
        code = self.acks.get(payload, self.ack)
        if code is None:
            self._unacked.append((writer, packet_id))
        elif self.v5:
            self._send(writer, b"\x40\x03" + packet_id + bytes([code]))
        else:
            self._send(writer, b"\x40\x02" + packet_id)

    def _subscribed(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        at, codes = (3 if self.v5 else 2), b""
        while at < len(body):
            at += 3 + int.from_bytes(body[at : at + 2], "big")
            codes += bytes([self.suback])
        answer = body[:2] + (b"\0" if self.v5 else b"") + codes
        self._send(writer, bytes([0x90, len(answer)]) + answer)

    def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        if not self.one_by_one:
            writer.write(data)
            return
        for at in range(len(data)):
            # The client has TCP_NODELAY and so has asyncio: each is a segment of its own.
            writer.write(data[at : at + 1])


@contextlib.asynccontextmanager
async def stub_broker(**options: Any) -> AsyncIterator[StubBroker]:  # noqa: ANN401 - as its fields
    """A running stub on a free port of loopback; options as for StubBroker."""
    stub = StubBroker(**options)
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()
        for writer in tuple(stub._open):
            writer.transport.abort()
        await asyncio.sleep(0.01)


def message(
    topic: str, payload: bytes, packet_id: int = 0, properties: bytes | None = b""
) -> bytes:
    """A PUBLISH to a client: QoS 1 with a packet id, else 0; `properties` None for 3.1.1."""
    body = len(topic).to_bytes(2, "big") + topic.encode()
    if packet_id:
        body += packet_id.to_bytes(2, "big")
    if properties is not None:
        body += bytes([len(properties)]) + properties
    body += payload
    size, length = len(body), b""
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([0x32 if packet_id else 0x30]) + length + bytes([size]) + body
