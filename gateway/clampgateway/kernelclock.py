"""What this machine itself says of its clock: is it synchronised, and what ran while it was off.

Owns the system call, and the places in which Linux shows clocks with a battery and times that are
restored from a file. Reads only; what follows from it is decided in `utcclock`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

# Ref: Linux include/uapi/linux/timex.h; adjtimex(2): TIME_ERROR also if STA_UNSYNC is set.
STA_UNSYNC = 0x0040
TIME_ERROR = 5
# Ref: `struct timex` of glibc and musl is 208 bytes where a long has 64 bits.
_TIMEX_BYTES = 256
# A clock with a battery may be off by as much; it is asked whether it ran at all.
BATTERY_AGREES_MS = 60_000
RTC_FOLDER = Path("/sys/class/rtc")
# Where the time of the last shutdown is kept, to be set at the next start: the file of
# systemd-timesyncd (in its private place, where it runs under a dynamic user) and fake-hwclock's.
RESTORED_FROM = (
    Path("/var/lib/systemd/timesync/clock"),
    Path("/var/lib/private/systemd/timesync/clock"),
    Path("/etc/fake-hwclock.data"),
)


class ClockStatus(NamedTuple):
    """`synchronised`: by a time service, None where the kernel does not say.

    `restored`: the time was taken from a file when the machine started, as far as can be seen, so
    it lacks the time for which the machine was off.
    """

    synchronised: bool | None
    restored: bool


class _Timex(ctypes.Structure):
    _fields_ = [
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * _TIMEX_BYTES),
    ]


class KernelClock:
    """The status of the clock; call it. `restored` is looked up once."""

    def __init__(
        self,
        wall_ms: Callable[[], int],
        rtc_folder: Path = RTC_FOLDER,
        restored_from: tuple[Path, ...] = RESTORED_FROM,
    ) -> None:
        self._adjtimex = getattr(ctypes.CDLL(None), "adjtimex", None)
        from_file = any(_exists(path) for path in restored_from)
        self._restored = from_file and not _has_battery(rtc_folder, wall_ms())

    def __call__(self) -> ClockStatus:
        return ClockStatus(self._synchronised(), self._restored)

    def _synchronised(self) -> bool | None:
        if self._adjtimex is None:
            return None
        timex = _Timex()  # modes 0: nothing is changed
        state = self._adjtimex(ctypes.byref(timex))
        if state < 0:  # a container or a service may be kept from asking
            return None
        return state != TIME_ERROR and not timex.status & STA_UNSYNC


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False  # in a folder that is not ours to look into


def _has_battery(folder: Path, wall_ms: int) -> bool:
    """Whether a clock of this machine that runs without it shows about this time."""
    for path in sorted(folder.glob("rtc*/since_epoch")):
        try:
            shows_ms = 1000 * int(path.read_text("ascii"))
        except (OSError, ValueError):
            continue  # one that cannot be read is none
        if abs(shows_ms - wall_ms) <= BATTERY_AGREES_MS:
            return True
    return False


def wall_ms() -> int:
    """The system's UTC in ms, right or wrong."""
    return time.time_ns() // 1_000_000


# CLOCK_MONOTONIC stands while the machine is suspended: UTC would seem to have stepped afterwards.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_us() -> int:
    """A clock that no step moves and that a suspended machine does not stop, if it has one."""
    return time.clock_gettime_ns(_STEADY) // 1000
