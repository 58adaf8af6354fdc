"""PIO1 of an RP2 at its registers: assembler, instruction memory, state machines, pins.

Owns what `clampdevice.hal.rp2.pulses` uses of it: JMP, WAIT on a pin, MOV, PUSH and PULL of words,
forced instructions. Stands in for the module `rp2` by `asm_pio`, `StateMachine` and `PIO`. Moves
in time only by `run`, a microsecond a step, which is one instruction of each machine.

Ref: RP2040 datasheet 3.4 and 3.5.7; MicroPython's ports/rp2/rp2_pio.c and modules/rp2.py.
"""

MASK = 0xFFFFFFFF
ROOM = 32
_NAMES = {"pin": 6, "x": 1, "y": 2, "isr": 6, "osr": 7, "x_dec": 2, "y_dec": 4}


class Assembler:
    """Two passes over a function, the first for its labels."""

    def __init__(self) -> None:
        self.labels: dict = {}
        self.words: list = []
        self.target = 0
        self.last = None

    def pass_over(self, function) -> list:
        self.words = []
        names = function.__globals__
        kept = dict(names)
        names.update(_NAMES)
        for name in ("jmp", "wait", "mov", "label", "wrap_target", "wrap"):
            names[name] = getattr(self, "_" + name)
        try:
            function()
        finally:
            names.clear()
            names.update(kept)
        return self.words

    def _label(self, name: str) -> None:
        self.labels[name] = len(self.words)

    def _wrap_target(self) -> None:
        self.target = len(self.words)

    def _wrap(self) -> None:
        self.last = len(self.words) - 1

    def _jmp(self, condition, label=None) -> None:
        if label is None:
            condition, label = 0, condition
        self.words.append(condition << 5 | self.labels.get(label, 0))

    def _wait(self, level: int, source: int, index: int) -> None:
        assert source == 6 and index == 0
        self.words.append(0x2000 | level << 7 | 1 << 5)

    def _mov(self, to: int, source: int) -> None:
        self.words.append(0xA000 | to << 5 | source)


class Program:
    def __init__(self, words: list, target: int, last: int) -> None:
        self.words = words
        self.target = target
        self.last = last
        self.at = -1  # in the instruction memory


class FakePio:
    """The module `rp2`. `taken`: numbers of state machines that are another's."""

    def __init__(self, levels: dict, taken: tuple = (), room: int = ROOM) -> None:
        self.levels = levels
        self.taken = taken
        self.room = room
        self.machines: dict = {}
        self.loaded: list = []

    def asm_pio(self):
        def assemble(function) -> Program:
            assembler = Assembler()
            assembler.pass_over(function)
            words = assembler.pass_over(function)
            assert assembler.last is not None
            return Program(words, assembler.target, assembler.last)

        return assemble

    def StateMachine(self, number, program, freq, in_base, jmp_pin):  # noqa: N802
        if number in self.taken:
            raise ValueError("StateMachine claimed by external resource")
        assert 4 <= number < 8 and in_base is jmp_pin and freq == 1000000
        if program.at < 0:
            if len(program.words) > self.room:
                raise OSError(12)
            self.room -= len(program.words)
            program.at = self.room
            self.loaded.append(program)
        machine = FakeMachine(self, program, jmp_pin)
        self.machines[number] = machine
        return machine

    def PIO(self, number: int):  # noqa: N802
        assert number == 1
        return self

    def remove_program(self, program: Program) -> None:
        self.loaded.remove(program)
        self.room += len(program.words)

    def run(self, us: int) -> None:
        for _ in range(us):
            for number in self.machines:
                machine = self.machines[number]
                if machine.enabled:
                    machine.step()


class FakeMachine:
    """One state machine, as `rp2.StateMachine` shows it. `deaf`: nothing can be forced."""

    def __init__(self, pio: FakePio, program: Program, pin) -> None:
        self._pio = pio
        self._program = program
        self._pin = pin
        self.enabled = self.deaf = False
        self.pc = 0
        self.x = self.y = self.isr = self.osr = 0x5A5A5A5A  # whatever was left
        self.tx: list = []
        self.rx: list = []

    def step(self) -> None:
        program = self._program
        at = self.pc
        self.pc = program.target if at == program.last else at + 1
        self._execute(program.words[at], at)

    def _execute(self, word: int, stay: int) -> None:
        kind, argument = word >> 13, word & 0xFF
        high = bool(self._pio.levels[self._pin.number])
        if kind == 0:
            condition, target = argument >> 5, argument & 31
            if condition == 2:
                taken = self.x != 0
                self.x = (self.x - 1) & MASK
            elif condition == 4:
                taken = self.y != 0
                self.y = (self.y - 1) & MASK
            else:
                assert condition in (0, 6), condition
                taken = condition == 0 or high
            if taken:
                self.pc = target
        elif kind == 1:
            assert argument & 0x7F == 0x20
            if high != bool(argument & 0x80):
                self.pc = stay
        elif kind == 4:
            assert not argument & 0x60, "stalls or waits for a full register"
            if argument & 0x80:
                self.osr = self.tx.pop(0) if self.tx else self.x
            else:
                if len(self.rx) < 4:
                    self.rx.append(self.isr)
                self.isr = 0
        elif kind == 5:
            self._move(argument)
        else:
            raise AssertionError("no such instruction here: " + hex(word))

    def _move(self, argument: int) -> None:
        source = argument & 7
        value = {1: self.x, 2: self.y, 3: 0, 6: self.isr, 7: self.osr}[source]
        if argument >> 3 & 3 == 1:
            value ^= MASK
        to = argument >> 5
        if to == 1:
            self.x = value
        elif to == 2:
            self.y = value
        else:
            assert to == 6, to
            self.isr = value

    # --- as MicroPython shows it ----------------------------------------------------------------

    def exec(self, word: int) -> None:
        if not self.deaf:
            self._execute(word, self.pc)

    def active(self, value=None) -> bool:
        if value is not None:
            self.enabled = bool(value)
        return self.enabled

    def restart(self) -> None:
        self.pc = 0
        self.isr = 0

    def put(self, value: int) -> None:
        assert len(self.tx) < 4, "it would block"
        self.tx.append(value)

    def rx_fifo(self) -> int:
        return len(self.rx)

    def get(self, buf) -> None:
        assert self.rx, "it would block"
        buf[0] = self.rx.pop(0)
