"""Time of a device on the gateway's clocks: offset and drift by regression over round trips.

Owns the schedule of Time requests, the weight of each answer, the line through them, and the
detection of steps. Pure: time comes in as arguments, UTC from a callable. One object serves one
power-up of one device; its ticks count microseconds since that power-up.

A round trip bounds the offset: whatever the delays were, it lies within half the round-trip time
of the middle. An answer whose bounds do not meet the line is therefore proof of a step, and a
device that stalls can only widen its bounds, never shift them unseen.

The line of a power-up outlives it in `Fits`, because its items may come after the next has begun.
It outlives its session, too: the next one of the same power-up goes on from it, even after a
restart of the gateway, so that the times of its records do not jump. The first answer must agree.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
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
# What a line that was kept may be wrong by, beyond its own estimate: UTC was set anew meanwhile,
# and a crystal changes its rate with the temperature.
KEPT_MARGIN_US = 5_000
KEPT_WANDER = 5e-6
# What a line that was kept weighs at most, in answers: the new ones soon weigh more.
KEPT_SAMPLES_MAX = 16
# An interval cannot end after it was told; further ahead than this the mapping is wrong.
FUTURE_US = 2_000_000
OUTSTANDING_MAX = 8
# Answers behind a step until the new line is that of the power-up: a device that restarted may
# answer our Time before it says Hello.
SURE_ANSWERS = 3
# Power-ups of one device that are remembered; a ring in flash rarely holds more.
FITS_MAX = 8
# The era of UTC of a time that no step of the present one makes wrong.
NO_ERA = 1
# 2025-01-01: a Pi without a clock battery starts in 1970 or at its last shutdown.
EARLIEST_UTC_MS = 1_735_689_600_000


class Clocks(NamedTuple):
    """What time it is here: `mono_us` never steps, `utc_ms` is 0 while UTC is not known.

    `power_up` names the run of this machine in which `mono_us` counts; "" if that is not known.
    `era`: of UTC, as `utc_ms` told it last.
    """

    mono_us: Callable[[], int]
    utc_ms: Callable[[], int]
    power_up: str = ""
    era: Callable[[], int] = lambda: NO_ERA


def system_clocks() -> Clocks:
    """The clocks of this machine."""
    # Ref: Linux random(4): boot_id is made once at each start of the machine.
    path = Path("/proc/sys/kernel/random/boot_id")
    power_up = path.read_text("ascii").strip() if path.exists() else ""
    return Clocks(lambda: time.monotonic_ns() // 1000, _system_utc_ms, power_up)


def _system_utc_ms() -> int:
    now_ms = time.time_ns() // 1_000_000
    return now_ms if now_ms >= EARLIEST_UTC_MS else 0


class _Sample(NamedTuple):
    device_us: float
    offset_us: float
    rtt_us: float


class Fit(NamedTuple):
    """A line: `offset_us` is what to add to device time `at_us`, and `drift` to that per us.

    It leads to the gateway's monotonic clock, or with `utc` to UTC, where that clock has started
    anew since. `error_us` and `drift_sigma` estimate what it may be wrong by at `at_us` and per us
    away from it; it was drawn through `answers` of the last `span_us`, the best of which
    took `rtt_us`.
    """

    at_us: float
    offset_us: float
    drift: float
    error_us: float = 0.0
    drift_sigma: float = DRIFT_SIGMA
    rtt_us: float = 0.0
    span_us: float = 0.0
    answers: int = 1
    utc: bool = False

    def to_mono_us(self, device_us: float) -> float:
        """The gateway's monotonic time of a device tick; with `utc`, UTC in us."""
        return device_us + self.offset_at(device_us)

    def offset_at(self, device_us: float) -> float:
        """What to add to a device tick."""
        return self.offset_us + self.drift * (device_us - self.at_us)

    def doubt_us(self, device_us: float) -> float:
        """How far it may be off at a device tick."""
        away_us = abs(device_us - self.at_us)
        return self.error_us + (3 * self.drift_sigma + KEPT_WANDER) * away_us + KEPT_MARGIN_US

    def samples(self) -> list[_Sample]:
        """Answers that would have given this line."""
        count = min(self.answers, KEPT_SAMPLES_MAX)
        steps = [
            self.span_us * (index / (count - 1) if count > 1 else 0) for index in range(count)
        ]
        places = [self.at_us - back_us for back_us in reversed(steps)]
        return [_Sample(at_us, self.offset_at(at_us), self.rtt_us) for at_us in places]


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

    def all(self) -> dict[int, Fit]:
        """All lines, by boot."""
        return dict(self._fits)


