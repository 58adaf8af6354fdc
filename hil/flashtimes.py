"""A flash that takes its time: the core stands still, interrupts off, everything else goes on.

Owns how long an erase and a page program last. The firmware runs both with all interrupts masked
and code in SRAM, so the only thing the core could do meanwhile is poll a status bit: emulated
time is moved on by the whole duration at once, with DMA, ADC, timer and USB hardware at work.
Stock rp2040py erases a sector in 0.15 ms.

Ref: W25Q16JV datasheet: sector erase 45 ms typical, 400 ms maximum; page program 0.4 and 3 ms.
"""

from rp2040py.peripherals import ssi
from rp2040py.rp2040 import RP2040

TYPICAL_MS = (0.4, 45.0)
WORST_MS = (3.0, 400.0)
_ERASES = (ssi.CMD_SECTOR_ERASE, ssi.CMD_BLOCK_ERASE)


class FlashTimes:
    """Durations of one device's flash, and a count of what it did.

    Attributes:
        page_ms, sector_ms: how long each program and erase lasts; 0 as shipped by the emulator.
        pages, sectors: programs and erases since the last `clear`.
        stalled_ms: emulated time the core stood still for them.
    """

    def __init__(self, rp2040: RP2040) -> None:
        self.page_ms = self.sector_ms = 0.0
        self.pages = self.sectors = 0
        self.stalled_ms = 0.0
        self._clock = rp2040.clock
        chip = rp2040.ssi
        apply_command = chip._apply_command  # noqa: SLF001 - the one place a command takes effect

        def apply_slowly() -> None:
            command = chip._tx_buffer[0] if chip._tx_buffer else None  # noqa: SLF001
            enabled = chip._write_enabled  # noqa: SLF001
            apply_command()
            if not enabled:
                return
            if command in _ERASES:
                self.sectors += 1
                self._stall(self.sector_ms)
            elif command == ssi.CMD_PAGE_PROGRAM:
                self.pages += 1
                self._stall(self.page_ms)

        chip._apply_command = apply_slowly  # noqa: SLF001

    def _stall(self, ms: float) -> None:
        if ms:
            self.stalled_ms += ms
            self._clock.tick(ms * 1e6)

    def set(self, times_ms: tuple[float, float]) -> None:
        """Page and sector time, e.g. `TYPICAL_MS`."""
        self.page_ms, self.sector_ms = times_ms

    def clear(self) -> None:
        self.pages = self.sectors = 0
        self.stalled_ms = 0.0
