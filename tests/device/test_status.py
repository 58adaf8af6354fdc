"""Debounced inputs with the time of their edge; the machine's state with its reasons."""

from clampdevice.judges import Status
from clampdevice.states import IDLE, OFF, UNKNOWN, WORKING
from clampdevice.status import InputChannel

CONFIG = {
    "on": {"channels": ["current1"], "above": 0.5},
    "working": [
        {"channels": ["current1"], "above": 4.0},
        {"channels": ["vibration1"], "above": 2.0},
    ],
    "hysteresis_pct": 10,
    "min_s": {"off": 1.0, "idle": 0.6, "working": 0.4, "unknown": 1.0},
}


class Channel:
    def __init__(self, key: str, unit: str, level: float | None = 0.0) -> None:
        self.key = key
        self.level = level
        self._unit = unit

    def describe(self) -> tuple:
        return (self.key, "", self._unit)


class Machine:
    def __init__(self) -> None:
        self.current = Channel("current1", "A")
        self.vibration = Channel("vibration1", "m/s2")
        self.state = Status(CONFIG, (self.current, self.vibration)).machine
        self.at_us = 0

    def run(self, *levels: float | tuple | None) -> list:
        """Windows of 200 ms; the changes as (ms, state)."""
        changes = []
        for level in levels:
            self.current.level, self.vibration.level = (
                level if isinstance(level, tuple) else (level, 0.0)
            )
            change = self.state.window(self.at_us, self.at_us + 200000)
            self.at_us += 200000
            if change is not None:
                changes.append((change[0] // 1000, change[1]))
                self.why = change[2]
        return changes


def _input(debounce_ms: float = 20) -> InputChannel:
    channel = InputChannel({"key": "input1", "index": 0, "debounce_ms": debounce_ms})
    channel.start(0)
    return channel


def test_a_bounce_is_one_change_at_its_first_edge():
    channel = _input()
    for at_us, level in ((1000000, 1), (1000300, 0), (1000900, 1), (1002000, 0), (1002500, 1)):
        assert channel.settled(at_us) is None
        channel.edge(level, at_us)
    assert channel.settled(1022000) is None
    assert channel.state == 0
    assert channel.settled(1022500) == 1000000
    assert channel.state == 1
    assert channel.settled(1100000) is None


def test_a_glitch_is_none():
    channel = _input()
    channel.edge(1, 5000)
    channel.edge(0, 9000)
    assert channel.settled(100000) is None
    assert channel.state == 0
    channel.edge(1, 200000)
    assert channel.settled(220000) == 200000  # the glitch does not date it back


def test_two_changes_in_one_poll_are_two():
    channel = _input()
    channel.edge(1, 1000)
    assert channel.settled(50000) == 1000
    channel.edge(0, 50000)
    assert channel.settled(90000) == 50000
    assert channel.state == 0


def test_a_record_has_the_level_at_its_end():
    channel = InputChannel({"key": "input1", "index": 0})
    assert channel.record(0) == (0, [None])
    channel.start(1)
    assert channel.record(1000) == (0, [1])
    channel.edge(0, 2000500)
    channel.settled(2100000)
    assert channel.record(2000000) == (0, [1])  # the edge came after its end
    assert channel.record(2000500) == (0, [0])


def test_off_idle_working_and_back():
    machine = Machine()
    assert machine.state.state == UNKNOWN
    assert machine.run(*[0.0] * 6) == [(0, OFF)]
    assert machine.run(1.0, 1.0, 1.0, 1.0) == [(1200, IDLE)]
    assert machine.why == "current1 1 A above 0.5 A for 0.6 s"
    assert machine.run(6.0, 6.0, 6.0) == [(2000, WORKING)]
    assert machine.why == "current1 6 A above 4 A for 0.4 s"
    assert machine.run(1.0, 1.0, 1.0, 1.0) == [(2600, IDLE)]
    assert machine.why == "current1 1 A below 4 A for 0.6 s"
    assert machine.run(*[0.0] * 5) == [(3400, OFF)]
    assert machine.why == "current1 0 A below 0.5 A for 1.0 s"


def test_a_short_dip_is_no_change():
    machine = Machine()
    machine.run(*[6.0] * 4)
    assert machine.state.state == WORKING
    assert machine.run(1.0, 1.0, 6.0, 0.0, 0.0, 6.0) == []


def test_a_short_state_is_told_with_its_own_moment():
    # Working for 0.4 s, less than a record, between two records' ends.
    machine = Machine()
    machine.run(*[1.0] * 4)
    assert machine.run(6.0, 6.0, 1.0, 1.0, 1.0) == [(800, WORKING), (1200, IDLE)]


def test_from_working_straight_to_off():
    machine = Machine()
    machine.run(*[6.0] * 4)
    assert machine.run(*[0.0] * 6) == [(800, OFF)]


def test_from_off_to_working_without_a_stop_at_idle():
    machine = Machine()
    machine.run(*[0.0] * 6)
    assert machine.run(6.0, 6.0, 6.0) == [(1200, WORKING)]


def test_idle_and_working_in_turns_is_not_off():
    machine = Machine()
    machine.run(*[0.0] * 6)
    assert machine.run(1.0, 6.0, 1.0, 6.0, 1.0) == [(1200, IDLE)]


def test_hysteresis():
    machine = Machine()
    machine.run(*[1.0] * 4)
    assert machine.run(*[4.2] * 6) == []  # above 4.0, not above 4.4
    assert machine.run(*[4.5] * 3) == [(2000, WORKING)]
    assert machine.run(*[3.7] * 6) == []  # below 4.0, not below 3.6
    assert machine.run(*[3.5] * 4) == [(3800, IDLE)]


def test_vibration_makes_it_work_too():
    machine = Machine()
    machine.run(*[1.0] * 4)
    assert machine.run(*[(1.0, 3.0)] * 3) == [(800, WORKING)]
    assert machine.why == "vibration1 3 m/s2 above 2 m/s2 for 0.4 s"
    assert machine.run(*[(0.0, 3.0)] * 6) == [(1400, OFF)]  # shaken by a neighbour


def test_unknown_is_not_off():
    machine = Machine()
    machine.run(*[1.0] * 4)
    assert machine.run(None, None, None, None) == []
    assert machine.run(None) == [(800, UNKNOWN)]
    assert machine.why == "current1 has no samples for 1.0 s"
    assert machine.run(*[0.0] * 5) == [(1800, OFF)]


def test_a_missing_vibration_leaves_it_open():
    machine = Machine()
    machine.run(*[1.0] * 4)
    assert machine.run(*[(1.0, None)] * 5) == [(800, UNKNOWN)]
    # but a machine without current is off, whatever the vibration would say
    assert machine.run(*[(0.0, None)] * 6) == [(1800, OFF)]
