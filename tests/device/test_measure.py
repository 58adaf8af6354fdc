"""The chain as a whole: records of one moment, overruns, faults that stay where they are."""

from array import array

from clampdevice import board, kernels
from clampdevice.analog import AnalogChannel
from clampdevice.measure import FAULT, FAULT_CLEARED, GRACE_US, INPUT, STATE, Measurement
from clampwire import messages
from clampwire.values import BAD, BELOW_FLOOR, GAP

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None

BOARD = {
    "board": "test",
    "chip": "sim",
    "name": "bench",
    "sources": {
        "adc": {"rate_hz": 6400, "slots": 4, "bits": 12, "vref_v": 3.3, "temperature_slot": 3},
        "accelerometer": {"rate_hz": 3200, "slots": 3, "bits": 13, "lsb_per_g": 256},
        "inputs": {},
    },
    "channels": [
        {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30},
        {"key": "current2", "quantity": "current", "slot": 1, "ct_ratio": 2000, "burden_ohm": 22},
        {"key": "vibration1", "quantity": "vibration"},
        {"key": "input1", "quantity": "input", "index": 0},
    ],
    "state": {
        "on": {"channels": ["current1"], "above": 0.5},
        "working": [{"channels": ["current1"], "above": 20}],
    },
}


class Source:
    """Square waves of +-`half` around `zero`, in real time, in blocks of 40 ms."""

    def __init__(self, rate_hz: float, slots: int, zero: int, half: int) -> None:
        self.rate_hz = rate_hz
        self.slots = slots
        self.frames = round(rate_hz / 25)
        self.buf = array("H")
        for i in range(self.frames):
            for _ in range(slots):
                self.buf.append(zero + (half if i % 2 else -half))
        self.block = self.lost = 0
        self.silent = False
        self.error: OSError | None = None
        self.result = [self.buf, 0, self.frames, 0, 0]

    def start(self, now_us: int) -> None:
        self.start_us = now_us

    def skip(self, blocks: int) -> None:
        self.block += blocks
        self.lost = blocks * self.frames

    def take(self, now_us: int):
        if self.silent:
            return None
        if self.error is not None:
            raise self.error
        end_us = self.start_us + 40000 * (self.block + 1)
        if end_us > now_us:
            return None
        self.block += 1
        self.result[3] = end_us
        self.result[4], self.lost = self.lost, 0
        return self.result


class Edges:
    def __init__(self) -> None:
        self.edges: list = []

    def start(self, now_us: int) -> None:
        pass

    def level(self, _index: int) -> int:
        return 1

    def take(self, now_us: int):
        if self.edges and self.edges[0][2] <= now_us:
            return self.edges.pop(0)
        return None


class Bench:
    """A Measurement on its sources, with all that it tells."""

    def __init__(self, start_us: int = 7000321) -> None:
        self.adc = Source(6400.0, 4, 2048, 100)
        self.accelerometer = Source(3200.0, 3, 0x8000, 64)
        self.inputs = Edges()
        self.measure = Measurement(
            board.check(BOARD),
            {"adc": self.adc, "accelerometer": self.accelerometer, "inputs": self.inputs},
        )
        self.records: list = []
        self.events: list = []
        self.overruns: list = []
        self.measure.on_record = self._record
        self.measure.on_event = self._event
        self.measure.on_overrun = self._overrun
        self.start_us = self.now_us = start_us
        self.measure.start(start_us)

    def _record(self, *fields: object) -> None:
        self.records.append(fields)

    def _event(self, *fields: object) -> None:
        self.events.append(fields)

    def _overrun(self, *fields: object) -> None:
        self.overruns.append(fields)

    def run(self, seconds: float, step_us: int = 10000) -> None:
        until_us = self.now_us + round(1000000 * seconds)
        while self.now_us < until_us:
            self.now_us += step_us
            while self.measure.poll(self.now_us):
                pass


def test_a_record_a_second_on_the_grid_of_the_clock():
    bench = Bench()
    bench.run(3.1)
    assert [record[0] for record in bench.records] == [8000, 9000, 10000]
    _end_ms, windows, flags, values = bench.records[1]
    assert windows == 5
    assert flags == [0, 0, 0, 0]
    lsb_a = 3.3 / 4096
    wanted = [100 * 30 * lsb_a] * 2 + [100 * 2000 / 22 * lsb_a] * 2 + [64 / 256 * 9.80665 * 3**0.5]
    for value, want in zip(values, wanted):
        assert abs(value / want - 1) < 0.0005, (value, want)
    assert values[8] == 1
    assert len(values) == 9
    # half the rate of the accelerometer shakes nothing from 10 to 1000 Hz that is worth a mm/s
    assert all(0 <= value < 1 for value in values[5:8])
    assert abs(bench.measure.temperature_c - (27 - (2048 * lsb_a - 0.706) / 0.001721)) < 0.5


