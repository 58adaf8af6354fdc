"""Cuts the blocks of one source at the window grid of the device's clock.

Owns which frame belongs to which window, and the account of what was lost. Every frame goes into
exactly one window. The boundary is counted in frames from the source's true rate, the fraction
carried on, and held to the device's clock by the time stamps of the blocks: the count moves when
it is off by more than a frame. Knows nothing of what the samples mean.

A sampler stops at each window's end until `next_window`: so all channels of a device close a
window of the same moment, whatever the order in which their blocks come. What arrives meanwhile
waits in the source's ring.
"""

from clampdevice.ticks import ticks_diff

_RATE_BITS = 16
_PERIOD_BITS = 12
_SLIP_FRAMES = 8  # a correction beyond this is no drift: something was lost unsaid


class Sampler:
    """One block source and the channels that feed on it.

    Args:
        name: of the source, for messages.
        source: see `clampdevice.hal`: `rate_hz`, `slots`, `start`, `take`.
        channels: objects with `add(buf, first, n)`; may be appended to before `start`.
        window_us: length of a window.

    Attributes:
        ready: the window is complete, nothing moves before `next_window`.
        gap: frames of the current window are missing.
        lost: None, or (from_us, to_us, frames) since the caller last set it to None.
        overruns, lost_frames: how often frames were lost, and how many.
        resyncs: how often the count was moved to the clock.
        silent: `give_up` was called and no block has come since.
    """

    def __init__(self, name: str, source, channels: list, window_us: int) -> None:
        self.name = name
        self.source = source
        self.channels = channels
        self._window_us = window_us
        self._slots = source.slots
        self._frames_per_window_q = int(
            source.rate_hz * (1 << _RATE_BITS) * (window_us / 1000000) + 0.5
        )
        self._period_q = int(1000000 * (1 << _PERIOD_BITS) / source.rate_hz + 0.5)
        self.ready = False
        self.gap = False
        self.lost = None
        self.overruns = self.lost_frames = self.resyncs = 0
        self.silent = False
        self._aligned = self._resumed = False
        self._buf = None
        self._first = self._frames = self._missing = 0
        self._block_end_us = self._end_us = 0
        self._left = self._carry_q = 0

    def start(self, start_us: int) -> None:
        """Starts the source; the first window begins at `start_us`."""
        self._end_us = start_us + self._window_us
        self.source.start(start_us)

    def step(self, now_us: int) -> bool:
        """Handles at most one block, up to the window's end. True if anything was done.

        Raises:
            OSError: the source's hardware failed; nothing is changed.
        """
        if self.ready:
            return False
        if not self._frames:
            block = self.source.take(now_us)
            if block is None:
                return False
            self._buf, self._first, self._frames, self._block_end_us, missing = block
            self.silent = False
            if missing:
                self._note_lost(self._block_end_us - self._us(self._frames), missing)
            if self._aligned:
                self._missing = missing
                self._hold_to_clock()
        if not self._aligned:
            self._align()
        elif self._missing:
            self._pass_missing()
        if self._frames and not self.ready and not self._missing:
            self._pass_frames()
        return True

    def next_window(self) -> None:
        """Goes on to the next window."""
        self._end_us += self._window_us
        self.ready = self.gap = False
        if self._aligned:
            self._carry_q += self._frames_per_window_q
            self._left = self._carry_q >> _RATE_BITS
            self._carry_q &= (1 << _RATE_BITS) - 1

    def give_up(self) -> None:
        """Ends the window without the source, which did not deliver in time."""
        self.silent = self.gap = self.ready = self._resumed = True
        self._aligned = False

    def _pass_frames(self) -> None:
        n = min(self._frames, self._left)
        i = 0
        while i < len(self.channels):  # `for` would need more than the chip's stack gives a call
            self.channels[i].add(self._buf, self._first, n)
            i += 1
        self._first += n * self._slots
        self._frames -= n
        self._left -= n
        self.ready = self._left == 0

    def _pass_missing(self) -> None:
        n = min(self._missing, self._left)
        self.gap = True
        self._missing -= n
        self._left -= n
        self.ready = self._left == 0

    def _note_lost(self, to_us: int, frames: int) -> None:
        """`frames` that should have come before `to_us` are gone."""
        self.overruns += 1
        self.lost_frames += frames
        from_us = to_us - self._us(frames)
        if self.lost is not None:
            from_us = self.lost[0]
            frames += self.lost[2]
        self.lost = (from_us, to_us, frames)

    def _us(self, frames: int) -> int:
        return frames * self._period_q >> _PERIOD_BITS

    def _position(self, span_us: int) -> int:
        """Frames in `span_us`, with `_RATE_BITS` fractional bits and half a frame for rounding."""
        half = 1 << (_RATE_BITS - 1)
        return span_us * self._frames_per_window_q // self._window_us + half

    def _align(self) -> None:
        """Finds the window's end in the first block, from its time stamp alone."""
        block_us = self._block_end_us - self._us(self._frames)
        end_q = self._position(self._end_us - block_us)
        end = end_q >> _RATE_BITS
        begin = self._position(self._end_us - self._window_us - block_us) >> _RATE_BITS
        if end <= 0:  # the source resumed after this window
            self.gap = self.ready = True
            return
        if begin > 0:  # frames of windows that are closed, or from before the start
            drop = min(begin, self._frames)
            self._frames -= drop
            self._first += drop * self._slots
            if self._resumed:
                self._note_lost(block_us + self._us(drop), drop)
                self.gap = True
            if not self._frames:
                return
            end -= drop
        elif begin < -1:
            self.gap = True
        self._left = end
        self._carry_q = end_q & ((1 << _RATE_BITS) - 1)
        self._missing = 0
        self._aligned = True

    def _hold_to_clock(self) -> None:
        """Moves the window's end by whole frames when count and clock part by more than one."""
        ahead = self._left - self._missing - self._frames
        off_us = ticks_diff(self._block_end_us, self._end_us) + self._us(ahead)
        frames = (abs(off_us) << _PERIOD_BITS) // self._period_q
        if frames:
            if frames > _SLIP_FRAMES:
                self.gap = True
            self._left = max(1, self._left - (frames if off_us > 0 else -frames))
            self.resyncs += 1
