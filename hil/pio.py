"""A PIO block of the RP2040 as the datasheet tells it, in place of the emulator's.

Owns the block's registers, pins, flags and interrupts; its state machines are `piomachine.py`.
Stock rp2040py 0.3.6 runs one PIO instruction a CPU instruction at most, and one for any time that
the core sleeps or stands still for the flash; the chip's PIO runs by the system clock, whatever
the core does. Besides, stock FIFOs cannot be joined, a changed FJOIN does not empty them, WAIT
sees a pin without its two flip-flops, and a pin that the chip drives itself is not read back.

Ref: RP2040 datasheet 3.5.6.3 (input synchronisers) and 3.7 (registers).
"""

from piomachine import Machine
from rp2040py.peripherals.peripheral import BasePeripheral
from rp2040py.rp2040 import RP2040

BASES = (0x50200, 0x50300)
_FIRST_IRQ = (7, 9)
_SM0, _SM_STEP = 0xC8, 0x18


class Pio(BasePeripheral):
    """One block; put in the place of the stock one by `install`.

    Attributes:
        stopped: always, for the stock loop, which would else drive it.
    """

    def __init__(self, rp2040: RP2040, index: int) -> None:
        super().__init__(rp2040, f"PIO{index}")
        self.index = index
        self.stopped = True
        self.machines: list[Machine] = []
        self._clear()
        self.machines = [Machine(self, i) for i in range(4)]

    def _clear(self) -> None:
        self.instructions = [0] * 32
        self.irq = self.fdebug = self.bypass = 0
        self.pin_values = self.pin_directions = self._shown = 0
        self._enables, self._forces = [0, 0], [0, 0]

    def reset(self) -> None:
        self._clear()
        for machine in self.machines:
            machine.reset()

    def level(self, pin: int) -> bool:
        """What the pad reads, its own output included."""
        gpio = self.rp2040.gpio[pin] if pin < len(self.rp2040.gpio) else None
        if gpio is None:
            return False
        return bool(gpio.output_value if gpio.output_enable else gpio.input_value)

    def show_pins(self) -> None:
        """Tells the pads what has changed."""
        now = self.pin_values | self.pin_directions << 32
        changed = now ^ self._shown
        if not changed:
            return
        self._shown = now
        changed = (changed | changed >> 32) & 0x3FFFFFFF
        while changed:
            pin = (changed & -changed).bit_length() - 1
            self.rp2040.gpio[pin].check_for_updates()
            changed &= changed - 1

    def irq_changed(self) -> None:
        for machine in self.machines:
            machine.check_wait()
        self.check_interrupts()

    @property
    def _raw(self) -> int:
        bits = (self.irq & 15) << 8
        for machine in self.machines:
            bits |= bool(machine.rx) << machine.index
            bits |= (not machine.status >> 16 + machine.index & 1) << 4 + machine.index
        return bits

    def check_interrupts(self) -> None:
        if any(self._enables) or any(self._forces):
            for i in range(2):
                raised = self._raw & self._enables[i] | self._forces[i]
                self.rp2040.set_interrupt(_FIRST_IRQ[self.index] + i, bool(raised))

    def read_uint32(self, offset: int) -> int:
        if 0x20 <= offset < 0x30:
            return self.machines[offset - 0x20 >> 2].get()
        if _SM0 <= offset < _SM0 + 4 * _SM_STEP:
            return self.machines[(offset - _SM0) // _SM_STEP].read((offset - _SM0) % _SM_STEP)
        if offset == 0x00:
            return sum(machine.enabled << machine.index for machine in self.machines)
        if offset == 0x04:
            return sum(machine.status for machine in self.machines)
        if offset == 0x0C:
            levels = [len(fifo) for m in self.machines for fifo in (m.tx, m.rx)]
            return sum(level << 4 * i for i, level in enumerate(levels))
        if 0x12C <= offset <= 0x140:
            block, what = divmod(offset - 0x12C, 12)
            if what == 8:
                return self._raw & self._enables[block] | self._forces[block]
            return (self._forces if what else self._enables)[block]
        plain = {
            0x08: self.fdebug,
            0x30: self.irq,
            0x38: self.bypass,
            0x3C: self.pin_values,
            0x40: self.pin_directions,
            0x44: 32 << 16 | 4 << 8 | 4,
            0x128: self._raw,
        }
        return plain.get(offset, 0)

    def write_uint32(self, offset: int, value: int) -> None:
        if offset == 0x00:
            for machine in self.machines:
                if value >> 4 + machine.index & 1:
                    machine.restart()
                machine.enable(bool(value >> machine.index & 1))
        elif offset == 0x08:
            self.fdebug &= ~self.raw_write_value
        elif 0x10 <= offset < 0x20:
            self.machines[offset - 0x10 >> 2].put(value)
        elif offset == 0x30:
            self.irq &= ~self.raw_write_value
            self.irq_changed()
        elif offset == 0x34:
            self.irq |= value & 0xFF
            self.irq_changed()
        elif offset == 0x38:
            self.bypass = value
        elif 0x48 <= offset < 0xC8:
            self.instructions[offset - 0x48 >> 2] = value & 0xFFFF
        elif _SM0 <= offset < _SM0 + 4 * _SM_STEP:
            machine = self.machines[(offset - _SM0) // _SM_STEP]
            machine.write((offset - _SM0) % _SM_STEP, value)
        elif 0x12C <= offset <= 0x140:
            block, what = divmod(offset - 0x12C, 12)
            if what < 8:
                (self._forces if what else self._enables)[block] = value & 0xFFF
                self.check_interrupts()


def install(rp2040: RP2040, index: int = 0) -> Pio:
    """Puts this PIO in the place of the stock one, before the first instruction."""
    block = Pio(rp2040, index)
    rp2040.pio[index] = block
    rp2040.peripherals[BASES[index]] = block
    return block