def test_slow_polling_changes_nothing():
    quick = Bench()
    quick.run(4.2, 5000)
    slow = Bench()
    slow.run(4.2, 420000)
    assert len(slow.records) == len(quick.records) == 4
    assert slow.records == quick.records
    assert not slow.overruns


def test_a_poll_goes_no_further_than_one_window():
    bench = Bench()
    bench.now_us += 1000000
    ends = []
    while bench.measure.poll(bench.now_us):
        ends.append(bench.measure.window_end_us - bench.start_us)
    assert ends[:5] == [400000, 600000, 800000, 1000000, 1200000]
    assert len(bench.records) == 1


def test_an_overrun_is_told_by_each_channel_of_the_source():
    bench = Bench()
    bench.run(1.5)
    bench.adc.skip(3)
    bench.run(1.7)
    assert [overrun[1] for overrun in bench.overruns] == [0, 1]
    at_ms, _channel, from_ms, to_ms, samples = bench.overruns[0]
    assert samples == 3 * 256
    assert at_ms == to_ms
    assert abs(to_ms - from_ms - 120) <= 1
    assert 8000 <= from_ms <= 9000
    assert bench.measure.overruns == 1
    assert bench.measure.lost_samples == 2 * 3 * 256
    assert [record[2] for record in bench.records] == [[0] * 4, [GAP, GAP, 0, 0], [0] * 4]
    for value in bench.records[1][3][:4]:  # of the samples that came
        assert abs(value / bench.records[0][3][0] - 1) < 0.001 or value > 1


def test_a_stall_of_all_is_a_gap_and_no_record_of_nothing():
    bench = Bench()
    bench.run(1.0)
    bench.adc.skip(55)  # 2.2 s; the ring still holds the rest
    bench.accelerometer.skip(55)
    bench.now_us += 2600000
    bench.run(1.0)
    # The records of the first two seconds would be empty, the next one is a part.
    assert [record[0] for record in bench.records] == [8000, 11000]
    assert bench.records[1][2] == [GAP, GAP, GAP, 0]
    assert [overrun[1] for overrun in bench.overruns] == [0, 1, 2]


def test_a_silent_source_is_a_fault_of_its_channels_only():
    bench = Bench()
    bench.run(1.5)
    bench.accelerometer.silent = True
    bench.run(2.0)
    faults = [event for event in bench.events if event[2] == FAULT]
    assert len(faults) == 1
    at_ms, channel, _kind, _value, text = faults[0]
    assert channel == 2
    assert "accelerometer" in text
    assert bench.measure.faults == 1
    assert at_ms - (bench.start_us + 1600000) // 1000 in range(GRACE_US // 1000 - 1, 300)
    assert [record[0] for record in bench.records] == [8000, 9000, 10000]
    assert bench.records[1][2] == [0, 0, GAP | BAD, 0]
    assert bench.records[1][3][4] is not None  # of its first half
    assert bench.records[2][2] == [0, 0, GAP | BAD, 0]
    assert bench.records[2][3][4:8] == [None] * 4
    assert None not in bench.records[2][3][:4]
    bench.accelerometer.silent = False
    bench.accelerometer.block += 50
    bench.run(2.0)
    assert [event[1] for event in bench.events if event[2] == FAULT_CLEARED] == [2]
    assert bench.records[-1][2] == [0, 0, 0, 0]
    assert bench.records[-1][3][4] is not None


def test_an_error_of_the_hardware_is_a_fault_with_its_text():
    bench = Bench()
    bench.run(1.0)
    bench.adc.error = OSError("FIFO stuck")
    bench.run(1.5)
    faults = [event for event in bench.events if event[2] == FAULT]
    assert [event[1] for event in faults] == [0, 1]
    assert "FIFO stuck" in faults[0][4]
    assert bench.measure.faults == 1
    assert bench.records[-1][2] == [GAP | BAD, GAP | BAD, 0, 0]


def test_inputs_and_states_are_events():
    bench = Bench()
    bench.inputs.edges = [[0, 0, 8123456], [0, 1, 8124000], [0, 0, 8125000]]
    bench.run(2.5)
    found = [event for event in bench.events if event[2] == INPUT]
    assert found == [(8123, 3, INPUT, 0, "input1")]
    assert bench.records[0][3][8] == 1
    assert bench.records[1][3][8] == 0
    states = [event for event in bench.events if event[2] == STATE]
    assert len(states) == 1
    at_ms, channel, _kind, state, text = states[0]
    assert (at_ms, channel, state) == (7000, messages.NO_CHANNEL, 2)
    assert text.startswith("current1 2.4")


def test_windows_are_told_where_asked():
    bench = Bench()
    seen = []
    bench.measure.on_window = lambda index, end_us, features: seen.append(
        (index, end_us, features)
    )
    bench.run(0.7)
    assert [(index, end_us - bench.start_us) for index, end_us, _f in seen] == [
        (index, 200000 * k) for k in (1, 2, 3) for index in (0, 1, 2)
    ]
    assert abs(seen[0][2]["rms"] - 100 * 30 * 3.3 / 4096) < 0.001
    assert seen[2][2]["clipped"] == 0


