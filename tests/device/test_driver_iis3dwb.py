"""IIS3DWB: settings bit for bit, bursts of tagged words, losses certain by the tags' count."""

from array import array

from driver_checks import Ledger, check_frames, check_no_allocation, run, said
from fakes_bus import FakeClock, FakePin, FakeSpi
from fakes_iis3dwb import FakeIis3dwb

from clampdevice import drivers
from clampdevice.drivers.base import Spi, WrongChip
from clampdevice.drivers.iis3dwb import Iis3dwb
from clampdevice.fifo import FifoSource


def bench(true_hz: float = 26667, identity: int = 0x7B) -> tuple:
    clock = FakeClock()
    chip = FakeIis3dwb(clock, true_hz, identity)
    cs = FakePin()
    spi = FakeSpi(chip, clock, cs, 10000000)
    return Iis3dwb(Spi(spi, cs), clock.sleep_us), chip, clock, spi


def test_is_found_by_name():
    assert drivers.load("iis3dwb") is Iis3dwb


def test_settings_bit_for_bit():
    ranges = ((2, 0, 0.061), (4, 2, 0.122), (8, 3, 0.244), (16, 1, 0.488))
    for range_g, code, mg in ranges:
        driver, chip, _clock, _spi = bench()
        driver.configure(26667, range_g)
        assert chip.registers[0x10] == code << 2
        assert chip.registers[0x12] == 0x44
        assert chip.registers[0x09] == 10
        assert chip.registers[0x07] == 128
        assert chip.registers[0x0D] == 0x08
        assert abs(driver.lsb_per_g - 1000 / mg) < 0.001
        driver.start()
        assert chip.registers[0x0A] == 6
        assert chip.registers[0x10] == 0xA0 | code << 2


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _spi = bench()
    assert "3200" in said(ValueError, lambda: driver.configure(3200, 16))

    class I2c:
        kind = "i2c"

    driver = Iis3dwb(I2c(), None)
    assert "SPI" in said(ValueError, lambda: driver.configure(26667, 16))


def test_wrong_chip_is_named():
    driver, _chip, _clock, _spi = bench(identity=0x44)
    assert "LIS2DW12" in said(WrongChip, lambda: driver.configure(26667, 16))


def test_order_and_sign_of_the_frames():
    driver, chip, clock, _spi = bench()
    driver.configure(26667, 16)
    check_frames(driver, chip, clock, 2600)  # 69 words: bursts of 32 and of 1
    assert driver.skipped in (-1, 0)


def test_reading_allocates_nothing():
    driver, _chip, clock, _spi = bench()
    driver.configure(26667, 16)
    check_no_allocation(driver, clock, 2600)


def test_tags_say_what_is_missing_modulo_4():
    driver, chip, clock, _spi = bench()
    driver.configure(26667, 16)
    driver.start()
    buf = array("H", bytes(2 * 3 * 64))
    clock.pass_us(3000)
    driver.read_into(buf, 0, 16)
    for missing in (0, 1, 2, 3, 4, 5, 6):
        clock.pass_us(900)
        chip.first += missing
        driver.read_into(buf, 0, 16)
        assert driver.skipped == missing & 3


def test_a_foreign_tag_is_an_error():
    driver, chip, clock, _spi = bench()
    driver.configure(26667, 16)
    driver.start()
    clock.pass_us(3000)
    chip.strange = True
    buf = array("H", bytes(2 * 3 * 64))
    assert "foreign tag" in said(OSError, lambda: driver.read_into(buf, 0, 16))
    assert driver.strangers == 1


def test_words_that_do_not_follow_one_another_are_an_error():
    driver, chip, clock, _spi = bench()
    driver.configure(26667, 16)
    driver.start()
    clock.pass_us(3000)
    chip.jump = True
    buf = array("H", bytes(2 * 3 * 64))
    assert "out of order" in said(OSError, lambda: driver.read_into(buf, 0, 16))
    assert driver.fault() is not None


def test_losses_are_counted_exactly():
    driver, chip, clock, _spi = bench(26441)
    source = FifoSource(driver, 26667, 16, clock.ticks_us, ring_ms=40)
    source.measure_rate(300000)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    run(source, clock, ledger, 60000, lambda i: 2000)
    assert source.lost_frames == 0
    for stall_us in (21000, 45000, 100100):
        clock.pass_us(stall_us)
        run(source, clock, ledger, 60000, lambda i: 3000 + 37 * (i % 11))
    assert chip.lost == source.lost_frames == ledger.lost > 2000


def test_the_chip_knows_its_own_rate():
    driver, chip, clock, _spi = bench()
    chip.registers[0x63] = 0xFE  # -2 steps of 0.15 %
    driver.configure(26667, 16)
    assert abs(driver.rate_hint_hz() - 26667 * 0.997) < 0.01
    source = FifoSource(driver, 26667, 16, clock.ticks_us, ring_ms=10)
    assert abs(source.rate_hz - 26667 * 0.997) < 0.01


def test_temperature():
    driver, _chip, _clock, _spi = bench()
    assert driver.temperature_c() == 26.5


def test_a_silent_bus_is_an_error():
    driver, _chip, _clock, spi = bench()
    driver.configure(26667, 16)
    driver.start()
    spi.silent = True
    assert "no answer" in said(OSError, driver.pending)
