"""The pulse counters on a PIO as the datasheet tells it; and what forced instructions do there.

The PIO is `hil/pio.py`, here without firmware: registers are written as rp2_pio.c writes them.
"""

import random

import pio
import pytest
from fakes_pio import FakePio, Program
from rp2040py.rp2040 import RP2040

from clampdevice.hal.rp2.pulses import PulseCounters

GPIO = 15
CTRL, FSTAT, TXF, RXF, MEMORY, SM0 = 0x00, 0x04, 0x10, 0x20, 0x48, 0xC8
CLKDIV, EXECCTRL, SHIFTCTRL, ADDR, INSTR, PINCTRL = range(0, 24, 4)
STALLED = 1 << 31
NOP, PULL_BLOCK, PUSH_BLOCK, SET_X_7 = 0xA042, 0x80A0, 0x8020, 0xE027


class Chip:
    """Stands in for the module `rp2`; `us` moves its time."""

    def __init__(self, level: int) -> None:
        self.mcu = RP2040()
        self.block = pio.install(self.mcu, 1)
        self.gpio = self.mcu.gpio[GPIO]
        self.gpio.pad_value = 0x56  # input on, as `machine.Pin` leaves it
        self.gpio.set_input_value(bool(level))
        self.asm_pio = FakePio({}).asm_pio

    def us(self, us: float) -> None:
        self.mcu.clock.tick(1000 * us)

    def StateMachine(self, number: int, program: Program, freq: int, **_pins: object):  # noqa: N802
        machine = Machine(self.block, number - 4)
        at = 32 - len(program.words)
        for i, word in enumerate(program.words):
            moved = word + at if word >> 13 == 0 else word
            self.block.write_uint32(MEMORY + 4 * (at + i), moved)
        machine.write(CLKDIV, (125_000_000 // freq) << 16)
        wrap = (at + program.last) << 12 | (at + program.target) << 7
        machine.write(EXECCTRL, GPIO << 24 | wrap)
        machine.write(SHIFTCTRL, 0b11 << 18)
        machine.write(PINCTRL, GPIO << 15)
        machine.first = at
        machine.restart()
        return machine


class Machine:
    """`rp2.StateMachine` by registers."""

    def __init__(self, block: pio.Pio, index: int) -> None:
        self._block, self._index = block, index
        self.first = 0

    def write(self, offset: int, value: int) -> None:
        self._block.write_uint32(SM0 + 0x18 * self._index + offset, value)

    def read(self, offset: int) -> int:
        return self._block.read_uint32(SM0 + 0x18 * self._index + offset)

    def exec(self, word: int) -> None:
        self.write(INSTR, word)

    def active(self, on: int) -> None:
        self._block.write_uint32(CTRL, on << self._index)

    def restart(self) -> None:
        kept = self._block.read_uint32(CTRL)
        self._block.write_uint32(CTRL, kept | 1 << 4 + self._index)
        self.exec(self.first)

    def put(self, value: int) -> None:
        self._block.write_uint32(TXF + 4 * self._index, value)

    def rx_fifo(self) -> int:
        return not self._block.read_uint32(FSTAT) >> 8 + self._index & 1

    def get(self, buf: list) -> None:
        buf[0] = self._block.read_uint32(RXF + 4 * self._index)


@pytest.mark.parametrize("low", [True, False])
def test_random_pulses_read_at_random_moments(low: bool) -> None:
    draw = random.Random(20261122 + low)
    chip = Chip(level=low)
    counters = PulseCounters(chip, low)
    assert counters.add(0, object(), 0.05)
    counters.start()
    chip.us(20)
    truth = 0
    for _ in range(400):
        for level in (1, 0):
            for _ in range(draw.randrange(4)):  # bounces, none of them as long as the filter
                for value in (level, 1 - level):
                    chip.gpio.set_input_value(bool(value) ^ low)
                    chip.us(draw.uniform(4.1, 49.9))
                    if draw.random() < 0.2:
                        assert counters.pulses(0) == truth
            chip.gpio.set_input_value(bool(level) ^ low)
            # A read takes two cycles from the program, wherever it is.
            reads = draw.randrange(3)
            for _ in range(reads):
                chip.us(draw.uniform(0, 20))
                assert truth <= counters.pulses(0) <= truth + level
            chip.us(55.1 + 2 * reads + draw.expovariate(0.02))
            truth += level
        assert counters.pulses(0) == truth
    assert counters.faults == 0


def _machine(words: list, pins: int = 0) -> tuple[Chip, Machine]:
    chip = Chip(level=pins)
    machine = chip.StateMachine(4, Program(words, 0, len(words) - 1), freq=1_000_000)
    return chip, machine


WAIT_HIGH = 0x20A0  # wait 1 pin 0
WAIT_HIGH_3 = 0x23A0  # with a delay of 3


def test_a_forced_instruction_leaves_a_stalled_wait_as_it_is() -> None:
    chip, machine = _machine([WAIT_HIGH_3, SET_X_7, NOP])
    machine.active(1)
    chip.us(10)
    at = machine.read(ADDR)
    for word in (NOP | 31 << 8, 0xA0C9, 0x8000):  # a delay, ignored; mov isr, ~x; push noblock
        machine.exec(word)
        assert machine.read(ADDR) == at
        assert not machine.read(EXECCTRL) & STALLED
    chip.us(10)
    assert machine.read(ADDR) == at
    chip.gpio.set_input_value(True)
    chip.us(3)  # WAIT and its delay are four cycles, which begin with the next
    assert machine.read(ADDR) == at + 1 and chip.block.machines[0].x == 0
    chip.us(3)
    assert chip.block.machines[0].x == 7


def test_a_forced_instruction_that_stalls_is_latched() -> None:
    chip, machine = _machine([SET_X_7, NOP, NOP])
    for _ in range(4):
        machine.exec(PUSH_BLOCK)
        assert not machine.read(EXECCTRL) & STALLED
    machine.exec(PUSH_BLOCK)
    assert machine.read(EXECCTRL) & STALLED
    at = machine.read(ADDR)
    machine.active(1)
    chip.us(10)
    assert machine.read(ADDR) == at  # the program waits behind it
    machine.get([0])
    assert not machine.read(EXECCTRL) & STALLED
    chip.us(3)
    assert chip.block.machines[0].x == 7
    machine.exec(PUSH_BLOCK)
    assert machine.read(EXECCTRL) & STALLED
    machine.exec(NOP)
    assert not machine.read(EXECCTRL) & STALLED


def test_a_forced_jump_ends_a_stall() -> None:
    chip, machine = _machine([WAIT_HIGH, NOP, SET_X_7])
    machine.active(1)
    chip.us(5)
    machine.exec(machine.first + 2)
    chip.us(1)
    assert chip.block.machines[0].x == 7


def test_a_machine_that_is_off_takes_nothing() -> None:
    chip, machine = _machine([PULL_BLOCK, 0xA027, NOP])  # pull; mov x, osr
    machine.active(1)
    chip.us(5)
    assert not machine.read(EXECCTRL) & STALLED  # of forced ones alone
    machine.active(0)
    machine.put(77)
    chip.us(5)
    assert chip.block.machines[0].x == 0
    machine.active(1)
    chip.us(5)
    assert chip.block.machines[0].x == 77
