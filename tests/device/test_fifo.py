"""The block source over a FIFO: every frame once and in order, every loss counted exactly."""

from array import array

from driver_checks import Ledger, run
from fakes_adxl345 import FakeAdxl345
from fakes_bus import FakeClock, FakePin, FakeSpi

from clampdevice.drivers.adxl345 import Adxl345
from clampdevice.drivers.base import Spi
from clampdevice.fifo import FifoSource
from clampdevice.frameclock import FrameClock

try:
    micropython = __import__("micropython")
except ImportError:
    micropython = None


def bench(true_hz: float = 3200, start_us: int = 0, rate_hz: int = 3200) -> tuple:
    clock = FakeClock(start_us)
    chip = FakeAdxl345(clock, true_hz)
    cs = FakePin()
    spi = FakeSpi(chip, clock, cs)
    driver = Adxl345(Spi(spi, cs), clock.sleep_us)
    return FifoSource(driver, rate_hz, 16, clock.ticks_us), chip, clock, spi


def test_nothing_is_lost_while_it_is_drained_in_time():
    for true_hz, rate_hz in ((3200, 3200), (3171.3, 3200), (1633, 1600), (99.2, 100)):
        source, chip, clock, _spi = bench(true_hz, rate_hz=rate_hz)
        source.start(clock.now_us)
        ledger = Ledger(chip)
        run(source, clock, ledger, 3000000, lambda i: 500 + 37 * (i * 7 % 90))
        assert ledger.lost == source.lost_frames == source.overruns == chip.lost == 0
        assert chip.made - ledger.taken <= 128 + 32
        # the clock of the source is the sensor's: frames are stamped within a frame
        assert ledger.worst_us < 1000000 / true_hz + 200, ledger.worst_us
        assert abs(source.clock.rate_hz / true_hz - 1) < 0.002, source.clock.rate_hz


def test_a_loss_is_counted_exactly_and_told_in_its_place():
    for true_hz in (3200, 3168, 3231.7):
        source, chip, clock, _spi = bench(true_hz)
        source.measure_rate(2000000)
        source.start(clock.now_us)
        ledger = Ledger(chip)
        run(source, clock, ledger, 200000, lambda i: 3000 + 41 * (i % 17))
        for stall_us in (12345, 45000, 100001, 400000, 11111, 45017):
            clock.pass_us(stall_us)
            run(source, clock, ledger, 60000, lambda i: 2500 + 43 * (i % 13))
        assert chip.overruns == source.overruns == 6
        assert chip.lost == source.lost_frames == ledger.lost
        assert chip.lost > 1500


def test_counted_exactly_for_many_phases():
    source, chip, clock, _spi = bench(3187.0)
    chip.bit_when_full = True
    source.measure_rate(1000000)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    run(source, clock, ledger, 100000, lambda i: 3000)
    for i in range(60):
        clock.pass_us(9500 + 97 * i)  # from a full FIFO without a loss to 20 frames
        run(source, clock, ledger, 30000, lambda i: 2000 + 61 * (i % 11))
        assert chip.lost == source.lost_frames, (i, chip.lost, source.lost_frames)
    run(source, clock, ledger, 100000, lambda i: 3000)
    assert ledger.lost == chip.lost > 600


def test_the_ring_keeps_450_ms_when_only_drained():
    source, chip, clock, _spi = bench()
    source.start(clock.now_us)
    ledger = Ledger(chip)
    until_us = clock.now_us + 450000
    while clock.now_us < until_us:
        source.drain()
        clock.pass_us(4000)
    run(source, clock, ledger, 20000, lambda i: 1000)
    assert chip.lost == source.lost_frames == 0
    assert ledger.taken > 1400


def test_a_full_ring_loses_and_says_how_much():
    source, chip, clock, _spi = bench()
    source.measure_rate(1000000)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    until_us = clock.now_us + 900000
    while clock.now_us < until_us:
        source.drain()
        clock.pass_us(4000)
    run(source, clock, ledger, 50000, lambda i: 1000)
    assert chip.lost == source.lost_frames == ledger.lost > 500


def test_a_block_stays_until_the_next():
    source, _chip, clock, _spi = bench()
    source.start(clock.now_us)
    block = None
    while block is None:
        clock.pass_us(5000)
        block = source.take(clock.now_us)
    kept = array("H", block[0][block[1] : block[1] + 3 * block[2]])
    for _ in range(200):
        clock.pass_us(5000)
        source.drain()
    assert kept == block[0][block[1] : block[1] + 3 * block[2]]


def test_ticks_that_wrap_change_nothing():
    source, chip, clock, _spi = bench(3210, start_us=(1 << 30) - 900000)
    source.start(clock.now_us)
    ledger = Ledger(chip)
    run(source, clock, ledger, 2000000, lambda i: 4000)
    assert clock.now_us > 1 << 30
    assert ledger.lost == source.lost_frames == chip.lost == 0
    assert ledger.worst_us < 500
    assert ledger.taken > 6000


def test_the_rate_is_measured_before_anybody_uses_it():
    source, _chip, _clock, _spi = bench(3100)
    assert source.rate_hz == 3200
    assert abs(source.measure_rate(2000000) - 3100) < 3100 * 0.0003
    assert abs(source.rate_hz - 3100) < 3100 * 0.0003


def test_drain_allocates_nothing():
    if micropython is None:
        return
    source, chip, clock, _spi = bench()
    source.start(clock.now_us)
    for _ in range(80):
        clock.pass_us(4000)
        source.drain()
        source._out = source._held = source._stored
    reads = chip.reads
    micropython.heap_lock()
    try:
        for _ in range(10):
            clock.pass_us(4000)
            source.drain()
    finally:
        micropython.heap_unlock()
    assert chip.reads > reads + 100


def test_clock_bounds_the_phase_from_both_sides():
    clock = FrameClock(1000)
    clock.ppm = 100
    clock.start(0)
    clock.observe(1, 1500, 1510)  # ended between 500 and 1510
    assert 900 <= clock.end <= 1100
    assert clock.fewest(1600) == 0
    assert clock.most(1600) == 1
    clock.observe(1, 1700, 1705)  # the next one by 1705, so the first by 705
    assert 1500 <= clock.end <= 1705
    clock.observe(0, 2600, 2610)  # the one after not before 2600
    assert 1598 <= clock.end <= 1706
    assert clock.fewest(3800) == clock.most(3810) == 2  # by 2,706 and 3,706 at the latest
    assert clock.slips == 0


def test_clock_finds_out_that_the_rate_has_changed():
    clock = FrameClock(1000)
    clock.start(0)
    now_us = 0
    for period_us in (1000, 1020):
        for _ in range(5000):
            now_us += period_us
            clock.observe(1, now_us + 10, now_us + 20)
    assert clock.slips
    assert abs(clock.rate_hz * 1020 / 1000000 - 1) < 0.001, clock.rate_hz
