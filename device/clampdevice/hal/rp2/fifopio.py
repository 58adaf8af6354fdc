# ruff: noqa: F821 - the names are those of MicroPython's PIO assembler
# pyright: reportUndefinedVariable=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
"""A PIO program that empties the FIFO of an ADXL345, entry by entry, without the CPU.

Owns the program, its state machine and the pins while it runs; what comes out of its RX FIFO is
`entries.py`. While INT1 is high, the FIFO holds the watermark or more, it reads one burst of eight
bytes from INT_SOURCE on: the interrupt bits, DATA_FORMAT, then the six bytes of the oldest frame.
So each entry tells whether frames were overwritten before it, and that it is a frame of the chip
as it was set up. Four words of 16 bits an entry, high byte first, as they come.

SPI mode 3 at 2.5 MHz (the chip takes 5): 200 ns an instruction, 33.8 us an entry; CS is high for
6.4 us before the next, of which an entry needs 5 to leave the FIFO. SCK is the side-set pin.

# Ref: timing and registers, see `clampdevice.drivers.adxl345`. The command is 0xF0: read, more
# bytes than one, from 0x30; its bits are those of 15, lowest first.
"""

import machine
import rp2

STEP_HZ = 5000000
READ_US = 30  # from CS low to the last bit
_PIO0 = 0x50200000
_RXF0 = 0x20
_DREQ_RX0 = 4


def _program(int_pin: int) -> list:
    @rp2.asm_pio(
        out_init=rp2.PIO.OUT_LOW,
        set_init=rp2.PIO.OUT_HIGH,
        sideset_init=rp2.PIO.OUT_HIGH,
        out_shiftdir=rp2.PIO.SHIFT_RIGHT,
        in_shiftdir=rp2.PIO.SHIFT_LEFT,
        autopush=True,
        push_thresh=16,
        fifo_join=rp2.PIO.JOIN_RX,
    )
    def drain() -> None:
        set(y, 15).side(1)
        wrap_target()
        wait(1, gpio, int_pin).side(1)
        mov(osr, y).side(1)
        set(pins, 0).side(1)  # CS
        set(x, 7).side(1)
        label("command")
        out(pins, 1).side(0)
        jmp(x_dec, "command").side(1)
        set(x, 31).side(0)
        label("first")  # 32 bits
        in_(pins, 1).side(1)
        jmp(x_dec, "first").side(0)
        set(x, 30).side(0)
        label("second")  # 31, so that SCK ends high
        in_(pins, 1).side(1)
        jmp(x_dec, "second").side(0)
        in_(pins, 1).side(1)
        set(pins, 1).side(1)[15]
        nop().side(1)[15]
        wrap()

    return drain


class FifoReader:
    """The program on state machine 0 of PIO0.

    Args:
        sck, mosi, miso, cs, int1: GPIOs.

    Attributes:
        fifo, dreq: address and DMA request of what it reads.
        read_us: how long a read takes.
    """

    fifo = _PIO0 + _RXF0
    dreq = _DREQ_RX0
    read_us = READ_US

    def __init__(self, sck: int, mosi: int, miso: int, cs: int, int1: int) -> None:
        self._pins = (sck, mosi, miso, cs)
        self.int_pin = int1
        machine.Pin(int1, machine.Pin.IN, machine.Pin.PULL_DOWN)
        self._prog = _program(int1)
        self._machine = None

    def arm(self) -> None:
        """Takes the pins, SCK and CS high; the RX FIFO is empty, nothing runs."""
        pin = machine.Pin
        sck, mosi, miso, cs = self._pins
        self._machine = rp2.StateMachine(
            0,
            self._prog,
            freq=STEP_HZ,
            in_base=pin(miso, pin.IN),
            out_base=pin(mosi),
            set_base=pin(cs),
            sideset_base=pin(sck),
        )

    def run(self) -> None:
        """From `arm`: reads whenever INT1 is high."""
        assert self._machine is not None
        self._machine.active(1)

    def halt(self) -> None:
        """Ends reading, in the middle of an entry if need be."""
        if self._machine is not None:
            self._machine.active(0)

    def close(self) -> None:
        """Ends reading and frees the program's place."""
        self.halt()
        if self._machine is not None:
            rp2.PIO(0).remove_program(self._prog)
            self._machine = None
