"""IIS3DWB: three axes, 16 bits, 26.7 kHz, FIFO of 512 words with tags; SPI.

Owns its registers. A word is a tag and six bytes; any number is one read. The tag says which
sensor and counts modulo 4, so that a loss shows in the data itself and its number is certain.
The chip knows how far its oscillator is off the typical rate, in steps of 0.15 %.

# Ref: ST iis3dwb-pid, iis3dwb_reg.h and iis3dwb_reg.c, of 2026-03-23 (registers, ranges and their
# sensitivity, FIFO level and status, tags, a single read of all words, INTERNAL_FREQ_FINE).
"""

from clampdevice.drivers import base
from clampdevice.unpack import little

_FIFO_CTRL1 = 0x07
_FIFO_CTRL2 = 0x08
_FIFO_CTRL3 = 0x09
_FIFO_CTRL4 = 0x0A
_INT1_CTRL = 0x0D
_WHO_AM_I = 0x0F
_ID = 0x7B
_CTRL1_XL = 0x10
_CTRL3_C = 0x12
_CTRL8_XL = 0x17
_OUT_TEMP_L = 0x20
_FIFO_STATUS1 = 0x3A
_FREQ_FINE = 0x63
_FIFO_DATA_OUT_TAG = 0x78

_ACCELEROMETER_ON = 5 << 5
_BLOCK_UPDATE = 1 << 6
_INCREMENT = 1 << 2
_BATCH_26_KHZ = 10
_CONTINUOUS = 6
_INT1_WATERMARK = 1 << 3
_OVERRUN = 1 << 6
_TAG_ACCELEROMETER = 0x02
_MG_PER_LSB = (0.061, 0.122, 0.244, 0.488)
_RANGE_CODES = (0, 2, 3, 1)  # of 2, 4, 8, 16 g
_FINE_STEP = 0.0015
_WORD = 7
_CHUNK = 32
WATERMARK_FRAMES = 128


class Iis3dwb:
    """One chip.

    Args:
        bus: `base.Spi`.
        sleep_us: `time.sleep_us`; not used.

    Attributes:
        overrun, overruns: see `drivers.adxl345.Adxl345`.
        skipped: frames missing before the first of the last read, modulo 4; -1 after `start`.
        strangers: words with a tag that nobody asked for.
    """

    name = "iis3dwb"
    kind = "fifo"
    slots = 3
    bits = 16
    fifo_frames = 512
    rates_hz = (26667,)
    ranges = (2, 4, 8, 16)

    def __init__(self, bus, sleep_us) -> None:
        self._bus = bus
        self._raw = bytearray(_WORD * _CHUNK)
        view = memoryview(self._raw)
        self._views = (view, view[: 8 * _WORD], view[:_WORD])
        self._pair = bytearray(2)
        self._byte = bytearray(1)
        self._tag = -1  # count of the last word read
        self.rate_hz = 0
        self.lsb_per_g = 1000 / _MG_PER_LSB[3]
        self._range_bits = 0
        self.skipped = -1
        self.overrun = False
        self.overruns = self.strangers = 0
        self._fault = None

    def configure(self, rate_hz: float, range_g: float) -> None:
        """Settings, verified; the chip stands by until `start`.

        Raises:
            ValueError: the chip has no such rate or range, or the bus is not SPI.
            OSError: no answer, another chip, or a setting that does not hold.
        """
        base.choose(self.name, "rate_hz", rate_hz, self.rates_hz)
        scale = base.choose(self.name, "range_g", range_g, self.ranges)
        if self._bus.kind != "spi":
            raise ValueError(
                f"{self.name}: over {self._bus.kind}; 26,667 frames of 7 bytes a second need SPI"
            )
        self.check()
        for register, value in (
            (_CTRL1_XL, _RANGE_CODES[scale] << 2),
            (_CTRL3_C, _BLOCK_UPDATE | _INCREMENT),
            (_CTRL8_XL, 0),
            (_FIFO_CTRL4, 0),
            (_FIFO_CTRL1, WATERMARK_FRAMES),
            (_FIFO_CTRL2, 0),
            (_FIFO_CTRL3, _BATCH_26_KHZ),
            (_INT1_CTRL, _INT1_WATERMARK),
        ):
            base.write_checked(self._bus, self.name, register, value)
        self._range_bits = _RANGE_CODES[scale] << 2
        self.lsb_per_g = 1000 / _MG_PER_LSB[scale]
        self.rate_hz = rate_hz
        self._fault = None

    def check(self) -> None:
        """Raises WrongChip, or OSError of a silent bus."""
        base.check_identity(self._bus, self.name, _WHO_AM_I, _ID)

    def start(self) -> None:
        """Empties the FIFO and begins; INT1 is high from WATERMARK_FRAMES frames on."""
        write = base.write_checked
        write(self._bus, self.name, _CTRL1_XL, self._range_bits)
        write(self._bus, self.name, _FIFO_CTRL4, 0)  # bypass empties it
        write(self._bus, self.name, _FIFO_CTRL4, _CONTINUOUS)
        write(self._bus, self.name, _CTRL1_XL, _ACCELEROMETER_ON | self._range_bits)
        self._tag = self.skipped = -1
        self.overrun = False

    def pending(self) -> int:
        """Frames in the FIFO; sets `overrun`.

        Raises:
            OSError: no answer, seen by a number that cannot be.
        """
        pair = self._pair
        self._bus.read_into(_FIFO_STATUS1, pair)
        level = pair[0] | (pair[1] & 3) << 8
        if level > self.fifo_frames:
            self._fault = "FIFO level cannot be"
            raise OSError("FIFO level cannot be: no answer")
        full = bool(pair[1] & _OVERRUN)
        if full and not self.overrun:
            self.overruns += 1
        self.overrun = full
        return level

    def read_into(self, buf, first: int, frames: int) -> int:
        """Reads `frames`, which `pending` has said are there, to buf[first:]; the oldest first.

        Raises:
            OSError: the words do not follow one another, or are not of the accelerometer.
        """
        self.skipped = -1
        left = frames
        for view in self._views:
            n = len(view) // _WORD
            while left >= n:
                self._bus.read_into(_FIFO_DATA_OUT_TAG, view)
                self._check_tags(view, n, left == frames)
                little(view, 1, _WORD, 0, n, buf, first)
                first += 3 * n
                left -= n
        self.overrun = False
        return frames

    def _check_tags(self, view, n: int, beginning: bool) -> None:
        last = self._tag
        at = 0
        for i in range(n):
            tag = view[at]
            if tag >> 3 != _TAG_ACCELEROMETER:
                self.strangers += 1
                self._fault = "foreign tag in the FIFO"
                raise OSError("foreign tag in the FIFO")
            count = tag >> 1 & 3
            if last >= 0:
                step = (count - last) & 3
                if i == 0 and beginning:
                    self.skipped = (step - 1) & 3
                elif step != 1:
                    self._fault = "tags out of order"
                    raise OSError("tags out of order")
            last = count
            at += _WORD
        self._tag = last

    def rate_hint_hz(self) -> float:
        """The typical rate with the correction that the chip was trimmed with."""
        fine = base.read_byte(self._bus, _FREQ_FINE)
        return self.rate_hz * (1 + _FINE_STEP * (fine - (fine >> 7 << 8)))

    def temperature_c(self) -> float | None:
        """Of the chip, degrees Celsius."""
        raw = bytearray(2)
        self._bus.read_into(_OUT_TEMP_L, raw)
        value = raw[0] | raw[1] << 8
        return 25 + (value - (value >> 15 << 16)) / 256

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
