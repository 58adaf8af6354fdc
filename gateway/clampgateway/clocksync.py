"""Time of a device on the gateway's clocks: offset and drift by regression over round trips.

Owns the schedule of Time requests, the choice of the good answers, the line through them, and the
detection of steps. Pure: time comes in as arguments, UTC from a callable. One object serves one
power-up of one device; its ticks count microseconds since that power-up.

A round trip bounds the offset: whatever the delays were, it lies within half the round-trip time
of the middle. An answer whose bounds do not meet the line is therefore proof of a step, and a
device that stalls can only widen its bounds, never shift them unseen.
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
# A slope is fitted only over a span in which a crystal's 50 ppm stand out from the round trips.
SLOPE_SPAN_US = 60_000_000
DRIFT_MAX = 500e-6
STEP_MARGIN_US = 20_000
# An interval cannot end after it was told; further ahead than this the mapping is wrong.
FUTURE_US = 2_000_000
OUTSTANDING_MAX = 8
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
            self._samples.clear()
        self._samples.append(sample)
        self._fit()
        return True

    def _stepped(self, sample: _Sample) -> bool:
        last = self._samples[-1]
        age_us = sample.device_us - last.device_us
        slack_us = sample.rtt_us / 2 + self.error_us + STEP_MARGIN_US + DRIFT_MAX * abs(age_us)
        return abs(sample.offset_us - self._offset_at(sample.device_us)) > slack_us

    def _fit(self) -> None:
        """The weighted line through the samples with the shortest round trips."""
        best_us = min(sample.rtt_us for sample in self._samples)
        limit_us = max(2 * best_us, best_us + 1000)
        good = [sample for sample in self._samples if sample.rtt_us <= limit_us]
        weights = [1 / (sample.rtt_us + 100) ** 2 for sample in good]
        total = sum(weights)
        mean_at = sum(w * s.device_us for w, s in zip(weights, good, strict=True)) / total
        mean = sum(w * s.offset_us for w, s in zip(weights, good, strict=True)) / total
        drift = 0.0
        if good[-1].device_us - good[0].device_us >= SLOPE_SPAN_US and len(good) >= 4:
            spread = covariance = 0.0
            for weight, sample in zip(weights, good, strict=True):
                away = sample.device_us - mean_at
                spread += weight * away * away
                covariance += weight * away * (sample.offset_us - mean)
            drift = max(-DRIFT_MAX, min(DRIFT_MAX, covariance / spread))
        self._at_us, self._offset_us, self._drift = mean_at, mean, drift
        squares = sum(
            w * (s.offset_us - self._offset_at(s.device_us)) ** 2
            for w, s in zip(weights, good, strict=True)
        )
        self.rtt_us = best_us
        self.error_us = best_us / 2 + (squares / total) ** 0.5

    def _offset_at(self, device_us: float) -> float:
        return self._offset_us + self._drift * (device_us - self._at_us)

    def to_mono_us(self, device_us: float) -> float:
        """The gateway's monotonic time of a device tick. Senseless unless `synced`."""
        return device_us + self._offset_at(device_us)

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
        mono_us = device_us + self._offset_us + self._drift * (device_us - self._at_us)
        if mono_us > self._anchor_us + FUTURE_US:
            self.future += 1
            return 0, False
        return max(0, round(mono_us / 1000 + self._utc_minus_mono_ms)), True
