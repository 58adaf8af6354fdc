"""Time and buses for the fakes of sensors: a clock that moves with every transfer.

Owns what is the same for all chips: what a transfer takes, the chip select, a bus that is silent.
A fake chip is an object with `read(register, buf)` and `write(register, data)`; it takes the time
from the clock. Nothing here allocates while samples are read.
"""

TICKS_MASK = 0x3FFFFFFF


class FakeClock:
    """Microseconds that move when somebody works or waits; nanoseconds are kept."""

    def __init__(self, now_us: int = 0) -> None:
        self._ns = 1000 * now_us

    @property
    def now_us(self) -> int:
        return self._ns // 1000

    @property
    def ns(self) -> int:
        return self._ns

    def pass_ns(self, ns: int) -> None:
        self._ns += ns

    def pass_us(self, us: int) -> None:
        self._ns += 1000 * us

    def ticks_us(self) -> int:
        self._ns += 500  # the call
        return self._ns // 1000 & TICKS_MASK

    def sleep_us(self, us: int) -> None:
        self._ns += 1000 * us


class FakePin:
    """The chip select; the SPI looks at it."""

    def __init__(self) -> None:
        self.spi: FakeSpi | None = None
        self.level = 0

    def value(self, level: int) -> None:
        self.level = level
        if self.spi is not None:
            self.spi.select(level)


class FakeSpi:
    """machine.SPI with one chip; refuses what the chip would not hear.

    `call_ns` is what a call takes besides the wire: 12 us on an RP2040.
    """

    call_ns = 12000

    def __init__(self, chip, clock: FakeClock, cs: FakePin, baudrate: int = 5000000) -> None:
        self.chip = chip
        self.clock = clock
        self.byte_ns = 8000000000 // baudrate
        self.cs = cs
        cs.spi = self
        self.silent = False
        self.stuck = 0xFF
        self._command = -1

    def select(self, level: int) -> None:
        if level == 0:
            self._command = -1
        elif self._command >= 0:
            self.chip.deselect(self.clock.ns)
            self._command = -1

    def write(self, buf) -> None:
        assert self.cs.level == 0, "nobody is selected"
        self.clock.pass_ns(self.call_ns + self.byte_ns * len(buf))
        if self.silent:
            return
        self._command = buf[0]
        if not buf[0] & 0x80:
            self.chip.write_spi(buf)

    def readinto(self, buf, write: int = 0) -> None:
        assert self.cs.level == 0, "nobody is selected"
        assert write == 0
        if self.silent:
            for i in range(len(buf)):
                buf[i] = self.stuck
            self.clock.pass_ns(self.call_ns + self.byte_ns * len(buf))
            return
        assert self._command & 0x80, "a read without its command"
        self.chip.read_spi(self._command, buf, self.clock.ns)
        self.clock.pass_ns(self.call_ns + self.byte_ns * len(buf))

    def write_readinto(self, out, into) -> None:
        assert self.cs.level == 0, "nobody is selected"
        assert len(out) == len(into)
        self.clock.pass_ns(self.call_ns + self.byte_ns * len(out))
        if self.silent:
            for i in range(len(into)):
                into[i] = self.stuck
        else:
            self.chip.exchange(out, into)


class FakeI2c:
    """machine.I2C with one chip at one address."""

    def __init__(self, chip, clock: FakeClock, address: int, freq: int = 400000) -> None:
        self.chip = chip
        self.clock = clock
        self.address = address
        self.byte_ns = 9000000000 // freq
        self.silent = False

    def _answer(self, address: int, count: int) -> None:
        self.clock.pass_ns(20000 + self.byte_ns * count)
        if self.silent or address != self.address:
            raise OSError(5)

    def readfrom_mem_into(self, address: int, register: int, buf) -> None:
        self._answer(address, 3)
        self.chip.read(register, buf, self.clock.ns)
        self.clock.pass_ns(self.byte_ns * len(buf))

    def writeto_mem(self, address: int, register: int, buf) -> None:
        self._answer(address, 2 + len(buf))
        self.chip.write(register, buf)


class FifoChip:
    """A sensor that samples by itself: frame k ends at start + (k + 1) * period.

    Frame k has the values x = k * 3 + 1, y = -(k * 5) - 2, z = k * 7 + 100, wrapped to the range
    of the chip, so that order, axis and sign show. `made` counts all, `lost` what was overwritten.
    """

    depth = 32
    half = 4096  # counts of full scale

    def __init__(self, clock: FakeClock, true_hz: float) -> None:
        self.clock = clock
        self.period_ns = int(1000000000 / true_hz + 0.5)
        self.registers = bytearray(256)
        self.running = False
        self.began_ns = 0
        self.made = self.lost = self.overruns = 0
        self.first = 0  # number of the oldest frame in the FIFO
        self.full = False

    def begin(self) -> None:
        self.running = True
        self.began_ns = self.clock.ns
        self.made = self.first = 0
        self.full = False

    def held(self) -> int:
        """Frames in the FIFO now; loses what does not fit."""
        if self.running:
            self.made = (self.clock.ns - self.began_ns) // self.period_ns
        held = self.made - self.first
        if held > self.depth:
            self.lost += held - self.depth
            if not self.full:
                self.overruns += 1
            self.full = True
            self.first = self.made - self.depth
            held = self.depth
        return held

    def value(self, k: int, axis: int) -> int:
        """Signed count of a frame's axis."""
        if axis == 0:
            raw = 3 * k + 1
        elif axis == 1:
            raw = -5 * k - 2
        else:
            raw = 7 * k + 100
        return (raw + self.half) % (2 * self.half) - self.half

    def pop(self, buf, at: int, little: bool, shift: int = 0) -> None:
        """Puts the oldest frame into six bytes of `buf`."""
        assert self.held(), "the FIFO is empty"
        for axis in range(3):
            value = (self.value(self.first, axis) << shift) & 0xFFFF
            low, high = value & 0xFF, value >> 8
            buf[at + 2 * axis] = low if little else high
            buf[at + 2 * axis + 1] = high if little else low
        self.first += 1
