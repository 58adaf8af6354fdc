"""The TCP side of Modbus: who may connect, how many, and when each has its turn.

Owns the listening socket, limits and counters. All connections are in a selector of their own,
which is itself one descriptor in the event loop: one callback of the loop answers every client
that asked, where a transport each would cost a callback each. That is what lets it keep up with
a server in C (docs/measurements.md). An answer is made within one call, so nothing here waits.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import selectors
import socket
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from clampgateway.bridges.modbus.connection import Connection
from clampgateway.bridges.modbus.settings import Network, is_in
from clampgateway.registers.mbap import Answer, Shortcut

_log = logging.getLogger(__name__)

SWEEP_S = 0.5
BACKLOG = 128
ACCEPTS = 64
# Rounds over all clients before the rest of the gateway has its turn. One round of 32 clients
# takes less than a millisecond.
ROUNDS = 4
# Nobody but this process can help, and only by ending connections; tried again at each sweep.
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Limits(NamedTuple):
    """Connections at a time, and from one address; seconds without a request, and for one.

    `allow`: networks that may connect; all if it is empty.
    """

    connections: int
    idle_s: float
    request_s: float
    per_client: int = 1 << 16
    allow: Sequence[Network] = ()


@dataclass(slots=True)
class Counters:
    """Since the server was made. `broken`: closed because what came is not Modbus.

    Not admitted: `refused` for the number of connections, `crowded` for that of one address,
    `forbidden` by the allow-list, `short` for want of descriptors or memory, `aborted` before it
    was accepted.
    """

    accepted: int = 0
    refused: int = 0
    crowded: int = 0
    forbidden: int = 0
    short: int = 0
    aborted: int = 0
    requests: int = 0
    exceptions: int = 0
    broken: int = 0
    idle_closed: int = 0
    half_closed: int = 0


class ModbusServer:
    """Serves one listening socket.

    Args:
        answer: Unit id and PDU to the response.
        shortcut: What plain reads are answered by; it need not know any unit.
        limits: See Limits.
    """

    def __init__(self, answer: Answer, shortcut: Shortcut, limits: Limits) -> None:
        self.answer = answer
        self.shortcut = shortcut
        self.limits = limits
        self.counters = Counters()
        self._connections: set[Connection] = set()
        self._by_address: Counter[str] = Counter()
        self._selector: selectors.BaseSelector | None = None
        self._listener: socket.socket | None = None
        self._accepts = False

    @property
    def connections(self) -> int:
        """Clients connected now."""
        return len(self._connections)

    async def start(self, bind: str, port: int) -> int:
        """Listens; returns the port, which is a free one for 0. Raises OSError if it cannot."""
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        listener = socket.create_server((bind, port), family=family, backlog=BACKLOG)
        listener.setblocking(False)
        self._listener, self._selector = listener, selectors.DefaultSelector()
        loop = asyncio.get_running_loop()
        loop.add_reader(listener, self._accept)
        loop.add_reader(_descriptor(self._selector), self._turn)
        self._accepts = True
        return listener.getsockname()[1]

    async def run(self) -> None:
        """Watches the connections' time until cancelled."""
        loop = asyncio.get_running_loop()
        last = loop.time()
        while True:
            await asyncio.sleep(SWEEP_S)
            now = loop.time()
            # A stall of ours is no silence of theirs.
            passed_s = min(now - last, SWEEP_S)
            for connection in tuple(self._connections):
                connection.passed(passed_s)
            last = now
            if not self._accepts and self._listener is not None:
                self._accepts = True
                loop.add_reader(self._listener, self._accept)

    def close(self) -> None:
        """Stops listening and ends all connections."""
        loop = asyncio.get_running_loop()
        if self._listener is not None:
            loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for connection in tuple(self._connections):
            connection.end()
        if self._selector is not None:
            loop.remove_reader(_descriptor(self._selector))
            self._selector.close()
            self._selector = None

    def gone(self, connection: Connection) -> None:
        """A connection is closed."""
        self._connections.discard(connection)
        self._by_address[connection.address] -= 1
        if not self._by_address[connection.address]:
            del self._by_address[connection.address]

    def _turn(self) -> None:
        """Answers who asked; again at once while there are several, who may ask the next."""
        for _ in range(ROUNDS):
            if self._selector is None:
                return
            ready = self._selector.select(0)
            for key, _events in ready:
                key.data()
            if len(ready) < 2:
                return

    def _accept(self) -> None:
        assert self._listener is not None
        for _ in range(ACCEPTS):
            try:
                connected, peer = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _SHORT:
                    # accept(2): the network's errors of a connection that is gone already.
                    self.counters.aborted += 1
                    return
                self.counters.short += 1
                self._accepts = False
                asyncio.get_running_loop().remove_reader(self._listener)
                _log.error("no connection can be accepted: %s", error.strerror)
                return
            if self._admits(peer[0]):
                self._admit(connected, peer[0])
            else:
                connected.close()

    def _admits(self, address: str) -> bool:
        limits, counters = self.limits, self.counters
        if limits.allow and not is_in(address, limits.allow):
            counters.forbidden += 1
            _log.warning("connection refused: not in allow peer=%s", address)
        elif len(self._connections) >= limits.connections:
            counters.refused += 1
            _log.warning("connection refused: limit=%d reached", limits.connections)
        elif self._by_address[address] >= limits.per_client:
            counters.crowded += 1
            _log.warning(
                "connection refused: limit=%d of one client reached peer=%s",
                limits.per_client,
                address,
            )
        else:
            return True
        return False

    def _admit(self, connected: socket.socket, address: str) -> None:
        assert self._selector is not None
        connected.setblocking(False)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.counters.accepted += 1
        self._by_address[address] += 1
        self._connections.add(Connection(self, self._selector, connected, address))


def _descriptor(selector: selectors.BaseSelector) -> int:
    # epoll's and kqueue's have one, and one of the two is everywhere the gateway runs.
    return getattr(selector, "fileno")()  # noqa: B009 - BaseSelector does not tell of it
