"""A register file of RP2040 or RP2350: ADC, DMA, timer and UART as the datasheets tell them.

Owns what no emulator here can do: the RP2350's addresses and DMA fields, ticks that wrap, memory
at chosen addresses. Moves in time only by `advance`. Stands in for `machine.mem32`, `rp2.DMA`
(by `new_dma`) and the memory functions of `clampdevice.hal.rp2.memory`.
"""

TICKS_MASK = 0x3FFFFFFF
ANY_TREQ = 63
START_MANY = 1 << 3
OVER = 1 << 11


class Signal:
    """Codes by input and time; the default shows input and frame in every code."""

    def code(self, number: int, sample: int, _now_us: int) -> int:
        if number == 4:
            return 876
        return 2000 + 100 * number + (sample & 63)


class FakeRp2:
    """The chip. `at_us` is where its timer starts, 0 to 2**32 - 1."""

    def __init__(self, chip, at_us: int = 0, signal=None) -> None:
        self.chip = chip
        self.signal = signal or Signal()
        self.cycles = 0  # of 48 MHz, since the start
        self._at_us = at_us
        self.cs = self.fcs = self.div = 0
        self.fifo: list = []
        self.fifo_depth = 4
        self.begun = self.dropped = 0
        self._next = None  # cycles at which the next conversion begins
        self.channels: list = []
        self.words: dict = {}  # any other register
        self._regions: list = []
        self._free = 0x20001230
        self._blank = 0
        self.uart_in: list = []
        self.uart_out: list = []

    # --- memory --------------------------------------------------------------------------------

    def blank(self, size: int) -> bytes:
        self._blank = size
        return bytes(size)

    def addressof(self, buffer) -> int:
        for address, known, _size in self._regions:
            if known is buffer:
                return address
        size = 1 if isinstance(buffer, bytearray) else self._blank // len(buffer)
        address = self._free
        self._free += (size * len(buffer) + 15) & ~15
        self._regions.append((address, buffer, size))
        return address

    def bytes_of(self, words) -> "WordBytes":
        return WordBytes(words)

    def store(self, address: int, size: int, value: int) -> None:
        for start, buffer, item in self._regions:
            at = address - start
            if 0 <= at < item * len(buffer):
                if size == item:
                    buffer[at // item] = value
                else:  # a byte of a word
                    shift = 8 * (at % item)
                    buffer[at // item] = buffer[at // item] & ~(0xFF << shift) | value << shift
                return
        self[address] = value

    def load(self, address: int, _size: int) -> int:
        for start, buffer, item in self._regions:
            at = address - start
            if 0 <= at < item * len(buffer):
                return buffer[at // item]
        return self[address]

    # --- registers -----------------------------------------------------------------------------

    @property
    def now_us(self) -> int:
        return self._at_us + self.cycles // 48

    def ticks_us(self) -> int:
        return self.now_us & TICKS_MASK

    def __getitem__(self, address: int) -> int:
        adc = self.chip.adc_base
        if address == self.chip.timer_raw:
            return self.now_us & 0xFFFFFFFF
        if address == adc:
            return self.cs | 1 << 8
        if address == adc + 8:
            level = len(self.fifo)
            return self.fcs | level << 16 | (0 if level else 1 << 8)
        if address == adc + 12:
            return self.fifo.pop(0) if self.fifo else 0
        for base in self.chip.uart_bases:
            if address == base:
                return self.uart_in.pop(0)
        return self.words.get(address, 0)

    def __setitem__(self, address: int, value: int) -> None:
        adc = self.chip.adc_base
        if address == adc:
            was = self.cs
            self.cs = value
            if value & START_MANY and not was & START_MANY:
                self._next = self.cycles
            elif not value & START_MANY:
                self._next = None
        elif address == adc + 8:
            kept = self.fcs & OVER & ~value
            self.fcs = kept | value & ~(OVER | 1 << 10)
        elif address == adc + 16:
            self.div = value
        elif address in self.chip.uart_bases:
            self.uart_out.append(value)
        else:
            self.words[address] = value

    # --- time ----------------------------------------------------------------------------------

    def advance(self, us: int) -> None:
        """Lets conversions and DMA go on for that long."""
        end = self.cycles + 48 * us
        period = max(96, 1 + (self.div >> 8))
        while self._next is not None and self._next + 96 <= end:
            self.cycles = self._next + 96
            self._next += period
            self.convert()
        self.cycles = end
        self.serve()

    def convert(self) -> None:
        """One conversion of the input that is due, into the FIFO and on."""
        number = self.cs >> 12 & 15
        chosen = self.cs >> 16 & 0x1FF
        code = self.signal.code(number, self.begun, self.now_us)
        self.begun += 1
        if chosen:
            number = (number + 1) % 9
            while not chosen >> number & 1:
                number = (number + 1) % 9
            self.cs = self.cs & ~(15 << 12) | number << 12
        if len(self.fifo) >= self.fifo_depth:
            self.fcs |= OVER
            self.dropped += 1
        else:
            self.fifo.append(code)
        self.serve()

    def serve(self) -> None:
        """DMA takes what is there."""
        for channel in self.channels:
            while channel.busy and channel.wants(self):
                channel.transfer(self)

    def new_dma(self) -> "FakeDma":
        return FakeDma(self)


class WordBytes:
    """Words seen as bytes, for memoryview's slices."""

    def __init__(self, words, start: int = 0, stop: int = -1) -> None:
        self._words = words
        self._start = start
        self._stop = 4 * len(words) if stop < 0 else stop

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, part) -> bytes:
        found = bytearray()
        for at in range(self._start + part.start, self._start + part.stop):
            found.append(self._words[at // 4] >> 8 * (at % 4) & 0xFF)
        return bytes(found)


class FakeDma:
    """One channel, as `rp2.DMA` shows it; control words have the chip's own layout."""

    def __init__(self, machine: FakeRp2) -> None:
        self._machine = machine
        self.channel = len(machine.channels)
        machine.channels.append(self)
        new = machine.chip.name == "rp2350"
        # Positions: size, inc_read, inc_write, ring_size, ring_sel, chain_to, treq_sel
        self._at = (2, 4, 6, 8, 12, 13, 17) if new else (2, 4, 5, 6, 10, 11, 15)
        self.registers = FakeRegisters(self)
        self.read_address = self.write_address = self.left = self.reload = self.ctrl = 0
        self.busy = self.closed = False

    def pack_ctrl(self, **fields) -> int:  # noqa: ANN003
        values = (
            fields.pop("size", 2),
            fields.pop("inc_read", True),
            fields.pop("inc_write", True),
            fields.pop("ring_size", 0),
            fields.pop("ring_sel", False),
            fields.pop("chain_to", self.channel),
            fields.pop("treq_sel", ANY_TREQ),
        )
        word = 1 | bool(fields.pop("high_pri", False)) << 1
        assert not fields, fields
        for value, at in zip(values, self._at):
            word |= int(value) << at
        return word

    def _field(self, index: int, width: int) -> int:
        return self.ctrl >> self._at[index] & ((1 << width) - 1)

    def config(self, read=None, write=None, count=None, ctrl=None, trigger=False) -> None:
        if read is not None:
            self.read_address = self._address(read)
        if write is not None:
            self.write_address = self._address(write)
        if count is not None:
            assert 0 < count < 1 << 28  # the upper four bits are the mode on RP2350
            self.reload = count
        if ctrl is not None:
            self.ctrl = ctrl
        if trigger:
            self.start()

    def _address(self, what) -> int:
        return what if isinstance(what, int) else self._machine.addressof(what)

    def active(self, value=None) -> bool:
        if value:
            self.start()
        elif value is not None:
            assert not self.ctrl & 1, "aborted while enabled: its chain may start another"
            self.busy = False
        return self.busy

    def close(self) -> None:
        self.busy = False
        self.closed = True

    def start(self) -> None:
        if self.ctrl & 1 and not self.busy:
            self.busy = True
            self.left = self.reload
            while self.busy and self.wants(self._machine):
                self.transfer(self._machine)

    def wants(self, machine: FakeRp2) -> bool:
        treq = self._field(6, 6)
        if not self.ctrl & 1:
            return False
        if treq == ANY_TREQ:
            return True
        if treq == machine.chip.dreq_adc:
            return bool(machine.fifo) and bool(machine.fcs & 1 << 3)
        if treq in machine.chip.dreq_uart_rx:
            return bool(machine.uart_in)
        return treq in machine.chip.dreq_uart_tx

    def transfer(self, machine: FakeRp2) -> None:
        size = 1 << self._field(0, 2)
        machine.store(self.write_address, size, machine.load(self.read_address, size))
        if self._field(1, 1):
            self.read_address += size
        if self._field(2, 1):
            ring = self._field(3, 4)
            mask = (1 << ring) - 1 if ring and self._field(4, 1) else 0xFFFFFFFF
            after = self.write_address + size
            self.write_address = self.write_address & ~mask | after & mask
        self.left -= 1
        if not self.left:
            self.busy = False
            chain = self._field(5, 4)
            if chain != self.channel:
                machine.channels[chain].start()


class FakeRegisters:
    """`DMA.registers`: READ_ADDR, WRITE_ADDR, TRANS_COUNT, CTRL_TRIG, AL1_CTRL, ..."""

    def __init__(self, dma: FakeDma) -> None:
        self._dma = dma

    def __getitem__(self, index: int) -> int:
        dma = self._dma
        return (dma.read_address, dma.write_address, dma.left, dma.ctrl, dma.ctrl)[index]

    def __setitem__(self, index: int, value: int) -> None:
        assert index == 4, index  # the only one that starts nothing
        self._dma.ctrl = value
