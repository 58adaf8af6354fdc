"""Two levels told apart, or not, from counts alone; what is kept over a power cut."""

import math
from array import array

from clampdevice.judges import Status
from clampdevice.learn import BINS, LOWEST, MOST, Histogram, bin_of, level_of
from clampdevice.learner import FILE, SAVE_LEARNING_US, SAVE_US, LearnedJudge
from clampdevice.states import IDLE, OFF, UNKNOWN, WORKING

NAN = float("nan")


class Draw:
    """A small generator of Gaussian numbers, the same on both interpreters."""

    def __init__(self, seed: int = 1) -> None:
        self.state = seed

    def uniform(self) -> float:
        self.state = (self.state * 1103515245 + 12345) & 0x7FFFFFFF
        return (self.state >> 7) / (1 << 24)

    def normal(self) -> float:
        return sum(self.uniform() for _ in range(12)) - 6.0


def _counted(*parts) -> Histogram:
    """Counts of series of levels, one after another; none is kept, the heap is small."""
    histogram = Histogram()
    for levels in parts:
        for level in levels:
            histogram.add(level)
    return histogram


def _around(draw: Draw, level: float, spread: float, count: int):
    for _ in range(count):
        yield level * math.exp(spread * draw.normal())


def test_bins_are_of_nine_percent():
    assert bin_of(0.0) == bin_of(LOWEST) == 0
    assert bin_of(1e9) == BINS - 1
    for level in (0.0021, 0.05, 0.7, 3.3, 19.0, 640.0):
        ratio = level_of(bin_of(level) + 0.5) / level
        assert 0.95 < ratio < 1.05, (level, ratio)


def test_two_levels_are_told_apart():
    draw = Draw()
    histogram = _counted(_around(draw, 2.0, 0.1, 200), _around(draw, 9.0, 0.1, 100))
    above = histogram.split()
    assert above is not None and 3.0 < above < 6.0, above
    low, high = histogram.sides(above)
    assert abs(low[0] - 2.0) < 0.2 and abs(high[0] - 9.0) < 0.9
    assert (low[1], high[1]) == (200, 100)


def test_a_motor_with_a_large_current_without_load():
    draw = Draw(5)
    above = _counted(_around(draw, 3.4, 0.03, 150), _around(draw, 6.5, 0.08, 150)).split()
    assert above is not None and 4.0 < above < 5.6


def test_one_level_is_no_two():
    for seed in range(1, 13):
        draw = Draw(seed)
        for spread in (0.02, 0.1, 0.3, 0.6):
            assert _counted(_around(draw, 5.0, spread, 300)).split() is None, (seed, spread)
        wide = (math.exp(3 * draw.uniform()) for _ in range(300))
        assert _counted(wide).split() is None, seed


def test_a_few_windows_are_no_level():
    draw = Draw(3)
    assert _counted(_around(draw, 5.0, 0.1, 600), [60.0] * 20).split() is None
    assert _counted(_around(draw, 5.0, 0.1, 600), [60.0] * 40).split() is not None


def test_counts_fade():
    histogram = _counted(1.0 for _ in range(MOST - 1))
    assert histogram.total == MOST - 1
    histogram.add(8.0)
    assert MOST // 2 - 2 <= histogram.total <= MOST // 2
    assert sum(histogram.counts) == histogram.total


def test_kept_counts_are_the_same():
    histogram = _counted([1.0] * 70 + [5.0] * 70)
    other = Histogram()
    other.load(array("H", bytes(histogram.counts)))
    first, second = histogram.split(), other.split()
    assert first is not None and second is not None
    assert (first, other.total) == (second, 140)


class Channel:
    def __init__(self, key: str, quantity: str, floor: float = NAN) -> None:
        self.key = key
        self.config: dict = {}
        self.level: float | None = 0.0
        unit = {"current": "A", "vibration": "m/s2"}[quantity]
        self._told = (key, quantity, unit, "", 0.0, 50.0, floor)

    def describe(self) -> tuple:
        return self._told


