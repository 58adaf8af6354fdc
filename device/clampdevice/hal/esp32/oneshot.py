"""The chip's own ADC, one conversion at a time: the scanner of a paced source.

Owns the order of the pins, the learning of the calibration at start, and the look-up of codes.
Takes ADC objects and imports nothing of the chip.
"""

from array import array

from clampdevice.hal.esp32.calibrate import Line, Pairs, measured, provisional
from clampdevice.hal.esp32.chips import check_bias
from clampdevice.ticks import ticks_diff

# How long a pin is heard at start: five periods of 50 Hz and six of 60 Hz, so that the mean is the
# bias whatever current flows; some 700 pairs.
LISTEN_US = 100000
# read_u16 spreads the converter's bits over 16; the upper twelve are the code.
_SHIFT = 4


class OneShot:
    """Scanner; see `paced.PacedSource`.

    Args:
        adcs: ADC objects in the order of the slots, with `read_u16()` and `read_uv()`.
        pins: their GPIO numbers, for messages.
        low_mv, high_mv: linear range at their attenuation.

    Attributes:
        line: what codes are looked up by; None before `calibrate`.
        bias_mv: mean of each pin while it was calibrated.
    """

    def __init__(self, adcs: list, pins: list, low_mv: int, high_mv: int) -> None:
        self.slots = len(adcs)
        self._adcs = tuple(adcs)
        self._pins = tuple(pins)
        self._range = (low_mv, high_mv)
        self._slots = tuple(range(self.slots))
        self._table = array("H")
        self.line: Line | None = None
        self.bias_mv: list = []

    def calibrate(self, scheme: str, kept: Line | None, ticks_us) -> Line:
        """Learns the line at the pins as they are now, and checks their bias.

        Args:
            scheme: see `chips.Chip`.
            kept: the line of an earlier start, for inputs at rest.
            ticks_us: `time.ticks_us`.

        Raises:
            ValueError: a bias that leaves no swing, with what to do.
        """
        pairs = Pairs()
        means = []
        for adc in self._adcs:
            total = count = 0
            before = adc.read_u16() >> _SHIFT
            began = ticks_us()
            while not count or ticks_diff(ticks_us(), began) < LISTEN_US:
                mv = adc.read_uv() // 1000
                after = adc.read_u16() >> _SHIFT
                pairs.add(before, mv, after)
                before = after
                total += after
                count += 1
            means.append(total / count)
        line = measured(pairs) or kept or provisional(pairs, scheme)
        self.bias_mv = [line.mv(mean) for mean in means]
        for pin, mv in zip(self._pins, self.bias_mv):
            check_bias(pin, mv, self._range[0], self._range[1])
        self.line = line
        self._table = line.table(self._range[0], self._range[1])
        return line

    def read_into(self, buf, first: int) -> None:
        """Converts one frame; allocates nothing."""
        adcs, table = self._adcs, self._table
        for slot in self._slots:
            buf[first + slot] = table[adcs[slot].read_u16() >> _SHIFT]
