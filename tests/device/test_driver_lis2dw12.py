"""LIS2DW12: settings bit for bit, 14 bits from the top of the word, losses counted exactly."""

from driver_checks import Ledger, check_frames, check_no_allocation, run, said
from fakes_bus import FakeClock, FakeI2c, FakePin, FakeSpi
from fakes_lis2dw12 import FakeLis2dw12

from clampdevice import drivers
from clampdevice.drivers.base import I2c, Spi, WrongChip
from clampdevice.drivers.lis2dw12 import Lis2dw12
from clampdevice.fifo import FifoSource


def on_spi(true_hz: float = 1600, identity: int = 0x44) -> tuple:
    clock = FakeClock()
    chip = FakeLis2dw12(clock, true_hz, identity)
    cs = FakePin()
    spi = FakeSpi(chip, clock, cs)
    return Lis2dw12(Spi(spi, cs), clock.sleep_us), chip, clock, spi


def on_i2c() -> tuple:
    clock = FakeClock()
    chip = FakeLis2dw12(clock)
    i2c = FakeI2c(chip, clock, 0x19)
    return Lis2dw12(I2c(i2c, 0x19), clock.sleep_us), chip, clock, i2c


def test_is_found_by_name():
    assert drivers.load("lis2dw12") is Lis2dw12


def test_settings_bit_for_bit():
    codes = {12.5: 2, 25: 3, 50: 4, 100: 5, 200: 6, 400: 7, 800: 8, 1600: 9}
    scales = ((2, 0.244), (4, 0.488), (8, 0.976), (16, 1.952))
    for rate_hz in sorted(codes):
        for code, (range_g, mg) in enumerate(scales):
            driver, chip, _clock, _spi = on_spi()
            driver.configure(rate_hz, range_g)
            assert chip.registers[0x20] == 0x00
            assert chip.registers[0x21] == 0x0C
            assert chip.registers[0x25] == code << 4 | 0x04
            assert chip.registers[0x23] == 0x02
            assert abs(driver.lsb_per_g - 1000 / mg) < 0.001
            driver.start()
            assert chip.registers[0x20] == codes[rate_hz] << 4 | 0x04
            assert chip.registers[0x2E] == 0xC0 | 16
            if rate_hz == 1600 and range_g == 16:  # as in the driver's source
                assert chip.registers[0x20] == 0x94
                assert chip.registers[0x25] == 0x34


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _spi = on_spi()
    assert "3200" in said(ValueError, lambda: driver.configure(3200, 16))
    assert "range_g 1" in said(ValueError, lambda: driver.configure(1600, 1))


def test_wrong_chip_is_named():
    driver, _chip, _clock, _spi = on_spi(identity=0x7B)
    assert "IIS3DWB" in said(WrongChip, lambda: driver.configure(1600, 16))
    driver, _chip, _clock, _spi = on_spi(identity=0x33)
    assert "0x33" in said(WrongChip, lambda: driver.configure(1600, 16))


def test_order_and_sign_of_the_frames():
    for driver, chip, clock, _bus in (on_spi(), on_i2c()):
        driver.configure(1600, 16)
        check_frames(driver, chip, clock, 7000)


def test_reading_allocates_nothing():
    driver, _chip, clock, _spi = on_spi()
    driver.configure(1600, 16)
    check_no_allocation(driver, clock, 12000)


def test_losses_are_counted_exactly():
    driver, chip, clock, _spi = on_spi(1577.3)
    source = FifoSource(driver, 1600, 16, clock.ticks_us)
    source.measure_rate(1000000)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    run(source, clock, ledger, 100000, lambda i: 5000 + 37 * (i % 11))
    for stall_us in (21000, 45000, 100100, 400000):
        clock.pass_us(stall_us)
        run(source, clock, ledger, 200000, lambda i: 5000 + 37 * (i % 11))
    assert chip.lost == source.lost_frames == ledger.lost > 700
    assert chip.overruns == source.overruns == driver.overruns


def test_temperature():
    driver, chip, _clock, _spi = on_spi()
    assert driver.temperature_c() == 25.25
    chip.registers[0x0E] = 0xF6
    assert driver.temperature_c() == 15.25


def test_a_silent_bus_is_an_error():
    driver, _chip, _clock, i2c = on_i2c()
    driver.configure(1600, 16)
    i2c.silent = True
    said(OSError, driver.pending)
    driver, _chip, _clock, spi = on_spi()
    driver.configure(1600, 16)
    spi.silent = True
    assert "no answer" in said(OSError, driver.pending)
