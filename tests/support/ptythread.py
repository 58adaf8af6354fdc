"""A device at the end of a pty: the firmware's own link, in a thread, for a real gateway."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import tty
from pathlib import Path

from support.devicelink import DeviceModel


class ThreadedDevice:
    """A device at the end of a pty, made of the firmware's link. Its port is a symbolic link."""

    def __init__(self, ports: Path, name: str, record_s: float = 0.05) -> None:
        self.model = DeviceModel(name)
        self.path = ports / name
        self._record_s = record_s
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def plug(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(self._master, False)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave
        self._over.clear()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self.path.unlink()
            os.close(self._slave)
            os.close(self._master)

    def _live(self) -> None:
        started = time.monotonic() - self.model.now_us / 1e6
        due = 0.0
        out = b""
        while not self._over.is_set():
            self.model.now_us = int((time.monotonic() - started) * 1e6)
            with contextlib.suppress(BlockingIOError, OSError):
                self.model.give(os.read(self._master, 4096))
            if self.model.link.confirmed and time.monotonic() >= due:
                due = time.monotonic() + self._record_s
                self.model.record(4.5)
            out += self.model.take()
            with contextlib.suppress(BlockingIOError, OSError):
                out = out[os.write(self._master, out[:512]) :]
            time.sleep(0.005)

    def acknowledged(self) -> set[tuple[int, int]]:
        """Names of the records that the device may forget: their commit was told."""
        spool = self.model.spool
        kept = {spool.oldest_seq + place for place in range(len(spool))}
        return {name for name in self.model.made if name[1] not in kept}
