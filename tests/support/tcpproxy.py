"""A TCP line between a client and a server that can be slow, cut, mute and wrong, on request.

Every fault is switched by the test and counted, because one that was not injected proves nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

CHUNK = 4096


@dataclass
class Proxy:
    """How the line is now, for bytes from now on, and what was done to it.

    Attributes:
        delay_s: Every chunk comes so much later.
        slice_bytes: Chunks are cut into such pieces, each a segment of its own; 0: as they come.
        rate: Bytes a second in each direction; 0: as fast as can be.
        blackhole: Nothing passes, and nobody is told.
        flip_share: The chance that a chunk has one bit flipped.
        refuse: New connections are reset at once.
        cut_after: A connection is reset after so many more bytes of either direction; 0: never.
    """

    target: int
    seed: int = 1
    port: int = 0
    delay_s: float = 0.0
    slice_bytes: int = 0
    rate: int = 0
    blackhole: bool = False
    flip_share: float = 0.0
    refuse: bool = False
    cut_after: int = 0
    flipped: int = 0
    reset: int = 0
    refused: int = 0
    connects: int = 0
    carried: int = 0
    _chance: random.Random = field(init=False)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def cut(self) -> None:
        """Resets every connection."""
        for writer in tuple(self._open):
            self.reset += 1
            _reset(writer)
        self._open.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client."""
        if self.refuse:
            self.refused += 1
            _reset(writer)
            return
        self.connects += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        self._open |= {writer, back}
        ways = [
            asyncio.create_task(self._carry(reader, back)),
            asyncio.create_task(self._carry(there, writer)),
        ]
        self._tasks |= set(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            for each in (writer, back):
                self._open.discard(each)
                each.close()
            self._tasks -= set(ways)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.blackhole:
                    continue
                if self.flip_share and self._chance.random() < self.flip_share:
                    data = self._flip(data)
                for piece in self._pieces(data):
                    writer.write(piece)
                    self.carried += len(piece)
                    await writer.drain()
                    if self.rate:
                        await asyncio.sleep(len(piece) / self.rate)
                    elif self.slice_bytes:
                        await asyncio.sleep(0)
                if self.cut_after:
                    self.cut_after = max(0, self.cut_after - len(data))
                    if not self.cut_after:
                        self.cut()
                        return

    def _pieces(self, data: bytes) -> list[bytes]:
        size = self.slice_bytes or len(data)
        if self.rate:
            size = min(size, max(1, self.rate // 20))  # a line, not a bucket now and then
        return [data[at : at + size] for at in range(0, len(data), size)]

    def _flip(self, data: bytes) -> bytes:
        self.flipped += 1
        at = self._chance.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1 << self._chance.randrange(8)]) + data[at + 1 :]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Closes with a RST instead of a FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def proxy(target: int, seed: int = 1) -> AsyncIterator[Proxy]:
    """A running line to a port of loopback."""
    line = Proxy(target, seed)
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0, limit=CHUNK)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        for writer in tuple(line._open):
            writer.transport.abort()
        for task in tuple(line._tasks):
            task.cancel()
        await asyncio.sleep(0.02)
