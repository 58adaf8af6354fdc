"""Processor time, memory and disk writes of a process, from Linux' /proc."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_TICKS_HZ = os.sysconf("SC_CLK_TCK")


class Usage(NamedTuple):
    """What a process has used: between two samples, or since its start."""

    seconds: float
    cpu_s: float
    written_bytes: int

    def since(self, earlier: Usage) -> Usage:
        """The difference."""
        return Usage(
            self.seconds - earlier.seconds,
            self.cpu_s - earlier.cpu_s,
            self.written_bytes - earlier.written_bytes,
        )


def usage(pid: int) -> Usage:
    """So far: a monotonic clock, processor time of all threads, bytes sent to the disk."""
    folder = Path(f"/proc/{pid}")
    fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
    io = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_HZ
    return Usage(time.monotonic(), cpu_s, int(io["write_bytes"]))


def memory_mb(pid: int) -> tuple[float, float]:
    """(resident now, most so far)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["VmRSS"].split()[0]) / 1024, int(fields["VmHWM"].split()[0]) / 1024
