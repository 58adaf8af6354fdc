"""Time of a device on the gateway's clocks: offset and drift by regression over round trips.

Owns the schedule of Time requests, the weight of each answer, the line through them, and the
detection of steps. Pure: time comes in as arguments, UTC from a callable. One object serves one
power-up of one device; its ticks count microseconds since that power-up.

A round trip bounds the offset: whatever the delays were, it lies within half the round-trip time
of the middle. An answer whose bounds do not meet the line is therefore proof of a step, and a
device that stalls can only widen its bounds, never shift them unseen.

The line of a power-up outlives it in `Fits`, because its items may come after the next has begun.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

FIRST_REQUESTS = 8
FIRST_INTERVAL_US = 500_000
INTERVAL_US = 5_000_000
SAMPLES_MAX = 64
# What crystals do between two boards, as a standard deviation; and more than any clock here does.
DRIFT_SIGMA = 50e-6
DRIFT_MAX = 500e-6
LEAST_SIGMA_US = 50.0
STEP_MARGIN_US = 20_000
# An interval cannot end after it was told; further ahead than this the mapping is wrong.
FUTURE_US = 2_000_000
OUTSTANDING_MAX = 8
# Answers behind a step until the new line is that of the power-up: a device that restarted may
# answer our Time before it says Hello.
SURE_ANSWERS = 3
# Power-ups of one device that are remembered; a ring in flash rarely holds more.
FITS_MAX = 8
# 2025-01-01: a Pi without a clock battery starts in 1970 or at its last shutdown.
EARLIEST_UTC_MS = 1_735_689_600_000


class Clocks(NamedTuple):
    """What time it is here: `mono_us` never steps, `utc_ms` is 0 while UTC is not known."""

    mono_us: Callable[[], int]
    utc_ms: Callable[[], int]


def system_clocks() -> Clocks:
    """The clocks of this machine."""
    return Clocks(lambda: time.monotonic_ns() // 1000, _system_utc_ms)


def _system_utc_ms() -> int:
    now_ms = time.time_ns() // 1_000_000
    return now_ms if now_ms >= EARLIEST_UTC_MS else 0


class _Sample(NamedTuple):
    device_us: float
    offset_us: float
    rtt_us: float


class Fit(NamedTuple):
    """A line: `offset_us` is what to add to device time `at_us`, and `drift` to that per us."""

    at_us: float
    offset_us: float
    drift: float

    def to_mono_us(self, device_us: float) -> float:
        """The gateway's monotonic time of a device tick."""
        return device_us + self.offset_us + self.drift * (device_us - self.at_us)


class Fits:
    """The lines of the last power-ups of one device, by boot number."""

    def __init__(self) -> None:
        self._fits: dict[int, Fit] = {}

    def __len__(self) -> int:
        return len(self._fits)

    def keep(self, boot: int, fit: Fit) -> None:
        """Remember the line of a power-up, the newest of it; of too many the lowest boot goes."""
        self._fits[boot] = fit
        if len(self._fits) > FITS_MAX:
            del self._fits[min(self._fits)]

    def get(self, boot: int) -> Fit | None:
        """The line of that power-up, None if it is not known."""
        return self._fits.get(boot)


