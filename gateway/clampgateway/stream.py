"""Joins a byte stream to a device's session and the committer: what every kind of link shares.

Owns turns and bounds: how much is read in one turn of the loop, how much may be in flight to the
store before reading pauses, how much may wait to be written. A source makes the transport and
decides when to try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from clampgateway.clocksync import Clocks
from clampgateway.committer import Committer
from clampgateway.link import Links, LinkSession
from clampgateway.link.outbox import FRAME_BYTES_MAX
from clampgateway.model import Item

# One turn of one link; the others have theirs before its next one.
TURN_BYTES = 16 * 1024
# Uncommitted items of one link. A device that floods waits for its own commits, nobody else's.
INFLIGHT_MAX = 2000
# Bytes towards a device; one that does not read gets no more, and never blocks the loop.
WRITE_BYTES = 1024
TICK_S = 0.25


class DeviceStream(asyncio.Protocol):
    """The protocol of one connection. `on_lost(error)` is called once when it is gone.

    `on_replaced`, where a connection may stand longer than its device uses it: the device speaks
    over another one now, this one is to be closed.
    """

    def __init__(
        self,
        links: Links,
        committer: Committer,
        clocks: Clocks,
        source: str,
        on_lost: Callable[[Exception | None], None],
        on_replaced: Callable[[], None] | None = None,
    ) -> None:
        self._links = links
        self._committer = committer
        self._clocks = clocks
        self._source = source
        self._on_lost = on_lost
        self._on_replaced = on_replaced
        self._transport: asyncio.Transport | None = None
        self._session: LinkSession | None = None
        self._rest = b""
        self._paused = False
        self._tells = False
        self._tick_handle: asyncio.TimerHandle | None = None
        self.pauses = 0
        self.write_stalls = 0
        self.written = 0

    @property
    def session(self) -> LinkSession | None:
        """The session on this connection; None before it is made."""
        return self._session

    @property
    def paused(self) -> bool:
        """Whether we do not read now, because what was read is not committed yet."""
        return self._paused

    @property
    def unsent(self) -> int:
        """Bytes of `written` that the other end has no room for."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._session = self._links.open(self._source, self.flush, self._on_replaced)
        self._tick()

    def data_received(self, data: bytes) -> None:
        """Take what came. What goes wrong here closes the connection: asyncio sees to it."""
        if self._session is None:
            return
        data = self._rest + data if self._rest else data
        self._rest = data[TURN_BYTES:]
        self._session.receive(data[:TURN_BYTES], self._clocks.mono_us())
        self._hand_over()
        self._regulate()
        if self._session.wants_to_write:
            self.flush()

    def _go_on(self) -> None:
        try:
            if self._transport is not None and self._rest and not self._must_wait():
                self.data_received(b"")
        except MemoryError:
            self.abort()
            raise

    def _hand_over(self) -> None:
        assert self._session is not None
        for device, crc, payloads in self._session.take_descriptions():
            self._committer.describe(device, crc, payloads)
        self._committer.submit(self._session.take_items(), self._committed)

    def _committed(self, items: list[Item]) -> None:
        """What was read in many turns is mostly in one commit: it is acknowledged in one write."""
        assert self._session is not None
        try:
            self._session.committed(items)
            if self._transport is not None and not self._tells:
                self._tells = True
                asyncio.get_running_loop().call_soon(self._tell)
        except MemoryError:
            self.abort()  # nobody can tell how far it came; the device asks again
            raise

    def _tell(self) -> None:
        self._tells = False
        try:
            self.flush()
            self._regulate()
        except MemoryError:
            self.abort()
            raise

    def _must_wait(self) -> bool:
        assert self._session is not None
        return self._session.inflight >= INFLIGHT_MAX or self._committer.congested

    def _regulate(self) -> None:
        """Read on, or pause; what was read but not yet taken goes first."""
        if self._transport is None or self._transport.is_closing():
            return
        wait = self._must_wait()
        if (wait or self._rest) and not self._paused:
            self._paused = True
            self._transport.pause_reading()
            self.pauses += wait
        elif not wait and not self._rest and self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._rest and not wait:
            asyncio.get_running_loop().call_soon(self._go_on)

    def flush(self) -> None:
        """Write what the session has to say, as far as the device reads."""
        if self._transport is None or self._session is None or self._transport.is_closing():
            return
        room = WRITE_BYTES - self._transport.get_write_buffer_size()
        self.write_stalls += room < FRAME_BYTES_MAX and self._session.wants_to_write
        data = self._session.poll(self._clocks.mono_us(), max(0, room))
        if data:
            self.written += len(data)
            self._transport.write(data)

    def abort(self) -> None:
        """Close now, without waiting for what the other end has not read."""
        if self._transport is not None:
            self._transport.abort()

    def _tick(self) -> None:
        if self._transport is None or self._session is None:
            return
        try:
            if self._paused:
                self._session.excuse(self._clocks.mono_us())
            self.flush()
            self._hand_over()  # items that were held for the clock
            self._regulate()
            self._tick_handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        except MemoryError:
            self.abort()
            raise

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        # Each has to be told, also when there is no memory for what comes before: a connection
        # whose end nobody heard of would keep its place for ever.
        try:
            if self._session is not None:
                self._close(self._session)
        finally:
            self._on_lost(exc)

    def _close(self, session: LinkSession) -> None:
        try:
            rest, self._rest = self._rest, b""
            if rest:
                session.receive(rest, self._clocks.mono_us())
        finally:
            self._links.close(session)
            self._hand_over()
