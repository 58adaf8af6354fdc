"""External ADCs and FIFO sensors on an ESP32, by their drivers and register-level fakes."""

import fake_esp32
from fakes_adc import FakeAds1115, FakeMcp3208
from fakes_bus import FakeI2c, FakePin, FakeSpi

from clampdevice.drivers.base import I2c, Spi
from clampdevice.hal.esp32 import buses
from clampdevice.hal.esp32.paced import PacedSource


class WorldClock:
    """Time of the fakes on a bus, as the world has it."""

    def __init__(self, world: fake_esp32.World) -> None:
        self._world = world
        self._rest_ns = 0

    @property
    def ns(self) -> int:
        return 1000 * self._world.us + self._rest_ns

    def pass_ns(self, ns: int) -> None:
        self._rest_ns += ns
        self._world.spend(self._rest_ns // 1000)
        self._rest_ns %= 1000

    def ticks_us(self) -> int:
        return self._world.ticks_us()


def _start(period_us: int, callback) -> fake_esp32.Timer:
    timer = fake_esp32.Timer(0)
    timer.init(mode=1, period=period_us, tick_hz=1000000, callback=callback)
    return timer


def _scanner(world: fake_esp32.World, part: dict, chip, bus) -> tuple:
    """What `buses.scanner` makes of a board whose bus is a fake."""
    opened = buses.open_bus
    buses.open_bus = lambda _part, _machine, _path: bus
    try:
        return buses.scanner(part, fake_esp32, world.ticks_us)
    finally:
        buses.open_bus = opened


def _ads1115(rate_hz: float, **extra: object) -> tuple:
    world = fake_esp32.new_world()
    clock = WorldClock(world)
    chip = FakeAds1115(clock)  # type: ignore[arg-type]
    bus = I2c(FakeI2c(chip, clock, 0x48), 0x48)  # type: ignore[arg-type]
    part: dict = {"driver": "ads1115", "rate_hz": rate_hz, "slots": 2, "inputs": [0, "2-3"]}
    part.update({"bits": 16, "vref_v": 4.096, "range_v": 2.048})
    part.update(extra)
    return world, chip, part, lambda: _scanner(world, part, chip, bus)


def _refused(call, *said: str) -> None:
    try:
        call()
    except ValueError as error:
        for word in said:
            assert word in str(error), str(error)
    else:
        raise AssertionError("not refused")


def _blocks(source: PacedSource, world: fake_esp32.World, ms: int) -> list:
    found = []
    for _ in range(ms // 10):
        world.run(10000)
        block = source.take(world.us)
        while block is not None:
            buf, first, frames, _end_us, lost = block
            found.append(([buf[first + i] for i in range(2 * frames)], lost))
            block = source.take(world.us)
    return found


def test_an_ads1115_gives_its_frames_by_its_own_clock():
    world, chip, part, make = _ads1115(200)
    chip.volts = [1.0, 0.0, -0.5, 0.25]
    driver, own_clock = make()
    assert own_clock
    source = PacedSource(driver, part["rate_hz"], _start, world.ticks_us, 450, own_clock)
    assert source.rate_hz == 200
    source.start(world.us)
    blocks = _blocks(source, world, 2000)
    frames = [values for values, _lost in blocks]
    count = sum(len(values) for values in frames) // 2
    assert 390 <= count <= 401, count
    for values in frames:
        assert set(values[::2]) == {32768 + 16000}  # 1 V of 2.048 V
        assert set(values[1::2]) == {32768 - 12000}
    assert source.missed_slots <= 2
    assert source.overruns == 0


def test_an_ads1115_that_is_asked_for_too_much_is_refused():
    _refused(_ads1115(500)[3], "500", "860", "390")
    _refused(_ads1115(200, vref_v=2.048)[3], "4.096")
    _refused(_ads1115(200, bits=12)[3], "12", "16 bits")
    _refused(_ads1115(200, inputs=[0])[3], "1 inputs")
    _refused(_ads1115(200, driver="adxl345")[3], "no ADC")


def test_an_mcp3208_is_read_when_it_is_time():
    world = fake_esp32.new_world()
    clock = WorldClock(world)
    chip = FakeMcp3208()
    chip.codes = [100, 4000, 0, 0, 0, 0, 0, 0]
    cs = FakePin()
    bus = Spi(FakeSpi(chip, clock, cs, 1000000), cs)  # type: ignore[arg-type]
    part = {"driver": "mcp3208", "rate_hz": 1000, "slots": 2, "inputs": [0, 1]}
    part.update({"bits": 12, "vref_v": 3.3})
    driver, own_clock = _scanner(world, part, chip, bus)
    assert not own_clock
    source = PacedSource(driver, 1000, _start, world.ticks_us, 450, own_clock)
    source.start(world.us)
    blocks = _blocks(source, world, 500)
    assert sum(len(values) for values, _lost in blocks) >= 2 * 470
    for values, lost in blocks:
        assert lost == 0
        assert set(values[::2]) == {100}
        assert set(values[1::2]) == {4000}
    assert source.missed_slots == 0


def test_an_accelerometer_without_a_fifo_long_enough_is_refused():
    part = {"driver": "adxl345", "rate_hz": 3200, "range_g": 16, "bus": {"kind": "spi"}}
    make = lambda: buses.fifo_source(part, fake_esp32, None, None)  # noqa: E731
    _refused(make, "3200", "10 ms", "355")
    part["bridge_ms"] = 5
    _refused(make, "bus.id")  # accepted, and goes on to the next question
    part["driver"] = "mcp3208"
    _refused(make, "no FIFO")
