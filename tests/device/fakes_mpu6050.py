"""An MPU-6050 by its registers, from the sources that the driver names."""

from fakes_bus import FakeClock, FifoChip

WRITABLE = (0x19, 0x1A, 0x1C, 0x23, 0x38, 0x6A, 0x6B, 0x6C)


class FakeMpu6050(FifoChip):
    """I2C. The FIFO counts bytes; after an overflow its reads are out of step until the reset."""

    depth = 170
    half = 32768

    def __init__(self, clock: FakeClock, true_hz: float = 1000, identity: int = 0x68) -> None:
        FifoChip.__init__(self, clock, true_hz)
        self.registers[0x75] = identity
        self.registers[0x6B] = 0x40  # asleep
        self.registers[0x41], self.registers[0x42] = 0xF0, 0x00
        self.resets = 0

    def write(self, register: int, data) -> None:
        assert register in WRITABLE, hex(register)
        assert len(data) == 1
        value = data[0]
        self.held()
        if register == 0x6A and value & 0x04:
            assert not self.registers[0x6A] & 0x40, "the reset works on a FIFO that is off"
            self.resets += 1
            if self.running:
                self.lost += self.made - self.first
            self.first = self.made
            self.full = False
            value &= ~0x04
        assert self.registers[0x6B] & 0x40 == 0 or register == 0x6B, "asleep"
        self.registers[register] = value
        if register == 0x23:
            if value & 0x08 and self.registers[0x6A] & 0x40 and not self.running:
                self.begin()
            elif not value:
                self.running = False
                self.first = self.made

    def read(self, register: int, buf, ns: int) -> None:
        held = self.held()
        if register == 0x3A:
            buf[0] = 0x10 if self.full else 0
        elif register == 0x72:
            count = 1024 if self.full else 6 * held
            buf[0], buf[1] = count >> 8, count & 0xFF
        elif register == 0x74:
            assert not self.full, "out of step"
            assert len(buf) % 6 == 0
            at = 0
            while at < len(buf):
                self.pop(buf, at, False)
                at += 6
        else:
            for i in range(len(buf)):
                buf[i] = self.registers[register + i]
