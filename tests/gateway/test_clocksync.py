"""Clock sync against simulated clocks whose true relation the test knows."""

import random

from hypothesis import example, given, settings
from hypothesis import strategies as st

from clampgateway.clocksync import (
    EARLIEST_UTC_MS,
    FITS_MAX,
    SURE_ANSWERS,
    ClockSync,
    Fit,
    Fits,
    system_clocks,
)

UTC_MS = 1_760_000_000_000


class World:
    """True time, a device clock with offset and drift, a line with delays."""

    def __init__(self, offset_us: float, ppm: float, seed: int = 1) -> None:
        self.now_us = 5_000_000_000
        self.utc_step_ms = 0
        self.utc_known = True
        self._offset_us = offset_us
        self._rate = 1 + ppm * 1e-6
        self._random = random.Random(seed)
        self.sync = ClockSync(self.utc_ms)

    def utc_ms(self) -> int:
        return UTC_MS + self.now_us // 1000 + self.utc_step_ms if self.utc_known else 0

    def device_us(self, true_us: float) -> int:
        return int((true_us - self._offset_us) * self._rate)

    def jump_device(self, by_us: float) -> None:
        self._offset_us -= by_us

    def exchange(self, up_us: float, down_us: float, busy_us: float = 300) -> None:
        ident, asked_us, _utc = self.sync.ask(self.now_us)
        heard = self.now_us + down_us
        told = heard + busy_us
        self.now_us = int(told + up_us)
        assert self.sync.answered(
            ident, asked_us, self.device_us(heard), self.device_us(told), self.now_us
        )

    def run(self, seconds: float, jitter_us: float) -> None:
        until_us = self.now_us + seconds * 1e6
        while self.now_us < until_us:
            if self.sync.due(self.now_us):
                delays = [self._random.expovariate(1 / jitter_us) + 100 for _ in range(2)]
                self.exchange(*delays)
            self.now_us += 500_000

    def error_us(self) -> float:
        """How wrong the mapping of the present moment is."""
        return abs(self.sync.to_mono_us(self.device_us(self.now_us)) - self.now_us)


@settings(max_examples=60, deadline=None)
@given(
    offset_s=st.floats(-1e5, 1e5),
    ppm=st.floats(-100, 100),
    jitter_us=st.floats(10, 20_000),
    minutes=st.floats(0.05, 20),
    seed=st.integers(0, 2**32),
)
@example(offset_s=0.0, ppm=0.0, jitter_us=13341.0, minutes=8.0, seed=15281191)
def test_any_clock_is_mapped_within_what_the_delays_allow(
    offset_s: float, ppm: float, jitter_us: float, minutes: float, seed: int
) -> None:
    world = World(offset_s * 1e6, ppm, seed)
    world.run(60 * minutes, jitter_us)
    assert world.sync.steps == 0
    # `error_us` bounds one way against the other and gives two sigma of the rest, at the last
    # answer; the present is up to 5.5 s behind that.
    assert world.error_us() <= 2 * world.sync.error_us + 5.5 * abs(ppm)


def test_drift_is_learned_and_helps() -> None:
    world = World(12e6, 80.0)
    world.run(600, 300)
    # device_us runs 80 ppm fast, so the offset falls by 80 us a second.
    assert abs(world.sync.drift_ppm + 80) < 5
    assert world.error_us() < 150


def test_one_stalled_answer_among_good_ones_changes_nothing() -> None:
    world = World(0.0, 0.0)
    world.run(30, 100)
    before = world.error_us()
    world.exchange(up_us=400_000, down_us=100)
    assert world.sync.steps == 0
    assert world.error_us() <= before + 50


def test_a_step_is_seen_at_the_next_answer_and_counted_once() -> None:
    world = World(0.0, 20.0)
    world.run(120, 200)
    world.jump_device(3_600e6)
    world.exchange(200, 200)
    assert world.sync.steps == 1
    assert world.error_us() < 500
    world.run(60, 200)
    assert world.sync.steps == 1


def test_a_device_that_answers_before_its_hello_does_not_spoil_the_line_before() -> None:
    world = World(3e6, 30.0)
    assert world.sync.fit is None
    world.run(120, 200)
    before = world.sync.fit
    assert before is not None
    moment_us = world.now_us
    ticks = world.device_us(moment_us)
    world.jump_device(-100e6)  # it has restarted: its time is another
    for _ in range(SURE_ANSWERS - 1):
        world.exchange(200, 200)
        assert world.sync.fit == before
    assert abs(before.to_mono_us(ticks) - moment_us) < 500
    world.exchange(200, 200)
    after = world.sync.fit
    assert after is not None
    assert abs(after.to_mono_us(world.device_us(world.now_us)) - world.now_us) < 500
    world.sync.reset()
    assert world.sync.fit is None


def test_a_line_dates_with_its_drift_and_not_into_the_future() -> None:
    world = World(3e6, 80.0)
    world.run(600, 300)
    fit = world.sync.fit
    assert fit is not None
    moment_us = world.now_us + 3_600_000_000  # 80 ppm of an hour are 288 ms
    ticks_ms = world.device_us(moment_us) // 1000
    world.sync.reset()
    assert world.sync.to_utc_ms_by(fit, ticks_ms) == (0, False)  # UTC was never looked at
    world.sync.anchor(world.now_us)
    assert world.sync.to_utc_ms_by(fit, ticks_ms) == (0, False)
    assert world.sync.future == 1
    world.now_us = moment_us
    world.sync.anchor(world.now_us)
    utc_ms, synced = world.sync.to_utc_ms_by(fit, ticks_ms)
    assert synced
    assert abs(utc_ms - (UTC_MS + moment_us / 1000)) < 20


