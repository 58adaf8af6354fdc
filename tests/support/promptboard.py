"""A board's raw prompt at the end of a pty, for mpremote: what it is sent runs in MicroPython.

Owns the protocol's few bytes. Each run is a process of its own, which begins as after a soft
reset (`rp2board.py`); that is how mpremote begins too. What stays is the flash, a file.
"""

from __future__ import annotations

import os
import select
import subprocess
import threading
import tty
from pathlib import Path

from support.micropython import need_micropython
from support.skips import ROOT

PICO = "Raspberry Pi Pico with RP2040"
_BANNER = b"raw REPL; CTRL-B to exit\r\n>"
_BOARD = ROOT / "tests" / "device" / "rp2board.py"
_RUN_TIMEOUT_S = 60


class PromptBoard:
    """Serves `port` from `with` on.

    Attributes:
        flash: The file that stands for the storage.
        cut_after: Flash operations of the next run after which the power fails once; -1: never.
        ran: How many times code was run.
        resets: How many of these reset the board.
    """

    def __init__(
        self, folder: Path, storage: int, machine: str = PICO, version: str = "1.28.0"
    ) -> None:
        self._interpreter = need_micropython()
        self._folder = folder
        self._machine, self._version = machine, version
        self.flash = folder / "flash.bin"
        if not self.flash.exists():
            self.flash.write_bytes(b"\xff" * storage)
        self.cut_after = -1
        self.ran = self.resets = 0
        self._over = threading.Event()

    def __enter__(self) -> PromptBoard:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.port = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _serve(self) -> None:
        raw, code = False, b""
        while not self._over.is_set():
            if not select.select([self._master], [], [], 0.05)[0]:
                continue
            for byte in os.read(self._master, 4096):
                if byte == 0x01 and code == b"\x05A":
                    code = b""
                    self._say(b"R\x00")  # raw paste is understood and not offered
                elif byte == 0x01:
                    raw, code = True, b""
                    self._say(_BANNER)
                elif byte == 0x02:
                    raw, code = False, b""
                    self._say(b"\r\n>>> ")
                elif byte == 0x03:
                    code = b""
                elif raw and byte == 0x04:
                    if code.strip():
                        self._say(b"OK" + self.run(code.decode()) + b"\x04>")
                    else:
                        self._say(b"OK\r\nMPY: soft reboot\r\n" + _BANNER)
                    code = b""
                elif raw:
                    code += bytes([byte])

    def _say(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._master, data) :]

    def run(self, code: str) -> bytes:
        """What a run prints, and its traceback, each with 0x04 between."""
        self.ran += 1
        if "machine.reset()" in code:
            self.resets += 1
            return b"\x04"
        script = self._folder / "code.py"
        script.write_text(code)
        cut, self.cut_after = self.cut_after, -1
        done = subprocess.run(
            [
                self._interpreter, "-X", "heapsize=1m", str(_BOARD), str(self.flash),
                self._machine, self._version, str(cut), str(script),
            ],
            capture_output=True,
            check=False,
            timeout=_RUN_TIMEOUT_S,
        )  # fmt: skip
        said = done.stdout + done.stderr
        return said + b"\x04" if done.returncode == 0 else b"\x04" + said
