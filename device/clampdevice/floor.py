"""The noise floor of a channel: measured by command with nothing running, or learned when off.

Owns the memory of the last windows and the judgement whether they are noise. Noise stands still:
over windows of n samples its RMS moves by a part in sqrt(2 n), a load or a motor that runs down
by far more. What flows steadily cannot be told from noise this way, so a floor is bounded to a
share of the range, and is learned only where board.json says so.
"""

from array import array
from math import sqrt

WINDOWS = 25  # 5 s
LEAST_WINDOWS = 10
# Largest floor, as a share of full scale.
MOST_SHARE = 0.02
LEARN_SHARE = 0.005
# Mains hum and a clock of its own make noise less steady than chance alone does.
_SPREAD = 3.0
LEARN_S = 10
CHANGE = 0.2  # a learned floor takes effect when it differs by this share


class FloorError(ValueError):
    """No floor can be measured now; the message says why."""


class QuietMeter:
    """RMS of the last 5 s of windows, in 1/4096 code. `note` allocates nothing.

    Attributes:
        windows: how many are noted, at most `WINDOWS`.
    """

    def __init__(self) -> None:
        self._rms_q = array("I", [0] * WINDOWS)
        self._at = 0
        self.windows = 0

    def note(self, rms_q: int) -> None:
        """Takes up a window."""
        self._rms_q[self._at] = rms_q
        self._at = (self._at + 1) % WINDOWS
        if self.windows < WINDOWS:
            self.windows += 1

    def clear(self) -> None:
        """Samples were missing, or the last 5 s are not to count."""
        self._at = self.windows = 0

    def floor_q(self, full_scale_q: float, samples: int, share: float = MOST_SHARE) -> float:
        """RMS of the noise in the last windows, in 1/4096 code.

        Args:
            full_scale_q: RMS of the largest sine, in the same unit.
            samples: in a window.
            share: largest floor, of full scale.

        Raises:
            FloorError: too few windows, too much, or not steady.
        """
        if self.windows < LEAST_WINDOWS:
            have = self.windows
            raise FloorError(f"{have} windows of 200 ms so far, {LEAST_WINDOWS} needed: wait")
        square = 0.0
        low = high = self._rms_q[0]
        for i in range(self.windows):
            each = self._rms_q[i]
            low = min(low, each)
            high = max(high, each)
            square += float(each) * each
        floor_q = sqrt(square / self.windows)
        if floor_q > share * full_scale_q:
            pct = 100 * floor_q / full_scale_q
            raise FloorError(
                f"{pct:.2g} % of full scale is no noise (at most {100 * share:.2g} %): "
                "switch the machine off, or look for hum"
            )
        # Of 25 Gaussian values the range is about 4 standard deviations.
        bound = _SPREAD * 4 / sqrt(2 * samples) * floor_q + 41  # 0.01 code for the rounding
        if high - low > bound:
            lsb = 4096.0
            raise FloorError(
                f"not steady: {low / lsb:.3g} to {high / lsb:.3g} codes in 5 s; something runs"
            )
        return floor_q