class ClockSync:
    """Maps the device's clock to the gateway's monotonic clock, and that to UTC."""

    def __init__(self, utc_ms: Callable[[], int], era: Callable[[], int] = lambda: NO_ERA) -> None:
        self._utc_ms = utc_ms
        self._era_of = era
        self._samples: deque[_Sample] = deque(maxlen=SAMPLES_MAX)
        self._outstanding: dict[int, int] = {}
        self._next_id = 0
        self._requests = 0
        self._due_us = 0
        self._at_us = 0.0
        self._offset_us = 0.0
        self._drift = 0.0
        self._drift_sigma = DRIFT_SIGMA
        self._before: Fit | None = None
        self._kept: Fit | None = None
        self._anchor_us = 0
        self._utc_minus_mono_ms = 0.0
        self._utc_known = False
        self._era = NO_ERA
        self.steps = 0
        self.unmatched = 0
        self.future = 0
        self.resumed = 0
        self.contradicted = 0
        self.rtt_us = 0.0
        self.error_us = 0.0

    def reset(self) -> None:
        """Forget the device's clock: a power-up began, or may have. Counters stay."""
        self._samples.clear()
        self._before = self._kept = None
        self._outstanding.clear()
        self._requests = 0
        self._due_us = 0

    def resume(self, kept: Fit | None) -> None:
        """Go on from this line, if it is one and the first answer agrees with it."""
        self._kept = kept

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
        first_us = min(sample.device_us for sample in self._samples)
        return Fit(
            self._at_us,
            self._offset_us,
            self._drift,
            self.error_us,
            self._drift_sigma,
            self.rtt_us,
            max(0.0, self._at_us - first_us),
            len(self._samples),
        )

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
        if self._kept is not None:
            self._take_up(self._kept, sample)
        elif self._samples and self._stepped(sample):
            self.steps += 1
            self._before = self.fit
            self._samples.clear()
        self._samples.append(sample)
        self._fit()
        return True

    def _take_up(self, kept: Fit, sample: _Sample) -> None:
        self._kept = None
        if kept.utc:
            if not self._utc_known:
                return
            kept = kept._replace(
                offset_us=kept.offset_us - 1000 * self._utc_minus_mono_ms, utc=False
            )
        off_us = abs(sample.offset_us - kept.offset_at(sample.device_us))
        if off_us > sample.rtt_us / 2 + kept.doubt_us(sample.device_us):
            self.contradicted += 1
            return
        self.resumed += 1
        self._samples.extend(kept.samples())

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
        # The rest is expanded (k = 2), as every uncertainty that is told: delays have long tails.
        self.error_us = best_us / 2 + 2 * (wxx / determinant) ** 0.5
        self._drift_sigma = (w / determinant) ** 0.5

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
            "clock_resumed": self.resumed,
            "clock_contradicted": self.contradicted,
        }

    def anchor(self, now_us: int) -> None:
        """Take the present relation of UTC and the monotonic clock; `to_utc_ms` uses the last."""
        utc_ms = self._utc_ms()
        self._utc_known = utc_ms > 0
        self._era = self._era_of()
        self._anchor_us = now_us
        self._utc_minus_mono_ms = utc_ms - now_us / 1000

    def to_utc_ms(self, device_ms: int) -> tuple[int, int]:
        """(UTC ms, its era) of a device time, or (0, 0) while either clock is not known."""
        if not (self._samples and self._utc_known):
            return 0, 0
        device_us = device_ms * 1000
        return self._utc(
            device_us + self._offset_us + self._drift * (device_us - self._at_us), self._era
        )

    def to_utc_ms_by(self, fit: Fit, device_ms: int) -> tuple[int, int]:
        """The same for a time of an earlier power-up, whose line is given."""
        if not self._utc_known:
            return 0, 0
        at_us = fit.to_mono_us(device_ms * 1000)
        if fit.utc:
            return self._utc(at_us - 1000 * self._utc_minus_mono_ms, NO_ERA)
        return self._utc(at_us, self._era)

    def _utc(self, mono_us: float, era: int) -> tuple[int, int]:
        if mono_us > self._anchor_us + FUTURE_US:
            self.future += 1
            return 0, 0
        utc_ms = round(mono_us / 1000 + self._utc_minus_mono_ms)
        return (utc_ms, era) if utc_ms > 0 else (0, 0)
