"""Serves the API inside the gateway's event loop: uvicorn without its signals and its logging.

Owns the socket, the limits of a connection and the file that tells the port. The gateway stops
the server as it stops every other part, by cancelling `run`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from clampgateway.api import access
from clampgateway.api.problem import Refusals
from clampgateway.config import ApiSettings
from clampgateway.model import GatewayError

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10.0
RESPONSE_TIMEOUT_S = 30.0
KEEP_ALIVE_S = 5
CONNECTIONS_MAX = 64
HEADER_BYTES_MAX = 16384
CLOSE_TIMEOUT_S = 1


class ApiError(GatewayError):
    """The API cannot listen where it should."""


class ApiServer:
    """Listens and serves until cancelled.

    Args:
        settings: Address and port; port 0 takes a free one at each start.
        app: The ASGI application.
        state_dir: Gets `api.json` with the port in use.
        refused: Where connections that are closed are counted.
    """

    def __init__(
        self, settings: ApiSettings, app: ASGIApp, state_dir: Path, refused: Refusals
    ) -> None:
        self._settings = settings
        self._app = app
        self._state_dir = state_dir
        self._refused = refused
        self._server: _Server | None = None

    async def run(self) -> None:
        """Raises ApiError if the port is taken."""
        with self._listen() as listener:
            host, port = listener.getsockname()[:2]
            server = self._server = _Server(_uvicorn_config(self._app, self._refused))
            serving = asyncio.create_task(server.serve(sockets=[listener]), name="api server")
            access.write_address(self._state_dir, host, port)
            log.info("api listens address=%s port=%d", host, port)
            try:
                await asyncio.shield(serving)
            finally:
                access.remove_address(self._state_dir)
                server.stop()
                await serving

    def stats(self) -> dict[str, float]:
        state = self._server.server_state if self._server is not None else None
        return {
            "requests": state.total_requests if state is not None else 0,
            "connections": len(state.connections) if state is not None else 0,
            "refused_hosts": self._refused.hosts,
            "refused_tokens": self._refused.tokens,
            "refused_connections": self._refused.connections,
            "timeouts": self._refused.timeouts,
        }

    def _listen(self) -> socket.socket:
        bind, port = self._settings.bind, self._settings.port
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        try:
            return socket.create_server((bind, port), family=family, backlog=CONNECTIONS_MAX)
        except OSError as error:
            raise ApiError(
                f"cannot listen on {bind} port {port} ({error.strerror}): set api.port"
            ) from error


class _Server(uvicorn.Server):
    """SIGTERM and SIGINT are the gateway's."""

    def stop(self) -> None:
        """Ends it: answers that are being made go out, requests that are not complete do not."""
        for connection in tuple(self.server_state.connections):
            if isinstance(connection, _LimitedProtocol) and not connection.complete:
                connection.transport.abort()
        self.should_exit = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _uvicorn_config(app: ASGIApp, counters: Refusals) -> uvicorn.Config:
    class Limited(_LimitedProtocol):
        refused = counters

    return uvicorn.Config(
        app,
        loop="none",
        http=Limited,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_TIMEOUT_S,
        h11_max_incomplete_event_size=HEADER_BYTES_MAX,
    )


class _LimitedProtocol(H11Protocol):
    """Closes a connection that is slow, and one too many.

    uvicorn limits only how long an idle connection is kept after a response; one that never says
    anything, says it a byte at a time or never reads its answer would stay for ever and hold a
    descriptor that a serial port may need.
    """

    refused: Refusals
    _timer: asyncio.TimerHandle | None = None
    _limit_s = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            self.refused.connections += 1
            transport.abort()
        else:
            self._expect_within(REQUEST_TIMEOUT_S)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_within(RESPONSE_TIMEOUT_S if self.complete else REQUEST_TIMEOUT_S)

    @property
    def complete(self) -> bool:
        """Whether a whole request has come and is being answered."""
        return self.conn.their_state not in (h11.IDLE, h11.SEND_BODY)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        # The next request may have come along with this one. Without it, uvicorn's own limit for
        # an idle connection has begun.
        if self.conn.their_state is h11.DONE:
            self._expect_within(RESPONSE_TIMEOUT_S)
        elif self.conn.their_state is h11.SEND_BODY or self.conn.trailing_data[0]:
            self._expect_within(REQUEST_TIMEOUT_S)
        else:
            self._expect_within(0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_within(0)
        super().connection_lost(exc)

    def _expect_within(self, limit_s: float) -> None:
        """Starts the clock of what comes next, 0 stops it; more bytes of the same do not."""
        if limit_s == self._limit_s:
            return
        self._limit_s = limit_s
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(limit_s, self._give_up) if limit_s else None

    def _give_up(self) -> None:
        self.refused.timeouts += 1
        self.transport.abort()
