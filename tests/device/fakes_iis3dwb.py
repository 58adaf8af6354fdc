"""An IIS3DWB by its registers, from the sources that the driver names."""

from fakes_bus import FakeClock, FifoChip

WRITABLE = (0x07, 0x08, 0x09, 0x0A, 0x0D, 0x10, 0x12, 0x17)


class FakeIis3dwb(FifoChip):
    """SPI. `strange` puts the tag of the temperature on the next word; `jump` loses one frame
    after the next word, in the middle of a burst.
    """

    depth = 512
    half = 32768

    def __init__(self, clock: FakeClock, true_hz: float = 26667, identity: int = 0x7B) -> None:
        FifoChip.__init__(self, clock, true_hz)
        self.registers[0x0F] = identity
        self.registers[0x20], self.registers[0x21] = 0x80, 0x01
        self.strange = self.jump = False

    def write_spi(self, buf) -> None:
        register, value = buf[0], buf[1]
        assert register in WRITABLE, hex(register)
        self.held()
        self.registers[register] = value
        if register == 0x0A and not value & 7:
            self.first = self.made
            self.full = False
        if register == 0x10:
            if value >> 5 == 5 and not self.running:
                assert self.registers[0x09] == 10, "nothing goes to the FIFO"
                self.begin()
            elif not value >> 5:
                self.running = False

    def read_spi(self, command: int, buf, ns: int) -> None:
        register = command & 0x7F
        held = self.held()
        if register == 0x3A:
            buf[0] = held & 0xFF
            buf[1] = held >> 8 | (0x40 if self.full else 0)
        elif register == 0x78:
            assert len(buf) % 7 == 0
            at = 0
            while at < len(buf):
                buf[at] = (3 if self.strange else 2) << 3 | (self.first & 3) << 1
                self.strange = False
                self.pop(buf, at + 1, True)
                if self.jump:
                    self.first += 1
                    self.jump = False
                at += 7
            self.full = False
        else:
            for i in range(len(buf)):
                buf[i] = self.registers[register + i]

    def deselect(self, ns: int) -> None:
        pass
