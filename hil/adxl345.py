"""An ADXL345 at four GPIOs of the emulated Pico: SPI mode 3 edge by edge, FIFO, INT1.

Owns the chip's side of the bus and the truth about it: every frame made, read and lost, and every
breach of its timing. It samples in emulated time, whatever the Pico does.

Ref: ADXL345 data sheet, Rev. E: SPI p. 15 to 18, FIFO p. 21, registers p. 23 to 28, as far as the
sources named in `clampdevice.drivers.adxl345` tell them: mode 3, at most 5 MHz; in stream mode a
full FIFO drops its oldest; in bypass mode, as after power-up, the data registers may be read at
any time; an entry leaves at the end of the read of the data registers, which is the step from 0x37
to 0x38 or CS going high, and 5 us may pass until then; reading data clears the overrun bit.
"""

from collections import deque
from collections.abc import Callable

from emulator import Pico
from rp2040py.gpio_pin import GPIOPinState

Frame = tuple[int, int, int]
DEPTH = 32
POP_NS = 5000
CYCLE_NS = 200
CS_HIGH_NS = 150
_HALF_NS = 0.3 * CYCLE_NS
_LOW = GPIOPinState.LOW
_INT_SOURCE, _DATAX0, _DATAZ1, _FIFO_STATUS = 0x30, 0x32, 0x37, 0x39
_WRITABLE = range(0x1D, 0x3A)


def ramp(k: int) -> Frame:
    """Frame `k`: x and z count it, 13 bits and 10 bits; y stands still."""
    return k % 8192 - 4096, -77, k * 7 % 1024 - 512


