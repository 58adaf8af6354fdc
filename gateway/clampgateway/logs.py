"""The gateway's log on standard error: one line a message, for the journal or for a terminal.

Owns the form of a line and the brake on repetition; what is said is each module's own, as a
sentence with a tail of key=value. Text that comes from outside cannot break out of its line.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping

REPEATS = 5
REPEAT_WINDOW_S = 60.0
REMEMBERED_MAX = 1000
# Levels of syslog(3), which journald takes from the front of a line; see sd-daemon(3).
_SYSLOG = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (0, 7))
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))}
_CONTROL[10] = "\\n"


class LineFormatter(logging.Formatter):
    """`time level area: message`; for the journal `<level>area: message`, which has the time."""

    converter = time.gmtime

    def __init__(self, *, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        area = record.name.removeprefix("clampgateway.")
        lines = [record.getMessage().translate(_CONTROL)]
        if record.exc_info:
            lines += self.formatException(record.exc_info).splitlines()
        if self._journal:
            number = next(number for level, number in _SYSLOG if record.levelno >= level)
            head = f"<{number}>{area}: "
        else:
            stamp = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
            head = f"{stamp}.{int(record.msecs):03d}Z {record.levelname.lower()} {area}: "
        return "\n".join(head + line for line in lines)


class RepeatFilter(logging.Filter):
    """Lets the same line pass 5 times a minute, and says afterwards how many it held back."""

    def __init__(self, mono: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._mono = mono
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self.held_back = 0

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.getMessage())
        now = self._mono()
        since, count = self._seen.get(key, (now, 0))
        if now - since >= REPEAT_WINDOW_S:
            if count > REPEATS:
                record.msg = f"{record.msg} held_back={count - REPEATS}"
            since, count = now, 0
        if len(self._seen) >= REMEMBERED_MAX:
            self._forget(now)
        self._seen[key] = (since, count + 1)
        if count >= REPEATS:
            self.held_back += 1
            return False
        return True

    def _forget(self, now: float) -> None:
        """Makes room: what is out of its window, or everything in a flood of different lines."""
        recent = {k: seen for k, seen in self._seen.items() if now - seen[0] < REPEAT_WINDOW_S}
        self._seen = recent if len(recent) < REMEMBERED_MAX else {}


def configure(level: str, env: Mapping[str, str] = os.environ) -> RepeatFilter:
    """Sends all logging to standard error. Returns the filter, whose counter is shown.

    `level` is of our own lines; libraries speak from "warning" on.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(journal=_is_journal(env)))
    repeats = RepeatFilter()
    handler.addFilter(repeats)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("clampgateway").setLevel(level.upper())
    return repeats


def _is_journal(env: Mapping[str, str]) -> bool:
    """Whether standard error is the journal itself: systemd names its device and inode."""
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return env.get("JOURNAL_STREAM", "") == f"{status.st_dev}:{status.st_ino}"