class Files:
    def __init__(self) -> None:
        self.files: dict = {}
        self.writes = 0
        self.broken = False

    def read_file(self, name: str) -> bytes:
        return self.files.get(name, b"")

    def write_file(self, name: str, data: bytes) -> None:
        if self.broken:
            raise OSError(5)
        self.writes += 1
        self.files[name] = bytes(data)


class Machine:
    """A machine whose levels are given a window at a time."""

    def __init__(
        self, files: Files | None = None, vibration: bool = True, **learn: object
    ) -> None:
        self.current = Channel("current1", "current", 0.02)
        self.vibration = Channel("vibration1", "vibration", 0.05) if vibration else None
        channels = (self.current, self.vibration) if vibration else (self.current,)
        self.status = Status({"learn": learn}, channels, files)
        self.machine = self.status.machine
        self.learned = self.status.learned
        self.draw = Draw(7)
        self.at_us = 0
        self.news: list = []

    def run(self, windows: int, a: float | None, m_s2: float | None = 0.0) -> list:
        """The news of that many windows, as (ms, state)."""
        news = []
        for _ in range(windows):
            noise = 1 + 0.05 * self.draw.normal()
            self.current.level = None if a is None else a * noise
            if self.vibration is not None:
                self.vibration.level = None if m_s2 is None else m_s2 * noise
            told = self.machine.window(self.at_us, self.at_us + 200000)
            self.at_us += 200000
            if told is not None:
                news.append((told[0] // 1000, told[1]))
                self.news.append(told)
            self.status.keep(self.at_us)
        return news

    def learn(self) -> None:
        self.run(20, 0.0)
        for _ in range(8):
            self.run(20, 2.0, 0.3)
            self.run(25, 9.0, 3.0)


def test_no_state_before_evidence():
    machine = Machine()
    machine.run(50, 0.0)  # a clamp beside the cable reads nothing for ever
    machine.run(20, 2.0, 0.3)
    machine.run(20, 9.0, 3.0)
    assert machine.machine.state == UNKNOWN
    assert [told for told in machine.news if told[1] != UNKNOWN] == []
    texts = [told[2] for told in machine.news]
    assert texts[0] == "learning 1 of 300" and texts[1] == "learning 30 of 300", texts
    assert machine.machine.why()["learning"] == [40, 300]
    assert machine.machine.why()["reason"] == "learning 40 of 300"


def test_learned_in_a_minute_of_running():
    machine = Machine()
    machine.learn()
    assert machine.machine.state == WORKING
    since_ms = next(told[0] // 1000 for told in machine.news if told[1] == WORKING)
    assert since_ms <= (20 + 345) * 200
    why = machine.machine.why()
    assert why["mode"] == "learned" and why["state"] == "working"
    assert why["working"][0]["of"] == "vibration1" and 0.5 < why["working"][0]["above"] < 1.8
    assert abs(why["evidence"]["idle"] - 0.3) < 0.05, why
    assert why["learning"] == [300, 300]
    begin = machine.at_us // 1000
    assert machine.run(10, 2.0, 0.3) == [(begin, IDLE)]
    assert machine.run(10, 0.0) == [(begin + 2000, OFF)]
    assert machine.run(10, 9.0, 3.0) == [(begin + 4000, WORKING)]


def test_a_state_of_a_third_of_a_second_is_told():
    machine = Machine()
    machine.learn()
    machine.run(20, 2.0, 0.3)
    # 0.3 s from the middle of a window on: half of one, a whole one.
    begin = machine.at_us // 1000
    half = math.sqrt((0.3 * 0.3 + 3.0 * 3.0) / 2)
    assert machine.run(1, 6.5, half) + machine.run(1, 9.0, 3.0) + machine.run(10, 2.0, 0.3) == [
        (begin, WORKING),
        (begin + 400, IDLE),
    ]


def test_without_vibration_the_current_tells():
    machine = Machine(vibration=False)
    machine.learn()
    assert machine.machine.state == WORKING
    assert machine.machine.why()["working"][0]["of"] == "current1"


def test_vibration_that_tells_nothing_leaves_it_to_the_current():
    machine = Machine()
    for _ in range(8):
        machine.run(20, 2.0, 0.3)
        machine.run(20, 9.0, 0.3)
    assert machine.machine.state == WORKING
    assert machine.machine.why()["working"][0]["of"] == "current1"


def test_one_level_only_stays_unknown_unless_told_what_it_is():
    machine = Machine()
    machine.run(20, 0.0)
    machine.run(1000, 5.0, 1.0)
    assert machine.machine.state == UNKNOWN
    assert "one level only" in machine.news[-1][2], machine.news[-1]
    assert machine.run(10, 0.0)[0][1] == OFF  # off is off
    pump = Machine(single="working")
    pump.run(320, 5.0, 1.0)
    assert pump.machine.state == WORKING


def test_a_sensor_that_is_out_makes_it_unknown():
    machine = Machine()
    machine.learn()
    begin = machine.at_us // 1000
    assert machine.run(10, None, 3.0) == [(begin, UNKNOWN)]
    assert machine.machine.reason == "current1 has no samples"
    machine.run(10, 9.0, 3.0)
    assert machine.run(10, 9.0, None)[0][1] == UNKNOWN
    assert machine.machine.reason == "vibration1 has no samples"
    assert machine.run(10, 0.0, None)[0][1] == OFF  # the current is enough for that


def test_learning_goes_on_after_a_reboot():
    files = Files()
    machine = Machine(files)
    machine.run(150, 2.0, 0.3)
    machine.run(100, 9.0, 3.0)
    machine.run(301, 0.0)
    assert files.writes and machine.machine.state == OFF
    again = Machine(files)
    assert again.learned is not None and again.learned.windows == 250
    again.run(55, 9.0, 3.0)
    assert again.machine.state == WORKING
    assert again.news[0][2] == "learning 251 of 300", again.news


def test_what_was_learned_is_kept_and_written_rarely():
    files = Files()
    machine = Machine(files)
    machine.learn()
    machine.run(301, 9.0, 3.0)
    writes = files.writes
    assert 1 <= writes <= 4, writes
    machine.run(SAVE_US // 200000 - 302, 9.0, 3.0)
    assert files.writes <= writes + 2, (writes, files.writes)
    again = Machine(files)
    assert again.run(10, 9.0, 3.0) == [(0, WORKING)]
    assert again.machine.why()["evidence"]["working_windows"] > 1000


def test_what_cannot_be_read_is_no_knowledge():
    files = Files()
    machine = Machine(files)
    machine.learn()
    machine.run(301, 9.0, 3.0)
    whole = files.files[FILE]
    for data in (b"", whole[:-1], whole[:40] + b"\x55" + whole[41:], whole + b"0"):
        files.files[FILE] = data
        again = Machine(files)
        assert again.learned is not None and again.learned.windows == 0
    files.files[FILE] = whole
    other = Machine(files, vibration=False)  # other sensors: other levels
    assert other.learned is not None and other.learned.windows == 0


def test_a_full_flash_stops_nothing_and_is_counted():
    files = Files()
    files.broken = True
    machine = Machine(files)
    machine.learn()
    machine.run(2 * SAVE_LEARNING_US // 200000, 9.0, 3.0)
    assert machine.machine.state == WORKING
    assert machine.learned is not None and machine.learned.failed_saves >= 1


def test_relearning_forgets():
    files = Files()
    machine = Machine(files)
    machine.learn()
    machine.status.relearn()
    machine.run(10, 9.0, 3.0)
    assert machine.machine.state == UNKNOWN
    assert machine.machine.reason.startswith("learning 10 of 300")
    again = Machine(files)
    assert again.learned is not None and again.learned.windows == 0


def test_a_board_without_a_current_cannot_learn():
    try:
        LearnedJudge({}, (Channel("vibration1", "vibration"),), 0.1)
    except ValueError as error:
        assert "current" in str(error)
    else:
        raise AssertionError("no ValueError")
