"""A block source out of a sensor with a FIFO, for chips without PIO: the CPU empties it.

Owns the ring, the account of what was lost and the time of each frame. `drain` has to be called
before the sensor's FIFO is full, `take` calls it; in a pause of the CPU longer than the FIFO
(ADXL345 at 3,200 Hz: 10 ms) frames are lost, and told. How many is what the clock says must have
come, less what is there: exact while the pause times the uncertainty of the rate stays well below
a frame (at 100 ppm and 3,200 Hz, 1 s) and the sensor was seen before, else near.

A silent bus or a wrong chip is an OSError from `take`, at every call until the sensor is back,
which is tried once a second; nothing of this stops another source.
"""

from array import array

from clampdevice.frameclock import FrameClock
from clampdevice.ticks import TICKS_MASK, ticks_diff

RING_MS = 450
BLOCK_FRAMES = 128
_BLOCK_MS = 50  # a window must not wait for a slow sensor's block
_GAPS = 8
_LOOKS = 64
_SILENCE_US = 100000
_RETRY_US = 1000000


class FifoSource:
    """See `clampdevice.hal` for the interface of a block source.

    Args:
        driver: of `clampdevice.drivers`, with a FIFO.
        rate_hz, range_g: for its `configure`.
        ticks_us: `time.ticks_us`.
        block_frames: of a block, at most.
        ring_ms: milliseconds of frames that wait here for `take`.

    Attributes:
        rate_hz: nominal, or what the chip knows of itself, until `measure_rate`.
        overruns, lost_frames: how often frames were lost, and how many.
        faults: how often the sensor fell silent.
        driver: as given.

    Raises:
        ValueError: the chip has no such rate or range.
    """

    def __init__(
        self, driver, rate_hz: float, range_g: float, ticks_us,
        block_frames: int = BLOCK_FRAMES, ring_ms: int = RING_MS,
    ) -> None:  # fmt: skip
        self.driver = driver
        self.slots = driver.slots
        self.rate_hz = rate_hz
        self.overruns = self.lost_frames = self.faults = 0
        self._settings = (rate_hz, range_g)
        self._ticks_us = ticks_us
        self._block = max(1, min(block_frames, int(rate_hz * _BLOCK_MS / 1000)))
        ring = -(-int(rate_hz) * ring_ms // 1000) + 2 * self._block
        self._capacity = -(-ring // self._block) * self._block
        self._buf = array("H", bytes(2 * self.slots * self._capacity))
        self._result = [self._buf, 0, 0, 0, 0]  # one and the same, so that a block costs nothing
        self._gap_at = array("i", bytes(4 * _GAPS))
        self._gap_lost = array("i", bytes(4 * _GAPS))
        self._clock = FrameClock(rate_hz)
        self._down: OSError | None = None
        self._retry = 0
        self._last = 0
        self._clear()
        try:
            self._open()
        except OSError as error:
            self._fail(error)

    @property
    def clock(self) -> FrameClock:
        """Phase and true rate."""
        return self._clock

    def _clear(self) -> None:
        # Frames are counted in the ring's own order, from 0 at start, wrapped at a multiple.
        self._stored = self._out = self._held = 0
        self._seen = 0  # in the sensor's FIFO and known to the clock
        self._gaps = 0
        self._suspect = False

    def _open(self) -> None:
        self.driver.configure(self._settings[0], self._settings[1])
        hint_hz = self.driver.rate_hint_hz()
        if not self._clock.settled and hint_hz != self._settings[0]:
            self.rate_hz = hint_hz
            self._clock = FrameClock(hint_hz)

    def _begin(self) -> None:
        self._clear()
        self.driver.start()
        ticks = self._ticks_us() & TICKS_MASK
        self._clock.start(ticks)
        self._last = ticks

    def _fail(self, error: OSError) -> OSError:
        self.faults += 1
        text = str(error)
        if not text.startswith(self.driver.name):
            text = f"{self.driver.name}: {text}"
        self._down = OSError(text)
        self._retry = self._ticks_us() & TICKS_MASK
        return self._down

    def measure_rate(self, span_us: int = 1000000) -> float:
        """Samples for `span_us`, keeps nothing, and takes the rate from it as `rate_hz`.

        To be called before channels are made of `rate_hz`; nothing else may run meanwhile. The
        error is a frame in the span at most. A sensor that is silent keeps its nominal rate, and
        `take` says why.
        """
        if self._down is None:
            try:
                self._begin()
                began = self._ticks_us()
                while ticks_diff(self._ticks_us(), began) < span_us:
                    self.drain()
                    self._out = self._held = self._stored
                    self._gaps = 0
                if self._clock.settled:
                    self.rate_hz = self._clock.rate_hz
            except OSError as error:
                self._fail(error)
        return self.rate_hz

    def start(self, now_us: int) -> None:
        """Starts the sensor; what fails is told by `take`."""
        if self._down is not None:
            return
        try:
            self._begin()
        except OSError as error:
            self._fail(error)

    def take(self, now_us: int) -> list | None:
        """The oldest block; None if there is none yet.

        Raises:
            OSError: the sensor is silent or not the one it should be.
        """
        ticks = self._ticks_us() & TICKS_MASK
        self._held = self._out
        if self._down is not None:
            self._try_again(ticks)
        try:
            self.drain()
            self._check_silence(ticks)
        except OSError as error:
            raise self._fail(error)
        return self._hand_out(now_us, ticks)

    def _check_silence(self, ticks: int) -> None:
        """Raises OSError if the sensor answers and samples no more: it was reset, or replaced."""
        quiet_us = ticks_diff(ticks, self._last)
        if quiet_us > max(_SILENCE_US, 20 * self._clock.period_us):
            self.driver.check()
            raise OSError(f"no samples for {quiet_us // 1000} ms")

    def _try_again(self, ticks: int) -> None:
        """Raises what is the matter, unless the sensor is back."""
        assert self._down is not None
        if ticks_diff(ticks, self._retry) < _RETRY_US:
            raise self._down
        try:
            self._open()
            self._begin()
        except OSError as error:
            raise self._fail(error)
        self._down = None

    def drain(self) -> int:
        """Moves what is in the sensor's FIFO to the ring; the number of frames.

        Raises:
            OSError: of the bus.
        """
        driver, clock = self.driver, self._clock
        before = self._ticks_us() & TICKS_MASK
        waiting = driver.pending()
        after = self._ticks_us() & TICKS_MASK
        overrun = driver.overrun
        if overrun or self._suspect:
            waiting = self._look_for_loss(waiting, before, after)
        else:
            clock.observe(max(0, waiting - self._seen), before, after)
        self._suspect = overrun
        if waiting > self._seen or overrun:
            self._last = after
        self._seen = waiting
        room = self._capacity - (self._stored - self._held)
        left = min(waiting, room)
        if self._gaps == _GAPS:
            left = 0  # what is lost from now on is counted with the next room
        moved = 0
        while left:
            at = self._stored % self._capacity
            n = min(left, self._capacity - at)
            done = driver.read_into(self._buf, at * self.slots, n)
            if driver.skipped >= 0:
                self._correct(driver.skipped)
            self._stored += done
            self._seen -= done
            moved += done
            left -= n
        return moved

    def _look_for_loss(self, waiting: int, before: int, after: int) -> int:
        """Compares what is in the FIFO with what must have come; returns what is in it.

        Repeats the look, for a period at most, until the number that must have come is certain.
        """
        clock = self._clock
        began = before
        came = clock.fewest(before)
        for _ in range(_LOOKS):
            if came == clock.most(after):
                break
            if ticks_diff(after, began) > clock.period_us:
                came = clock.likely(before)
                break
            before = self._ticks_us() & TICKS_MASK
            waiting = self.driver.pending()
            after = self._ticks_us() & TICKS_MASK
            came = clock.fewest(before)
        lost = self._seen + came - waiting
        if lost > 0:
            self._note(lost)
            clock.observe(came, before, after)
        else:
            clock.observe(max(0, waiting - self._seen), before, after)
        return waiting

    def _note(self, lost: int) -> None:
        """`lost` frames are missing before the next one stored."""
        self.lost_frames += lost
        last = self._gaps - 1
        if last >= 0 and self._gap_at[last] == self._stored:
            self._gap_lost[last] += lost
            return
        self.overruns += 1
        if self._gaps == _GAPS:
            self._gap_lost[last] += lost  # in the wrong place, but not forgotten
            return
        self._gap_at[self._gaps] = self._stored
        self._gap_lost[self._gaps] = lost
        self._gaps += 1

    def _correct(self, skipped: int) -> None:
        """Sets the loss before the frames just read to the number nearest that is so modulo 4."""
        last = self._gaps - 1
        noted = last >= 0 and self._gap_at[last] == self._stored
        lost = self._gap_lost[last] if noted else 0
        more = ((skipped - lost + 2) & 3) - 2
        if noted:
            self._gap_lost[last] += more
            self.lost_frames += more
        elif more > 0:
            self._note(more)

    def _hand_out(self, now_us: int, ticks: int) -> list | None:
        out = self._out
        n = self._stored - out
        lost = 0
        whole = False  # whether the block ends here for another reason than that there is no more
        gap = 0
        if self._gaps and self._gap_at[0] == out:
            lost = self._gap_lost[0]
            gap = 1
        if self._gaps > gap:
            n = min(n, self._gap_at[gap] - out)
            whole = True
        n = min(n, self._capacity - out % self._capacity)
        if n >= self._block:
            n = self._block
        elif not whole and out % self._capacity + n < self._capacity:
            return None
        if not n:
            return None
        if gap:
            self._drop_gap()
        self._out = out + n
        behind = self._stored - self._out + self._seen
        for i in range(self._gaps):
            behind += self._gap_lost[i]
        end = self._clock.end - self._clock.span_us(behind)
        result = self._result
        result[1] = out % self._capacity * self.slots
        result[2] = n
        result[3] = now_us + ticks_diff(end, ticks)
        result[4] = lost
        if self._held >= self._capacity and not self._gaps:
            # the same place in the ring, a smaller number
            self._stored -= self._capacity
            self._out -= self._capacity
            self._held -= self._capacity
        return result

    def _drop_gap(self) -> None:
        for i in range(1, self._gaps):
            self._gap_at[i - 1] = self._gap_at[i]
            self._gap_lost[i - 1] = self._gap_lost[i]
        self._gaps -= 1

    def close(self) -> None:
        """Nothing runs on without the CPU but the sensor itself."""

    def temperature_c(self) -> float | None:
        """Of the sensor; None where it has none."""
        return self.driver.temperature_c()

    def serial(self) -> str | None:
        """Of the sensor; None where it has none."""
        return self.driver.serial()
