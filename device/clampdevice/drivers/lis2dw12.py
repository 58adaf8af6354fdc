"""LIS2DW12: three axes, 14 bits in high-performance mode, FIFO of 32, up to 1,600 Hz.

Owns its registers. The FIFO is in continuous mode: when it is full, a new frame replaces the
oldest and the overrun bit stands. One read of six bytes takes one frame.

# Ref: ST lis2dw12-pid, lis2dw12_reg.h and lis2dw12_reg.c, of 2026-07-07 (registers, rates,
# sensitivity of each range, temperature). Use on SPI and I2C: Klipper klippy/extras/lis2dw.py and
# src/sensor_lis2dw.c (CTRL6 0x34, CTRL1 0x94, FIFO_CTRL 0xC0; a frame a read).
"""

from clampdevice.drivers import base
from clampdevice.unpack import little

_OUT_T_L = 0x0D
_WHO_AM_I = 0x0F
_ID = 0x44
_CTRL1 = 0x20
_CTRL2 = 0x21
_CTRL4 = 0x23
_CTRL6 = 0x25
_OUT_X_L = 0x28
_FIFO_CTRL = 0x2E
_FIFO_SAMPLES = 0x2F

_HIGH_PERFORMANCE = 1 << 2
_BLOCK_UPDATE_AND_INCREMENT = 1 << 3 | 1 << 2
_INT1_WATERMARK = 1 << 1
_LOW_NOISE = 1 << 2
_CONTINUOUS = 6 << 5
_ENTRIES = 0x3F
_OVERRUN = 1 << 6
_RATE_CODE = 0x2  # of 12.5 Hz; the next higher code is the double rate
_MG_PER_LSB = (0.244, 0.488, 0.976, 1.952)
WATERMARK_FRAMES = 16


class Lis2dw12:
    """One chip.

    Args:
        bus: `base.Spi` or `base.I2c` (address 0x18 or 0x19).
        sleep_us: `time.sleep_us`; not used.

    Attributes:
        overrun, overruns: see `drivers.adxl345.Adxl345`.
    """

    name = "lis2dw12"
    kind = "fifo"
    slots = 3
    bits = 14
    fifo_frames = 32
    rates_hz = (12.5, 25, 50, 100, 200, 400, 800, 1600)
    ranges = (2, 4, 8, 16)
    skipped = -1

    def __init__(self, bus, sleep_us) -> None:
        self._bus = bus
        self._raw = bytearray(6)
        self._byte = bytearray(1)
        self._rate_bits = 0
        self.rate_hz = 0
        self.lsb_per_g = 1000 / _MG_PER_LSB[3]
        self.overrun = False
        self.overruns = 0
        self._fault = None

    def configure(self, rate_hz: float, range_g: float) -> None:
        """Settings, verified; the chip stands by until `start`.

        Raises:
            ValueError: the chip has no such rate or range.
            OSError: no answer, another chip, or a setting that does not hold.
        """
        code = base.choose(self.name, "rate_hz", rate_hz, self.rates_hz)
        scale = base.choose(self.name, "range_g", range_g, self.ranges)
        self.check()
        for register, value in (
            (_CTRL1, 0),
            (_CTRL2, _BLOCK_UPDATE_AND_INCREMENT),
            (_CTRL6, scale << 4 | _LOW_NOISE),
            (_FIFO_CTRL, 0),
            (_CTRL4, _INT1_WATERMARK),
        ):
            base.write_checked(self._bus, self.name, register, value)
        self._rate_bits = (_RATE_CODE + code) << 4 | _HIGH_PERFORMANCE
        self.lsb_per_g = 1000 / _MG_PER_LSB[scale]
        self.rate_hz = rate_hz
        self._fault = None

    def check(self) -> None:
        """Raises WrongChip, or OSError of a silent bus."""
        base.check_identity(self._bus, self.name, _WHO_AM_I, _ID)

    def start(self) -> None:
        """Empties the FIFO and begins; INT1 is high from WATERMARK_FRAMES frames on."""
        write = base.write_checked
        write(self._bus, self.name, _CTRL1, 0)
        write(self._bus, self.name, _FIFO_CTRL, 0)  # bypass empties it
        write(self._bus, self.name, _FIFO_CTRL, _CONTINUOUS | WATERMARK_FRAMES)
        write(self._bus, self.name, _CTRL1, self._rate_bits)
        self.overrun = False

    def pending(self) -> int:
        """Frames in the FIFO; sets `overrun`.

        Raises:
            OSError: no answer; on SPI that is seen by a number that cannot be.
        """
        byte = self._byte
        self._bus.read_into(_FIFO_SAMPLES, byte)
        status = byte[0]
        entries = status & _ENTRIES
        if entries > self.fifo_frames:
            self._fault = "FIFO status cannot be"
            raise OSError("FIFO status cannot be: no answer")
        full = bool(status & _OVERRUN)
        if full and not self.overrun:
            self.overruns += 1
        self.overrun = full
        return entries

    def read_into(self, buf, first: int, frames: int) -> int:
        """Reads `frames`, which `pending` has said are there, to buf[first:]; the oldest first."""
        bus, raw = self._bus, self._raw
        for _ in range(frames):
            bus.read_into(_OUT_X_L, raw)
            little(raw, 0, 6, 2, 1, buf, first)
            first += 3
            self.overrun = False  # reading has made room
        return frames

    def rate_hint_hz(self) -> float:
        """What the chip itself knows of its true rate: the nominal one."""
        return self.rate_hz

    def temperature_c(self) -> float | None:
        """Of the chip, degrees Celsius."""
        raw = bytearray(2)
        self._bus.read_into(_OUT_T_L, raw)
        value = raw[0] | raw[1] << 8
        return 25 + (value - (value >> 15 << 16)) / 256

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