class Adxl345:
    """One chip on wires.

    Args:
        pico: the board.
        sck, mosi, miso, cs, int1: GPIOs.
        frame: counts of frame k.
        ppm: by which its oscillator is off.

    Attributes:
        made, read, lost: frames sampled, read and overwritten since power-up.
        most: the fullest that the FIFO was.
        violations: of the data sheet, by what they are.
    """

    def __init__(
        self, pico: Pico, sck: int, mosi: int, miso: int, cs: int, int1: int,
        frame: Callable[[int], Frame] = ramp, ppm: float = 0.0,
    ) -> None:  # fmt: skip
        self._clock = pico.mcu.clock
        self._gpio = pico.mcu.gpio
        self._mosi, self._miso, self._int1 = mosi, miso, int1
        self._frame, self.ppm = frame, ppm
        self._sample = self._clock.create_alarm(self._on_sample)
        self._settle = self._clock.create_alarm(self._on_settled)
        self.registers = bytearray(64)
        self.registers[0x00], self.registers[0x2C] = 0xE5, 0x0A
        self.fifo: deque[int] = deque()
        self.made = self.read = self.lost = self.most = 0
        self.violations: dict[str, int] = {}
        self.overrun = self.silent = self.int1_cut = False
        self._selected = False
        self._cs_ns = self._sck_ns = self._popped_ns = -1e9
        self._due_ns = 0.0
        self._bits = self._value = self._out = self._at = 0
        self._touched = self._popping = self._reading = self._many = False
        self._done = 0
        self._gpio[cs].add_listener(self._on_cs)
        self._gpio[sck].add_listener(self._on_sck)
        self._show()

    def _breach(self, what: str) -> None:
        self.violations[what] = self.violations.get(what, 0) + 1

    # --- sampling --------------------------------------------------------------------------

    @property
    def rate_hz(self) -> float:
        """The true one."""
        return 3200 / (1 << 15 - (self.registers[0x2C] & 15)) * (1 + self.ppm * 1e-6)

    def _on_sample(self) -> None:
        self._due_ns += 1e9 / self.rate_hz
        self._sample.schedule(self._due_ns - self._clock.nanos)
        number = self.made
        self.made += 1
        if self.registers[0x38] >> 6 == 0:  # bypass: the registers hold the last one
            self.fifo.clear()
        elif len(self.fifo) >= DEPTH:
            self.fifo.popleft()
            self.lost += 1
            self.overrun = True
        self.fifo.append(number)
        self.most = max(self.most, len(self.fifo))
        self._show()

    def _measure(self, on: bool) -> None:
        if on:
            self._due_ns = self._clock.nanos + 1e9 / self.rate_hz
            self._sample.schedule(1e9 / self.rate_hz)
        else:
            self._sample.cancel()

    def _watermark(self) -> bool:
        level = self.registers[0x38] & 31
        return self.registers[0x38] >> 6 != 0 and len(self.fifo) >= max(1, level)

    def _show(self) -> None:
        """INT1 by enables and map; high is active."""
        sources = self._sources() & self.registers[0x2E] & ~self.registers[0x2F]
        level = bool(sources) and not self.int1_cut
        if self._gpio[self._int1].input_value != level:
            self._gpio[self._int1].set_input_value(level)

    def _sources(self) -> int:
        return bool(self.fifo) << 7 | self._watermark() << 1 | self.overrun

    def power_cycle(self) -> None:
        """A dip of the supply: standby, every register as after power-up."""
        self._measure(False)
        self.registers = bytearray(64)
        self.registers[0x00], self.registers[0x2C] = 0xE5, 0x0A
        self.fifo.clear()
        self.overrun = False
        self._show()

    # --- the bus ---------------------------------------------------------------------------

    def _on_cs(self, new: GPIOPinState, _old: GPIOPinState) -> None:
        now = self._clock.nanos
        low = int(new) == _LOW
        if low == self._selected:
            return
        self._selected = low
        if low:
            if now - self._cs_ns < CS_HIGH_NS:
                self._breach("CS high for less than 150 ns")
            if now - self._popped_ns < POP_NS:
                self._breach("less than 5 us after an entry was read")
            self._bits = self._value = 0
            self._at = -1
            self._touched = False
            self._popping = False
        else:
            if self._touched:
                self._pop()
            if self._popping:
                self._popped_ns = now  # the harder reading: the 5 us begin here
        self._cs_ns = now

    def _pop(self) -> None:
        self._touched = False
        self._popping = True
        self.overrun = False
        if self.fifo:
            self.fifo.popleft()
            self.read += 1
        elif self.registers[0x38] >> 6:
            self._breach("read of an empty FIFO")
        self._settle.schedule(POP_NS)  # the pin follows when the entry has left

    def _on_settled(self) -> None:
        self._show()

    def _on_sck(self, new: GPIOPinState, _old: GPIOPinState) -> None:
        if not self._selected:
            return
        now = self._clock.nanos
        if now - self._sck_ns < _HALF_NS:
            self._breach("a half of SCK of less than 60 ns")
        self._sck_ns = now
        if int(new) != _LOW:
            self._rising()
        elif self._bits >= 8 and self._reading:
            self._falling()

    def _falling(self) -> None:
        """The next bit of a read appears at SDO."""
        bit = self._bits % 8
        if bit == 0:
            self._out = 0 if self.silent else self._load()
        level = bool(self._out & 0x80 >> bit)
        gpio = self._gpio[self._miso]
        if gpio.input_value != level:
            gpio.set_input_value(level)

    def _rising(self) -> None:
        """A bit of SDI counts."""
        if self._bits < 8 or not self._reading:
            self._value = self._value << 1 & 0xFFFF | bool(
                self._gpio[self._mosi].output_value and self._gpio[self._mosi].output_enable
            )
        self._bits += 1
        if self._bits == 8:
            command = self._value & 0xFF
            self._reading = bool(command & 0x80)
            self._many = bool(command & 0x40)
            self._at = command & 0x3F
            self._done = 0
        elif self._bits % 8 == 0:
            if not self._reading:
                self._store(self._value & 0xFF)
            if self._many:
                self._at = self._at + 1 & 0x3F
            self._done += 1
            if self._touched and self._at == _DATAZ1 + 1:
                self._pop()

    def _load(self) -> int:
        """The register at the pointer."""
        at = self._at
        if self._done and not self._many:
            self._breach("several bytes without the bit that says so")
        if _DATAX0 <= at <= _DATAZ1:
            self._touched = True
            if not self.fifo:
                return 0
            value = self._frame(self.fifo[0])[(at - _DATAX0) // 2]
            return value >> 8 & 0xFF if at & 1 else value & 0xFF
        if at == _INT_SOURCE:
            return self._sources()
        if at == _FIFO_STATUS:
            return len(self.fifo)
        return self.registers[at]

    def _store(self, value: int) -> None:
        at = self._at
        if at not in _WRITABLE or at in (_INT_SOURCE, _FIFO_STATUS):
            self._breach(f"write to 0x{at:02X}")
            return
        before = self.registers[at]
        self.registers[at] = value
        if at == 0x38 and not value >> 6:
            self.fifo.clear()
            self.overrun = False
        if at == 0x2D and (before ^ value) & 8:
            self._measure(bool(value & 8))
        self._show()
