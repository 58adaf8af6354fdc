"""When UTC is believed, which steps are seen, and which times they make wrong. No real clock."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clampgateway.kernelclock import ClockStatus, KernelClock, steady_us, wall_ms
from clampgateway.utcclock import (
    ASK_US,
    ASSUMED,
    BEHIND_MS,
    EARLIEST_UTC_MS,
    HOLD_US,
    SET,
    STEP_MS,
    SYNCHRONISED,
    UNKNOWN,
    Era,
    UtcClock,
    corrections,
)

UTC_MS = 1_790_000_000_000
HOUR_MS = 3_600_000
SECOND_US = 1_000_000


class World:
    """A machine: its steady clock, what its system says, what its kernel says of that."""

    def __init__(self, wall_ms: float = UTC_MS, *, restored: bool = False) -> None:
        self.now_us = 5 * SECOND_US
        self.offset_ms = wall_ms - self.now_us / 1000
        self.status = ClockStatus(False, restored)
        self.delays_us: list[int] = []
        self.eras: list[Era] = []

    def wall_ms(self) -> int:
        if self.delays_us:
            self.now_us += self.delays_us.pop(0)
        return round(self.now_us / 1000 + self.offset_ms)

    def clock(self, seen_ms: int = 0, power_up: str = "run") -> UtcClock:
        return UtcClock(
            lambda: self.now_us, self.wall_ms, lambda: self.status, power_up, self.eras, seen_ms
        )

    def kernel(self, synchronised: bool | None) -> None:
        self.status = self.status._replace(synchronised=synchronised)

    def go(self, clock: UtcClock, seconds: float = 2.0) -> int:
        """Time passes; what the clock says then. Its news are kept, as the store does."""
        said = 0
        for _ in range(2):
            self.now_us += round(seconds * SECOND_US / 2)
            said = clock.utc_ms()
        kept = {era.number: era for era in self.eras}
        kept.update({era.number: era for era in clock.news()})
        self.eras = sorted(kept.values())
        return said

    @property
    def utc_ms(self) -> float:
        return self.now_us / 1000 + self.offset_ms


def near(said: int, wanted: float) -> bool:
    return abs(said - wanted) <= 1


def test_a_plausible_clock_is_used_at_once_and_known_by_its_kernel_later() -> None:
    world = World()
    clock = world.clock()
    assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.why, clock.problem()) == (2, ASSUMED, "")
    world.kernel(True)
    assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.why) == (2, SYNCHRONISED)
    assert [era.number for era in world.eras] == [2]


@pytest.mark.parametrize("wall_ms", [0, EARLIEST_UTC_MS - 1 - 5000])
def test_a_start_in_1970_is_unknown_until_the_step(wall_ms: int) -> None:
    world = World(wall_ms)
    clock = world.clock()
    assert world.go(clock) == 0
    world.kernel(True)  # that alone is no proof against a year that cannot be
    assert world.go(clock) == 0
    world.kernel(False)
    assert "UTC is not known" in clock.problem()
    world.offset_ms = UTC_MS
    assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.why, clock.problem(), clock.steps) == (2, SET, "", 1)


def test_a_time_from_a_file_is_not_believed_until_it_is_set_or_synchronised() -> None:
    for heals in (lambda world: world.kernel(True), lambda world: _step(world, 3 * HOUR_MS)):
        world = World(restored=True)
        clock = world.clock()
        assert world.go(clock, 600) == 0
        assert "last shutdown" in clock.problem()
        heals(world)
        assert near(world.go(clock), world.utc_ms)
        assert clock.problem() == ""


def _step(world: World, by_ms: float) -> None:
    world.offset_ms += by_ms


def test_a_time_before_what_was_utc_here_already_is_not_believed() -> None:
    world = World()
    clock = world.clock(seen_ms=UTC_MS + BEHIND_MS + 10_000)
    assert world.go(clock, 5) == 0
    assert near(world.go(clock, 20), world.utc_ms)  # nothing speaks against it any more
    assert clock.why == ASSUMED


def test_a_step_ends_the_era_and_says_by_how_much_it_was_wrong() -> None:
    world = World()
    clock = world.clock()
    world.go(clock)
    _step(world, HOUR_MS)
    assert near(world.go(clock), world.utc_ms)
    assert corrections(world.eras) == {2: (HOUR_MS, 3)}
    _step(world, -HOUR_MS)
    assert near(world.go(clock), world.utc_ms)
    assert corrections(world.eras) == {3: (-HOUR_MS, 4)}  # the first was right


def test_less_than_a_second_is_followed() -> None:
    world = World()
    clock = world.clock()
    world.go(clock)
    for _ in range(50):
        _step(world, 0.9 * STEP_MS)
        assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.steps) == (2, 0)
    _step(world, HOUR_MS)
    world.go(clock)
    # The last times of the first era were right but for the step.
    assert corrections(world.eras) == {2: (HOUR_MS, 3)}


def test_what_was_synchronised_is_held_against_a_hand_for_a_while() -> None:
    world = World()
    clock = world.clock()
    world.kernel(True)
    world.go(clock)
    right_ms = world.offset_ms
    world.kernel(False)  # as Linux does when the clock is set
    _step(world, HOUR_MS)
    assert near(world.go(clock, 60), world.now_us / 1000 + right_ms)
    assert "not believed yet" in clock.problem()
    assert (clock.era, clock.held) == (2, 1)
    _step(world, -HOUR_MS + 3)  # the time service puts it right
    world.kernel(True)
    assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.problem(), corrections(world.eras)) == (2, "", {})
    world.kernel(False)
    _step(world, HOUR_MS)  # again, and it stays
    world.go(clock, 10)
    assert near(world.go(clock, HOLD_US / SECOND_US + 5), world.utc_ms)
    assert corrections(world.eras) == {2: (HOUR_MS, 3)}
    # Now it is somebody's word against nobody's.
    _step(world, 1500)
    assert near(world.go(clock), world.utc_ms)
    assert clock.era == 4


def test_a_step_of_a_time_service_is_believed_at_once() -> None:
    world = World()
    clock = world.clock()
    world.kernel(True)
    world.go(clock)
    _step(world, -5000)
    assert near(world.go(clock), world.utc_ms)
    assert (clock.era, clock.held) == (3, 0)


def test_a_fall_back_to_1970_changes_nothing_that_is_known() -> None:
    world = World()
    clock = world.clock()
    world.go(clock)
    right_ms = world.offset_ms
    world.offset_ms = 0
    assert near(world.go(clock, 4000), world.now_us / 1000 + right_ms)
    assert "not believed yet" in clock.problem()
    assert corrections(world.eras) == {}


def test_a_restart_of_the_gateway_goes_on_in_its_era() -> None:
    world = World(restored=True)
    clock = world.clock()
    world.kernel(True)
    world.go(clock)
    world.kernel(False)
    again = world.clock(seen_ms=UTC_MS)
    assert near(world.go(again), world.utc_ms)
    assert again.era == 2
    _step(world, 7000)  # while nobody was there
    third = world.clock(seen_ms=UTC_MS)
    assert near(world.go(third), world.utc_ms)
    assert corrections(world.eras) == {2: (7000, 3)}


def test_another_run_of_the_machine_says_nothing_of_the_one_before() -> None:
    world = World()
    world.go(world.clock())
    world.now_us = 0
    world.offset_ms = UTC_MS + 9 * HOUR_MS
    for power_up in ("next run", ""):
        clock = world.clock(power_up=power_up)
        world.go(clock)
        assert corrections(world.eras) == {}
    assert [era.number for era in world.eras] == [2, 3, 4]


def test_a_kernel_that_says_nothing_is_as_one_that_is_not_synchronised() -> None:
    world = World()
    world.kernel(None)
    clock = world.clock()
    assert near(world.go(clock), world.utc_ms)
    assert clock.why == ASSUMED


def test_a_pause_between_the_two_readings_is_no_step() -> None:
    world = World()
    clock = world.clock()
    world.go(clock)
    world.delays_us = [3 * SECOND_US, 40 * SECOND_US]
    assert near(world.go(clock), world.utc_ms)
    world.delays_us = [3 * SECOND_US] * 12
    world.go(clock)
    assert (clock.era, clock.steps) == (2, 0)
    assert clock.stats()["reads_late"] == 2 + 5 + 5


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["pass", "slew", "step", "sync", "lose", "restart", "reset"]),
        st.floats(-2 * HOUR_MS, 2 * HOUR_MS),
    ),
    max_size=25,
)


@given(MOVES, st.booleans(), st.sampled_from([0.0, float(UTC_MS)]))
def test_in_the_end_all_of_one_run_are_right(
    moves: list[tuple[str, float]], restored: bool, start_ms: float
) -> None:
    """Whatever happened: once the kernel is sure, every time that was given is right or corrected.

    A time is (steady clock, what was said, era); corrected, it must be what UTC is now for that
    moment, within the second that is no step, and what slewing changed since.
    """
    world = World(start_ms, restored=restored)
    clock = world.clock()
    given_times: list[tuple[int, int, int, float]] = []
    slewed = 0.0

    def note() -> None:
        said = clock.utc_ms()
        world.eras = sorted({era.number: era for era in (*world.eras, *clock.news())}.values())
        assert (said == 0) == (clock.era == 0)
        if said:
            given_times.append((world.now_us, said, clock.era, slewed))

    note()
    for what, size in moves:
        world.now_us += 2 * SECOND_US
        if what == "slew":
            change = size / (2 * HOUR_MS) * 0.4 * STEP_MS
            world.offset_ms += change
            slewed += abs(change)
        elif what == "step" and abs(size) >= STEP_MS:
            world.offset_ms += size
            world.kernel(False)
        elif what in ("sync", "lose"):
            world.kernel(what == "sync" and world.utc_ms >= EARLIEST_UTC_MS)
        elif what == "restart":
            clock = world.clock()
        elif what == "reset":
            world.offset_ms = UTC_MS
            world.kernel(False)
        note()
    world.offset_ms = float(UTC_MS)
    world.kernel(True)
    world.now_us += 2 * SECOND_US
    note()
    right = corrections(world.eras)
    known = {era.number for era in world.eras}
    for at_us, said, era, slewed_then in given_times:
        assert era in known
        shift_ms, _into = right.get(era, (0, era))
        off_ms = said + shift_ms - (at_us / 1000 + world.offset_ms)
        assert abs(off_ms) <= STEP_MS + 2.001 + slewed - slewed_then  # sums of floats


# --- the machine it runs on ----------------------------------------------------------------------


def machine(tmp_path: Path, rtc_s: str | None, restored: bool) -> Callable[[], ClockStatus]:
    folder = tmp_path / "rtc"
    (folder / "rtc0").mkdir(parents=True)
    if rtc_s is not None:
        (folder / "rtc0" / "since_epoch").write_text(rtc_s)
    file = tmp_path / "clock"
    if restored:
        file.touch()
    return KernelClock(lambda: UTC_MS, folder, (tmp_path / "no", file))


@pytest.mark.parametrize(
    ("rtc_s", "file", "restored"),
    [
        (None, True, True),
        (None, False, False),
        (str(UTC_MS // 1000 + 20), True, False),
        ("77\n", True, True),  # a Pi 5 without its battery
        ("what", True, True),
        ("77", False, False),
    ],
)
def test_a_time_from_a_file_shows_by_the_missing_battery(
    tmp_path: Path, rtc_s: str | None, file: bool, restored: bool
) -> None:
    assert machine(tmp_path, rtc_s, file)().restored is restored


def test_the_kernel_is_asked() -> None:
    assert KernelClock(wall_ms)().synchronised in (True, False, None)
    before_us = steady_us()
    assert abs(wall_ms() - wall_ms()) < 1000
    assert 0 <= steady_us() - before_us < SECOND_US


def test_asking_is_rare() -> None:
    world = World()
    asked = []
    clock = UtcClock(
        lambda: world.now_us, world.wall_ms, lambda: asked.append(1) or world.status, "run"
    )
    for _ in range(1000):
        world.now_us += ASK_US // 100
        clock.utc_ms()
    assert 10 <= len(asked) <= 11
    assert clock.stats()["known_by"] != UNKNOWN
