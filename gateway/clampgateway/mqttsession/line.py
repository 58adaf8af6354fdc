"""The transport under a connection: bytes out in few writes, bytes in cut into packets.

Owns the asyncio transport, and why and when it ended. It knows packets, and not what they mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from clampgateway.mqttsession import packets, reasons
from clampgateway.mqttsession.splitter import Malformed, Packet, Splitter
from clampgateway.mqttsession.values import SessionLost

# What waits for the end of the loop's turn goes out at once from so many bytes on.
_BATCH_BYTES = 65_536
_READ_BYTES = 65_536


class Receiver(Protocol):
    """Who is given what came. May raise Malformed."""

    def acknowledged(self, acks: list[tuple[int, int]]) -> None:
        """PUBACKs, as (packet id, reason code)."""
        ...

    def arrived(self, packet: Packet) -> None:
        """Another packet."""
        ...

    def moved(self) -> None:
        """There may be room to write again, or the line has ended."""
        ...


class Line(asyncio.BufferedProtocol):
    """One TCP or TLS connection, from its beginning to its end.

    Attributes:
        received_s: When something came last, by `mono`.
        sent_s: When something was written last.
        full: Whether the other end takes no more for now.
        ended: Whether nothing can be sent any more.
        error: Why it ended: SessionLost, or the error of whoever was given what came.
    """

    def __init__(self, mono: Callable[[], float], *, v5: bool) -> None:
        self._mono = mono
        self._v5 = v5
        self._loop = asyncio.get_running_loop()
        self._splitter = Splitter()
        # Ours to be read into: asyncio would allocate 256 KB for every few answers, and map and
        # unmap them, which was the larger part of a read.
        self._buffer = bytearray(_READ_BYTES)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._receiver: Receiver | None = None
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._flushing = False
        self.received_s = self.sent_s = mono()
        self.full = False
        self.ended = False
        self.error: BaseException | None = None
        self.closed = asyncio.Event()

    @property
    def unwritten(self) -> int:
        """Bytes that wait in this process."""
        waiting = self._transport.get_write_buffer_size() if self._transport is not None else 0
        return waiting + self._out_bytes

    def attach(self, receiver: Receiver) -> None:
        """From now on this one gets what comes."""
        self._receiver = receiver

    # --- out ------------------------------------------------------------------------------------

    def write(self, *parts: bytes) -> None:
        """Sends at the end of the loop's turn, with all else that is sent in it."""
        self.write_sized(parts, sum(map(len, parts)))

    def write_sized(self, parts: tuple[bytes, ...], size: int) -> None:
        """The same, where the sum of the sizes is known."""
        self._out += parts
        self._out_bytes += size
        if self._out_bytes >= _BATCH_BYTES:
            self.flush()
        elif not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush_soon)

    def flush(self) -> None:
        """Sends now."""
        if not self._out:
            return
        data = b"".join(self._out)
        self._out.clear()
        self._out_bytes = 0
        if self._transport is not None and not self.ended:
            self.sent_s = self._mono()
            self._transport.write(data)

    def _flush_soon(self) -> None:
        self._flushing = False
        self.flush()

    def pause_writing(self) -> None:
        """The transport holds more than it should."""
        self.full = True

    def resume_writing(self) -> None:
        """The transport can take more."""
        self.full = False
        if self._receiver is not None:
            self._receiver.moved()

    # --- in -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self.receive(self._view[:nbytes].tobytes())

    def receive(self, data: bytes) -> None:
        """What came; an error of the receiver's own becomes `error` and ends the line."""
        if self.ended or self._receiver is None:
            return
        self.received_s = self._mono()
        try:
            acks, others = self._splitter.feed(data)
            if acks:
                self._receiver.acknowledged(acks)
            for packet in others:
                self._receiver.arrived(packet)
        except Malformed as error:
            self.end(f"the broker sent what is not MQTT: {error}", reasons.MALFORMED)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is gone; asyncio hands over what `buffer_updated` raised."""
        if exc is not None and not isinstance(exc, OSError | SessionLost):
            self.error = exc
        elif self.error is None:
            why = f"connection lost: {exc}" if exc else "connection lost: closed by the broker"
            self.error = SessionLost(why)
        self.ended = True
        self._transport = None
        self._out.clear()
        self._out_bytes = 0
        self.closed.set()
        if self._receiver is not None:
            self._receiver.moved()

    # --- the end --------------------------------------------------------------------------------

    def end(self, why: str, code: int | None = None) -> None:
        """Ends it at once, as lost; the first reason counts.

        Args:
            why: For SessionLost.
            code: Said to the broker in a DISCONNECT where that can be done; None for nothing.
        """
        if self.error is None:
            self.error = SessionLost(why)
        if code is not None and not self.ended and self._transport is not None:
            self._transport.write(packets.disconnect(code, v5=self._v5))
        self.abort()

    def abort(self) -> None:
        """Drops it without a word."""
        self.ended = True
        if self._transport is not None:
            self._transport.abort()

    async def close(self, patience_s: float) -> None:
        """Sends what waits and a DISCONNECT, and leaves no socket behind."""
        if self._transport is None:
            return
        if not self.ended:
            self.write(packets.disconnect(reasons.NORMAL, v5=self._v5))
            self.flush()
            self.ended = True
            self._transport.close()
        try:
            async with asyncio.timeout(patience_s):
                await self.closed.wait()
        except TimeoutError:
            # The other end does not take a DISCONNECT any more.
            self.abort()
            await self.closed.wait()
