"""A broker that misbehaves on request: refuses, keeps silent, limits, or never answers a PUBLISH.

It speaks just enough MQTT 5 to be believed, and keeps what it got. A real mosquitto is used where
one can be made to do the same.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

CONNECT, PUBLISH, PINGREQ, DISCONNECT = 1, 3, 12, 14


@dataclass
class StubBroker:
    """What to do, and what came.

    Args:
        connack: The CONNACK's reason code; None for no answer at all.
        receive_maximum: Announced in the CONNACK if not 0.
        ack: The reason code of every PUBACK; None for no PUBACK.
        disconnect: Reason code of a DISCONNECT sent after the CONNACK; None for none.
    """

    connack: int | None = 0
    receive_maximum: int = 0
    ack: int | None = 0
    disconnect: int | None = None
    port: int = 0
    connects: int = 0
    published: list[bytes] = field(default_factory=list)
    said_goodbye: bool = False
    _unacked: list[tuple[asyncio.StreamWriter, bytes]] = field(default_factory=list)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._open)

    def ack_all(self, code: int) -> None:
        """Answers every PUBLISH that has no answer yet, and further ones from now on."""
        self.ack = code
        for writer, packet_id in self._unacked:
            writer.write(b"\x40\x03" + packet_id + bytes([code]))
        self._unacked.clear()

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
            self._connected(writer)
        elif kind == PUBLISH:
            self._published(writer, body)
        elif kind == PINGREQ:
            writer.write(b"\xd0\x00")
        elif kind == DISCONNECT:
            self.said_goodbye = True

    def _connected(self, writer: asyncio.StreamWriter) -> None:
        self.connects += 1
        if self.connack is None:
            return
        properties = b""
        if self.receive_maximum:
            properties = b"\x21" + self.receive_maximum.to_bytes(2, "big")
        body = bytes([0, self.connack, len(properties)]) + properties
        writer.write(bytes([0x20, len(body)]) + body)
        if self.connack >= 0x80:
            writer.close()
        elif self.disconnect is not None:
            writer.write(bytes([0xE0, 1, self.disconnect]))
            writer.close()

    def _published(self, writer: asyncio.StreamWriter, body: bytes) -> None:
        at = 2 + int.from_bytes(body[:2], "big")
        packet_id = body[at : at + 2]
        self.published.append(body[at + 3 :])
        if self.ack is None:
            self._unacked.append((writer, packet_id))
        else:
            writer.write(b"\x40\x03" + packet_id + bytes([self.ack]))


@contextlib.asynccontextmanager
async def stub_broker(**options: int | None) -> AsyncIterator[StubBroker]:
    """A running stub on a free port of loopback; options as for StubBroker."""
    stub = StubBroker(**options)  # type: ignore[arg-type]
    server = await asyncio.start_server(stub.serve, "127.0.0.1", 0)
    stub.port = server.sockets[0].getsockname()[1]
    try:
        yield stub
    finally:
        server.close()
        for writer in tuple(stub._open):
            writer.transport.abort()
        await asyncio.sleep(0.01)
