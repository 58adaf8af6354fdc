"""A device at the end of a pseudo-terminal, in real time, that a test plugs and unplugs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from support.devicelink import DeviceModel

STEP_S = 0.02


class PtyDevice:
    """`path` is the port's name: a link to whatever terminal the device is plugged into."""

    def __init__(self, path: Path, device: DeviceModel) -> None:
        self.path = path
        self.device = device
        self.reads = True
        self._begun_s = time.monotonic()
        self._fds: tuple[int, int] | None = None
        self._rest = b""
        self._task: asyncio.Task[None] | None = None

    def plug(self) -> None:
        """Appear under `path`, on a terminal of a new number, and run."""
        master, slave = os.openpty()
        os.set_blocking(master, False)
        self._fds = master, slave
        self._rest = b""
        self.path.symlink_to(os.ttyname(slave))
        self._task = asyncio.create_task(self._run())

    def unplug(self) -> None:
        """Vanish; the device goes on and keeps what it makes."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.path.unlink(missing_ok=True)
        if self._fds is not None:
            os.close(self._fds[0])
            os.close(self._fds[1])
            self._fds = None

    async def _run(self) -> None:
        while True:
            self.turn()
            await asyncio.sleep(STEP_S)

    def turn(self) -> None:
        """What the firmware does in one turn of its loop."""
        self.device.now_us = int(1e6 * (time.monotonic() - self._begun_s))
        if self._fds is None:
            return
        master = self._fds[0]
        try:
            while self.reads:
                self.device.give(os.read(master, 4096))
        except OSError:
            pass  # nothing to read, or nobody has opened the port
        self.write(self._rest or self.device.take())

    def write(self, data: bytes) -> int:
        """Write as far as the port takes it; the rest is kept for the next turn."""
        self._rest = data
        try:
            while self._rest and self._fds is not None:
                self._rest = self._rest[os.write(self._fds[0], self._rest) :]
        except OSError:
            pass
        return len(data) - len(self._rest)
