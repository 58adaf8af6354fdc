# ruff: noqa: F821 - the names are those of MicroPython's PIO assembler
# pyright: reportUndefinedVariable=false, reportCallIssue=false, reportIndexIssue=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportReturnType=false
"""Pulse counters of RP2040 and RP2350: inputs counted by state machines of PIO1, not by the CPU.

Owns the program, shared by all counters, and their state machines; who asks for what is
`inputs.py`. Nothing of the CPU is needed to count: a flash erase or a garbage collection costs no
pulse, whatever it lasts. A level counts once it has stood for the filter's time, looked at every
2 us: one shorter than that never does, one 5 us longer always; what is between two looks is not
seen. A pulse is counted when 1, which is a high or a low pin, has stood after a 0 that had. X
counts down, Y is the filter's time in looks, OSR holds where it begins.

The count is read while the machine runs: two instructions forced by the CPU copy X into ISR and
push it. A forced instruction is executed at once, in place of what the program is at, of which
the counter and a WAIT that stalls stay as they are; the program uses neither ISR nor its FIFO.

# Ref: RP2040 datasheet 3.4 (instructions) and 3.5.7 (forced instructions); ports/rp2/rp2_pio.c of
# MicroPython 1.28: a state machine that the radio has raises ValueError, a program that does not
# fit OSError.
"""

from array import array

# 1 kHz of equal halves leaves 0.4 ms for bounces.
FILTER_MS = 0.1
_STEP_HZ = 1000000
_LOOK_US = 2
_FIRST, _END = 4, 8  # the state machines of PIO1
_SET_X = 0xA02B  # mov x, ~null
_PULL = 0x8080  # pull noblock
_COPY = 0xA0C9  # mov isr, ~x
_PUSH = 0x8000  # push noblock


def _program(rp2, low: bool) -> list:
    """`low`: 1 is a low pin."""

    @rp2.asm_pio()
    def count() -> None:
        jmp(pin, "high")
        wrap_target()
        label("low")
        mov(y, osr)
        wait(1, pin, 0)
        label("rising")
        jmp(pin, "still")
        jmp("low")
        label("still")
        jmp(y_dec, "rising")
        if not low:
            jmp(x_dec, "high")  # there also at 0
        label("high")
        mov(y, osr)
        wait(0, pin, 0)
        label("falling")
        jmp(pin, "high")
        jmp(y_dec, "falling")
        if low:
            jmp(x_dec, "low")
        wrap()

    return count


class PulseCounters:
    """Counters by the index of their input.

    Args:
        rp2: the module.
        low: whether 1 is a low pin.

    Attributes:
        faults: reads that a state machine did not answer; its count stands meanwhile.
    """

    def __init__(self, rp2, low: bool) -> None:
        self._rp2 = rp2
        self._program = _program(rp2, low)
        self._loaded = False
        self._machines: dict = {}  # index: (state machine, looks)
        self._next = _FIRST
        self._totals: dict = {}
        self._before: dict = {}
        self._word = array("I", (0,))
        self._running = False
        self.faults = 0

    def add(self, index: int, pin, filter_ms: float) -> bool:
        """Counts an input too; False if no state machine of PIO1, or no room there, is left.

        Args:
            index: of the input.
            pin: its `machine.Pin`.
            filter_ms: how long a level must stand, 0 to 1,000.
        """
        while self._next < _END:
            number = self._next
            self._next += 1
            try:
                machine = self._rp2.StateMachine(
                    number, self._program, freq=_STEP_HZ, in_base=pin, jmp_pin=pin
                )
            except ValueError:
                continue  # another's
            except OSError:
                self._next = _END
                return False
            self._loaded = True
            looks = int(1000 * filter_ms + 0.5) // _LOOK_US
            self._machines[index] = (machine, looks)
            self._totals[index] = self._before[index] = 0
            return True
        return False

    def has(self, index: int) -> bool:
        """Whether an input is counted here."""
        return index in self._machines

    def start(self) -> None:
        """Counts from now on; what was counted before stays."""
        for index in self._machines:
            machine, looks = self._machines[index]
            machine.active(0)
            if self._running:
                self.pulses(index)
            machine.put(looks)
            machine.exec(_PULL)
            machine.exec(_SET_X)
            self._before[index] = 0
            machine.restart()
            machine.active(1)
        self._running = True

    def pulses(self, index: int) -> int:
        """The pulses of an input since the first `start`, of any size."""
        if not self._running:
            return 0
        machine = self._machines[index][0]
        machine.exec(_COPY)
        machine.exec(_PUSH)
        if not machine.rx_fifo():
            self.faults += 1
            return self._totals[index]
        while machine.rx_fifo():
            machine.get(self._word)
        now = self._word[0]
        self._totals[index] += (now - self._before[index]) & 0xFFFFFFFF
        self._before[index] = now
        return self._totals[index]

    def close(self) -> None:
        """Ends counting and frees the program's place."""
        for index in self._machines:
            self._machines[index][0].active(0)
        if self._loaded:
            self._rp2.PIO(1).remove_program(self._program)
            self._loaded = False
        self._machines = {}
