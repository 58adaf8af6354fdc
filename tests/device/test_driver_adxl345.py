"""ADXL345: settings bit for bit, order and sign, the gap of 5 us, losses counted exactly."""

from array import array

from driver_checks import check_frames, check_no_allocation, said
from fakes_adxl345 import FakeAdxl345
from fakes_bus import FakeClock, FakeI2c, FakePin, FakeSpi

from clampdevice import drivers
from clampdevice.drivers.adxl345 import Adxl345
from clampdevice.drivers.base import I2c, Spi, WrongChip


def on_spi(true_hz: float = 3200, identity: int = 0xE5) -> tuple:
    clock = FakeClock()
    chip = FakeAdxl345(clock, true_hz, identity)
    cs = FakePin()
    spi = FakeSpi(chip, clock, cs)
    return Adxl345(Spi(spi, cs), clock.sleep_us), chip, clock, spi


def on_i2c() -> tuple:
    clock = FakeClock()
    chip = FakeAdxl345(clock, 1600)
    i2c = FakeI2c(chip, clock, 0x53)
    return Adxl345(I2c(i2c, 0x53), clock.sleep_us), chip, clock, i2c


def test_is_found_by_name():
    assert drivers.load("adxl345") is Adxl345
    assert "adxl345" in said(ValueError, lambda: drivers.load("adxl346"))


def test_settings_bit_for_bit():
    codes = {25: 8, 50: 9, 100: 10, 200: 11, 400: 12, 800: 13, 1600: 14, 3200: 15}
    for rate_hz in sorted(codes):
        for code, range_g in enumerate((2, 4, 8, 16)):
            driver, chip, _clock, _spi = on_spi()
            driver.configure(rate_hz, range_g)
            assert chip.registers[0x2C] == codes[rate_hz]
            assert chip.registers[0x31] == 0x08 | code
            assert chip.registers[0x2E] == 0x02
            assert chip.registers[0x2D] == 0x00
            assert driver.bits == 10 + code
            driver.start()
            assert chip.registers[0x38] == 0x80 | 16
            assert chip.registers[0x2D] == 0x08


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _spi = on_spi()
    assert "1000" in said(ValueError, lambda: driver.configure(1000, 16))
    assert "range_g 3" in said(ValueError, lambda: driver.configure(3200, 3))
    driver, chip, _clock, _i2c = on_i2c()
    text = said(ValueError, lambda: driver.configure(3200, 16))
    assert "I2C" in text
    assert "1600" in text
    assert chip.registers[0x2C] == 0, "nothing was written"
    driver.configure(1600, 16)
    assert chip.registers[0x2C] == 14


def test_wrong_chip_is_named():
    driver, chip, _clock, _spi = on_spi(identity=0xE6)
    text = said(WrongChip, lambda: driver.configure(3200, 16))
    assert "0xE6" in text
    assert "ADXL346" in text
    driver, chip, _clock, _spi = on_spi(identity=0x00)
    chip.registers[0x0F] = 0x44
    assert "LIS2DW12" in said(WrongChip, lambda: driver.configure(3200, 16))
    driver, chip, _clock, _spi = on_spi(identity=0x17)
    assert "no chip known" in said(WrongChip, lambda: driver.configure(3200, 16))
    driver, _chip, _clock, spi = on_spi()
    for stuck in (0x00, 0xFF):
        spi.silent, spi.stuck = True, stuck
        assert "wiring" in said(WrongChip, lambda: driver.configure(3200, 16))


def test_a_register_that_does_not_hold_is_told():
    driver, chip, _clock, _spi = on_spi()
    real = chip.write
    chip.write = lambda register, data: real(register, data) if register != 0x31 else None
    text = said(OSError, lambda: driver.configure(3200, 16))
    assert "0x31" in text
    assert "0x0B" in text


def test_order_and_sign_of_the_frames():
    for driver, chip, clock, _bus in (on_spi(1600), on_i2c()):
        driver.configure(1600, 16)
        check_frames(driver, chip, clock, 6000)


def test_the_gap_between_reads_is_kept():
    driver, chip, clock, spi = on_spi()
    spi.call_ns = 0  # nothing but the wire
    driver.configure(3200, 16)
    driver.start()
    clock.pass_us(9000)
    buf = array("H", bytes(2 * 3 * 40))
    driver.read_into(buf, 0, driver.pending())
    assert chip.reads == 28
    assert chip.shortest_gap_ns >= 5000


def test_the_fake_refuses_a_shorter_gap():
    driver, _chip, clock, spi = on_spi()
    driver.configure(3200, 16)
    driver.start()
    clock.pass_us(9000)
    spi.call_ns = 0
    driver._sleep_us = lambda us: None
    assert "5 us" in said(AssertionError, lambda: driver.read_into(array("H", bytes(24)), 0, 2))


def test_overrun_is_seen_once():
    driver, chip, clock, _spi = on_spi()
    driver.configure(3200, 16)
    driver.start()
    clock.pass_us(9500)
    driver.pending()
    assert not driver.overrun
    clock.pass_us(5000)
    assert driver.pending() == 32
    assert driver.overrun
    driver.pending()
    assert driver.overruns == 1
    buf = array("H", bytes(2 * 3 * 32))
    driver.read_into(buf, 0, 32)
    assert buf[0] == 0x8000 + chip.value(chip.first - 32, 0)
    driver.pending()
    assert not driver.overrun
    assert driver.overruns == chip.overruns == 1


def test_a_silent_bus_is_an_error():
    driver, _chip, _clock, i2c = on_i2c()
    driver.configure(1600, 16)
    driver.start()
    i2c.silent = True
    said(OSError, driver.pending)
    driver, _chip, _clock, spi = on_spi()
    driver.configure(3200, 16)
    driver.start()
    spi.silent = True
    assert "no answer" in said(OSError, driver.pending)
    assert driver.fault() is not None


def test_reading_allocates_nothing():
    driver, _chip, clock, _spi = on_spi()
    driver.configure(3200, 16)
    check_no_allocation(driver, clock, 9000)
