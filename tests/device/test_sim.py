"""The simulated hardware: the waveform by its formula, the account of a ring."""

import math
from array import array

from clampdevice import kernels
from clampdevice.hal.sim import wave
from clampdevice.hal.sim.adc import Adc
from clampdevice.hal.sim.inputs import Inputs
from clampdevice.hal.sim.paced import PacedSource
from clampdevice.hal.sim.sources import make_sources
from clampdevice.measure import Measurement
from clampwire.values import GAP

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None

ADC = {"rate_hz": 6400, "slots": 4, "bits": 12, "vref_v": 3.3, "zero_lsb": 2070}
ADC["temperature_slot"] = 3
ACCELEROMETER = {"rate_hz": 3200, "slots": 3, "bits": 13, "lsb_per_g": 256}
CHANNELS = [
    {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30},
    {"key": "current2", "quantity": "current", "slot": 1, "a_per_v": 30},
    {"key": "vibration1", "quantity": "vibration"},
    {"key": "input1", "quantity": "input", "index": 0},
]
CONFIG = {
    "channels": CHANNELS,
    "sources": {"adc": ADC, "accelerometer": ACCELEROMETER, "inputs": {}},
}
LINES = [[1, 1.0, 10], [3, 0.4, 70], [7, 0.1, -20]]
AXIS = [[24.4, 0.6, 0], [311.7, 1.1, 45]]


def _scenario(**extra: object) -> dict:
    scenario = {
        "seed": 5,
        "mains_hz": 50.02,
        "temperature_c": 35,
        "phase_deg": {"current1": 30},
        "accelerometer": {"gravity_g": [0.1, -0.2, 1.0], "rate_ppm": -4000},
        "waves": {
            "run": {
                "current1": LINES,
                "current2": LINES,
                "vibration1": {"x": AXIS, "z": AXIS},
            },
        },
        "timeline": [
            {"wave": "off", "ms": 300, "levels": {}, "inputs": {"input1": 0}},
            {
                "wave": "run",
                "ms": 700,
                "levels": {
                    "current1": [2000, 8000, 5000],
                    "current2": [90000],
                    "vibration1": [1500],
                },
                "inputs": {"input1": 1},
            },
        ],
    }
    scenario.update(extra)
    return scenario


def _level(at_s: float) -> float:
    """Of current1, in A, by hand."""
    at_s %= 1.0
    if at_s < 0.3:
        return 0.0
    share = (at_s - 0.3) / 0.35
    return 2 + 6 * share if share < 1 else 8 - 3 * (share - 1)


def _current(at_s: float, skew_s: float) -> float:
    total = math.sqrt(sum(ratio * ratio for _h, ratio, _deg in LINES))
    x = 0.0
    for h, ratio, deg in LINES:
        turns = h * 50.02 * (at_s + skew_s) + (deg + h * 30) / 360
        x += math.sqrt(2) * ratio / total * math.sin(2 * math.pi * turns)
    return _level(at_s) * x


def _take(source: PacedSource, now_us: int) -> list:
    """A block that must be there."""
    block = source.take(now_us)
    assert block is not None
    return block


def _blocks(source: PacedSource, count: int, now_us: int) -> None:
    for _ in range(count):
        _take(source, now_us)


def _adc(**extra: object) -> Adc:
    config = dict(ADC)
    config["ring_ms"] = 600000  # nothing is overwritten while a test looks far ahead
    config.update(extra)
    return Adc(config, CHANNELS, _scenario(), wave.sine_table())


def test_codes_follow_the_formula():
    adc = _adc()
    adc.start(0)
    a_per_lsb = 30 * 3.3 / 4096
    worst = 0.0
    for block in range(140):  # 5.6 s: the timeline has gone round five times
        buf, first, frames, end_us, lost = _take(adc, 600000000)
        assert (first, frames, lost) == (0, 256, 0)
        assert abs(end_us - (block + 1) * 40000) <= 1
        for i in range(0, 256, 17):
            at_s = (block * 256 + i) / 6400
            ideal = 2070 + _current(at_s, 0.0) / a_per_lsb
            worst = max(worst, abs(buf[4 * i] - ideal))
    assert worst < 0.5 + 0.06, worst  # rounding to whole codes, and the fixed point


