"""MCP3208 (and MCP3204): eight inputs, 12 bits, a conversion within its own transfer; SPI.

Owns the three bytes of a conversion. The chip samples when it is asked, so a frame's moment is
the caller's; at most 100,000 conversions a second at 5 V, 50,000 at 2.7 V. It has no registers
and cannot be told from another; the null bit before each result is checked, which an open or
pulled-up line does not give.

# Ref: MCP3204/3208 data sheet, DS21298E, section 5.0, p. 19 (start bit, input, null bit, MSB
# first), and its 1999 issue, p. 1 (rates, SPI modes 0,0 and 1,1). Placing of the bits in bytes:
# Linux drivers/iio/adc/mcp320x.c.
"""

_START = 1 << 6
_SINGLE_ENDED = 1 << 5
_NULL = 0x01
# Inputs that make a pair, by the code of the pair: CH0 against CH1 is 0, CH1 against CH0 is 1
DIFFERENTIAL = {
    "0-1": 0, "1-0": 1, "2-3": 2, "3-2": 3, "4-5": 4, "5-4": 5, "6-7": 6, "7-6": 7,
}  # fmt: skip
MAX_CONVERSIONS_HZ = 100000


class Mcp3208:
    """One chip.

    Args:
        bus: `base.Spi` (mode 0 or 3).
        inputs: of each slot, 0 to 7 against ground, or a pair as "0-1".

    Attributes:
        v_per_code: volts a code; `zero_code` is 0 V.
    """

    name = "mcp3208"
    kind = "scan"
    bits = 12
    zero_code = 0
    rates_hz = ()  # any: the caller's pace
    ranges = ()  # any: the reference at its pin

    def __init__(self, bus, inputs: tuple) -> None:
        if bus.kind != "spi":
            raise ValueError(f"{self.name}: has SPI alone, not {bus.kind}")
        if not inputs:
            raise ValueError(f"{self.name}: no inputs")
        self._bus = bus
        self.slots = len(inputs)
        self._commands = bytearray(self._command(one) for one in inputs)
        self._out = bytearray(3)
        self._in = bytearray(3)
        self.rate_hz = 0
        self.v_per_code = 0.0
        self._fault = None

    def _command(self, one: int | str) -> int:
        if one in DIFFERENTIAL:
            return _START | DIFFERENTIAL[one] << 2
        if one in (0, 1, 2, 3, 4, 5, 6, 7):
            return _START | _SINGLE_ENDED | int(one) << 2
        pairs = ", ".join(sorted(DIFFERENTIAL))
        raise ValueError(f"{self.name}: input {one!r}; 0 to 7, or {pairs}")

    def configure(self, rate_hz: float, range_v: float) -> None:
        """The pace of frames that is planned, and the reference voltage; asks the chip once.

        Raises:
            ValueError: more than the chip converts.
            OSError: no answer.
        """
        if not 0 < rate_hz * self.slots <= MAX_CONVERSIONS_HZ:
            raise ValueError(
                f"{self.name}: {rate_hz:g} Hz of {self.slots} inputs; at most "
                f"{MAX_CONVERSIONS_HZ} conversions a second"
            )
        if not 0 < range_v <= 5.5:
            raise ValueError(f"{self.name}: reference {range_v:g} V; above 0, at most 5.5 V")
        self.rate_hz = rate_hz
        self.v_per_code = range_v / 4096
        self._fault = None
        self.check()

    def check(self) -> None:
        """Raises OSError: no answer."""
        self._convert(0)

    def start(self) -> None:
        """Nothing to do: a conversion begins when it is read."""

    def _convert(self, slot: int) -> int:
        raw = self._in
        self._out[0] = self._commands[slot]
        self._bus.exchange(self._out, raw)
        if raw[0] & _NULL:
            self._fault = "no null bit"
            raise OSError("mcp3208: no null bit; check wiring, chip select and supply")
        return raw[1] << 4 | raw[2] >> 4

    def read_into(self, buf, first: int) -> int:
        """Converts every slot once, to buf[first:]; 1, the number of frames.

        Raises:
            OSError: no answer.
        """
        for slot in range(self.slots):
            buf[first + slot] = self._convert(slot)
        return 1

    def temperature_c(self) -> float | None:
        """None: there is no such sensor."""
        return None

    def serial(self) -> str | None:
        """None: the chip has no number of its own."""
        return None

    def fault(self) -> str | None:
        """The last trouble since `configure`, None without."""
        return self._fault
