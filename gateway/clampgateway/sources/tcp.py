"""Devices over TCP: a listener on loopback, one session a connection.

Owns the listening socket, how many may be connected, and telling peers that are gone, deaf or no
devices from those that work. What runs over a connection is `stream.py`; that the younger of two
connections of one device wins is `link/links.py`. Loopback alone, because a device on TCP has no
key: whoever reaches the port could send records in the name of any machine.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import socket
from typing import Annotated

from pydantic import AfterValidator, Field

from clampgateway.clocksync import Clocks
from clampgateway.committer import Committer
from clampgateway.config import LOOPBACK, BindAddress, ListenPort, Seconds, Wrong
from clampgateway.config import Settings as BaseSettings
from clampgateway.link import Links
from clampgateway.model import GatewayError
from clampgateway.stream import DeviceStream

_log = logging.getLogger(__name__)

BACKLOG = 128
SWEEP_S = 0.5
# A sweep that comes later than this was late by our own fault, or the machine slept.
STEP_MOST_S = 2 * SWEEP_S
ACCEPT_RETRY_S = 0.5
CLOSE_S = 0.3  # the gateway gives a source half a second to stop
# Of the kernel, for each connection: a device sends some hundred bytes a second, and reads less.
SEND_BUFFER_BYTES = 16 << 10
RECEIVE_BUFFER_BYTES = 64 << 10
# What is short for a while only, here or on the whole machine.
_SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
# The peer was gone before we came to it.
# Ref: Linux accept(2): errors of the new socket's network are passed on, try again.
_PEER_GONE = {
    errno.ECONNABORTED, errno.EPROTO, errno.ENETDOWN, errno.ENOPROTOOPT, errno.EHOSTDOWN,
    errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EOPNOTSUPP, errno.EPERM,
}  # fmt: skip


class TcpError(GatewayError):
    """The source cannot listen where it should."""


def _loopback(bind: str) -> str:
    if not ipaddress.ip_address(bind).is_loopback:
        raise Wrong(
            f'is "{bind}", must be a loopback address',
            "devices on TCP have no keys yet, so whoever reaches the port could send records in"
            f' the name of any machine: use "{LOOPBACK}", and for a device elsewhere a tunnel'
            " that asks for a key, such as ssh -R",
        )
    return bind


class Settings(BaseSettings):
    """[[tcp]]: a port of this machine to which devices connect."""

    bind: Annotated[BindAddress, AfterValidator(_loopback)] = LOOPBACK
    port: ListenPort = 8621
    max_connections: Annotated[int, Field(ge=1, le=4000)] = 256
    hello_s: Annotated[
        Seconds, Field(description="a connection on which no device said Hello by then is closed")
    ] = 10.0
    idle_s: Annotated[
        float,
        Field(
            ge=15,
            le=86_400,
            description="a connection without a valid frame for so long is closed, and one whose"
            " device does not read; a device answers the gateway every 5 s",
        ),
    ] = 30.0


class _Connection:
    """One connection, and for how long it has not done what it should.

    Time is counted in steps of the sweep, and none while we do not read: our own standstill is no
    fault of the peer.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.stream: DeviceStream | None = None
        self.why = ""
        self._heard_us = self._moved = 0
        self._nobody_s = self._silent_s = self._stuck_s = 0.0

    def passed(self, seconds: float, hello_s: float, idle_s: float) -> str:
        """So much time went by; returns why the connection is to be closed, or ""."""
        stream = self.stream
        session = stream.session if stream is not None else None
        if stream is None or session is None:
            return ""
        heard_us, moved = session.heard_us, stream.written - stream.unsent
        nobody = session.state == "waiting" and not stream.paused
        self._nobody_s = self._nobody_s + seconds if nobody else 0.0
        self._silent_s = self._silent_s + seconds if heard_us == self._heard_us else 0.0
        stuck = stream.unsent > 0 and moved == self._moved
        self._stuck_s = self._stuck_s + seconds if stuck else 0.0
        self._heard_us, self._moved = heard_us, moved
        if self._nobody_s > hello_s:
            return "no_hello"
        if self._silent_s > idle_s:
            return "silent"
        return "stuck" if self._stuck_s > idle_s else ""

    def end(self, why: str) -> None:
        """Close it now; what the peer has not read by now it will not."""
        self.why = self.why or why
        if self.stream is not None:
            self.stream.abort()

    def stats(self) -> dict[str, object]:
        session = self.stream.session if self.stream is not None else None
        return {
            "device": session.device if session is not None else "",
            "state": session.state if session is not None else "opening",
            "pauses": self.stream.pauses if self.stream is not None else 0,
            "write_stalls": self.stream.write_stalls if self.stream is not None else 0,
        }


_WHY = {
    "no_hello": "no device said Hello within hello_s",
    "silent": "no valid frame within idle_s",
    "stuck": "its peer does not read within idle_s",
}


