"""Carries the bytes of a serial port to a TCP connection and back, as a converter box would.

So a simulated device, which has a pty, reaches a gateway by TCP. A lost connection is made anew
without end; what the port says meanwhile waits in the port.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

RETRY_S = 0.05
CHUNK = 4096


class PtyBridge:
    """From the port at `path` to `address()`, asked at each connection; None: not now."""

    def __init__(self, path: Path, address: Callable[[], tuple[str, int] | None]) -> None:
        self._address = address
        self._port = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._over = threading.Event()
        self.connections = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._port)

    def _run(self) -> None:
        while not self._over.is_set():
            with contextlib.suppress(OSError):
                address = self._address()
                if address is not None:
                    with socket.create_connection(address, timeout=2) as sock:
                        self.connections += 1
                        self._carry(sock)
            time.sleep(RETRY_S)

    def _carry(self, sock: socket.socket) -> None:
        """Until the connection is lost. Raises OSError."""
        while not self._over.is_set():
            ready, _, _ = select.select([sock, self._port], [], [], 0.1)
            if sock in ready:
                data = sock.recv(CHUNK)
                if not data:
                    return
                while data:
                    with contextlib.suppress(BlockingIOError):
                        data = data[os.write(self._port, data) :]
            if self._port in ready:
                sock.sendall(os.read(self._port, CHUNK))
