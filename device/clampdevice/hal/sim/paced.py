"""A block source in real time: what is due at the moment of asking, out of a ring that ends.

Owns the account of a chip's DMA ring: how many blocks are complete, and which of them the next
ones have overwritten because nobody came in time. What the samples are is the subclass's. The
samples are made when they are taken, so the ring costs no memory; it is an account only.
"""

from array import array


class PacedSource:
    """See `clampdevice.hal` for the interface of a block source.

    Args:
        rate_mhz: frames a second, in thousandths.
        slots: values a frame.
        block_frames: frames a block.
        ring_ms: milliseconds that an untaken block lies safe, at least 450. The ring has a
            block more, which is being written.
    """

    def __init__(self, rate_mhz: int, slots: int, block_frames: int, ring_ms: int) -> None:
        self.rate_hz = rate_mhz / 1000
        self.slots = slots
        self.overruns = 0
        self.lost_frames = 0
        self._rate_mhz = rate_mhz
        self._block_frames = block_frames
        self._safe_blocks = -(-ring_ms * rate_mhz // (1000000 * block_frames))
        self._start_us = 0
        self._block = 0  # index of the next
        self._buf = array("H", bytes(2 * block_frames * slots))
        # One and the same list each time, so that a block costs no allocation.
        self._result = [self._buf, 0, block_frames, 0, 0]

    def start(self, now_us: int) -> None:
        """The first frame begins at `now_us`."""
        self._start_us = now_us
        self._block = 0

    def take(self, now_us: int) -> list | None:
        """The oldest block that is complete and still in the ring; None if there is none."""
        span_us = now_us - self._start_us
        complete = span_us * self._rate_mhz // 1000000000 // self._block_frames
        if complete <= self._block:
            return None
        lost = complete - self._safe_blocks - self._block
        if lost > 0:
            self._block += lost
            lost *= self._block_frames
            self.overruns += 1
            self.lost_frames += lost
        else:
            lost = 0
        frame = self._block * self._block_frames
        self._block += 1
        self.fill(self._buf, self._block_frames, frame)
        result = self._result
        result[3] = self._start_us + (frame + self._block_frames) * 1000000000 // self._rate_mhz
        result[4] = lost
        return result

    def fill(self, buf: array, frames: int, frame: int) -> None:
        """Writes `frames` frames from index `frame` on to the start of `buf`."""
        raise NotImplementedError
