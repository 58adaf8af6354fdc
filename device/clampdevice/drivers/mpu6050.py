"""MPU-6050: the accelerometer alone, 16 bits, FIFO of 1,024 bytes, up to 1,000 Hz over I2C.

Owns its registers. The FIFO counts bytes: 170 frames of six, and four bytes over, so an overflow
leaves it out of step; it is emptied then, and everything in it counts as lost. The chip can send
more than 1,000 frames a second, but the same sample twice, so that is refused.

# Ref: Linux drivers/iio/imu/inv_mpu6050/inv_mpu_iio.h (registers, bits, WHO_AM_I, temperature).
# InvenSense register map RM-MPU-6000A-00, rev. 2.0, 5/19/2011, as i2cdevlib quotes its text,
# Arduino/MPU6050/MPU6050.h and MPU6050.cpp of 2025-06-16 (sample rate and filter, ranges,
# standby, FIFO order, overflow and reset).
"""

from clampdevice.drivers import base
from clampdevice.unpack import big

_SMPLRT_DIV = 0x19
_CONFIG = 0x1A
_ACCEL_CONFIG = 0x1C
_FIFO_EN = 0x23
_INT_ENABLE = 0x38
_INT_STATUS = 0x3A
_TEMP_OUT_H = 0x41
_USER_CTRL = 0x6A
_PWR_MGMT_1 = 0x6B
_PWR_MGMT_2 = 0x6C
_FIFO_COUNT_H = 0x72
_FIFO_R_W = 0x74
_WHO_AM_I = 0x75
_ID = 0x68

_FILTER_184_HZ = 1  # and an internal rate of 1 kHz
_ACCEL_TO_FIFO = 0x08
_OVERFLOW = 0x10
_FIFO_ENABLE = 0x40
_FIFO_RESET = 0x04
_CLOCK_PLL = 1  # by the gyroscope's oscillator, which the accelerometer follows
_GYRO_STANDBY = 0x03  # of y and z; the one of x gives the clock
_FIFO_BYTES = 1024
_WAKE_US = 10000
_FRAME = 6
_CHUNK = 16
# Ref: inv_mpu_iio.h, INV_MPU6050_TEMP_OFFSET and INV_MPU6050_TEMP_SCALE, degrees times 1e-6
_TEMP_OFFSET = 12420
_TEMP_SCALE_C = 2941176e-9


class Mpu6050:
    """One chip.

    Args:
        bus: `base.I2c` (address 0x68 or 0x69).
        sleep_us: `time.sleep_us`.

    Attributes:
        overrun, overruns: see `drivers.adxl345.Adxl345`.
    """

    name = "mpu6050"
    kind = "fifo"
    slots = 3
    bits = 16
    fifo_frames = _FIFO_BYTES // _FRAME
    rates_hz = (50, 100, 125, 200, 250, 500, 1000)
    ranges = (2, 4, 8, 16)
    skipped = -1

    def __init__(self, bus, sleep_us) -> None:
        self._bus = bus
        self._sleep_us = sleep_us
        self._chunk = bytearray(_FRAME * _CHUNK)
        self._one = memoryview(self._chunk)[:_FRAME]
        self._pair = bytearray(2)
        self._byte = bytearray(1)
        self.rate_hz = 0
        self.lsb_per_g = 2048.0
        self.overrun = False
        self.overruns = 0
        self._fault = None

    def configure(self, rate_hz: float, range_g: float) -> None:
        """Settings, verified; nothing goes to the FIFO until `start`.

        Raises:
            ValueError: the chip has no such rate or range, or the bus is SPI, which it has not.
            OSError: no answer, another chip, or a setting that does not hold.
        """
        base.choose(self.name, "rate_hz", rate_hz, self.rates_hz)
        scale = base.choose(self.name, "range_g", range_g, self.ranges)
        if self._bus.kind != "i2c":
            raise ValueError(f"{self.name}: has I2C alone, not {self._bus.kind}")
        self.check()
        self._bus.write(_PWR_MGMT_1, _CLOCK_PLL)  # out of sleep; it may not hold at once
        self._sleep_us(_WAKE_US)
        for register, value in (
            (_PWR_MGMT_1, _CLOCK_PLL),
            (_PWR_MGMT_2, _GYRO_STANDBY),
            (_INT_ENABLE, 0),
            (_FIFO_EN, 0),
            (_USER_CTRL, 0),
            (_SMPLRT_DIV, 1000 // int(rate_hz) - 1),
            (_CONFIG, _FILTER_184_HZ),
            (_ACCEL_CONFIG, scale << 3),
            (_INT_ENABLE, _OVERFLOW),
        ):
            base.write_checked(self._bus, self.name, register, value)
        self.lsb_per_g = 16384.0 / (1 << scale)
        self.rate_hz = rate_hz
        self._fault = None

    def check(self) -> None:
        """Raises WrongChip, or OSError of a silent bus."""
        base.check_identity(self._bus, self.name, _WHO_AM_I, _ID)

    def start(self) -> None:
        """Empties the FIFO and begins."""
        base.write_checked(self._bus, self.name, _FIFO_EN, 0)
        self._empty()
        base.write_checked(self._bus, self.name, _FIFO_EN, _ACCEL_TO_FIFO)
        self._bus.read_into(_INT_STATUS, self._byte)  # which clears it
        self.overrun = False

    def _empty(self) -> None:
        self._bus.write(_USER_CTRL, 0)  # the reset works on a FIFO that is off
        self._bus.write(_USER_CTRL, _FIFO_RESET)  # a bit that falls by itself
        self._bus.write(_USER_CTRL, _FIFO_ENABLE)

    def pending(self) -> int:
        """Frames in the FIFO; after an overflow it is emptied, and `overrun` says so.

        Raises:
            OSError: no answer, or a number that cannot be.
        """
        self._bus.read_into(_INT_STATUS, self._byte)
        self._bus.read_into(_FIFO_COUNT_H, self._pair)
        count = self._pair[0] << 8 | self._pair[1]
        if count > _FIFO_BYTES:
            self._fault = "FIFO count cannot be"
            raise OSError("FIFO count cannot be")
        self.overrun = bool(self._byte[0] & _OVERFLOW) or count == _FIFO_BYTES
        if self.overrun:
            self.overruns += 1
            self._empty()
            return 0
        return count // _FRAME

    def read_into(self, buf, first: int, frames: int) -> int:
        """Reads `frames`, which `pending` has said are there, to buf[first:]; the oldest first."""
        left = frames
        while left >= _CHUNK:
            self._bus.read_into(_FIFO_R_W, self._chunk)
            big(self._chunk, 0, _FRAME, 0, _CHUNK, buf, first)
            first += 3 * _CHUNK
            left -= _CHUNK
        while left:
            self._bus.read_into(_FIFO_R_W, self._one)
            big(self._one, 0, _FRAME, 0, 1, buf, first)
            first += 3
            left -= 1
        return frames

    def rate_hint_hz(self) -> float:
        """What the chip itself knows of its true rate: the nominal one."""
        return self.rate_hz

    def temperature_c(self) -> float | None:
        """Of the chip, degrees Celsius."""
        raw = bytearray(2)
        self._bus.read_into(_TEMP_OUT_H, raw)
        value = raw[0] << 8 | raw[1]
        return (value - (value >> 15 << 16) + _TEMP_OFFSET) * _TEMP_SCALE_C

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
