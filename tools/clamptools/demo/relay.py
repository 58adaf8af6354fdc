"""A cable between a simulated device's port and the gateway's, to cut, to silence, to make noisy.

Owns two ends: the device's own pty, opened here, and a pty of its own whose path the gateway
finds. An unplugged cable is one whose path is gone and whose port hangs up; the device then has a
host that does not read. Runs in the loop; every call is of the loop's thread.
"""

from __future__ import annotations

import asyncio
import os
import time
import tty
from pathlib import Path

from clamptools.demo.noise import KINDS, ChaosLine

CHUNK = 4096
# Above this, one side is not read until the other has taken what waits for it.
PENDING_MAX = 16_384
# Of the chunks read, of which a device at ease makes two or three a second.
NOISE_SHARE = 0.6
LATE_S = 0.1


class _Way:
    """One direction: from one file descriptor to another, bounded."""

    def __init__(self, relay: Relay, source: int, sink: int) -> None:
        self._relay = relay
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._sink = sink
        self._pending = b""
        self.line: ChaosLine | None = None
        self._loop.add_reader(source, self._readable)
        self._reading = True

    def _readable(self) -> None:
        try:
            data = os.read(self._source, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:  # the device's power is cut, its end of the cable is dead
            self._relay.unplug()
            return
        self._relay.carried += len(data)
        if self._relay.silent:
            self._relay.swallowed += len(data)
            return
        self.push(self.line.carry(data, _now_us()) if self.line is not None else data)

    def push(self, data: bytes) -> None:
        """Bytes to go out after those that wait."""
        self._pending += data
        self._flush()

    def _flush(self) -> None:
        try:
            while self._pending:
                self._pending = self._pending[os.write(self._sink, self._pending) :]
        except BlockingIOError:
            pass
        except OSError:
            self._relay.unplug()
            return
        if self._pending:
            self._loop.add_writer(self._sink, self._flush)
        else:
            self._loop.remove_writer(self._sink)
        full = len(self._pending) >= PENDING_MAX
        if full and self._reading:
            self._loop.remove_reader(self._source)
        elif not full and not self._reading:
            self._loop.add_reader(self._source, self._readable)
        self._reading = not full

    def close(self) -> None:
        self._loop.remove_writer(self._sink)
        self._loop.remove_reader(self._source)


class Relay:
    """The cable of one device, unplugged at first. Counters: `carried`, `swallowed` bytes,
    `injected` spoiled chunks, `plugs`.

    Args:
        inner: Path of the device's port, which is there while the device is on.
        outer: Path under which the gateway finds the cable's other end.
    """

    def __init__(self, inner: Path, outer: Path) -> None:
        self._inner = inner
        self._outer = outer
        self._ends: tuple[int, ...] = ()
        self._ways: tuple[_Way, ...] = ()
        self._late: asyncio.TimerHandle | None = None
        self.silent = False
        self.carried = self.swallowed = self.injected = self.plugs = 0

    @property
    def plugged(self) -> bool:
        """Whether the gateway can find the port."""
        return bool(self._ends)

    def plug(self) -> None:
        """Join both ends. Raises OSError if the device's port is not there."""
        if self._ends:
            return
        device = os.open(self._inner, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        # Our own slave stays open: a master whose slaves are all closed is readable for ever.
        self._ends = (device, master, slave)
        self._ways = (_Way(self, device, master), _Way(self, master, device))
        self._outer.symlink_to(os.ttyname(slave))
        self.plugs += 1

    def unplug(self) -> None:
        """Take the cable out of the gateway; what was on its way is lost."""
        self.calm()
        for way in self._ways:
            way.close()
        ends, self._ends, self._ways = self._ends, (), ()
        if ends:
            self._outer.unlink(missing_ok=True)
        for end in ends:
            os.close(end)

    def disturb(self, seed: int, share: float = NOISE_SHARE) -> None:
        """Spoil a share of the chunks of both directions until `calm`."""
        for index, way in enumerate(self._ways):
            way.line = ChaosLine(KINDS, share, seed + index)
        self._let_late_out()

    def calm(self) -> None:
        """The cable is as good as new."""
        self.silent = False
        if self._late is not None:
            self._late.cancel()
            self._late = None
        for way in self._ways:
            if way.line is not None:
                self.injected += way.line.injected
                way.line = None

    def _let_late_out(self) -> None:
        for way in self._ways:
            if way.line is not None:
                late = way.line.carry(b"", _now_us())
                if late:
                    way.push(late)
        self._late = asyncio.get_running_loop().call_later(LATE_S, self._let_late_out)


def _now_us() -> int:
    return time.monotonic_ns() // 1000
