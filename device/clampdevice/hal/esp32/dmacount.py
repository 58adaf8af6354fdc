"""How many frames of a DMA stream were lost, by the clock alone.

ESP-IDF drops a DMA buffer in silence when its queue is full, and when an interrupt stood for more
than one buffer: while flash is erased the I2S interrupt waits (MicroPython builds without
CONFIG_I2S_ISR_IRAM_SAFE), and afterwards only the last buffer is queued. MicroPython registers no
overflow callback. But only whole buffers are lost, and frames come at a crystal's pace: once the
stream was read empty, what should have come less what came is a whole number of buffers. Owns
that account, with phase and rate of the buffers by `frameclock`; pure. It is exact once the phase
is known, after a second of steady reading; before, to a buffer.

Ref: ESP-IDF components/esp_driver_i2s/i2s_common.c, i2s_dma_rx_callback; MicroPython
ports/esp32/machine_i2s.c (DMA_BUF_LEN_IN_I2S_FRAMES, on_recv_q_ovf = NULL); ESP-IDF programming
guide, "Concurrency Constraints for Flash on SPI1".
"""

from clampdevice.frameclock import FrameClock
from clampdevice.ticks import TICKS_MASK, ticks_diff

BUFFER_FRAMES = 256
# Both clocks come from one crystal; the divider of the I2S clock has a fraction of its own.
_DIVIDER_PPM = 200
# Looks at so many buffers tell their phase well enough to count the rate from there.
_SETTLED_BUFFERS = 64


class DmaCount:
    """Account of one stream.

    Args:
        rate_hz: nominal.
        buffer_frames: of one DMA buffer.

    Attributes:
        lost: lost frames since `start`.
    """

    def __init__(self, rate_hz: float, buffer_frames: int = BUFFER_FRAMES) -> None:
        self._buffer = buffer_frames
        self._clock = FrameClock(rate_hz / buffer_frames)
        self._clock.ppm = _DIVIDER_PPM
        self._fresh = 0  # frames read since the stream was last empty
        self.lost = 0
        self._span_us = self._last = self._base_frames = 0

    def start(self, ticks: int) -> None:
        """The stream begins at `ticks`."""
        self._clock.start(ticks)
        self._fresh = self.lost = 0
        self._span_us = self._base_frames = 0

    def received(self, frames: int) -> None:
        """`frames` more were read."""
        self._fresh += frames

    def empty(self, before: int, after: int) -> int:
        """The stream was read empty by a read between these ticks; frames found to be lost."""
        clock = self._clock
        buffers = self._fresh // self._buffer
        self._fresh -= buffers * self._buffer
        missing = 0
        if clock.frames:
            # Lost is what must have come; how many then is the number that fits best.
            missing = clock.fewest(before) - buffers
            if missing > 0:
                missing = max(missing, min(clock.likely(before), clock.most(after)) - buffers)
            else:
                missing = 0
        clock.observe(buffers + missing, before, after)
        if not self._base_frames:
            if clock.frames >= _SETTLED_BUFFERS:
                self._base_frames = clock.frames
        else:
            self._span_us += ticks_diff(clock.end, self._last)
        self._last = clock.end
        self.lost += missing * self._buffer
        return missing * self._buffer

    def end_ticks(self) -> int:
        """When the newest frame that was read ended."""
        us = self._clock.span_us(self._fresh) // self._buffer
        return (self._clock.end + us) & TICKS_MASK

    @property
    def measured_hz(self) -> float:
        """Frames a second by the board's crystal; the nominal rate in the first second."""
        if self._span_us < 1000000:
            return self._clock.rate_hz * self._buffer
        frames = (self._clock.frames - self._base_frames) * self._buffer
        return frames * 1000000 / self._span_us
