"""A state machine of a PIO, each instruction at its own time.

Owns the nine instructions, those that the bus forces, the shift registers, stalls and the clock
divider. The FIFOs are `piofifos.py`, the block around it is `pio.py`. Only WAIT sees its pin
behind the two flip-flops; IN and JMP PIN are 16 ns early.

Ref: RP2040 datasheet 3.4 (instructions), 3.5.4 (autopush and autopull), 3.5.5 (divider), 3.5.6.3
(two flip-flops before each input), 3.5.7 (forced instructions: executed at once, whatever the
divider, in place of what the machine is at, PC and the stall of its own instruction unmoved,
delay ignored; one that stalls is latched, which EXEC_STALLED tells).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from piofifos import Fifos
from rp2040py.peripherals.pio_registers import WaitType, bit_reverse

if TYPE_CHECKING:
    from pio import Pio

CYCLE_NS = 8.0
SYNC_NS = 2 * CYCLE_NS
_MASK = 0xFFFFFFFF
_IN_RIGHT, _OUT_RIGHT = 1 << 18, 1 << 19
_AUTOPUSH, _AUTOPULL = 1 << 16, 1 << 17
_SIDE_EN, _SIDE_PINDIR = 1 << 30, 1 << 29


class Machine(Fifos):
    """One state machine; the names that a stock GPIO pin reads are those of the stock one."""

    def __init__(self, block: "Pio", index: int) -> None:
        super().__init__(block, index)
        self._clock = block.rp2040.clock
        self._alarm = self._clock.create_alarm(self._run)
        self.reset()

    def reset(self) -> None:
        """As after power-up."""
        self._alarm.cancel()
        self.enabled = self.waiting = self._forced = False
        self.wait_type, self.wait_index, self._wait_level = WaitType.NONE, 0, False
        self._retry: Callable[[], bool] | None = None
        self.executed = 0
        self.x = self.y = self.pc = 0
        self.isr = self.isr_count = self.osr = 0
        self.osr_count = 32
        self.clkdiv, self.execctrl = 1 << 16, 0x1F << 12
        self.pinctrl = 5 << 26
        self._due_ns = 0.0
        self._jumped = False
        self._delay = 0
        self._period_ns = CYCLE_NS
        self.reset_fifos()

    # --- registers -------------------------------------------------------------------------

    def read(self, offset: int) -> int:
        """CLKDIV, EXECCTRL, SHIFTCTRL, ADDR, INSTR, PINCTRL."""
        stalled = self._forced << 31
        values = (self.clkdiv, self.execctrl & 0x7FFFFFFF | stalled, self.shiftctrl, self.pc)
        words = (*values, self._block.instructions[self.pc], self.pinctrl)
        return words[offset >> 2]

    def write(self, offset: int, value: int) -> None:
        """As `read`; INSTR is forced."""
        if offset == 0x00:
            self.clkdiv = value
            whole = value >> 16 or 1 << 16
            self._period_ns = CYCLE_NS * (whole + (value >> 8 & 0xFF) / 256)
        elif offset == 0x04:
            self.execctrl = value
        elif offset == 0x08:
            self.set_shiftctrl(value)
        elif offset == 0x10:
            self._force(value & 0xFFFF)
        elif offset == 0x14:
            self.pinctrl = value

    def enable(self, enabled: bool) -> None:
        """CTRL.SM_ENABLE."""
        if enabled == self.enabled:
            return
        self.enabled = enabled
        if not enabled:
            self._alarm.cancel()
        elif self.waiting:
            self.check_wait()
        else:
            self._due_ns = self._clock.nanos + self._period_ns
            self._alarm.schedule(self._period_ns)

    def restart(self) -> None:
        """CTRL.SM_RESTART: shift counters, ISR and any stall; X, Y, OSR and PC stay."""
        self.isr = self.isr_count = 0
        self.osr_count = 32
        stalled = self.waiting
        self.waiting = self._forced = False
        if stalled and self.enabled:
            self._go_on()

    # --- running ---------------------------------------------------------------------------

    def _run(self) -> None:
        """One instruction is due."""
        if not self.enabled or self.waiting:
            return
        self._jumped = False
        cycles = self._execute(self._block.instructions[self.pc])
        self._block.show_pins()
        if not self.waiting:
            self._next(cycles)

    def _next(self, cycles: int) -> None:
        if not self._jumped:
            execctrl = self.execctrl
            if self.pc == execctrl >> 12 & 31:
                self.pc = execctrl >> 7 & 31
            else:
                self.pc = self.pc + 1 & 31
        self._due_ns += cycles * self._period_ns
        self._alarm.schedule(max(0.0, self._due_ns - self._clock.nanos))

    def _catch_up(self, delay_ns: float = 0.0) -> None:
        """Moves what is due to the next of its own clock's cycles after now and `delay_ns`."""
        behind_ns = self._clock.nanos + delay_ns - self._due_ns
        self._due_ns += max(0, -(-behind_ns // self._period_ns)) * self._period_ns

    def _go_on(self) -> None:
        """Fetches at PC in the next cycle."""
        self._catch_up()
        self._alarm.schedule(max(0.0, self._due_ns - self._clock.nanos))

    def check_wait(self) -> None:
        """What a stalled instruction waits for may have come."""
        if not self.waiting or not (self.enabled or self._forced):
            return
        if self._retry is None or not self._retry():
            return
        self.waiting = False
        if not self._forced:
            self._catch_up(SYNC_NS if self.wait_type == WaitType.PIN else 0.0)
            self._next(1 + self._delay)
            return
        self._forced = False
        if self.enabled:
            self._go_on()

    def _force(self, opcode: int) -> None:
        """An instruction of the bus, in place of the program's."""
        stalled = self.waiting and not self._forced  # of the program itself
        own = (self.wait_type, self.wait_index, self._wait_level, self._retry, self._delay)
        jumped, self._jumped = self._jumped, False
        self.waiting = self._forced = False
        self._execute(opcode)
        self._block.show_pins()
        moved, self._jumped = self._jumped, jumped
        if self.waiting:  # latched until it completes; then the program fetches again
            self._forced = True
            self._alarm.cancel()
        elif stalled and not moved:
            self.wait_type, self.wait_index, self._wait_level, self._retry, self._delay = own
            self.waiting = True
            self.check_wait()
        elif self.enabled:
            self._go_on()

    def _wait(self, kind: WaitType, index: int, retry: Callable[[], bool]) -> None:
        if retry():
            return
        self.waiting = True
        self.wait_type, self.wait_index = kind, index
        self._retry = retry

    def _execute(self, opcode: int) -> int:
        """Executes; the cycles that it takes with its delay."""
        self.executed += 1
        field = opcode >> 8 & 31
        count = self.pinctrl >> 29
        self._delay = field & (1 << 5 - count) - 1
        if count:
            width, driven = count, True
            if self.execctrl & _SIDE_EN:
                width, driven = count - 1, bool(field & 16)
            if driven:
                value = field >> 5 - count & (1 << width) - 1
                self._drive(
                    value, self.pinctrl >> 10 & 31, width, bool(self.execctrl & _SIDE_PINDIR)
                )
        self._EXECUTE[opcode >> 13](self, opcode & 0xFF)
        return 1 + self._delay

    def _jmp(self, arg: int) -> None:
        condition = arg >> 5
        if condition == 2:
            taken = self.x != 0
            self.x = self.x - 1 & _MASK
        elif condition == 4:
            taken = self.y != 0
            self.y = self.y - 1 & _MASK
        elif condition == 6:
            taken = self._block.level(self.execctrl >> 24 & 31)
        elif condition == 7:
            taken = self.osr_count < (self.shiftctrl >> 25 & 31 or 32)
        else:
            taken = (True, not self.x, False, not self.y, False, self.x != self.y)[condition]
        if taken:
            self.pc = arg & 31
            self._jumped = True

    def _wait_for(self, arg: int) -> None:
        level, source, index = bool(arg & 0x80), arg >> 5 & 3, arg & 31
        block = self._block
        if source == 2:
            flag = 1 << (index & 4 | index + self.index & 3 if index & 16 else index & 7)

            def raised() -> bool:
                if bool(block.irq & flag) != level:
                    return False
                if level:
                    block.irq &= ~flag
                return True

            self._wait(WaitType.IRQ, index, raised)
            return
        pin = index if source == 0 else index + (self.pinctrl >> 15) & 31
        self._wait(WaitType.PIN, pin, lambda: block.level(pin) == level)

    def _in(self, arg: int) -> None:
        bits = arg & 31 or 32
        value = self._source(arg >> 5, bits) & (1 << bits) - 1
        if self.shiftctrl & _IN_RIGHT:
            self.isr = self.isr >> bits | value << 32 - bits
        else:
            self.isr = (self.isr << bits | value) & _MASK
        self.isr_count = min(32, self.isr_count + bits)
        if self.shiftctrl & _AUTOPUSH and self.isr_count >= (self.shiftctrl >> 20 & 31 or 32):
            self._wait(WaitType.RX_FIFO, 0, self._push)

    def _push(self) -> bool:
        if len(self.rx) >= self._depths[1]:
            self._block.fdebug |= 1 << self.index
            return False
        self.rx.append(self.isr)
        self.isr = self.isr_count = 0
        self._request()
        return True

    def _pull(self) -> bool:
        if not self.tx:
            self._block.fdebug |= 1 << 24 + self.index
            return False
        self.osr = self.tx.popleft()
        self.osr_count = 0
        self._request()
        return True

    def _out(self, arg: int) -> None:
        if self.shiftctrl & _AUTOPULL and self.osr_count >= (self.shiftctrl >> 25 & 31 or 32):
            self._wait(WaitType.OUT, 0, lambda: self._pull() and self._shift_out(arg))
        else:
            self._shift_out(arg)

    def _shift_out(self, arg: int) -> bool:
        bits = arg & 31 or 32
        if self.shiftctrl & _OUT_RIGHT:
            value = self.osr & (1 << bits) - 1
            self.osr >>= bits
        else:
            value = self.osr >> 32 - bits
            self.osr = self.osr << bits & _MASK
        self.osr_count = min(32, self.osr_count + bits)
        to = arg >> 5
        if to == 0 or to == 4:
            self._drive(value, self.pinctrl & 31, self.pinctrl >> 20 & 63, to == 4)
        elif to == 6:
            self.isr, self.isr_count = value, bits
        elif to == 7:
            self._execute(value & 0xFFFF)
        else:
            self._set_register(to, value)
        return True

    def _push_pull(self, arg: int) -> None:
        block, conditional = bool(arg & 0x20), bool(arg & 0x40)
        if arg & 0x80:
            if conditional and self.osr_count < (self.shiftctrl >> 25 & 31 or 32):
                return
            if block:
                self._wait(WaitType.TX_FIFO, 0, self._pull)
            elif not self._pull():
                self.osr, self.osr_count = self.x, 0
        else:
            if conditional and self.isr_count < (self.shiftctrl >> 20 & 31 or 32):
                return
            if block:
                self._wait(WaitType.RX_FIFO, 0, self._push)
            elif not self._push():
                self.isr = self.isr_count = 0

    def _mov(self, arg: int) -> None:
        value = self._source(arg & 7, 32)
        if arg >> 3 & 3 == 1:
            value = ~value & _MASK
        elif arg >> 3 & 3 == 2:
            value = bit_reverse(value)
        to = arg >> 5
        if to == 0:
            self._drive(value, self.pinctrl & 31, self.pinctrl >> 20 & 63, False)
        elif to == 4:
            self._execute(value & 0xFFFF)
        elif to == 6:
            self.isr, self.isr_count = value, 0
        elif to == 7:
            self.osr, self.osr_count = value, 0
        else:
            self._set_register(to, value)

    def _irq(self, arg: int) -> None:
        index = arg & 31
        flag = 1 << (index & 4 | index + self.index & 3 if index & 16 else index & 7)
        block = self._block
        block.irq = block.irq & ~flag if arg & 0x40 else block.irq | flag
        block.irq_changed()
        if arg & 0x20 and not arg & 0x40:
            self._wait(WaitType.IRQ, index, lambda: not block.irq & flag)

    def _set(self, arg: int) -> None:
        to, value = arg >> 5, arg & 31
        if to == 0 or to == 4:
            self._drive(value, self.pinctrl >> 5 & 31, self.pinctrl >> 26 & 7, to == 4)
        else:
            self._set_register(to, value)

    _EXECUTE = (_jmp, _wait_for, _in, _out, _push_pull, _mov, _irq, _set)

    def _set_register(self, to: int, value: int) -> None:
        if to == 1:
            self.x = value
        elif to == 2:
            self.y = value
        elif to == 5:
            self.pc = value & 31
            self._jumped = True

    def _source(self, source: int, bits: int) -> int:
        if source == 0:
            base = self.pinctrl >> 15 & 31
            if bits == 1:
                return self._block.level(base)
            return sum(self._block.level(base + i & 31) << i for i in range(bits))
        if source == 5:
            fifo = self.rx if self.execctrl & 16 else self.tx
            return _MASK if len(fifo) < self.execctrl & 15 else 0
        return (0, self.x, self.y, 0, 0, 0, self.isr, self.osr)[source]

    def _drive(self, value: int, base: int, count: int, directions: bool) -> None:
        block = self._block
        mask = (1 << count) - 1
        moved = value & mask
        mask = (mask << base | mask << base >> 32) & _MASK
        moved = (moved << base | moved << base >> 32) & _MASK
        if directions:
            block.pin_directions = block.pin_directions & ~mask | moved
        else:
            block.pin_values = block.pin_values & ~mask | moved
