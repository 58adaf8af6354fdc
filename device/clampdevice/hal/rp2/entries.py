"""An ADXL345 as a block source of RP2040 and RP2350, emptied by PIO and DMA without the CPU.

Owns the proof that nothing is missing, and the true rate. INT1 starts the read of an entry in the
microsecond in which a new frame fills the FIFO up to its watermark, so the stamps at the ends of
the blocks show the sensor's own oscillator against the board's crystal. Each entry carries the
chip's overrun bit: frames were overwritten between the entry before and this one. How many is the
time that has gone by, in periods, less the frames that came; it is counted when the reads are in
step with the sensor again, and exact while that time, times the error of the rate (some ppm), is
below half a period: for 10 s at 10 ppm and 3,200 Hz. A frame whose DATA_FORMAT is not the one
that was written, or that was not ready, is no frame: then the sensor is set up anew.

Nothing here is lost while the core stands still, up to the length of the ring. The PIO program is
`fifopio.py`, ring and stamps are `ring.py`, the rate is `stamprate.py`. A silent bus, a wrong chip
or a cut INT1 is an OSError from `take` until the sensor is back, which is tried once a second.
"""

from array import array

from clampdevice.hal.rp2.fastentries import entries
from clampdevice.hal.rp2.ring import StampedRing
from clampdevice.hal.rp2.stamprate import StampRate
from clampdevice.ticks import TICKS_MASK, ticks_diff

WATERMARK = 4
RING_MS = 450
SLOTS = 4  # the chip's status word and the three axes
READY = 0x8000
OVERRUN = 0x0100
_RING_BLOCKS = 16
_HOLD_BLOCKS = 8
_STRANGE_BLOCKS = 8
_REFUSED_MOST = 3
_MARGIN_BLOCKS = 2
_TURNS = 10  # looks in the time of a ring
_SILENCE_US = 100000
_RETRY_US = 1000000
_COUNTED_TRIES = 400  # seconds; a difference of ticks is good for 536
_TOLERANCE_US = 50
_MEASURE_US = 400000


