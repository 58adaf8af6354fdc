"""A block source paced by a timer: the ESP32's own ADC, or an external one without a FIFO.

Owns the callback that takes a frame, the account of what it could not take, and the block's
time. It is never gapless, and says so: `missed_slots` counts each slot without a sample; more than
one in 50, or more than four at a time, are told as lost frames, which flags the record; the rest
is part of the uncertainty, see `pace`. What a frame is made of is the scanner's.
"""

from array import array

from clampdevice.hal.esp32.framering import FrameRing
from clampdevice.hal.esp32.pace import Pacer, period_for
from clampdevice.ticks import TICKS_MASK, ticks_diff

RING_MS = 450
BLOCK_MS = 20
# Half of the CPU for sampling leaves the other half for windows, link and Wi-Fi.
CPU_SHARE = 0.5
_TRIES = 16


class PacedSource:
    """See `clampdevice.hal` for the interface of a block source.

    Args:
        scanner: `slots`, and `read_into(buf, first)`, which converts one frame; may raise OSError.
            With an `own_clock` it goes on by a conversion a call, and returns 1 with the last.
        rate_hz: frames a second.
        start_timer: called with period in us and callback; returns an object with `deinit()`.
        ticks_us: `time.ticks_us`.
        ring_ms: how long frames wait here for `take`.
        own_clock: the converter needs a call for each slot, the next one after its conversion.

    Attributes:
        rate_hz: of the grid, from the crystal; `achieved_hz` is what was really taken.
        overruns, lost_frames: holes told, and frames in them.
        missed_slots, jitter_us, late_max_us, bursts: see `pace.Pacer`.
        ring_full: frames refused since nobody came to `take` them; they are missed slots as well.
        errors: times the scanner raised.
        cost_us: what a frame takes, measured at the start.

    Raises:
        ValueError: the scanner is too slow for the rate.
        OSError: the scanner's bus is silent.
    """

    def __init__(
        self, scanner, rate_hz: float, start_timer, ticks_us, ring_ms: int = RING_MS,
        own_clock: bool = False,
    ) -> None:  # fmt: skip
        self._scanner = scanner
        self._start_timer = start_timer
        self._ticks_us = ticks_us
        self._timer = None
        self.slots = scanner.slots
        # A converter with its own clock may be in the midst of a frame at any time.
        self._frame = array("H", bytes(2 * self.slots))
        self._calls = scanner.slots if own_clock else 1
        self._tick = self.tick_on if own_clock else self.tick
        self.cost_us = self._calls * self._measure_cost()
        self._period_us = period_for(rate_hz, self.cost_us, CPU_SHARE)
        frames = int(rate_hz * (ring_ms + BLOCK_MS) / 1000) + 1
        self._ring = ring = FrameRing(self.slots, frames)
        self.rate_hz = 1000000 / self._period_us
        self._least = max(1, int(self.rate_hz * BLOCK_MS / 1000))
        self._pacer = Pacer(self._period_us)
        self._fresh = True
        self._error = None
        self._zero = 0
        self._result = [ring.buf, 0, 0, 0, 0]
        self.overruns = self.lost_frames = self.errors = 0

    def _measure_cost(self) -> float:
        """Microseconds of one call: the fastest of some, without what came in between."""
        best = 1 << 29
        for _ in range(_TRIES):
            began = self._ticks_us()
            self._scanner.read_into(self._frame, 0)
            best = min(best, ticks_diff(self._ticks_us(), began))
        return float(max(1, best))

    def start(self, now_us: int) -> None:
        """Starts the timer."""
        self.stop()
        self._ring.clear()
        self._fresh = True
        self._error = None
        self._zero = ticks_diff(self._ticks_us(), now_us & TICKS_MASK)
        self._timer = self._start_timer(self._period_us // self._calls, self._tick)

    def stop(self) -> None:
        """Ends sampling."""
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None

    close = stop

    def tick(self, _timer) -> None:
        """The timer's callback; takes one frame, if its slot has none yet."""
        ring, pacer = self._ring, self._pacer
        place = ring.place()
        if place < 0:
            return  # a missed slot, seen by the next frame that finds room
        stamp = self._ticks_us()
        if self._fresh:
            self._fresh = False
            pacer.start(stamp)
        due = pacer.due
        step = pacer.slot(stamp)
        if not step:
            return
        try:
            self._scanner.read_into(ring.buf, place)
        except OSError as error:
            self.errors += 1
            self._error = error
            pacer.due = due  # the slot stays without a sample
            pacer.taken -= 1
            pacer.missed -= step - 1
            return
        ring.put(pacer.due, pacer.to_tell(step))

    def tick_on(self, _timer) -> None:
        """The same for a scanner with its own clock: a frame is of the moment of its last call."""
        frame = self._frame
        try:
            done = self._scanner.read_into(frame, 0)
        except OSError as error:
            self.errors += 1
            self._error = error
            return
        if not done:
            return
        ring = self._ring
        place = ring.place()
        if place < 0:
            return
        stamp = self._ticks_us()
        if self._fresh:
            self._fresh = False
            self._pacer.start(stamp)
        step = self._pacer.slot(stamp)
        if step:
            for slot in range(self.slots):
                ring.buf[place + slot] = frame[slot]
            ring.put(self._pacer.due, self._pacer.to_tell(step))

    def take(self, now_us: int) -> list | None:
        """The next block [buf, first, frames, end_us, lost_frames], valid until the next call.

        Raises:
            OSError: the scanner failed since the last call.
        """
        if self._error is not None:
            error = self._error
            self._error = None
            raise error
        result = self._result
        if not self._ring.block(self._least, result):
            return None
        now = (now_us + self._zero) & TICKS_MASK
        result[3] = now_us + ticks_diff(result[3], now) + self._period_us
        if result[4]:
            self.overruns += 1
            self.lost_frames += result[4]
        return result

    @property
    def missed_slots(self) -> int:
        return self._pacer.missed

    def missed_by_now(self) -> int:
        """Slots without a sample up to now; 0 before the first."""
        if self._fresh:
            return self._pacer.missed
        return self._pacer.missed_by(self._ticks_us())

    @property
    def bursts(self) -> int:
        return self._pacer.bursts

    @property
    def jitter_us(self) -> float:
        return self._pacer.jitter_us

    @property
    def late_max_us(self) -> int:
        return self._pacer.late_max_us

    @property
    def achieved_hz(self) -> float:
        return self._pacer.achieved_hz

    @property
    def ring_full(self) -> int:
        return self._ring.full

    def report(self) -> dict:
        """What this source was and was not able to do, for the status command."""
        return {
            "kind": "paced, not gapless",
            "rate_hz": self.rate_hz,
            "achieved_hz": round(self.achieved_hz, 2),
            "jitter_us": round(self.jitter_us, 1),
            "late_max_us": self.late_max_us,
            "cost_us": self.cost_us,
            "missed_slots": self.missed_slots,
            "holes": self.overruns,
            "lost_frames": self.lost_frames,
            "bursts": self.bursts,
            "ring_full": self.ring_full,
            "errors": self.errors,
        }
