"""The simulated board's serial port: standard input and output, usually the end of a pty.

Reads and writes never block: whoever starts the process opens the pty with O_NONBLOCK, as a
board's USB stack would be polled. Under CPython this module sets the flag itself; MicroPython has
no call for it, so there a readiness check stands before every read and write.
"""

import select
import sys


class Console:
    """Raw bytes both ways. `hung_up` is True while nobody has the other end open."""

    def __init__(self) -> None:
        self.hung_up = False
        if sys.implementation.name == "micropython":
            self._in = sys.stdin.buffer
            self._out = sys.stdout.buffer
        else:
            import os

            os.set_blocking(0, False)
            os.set_blocking(1, False)
            self._in = open(0, "rb", buffering=0, closefd=False)
            self._out = open(1, "wb", buffering=0, closefd=False)
        self._poll = select.poll()
        self._poll.register(sys.stdin, select.POLLIN)
        self._chunk = bytearray(256)

    def read(self) -> bytes:
        """What has arrived, b"" if nothing."""
        ready = self._poll.poll(0)
        if not ready:
            return b""
        if not ready[0][1] & select.POLLIN:
            self.hung_up = True
            return b""
        try:
            count = self._in.readinto(self._chunk)
        except OSError:  # EIO: the other end of the pty is closed
            self.hung_up = True
            return b""
        self.hung_up = count == 0
        return bytes(self._chunk[: count or 0])

    def write(self, view: memoryview) -> int:
        """Write what fits now; the number of bytes taken, 0 if the other end does not read."""
        try:
            count = self._out.write(view)
        except OSError as error:
            self.hung_up = self.hung_up or error.errno != 11
            return 0
        return count or 0
