"""One client's connection: bytes in, answers out, and the time that a request may take.

Owns one socket. It takes in what one turn may answer and leaves the rest to the kernel, and
nothing while the client does not read: so a connection holds a bounded amount, whatever comes.
What a request means is `registers/`; who may connect is `server.py`.
"""

from __future__ import annotations

import logging
import socket
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import TYPE_CHECKING

from clampgateway.registers.mbap import READ_SIZE, serve

if TYPE_CHECKING:
    from clampgateway.bridges.modbus.server import ModbusServer

_log = logging.getLogger(__name__)

# Bytes taken in a turn: 32 plain reads of 12.
RECEIVE = 384
_NO_LIMIT = 1 << 20


class Connection:
    """One client; made when it is admitted."""

    __slots__ = (
        "_answer",
        "_closing",
        "_counters",
        "_half_s",
        "_quiet_s",
        "_receive",
        "_received",
        "_selector",
        "_send",
        "_server",
        "_short",
        "_socket",
        "_unsent",
        "address",
    )  # fmt: skip

    def __init__(
        self, server: ModbusServer, selector: BaseSelector, connected: socket.socket, address: str
    ) -> None:
        self.address = address
        self._server = server
        self._counters = server.counters
        self._answer = server.answer
        self._short = server.shortcut.answer
        self._selector = selector
        self._socket = connected
        # Bound once: these are called for every request.
        self._receive = connected.recv
        self._send = connected.send
        self._received = b""
        self._unsent = b""
        self._closing = False
        self._quiet_s = 0.0
        self._half_s = 0.0
        selector.register(connected, EVENT_READ, self.readable)

    def readable(self) -> None:
        """Takes in what came, and answers it."""
        try:
            data = self._receive(RECEIVE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        if self._received:
            data = self._received + data
        elif len(data) == READ_SIZE:
            reply = self._short(data)
            if reply is not None:
                self._counters.requests += 1
                self._quiet_s = 0.0
                self._write(reply)
                return
        self._serve(data)

    def _serve(self, data: bytes) -> None:
        reply, used, close, requests, exceptions = serve(self._answer, data, _NO_LIMIT)
        self._received = data[used:]
        if requests:
            self._counters.requests += requests
            self._counters.exceptions += exceptions
            self._quiet_s = self._half_s = 0.0
        if close:
            self._counters.broken += 1
            self._closing = True
            _log.warning("connection closed, it does not speak Modbus: peer=%s", self.address)
        if reply:
            self._write(reply)
        elif close:
            self.end()

    def _write(self, reply: bytes) -> None:
        try:
            sent = self._send(reply)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.end()
            return
        if sent < len(reply):
            self._unsent = reply[sent:]
            self._selector.modify(self._socket, EVENT_WRITE, self.writable)
        elif self._closing:
            self.end()

    def writable(self) -> None:
        """Sends what the client had no room for; reads on when all is sent."""
        reply, self._unsent = self._unsent, b""
        self._selector.modify(self._socket, EVENT_READ, self.readable)
        self._write(reply)

    def passed(self, seconds: float) -> None:
        """Counts time; closes what is silent, or holds a request open, for too long."""
        self._quiet_s += seconds
        self._half_s = self._half_s + seconds if self._received else 0.0
        limits = self._server.limits
        if self._half_s > limits.request_s:
            self._counters.half_closed += 1
            _log.info(
                "connection closed: no complete request within %g s peer=%s",
                limits.request_s,
                self.address,
            )
            self.end()
        elif self._quiet_s > limits.idle_s:
            self._counters.idle_closed += 1
            _log.info(
                "connection closed: no request within %g s peer=%s", limits.idle_s, self.address
            )
            self.end()

    def end(self) -> None:
        """Closes now; what is not sent yet is dropped."""
        self._selector.unregister(self._socket)
        self._socket.close()
        self._server.gone(self)
