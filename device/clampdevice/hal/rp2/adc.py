"""The ADC of RP2040 and RP2350 as a block source: every sample in order or accounted for.

Owns the proof that nothing is missing. A block is handed out if its time stamp is where the
crystal says (the ADC's 48 MHz and the timer's 1 MHz come from the same one), if the FIFO was
never full, and if the chip's temperature is found in its own slot. Else the ADC is stopped,
drained and started again at its first input, and the frames between the last good one and the
first new one are lost: counted by the same crystal, and told with the next block.

Registers are `converter.py`, DMA and its ring are `ring.py`. Positions come from the hardware, so
that any stall of the CPU is survived that the ring survives.
"""

from clampdevice.hal.rp2.chips import ADC_CLOCK_HZ
from clampdevice.hal.rp2.converter import CONVERSION_CYCLES, OVER, Converter
from clampdevice.hal.rp2.fast import extremes
from clampdevice.hal.rp2.ring import SEGMENT_SAMPLES, StampedRing
from clampdevice.ticks import TICKS_MASK, ticks_diff

# What the temperature sensor gives between -100 and 150 degrees, at 3.3 V (0.706 V at 27 degrees,
# -1.721 mV a degree; RP2040 datasheet 4.9.5). The bias of a transformer lies far above.
WITNESS_LOW = 500
WITNESS_HIGH = 1250
WITNESS_STEP = 8  # frames from one look to the next: a shifted order stays shifted
RING_MS = 450
MERGE = 8  # blocks at a time when there is a backlog
# What is handed out stays whole for at least that long.
MARGIN_US = 2000
_BLOCK_MS = 40
_SHORT_BLOCK_MS = 5
_SILENT_BLOCKS = 8
_TURNS = 10  # looks in the time of a ring
_FIRST_STAMP_US = 1000
_LEARN_BLOCKS = 64
_MHZ = ADC_CLOCK_HZ // 1000000


