"""What drivers share: the two kinds of bus, and the check that it is the right chip.

Owns the framing of a register access on SPI and I2C, without allocation where samples are read.
What a register means is the driver's; who else may answer is `clampdevice.knownchips`.
"""

SPI_READ = 0x80


class WrongChip(OSError):
    """Another chip answers than the driver is for, or none."""


class Spi:
    """One chip on an SPI bus; a command byte, of which bit 7 says that it reads, then data.

    Args:
        spi: `machine.SPI`, set up by the caller (clock, polarity, phase).
        cs: `machine.Pin` of the chip select, an output.
    """

    kind = "spi"

    def __init__(self, spi, cs) -> None:
        self._spi = spi
        self._cs = cs
        self._command = bytearray(1)
        self._pair = bytearray(2)
        cs.value(1)

    def read_into(self, register: int, buf) -> None:
        """Fills `buf` from `register` on; the driver adds flags of its chip to the register."""
        self._command[0] = register | SPI_READ
        self._cs.value(0)
        try:
            self._spi.write(self._command)
            self._spi.readinto(buf, 0)
        finally:
            self._cs.value(1)

    def write(self, register: int, value: int) -> None:
        """Writes one byte."""
        self._pair[0] = register
        self._pair[1] = value
        self._cs.value(0)
        try:
            self._spi.write(self._pair)
        finally:
            self._cs.value(1)

    def exchange(self, out, into) -> None:
        """Sends `out` and receives as many bytes, for chips without registers."""
        self._cs.value(0)
        try:
            self._spi.write_readinto(out, into)
        finally:
            self._cs.value(1)


class I2c:
    """One chip on an I2C bus.

    Args:
        i2c: `machine.I2C`.
        address: 7 bits.
    """

    kind = "i2c"

    def __init__(self, i2c, address: int) -> None:
        self._i2c = i2c
        self._address = address
        self._byte = bytearray(1)

    def read_into(self, register: int, buf) -> None:
        """Fills `buf` from `register` on. Raises OSError: nobody answers."""
        self._i2c.readfrom_mem_into(self._address, register, buf)

    def write(self, register: int, value: int) -> None:
        """Writes one byte. Raises OSError: nobody answers."""
        self._byte[0] = value
        self._i2c.writeto_mem(self._address, register, self._byte)

    def write_from(self, register: int, buf) -> None:
        """Writes all of `buf`. Raises OSError: nobody answers."""
        self._i2c.writeto_mem(self._address, register, buf)


def read_byte(bus, register: int) -> int:
    """One register."""
    byte = bytearray(1)
    bus.read_into(register, byte)
    return byte[0]


def write_checked(bus, name: str, register: int, value: int) -> None:
    """Writes a register and reads it back.

    Raises:
        OSError: it does not hold the value, or nobody answers.
    """
    bus.write(register, value)
    found = read_byte(bus, register)
    if found != value:
        raise OSError(
            f"{name}: register 0x{register:02X} was set to 0x{value:02X} and holds 0x{found:02X}; "
            "check wiring, supply and clock"
        )


def check_identity(bus, name: str, register: int, expected: int) -> None:
    """Raises WrongChip, which names the chip that answers, unless `register` holds `expected`."""
    found = read_byte(bus, register)
    if found == expected:
        return
    from clampdevice.knownchips import who_is

    other = who_is(lambda at: read_byte(bus, at), register, found)
    raise WrongChip(
        f"{name}: identity 0x{found:02X} in register 0x{register:02X}, "
        f"0x{expected:02X} expected: {other}"
    )


def choose(name: str, what: str, value: float, allowed: tuple) -> int:
    """Index of `value` in `allowed`.

    Raises:
        ValueError: it is not in there.
    """
    for index, one in enumerate(allowed):
        if one == value:
            return index
    raise ValueError(f"{name}: {what} {value:g}; one of {', '.join(f'{x:g}' for x in allowed)}")
