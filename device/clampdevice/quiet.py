"""The memory of the last windows of a channel, from which `floor.py` tells its noise."""

from array import array

_WINDOWS = 25  # 5 s


class QuietMeter:
    """RMS of the last 5 s of windows, in 1/4096 code. `note` allocates nothing.

    Attributes:
        rms_q: of each window that is noted, in no order.
        windows: how many are noted, at most `_WINDOWS`.
    """

    def __init__(self) -> None:
        self.rms_q = array("I", [0] * _WINDOWS)
        self._at = 0
        self.windows = 0

    def note(self, rms_q: int) -> None:
        """Takes up a window."""
        self.rms_q[self._at] = rms_q
        self._at = (self._at + 1) % _WINDOWS
        if self.windows < _WINDOWS:
            self.windows += 1

    def clear(self) -> None:
        """Samples were missing, or the last 5 s are not to count."""
        self._at = self.windows = 0
