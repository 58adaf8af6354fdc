"""The RP2's ADC source on a register file: every frame handed out in order, or counted lost.

Truth is the register file's own count of conversions; both chips, clocks that wrap, rings of one
segment and of several.
"""

from fakes_rp2 import START_MANY, TICKS_MASK, FakeRp2

from clampdevice.hal.rp2.adc import AdcSource, ring_of
from clampdevice.hal.rp2.chips import RP2040, RP2350, chip_of

CONFIG = {"rate_hz": 400, "slots": 4, "temperature_slot": 3, "block_frames": 16, "ring_ms": 450}
BLOCK_US = 40000  # 16 frames at 400 Hz


class Bench:
    """A source, its chip, and the books: what was handed out, what was said to be lost."""

    def __init__(self, chip: type = RP2040, at_us: int = 0, **changes) -> None:  # noqa: ANN003
        config = dict(CONFIG)
        config.update(changes)
        self.machine = machine = FakeRp2(chip, at_us)
        self.source = AdcSource(config, chip, machine, machine.new_dma, machine, machine.ticks_us)
        self.start_us = machine.now_us
        self.frames = self.lost = 0
        self.checks = True
        self.ends: list = []

    @property
    def now_us(self) -> int:
        return self.machine.now_us - self.start_us

    def start(self) -> None:
        self.source.start(self.now_us)

    def take(self) -> list | None:
        block = self.source.take(self.now_us)
        if block is not None:
            buf, first, frames, end_us, lost = block
            self.frames += frames
            self.lost += lost
            self.ends.append(end_us)
            if self.checks:
                self.check(buf, first, frames)
        return block

    def check(self, buf, first: int, frames: int) -> None:
        """Each slot shows its own input, and codes follow one another without a break."""
        slots = self.source.slots
        start = (buf[first] - 2000) & 63
        for i in range(frames * slots):
            slot = i % slots
            code = buf[first + i]
            if slot == 3:
                assert code == 876
            else:
                assert code == 2000 + 100 * slot + ((start + i) & 63), (i, code)

    def run(self, ms: int, every_ms: int = 10) -> None:
        for _ in range(ms // every_ms):
            self.machine.advance(1000 * every_ms)
            while self.take() is not None:
                pass

    def skip_an_input(self) -> None:
        """What a foreign read does that meets a running conversion: AINSEL moves on."""
        machine = self.machine
        following = {0: 1, 1: 2, 2: 4, 4: 0}[machine.cs >> 12 & 15]
        machine.cs = machine.cs & ~(15 << 12) | following << 12

    def expect_balance(self) -> None:
        """Frames handed out and lost are those of the time up to the last block's end."""
        elapsed = (self.ends[-1] - self.ends[0]) * self.source.rate_hz / 1000000
        told = self.frames + self.lost - CONFIG["block_frames"]
        assert -0.6 <= elapsed - told <= 0.6, (elapsed, told)


def test_blocks_come_in_order() -> None:
    for chip in (RP2040, RP2350):
        bench = Bench(chip)
        bench.start()
        bench.run(2000)
        assert bench.frames >= 784
        assert bench.lost == 0
        assert bench.source.overruns == 0
        # a frame ends where the next one begins
        assert bench.ends[0] == BLOCK_US
        assert bench.ends[-1] - bench.ends[0] == BLOCK_US * (len(bench.ends) - 1)


def test_registers_are_those_of_the_chip() -> None:
    for chip, dreq in ((RP2040, 36), (RP2350, 48)):
        bench = Bench(chip)
        bench.start()
        machine = bench.machine
        assert machine.cs >> 16 & 0x1FF == 0b10111
        assert machine.cs & START_MANY
        assert machine.div == (48000000 // 1600 - 1) << 8
        assert machine.fcs & 0xF == 0b1001
        assert machine.fcs >> 24 == 1
        data, stamp = machine.channels
        assert data._field(6, 6) == dreq
        assert data._field(5, 4) == stamp.channel
        assert stamp._field(5, 4) == data.channel
        assert stamp.read_address == chip.timer_raw
        ring_bytes = 1 << data._field(3, 4)
        assert data.write_address % ring_bytes == 0
        assert stamp.write_address % (1 << stamp._field(3, 4)) == 0


def test_a_soft_reset_leaves_a_running_adc() -> None:
    bench = Bench()
    machine = bench.machine
    machine.cs = 1 | START_MANY | 0b10111 << 16 | 2 << 12
    machine.fcs = 0x1040A09 & ~0xF0000  # as seen on the chip: OVER set, FIFO full
    machine.fifo = [1, 2, 3, 4]
    bench.start()
    bench.run(400)
    assert bench.frames >= 144
    assert bench.source.overruns == 0


def test_clocks_wrap() -> None:
    for at_us in ((1 << 30) - 700000, (1 << 32) - 700000, (1 << 31) - 10):
        bench = Bench(at_us=at_us)
        bench.start()
        bench.run(2000)
        assert bench.lost == 0
        assert bench.frames >= 784
        assert bench.ends[-1] == BLOCK_US * len(bench.ends)


def test_a_long_day_keeps_time() -> None:
    """The end of a block is counted on; it must not drift from the stamps."""
    bench = Bench(rate_hz=390.625 * 1.37)  # a period that is no whole number of us
    bench.start()
    for _ in range(60):
        bench.run(1000, 100)
    assert bench.lost == 0
    stamp = bench.source._ring.stamp(bench.source._read - 1)
    assert abs((stamp - bench.start_us & TICKS_MASK) - bench.ends[-1]) < 2000


def test_a_stall_within_the_ring_loses_nothing() -> None:
    bench = Bench()
    bench.start()
    bench.run(400)
    assert bench.source.headroom_us() > 400000
    bench.machine.advance(400000)
    bench.run(1000)
    assert bench.lost == 0
    bench.expect_balance()


def test_a_stall_beyond_the_ring_is_counted_to_the_frame() -> None:
    for stall_ms in (1200, 1400, 2600, 2700, 5000, 60000):
        bench = Bench()
        bench.start()
        bench.run(400)
        bench.machine.advance(1000 * stall_ms)
        assert bench.source.headroom_us() == 0
        bench.run(1000)
        assert bench.source.laps == bench.source.overruns == 1, stall_ms
        assert bench.source.torn == 0
        elapsed = (bench.ends[-1] - bench.ends[0]) * 400 // 1000000
        assert bench.frames + bench.lost - 16 == elapsed, stall_ms


def test_a_first_look_that_comes_too_late() -> None:
    bench = Bench()
    bench.start()
    bench.machine.advance(3000000)
    bench.run(400)
    assert bench.lost > 0
    assert bench.frames + bench.lost == bench.ends[-1] * 400 // 1000000


def test_backlog_comes_in_pieces_that_lie_together() -> None:
    bench = Bench()
    bench.start()
    bench.run(400)
    bench.machine.advance(480000)
    sizes = []
    while True:
        block = bench.take()
        if block is None:
            break
        sizes.append(block[2])
    assert sizes == [96, 96]  # up to the ring's end, and the rest
    assert bench.lost == 0


def test_a_full_fifo_is_seen_and_the_order_restored() -> None:
    bench = Bench()
    bench.start()
    bench.run(1000)
    data = bench.machine.channels[0]
    data.ctrl &= ~1  # the DMA does not take anything for 9 samples
    bench.machine.advance(9 * 625)
    data.ctrl |= 1
    assert bench.machine.dropped == 5
    frames = bench.frames
    bench.run(1000)
    assert bench.source.fifo_overruns == 1
    assert bench.source.slips == 0
    assert bench.source.overruns == 1
    assert 0 < bench.lost <= 40
    assert bench.frames > frames
    bench.expect_balance()


def test_complete_blocks_before_a_full_fifo_are_handed_out() -> None:
    bench = Bench()
    bench.start()
    bench.run(400)
    bench.machine.advance(200000)  # five blocks wait
    data = bench.machine.channels[0]
    data.ctrl &= ~1
    bench.machine.advance(9 * 625)
    frames = bench.frames
    bench.run(400)
    assert bench.frames >= frames + 80
    assert bench.lost <= 40
    bench.expect_balance()


def test_a_foreign_read_is_seen_by_the_witness() -> None:
    bench = Bench()
    bench.start()
    bench.run(1000)
    bench.skip_an_input()
    bench.run(1000)
    assert bench.source.slips == 1
    assert bench.lost >= 16
    bench.expect_balance()


def test_a_sample_too_many_is_seen_by_the_stamps() -> None:
    bench = Bench(slots=1, temperature_slot=None, rate_hz=1600, block_frames=64, pins=[26])
    bench.checks = False
    bench.start()
    bench.run(1000)
    bench.machine.convert()
    bench.run(1000)
    assert bench.source.slips == 1
    assert bench.source.overruns == 1


def test_an_adc_that_stands_still_is_started_again() -> None:
    bench = Bench()
    bench.start()
    bench.run(1000)
    bench.machine.cs &= ~START_MANY
    bench.machine._next = None
    bench.run(1000)
    assert bench.source.silences == 1
    assert bench.lost > 100
    bench.expect_balance()


def test_losses_do_not_move_the_count_from_the_clock() -> None:
    """Each restart loses a broken number of frames; the parts are carried on."""
    bench = Bench()
    bench.start()
    bench.run(400)
    for i in range(40):
        bench.machine.advance(137 * (i + 1))
        bench.skip_an_input()
        bench.run(200)
    assert bench.source.slips == 40
    bench.expect_balance()


def test_a_block_overwritten_while_it_was_read_is_told() -> None:
    bench = Bench()
    bench.start()
    bench.run(400)
    bench.machine.advance(BLOCK_US)
    assert bench.take() is not None
    bench.machine.advance(700000)
    bench.machine.advance(700000)
    try:
        bench.take()
        raise AssertionError("nothing was said")
    except OSError:
        pass
    assert bench.source.torn == 1
    bench.run(1000)
    assert bench.source.torn == 1
    bench.expect_balance()


def test_sizes() -> None:
    for rate_hz, ring_ms in ((1600, 450), (25600, 450), (76800, 426), (76800, 450), (500000, 65)):
        samples, block = ring_of(rate_hz, ring_ms)
        assert samples * 1000 >= rate_hz * ring_ms
        assert samples % block == 0
        assert samples // block >= 16
        assert block * 1000 <= 40 * rate_hz
    assert ring_of(25600, 450) == (16384, 1024)
    assert ring_of(76800, 426) == (32768, 512)


def test_what_the_adc_cannot_do_is_refused() -> None:
    cases: tuple = (
        ({"slots": 3}, "3 slots"),
        ({"rate_hz": 200000}, "125000"),
        ({"rate_hz": 10}, "183.1"),
        ({"temperature_slot": 1}, "last"),
        ({"pins": [26, 27]}, "ascending"),
        ({"pins": [26, 28, 27]}, "ascending"),
        ({"pins": [26, 27, 30]}, "29"),
        ({"block_frames": 17}, "power of two"),
        ({"block_frames": 1}, "stamps"),
    )
    for changes, said in cases:
        try:
            Bench(**changes)
        except ValueError as error:
            assert said in str(error), (changes, str(error))
        else:
            raise AssertionError(changes)


def test_chips_by_name() -> None:
    assert chip_of("Raspberry Pi Pico W with RP2040") is RP2040
    assert chip_of("Raspberry Pi Pico2 with RP2350") is RP2350
    try:
        chip_of("ESP32 module")
        raise AssertionError("an ESP32 is no RP2")
    except ValueError:
        pass


def test_stop_and_close() -> None:
    bench = Bench()
    bench.start()
    bench.run(200)
    bench.source.close()
    assert all(channel.closed for channel in bench.machine.channels)
    assert not bench.machine.cs & START_MANY
