"""The clocks of power-ups as values that a file can hold, and back.

Owns the form, its checks, and what becomes of a line when the machine has started anew meanwhile:
its monotonic clock counts from another zero then, so the line leads to UTC from there on. What is
not sound in the file is left aside and counted; a clock can be learned again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from clampgateway.clocksync import DRIFT_MAX, SAMPLES_MAX, Clocks, Fit, Fits

_UINT32 = 0xFFFFFFFF
# A device that runs for a century, a UTC of the year 5000: beyond is no time.
_TIME_MAX_US = 1e17
_ERROR_MAX_US = 60e6
_FIELDS = 10


def dump(fits: Mapping[str, Fits], clocks: Clocks) -> dict[str, Any]:
    """All lines, with what tells in which run of the machine, and at which UTC, they hold."""
    utc_ms = clocks.utc_ms()
    devices: dict[str, list[list[float]]] = {}
    for device, own in fits.items():
        rows = [[boot, *_row(fit)] for boot, fit in own.all().items()]
        if rows:
            devices[device] = rows
    return {
        "power_up": clocks.power_up,
        "utc_minus_mono_ms": utc_ms - clocks.mono_us() / 1000 if utc_ms else None,
        "utc_ms": utc_ms,
        "devices": devices,
    }


def seen_ms(said: object) -> int:
    """The last UTC that was known, 0 if that says nothing."""
    seen = said.get("utc_ms") if isinstance(said, dict) else None
    return int(seen) if seen is not None and _number(seen, _TIME_MAX_US / 1000, 0) else 0


def _row(fit: Fit) -> list[float]:
    return [
        round(fit.at_us),
        # At a rounded place the line has another offset.
        round(fit.offset_at(round(fit.at_us)), 1),
        round(fit.drift, 10),
        round(fit.error_us, 1),
        round(fit.drift_sigma, 10),
        round(fit.rtt_us, 1),
        round(fit.span_us),
        fit.answers,
        int(fit.utc),
    ]


def load(said: object, clocks: Clocks) -> tuple[dict[str, Fits], int]:
    """(lines by device, how many entries were of no use)."""
    if not said:
        return {}, 0
    if not isinstance(said, dict) or not isinstance(said.get("devices"), dict):
        return {}, 1
    same = bool(clocks.power_up) and said.get("power_up") == clocks.power_up
    shift_ms = said.get("utc_minus_mono_ms")
    if shift_ms is not None and not _number(shift_ms, _TIME_MAX_US):
        return {}, 1
    found: dict[str, Fits] = {}
    bad = 0
    for device, rows in said["devices"].items():
        for row in rows if isinstance(rows, list) else [None]:
            read = _read(row)
            if read is None:
                bad += 1
                continue
            boot, fit = read
            if not (same or fit.utc):
                if shift_ms is None:
                    continue  # it counted in a run of the machine of which nobody knows the time
                fit = fit._replace(offset_us=fit.offset_us + 1000 * shift_ms, utc=True)
            found.setdefault(device, Fits()).keep(boot, fit)
    return found, bad


def _read(row: object) -> tuple[int, Fit] | None:
    """(boot, line) of a row; None for one that is none."""
    if not (isinstance(row, list) and len(row) == _FIELDS):
        return None
    boot, at_us, offset_us, drift, error_us, sigma, rtt_us, span_us, count, utc = row
    sound = (
        isinstance(boot, int)
        and 0 <= boot <= _UINT32
        and _number(at_us, _TIME_MAX_US)
        and _number(offset_us, _TIME_MAX_US)
        and _number(drift, DRIFT_MAX)
        and _number(error_us, _ERROR_MAX_US, 0)
        and _number(sigma, DRIFT_MAX, 0)
        and _number(rtt_us, _ERROR_MAX_US, 0)
        and _number(span_us, _TIME_MAX_US, 0)
        and isinstance(count, int)
        and 1 <= count <= SAMPLES_MAX
        and utc in (0, 1)
    )
    if not sound:
        return None
    fit = Fit(at_us, offset_us, drift, error_us, sigma, rtt_us, span_us, count, bool(utc))
    return boot, fit


def _number(value: Any, most: float, least: float | None = None) -> bool:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return (-most if least is None else least) <= value <= most