def test_of_too_many_power_ups_the_oldest_is_forgotten() -> None:
    fits = Fits()
    for boot in range(1, FITS_MAX + 3):
        fits.keep(boot, Fit(0.0, boot, 0.0))
    fits.keep(FITS_MAX + 2, Fit(0.0, 7.0, 0.0))
    assert len(fits) == FITS_MAX
    assert fits.get(2) is None
    third, last = fits.get(3), fits.get(FITS_MAX + 2)
    assert third is not None
    assert third.offset_us == 3
    assert last is not None
    assert last.offset_us == 7


def test_an_answer_to_nothing_we_asked_is_counted_and_ignored() -> None:
    world = World(0.0, 0.0)
    ident, asked_us, _utc = world.sync.ask(world.now_us)
    later = world.now_us + 1000
    assert not world.sync.answered(ident + 1, asked_us, 0, 10, later)
    assert not world.sync.answered(ident, asked_us - 1, 0, 10, later)
    assert not world.sync.answered(ident, asked_us, 10, 9, later)  # sent before it was heard
    assert not world.sync.answered(ident, asked_us, 0, 5000, later)  # took longer than it took
    assert not world.sync.synced
    assert world.sync.answered(ident, asked_us, 0, 10, later)
    assert not world.sync.answered(ident, asked_us, 0, 10, later)  # the same once more
    assert world.sync.unmatched == 5


def test_requests_come_fast_at_first_and_then_every_five_seconds() -> None:
    sync = ClockSync(lambda: UTC_MS)
    at_s = []
    for tenth in range(300):
        if sync.due(tenth * 100_000):
            at_s.append(tenth / 10)
            assert sync.ask(tenth * 100_000)[2] == UTC_MS
    assert at_s[:8] == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]
    assert at_s[8:11] == [8.5, 13.5, 18.5]


def test_utc_of_a_device_time_and_what_makes_it_unknown() -> None:
    world = World(7e6, 0.0)
    sync = world.sync
    sync.anchor(world.now_us)
    assert sync.to_utc_ms(1000) == (0, False)  # nothing heard yet
    world.exchange(100, 100)
    moment_us = world.now_us - 2_000_000
    sync.anchor(world.now_us)
    utc_ms, synced = sync.to_utc_ms(world.device_us(moment_us) // 1000)
    assert synced
    assert abs(utc_ms - (UTC_MS + moment_us / 1000)) <= 2
    world.utc_known = False
    sync.anchor(world.now_us)
    assert sync.to_utc_ms(1000) == (0, False)
    world.utc_known = True
    sync.anchor(world.now_us)
    sync.reset()
    assert sync.to_utc_ms(1000) == (0, False)


def test_a_step_of_utc_is_followed_at_once_without_any_new_answer() -> None:
    world = World(0.0, 0.0)
    world.exchange(100, 100)
    moment_ms = world.device_us(world.now_us) // 1000
    world.sync.anchor(world.now_us)
    before, _ = world.sync.to_utc_ms(moment_ms)
    world.utc_step_ms = 3_600_000
    world.sync.anchor(world.now_us)
    after, _ = world.sync.to_utc_ms(moment_ms)
    assert after - before == 3_600_000
    assert world.sync.steps == 0


def test_an_end_in_the_future_is_not_believed() -> None:
    world = World(0.0, 0.0)
    world.exchange(100, 100)
    world.sync.anchor(world.now_us)
    now_ms = world.device_us(world.now_us) // 1000
    assert world.sync.to_utc_ms(now_ms + 1000)[1]
    assert world.sync.to_utc_ms(now_ms + 60_000) == (0, False)
    assert world.sync.future == 1


def test_the_machine_has_clocks() -> None:
    clocks = system_clocks()
    first = clocks.mono_us()
    assert clocks.mono_us() >= first
    utc_ms = clocks.utc_ms()
    assert utc_ms == 0 or utc_ms >= EARLIEST_UTC_MS


def test_a_date_names_the_era_of_utc_that_it_is_of() -> None:
    world = World(0.0, 0.0)
    era = 2
    world.sync = ClockSync(world.utc_ms, lambda: era)
    world.exchange(100, 100)
    moment_ms = world.device_us(world.now_us) // 1000
    world.sync.anchor(world.now_us)
    era = 3  # not before the next look at the clock
    assert world.sync.to_utc_ms(moment_ms)[1] == 2
    world.sync.anchor(world.now_us)
    assert world.sync.to_utc_ms(moment_ms)[1] == 3
    fit = world.sync.fit
    assert fit is not None
    assert world.sync.to_utc_ms_by(fit, moment_ms)[1] == 3
    # A line to UTC itself is of no era: what becomes of this one does not make it wrong.
    leads = fit._replace(offset_us=fit.offset_us + 1000 * UTC_MS, utc=True)
    assert world.sync.to_utc_ms_by(leads, moment_ms)[1] == 1
