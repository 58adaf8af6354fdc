"""A system clock that a test sets, for one process: libfaketime, steered by a file.

Monotonic clocks are left alone, as they are when a real clock is set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

_PLACES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
_NAME = "faketime/libfaketimeMT.so.1"


def need_faketime() -> Path:
    """The library. Skips the test without it, and fails it under CLAMPWORK_CI."""
    found = [path for place in _PLACES for path in sorted(Path(place).glob(f"**/{_NAME}"))]
    if found:
        return found[0]
    reason = "Debian package libfaketime is not installed"
    if os.environ.get("CLAMPWORK_CI"):
        pytest.fail(reason)
    pytest.skip(f"{reason}: apt-get install libfaketime")


class FakeClock:
    """What a process started with `env` takes for UTC: this machine's, moved by seconds."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._file = folder / "faketime"
        self.set(0)
        self.env = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Version 0.9.10 would move the deadlines of waits on monotonic clocks nevertheless:
            # CPython's threads then wait for the interpreter's lock as long as the step was.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def set(self, seconds: float) -> None:
        """A step."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+.3f}\n")
        new.rename(self._file)

    def set_to_1970(self) -> None:
        """As a Pi without a battery starts."""
        self.set(100 - time.time())
