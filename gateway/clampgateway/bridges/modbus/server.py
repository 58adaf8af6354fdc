"""The TCP side of Modbus: connections, their limits and counters.

Owns sockets, segments, back-pressure and time-outs. What a request is and how it is answered is
`registers/pdu.py`; an answer is made within one call, so nothing here waits.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import NamedTuple

from clampgateway.registers.pdu import Lookup, serve

_log = logging.getLogger(__name__)

# Requests answered before other connections have their turn.
BATCH = 32
SWEEP_S = 0.5


class Limits(NamedTuple):
    """Connections at a time; seconds without a request; seconds for a request to be complete."""

    connections: int
    idle_s: float
    request_s: float


@dataclass(slots=True)
class Counters:
    """Since the server was made. `broken`: closed because what came is not Modbus."""

    accepted: int = 0
    refused: int = 0
    requests: int = 0
    exceptions: int = 0
    broken: int = 0
    idle_closed: int = 0
    half_closed: int = 0


class ModbusServer:
    """Serves one listening socket. `lookup`: unit id to the frozen registers of a unit."""

    def __init__(self, lookup: Lookup, limits: Limits) -> None:
        self.lookup = lookup
        self.limits = limits
        self.counters = Counters()
        self._connections: set[_Connection] = set()
        self._listener: asyncio.Server | None = None

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def start(self, bind: str, port: int) -> int:
        """Listens; returns the port, which is a free one for 0. Raises OSError if it cannot."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: _Connection(self), bind, port)
        return self._listener.sockets[0].getsockname()[1]

    async def run(self) -> None:
        """Watches the connections' time until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            for connection in tuple(self._connections):
                connection.passed(now - last)
            last = now

    def close(self) -> None:
        """Stops listening and ends all connections."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        for connection in tuple(self._connections):
            connection.abort()

    def admit(self, connection: _Connection) -> bool:
        """Whether a new connection may stay."""
        if len(self._connections) >= self.limits.connections:
            self.counters.refused += 1
            _log.warning("connection refused: limit=%d reached", self.limits.connections)
            return False
        self.counters.accepted += 1
        self._connections.add(connection)
        return True

    def gone(self, connection: _Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)


class _Connection(asyncio.Protocol):
    """One client. At most BATCH requests are answered at a time, none while it does not read."""

    def __init__(self, server: ModbusServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._waiting = False  # complete requests wait for their turn
        self._full = False  # the client does not read its answers
        self._quiet_s = 0.0
        self._half_s = 0.0
        self._peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._peer = str((transport.get_extra_info("peername") or ("?",))[0])
        if not self._server.admit(self):
            transport.abort()
            self._transport = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._server.gone(self)

    def data_received(self, data: bytes) -> None:
        self._received = self._received + data if self._received else data
        if not self._waiting:
            self._answer()

    def pause_writing(self) -> None:
        self._full = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._full = False
        self._answer()

    def passed(self, seconds: float) -> None:
        """Counts time; closes what is silent, or holds a request open, for too long."""
        self._quiet_s += seconds
        self._half_s = self._half_s + seconds if self._received else 0.0
        limits, counters = self._server.limits, self._server.counters
        if self._half_s > limits.request_s:
            counters.half_closed += 1
            self._end("no complete request", limits.request_s)
        elif self._quiet_s > limits.idle_s:
            counters.idle_closed += 1
            self._end("no request", limits.idle_s)

    def abort(self) -> None:
        """Ends the connection now."""
        if self._transport is not None:
            self._transport.abort()

    def _answer(self) -> None:
        self._waiting = False
        transport = self._transport
        if transport is None or self._full or transport.is_closing():
            return
        reply, used, close, requests, exceptions = serve(
            self._server.lookup, self._received, BATCH
        )
        self._received = self._received[used:]
        if requests:
            counters = self._server.counters
            counters.requests += requests
            counters.exceptions += exceptions
            self._quiet_s = self._half_s = 0.0
            transport.write(reply)
        if close:
            self._server.counters.broken += 1
            _log.warning("connection closed, it does not speak Modbus: peer=%s", self._peer)
            transport.close()
        elif self._full:
            return
        elif requests == BATCH and self._received:
            self._waiting = True
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(self._answer)
        else:
            transport.resume_reading()

    def _end(self, why: str, limit_s: float) -> None:
        _log.info("connection closed: %s within limit_s=%g peer=%s", why, limit_s, self._peer)
        self.abort()
