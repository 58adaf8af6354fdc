"""MCP3208: inputs and codes bit by bit, and a line that nobody drives."""

from array import array

from driver_checks import said
from fakes_adc import FakeMcp3208
from fakes_bus import FakeClock, FakePin, FakeSpi

from clampdevice import drivers
from clampdevice.drivers.base import Spi
from clampdevice.drivers.mcp3208 import Mcp3208

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None


def bench(inputs: tuple = (0, 1, 2, 3, 4, 5, 6, 7)) -> tuple:
    clock = FakeClock()
    chip = FakeMcp3208()
    cs = FakePin()
    spi = FakeSpi(chip, clock, cs, 1000000)
    return Mcp3208(Spi(spi, cs), inputs), chip, clock, spi


def test_is_found_by_name():
    assert drivers.load("mcp3208") is Mcp3208


def test_every_input_and_every_bit():
    driver, chip, _clock, _spi = bench()
    driver.configure(1000, 3.3)
    buf = array("H", bytes(2 * 10))
    for bit in range(12):
        chip.codes = [(1 << bit) ^ (slot * 0x249 & 0xFFF) for slot in range(8)]
        assert driver.read_into(buf, 1) == 1
        assert list(buf[1:9]) == chip.codes
    assert buf[0] == buf[9] == 0
    assert driver.v_per_code == 3.3 / 4096


def test_pairs():
    driver, chip, _clock, _spi = bench(("0-1", "1-0", "6-7"))
    chip.codes = [100, 300, 0, 0, 0, 0, 4095, 95]
    driver.configure(1000, 3.3)
    buf = array("H", bytes(2 * 3))
    driver.read_into(buf, 0)
    assert list(buf) == [0, 200, 4000]


def test_reading_allocates_nothing():
    if micropython is None:
        return
    driver, chip, _clock, _spi = bench()
    driver.configure(1000, 3.3)
    buf = array("H", bytes(2 * 8))
    driver.read_into(buf, 0)
    before = chip.exchanges
    micropython.heap_lock()
    try:
        driver.read_into(buf, 0)
    finally:
        micropython.heap_unlock()
    assert chip.exchanges == before + 8


def test_what_it_cannot_do_is_refused():
    driver, _chip, _clock, _spi = bench()
    assert "100000" in said(ValueError, lambda: driver.configure(12501, 3.3))
    assert "6 V" in said(ValueError, lambda: driver.configure(1000, 6))
    assert "input 8" in said(ValueError, lambda: bench((8,)))
    assert "no inputs" in said(ValueError, lambda: bench(()))


def test_a_line_that_nobody_drives_is_an_error():
    driver, _chip, _clock, spi = bench()
    driver.configure(1000, 3.3)
    spi.silent = True
    buf = array("H", bytes(2 * 8))
    assert "null bit" in said(OSError, lambda: driver.read_into(buf, 0))
    assert driver.fault() is not None
    said(OSError, lambda: driver.configure(1000, 3.3))
