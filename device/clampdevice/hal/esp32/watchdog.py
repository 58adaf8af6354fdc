"""The task watchdog: resets a firmware that hangs, and leaves the prompt to a human.

It cannot be stopped on this port. So after Ctrl-C it waits for a day, because a soft reset, which
mpremote makes, ends all timers; and a timer feeds it, because a prompt that is left alone is
nobody's fault. When to feed it before is the application's business.

Ref: MicroPython docs/library/machine.WDT.rst; ports/esp32/machine_wdt.c, where another WDT
configures the one there is anew; ports/esp32/main.c (soft_reset_exit); ports/esp32/modmachine.c
(reset_reason_t).
"""

TIMEOUT_MS = 8000
FEED_MS = 1000
STOPPED_MS = 86400000
# machine.reset_cause() of this port to a number of messages.RESET_CAUSES; waking from deep sleep
# is a start like any other
_CAUSES = ((1, 1), (2, 2), (3, 3), (4, 1), (5, 4))
_UNKNOWN = 0


def reset_cause(number: int) -> int:
    """Why the chip started, as a number of messages.RESET_CAUSES."""
    for ours, cause in _CAUSES:
        if ours == number:
            return cause
    return _UNKNOWN


class Watchdog:
    """Off until `start`.

    Args:
        new_wdt: `machine.WDT`.
        feed_by_timer: called with a period in ms and a callback; makes a timer that runs on.
    """

    def __init__(self, new_wdt, feed_by_timer) -> None:
        self._new_wdt = new_wdt
        self._feed_by_timer = feed_by_timer
        self._wdt = None
        self._timer = None

    @property
    def running(self) -> bool:
        """Whether it would reset a firmware that no longer calls `feed`."""
        return self._wdt is not None and self._timer is None

    def start(self) -> None:
        """From now on `feed` is due at least every 8 seconds."""
        self._wdt = self._new_wdt(timeout=TIMEOUT_MS)
        if self._timer is not None:
            self._timer.deinit()
            self._timer = None

    def feed(self) -> None:
        if self._wdt is not None:
            self._wdt.feed()

    def stop(self) -> None:
        """From now on it has a day, and a timer feeds it; nothing is reset."""
        if self._wdt is not None and self._timer is None:
            self._wdt = self._new_wdt(timeout=STOPPED_MS)
            self._wdt.feed()
            self._timer = self._feed_by_timer(FEED_MS, self._on_timer)

    def _on_timer(self, _timer) -> None:
        self.feed()
