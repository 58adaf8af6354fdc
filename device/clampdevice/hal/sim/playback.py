"""Plays a recording as a block source, as fast as it is read, through the converter's model.

Owns the reading of a file of float32 frames and its conversion to codes. Time stamps are those of
the recording: block after block from the start, whatever the clock says.
"""

import sys
from array import array

from clampdevice.hal.sim.converter import Converter
from clampdevice.hal.sim.wave import Q, digitise, noise_gain

_BYTES = 4  # of a value in the file
_MOST = 0x7FFFFFFF  # 524,287 LSB, far beyond any rail
DEFAULT_BLOCK_FRAMES = 256


class Playback:
    """See `clampdevice.hal` for the interface of a block source.

    Args:
        file: binary file of interleaved frames of `slots` values, in the machine's byte order
            (little-endian on every one served): float32, or int32 if `lsb_per_unit` is None.
        rate_hz: frames a second, as recorded.
        slots: values a frame.
        lsb_per_unit: codes of one unit of the recording; None for integers of 1/4096 LSB.
        offset_lsb: code of 0.
        rails: lowest and highest code.
        noise_lsb, seed: of the converter's noise.
        model: errors of a chip's own converter, see `errors`; None for an ideal one.

    Attributes:
        finished: the file is at its end; a last frame that is cut off is dropped.
    """

    def __init__(
        self, file, rate_hz: float, slots: int, lsb_per_unit: float | None, offset_lsb: float,
        rails: tuple, noise_lsb: float = 0, seed: int = 0, model: str | None = None,
    ) -> None:  # fmt: skip
        if sys.byteorder != "little":
            raise ValueError("recordings are played on little-endian machines only")
        self.rate_hz = rate_hz
        self.slots = slots
        self.overruns = 0
        self.lost_frames = 0
        self.finished = False
        self._file = file
        self._converter = Converter(model, rails)
        scale = self._converter.scale
        self._scale = lsb_per_unit
        self._offset = int((scale * offset_lsb + self._converter.rounding) * (1 << Q))
        self._rails = self._converter.rails
        self._gain = noise_gain(scale * noise_lsb)
        self._seed = seed
        self._values = array("i", bytes(_BYTES * DEFAULT_BLOCK_FRAMES * slots))
        self._floats = self._values
        if lsb_per_unit is not None:
            self._floats = array("f", bytes(_BYTES * DEFAULT_BLOCK_FRAMES * slots))
        self._buf = array("H", bytes(2 * DEFAULT_BLOCK_FRAMES * slots))
        self._index = 0
        self._start_us = 0
        self._result = [self._buf, 0, 0, 0, 0]

    def start(self, now_us: int) -> None:
        """The first frame begins at `now_us`."""
        self._start_us = now_us

    def take(self, _now_us: int) -> list | None:
        """The next block of the file, None at its end."""
        if self.finished:
            return None
        frames = self._file.readinto(self._floats) // (_BYTES * self.slots)
        if frames < DEFAULT_BLOCK_FRAMES:
            self.finished = True
        if not frames:
            return None
        n = frames * self.slots
        if self._scale is not None:
            floats, values, scale = self._floats, self._values, self._scale * (1 << Q)
            for i in range(n):
                value = int(floats[i] * scale)
                values[i] = _MOST if value > _MOST else -_MOST if value < -_MOST else value
        low, high = self._rails
        digitise(
            self._values, n, self._buf, self._converter.shift, self._offset, self._index,
            self._seed, self._gain, low, high,
        )  # fmt: skip
        self._converter.finish(self._buf, n)
        self._index += n
        result = self._result
        result[2] = frames
        done = self._index // self.slots
        result[3] = self._start_us + int(done * 1000000 / self.rate_hz)
        return result
