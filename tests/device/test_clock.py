"""Device time: microseconds beyond the wrap of ticks, milliseconds counted beside them."""

from clampdevice.clock import TICKS_PERIOD, Clock
from clampdevice.ticks import TICKS_MASK, ticks_diff


class _Ticks:
    """A counter of microseconds that wraps as MicroPython's does."""

    def __init__(self, at_us: int) -> None:
        self.at_us = at_us

    def __call__(self) -> int:
        return self.at_us & TICKS_MASK


def test_microseconds_go_on_beyond_the_wrap():
    ticks = _Ticks(TICKS_PERIOD - 5)
    clock = Clock(ticks)
    ticks.at_us += 10
    assert clock.now_us() == 10
    for _ in range(5):
        ticks.at_us += TICKS_PERIOD - 1
        clock.now_us()
    assert clock.now_us() == 10 + 5 * (TICKS_PERIOD - 1)


def test_milliseconds_are_those_of_the_microseconds_whoever_asks_when():
    for asked in ("ms", "us", "both"):
        ticks = _Ticks(987)
        clock = Clock(ticks)
        spent_us = 0
        for step_us in (0, 1, 998, 1, 999, 1000, 1001, 7, 123456789, TICKS_PERIOD - 1, 3, 60001):
            ticks.at_us += step_us
            spent_us += step_us
            if asked != "us":
                assert clock.now_ms() == spent_us // 1000, (asked, step_us)
            if asked != "ms":
                assert clock.now_us() == spent_us, (asked, step_us)
        assert clock.now_ms() == spent_us // 1000
        assert clock.now_us() == spent_us


def test_a_difference_is_signed_and_takes_any_times():
    assert ticks_diff(5, TICKS_MASK) == 6
    assert ticks_diff(TICKS_MASK, 5) == -6
    late_us = 3 * TICKS_PERIOD + 100
    assert ticks_diff(late_us, late_us - 250) == 250
    assert ticks_diff(late_us - 250, late_us) == -250
    assert ticks_diff(late_us, (late_us - 250) & TICKS_MASK) == 250
