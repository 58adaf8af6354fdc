"""An ADXL345 by its registers, from the sources that the driver names."""

from fakes_bus import FakeClock, FifoChip

GAP_NS = 5000
WRITABLE = (0x2C, 0x2D, 0x2E, 0x2F, 0x31, 0x38)


class FakeAdxl345(FifoChip):
    """SPI and I2C; refuses a data read less than 5 us after the last one.

    `bit_when_full` sets the overrun bit when the FIFO is full already, before anything is lost:
    the data sheet can be read both ways.
    """

    def __init__(self, clock: FakeClock, true_hz: float = 3200, identity: int = 0xE5) -> None:
        FifoChip.__init__(self, clock, true_hz)
        self.registers[0x00] = identity
        self.popped_ns = -GAP_NS
        self.reads = 0
        self.shortest_gap_ns = 1 << 60
        self.bit_when_full = False
        self._popping = False

    def write_spi(self, buf) -> None:
        assert not buf[0] & 0x40 or len(buf) > 2
        self.write(buf[0] & 0x3F, memoryview(buf)[1:])

    def read_spi(self, command: int, buf, ns: int) -> None:
        register = command & 0x3F
        assert len(buf) == 1 or command & 0x40, "several bytes without the bit that says so"
        self.read(register, buf, ns)
        self._popping = register == 0x32

    def deselect(self, ns: int) -> None:
        if self._popping:
            self.popped_ns = ns
            self._popping = False

    def write(self, register: int, data) -> None:
        assert register in WRITABLE, hex(register)
        assert len(data) == 1
        self.held()
        self.registers[register] = data[0]
        if register == 0x38 and not data[0] & 0xC0:
            self.first = self.made  # bypass
            self.full = False
        if register == 0x2D:
            if data[0] & 0x08 and not self.running:
                self.begin()
            elif not data[0] & 0x08:
                self.running = False

    def read(self, register: int, buf, ns: int) -> None:
        held = self.held()
        if register in (0x32, 0x39):
            gap = ns - self.popped_ns
            assert gap >= GAP_NS, "read of the FIFO less than 5 us after the last one"
        if register == 0x32:
            assert len(buf) == 6, "an entry is one read of six bytes"
            if self.reads:
                self.shortest_gap_ns = min(self.shortest_gap_ns, ns - self.popped_ns)
            self.pop(buf, 0, True)
            self.full = False
            self.popped_ns = ns
            self.reads += 1
            return
        assert len(buf) == 1
        if register == 0x39:
            buf[0] = held
        elif register == 0x30:
            full = self.full or (self.bit_when_full and held == self.depth)
            buf[0] = 1 if full else 0
        else:
            buf[0] = self.registers[register]