class TcpSource:
    """All connections of one [[tcp]] section."""

    Settings = Settings

    def __init__(
        self, settings: Settings, links: Links, committer: Committer, clocks: Clocks
    ) -> None:
        self._settings = settings
        self._links = links
        self._committer = committer
        self._clocks = clocks
        self._connections: set[_Connection] = set()
        self._empty = asyncio.Event()
        self._port = 0
        self._error = ""
        self._full = False
        self._accepted = self._refused = self._accept_failures = 0
        self._ended: dict[str, int] = dict.fromkeys(
            ("disconnects", "failures", "replaced", "no_hello", "silent", "stuck", "stopped"), 0
        )
        self._closed_pauses = self._closed_stalls = 0

    async def run(self) -> None:
        """Listen and serve until cancelled. Raises TcpError if the port cannot be had."""
        with self._listen() as listener:
            self._port = listener.getsockname()[1]
            _log.info("listening for devices address=%s port=%d", self._settings.bind, self._port)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._accept(listener), name="tcp accept")
                    group.create_task(self._watch(), name="tcp watch")
            finally:
                listener.close()
                await self._close_all()

    def _listen(self) -> socket.socket:
        bind, port = self._settings.bind, self._settings.port
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        try:
            listener = socket.create_server((bind, port), family=family, backlog=BACKLOG)
        except OSError as error:
            raise TcpError(
                f"cannot listen on {bind} port {port} ({error.strerror}): set tcp.port"
            ) from error
        listener.setblocking(False)
        # Inherited by what is accepted, from its first byte on.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return listener

    # --- connections that come ------------------------------------------------------------------

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, address = await loop.sock_accept(listener)
                await self._admit(sock, address)
            except MemoryError:
                self._accept_failures += 1
                self._committer.no_memory()
                await self._short_of("no memory")
            except OSError as error:
                if error.errno not in _SCARCE | _PEER_GONE:
                    raise
                self._accept_failures += 1
                if error.errno in _SCARCE:
                    await self._short_of(str(error.strerror))
            else:
                if self._error:
                    _log.info("connections are accepted again")
                    self._error = ""

    async def _short_of(self, what: str) -> None:
        """No descriptor or no memory for a connection: it waits in the kernel, as do we."""
        told = f"connections cannot be accepted, trying again: {what}"
        if told != self._error:
            _log.error("%s", told)
            self._error = told
        await asyncio.sleep(ACCEPT_RETRY_S)

    async def _admit(self, sock: socket.socket, address: tuple[str, int]) -> None:
        most = self._settings.max_connections
        if len(self._connections) >= most:
            self._refused += 1
            self._full = True
            _log.warning("connection refused: max_connections=%d are open", most)
            sock.close()
            return
        host, port = address[:2]
        connection = _Connection(f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}")

        def on_lost(error: Exception | None) -> None:
            self._gone(connection, error)

        loop = asyncio.get_running_loop()
        try:
            stream = connection.stream = DeviceStream(
                self._links,
                self._committer,
                self._clocks,
                connection.source,
                on_lost,
                lambda: connection.end("replaced"),
            )
            self._connections.add(connection)
            self._empty.clear()
            await loop.connect_accepted_socket(lambda: stream, sock)
        except BaseException:
            sock.close()
            self._connections.discard(connection)
            raise
        self._accepted += 1

    # --- connections that end -------------------------------------------------------------------

    async def _watch(self) -> None:
        """Close what is no device, what is gone and what does not read."""
        settings = self._settings
        last_us = self._clocks.mono_us()
        while True:
            await asyncio.sleep(SWEEP_S)
            now_us = self._clocks.mono_us()
            step_s = min((now_us - last_us) / 1e6, STEP_MOST_S)
            last_us = now_us
            for connection in tuple(self._connections):
                why = connection.passed(step_s, settings.hello_s, settings.idle_s)
                if why:
                    _log.warning("connection closed: %s", _WHY[why])
                    connection.end(why)
            self._full = self._full and len(self._connections) >= settings.max_connections

    def _gone(self, connection: _Connection, error: Exception | None) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
        stream = connection.stream
        if stream is not None:
            self._closed_pauses += stream.pauses
            self._closed_stalls += stream.write_stalls
        failed = error is not None and not isinstance(error, OSError)
        self._ended[connection.why or ("failures" if failed else "disconnects")] += 1

    async def _close_all(self) -> None:
        """Returns when all is handed over that had come."""
        for connection in tuple(self._connections):
            connection.end("stopped")
        if not self._connections:
            return
        try:
            async with asyncio.timeout(CLOSE_S):
                await self._empty.wait()
        except TimeoutError:
            _log.error("connections do not close count=%d", len(self._connections))

    def stats(self) -> dict[str, object]:
        """Counters since the start, why there is an alarm, and each connection by its peer.

        `disconnects` were ended by the peer or the network, `failures` by an error of our own;
        the others of `ended` say why we closed.
        """
        most = self._settings.max_connections
        full = f"more than max_connections={most} devices connect: {self._refused} were refused"
        live = [each.stream for each in self._connections if each.stream is not None]
        return {
            "bind": self._settings.bind,
            "port": self._port,
            "connections": len(self._connections),
            "accepted": self._accepted,
            "refused": self._refused,
            "accept_failures": self._accept_failures,
            **self._ended,
            "pauses": self._closed_pauses + sum(each.pauses for each in live),
            "write_stalls": self._closed_stalls + sum(each.write_stalls for each in live),
            "alarm": self._error or (full if self._full else ""),
            "peers": {each.source: each.stats() for each in self._connections},
        }
