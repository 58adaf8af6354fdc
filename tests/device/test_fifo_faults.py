"""A FIFO sensor among other sources: what happens to it is a fault of its channel alone."""

from array import array

from fakes_adxl345 import FakeAdxl345
from fakes_bus import FakeClock, FakeI2c

from clampdevice import board, kernels
from clampdevice.drivers.adxl345 import Adxl345
from clampdevice.drivers.base import I2c
from clampdevice.fifo import FifoSource
from clampdevice.measure import FAULT, FAULT_CLEARED, Measurement
from clampwire.values import BAD, CLIPPED, GAP

BOARD = {
    "board": "test",
    "chip": "sim",
    "name": "bench",
    "sources": {
        "adc": {"rate_hz": 6400, "slots": 1, "bits": 12, "vref_v": 3.3},
        "accelerometer": {"rate_hz": 400, "slots": 3, "bits": 13, "lsb_per_g": 256},
    },
    "channels": [
        {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 30},
        {"key": "vibration1", "quantity": "vibration", "features": ["a"]},
    ],
}


class Adc:
    """Blocks of 40 ms in real time, without a fault."""

    rate_hz = 6400
    slots = 1

    def __init__(self) -> None:
        self.buf = array("H", [2000 + 20 * (i % 2) for i in range(256)])
        self.block = 0

    def start(self, now_us: int) -> None:
        self.start_us = now_us

    def take(self, now_us: int):
        end_us = self.start_us + 40000 * (self.block + 1)
        if end_us > now_us:
            return None
        self.block += 1
        return [self.buf, 0, 256, end_us, 0]


class Sinks:
    def __init__(self) -> None:
        self.records: list = []
        self.events: list = []
        self.overruns: list = []

    def on_record(self, end_ms: int, windows: int, flags: list, values: list) -> None:
        flags = [flag & ~CLIPPED for flag in flags]  # the fake goes through the whole range
        self.records.append((end_ms, flags, values))

    def on_event(self, at_ms: int, channel: int, kind: int, value: int, text: str) -> None:
        self.events.append((channel, kind, text))

    def on_overrun(self, at_ms: int, channel: int, from_ms: int, to_ms: int, n: int) -> None:
        self.overruns.append((channel, n))


def measurement(identity: int = 0xE5) -> tuple:
    clock = FakeClock()
    chip = FakeAdxl345(clock, 400, identity)
    i2c = FakeI2c(chip, clock, 0x53)
    driver = Adxl345(I2c(i2c, 0x53), clock.sleep_us)
    source = FifoSource(driver, 400, 16, clock.ticks_us)
    sinks = Sinks()
    measure = Measurement(
        board.check(BOARD),
        {"adc": Adc(), "accelerometer": source},
        kernels,
        on_record=sinks.on_record,
        on_event=sinks.on_event,
        on_overrun=sinks.on_overrun,
    )
    measure.start(clock.now_us)
    return measure, clock, i2c, chip, sinks


def poll(measure: Measurement, clock: FakeClock, span_us: int) -> None:
    end_us = clock.now_us + span_us
    while clock.now_us < end_us:
        while measure.poll(clock.now_us):
            pass
        clock.pass_us(4000)


def test_a_silent_bus_is_a_fault_of_one_channel_and_heals():
    measure, clock, i2c, _chip, sinks = measurement()
    poll(measure, clock, 2100000)
    assert [flags for _end, flags, _values in sinks.records] == [[0, 0], [0, 0]]
    assert not sinks.events
    i2c.silent = True
    poll(measure, clock, 2100000)
    assert [(event[0], event[1]) for event in sinks.events] == [(1, FAULT)]
    assert "adxl345" in sinks.events[0][2]
    _end, flags, values = sinks.records[-1]
    assert flags[0] == 0
    assert values[0] is not None
    assert flags[1] & BAD
    assert values[-1] is None
    i2c.silent = False
    poll(measure, clock, 3200000)
    assert (sinks.events[-1][0], sinks.events[-1][1]) == (1, FAULT_CLEARED)
    assert sinks.records[-1][1] == [0, 0]
    assert sinks.records[-1][2][-1] is not None
    assert len(sinks.records) == 7
    assert measure.faults == 1


def test_a_wrong_chip_is_a_fault_of_one_channel():
    measure, clock, _i2c, chip, sinks = measurement(0xE6)
    poll(measure, clock, 1100000)
    assert "ADXL346" in sinks.events[0][2]
    assert (sinks.events[0][0], sinks.events[0][1]) == (1, FAULT)
    assert sinks.records[0][1][0] == 0
    assert sinks.records[0][1][1] & BAD
    chip.registers[0] = 0xE5  # the right one is plugged
    poll(measure, clock, 3000000)
    assert sinks.events[-1][1] == FAULT_CLEARED


def test_a_sensor_that_was_reset_is_started_again():
    measure, clock, _i2c, chip, sinks = measurement()
    poll(measure, clock, 1100000)
    chip.running = False  # a dip of the supply: it answers and samples no more
    chip.first = chip.made
    poll(measure, clock, 400000)
    assert "no samples" in sinks.events[0][2]
    poll(measure, clock, 2000000)
    assert sinks.events[-1][1] == FAULT_CLEARED


def test_an_overrun_is_a_gap_of_one_channel():
    measure, clock, _i2c, chip, sinks = measurement()
    poll(measure, clock, 1500000)
    clock.pass_us(230000)
    poll(measure, clock, 1000000)
    assert sinks.overruns == [(1, chip.lost)]
    assert chip.lost > 50
    assert sinks.records[1][1] == [0, GAP]
    assert not sinks.events
