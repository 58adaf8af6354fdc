"""The RP2's ADXL345 source on a register file: every frame in order, or lost and counted exactly.

Truth is the model of `fakes_entries`; DMA, timer and ring are those of the register file.
"""

from fakes_entries import Sensor
from fakes_rp2 import TICKS_MASK, FakeRp2

from clampdevice.hal.rp2.chips import RP2040, RP2350
from clampdevice.hal.rp2.entries import WATERMARK, EntrySource
from clampdevice.hal.rp2.fastentries import entries, plain_entries

BLOCK = 32  # frames at 800 Hz


class Bench:
    """A source with its sensor, and the books: what was handed out, what was said to be lost."""

    def __init__(self, chip: type = RP2040, at_us: int = 0, ppm: int = 0, hz: int = 800) -> None:
        self.machine = machine = FakeRp2(chip, at_us)
        self.sensor = sensor = Sensor(machine, ppm, hz)
        self.hz = hz
        self.source = EntrySource(
            self.connect, sensor, machine.new_dma, machine, chip.timer_raw, hz, 16, self.ticks_us
        )
        self.start_us = machine.now_us
        self.frames = self.lost = 0
        self.next = -1
        self.ends: list = []
        self.errors: list = []
        self.wait_us = 0  # that a look at the clock takes

    def connect(self) -> Sensor:
        assert not self.sensor.reading, "the pins are the PIO's"
        return self.sensor

    def ticks_us(self) -> int:
        if self.wait_us:
            self.sensor.advance(self.wait_us)
        return self.machine.ticks_us()

    @property
    def now_us(self) -> int:
        return self.machine.now_us - self.start_us

    def measure(self) -> float:
        self.wait_us = 1000
        rate_hz = self.source.measure_rate()
        self.wait_us = 0
        return rate_hz

    def start(self) -> None:
        self.source.start(self.now_us)

    def take(self) -> list | None:
        try:
            block = self.source.take(self.now_us)
        except OSError as error:
            self.errors.append(str(error))
            return None
        if block is None:
            return None
        buf, first, frames, end_us, lost = block
        self.lost += lost
        for i in range(frames):
            at = first + 4 * i
            k = buf[at] ^ 0x8000
            if self.next >= 0:
                jump = (k - self.next) & 0xFFFF
                assert jump == (lost if i == 0 else 0), (k, self.next, lost, i)
            assert buf[at + 1] ^ 0x8000 == ~k & 0xFFFF
            assert buf[at + 2] == 77 + 0x8000
            self.next = k + 1 & 0xFFFF
        self.frames += frames
        # The true end of the block's last frame; the sensor is `first` + what waits further on.
        behind = (self.sensor.made - self.next) & 0xFFFF
        true_us = self.sensor.next_us - self.sensor.period_us * (behind + 1) - self.start_us
        self.ends.append(end_us - true_us)
        return block

    def run(self, ms: int, every_ms: int = 10) -> None:
        for _ in range(ms // every_ms):
            self.sensor.advance(1000 * every_ms)
            while self.take() is not None:
                pass


def follow(chip: type, at_us: int, ppm: int) -> None:
    bench = Bench(chip, at_us, ppm, 1600)
    true_hz = 1600 * (1 + ppm / 1000000)
    rate_hz = bench.measure()
    assert abs(rate_hz / true_hz - 1) < 30e-6, rate_hz
    bench.start()
    bench.run(1200)
    source = bench.source
    assert bench.lost == source.lost_frames == source.overruns == source.slips == 0
    assert source.resyncs == source.laps == 0
    assert bench.frames > 1.1 * true_hz
    assert bench.errors == []
    # A block ends when its last frame was sampled, within the read and a step of the clock.
    assert all(-20 <= off_us <= 20 for off_us in bench.ends[2:]), bench.ends


def test_frames_come_whole_and_in_order_at_the_true_rate():
    follow(RP2040, 0, 0)


def test_a_rate_far_off_and_a_timer_that_wraps():
    follow(RP2350, (1 << 32) - 900000, 41000)


def test_a_slow_sensor_is_followed_too():
    follow(RP2040, 12345, -29000)


def test_a_stall_as_long_as_the_ring_costs_nothing():
    bench = Bench(ppm=-12345)
    bench.measure()
    bench.start()
    bench.run(300)
    for stall_ms in (45, 400, 500):
        bench.sensor.advance(1000 * stall_ms)
        bench.run(200)
    assert bench.lost == 0
    assert bench.source.resyncs == bench.source.laps == 0
    assert all(-20 <= off_us <= 20 for off_us in bench.ends[2:])


def test_an_overrun_is_counted_exactly_and_lies_where_it_was():
    for pause_ms in (50, 77, 110):
        bench = Bench(ppm=23456)
        bench.measure()
        bench.start()
        bench.run(500)
        before = bench.sensor.lost
        bench.sensor.halt()
        bench.run(pause_ms)  # nobody reads, as if INT1 was away; shorter than a silence
        bench.sensor.run()
        bench.run(500)
        assert bench.errors == []
        assert bench.sensor.lost > before
        assert bench.lost == bench.source.lost_frames == bench.sensor.lost - before
        assert bench.source.overruns == 1


def test_nobody_came_for_longer_than_the_ring():
    for pause_ms in (700, 2500, 2530, 9000):  # 64 blocks are 2.53 s
        bench = Bench(RP2350, (1 << 30) - 3000000, 12000)
        bench.measure()
        bench.start()
        bench.run(500)
        bench.sensor.advance(1000 * pause_ms)
        bench.run(1000)
        assert bench.source.laps == 1, pause_ms
        assert bench.lost > 0  # and `take` has found the joint in order
        assert bench.errors in ([], ["adxl345: samples were overwritten while they were read"])


def test_an_overrun_just_before_a_long_stall():
    bench = Bench(ppm=9000)
    bench.measure()
    bench.start()
    bench.run(500)
    bench.sensor.halt()
    bench.sensor.advance(60000)
    bench.sensor.run()
    bench.run(40)
    assert bench.source._pending  # blocks are held until the count is certain
    bench.sensor.advance(570000)
    bench.run(500)
    assert bench.source.laps == 1
    assert bench.source.slips == 0
    assert bench.lost > bench.sensor.lost > 0  # and the joint was in order


def test_wires_that_spoil_every_entry_are_told():
    bench = Bench()
    bench.measure()
    bench.start()
    bench.run(300)
    bench.sensor.mangle = True
    bench.run(2000)
    assert "entries that are none" in bench.errors[0]
    assert bench.source.slips >= 3
    bench.sensor.mangle = False
    bench.next = -1
    frames = bench.frames
    bench.run(2000)
    assert bench.frames > frames + 400


def test_a_silent_sensor_is_told_and_comes_back_counted():
    bench = Bench(ppm=-5000)
    bench.measure()
    bench.start()
    bench.run(500)
    bench.sensor.running = False  # its supply is gone
    bench.sensor.silent = True
    gone_us = bench.machine.now_us
    bench.run(2500)
    assert "no chip answers" in bench.errors[0]
    assert bench.source.faults >= 2
    bench.sensor.silent = False
    bench.next = -1
    frames = bench.frames
    bench.run(2000)
    assert bench.frames > frames
    back = bench.lost + bench.frames - frames
    elapsed = (bench.machine.now_us - gone_us) / bench.sensor.period_us
    assert abs(elapsed - back) < 2 * BLOCK + WATERMARK + 16, (elapsed, back)


def test_a_cut_interrupt_line_is_named():
    bench = Bench()
    bench.measure()
    bench.start()
    bench.run(300)
    bench.sensor.cut = True
    bench.run(300)
    assert "INT1 at GPIO 20 does not rise" in bench.errors[0]


def test_a_sensor_that_was_reset_is_named():
    bench = Bench()
    bench.measure()
    bench.start()
    bench.run(300)
    bench.sensor.running = False
    bench.run(300)
    bench.next = -1  # the model makes no frames meanwhile
    bench.run(1200)
    assert "it was reset" in bench.errors[0]
    assert bench.source.faults == 1
    assert bench.sensor.running


def test_an_entry_that_is_none_sets_the_sensor_up_anew():
    bench = Bench()
    bench.measure()
    bench.start()
    bench.run(300)
    starts = bench.sensor.starts
    bench.sensor.mangle = True
    bench.run(30)
    bench.sensor.mangle = False
    bench.next = -1
    bench.run(500)
    assert bench.source.slips >= 1
    assert bench.sensor.starts > starts
    assert bench.source.lost_frames > 0


def sample_slowly(hz: int, ms: int) -> None:
    bench = Bench(ppm=3000, hz=hz)
    bench.start()
    bench.run(ms)
    assert bench.lost == 0
    assert bench.errors == []
    assert bench.frames > hz * (ms - 500) / 1000


def test_low_rates_have_blocks_of_few_frames():
    sample_slowly(100, 4000)


def test_the_lowest_rate_has_blocks_of_one():
    sample_slowly(25, 10000)


def test_the_compiled_loop_is_the_plain_one():
    from array import array

    for first in (0, 1, 4):
        words = array("H", [0xFFFF] * first)
        for i in range(5):
            words.extend(array("H", (0x830B if i == 3 else 0x820B, 0x1234, 0x00F0, 0xFF7F)))
        other = array("H", words)
        found, again = array("I", (0, 0)), array("I", (0, 0))
        assert entries(words, first, 5, found) == plain_entries(other, first, 5, again) == 3
        assert list(words) == list(other)
        assert list(found) == list(again) == [0x830B, 0x820B]
        assert words[first + 1] == 0x3412 ^ 0x8000
    assert entries(array("H", (0x820B, 0, 0, 0)), 0, 1, array("I", (0, 0))) == -1


def test_ticks_are_those_of_the_stamps():
    bench = Bench(RP2040, TICKS_MASK - 200000)
    bench.measure()
    bench.start()
    bench.run(1000)
    assert bench.lost == 0
    assert bench.source.headroom_us() > 400000
