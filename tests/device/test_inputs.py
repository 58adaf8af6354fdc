"""Pulses counted to the last at 1 kHz; a stack light that tells the state, also blinking."""

from clampdevice import board
from clampdevice.hal.sim.inputs import Inputs
from clampdevice.judges import Status
from clampdevice.measure import INPUT, Measurement
from clampdevice.states import IDLE, OFF, UNKNOWN, WORKING
from clampdevice.status import COUNT_WRAP, InputChannel

COUNTER = {"key": "input1", "quantity": "input", "index": 0, "features": ["state", "count"]}


def _measure(plan: dict, channels: list) -> tuple:
    config = board.check(
        {"board": "t", "chip": "sim", "name": "t", "sources": {"inputs": {}}, "channels": channels}
    )
    measure = Measurement(config, {"inputs": Inputs(channels, plan)})
    records: list = []
    events: list = []
    measure.on_record = lambda end_ms, _n, _flags, values: records.append((end_ms, values))
    measure.on_event = lambda *fields: events.append(fields)
    return measure, records, events


def _run(measure: Measurement, start_us: int, seconds: int, step_us: int) -> None:
    measure.start(start_us)
    now_us = start_us
    while now_us < start_us + 1000000 * seconds:
        now_us += step_us
        while measure.poll(now_us):
            pass


def test_no_pulse_is_lost_up_to_1_khz():
    for rate_hz in (1, 37, 250, 1000):
        plan = {"timeline": [{"ms": 3600000, "pulses": {"input1": rate_hz}}]}
        measure, records, events = _measure(plan, [COUNTER])
        # The last poll comes 0.4 s late, as after a long erase of flash.
        _run(measure, 5000, 3, 100000)
        measure.poll(5000 + 3400000)
        # The first rises at 0, and one at the very end of a record is in it.
        assert [values[1] - 1 for _end, values in records[:3]] == [
            rate_hz, 2 * rate_hz, 3 * rate_hz,
        ]  # fmt: skip
        assert events == []


def test_a_count_is_exact_at_its_record_however_late_it_is_closed():
    plan = {"timeline": [{"ms": 3600000, "pulses": {"input1": 800}}]}
    measure, records, _events = _measure(plan, [COUNTER])
    measure.start(0)
    while measure.poll(4100000):  # everything at once
        pass
    assert [values[1] for _end, values in records] == [801, 1601, 2401, 3201]


def test_pulses_that_bounce_are_debounced_when_asked():
    channel = InputChannel(
        {"key": "input1", "index": 0, "features": ["count"], "debounce_ms": 0.2}
    )
    channel.start(0)
    for pulse in range(50):
        at_us = 2000 * pulse
        for offset_us, level in ((0, 1), (60, 0), (90, 1), (1000, 0), (1050, 1), (1080, 0)):
            channel.settled(at_us + offset_us)
            channel.edge(level, at_us + offset_us)
    channel.settled(1000000)
    assert channel.record(1000000) == (0, [50])
    assert channel.edges == 300


def test_a_count_wraps_before_the_value_that_means_missing():
    channel = InputChannel({"key": "input1", "index": 0, "features": ["count"]})
    channel.start(0)
    channel.count = COUNT_WRAP - 1
    channel.edge(1, 10)
    assert channel.settled(10) == 10
    assert channel.record(20) == (0, [0])


def test_a_counter_in_hardware_is_asked():
    channel = InputChannel({"key": "input1", "index": 3, "features": ["count"]})
    channel.start(0)
    channel.count_by(lambda index: 1000 + index)
    assert channel.record(20) == (0, [1003])


def test_described_and_told():
    channel = InputChannel(COUNTER)
    assert [feature[0] for feature in channel.describe()[-1]] == ["state", "count"]
    assert not channel.tells
    told = {"key": "i", "quantity": "input", "index": 0, "features": ["count"], "events": True}
    measure, _records, events = _measure({"timeline": [{"ms": 9000, "pulses": {"i": 2}}]}, [told])
    _run(measure, 0, 1, 100000)
    assert [(fields[0], fields[2], fields[3]) for fields in events] == [
        (0, INPUT, 1), (250, INPUT, 0), (500, INPUT, 1), (750, INPUT, 0), (1000, INPUT, 1),
    ]  # fmt: skip


class Lights:
    """A stack light of three colours on a machine, with or without thresholds of a current."""

    def __init__(self, state: dict | None = None, current: object = None) -> None:
        self.lamps = {
            role: InputChannel({"key": role + "1", "index": i, "role": role})
            for i, role in enumerate(("red", "amber", "green"))
        }
        channels = list(self.lamps.values()) + ([current] if current else [])
        for lamp in self.lamps.values():
            lamp.start(0)
        self.machine = Status(state, tuple(channels)).machine
        self.at_us = 0

    def run(self, windows: int, *lit: str) -> list:
        changes = []
        for _ in range(windows):
            for role, lamp in self.lamps.items():
                lamp.state = 1 if role in lit else 0
            change = self.machine.window(self.at_us, self.at_us + 200000)
            self.at_us += 200000
            if change:
                changes.append(change[1])
        return changes


def test_colours_are_states():
    lights = Lights()
    assert lights.run(10) == []
    assert lights.machine.state == UNKNOWN and lights.machine.reason == "no light is lit"
    assert lights.run(5, "green") == [WORKING]
    assert lights.machine.reason == "green1 (green) is on for 0.4 s"
    assert lights.run(5, "green", "amber") == []
    assert lights.run(5, "amber") == [IDLE]
    assert lights.run(5, "green") == [WORKING]
    assert lights.run(5, "red", "green") == [IDLE]
    assert lights.machine.why()["mode"] == "lights"
    assert lights.machine.why()["levels"]["red1"] == 1


def test_a_blinking_light_is_lit():
    lights = Lights()
    lights.run(5, "green")
    changes = []
    for _ in range(6):
        changes += lights.run(3, "red") + lights.run(3)  # 0.8 Hz
    assert changes == [IDLE]
    assert "blinks" in lights.machine.judge.text()
    # Dark for 1.4 s it is out: then the green one counts again.
    assert lights.run(12, "green") == [WORKING]


class Current:
    key = "current1"
    config: dict = {}
    level = 0.0

    def describe(self) -> tuple:
        return ("current1", "current", "A", "", 0.0, 50.0, 0.02)


def test_where_no_light_is_lit_the_current_tells_but_never_working():
    current = Current()
    state = {
        "on": {"channels": ["current1"], "above": 0.5},
        "working": [{"channels": ["current1"], "above": 4.0}],
    }
    lights = Lights(state, current)
    assert lights.run(10) == [OFF]
    current.level = 6.0
    assert lights.run(10) == [IDLE]
    assert lights.machine.reason.startswith("no light is lit, though current1 6 A above 4 A")
    assert lights.run(5, "green") == [WORKING]


def test_a_wrong_role_or_feature_is_refused():
    for extra, says in (({"role": "pink"}, "pink"), ({"features": ["speed"]}, "speed")):
        channel = {"key": "input1", "quantity": "input", "index": 0}
        channel.update(extra)
        try:
            board.check(
                {
                    "board": "t",
                    "chip": "sim",
                    "name": "t",
                    "sources": {"inputs": {}},
                    "channels": [channel],
                }
            )
        except board.BoardError as error:
            assert says in str(error)
        else:
            raise AssertionError("no BoardError")
