"""A LIS2DW12 by its registers, from the sources that the driver names."""

from fakes_bus import FakeClock, FifoChip

WRITABLE = (0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x2E)


class FakeLis2dw12(FifoChip):
    """SPI and I2C. Samples while CTRL1 has a rate; the FIFO fills while it is not in bypass."""

    half = 8192

    def __init__(self, clock: FakeClock, true_hz: float = 1600, identity: int = 0x44) -> None:
        FifoChip.__init__(self, clock, true_hz)
        self.registers[0x0F] = identity
        self.registers[0x0D] = 0x40  # 25.25 degrees
        self.registers[0x0E] = 0x00

    def write_spi(self, buf) -> None:
        self.write(buf[0], memoryview(buf)[1:])

    def read_spi(self, command: int, buf, ns: int) -> None:
        self.read(command & 0x7F, buf, ns)

    def deselect(self, ns: int) -> None:
        pass

    def write(self, register: int, data) -> None:
        assert register in WRITABLE, hex(register)
        assert len(data) == 1
        self.held()
        self.registers[register] = data[0]
        if register == 0x2E and not data[0] & 0xE0:
            self.first = self.made
            self.full = False
        if register == 0x20:
            if data[0] & 0xF0 and not self.running:
                self.begin()
            elif not data[0] & 0xF0:
                self.running = False

    def read(self, register: int, buf, ns: int) -> None:
        if register == 0x2F:
            held = self.held()
            buf[0] = held | (0x40 if self.full else 0)
        elif register == 0x28:
            assert len(buf) == 6, "a frame is one read of six bytes"
            assert self.registers[0x21] & 0x04, "without the increment"
            self.pop(buf, 0, True, 2)
            self.full = False
        else:
            for i in range(len(buf)):
                buf[i] = self.registers[register + i]
