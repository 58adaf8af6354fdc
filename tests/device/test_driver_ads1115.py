"""ADS1115: the configuration bit for bit, slots in order, and no conversion read twice."""

from array import array

from driver_checks import said
from fakes_adc import FakeAds1115
from fakes_bus import FakeClock, FakeI2c

from clampdevice import drivers
from clampdevice.drivers.ads1115 import Ads1115
from clampdevice.drivers.base import I2c

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None


def bench(inputs: tuple = (0, 1, 2, 3)) -> tuple:
    clock = FakeClock()
    chip = FakeAds1115(clock)
    i2c = FakeI2c(chip, clock, 0x48)
    return Ads1115(I2c(i2c, 0x48), inputs, clock.ticks_us), chip, clock, i2c


def frame(driver, buf, first: int = 0) -> int:
    """Asks until a frame is complete; returns how often."""
    asked = 1
    while not driver.read_into(buf, first):
        asked += 1
        assert asked < 200
    return asked


def test_is_found_by_name():
    assert drivers.load("ads1115") is Ads1115


def test_settings_bit_for_bit():
    for rate, rate_hz in enumerate((8, 16, 32, 64, 128, 250, 475, 860)):
        for gain, range_v in enumerate((6.144, 4.096, 2.048, 1.024, 0.512, 0.256)):
            driver, chip, _clock, _i2c = bench((2,))
            driver.configure(rate_hz, range_v)
            assert chip.config == 6 << 12 | gain << 9 | 1 << 8 | rate << 5 | 3
            assert driver.v_per_code == range_v / 32768
            assert chip.conversions == 0


def test_slots_in_order_and_scaled():
    driver, chip, _clock, _i2c = bench((0, 1, 2, 3, "0-1", "2-3"))
    chip.volts = [0.5, 1.0, 2.0, 3.0]
    driver.configure(860, 4.096)
    driver.start()
    buf = array("H", bytes(2 * 8))
    for _ in range(3):
        frame(driver, buf, 1)
        for slot, volts in enumerate((0.5, 1.0, 2.0, 3.0, -0.5, -1.0)):
            got = (buf[1 + slot] - driver.zero_code) * driver.v_per_code
            assert abs(got - volts) <= driver.v_per_code / 2, (slot, got)
    assert buf[0] == buf[7] == 0


def test_the_rate_that_is_reached():
    driver, chip, clock, _i2c = bench((0,))
    driver.configure(860, 4.096)
    driver.start()
    buf = array("H", bytes(2))
    began_us = clock.now_us
    for _ in range(200):
        frame(driver, buf)
    rate_hz = 200 / (clock.now_us - began_us) * 1000000
    assert 550 < rate_hz < 860, rate_hz
    assert chip.conversions == 201


def test_reading_allocates_nothing():
    if micropython is None:
        return
    driver, chip, clock, _i2c = bench()
    driver.configure(860, 4.096)
    driver.start()
    buf = array("H", bytes(2 * 4))
    frame(driver, buf)
    chip._code = lambda value: 0x1234  # the fake's own floats are none of the driver's
    clock.pass_us(2000)
    micropython.heap_lock()
    try:
        for _ in range(8):
            driver.read_into(buf, 0)
    finally:
        micropython.heap_unlock()


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _i2c = bench()
    assert "1000" in said(ValueError, lambda: driver.configure(1000, 4.096))
    assert "range_v 5" in said(ValueError, lambda: driver.configure(860, 5))
    assert "'1-2'" in said(ValueError, lambda: bench(("1-2",)))
    assert "no inputs" in said(ValueError, lambda: bench(()))


def test_another_chip_is_seen_by_what_it_holds():
    driver, chip, _clock, _i2c = bench()
    chip.write = lambda register, data: None
    assert "another chip" in said(OSError, lambda: driver.configure(860, 4.096))


def test_a_silent_bus_and_a_stuck_conversion_are_errors():
    driver, chip, clock, i2c = bench()
    driver.configure(860, 4.096)
    driver.start()
    buf = array("H", bytes(2 * 4))
    chip.stuck = True
    assert driver.read_into(buf, 0) == 0
    clock.pass_us(6000)
    assert "did not end" in said(OSError, lambda: driver.read_into(buf, 0))
    assert driver.fault() is not None
    chip.stuck = False
    frame(driver, buf)
    i2c.silent = True
    said(OSError, lambda: driver.read_into(buf, 0))
