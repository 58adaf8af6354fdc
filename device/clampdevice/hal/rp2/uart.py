"""The console over a UART: DMA receives into a ring, DMA sends; no interrupt and no wait.

The receive FIFO holds 32 bytes and MicroPython empties it by interrupt, which a flash erase
holds up for 45 to 400 ms (518 to 4,600 bytes at 115,200 baud). Owns the UART's interrupt mask,
its DMA requests and the ring.

Ref: RP2040 datasheet 4.2.8: UARTDR 0x00, UARTRSR 0x04, UARTIMSC 0x38, UARTDMACR 0x48.
"""

from clampdevice.hal.rp2.memory import aligned_array

RING_BITS = 13  # 8 KB: 710 ms at 115,200 baud
RING = 1 << RING_BITS
TURNS = 2 * RING  # the position is known modulo two rings, so that a lap is seen
SEND_BYTES = 512
_BLOCK = 256
_MARK_BITS = 8  # 64 marks of four bytes
_WRITE_ADDR = 1
_TRANS_COUNT = 2
_AL1_CTRL = 4
_DMA_RX_TX = 3


class UartConsole:
    """Raw bytes both ways.

    Args:
        uart: number of the UART, set up by the caller (pins, baud rate, 8N1).
        chip: of `chips`.
        mem32: `machine.mem32`.
        new_dma: `rp2.DMA`; called three times.
        memory: see `memory.aligned_array`.

    Attributes:
        overruns: how often received bytes were overwritten because nobody read for so long.
        line_errors: looks at which the UART had seen broken characters, breaks or overruns.
    """

    hung_up = False

    def __init__(self, uart: int, chip, mem32, new_dma, memory) -> None:
        base = chip.uart_bases[uart]
        self._mem32 = mem32
        self._timer = chip.timer_raw
        self._data = base
        self._errors = base + 0x04
        self._mask = base + 0x38
        self._requests = base + 0x48
        self._dreq_rx = chip.dreq_uart_rx[uart]
        self._dreq_tx = chip.dreq_uart_tx[uart]
        self._words, index = aligned_array("I", RING // 4, RING, memory)
        self._ring = memoryview(memory.bytes_of(self._words))[4 * index : 4 * index + RING]
        self._ring_address = memory.addressof(self._words) + 4 * index
        # One word a block, written for its position alone.
        self._marks, index = aligned_array("I", TURNS // _BLOCK, 4 * TURNS // _BLOCK, memory)
        self._marks_address = memory.addressof(self._marks) + 4 * index
        self._out = bytearray(SEND_BYTES)
        self._receive, self._mark, self._send = new_dma(), new_dma(), new_dma()
        self._receive_regs = self._receive.registers
        self._mark_regs = self._mark.registers
        self._read = 0
        self.overruns = self.line_errors = 0

    def start(self) -> None:
        """Takes the UART over from its interrupts."""
        self._mem32[self._mask] = 0
        self._mem32[self._requests] = _DMA_RX_TX
        receive, mark = self._receive, self._mark
        # A block and again, for ever: a single count of 2**28 would end after some hours.
        receive.config(
            read=self._data,
            write=self._ring_address,
            count=_BLOCK,
            ctrl=receive.pack_ctrl(
                size=0, inc_read=False, inc_write=True, ring_sel=True, ring_size=RING_BITS,
                treq_sel=self._dreq_rx, chain_to=mark.channel,
            ),
            trigger=False,
        )  # fmt: skip
        mark.config(
            read=self._timer,
            write=self._marks_address,
            count=1,
            ctrl=mark.pack_ctrl(
                size=2, inc_read=False, inc_write=True, ring_sel=True, ring_size=_MARK_BITS,
                chain_to=receive.channel,
            ),
            trigger=False,
        )  # fmt: skip
        self._read = 0
        receive.active(1)

    def close(self) -> None:
        """Ends receiving and gives the DMA channels back."""
        self._mem32[self._requests] = 0
        for dma in (self._receive, self._mark, self._send):
            registers = dma.registers
            registers[_AL1_CTRL] = registers[_AL1_CTRL] & ~1
        for dma in (self._receive, self._mark, self._send):
            dma.close()

    def read(self) -> bytes:
        """What has arrived, b"" if nothing."""
        if self._mem32[self._errors] & 0xF:
            self._mem32[self._errors] = 0
            self.line_errors += 1
        position = self._position()
        waiting = (position - self._read) % TURNS
        if not waiting:
            return b""
        if waiting > RING - _BLOCK:
            self.overruns += 1
            self._read = position
            return b""  # the framing finds its way from whatever comes next
        start = self._read % RING
        data = bytes(self._ring[start : min(start + waiting, RING)])
        self._read = (self._read + len(data)) % TURNS
        return data

    def _position(self) -> int:
        """Bytes received since `start`, modulo `TURNS`."""
        while True:
            blocks = (self._mark_regs[_WRITE_ADDR] - self._marks_address) >> 2
            left = self._receive_regs[_TRANS_COUNT]
            if blocks == (self._mark_regs[_WRITE_ADDR] - self._marks_address) >> 2:
                return (blocks * _BLOCK + (_BLOCK - left if left else 0)) % TURNS

    def write(self, view: memoryview) -> int:
        """Hands up to 512 bytes to the DMA; 0 while the last ones are on their way."""
        if self._send.active():
            return 0
        count = min(len(view), SEND_BYTES)
        self._out[:count] = view[:count]
        self._send.config(
            read=self._out,
            write=self._data,
            count=count,
            ctrl=self._send.pack_ctrl(
                size=0, inc_read=True, inc_write=False, treq_sel=self._dreq_tx
            ),
            trigger=True,
        )
        return count
