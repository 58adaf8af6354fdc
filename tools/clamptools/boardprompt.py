"""A board's MicroPython prompt at the end of a serial port, as mpremote reaches it.

Owns the calls of the program mpremote and what a technician is told when there is no port, when
another program holds it, or when what answers is no MicroPython. What is run there is others'.
Each call begins with a soft reset, which starts `boot.py` and not `main.py`; so a firmware that
ran is stopped, and its heap is clean.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from clamptools.errors import UserError

# What the guest prints behind this is its answer; a board may say other things before.
MARK = "clampwork:"
RESET_WAIT_S = 20.0
_RUN_TIMEOUT_S = 60.0
_LOOK_AGAIN_S = 0.5
# The answer that the line was taken must be out before the board goes.
_RESET = "import time, machine; time.sleep_ms(200); machine.reset()"


class PromptError(UserError):
    """The board's prompt was not reached, or what ran there failed."""


class Prompt:
    """The prompt at `port`, a path or what else mpremote connects to (`socket://host:port`)."""

    def __init__(self, port: str) -> None:
        self.port = port

    def run(self, code: str, timeout_s: float = _RUN_TIMEOUT_S) -> str:
        """Runs code on the board and returns what it printed behind `MARK`.

        Raises:
            PromptError: It was not reached, did not end in time, or raised.
        """
        self._check_there()
        done = self._mpremote(["exec", code], timeout_s)
        if done.returncode != 0:
            raise PromptError(self._why(done.stdout + done.stderr))
        _before, mark, said = done.stdout.rpartition(MARK)
        if not mark:
            raise PromptError(f"{self.port}: the board ran it and gave no answer: {_last(said)}")
        return said

    def reset(self, wait_s: float = RESET_WAIT_S) -> None:
        """Resets the board as its button would, and waits until its prompt is back.

        Raises:
            PromptError: It did not come back; with what the last try said.
        """
        self._check_there()
        done = self._mpremote(["exec", "--no-follow", _RESET], _RUN_TIMEOUT_S)
        if done.returncode != 0:
            raise PromptError(self._why(done.stdout + done.stderr))
        end_s = time.monotonic() + wait_s
        while True:
            time.sleep(_LOOK_AGAIN_S)
            try:
                self.run(f"print({MARK!r})")
                return
            except PromptError as error:
                if time.monotonic() > end_s:
                    hint = "is it plugged in, and does its port have another name now?"
                    raise PromptError(
                        f"{self.port}: not back {wait_s:g} s after a reset; {hint} Last: {error}"
                    ) from error

    def _mpremote(
        self, arguments: list[str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "mpremote", "connect", self.port, *arguments]
        try:
            return subprocess.run(
                line,
                capture_output=True,
                check=False,
                stdin=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            raise PromptError(
                f"{self.port}: no end within {timeout_s:g} s: unplug the board, plug it in, and "
                "try again"
            ) from error

    def _check_there(self) -> None:
        if "://" not in self.port and sys.platform != "win32" and not Path(self.port).exists():
            raise PromptError(
                f"{self.port}: there is no such port; `python -m mpremote connect list` shows all"
            )

    def _why(self, said: str) -> str:
        """What to tell of a call that failed."""
        if "No module named mpremote" in said:
            return "mpremote is missing: pip install 'clampwork[tools]'"
        if "in use by another program" in said:
            return (
                f"{self.port}: it cannot be opened; another program holds it, or you may not use "
                f"it. `clampwork gateway release {self.port}` frees it from a running gateway; "
                "for the right to use it, join the port's group (dialout)"
            )
        if "raw repl" in said or "unexpected read during raw paste" in said:
            return (
                f"{self.port}: no MicroPython answers. Is that the board's port? Else flash "
                "MicroPython: hold BOOTSEL while plugging it in, and copy the UF2 to the drive"
            )
        return f"{self.port}: {_last(said)}"


def _last(said: str) -> str:
    """The last line that somebody said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "no word"