def test_slots_are_sampled_one_after_the_other():
    channels = [dict(CHANNELS[0], slot=2)]
    scenario = _scenario()
    adc = Adc(dict(ADC, ring_ms=60000), channels, scenario, wave.sine_table())
    adc.start(0)
    _blocks(adc, 15, 60000000)
    buf = _take(adc, 60000000)[0]
    a_per_lsb = 30 * 3.3 / 4096
    for i in range(0, 256, 13):
        at_s = (15 * 256 + i) / 6400
        ideal = 2070 + _current(at_s, 0.5 / 6400) / a_per_lsb
        assert abs(buf[4 * i + 2] - ideal) < 0.6, i


def test_rails_bias_and_temperature():
    adc = _adc()
    adc.start(0)
    _blocks(adc, 9, 60000000)
    buf = _take(adc, 60000000)[0]
    codes = [buf[4 * i + 1] for i in range(256)]
    assert min(codes) == 0
    assert max(codes) == 4095
    assert sum(code in (0, 4095) for code in codes) > 60
    temperature = (0.706 - 0.001721 * (35 - 27)) / 3.3 * 4096
    assert all(abs(buf[4 * i + 3] - temperature) <= 0.5 for i in range(256))
    assert all(buf[4 * i + 2] == 0 for i in range(256))  # nothing is there


def test_plain_and_compiled_synthesis_are_the_same():
    if wave.synthesise is wave.synthesise_plain:
        return  # CPython, or no native code: there is but one
    sine = wave.sine_table()
    results = []
    for synthesise in (wave.synthesise_plain, wave.synthesise):
        lines = wave.current_lines(LINES, 50.02, 30, 6400000, 0.25)
        lines.seek(123456789)
        buf = array("H", bytes(2 * 4 * 300))
        synthesise(
            buf, 1, 300, 4, sine, lines.array, lines.words, 3000 << 12, -(50 << 16), 2070 << 12,
            0xFFFFFF00, 4, 0x9ABCDEF0, wave.noise_gain(3.0), 0, 4095,
        )  # fmt: skip
        results.append((bytes(buf), bytes(lines.array)))
    assert results[0] == results[1]


def test_noise_is_what_was_asked_for():
    gain = wave.noise_gain(1.5)
    n = 6000
    total = squares = neighbours = before = 0.0
    for i in range(n):
        value = wave.noise(i, 99, gain) / 4096
        total += value
        squares += value * value
        neighbours += value * before
        before = value
    assert abs(total / n) < 0.08, total / n
    assert abs(math.sqrt(squares / n) - 1.5) < 0.05, squares / n
    assert abs(neighbours / n) < 0.1, neighbours / n
    assert wave.noise(7, 99, gain) == wave.noise(7, 99, gain)
    assert [wave.noise(i, 1, gain) for i in range(9)] != [wave.noise(i, 2, gain) for i in range(9)]


def test_the_ring_forgives_a_stall_and_counts_a_longer_one():
    scenario = _scenario(adc={"noise_lsb": 1.0})
    adc = Adc(ADC, CHANNELS, scenario, wave.sine_table())  # 450 ms: 12 blocks of 40 ms
    adc.start(1000)
    assert adc.take(1000 + 39999) is None
    assert _take(adc, 1000 + 40000)[3] == 41000
    now_us = 1000 + 40000 + 450000
    taken = 0
    block = adc.take(now_us)
    while block is not None:
        assert block[4] == 0
        taken += 1
        block = adc.take(now_us)
    assert taken == 11
    now_us += 2000000
    block = _take(adc, now_us)
    complete = (now_us - 1000) // 40000
    lost = (complete - 12 - 12) * 256
    assert block[4] == lost == adc.lost_frames
    assert adc.overruns == 1
    assert block[3] == 1000 + 40000 * (complete - 11)
    after = bytes(block[0])
    # The same codes as from a source that had not lost any: a function of the index alone.
    whole = Adc(dict(ADC, ring_ms=60000), CHANNELS, scenario, wave.sine_table())
    whole.start(1000)
    _blocks(whole, complete - 12, now_us)
    assert bytes(_take(whole, now_us)[0]) == after
    assert _take(adc, now_us)[4] == 0


