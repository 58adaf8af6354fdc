"""ADS1115: four inputs, 16 bits, at most 860 conversions a second in all; I2C.

Owns its registers. Every conversion is started by hand, so none is missed and none read twice;
with several inputs the rate of a frame is what is left of 860 for each, less the time to ask. The
chip has no register that names it: the configuration is written and read back instead.

# Ref: Linux drivers/iio/adc/ti-ads1015.c (registers, fields, ads1115_data_rate,
# ads1015_fullscale_range, inputs, addresses). Adafruit_CircuitPython_ADS1x15 of 2026-03-26,
# ads1x15.py (OS starts a conversion, and reads 1 when none is in progress; byte order).
"""

from clampdevice.drivers import base

_CONVERSION = 0x00
_CONFIG = 0x01
_OS = 0x8000
_SINGLE_SHOT = 0x0100
_NO_COMPARATOR = 0x0003
_MUX_SHIFT = 12
_GAIN_SHIFT = 9
_RATE_SHIFT = 5
_SINGLE_ENDED = 4  # code of AIN0 against ground
DIFFERENTIAL = {"0-1": 0, "0-3": 1, "1-3": 2, "2-3": 3}
# A conversion takes its time and a tenth more at worst; then the chip is lost.
_PATIENCE = 4


class Ads1115:
    """One chip.

    Args:
        bus: `base.I2c` (address 0x48 to 0x4B).
        inputs: of each slot, 0 to 3 against ground or "0-1", "0-3", "1-3", "2-3".
        ticks_us: `time.ticks_us`.

    Attributes:
        v_per_code: volts a code; `zero_code` is 0 V, as the values are in offset binary.
    """

    name = "ads1115"
    kind = "scan"
    bits = 16
    zero_code = 0x8000
    rates_hz = (8, 16, 32, 64, 128, 250, 475, 860)
    ranges = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256)

    def __init__(self, bus, inputs: tuple, ticks_us) -> None:
        self._bus = bus
        self._ticks_us = ticks_us
        self.slots = len(inputs)
        self._muxes = bytearray(self._mux(one) for one in inputs)
        if not self.slots:
            raise ValueError(f"{self.name}: no inputs")
        self._pair = bytearray(2)
        self._settings = 0
        self._slot = 0
        self._began = self._patience_us = 0
        self._converting = False
        self.rate_hz = 0
        self.v_per_code = 0.0
        self._fault = None

    def _mux(self, one: int | str) -> int:
        if one in DIFFERENTIAL:
            return DIFFERENTIAL[one]
        if one in (0, 1, 2, 3):
            return _SINGLE_ENDED + int(one)
        raise ValueError(f"{self.name}: input {one!r}; 0 to 3, or {', '.join(DIFFERENTIAL)}")

    def configure(self, rate_hz: float, range_v: float) -> None:
        """Settings, verified: the rate of one conversion, and full scale in volts.

        Raises:
            ValueError: the chip has no such rate or range.
            OSError: no answer, or a setting that does not hold.
        """
        rate = base.choose(self.name, "rate_hz", rate_hz, self.rates_hz)
        gain = base.choose(self.name, "range_v", range_v, self.ranges)
        self._settings = gain << _GAIN_SHIFT | _SINGLE_SHOT | rate << _RATE_SHIFT | _NO_COMPARATOR
        self.rate_hz = rate_hz
        self.v_per_code = range_v / 32768
        self._patience_us = int(_PATIENCE * 1000000 / rate_hz)
        self._fault = None
        self.check()

    def check(self) -> None:
        """Raises OSError: nobody answers, or not with what was written."""
        wanted = self._settings | self._muxes[0] << _MUX_SHIFT
        self._write(wanted)
        self._bus.read_into(_CONFIG, self._pair)
        found = (self._pair[0] << 8 | self._pair[1]) & ~_OS
        if found != wanted:
            raise OSError(
                f"{self.name}: its configuration was set to 0x{wanted:04X} and holds "
                f"0x{found:04X}; is it another chip?"
            )

    def start(self) -> None:
        """Begins with the first slot."""
        self._slot = 0
        self._convert()

    def _write(self, value: int) -> None:
        self._pair[0] = value >> 8
        self._pair[1] = value & 0xFF
        self._bus.write_from(_CONFIG, self._pair)

    def _convert(self) -> None:
        self._write(_OS | self._settings | self._muxes[self._slot] << _MUX_SHIFT)
        self._began = self._ticks_us()
        self._converting = True

    def read_into(self, buf, first: int) -> int:
        """Goes on by a conversion if one is done; 1 when it completed the frame buf[first:].

        Never waits; to be called until it returns 1. The codes are in offset binary.

        Raises:
            OSError: no answer, or a conversion that does not end.
        """
        if not self._converting:
            self._convert()
            return 0
        self._bus.read_into(_CONFIG, self._pair)
        if not self._pair[0] & 0x80:
            waited_us = (self._ticks_us() - self._began) & 0x3FFFFFFF
            if waited_us > self._patience_us:
                self._converting = False
                self._fault = "a conversion did not end"
                raise OSError(f"{self.name}: a conversion did not end in {waited_us} us")
            return 0
        self._bus.read_into(_CONVERSION, self._pair)
        buf[first + self._slot] = (self._pair[0] << 8 | self._pair[1]) ^ 0x8000
        self._slot += 1
        complete = self._slot == self.slots
        if complete:
            self._slot = 0
        self._convert()
        return 1 if complete else 0

    def temperature_c(self) -> float | None:
        """None: there is no such sensor."""
        return None

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
