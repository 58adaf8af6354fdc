"""The transport between a device stream and a device in the same process."""

from __future__ import annotations

import asyncio
from typing import Protocol


class FarEnd(Protocol):
    """Who is at the other end of the stream."""

    paused: bool

    def heard(self, data: bytes) -> None:
        """What the gateway wrote."""
        ...

    def send_items(self) -> None:
        """The gateway takes items again."""
        ...

    def hang_up(self) -> None:
        """The link ends."""
        ...


class Wire(asyncio.Transport):
    """Nothing is ever in the way of what is written, so there is no buffer."""

    def __init__(self, far: FarEnd) -> None:
        super().__init__()
        self._far = far
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._far.heard(bytes(data))

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self._far.paused = True

    def resume_reading(self) -> None:
        self._far.paused = False
        self._far.send_items()

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        """In a turn of its own: the stream may be in the middle of something."""
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self._far.hang_up)
