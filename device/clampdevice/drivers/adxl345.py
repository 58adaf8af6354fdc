"""ADXL345: three axes, 13 bits at +-16 g, FIFO of 32, up to 3,200 Hz on SPI.

Owns its registers. Full resolution in every range: 256 counts a g. Each FIFO entry is one read of
six bytes, and the next read may begin 5 us after it at the earliest.

# Ref: ADXL345 data sheet, Rev. E, p. 15 and 17 (SPI mode 3, at most 5 MHz). Register map, rate
# codes and ranges: Analog Devices no-OS drivers/accel/adxl345/adxl345.h; Klipper
# klippy/extras/adxl345.py. The text of the data sheet on the FIFO: 5 us between reads, Linux
# drivers/input/misc/adxl34x.c; INT_SOURCE and FIFO_STATUS (33 entries), i2cdevlib
# Arduino/ADXL345/ADXL345.cpp.
"""

from clampdevice.drivers import base
from clampdevice.unpack import little

_DEVID = 0x00
_ID = 0xE5
_BW_RATE = 0x2C
_POWER_CTL = 0x2D
_INT_ENABLE = 0x2E
_INT_MAP = 0x2F
_INT_SOURCE = 0x30
_DATA_FORMAT = 0x31
_DATAX0 = 0x32
_FIFO_CTL = 0x38
_FIFO_STATUS = 0x39

_SPI_MULTIPLE = 0x40
_MEASURE = 0x08
_FULL_RES = 0x08
_STREAM = 2 << 6
_WATERMARK = 0x02
_OVERRUN = 0x01
_ENTRIES = 0x3F
_RATE_CODE = 0x8  # of 25 Hz; the next higher code is the double rate
_GAP_US = 5
_I2C_MAX_HZ = 1600
WATERMARK_FRAMES = 16


class Adxl345:
    """One chip.

    Args:
        bus: `base.Spi` (mode 3, at most 5 MHz) or `base.I2c` (address 0x1D or 0x53).
        sleep_us: `time.sleep_us`.

    Attributes:
        overrun: `pending` found that the FIFO had been full since the last read; frames may be
            lost, as many as the clock says.
        overruns: how often.
        entry_format: DATA_FORMAT as `configure` has set it.
    """

    name = "adxl345"
    kind = "fifo"
    slots = 3
    fifo_frames = 32
    rates_hz = (25, 50, 100, 200, 400, 800, 1600, 3200)
    ranges = (2, 4, 8, 16)
    lsb_per_g = 256.0
    skipped = -1

    def __init__(self, bus, sleep_us) -> None:
        self._bus = bus
        self._sleep_us = sleep_us
        self._on_spi = bus.kind == "spi"
        # Reads and writes of more than one byte say so on SPI.
        self._data = _DATAX0 | (_SPI_MULTIPLE if self._on_spi else 0)
        self._raw = bytearray(6)
        self._byte = bytearray(1)
        self.bits = 13
        self.rate_hz = self.entry_format = 0
        self.overrun = False
        self.overruns = 0
        self._fault = None

    def configure(self, rate_hz: float, range_g: float) -> None:
        """Settings, verified; the chip stands by until `start`.

        Raises:
            ValueError: the chip has no such rate or range, or not on this bus.
            OSError: no answer, another chip, or a setting that does not hold.
        """
        code = base.choose(self.name, "rate_hz", rate_hz, self.rates_hz)
        scale = base.choose(self.name, "range_g", range_g, self.ranges)
        if not self._on_spi and rate_hz > _I2C_MAX_HZ:
            raise ValueError(
                f"{self.name}: {rate_hz:g} Hz over I2C; at most {_I2C_MAX_HZ} Hz there, wire SPI"
            )
        self.check()
        for register, value in (
            (_POWER_CTL, 0),
            (_INT_ENABLE, 0),
            (_BW_RATE, _RATE_CODE + code),
            (_DATA_FORMAT, _FULL_RES | scale),
            (_FIFO_CTL, 0),
            (_INT_MAP, 0),
            (_INT_ENABLE, _WATERMARK),
        ):
            base.write_checked(self._bus, self.name, register, value)
        self.bits = 10 + scale
        self.entry_format = _FULL_RES | scale
        self.rate_hz = rate_hz
        self._fault = None

    def check(self) -> None:
        """Raises WrongChip, or OSError of a silent bus."""
        base.check_identity(self._bus, self.name, _DEVID, _ID)

    def measuring(self) -> bool:
        """Whether it samples; False after a dip of its supply."""
        return bool(base.read_byte(self._bus, _POWER_CTL) & _MEASURE)

    def start(self, watermark: int = WATERMARK_FRAMES) -> None:
        """Empties the FIFO and begins; INT1 is high while `watermark` frames are in there."""
        write = base.write_checked
        write(self._bus, self.name, _POWER_CTL, 0)
        write(self._bus, self.name, _FIFO_CTL, 0)  # bypass empties it
        write(self._bus, self.name, _FIFO_CTL, _STREAM | watermark)
        write(self._bus, self.name, _POWER_CTL, _MEASURE)
        self.overrun = False

    def pending(self) -> int:
        """Frames in the FIFO; sets `overrun`.

        Raises:
            OSError: no answer; on SPI that is seen by a number that cannot be.
        """
        byte = self._byte
        self._bus.read_into(_FIFO_STATUS, byte)
        entries = byte[0] & _ENTRIES
        if entries > self.fifo_frames + 1:  # one more may wait at the filter's output
            self._fault = "FIFO status cannot be"
            raise OSError("FIFO status cannot be: no answer")
        self._bus.read_into(_INT_SOURCE, byte)
        full = bool(byte[0] & _OVERRUN)
        if full and not self.overrun:
            self.overruns += 1
        self.overrun = full
        return entries

    def read_into(self, buf, first: int, frames: int) -> int:
        """Reads `frames`, which `pending` has said are there, to buf[first:]; the oldest first."""
        bus, raw, data = self._bus, self._raw, self._data
        for _ in range(frames):
            bus.read_into(data, raw)
            if self._on_spi:  # on I2C the address alone takes longer
                self._sleep_us(_GAP_US)
            little(raw, 0, 6, 0, 1, buf, first)
            first += 3
            self.overrun = False  # reading has cleared the bit
        return frames

    def rate_hint_hz(self) -> float:
        """What the chip itself knows of its true rate: the nominal one."""
        return self.rate_hz

    def temperature_c(self) -> float | None:
        """None: there is no such sensor."""
        return None

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