class AdcSource:
    """Block source of 12-bit codes; see `clampdevice.hal` for the interface.

    Args:
        config: see `Converter`; optional `ring_ms` and `block_frames`.
        chip, mem32: see `Converter`.
        new_dma, memory: see `StampedRing`.
        ticks_us: `time.ticks_us`, the low 30 bits of the timer that also makes the stamps.

    Attributes:
        rate_hz: true frames a second.
        slots: values a frame.
        overruns, lost_frames: how often frames were lost, and how many.
        laps, fifo_overruns, slips, silences: why: nobody came in time; the FIFO was full; a
            sample too many or too few, or the order wrong; the ADC stood still.
        torn: how often the DMA overtook a block that was handed out.
        turn_ms: how often somebody should call `take`.
    """

    def __init__(self, config: dict, chip, mem32, new_dma, memory, ticks_us) -> None:
        self.converter = Converter(config, chip, mem32)
        self.slots = slots = self.converter.slots
        cycles = self.converter.cycles
        self.rate_hz = ADC_CLOCK_HZ / (cycles * slots)
        samples, block = ring_of(ADC_CLOCK_HZ // cycles, config.get("ring_ms", RING_MS))
        if "block_frames" in config:
            block = config["block_frames"] * slots
        self._ring = StampedRing(new_dma, memory, chip.timer_raw, samples, block)
        self._mem32 = mem32
        self._ticks_us = ticks_us
        self._flags = self.converter.flags
        self._dreq = chip.dreq_adc
        self._block = block
        self._block_frames = block // slots
        self._block_cycles = block * cycles
        self._frame_cycles = slots * cycles
        # Half a sample, so that one too many or too few is seen; stamps are whole us.
        self._tolerance_us = max(1, min(8, cycles // (2 * _MHZ)))
        self._margin = max(slots, MARGIN_US * _MHZ // cycles)
        # From the last conversion's end to where the next frame begins.
        self._tail_us = (cycles - CONVERSION_CYCLES) // _MHZ
        witness = config.get("temperature_slot")
        self._witness = -1 if witness is None else witness
        # Blocks that may wait without a closer look at the ring
        self._few = max(1, self._ring.blocks - MERGE - 2)
        self._turn_us = self._ring.modulus * self._block_cycles // _MHZ // 2
        self._silent_us = _SILENT_BLOCKS * self._block_cycles // _MHZ
        self.turn_ms = max(1, self.ring_ms // _TURNS)
        self.overruns = self.lost_frames = 0
        self.laps = self.fifo_overruns = self.slips = self.silences = self.torn = 0
        self._result = [self._ring.buf, 0, 0, 0, 0]
        self._zero = 0  # ticks at device time 0
        self._learn = 0
        # Where the last good block ended, in ticks and cycles; valid once there was one.
        self._sampled = False
        self._due = self._due_cycles = self._end_us = 0
        self._lost = self._rest_cycles = 0
        self._begin_run(0)

    @property
    def ring_ms(self) -> int:
        """How long the ring lasts, in whole ms."""
        return self._ring.blocks * self._block_cycles // (_MHZ * 1000)

    def start(self, now_us: int) -> None:
        """Starts sampling; the first sample of the first block is of the first input."""
        self._zero = ticks_diff(self._ticks_us(), now_us)
        self._learn = _LEARN_BLOCKS
        self._sampled = False  # what came before, if anything, is another story
        self._lost = self._rest_cycles = 0
        self._restart()

    def stop(self) -> None:
        """Ends sampling."""
        self.converter.halt()
        self._ring.stop()
        self._running = False

    def close(self) -> None:
        """Ends sampling and gives the DMA channels back."""
        self.stop()
        self._ring.close()

    def _restart(self) -> None:
        self.stop()
        self.converter.prepare()
        self._ring.start(self.converter.fifo, self._dreq)
        self.converter.run()
        self._begin_run(self._ticks_us())

    def _begin_run(self, started: int) -> None:
        self._running = True
        self._started = started
        self._fresh = True  # no block of this run was handed out
        self._read = 0  # blocks of this run handed out or given up
        self._handed = -1  # first of those handed out last
        self._done = 0  # blocks complete
        self._position = 0  # and that modulo the stamps
        self._last_stamp = started  # of the last of them

    def take(self, now_us: int) -> list | None:
        """The next block [buf, first, frames, end_us, lost_frames], valid until the next call.

        Raises:
            OSError: the DMA has overtaken what was handed out last; what comes next is good.
        """
        if self._running and self._mem32[self._flags] & OVER:
            # What is complete may be good; what would come is out of order.
            self.fifo_overruns += 1
            self.converter.halt()
            self._running = False
        position = self._ring.completed()
        if position != self._position:
            self._look(position)
        if self._done == self._read:
            self._without_block()
            return None
        if self._done - self._read > self._few:
            self._look_closer()
        if self._fresh:
            return self._first_block(now_us)
        count = min(self._done - self._read, MERGE, self._ring.contiguous(self._read))
        if not self._pass(count):
            if count == 1 or not self._pass(1):
                self._refuse()
                return None
            count = 1
        if self._learn:
            self._learn_zero(now_us)
        return self._hand_out(count)

    def _pass(self, count: int) -> bool:
        """Moves the due time on over `count` blocks, if stamp and order are as they should be."""
        cycles = self._due_cycles + count * self._block_cycles
        step_us = cycles // _MHZ
        off_us = ticks_diff(self._ring.stamp(self._read + count - 1), self._due) - step_us
        if not -self._tolerance_us <= off_us <= self._tolerance_us or not self._in_order(count):
            return False
        self._due = (self._due + step_us) & TICKS_MASK
        self._due_cycles = cycles % _MHZ
        self._end_us += step_us
        return True

    def _first_block(self, now_us: int) -> list | None:
        """The first block of a run: the crystal's count starts at its stamp.

        Frames lost since the run before are those that would have fitted between; what is left
        of a frame is kept for the next time, so that frames and time never part.
        """
        stamp = self._ring.stamp(self._read)
        due_us = (self._read + 1) * self._block_cycles // _MHZ
        off_us = ticks_diff(stamp, self._started) - due_us
        if not -_FIRST_STAMP_US <= off_us <= _FIRST_STAMP_US or not self._in_order(1):
            self._refuse()
            return None
        if self._sampled:
            gap = ticks_diff(stamp, self._due) * _MHZ - self._due_cycles - self._block_cycles
            gap += self._rest_cycles
            frames = max(0, (gap + self._frame_cycles // 2) // self._frame_cycles)
            self._rest_cycles = gap - frames * self._frame_cycles
            self._lost += frames
        self._sampled = True
        self._fresh = False
        self._due = stamp
        self._due_cycles = 0
        now = (now_us + self._zero) & TICKS_MASK
        self._end_us = now_us + ticks_diff(stamp, now) + self._tail_us
        return self._hand_out(1)

    def _hand_out(self, count: int) -> list:
        result = self._result
        result[1] = self._ring.first(self._read)
        result[2] = count * self._block_frames
        result[3] = self._end_us
        result[4] = self._lost
        if self._lost:
            self.overruns += 1
            self.lost_frames += self._lost
            self._lost = 0
        self._handed = self._read
        self._read += count
        return result

    def _in_order(self, count: int) -> bool:
        """Whether the temperature is where it belongs, from the last frame back."""
        if self._witness < 0:
            return True
        looks = count * self._block_frames // WITNESS_STEP or 1
        at = self._ring.first(self._read) + self._witness
        at += (count * self._block_frames - 1 - (looks - 1) * WITNESS_STEP) * self.slots
        found = extremes(self._ring.buf, at, looks, self.slots * WITNESS_STEP)
        return found & 0xFFF >= WITNESS_LOW and found >> 12 <= WITNESS_HIGH

    def _refuse(self) -> None:
        self.slips += self._running  # a halted ADC was told of already
        self._restart()

    def _without_block(self) -> None:
        self._handed = -1  # who asks for more is done with the last
        if not self._running:
            self._restart()
        elif ticks_diff(self._ticks_us(), self._last_stamp) > self._silent_us:
            self.silences += 1
            self._restart()

    def _look(self, position: int) -> None:
        """Brings the count of complete blocks up to date.

        The position is known modulo the stamps; the last stamp tells how often it went round.
        """
        ring = self._ring
        fresh = (position - self._position) % ring.modulus
        stamp = ring.stamp(self._done + fresh - 1)
        spent_us = ticks_diff(stamp, self._last_stamp)
        if spent_us > self._turn_us:
            spent = spent_us * _MHZ // self._block_cycles
            fresh += (spent - fresh + ring.modulus // 2) // ring.modulus * ring.modulus
        self._done += fresh
        self._position = position
        self._last_stamp = stamp

    def _look_closer(self) -> None:
        """Gives up blocks that the DMA has reached, or would while they are worked on."""
        ring = self._ring
        if self._handed >= 0 and self._done - self._handed >= ring.blocks:
            self._handed = -1
            self.torn += 1
            raise OSError("adc: samples were overwritten while they were read")
        waiting = (self._done - self._read) * self._block + ring.filled(self._done)
        over = waiting + self._margin - ring.blocks * self._block
        if over <= 0:
            return
        blocks = -(-over // self._block)
        self.laps += 1
        self._read += blocks
        if not self._fresh:
            cycles = self._due_cycles + blocks * self._block_cycles
            self._due = (self._due + cycles // _MHZ) & TICKS_MASK
            self._due_cycles = cycles % _MHZ
            self._end_us += cycles // _MHZ
        if not self._fresh or not self._sampled:  # else they count with the run's gap
            self._lost += blocks * self._block_frames

    def _learn_zero(self, now_us: int) -> None:
        """Ticks are read a moment after `now_us`; the shortest moment is nearest the truth."""
        self._learn -= 1
        off_us = ticks_diff(ticks_diff(self._ticks_us(), now_us), self._zero)
        if off_us < 0:
            self._zero += off_us
            self._end_us -= off_us

    def headroom_us(self) -> int:
        """How long nobody need call `take`, from now; 0 if it is too late already."""
        position = self._ring.completed()
        if position != self._position:
            self._look(position)
        waiting = (self._done + 1 - self._read) * self._block
        free = self._ring.blocks * self._block - waiting - self._margin
        return max(0, free * self.converter.cycles // _MHZ)


def ring_of(rate_hz: int, ring_ms: int) -> tuple:
    """(samples of the ring, samples a block) for `rate_hz` samples a second.

    The ring lasts at least `ring_ms`: a power of two up to one segment, then whole segments. A
    block lasts up to 40 ms; shorter ones where the ring is short, since the one that is being
    filled is lost to it, and then at least 2.5 ms, since each costs the CPU its share.
    """
    samples = 1024
    while samples * 1000 < rate_hz * ring_ms and samples < SEGMENT_SAMPLES:
        samples *= 2
    segments = -(-rate_hz * ring_ms // (1000 * samples))
    samples *= segments
    block = 32
    while 2000 * block <= rate_hz * _BLOCK_MS and 32 * block <= samples:
        block *= 2
    if segments > 1:
        while 64 * block > samples and 1000 * block > rate_hz * _SHORT_BLOCK_MS:
            block //= 2
    return samples, block