class ClockSync:
    """Maps the device's clock to the gateway's monotonic clock, and that to UTC."""

    def __init__(self, utc_ms: Callable[[], int]) -> None:
        self._utc_ms = utc_ms
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES_MAX)
        self._outstanding: dict[int, int] = {}
        self._next_id = 0
        self._requests = 0
        self._due_us = 0
        self._at_us = 0.0
        self._offset_us = 0.0
        self._drift = 0.0
        self._before: Fit | None = None
        self._anchor_us = 0
        self._utc_minus_mono_ms = 0.0
        self._utc_known = False
        self.steps = 0
        self.unmatched = 0
        self.future = 0
        self.rtt_us = 0.0
        self.error_us = 0.0

    def reset(self) -> None:
        """Forget the device's clock: a power-up began, or may have. Counters stay."""
        self._samples.clear()
        self._before = None
        self._outstanding.clear()
        self._requests = 0
        self._due_us = 0

    @property
    def synced(self) -> bool:
        """Whether the device's clock is known on the gateway's (UTC may still be unknown)."""
        return bool(self._samples)

    @property
    def drift_ppm(self) -> float:
        """How much slower the device's clock runs than the gateway's, parts in a million."""
        return self._drift * 1e6

    @property
    def fit(self) -> Fit | None:
        """The line so far, None before the first answer; right behind a step the one before."""
        if self._before is not None and len(self._samples) < SURE_ANSWERS:
            return self._before
        if not self._samples:
            return None
        return Fit(self._at_us, self._offset_us, self._drift)

    def due(self, now_us: int) -> bool:
        """Whether a request should go out now."""
        return now_us >= self._due_us

    def ask(self, now_us: int) -> tuple[int, int, int]:
        """(id, gateway_us, utc_ms) of a request that goes out now."""
        ident = self._next_id
        self._next_id = (ident + 1) & 0xFFFF
        if len(self._outstanding) >= OUTSTANDING_MAX:
            del self._outstanding[next(iter(self._outstanding))]
        self._outstanding[ident] = now_us
        self._requests += 1
        early = self._requests < FIRST_REQUESTS
        self._due_us = now_us + (FIRST_INTERVAL_US if early else INTERVAL_US)
        return ident, now_us, self._utc_ms()

    def answered(
        self, ident: int, gateway_us: int, device_rx_us: int, device_tx_us: int, now_us: int
    ) -> bool:
        """Take an answer heard at `now_us`. False if no request of ours fits it (counted)."""
        sent_us = self._outstanding.get(ident)
        busy_us = device_tx_us - device_rx_us
        if sent_us != gateway_us or not 0 <= busy_us <= now_us - gateway_us:
            self.unmatched += 1
            return False
        del self._outstanding[ident]
        device_us = (device_rx_us + device_tx_us) / 2
        sample = _Sample(
            device_us, (gateway_us + now_us) / 2 - device_us, now_us - gateway_us - busy_us
        )
        if self._samples and self._stepped(sample):
            self.steps += 1
            self._before = self.fit
            self._samples.clear()
        self._samples.append(sample)
        self._fit()
        return True

    def _stepped(self, sample: _Sample) -> bool:
        age_us = abs(sample.device_us - self._at_us)
        slack_us = sample.rtt_us / 2 + self.error_us + STEP_MARGIN_US + DRIFT_MAX * age_us
        return abs(sample.offset_us - self._offset_at(sample.device_us)) > slack_us

    def _fit(self) -> None:
        """The line through the samples: least squares with what a crystal can do as prior.

        What a round trip took longer than the best one may all lie on one way, so half of it is
        the sample's uncertainty: the shortest ones decide. The prior keeps the slope at zero until
        the samples span enough time to tell it from their delays.
        """
        at_us, last_us, _rtt_us = self._samples[-1]
        best_us = min(sample.rtt_us for sample in self._samples)
        least_us = LEAST_SIGMA_US + best_us / 20
        w = wx = wo = wxo = 0.0
        wxx = 1 / DRIFT_SIGMA**2
        for device_us, offset_us, rtt_us in self._samples:
            weight = 1 / ((rtt_us - best_us) / 2 + least_us) ** 2
            away_us = device_us - at_us
            # Offsets may be as large as an uptime; small numbers keep the sums exact.
            moved_us = offset_us - last_us
            w += weight
            wx += weight * away_us
            wxx += weight * away_us * away_us
            wo += weight * moved_us
            wxo += weight * away_us * moved_us
        determinant = w * wxx - wx * wx
        self._at_us = at_us
        self._offset_us = last_us + (wo * wxx - wx * wxo) / determinant
        self._drift = (w * wxo - wx * wo) / determinant
        self.rtt_us = best_us
        # Half the best round trip is what no averaging can find out: it may all lie on one way.
        self.error_us = best_us / 2 + (wxx / determinant) ** 0.5

    def _offset_at(self, device_us: float) -> float:
        return self._offset_us + self._drift * (device_us - self._at_us)

    def to_mono_us(self, device_us: float) -> float:
        """The gateway's monotonic time of a device tick. Senseless unless `synced`."""
        return device_us + self._offset_at(device_us)

    def stats(self) -> dict[str, float]:
        """State and counters, units in the names."""
        return {
            "clock_rtt_us": round(self.rtt_us),
            "clock_error_us": round(self.error_us),
            "clock_drift_ppm": round(self.drift_ppm, 2),
            "clock_steps": self.steps,
            "clock_unmatched": self.unmatched,
            "clock_future": self.future,
        }

    def anchor(self, now_us: int) -> None:
        """Take the present relation of UTC and the monotonic clock; `to_utc_ms` uses the last."""
        utc_ms = self._utc_ms()
        self._utc_known = utc_ms > 0
        self._anchor_us = now_us
        self._utc_minus_mono_ms = utc_ms - now_us / 1000

    def to_utc_ms(self, device_ms: int) -> tuple[int, bool]:
        """(UTC ms, True) of a device time, or (0, False) while either clock is not known."""
        if not (self._samples and self._utc_known):
            return 0, False
        device_us = device_ms * 1000
        return self._utc(device_us + self._offset_us + self._drift * (device_us - self._at_us))

    def to_utc_ms_by(self, fit: Fit, device_ms: int) -> tuple[int, bool]:
        """The same for a time of an earlier power-up, whose line is given."""
        return self._utc(fit.to_mono_us(device_ms * 1000)) if self._utc_known else (0, False)

    def _utc(self, mono_us: float) -> tuple[int, bool]:
        if mono_us > self._anchor_us + FUTURE_US:
            self.future += 1
            return 0, False
        utc_ms = round(mono_us / 1000 + self._utc_minus_mono_ms)
        return (utc_ms, True) if utc_ms > 0 else (0, False)