def test_below_the_floor_is_flagged():
    part = dict(BOARD)
    part["channels"] = [dict(BOARD["channels"][0])]
    part["channels"][0]["noise_floor"] = 3.0
    part["sources"] = {"adc": BOARD["sources"]["adc"]}
    bench = Bench()
    measure = Measurement(board.check(part), {"adc": Source(6400.0, 4, 2048, 100)})
    measure.on_record = bench._record
    measure.start(0)
    for now_us in range(0, 1100000, 10000):
        measure.poll(now_us)
    assert bench.records == [(1000, 5, [BELOW_FLOOR], [0.0, 0.0])]


def _alone(channel: dict, half: int, state: dict | None, seconds: int, events: list):
    """The Measurement of one current and a closed input, run for a while."""
    part = dict(BOARD)
    part["channels"] = [channel, BOARD["channels"][3]]
    part["sources"] = {"adc": BOARD["sources"]["adc"], "inputs": {}}
    part["state"] = state
    adc = Source(6400.0, 4, 2048, half)
    measure = Measurement(board.check(part), {"adc": adc, "inputs": Edges()})
    measure.on_event = lambda *fields: events.append(fields)
    measure.start(0)
    for now_us in range(0, 1000000 * seconds, 10000):
        measure.poll(now_us)
    return measure


def test_a_clamp_that_reads_nothing_while_the_machine_runs_is_a_fault():
    channel = dict(BOARD["channels"][0])
    channel["noise_floor"] = 0.5
    channel["runs_with"] = ["input1"]
    events: list = []
    measure = _alone(channel, 1, None, 12, events)
    faults = [event for event in events if event[2] == FAULT]
    assert len(faults) == 1
    assert faults[0][1] == 0
    assert "reads nothing" in faults[0][4]
    assert measure.faults == 1
    events = []
    _alone(channel, 100, None, 12, events)
    assert not [event for event in events if event[2] == FAULT]


def _floor(measure: Measurement) -> float:
    channel = measure.channels[0]
    assert isinstance(channel, AnalogChannel)
    return channel.floor


def test_a_floor_is_learned_when_the_machine_is_off():
    channel = dict(BOARD["channels"][0])
    state = {"on": {"channels": ["current1"], "above": 1.0}, "working": []}
    told: list = []
    for learn in (False, True):
        channel["learn_floor"] = learn
        measure = _alone(channel, 2, state, 13, [])
        measure.on_described = told.append
        for now_us in range(13000000, 23000000, 10000):
            measure.poll(now_us)
        found = _floor(measure)
        want = 2 * 30 * 3.3 / 4096
        assert abs(found - (want if learn else 0.0)) < 0.01 * want
    # Learned before anybody listened, and not told again while it stays the same.
    assert told == []
    measure = _alone(channel, 40, state, 24, [])
    assert _floor(measure) == 0.0  # 1 A is no noise


def test_a_board_of_inputs_alone_has_records():
    part = dict(BOARD)
    part["channels"] = [BOARD["channels"][3]]
    part["sources"] = {"inputs": {}}
    part["state"] = None
    bench = Bench()
    measure = Measurement(board.check(part), {"inputs": Edges()})
    measure.on_record = bench._record
    measure.start(0)
    for now_us in range(0, 2100000, 10000):
        measure.poll(now_us)
    assert bench.records == [(1000, 5, [0], [1]), (2000, 5, [0], [1])]


def test_a_block_takes_no_memory():
    if micropython is None or kernels.FORM == "reference":
        return  # CPython has no heap to lock; plain kernels compute with big integers
    part = dict(BOARD)
    part["channels"] = [dict(channel) for channel in BOARD["channels"][:3]]
    part["channels"][2]["features"] = ["a", "v_x", "kurtosis_x"]
    part["channels"][0]["features"] = ["rms", "min", "thd", "frequency", "real", "energy"]
    part["channels"][0]["voltage"] = "voltage1"
    part["channels"].append(
        {"key": "voltage1", "quantity": "voltage", "slot": 2, "v_per_v": 300, "features": ["h3"]}
    )
    part["sources"] = {name: BOARD["sources"][name] for name in ("adc", "accelerometer")}
    measure = Measurement(
        board.check(part),
        {
            "adc": Source(6400.0, 4, 2048, 100),
            "accelerometer": Source(3200.0, 3, 0x8000, 64),
        },
    )
    getattr(measure.channels[0], "_mains")._harmonics.tune(50.0)  # noqa: B009 - as after a record
    measure.start(0)
    measure.poll(60000)  # the first block aligns the grid and may take some
    done = 0
    micropython.heap_lock()
    try:
        for k in range(6, 19):
            done += measure.poll(10000 * k)
    finally:
        micropython.heap_unlock()
    assert done == 6, done  # three blocks of each source
