"""A whole ESP32 board from the pins to records: what it measures, and what it admits.

Under CPython alone: signal chain, HAL and fakes together do not compile in 256 KB.
"""

import math

import fake_esp32
from fake_esp32_hal import HAL, make_config, sine

from clampdevice.measure import Measurement
from clampwire.values import GAP


def _run(seconds: int, pause_us: int, events: dict) -> tuple:
    """(hal, world, records, overruns) of a board with an uninterrupted pause in 10 ms."""
    world = fake_esp32.new_world(sine)
    config = make_config()
    hal = HAL.Hal(config)
    measure = Measurement(config, hal.sources(config))
    records: list = []
    overruns: list = []
    measure.on_record = lambda *fields: records.append(fields)
    measure.on_overrun = lambda *fields: overruns.append(fields)
    start = world.us
    measure.start(0)
    for turn in range(100 * seconds + 20):
        world.run(10000 - pause_us)
        world.spend(pause_us)
        if turn in events:
            events[turn](hal, world)
        while measure.poll(world.us - start):
            pass
    return hal, world, records, overruns


def _error(value: float, mv: float) -> float:
    return abs(value / (mv / 1000 / math.sqrt(2) * 30) - 1)


def test_a_board_measures_and_says_what_it_missed():
    events: dict = {turn: lambda _hal, world: world.spend(3000) for turn in range(95, 500, 100)}
    events[250] = lambda hal, _world: hal.write_file("counters.0", b"x" * 100)
    events[350] = lambda _hal, world: world.flash()
    hal, world, records, overruns = _run(5, 200, events)
    assert [record[0] for record in records] == [1000, 2000, 3000, 4000, 5000]
    for end_ms, _windows, flags, values in records:
        assert _error(values[0], 500) < 0.01, values
        assert _error(values[2], 250) < 0.01, values
        assert (flags[0] == GAP) == (end_ms == 4000), (end_ms, flags)
    assert [fields[1] for fields in overruns] == [0, 1]
    assert 75 <= overruns[0][4] <= 81
    report = hal.report()
    assert 80 < report["adc"]["missed_slots"] < 130
    assert 950 < report["adc"]["achieved_hz"] < 1000
    assert report["adc"]["lost_frames"] == overruns[0][4]
    assert report["adc_line"]["origin"] == "eFuse calibration, measured"
    # Two writes: the line at start, before anything sampled, and the counters.
    assert report["flash"]["writes"] == 2
    assert report["flash"]["missed_slots"] <= 2
    assert report["edges_lost"] == 0
    hal.close()
    world.run(100000)
    assert not world.timers[0].running


def test_pauses_in_step_with_the_mains_flag_every_record():
    # 3 ms in ten, always at the same phase: the RMS is off by more than is allowed, and said.
    hal, _world, records, overruns = _run(2, 3000, {})
    assert max(_error(record[3][0], 500) for record in records) > 0.012
    assert all(record[2][0] == GAP for record in records)
    assert hal.report()["adc"]["missed_slots"] > 300
    assert sum(fields[4] for fields in overruns if fields[1] == 0) > 300
