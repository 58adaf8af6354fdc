"""The FIFOs of a state machine of a PIO, with their DMA requests.

Owns words in and out, joining, levels and flags; what fills and empties them is the machine.

Ref: RP2040 datasheet 3.5.4 and 3.7: a changed FJOIN empties both; a write to a full TX FIFO and a
read of an empty RX FIFO do nothing but set TXOVER and RXUNDER.
"""

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pio import Pio

_MASK = 0xFFFFFFFF
_JOIN_TX, _JOIN_RX = 1 << 30, 1 << 31


class Fifos:
    """TX and RX of machine `index` of a block."""

    def __init__(self, block: "Pio", index: int) -> None:
        self._block = block
        self._chip = block.rp2040
        self.index = index
        self._dreq_tx = 8 * block.index + index
        self._dreq_rx = self._dreq_tx + 4

    def reset_fifos(self) -> None:
        """As after power-up."""
        self.shiftctrl = 0b11 << 18
        self.tx: deque[int] = deque()
        self.rx: deque[int] = deque()
        self._request()

    def check_wait(self) -> None:
        """What a stalled instruction waits for may have come."""
        raise NotImplementedError

    def set_shiftctrl(self, value: int) -> None:
        """SHIFTCTRL; the shifting is the machine's."""
        joined = (self.shiftctrl ^ value) & (_JOIN_TX | _JOIN_RX)
        self.shiftctrl = value
        if joined:
            self.tx.clear()
            self.rx.clear()
            self._request()

    @property
    def _depths(self) -> tuple[int, int]:
        """Of TX and RX."""
        if self.shiftctrl & _JOIN_TX:
            return 8, 0
        return (0, 8) if self.shiftctrl & _JOIN_RX else (4, 4)

    def _request(self) -> None:
        dma = self._chip.dma
        room = len(self.tx) < self._depths[0]
        (dma.set_dreq if room else dma.clear_dreq)(self._dreq_tx)
        (dma.set_dreq if self.rx else dma.clear_dreq)(self._dreq_rx)
        self._block.check_interrupts()

    def put(self, value: int) -> None:
        """A word from the bus."""
        if len(self.tx) >= self._depths[0]:
            self._block.fdebug |= 1 << 16 + self.index
            return
        self.tx.append(value & _MASK)
        self._request()
        self.check_wait()

    def get(self) -> int:
        """A word to the bus."""
        if not self.rx:
            self._block.fdebug |= 1 << 8 + self.index
            return 0
        value = self.rx.popleft()
        self._request()
        self.check_wait()
        return value

    @property
    def status(self) -> int:
        """This machine's bits of FSTAT."""
        tx, rx = self._depths
        bits = (not self.tx) << 24 | (len(self.tx) >= tx) << 16
        return (bits | (not self.rx) << 8 | (len(self.rx) >= rx)) << self.index
