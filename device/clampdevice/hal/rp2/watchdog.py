"""The chip's watchdog: resets a firmware that hangs, and leaves the prompt to a human.

Owns the timer and the one thing that MicroPython does not offer, its stop: after Ctrl-C nobody
feeds it, and mpremote would be thrown out. When to feed it is the application's business.

Ref: RP2040 datasheet 4.7.6: CTRL at 0x00 with ENABLE in bit 30, REASON at 0x08 with TIMER and
FORCE; the same on RP2350.
"""

TIMEOUT_MS = 8000  # the most is 8,388; two erases and an import must fit
_ENABLE = 1 << 30
_CLEAR = 0x3000  # offset of the alias that clears bits
_REASON = 0x08
_TIMER = 1
_FORCE = 2

# Numbers of messages.RESET_CAUSES
POWER_ON = 1
HARD_RESET = 2
WATCHDOG = 3


class Watchdog:
    """Off until `start`.

    Args:
        new_wdt: `machine.WDT`.
        chip: of `chips`.
        mem32: `machine.mem32`.
    """

    def __init__(self, new_wdt, chip, mem32) -> None:
        self._new_wdt = new_wdt
        self._mem32 = mem32
        self._ctrl = chip.watchdog_base
        self._wdt = None

    @property
    def running(self) -> bool:
        return self._wdt is not None

    def start(self) -> None:
        """From now on `feed` is due at least every 8 seconds."""
        self._wdt = self._new_wdt(timeout=TIMEOUT_MS)

    def feed(self) -> None:
        if self._wdt is not None:
            self._wdt.feed()

    def stop(self) -> None:
        """Ends it; nothing is reset."""
        self._mem32[self._ctrl + _CLEAR] = _ENABLE
        self._wdt = None

    def reset_cause(self) -> int:
        """Why the chip started, as a number of messages.RESET_CAUSES."""
        reason = self._mem32[self._ctrl + _REASON]
        if reason & _TIMER:
            return WATCHDOG
        if reason & _FORCE:
            return HARD_RESET  # by machine.reset()
        return POWER_ON