def test_a_ring_below_the_stall_budget_has_its_length():
    adc = Adc(dict(ADC, ring_ms=100), CHANNELS, _scenario(), wave.sine_table())
    adc.start(0)
    assert _take(adc, 400000)[4] == (10 - 3) * 256


def test_the_accelerometer_has_its_own_rate_and_gravity():
    source = make_sources(CONFIG, _scenario())["accelerometer"]
    assert source.rate_hz == 3187.2
    source.start(0)
    buf, _first, frames, end_us, _lost = _take(source, 100000)
    assert end_us == frames * 1000000000 // 3187200
    assert all(abs(buf[3 * i + 1] - (0x8000 - 51.2)) <= 0.5 for i in range(frames))
    worst = 0.0
    for block in range(1, 20):
        buf = _take(source, 40161 * (block + 1))[0]
        for i in range(0, frames, 11):
            at_s = (block * frames + i) / 3187.2
            x = 0.0
            if at_s % 1.0 >= 0.3:
                for hz, rms, deg in AXIS:
                    x += 1.5 * math.sqrt(2) * rms * math.sin(2 * math.pi * (hz * at_s + deg / 360))
            worst = max(worst, abs(buf[3 * i + 2] - (0x8000 + 256 + x * 256 / 9.80665)))
    assert worst < 0.5 + 0.06, worst


def test_contacts_bounce_and_keep_their_order():
    inputs = Inputs(CHANNELS, _scenario(bounces=2))
    inputs.start(500)
    assert inputs.level(0) == 0
    edges = []
    for now_us in range(0, 2400000, 700):
        edge = inputs.take(now_us)
        while edge is not None:
            assert edge[2] <= now_us
            edges.append(edge)
            edge = inputs.take(now_us)
    times = [edge[2] for edge in edges]
    assert times == sorted(times)
    assert [edge[1] for edge in edges] == [1, 0, 1, 0, 1, 0, 1, 0, 1, 0] * 2 + [1, 0] * 2 + [1]
    assert times[::5] == [300500, 1000500, 1300500, 2000500, 2300500]
    assert 0 < times[4] - times[0] < 4000
    assert inputs.level(0) == 1


def test_a_simulated_block_takes_no_memory():
    if micropython is None or kernels.FORM == "reference":
        return  # CPython has no heap to lock; plain kernels compute with big integers
    sources = make_sources(CONFIG, _scenario(adc={"noise_lsb": 1.0}))
    measure = Measurement(CONFIG, {name: sources[name] for name in ("adc", "accelerometer")})
    measure.start(0)
    while measure.poll(490000):  # into the third window, and past the start of its phase
        pass
    done = 0
    micropython.heap_lock()
    try:
        for k in range(49, 59):
            done += measure.poll(10000 * k)
    finally:
        micropython.heap_unlock()
    assert done >= 4, done


def test_a_stalled_process_tells_what_it_lost():
    timeline = [{"wave": "run", "ms": 60000, "levels": {"current1": [4000], "current2": [7000]}}]
    sources = make_sources(CONFIG, _scenario(timeline=timeline))
    measure = Measurement(CONFIG, sources)
    records: list = []
    overruns: list = []
    measure.on_record = lambda *fields: records.append(fields)
    measure.on_overrun = lambda *fields: overruns.append(fields)
    measure.start(0)
    for now_us in list(range(0, 1500000, 20000)) + list(range(4700000, 7100000, 20000)):
        while measure.poll(now_us):
            pass
    # Asleep from 1.48 s to 4.7 s; the ring gives back the last 480 ms (12 blocks).
    assert [record[0] for record in records] == [1000, 2000, 5000, 6000, 7000]
    assert [record[2][0] for record in records] == [0, GAP, GAP, 0, 0]
    assert [overrun[1] for overrun in overruns] == [0, 1, 2]
    _at_ms, _index, from_ms, to_ms, samples = overruns[0]
    assert (from_ms, to_ms) == (1480, 4200)
    assert samples == sources["adc"].lost_frames == 2720 * 6400 // 1000
    assert overruns[2][4] == sources["accelerometer"].lost_frames
    assert measure.overruns == 2
    assert measure.lost_samples == 2 * samples + overruns[2][4]
    for record in records:
        assert abs(record[3][0] - 4) < 0.02, record
        assert abs(record[3][2] - 7) < 0.02, record
