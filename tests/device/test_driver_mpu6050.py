"""MPU-6050: settings bit for bit, order and sign, an overflow empties the FIFO and is counted."""

from driver_checks import Ledger, check_frames, check_no_allocation, run, said
from fakes_bus import FakeClock, FakeI2c
from fakes_mpu6050 import FakeMpu6050

from clampdevice import drivers
from clampdevice.drivers.base import I2c, WrongChip
from clampdevice.drivers.mpu6050 import Mpu6050
from clampdevice.fifo import FifoSource


def bench(true_hz: float = 1000, identity: int = 0x68) -> tuple:
    clock = FakeClock()
    chip = FakeMpu6050(clock, true_hz, identity)
    i2c = FakeI2c(chip, clock, 0x68)
    return Mpu6050(I2c(i2c, 0x68), clock.sleep_us), chip, clock, i2c


def test_is_found_by_name():
    assert drivers.load("mpu6050") is Mpu6050


def test_settings_bit_for_bit():
    dividers = {50: 19, 100: 9, 125: 7, 200: 4, 250: 3, 500: 1, 1000: 0}
    for rate_hz in sorted(dividers):
        for code, range_g in enumerate((2, 4, 8, 16)):
            driver, chip, _clock, _i2c = bench()
            driver.configure(rate_hz, range_g)
            assert chip.registers[0x19] == dividers[rate_hz]
            assert chip.registers[0x1A] == 1
            assert chip.registers[0x1C] == code << 3
            assert chip.registers[0x6B] == 1
            assert chip.registers[0x6C] == 3
            assert chip.registers[0x38] == 0x10
            assert driver.lsb_per_g == 16384 >> code
            driver.start()
            assert chip.registers[0x23] == 0x08
            assert chip.registers[0x6A] == 0x40


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _i2c = bench()
    assert "2000" in said(ValueError, lambda: driver.configure(2000, 16))

    class Spi:
        kind = "spi"

    driver = Mpu6050(Spi(), None)
    assert "I2C" in said(ValueError, lambda: driver.configure(1000, 16))


def test_wrong_chip_is_named():
    for identity, name in ((0x70, "MPU-6500"), (0x71, "MPU-9250"), (0x98, "ICM-20689")):
        driver, _chip, _clock, _i2c = bench(identity=identity)
        assert name in said(WrongChip, driver.check)


def test_order_and_sign_of_the_frames():
    driver, chip, clock, _i2c = bench()
    driver.configure(1000, 16)
    check_frames(driver, chip, clock, 45000)


def test_reading_allocates_nothing():
    driver, _chip, clock, _i2c = bench()
    driver.configure(1000, 16)
    check_no_allocation(driver, clock, 45000)


def test_an_overflow_empties_the_fifo_and_is_counted_exactly():
    driver, chip, clock, _i2c = bench(991.7)
    source = FifoSource(driver, 1000, 16, clock.ticks_us)
    source.measure_rate(2000000)
    source.start(clock.now_us)
    chip.lost = 0
    ledger = Ledger(chip)
    run(source, clock, ledger, 300000, lambda i: 20000 + 37 * (i % 11))
    assert source.lost_frames == 0
    for stall_us in (190000, 400000, 250100):
        clock.pass_us(stall_us)
        run(source, clock, ledger, 300000, lambda i: 20000 + 37 * (i % 11))
    assert chip.lost == source.lost_frames == ledger.lost > 700
    assert source.overruns == driver.overruns == 3


def test_a_stall_that_the_fifo_bridges_loses_nothing():
    driver, chip, clock, _i2c = bench()
    source = FifoSource(driver, 1000, 16, clock.ticks_us)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    for _ in range(10):
        clock.pass_us(150000)
        run(source, clock, ledger, 50000, lambda i: 3000)
    assert source.lost_frames == ledger.lost == chip.lost == 0
    assert ledger.taken > 1900


def test_temperature():
    driver, _chip, _clock, _i2c = bench()
    # raw -4096: -4096 / 340 + 36.53 in the data sheet's form
    assert abs(driver.temperature_c() - 24.48) < 0.01


def test_a_silent_bus_is_an_error():
    driver, _chip, _clock, i2c = bench()
    driver.configure(1000, 16)
    i2c.silent = True
    said(OSError, driver.pending)
