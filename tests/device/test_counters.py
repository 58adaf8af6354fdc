"""Counters: exact in integers, kept in two slots, never more than a minute lost."""

from array import array

from clampdevice import kernels
from clampdevice.counters import SAVE_MS, SLOTS, Counters
from clampdevice.current import CurrentChannel
from clampwire.values import pack_values, unpack_values

ADC = {"bits": 12, "vref_v": 3.3, "slots": 1}


class Files:
    def __init__(self) -> None:
        self.data: dict = {}
        self.writes = 0
        self.broken = False

    def read_file(self, name: str) -> bytes:
        return self.data.get(name, b"")

    def write_file(self, name: str, data: bytes) -> None:
        if self.broken:
            raise OSError(28)
        self.writes += 1
        self.data[name] = data


def test_totals_are_exact_over_years():
    counter = Counters(None).counter("current1")
    # 10 years at 30 A and 6 900 W, a day a time
    for _ in range(3652):
        counter.add(6400 * 86400, 6400000, 30.0, 6900.0, 7000.0, True)
    told = counter.told()
    assert told == {
        "charge_mah": 3652 * 24 * 30000,
        "energy_mwh": 3652 * 24 * 6900000,
        "apparent_energy_mvah": 3652 * 24 * 7000000,
        "run_s": 3652 * 86400,
    }


def test_time_is_what_the_samples_cover():
    counter = Counters(None).counter("a")
    for _ in range(1000):  # a rate that is no whole number of frames a ms
        counter.add(6401, 6401500, 1.0, None, None, True)
    assert counter.counts[3] == 1000 * 6401 * 1000000 // 6401500
    before = list(counter.counts)
    counter.add(0, 6401500, 1.0, None, None, False)
    assert counter.counts == before


def test_power_that_flows_back_is_not_taken_off():
    counter = Counters(None).counter("a")
    counter.add(1000, 1000000, 1.0, -500.0, 600.0, False)
    assert counter.counts[1] == 0
    counter.add(1000, 1000000, 1.0, 250.0, 600.0, False)
    assert counter.counts[1] == 250000 * 1000
    assert counter.counts[3] == 0


def test_it_is_kept_once_a_minute_and_only_if_it_moved():
    files = Files()
    counters = Counters(files)
    counter = counters.counter("a")
    for second in range(600):
        if second < 300:
            counter.add(1000, 1000000, 2.0, None, None, True)
        counters.keep(5000 + 1000 * second)
    assert files.writes == 5
    assert len(files.data) == 2
    again = Counters(files).counter("a")
    assert again.counts == counter.counts


def test_a_power_cut_loses_at_most_a_minute():
    files = Files()
    counters = Counters(files)
    counter = counters.counter("a")
    for second in range(1, 500):
        counter.add(1000, 1000000, 2.0, None, None, True)
        counters.keep(1000 * second)
        kept = Counters(files).counter("a").counts[3]
        assert counter.counts[3] - SAVE_MS - 1000 <= kept <= counter.counts[3]


def test_a_torn_write_costs_one_minute_more_and_nothing_else():
    for cut in range(0, 46, 5):
        files = Files()
        counters = Counters(files)
        counter = counters.counter("a")
        states = []
        for second in range(1, 260):
            counter.add(1000, 1000000, 2.0, None, None, True)
            if counters.keep(1000 * second):
                states.append(list(counter.counts))
        newest = SLOTS[len(states) & 1]
        files.data[newest] = files.data[newest][:cut]
        assert Counters(files).counter("a").counts == states[-2]


def test_channels_come_and_go():
    files = Files()
    counters = Counters(files)
    a, b = counters.counter("a"), counters.counter("b")
    a.add(1000, 1000000, 1.0, None, None, True)
    b.add(1000, 1000000, 3.0, None, None, True)
    counters.keep(1)
    assert counters.keep(1 + SAVE_MS)
    only = Counters(files)
    again = only.counter("b")
    assert again.counts == b.counts
    again.add(1000, 1000000, 3.0, None, None, True)
    only.keep(1)
    assert only.keep(1 + SAVE_MS)
    assert Counters(files).counter("a").counts == a.counts


def test_a_full_disk_is_counted_and_tried_again():
    files = Files()
    counters = Counters(files)
    counter = counters.counter("a")
    counters.keep(1)
    counter.add(1000, 1000000, 1.0, None, None, True)
    files.broken = True
    assert not counters.keep(1 + SAVE_MS)
    assert counters.failed_saves == 1
    files.broken = False
    assert counters.keep(1 + 2 * SAVE_MS)
    assert Counters(files).counter("a").counts == counter.counts


class Source:
    rate_hz = 6400.0
    slots = 1


def test_a_counter_travels_exactly_and_never_falls():
    config = {
        "key": "a", "quantity": "current", "slot": 0, "a_per_v": 30, "voltage_v": 230,
        "features": ["rms", "charge", "apparent_energy", "run"], "run_above": 5.0,
    }  # fmt: skip
    channel = CurrentChannel(config, ADC, Source(), kernels)
    assert channel.counts
    counter = Counters(None).counter("a")
    counter.counts = [10**18 + 1, 0, 10**18, 10**9]
    channel.count_with(counter)
    channel.join((channel,))
    layout = tuple((code, mult, exp) for _k, _u, code, mult, exp in channel.describe()[-1])
    assert [code for code, _m, _e in layout] == [72, 73, 73, 73]
    before: list = []
    buf = array("H", [2048 - 400, 2048 + 400] * 640)
    for _ in range(20):
        for _ in range(5):
            channel.add(buf, 0, 1280)
            channel.close(False)
        _flags, values = channel.record()
        told = unpack_values(layout, pack_values(layout, values))
        if before:
            assert all(new >= old for new, old in zip(told[1:], before[1:]))
            assert told[3] == before[3] + 1
        before = told
    a = 400 * 30 * 3.3 / 4096
    step = layout[1][1] * 10.0 ** layout[1][2]
    charge = (10**18 + 1) / 3.6e12 + 20 * a / 3600
    assert abs(before[1] - charge) <= step
    assert (
        abs(before[2] - (10**18 / 3.6e9 + 20 * 230 * a / 3600))
        <= layout[2][1] * 10.0 ** layout[2][2] + 0.02
    )


def test_without_samples_nothing_is_counted():
    config = {"key": "a", "quantity": "current", "slot": 0, "a_per_v": 30, "features": ["run"]}
    channel = CurrentChannel(config, ADC, Source(), kernels)
    counter = Counters(None).counter("a")
    channel.count_with(counter)
    channel.close(True)
    channel.record()
    assert counter.counts == [0, 0, 0, 0]