class EntrySource:
    """Block source; see `clampdevice.hal`. A frame begins at its first axis.

    Args:
        connect: gives the pins back to the CPU and returns the driver on a bus.
        reader: see `fifopio.FifoReader`.
        new_dma, memory, timer_raw: see `StampedRing`.
        rate_hz, range_g: for the driver's `configure`.
        ticks_us: `time.ticks_us`.
        ring_ms: what the ring has to last.

    Attributes:
        rate_hz: nominal until `measure_rate`, then true.
        slots: values from one frame to the next.
        overruns, lost_frames: how often frames were lost, and how many.
        laps: nobody came in time. slips: entries that were none. faults: the sensor fell silent.
        resyncs: the reads were out of step with the rate for long.
        turn_ms: how often somebody should call `take`.

    Raises:
        ValueError: the chip has no such rate or range.
    """

    def __init__(
        self, connect, reader, new_dma, memory, timer_raw: int, rate_hz: float, range_g: float,
        ticks_us, ring_ms: int = RING_MS,
    ) -> None:  # fmt: skip
        self._connect = connect
        self._reader = reader
        self._settings = (rate_hz, range_g)
        self._ticks_us = ticks_us
        self.slots = SLOTS
        self.rate_hz = rate_hz
        frames = _RING_BLOCKS
        while frames * 1000 < rate_hz * ring_ms:
            frames *= 2
        self._block = frames // _RING_BLOCKS
        self._ring = StampedRing(new_dma, memory, timer_raw, SLOTS * frames, SLOTS * self._block)
        self.turn_ms = max(20, int(1000 * frames / rate_hz) // _TURNS)
        self._few = self._ring.blocks - _MARGIN_BLOCKS
        self.overruns = self.lost_frames = 0
        self.laps = self.slips = self.faults = self.resyncs = 0
        self._rate = StampRate(rate_hz, self._block)
        self._found = array("I", (0, 0))
        self._result = [self._ring.buf, 0, 0, 0, 0]
        self._zero = 0
        self._zeroed = self._sampled = self._running = False
        # Ticks at which the last frame handed out was read, by the model.
        self._due = 0
        self._down: OSError | None = None
        self._retry = self._tries = self._refused = 0
        self._begin_run(0)
        try:
            self._open()
        except OSError as error:
            self._fail(error)

    # --- the sensor --------------------------------------------------------------------------

    def _open(self) -> None:
        self._reader.halt()
        self.driver = self._connect()
        self.driver.configure(self._settings[0], self._settings[1])

    def _begin(self) -> None:
        """Starts the sensor and what reads it."""
        self._ring.stop()
        self.driver.start(WATERMARK)
        self._reader.arm()
        self._ring.start(self._reader.fifo, self._reader.dreq)
        self._reader.run()
        self._begin_run(self._ticks_us())

    def _begin_run(self, ticks: int) -> None:
        self._position = self._done = 0  # blocks complete
        self._seen = self._checked = self._read = 0  # looked at; to hand out; handed out
        self._split = 0  # frames of the next block that are handed out
        self._handed = -1
        self._last = self._moved = ticks  # stamp of the block seen last; of the last one
        self._pending = True  # the next block in step tells what is missing
        self._gap = self._gap_frame = self._gap_lost = 0  # before that frame of that block
        self._strange = self._spent_us = 0
        self._rate.forget()

    def _fail(self, error: OSError) -> OSError:
        self.faults += 1
        self._running = False
        self._reader.halt()
        self._ring.stop()
        text = str(error)
        if not text.startswith("adxl345"):
            text = "adxl345: " + text
        self._down = OSError(text)
        self._retry = self._ticks_us()
        return self._down

    def start(self, now_us: int) -> None:
        """Starts the sensor; what fails is told by `take`."""
        self._sampled = self._zeroed = False
        if self._down is None:
            self._restart()

    def _restart(self) -> None:
        try:
            if self._running:
                self._open()
            self._begin()
            self._running = True
        except OSError as error:
            self._fail(error)

    def measure_rate(self, span_us: int = _MEASURE_US) -> float:
        """Samples for `span_us`, keeps nothing, and takes the rate from it as `rate_hz`.

        To be called before channels are made of `rate_hz`. The error is 2 us in the span.
        """
        self.start(0)
        began = self._ticks_us()
        try:
            while ticks_diff(self._ticks_us(), began) < span_us:
                self.take(0)
        except OSError:
            pass  # kept in `_down` and told by `take` when somebody listens
        if self._rate.settled:
            self.rate_hz = self._rate.rate_hz
        self.overruns = self.lost_frames = 0
        return self.rate_hz

    def close(self) -> None:
        """Ends sampling and gives DMA channels and PIO back."""
        self._running = False
        self._reader.close()
        self._ring.close()

    def _without_block(self, ticks: int) -> None:
        quiet_us = ticks_diff(ticks, self._moved)
        if quiet_us > max(_SILENCE_US, 4 * self._rate.us(self._block)):
            if self._done and self._ring.stamp(self._done - 1) != self._moved:
                self._look(self._position)  # all the way round, to the very same place
                return
            raise self._fail(self._why(quiet_us))

    def _why(self, quiet_us: int) -> OSError:
        """Why no entry has come."""
        self._reader.halt()
        try:
            driver = self._connect()
            driver.check()
            measuring = driver.measuring()
        except OSError as error:
            return error
        why = "no samples for " + str(quiet_us // 1000) + " ms, though it answers: "
        if not measuring:
            return OSError(why + "it was reset; check its supply")
        return OSError(why + "INT1 at GPIO " + str(self._reader.int_pin) + " does not rise")

    def _try_again(self, ticks: int) -> None:
        assert self._down is not None
        if ticks_diff(ticks, self._retry) < _RETRY_US:
            raise self._down
        self._tries += 1
        if self._tries > _COUNTED_TRIES:
            self._sampled = False  # ticks tell no longer how many; the silent windows do
        try:
            self._open()
            self._begin()
        except OSError as error:
            raise self._fail(error)
        self._running = True
        self._down = None

    # --- blocks ------------------------------------------------------------------------------

    def take(self, now_us: int) -> list | None:
        """The next block [buf, first, frames, end_us, lost_frames], valid until the next call.

        Raises:
            OSError: the sensor is silent or another chip; or the DMA has overtaken what was
                handed out last.
        """
        ticks = self._ticks_us()
        off_us = ticks_diff(ticks, now_us)
        if not self._zeroed or ticks_diff(off_us, self._zero) < 0:
            self._zero = off_us  # the shortest way from `now_us` to here is nearest the truth
            self._zeroed = True
        if self._down is not None:
            self._try_again(ticks)
        position = self._ring.completed()
        if position != self._position:
            self._look(position)
        if self._read == self._checked:
            self._handed = self._handed if self._done > self._read else -1
            if self._done - self._read > self._few:
                self._give_up()
            self._check()
            if self._read == self._checked:
                if self._seen == self._done:
                    self._without_block(ticks)
                return None
        return self._hand_out(now_us)

    def _look(self, position: int) -> None:
        """Brings the count of complete blocks up to date; see `AdcSource`."""
        modulus = self._ring.modulus
        fresh = (position - self._position) % modulus
        stamp = self._ring.stamp(self._done + fresh - 1)
        spent = ticks_diff(stamp, self._moved) // self._rate.us(self._block)
        if 2 * spent > modulus:
            fresh += (spent - fresh + modulus // 2) // modulus * modulus
        self._done += fresh
        self._position = position
        self._moved = stamp

    def _give_up(self) -> None:
        """Leaves what the DMA has reached, or would while it is worked on."""
        if self._handed >= 0 and self._done - self._handed >= self._ring.blocks:
            self._handed = -1
            raise OSError("adxl345: samples were overwritten while they were read")
        self.laps += 1
        self._read = self._checked = self._done - self._few + 1
        self._seen = max(self._seen, self._read)  # what was seen is converted
        self._last = self._ring.stamp(self._seen - 1)
        self._split = 0
        self._pending = True
        self._gap, self._gap_frame = self._read, 0

    def _check(self) -> None:
        """Looks at one block, or at more while it is open how many frames are missing."""
        while self._seen < self._done:
            block = self._seen
            stamp = self._ring.stamp(block)
            at = self._convert(block)
            if self._are_none():
                self._refuse()
                return
            self._seen += 1
            spent_us = ticks_diff(stamp, self._last)
            self._last = stamp
            if at >= 0 and not self._pending:
                self._pending = True
                self._gap, self._gap_frame = block, at
            if not self._pending:
                self._follow(block, stamp)
                self._checked = self._seen
                return
            in_step = at < 0 and block > 0 and self._rate.in_step(spent_us, self._spent_us)
            self._spent_us = spent_us
            if in_step or block - self._read >= _HOLD_BLOCKS:
                self._count(stamp)
                self._checked = self._seen
                return

    def _convert(self, block: int) -> int:
        """See `entries`."""
        return entries(self._ring.buf, self._ring.first(block), self._block, self._found)

    def _are_none(self) -> bool:
        """Whether an entry was not ready, or of another DATA_FORMAT."""
        any_of, all_of = self._found[0], self._found[1]
        form = self.driver.entry_format
        return not all_of & READY or any_of & 0xFF != form or all_of & 0xFF != form

    def _refuse(self) -> None:
        """An entry was none: the sensor is set up anew, and given up after some."""
        self.slips += 1
        self._refused += 1
        if self._refused == _REFUSED_MOST:
            self._refused = 0
            raise self._fail(OSError("entries that are none; check wires and supply"))
        self._restart()

    def _count(self, stamp: int) -> None:
        """Ends a gap: `stamp` is that of the last block seen, in step."""
        frames = (self._seen - self._read) * self._block
        self._gap_lost = 0
        if self._sampled:
            self._gap_lost = max(0, self._rate.frames(ticks_diff(stamp, self._due)) - frames)
            frames += self._gap_lost
        self._sampled = True
        self._tries = self._refused = 0
        self._pending = False
        self._rate.forget()
        # What is left of a period goes to the time, which else would drift.
        self._due = (stamp - self._rate.long_us(frames)) & TICKS_MASK

    def _follow(self, block: int, stamp: int) -> None:
        """Holds the model to a block's stamp, and learns the rate."""
        block_us = self._rate.us(self._block)
        late_us = ticks_diff(stamp, self._due) - block_us
        tolerance_us = max(_TOLERANCE_US, self._rate.half_us >> 1)
        if self._rate.settled and not -tolerance_us <= late_us <= tolerance_us:
            self._strange += 1
            if self._strange < _STRANGE_BLOCKS:
                return  # read late, and nothing lost
            self.resyncs += 1
            self._rate.forget()
        self._strange = 0
        self._rate.learn(block, stamp)
        self._due = (stamp - self._rate.us(self._block)) & TICKS_MASK

    def _hand_out(self, now_us: int) -> list:
        result = self._result
        result[4] = 0
        n = self._block - self._split
        if self._gap_lost and self._read == self._gap:
            n = self._at_gap(n)
        self._due = (self._due + self._rate.us(n)) & TICKS_MASK
        self._handed = self._read
        result[1] = self._ring.first(self._read) + SLOTS * self._split + 1
        result[2] = n
        self._split += n
        if self._split == self._block:
            self._split = 0
            self._read += 1
        # The frame that was read is older than the one that made the watermark.
        end = self._due - self._reader.read_us - self._rate.us(WATERMARK - 1)
        result[3] = now_us + ticks_diff(end - self._zero, now_us)
        return result

    def _at_gap(self, n: int) -> int:
        """Frames to hand out before the gap; behind it all `n`, with what is missing."""
        if self._split < self._gap_frame:
            return self._gap_frame - self._split
        lost, self._gap_lost = self._gap_lost, 0
        self._result[4] = lost
        self.overruns += 1
        self.lost_frames += lost
        self._due = (self._due + self._rate.long_us(lost)) & TICKS_MASK
        return n

    def headroom_us(self) -> int:
        """How long nobody need call `take`, from now."""
        position = self._ring.completed()
        if position != self._position:
            self._look(position)
        return max(0, (self._few - 1 - (self._done - self._read)) * self._rate.us(self._block))

    def temperature_c(self) -> float | None:
        """None: the chip has no such sensor."""
        return None

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None
