"""A device made of frames on a TCP connection, in a thread, for a real gateway.

It connects again whenever the connection is lost. `device` is read from other threads: its sets
and numbers only grow while `making`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from clamptools.framedevice import FrameDevice

HOST = "127.0.0.1"
RECORD_S = 0.01
FLOOD_WAITING = 3000
RETRY_S = 0.05


class FrameThread:
    """`making`: a record every 10 ms; with `flood` as many as fit in its memory."""

    def __init__(self, name: str, port: int, *, making: bool = True, flood: bool = False) -> None:
        self.device = FrameDevice(name, time.monotonic)
        self.making = making
        self.connections = 0
        self._port = port
        self._flood = flood
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Disconnect, for good."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            with (
                contextlib.suppress(OSError),
                socket.create_connection((HOST, self._port), timeout=2) as line,
            ):
                self.connections += 1
                line.setblocking(False)
                self.device.connect()
                self._talk(line)
            time.sleep(RETRY_S)

    def _talk(self, line: socket.socket) -> None:
        """Until the connection is lost (OSError, or nothing left to read) or the end."""
        rest = b""
        due_s = time.monotonic()
        while not self._over.is_set():
            while self.making and self._may_make(due_s):
                self.device.make()
                due_s += RECORD_S
            rest += self.device.take()
            if rest:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[line.send(rest) :]
            if select.select([line], [], [], 0.002)[0]:
                data = line.recv(65536)
                if not data:
                    return
                self.device.receive(data)

    def _may_make(self, due_s: float) -> bool:
        if self._flood:
            return self.device.waiting < FLOOD_WAITING
        return time.monotonic() >= due_s
