"""Levels counted by their logarithm, and the valley that parts them in two.

Owns the histogram, its ageing and its bytes, and the test whether there are two levels at all.
Whose levels these are, and what the two mean, is `learner.py`. Everything is integers and single
floats; counting allocates nothing but the logarithm.
"""

import math
from array import array

_PER_OCTAVE = 8  # a bin is 9 %
LOWEST = 1 / 1024  # in the unit of the level: A or m/s2; what is less counts as this
BINS = 160  # up to 1,000 A
# Beyond so many windows (an hour of running) all counts are halved: what is long gone fades.
MOST = 18000

# A level needs this many windows (5 s) and this share of all.
_LEAST_WINDOWS = 25
LEAST_SHARE = 0.05
# The valley holds at most this share of the lower of the two peaks beside it.
VALLEY = 0.25
# The typical levels on both sides are this far apart: three bins are 30 %.
_APART_BINS = 3

_KERNEL = (1, 2, 3, 2, 1)


def bin_of(level: float) -> int:
    """The bin of a level."""
    if level <= LOWEST:
        return 0
    return min(BINS - 1, int(math.log(level / LOWEST) * (_PER_OCTAVE / 0.6931472)))


def level_of(place: float) -> float:
    """The level at a place in bins; k + 0.5 is the middle of bin k."""
    return LOWEST * math.pow(2.0, place / _PER_OCTAVE)


class Histogram:
    """Counts of levels. `total` is their sum."""

    def __init__(self) -> None:
        self.counts = array("H", [0] * BINS)
        self.total = 0

    def add(self, level: float) -> None:
        """Counts one window."""
        self.counts[bin_of(level)] += 1
        self.total += 1
        if self.total >= MOST:
            self._fade()

    def _fade(self) -> None:
        counts = self.counts
        total = 0
        for i in range(BINS):
            counts[i] >>= 1
            total += counts[i]
        self.total = total

    def clear(self) -> None:
        for i in range(BINS):
            self.counts[i] = 0
        self.total = 0

    def load(self, counts) -> None:
        """Takes `BINS` counts that were kept."""
        total = 0
        for i in range(BINS):
            self.counts[i] = counts[i]
            total += counts[i]
        self.total = total

    def split(self) -> float | None:
        """The level between two, in the middle of the valley; None where there are not two.

        Of all places where enough windows lie on both sides and the smoothed counts are low, it
        is the one with the largest variance between the sides (Otsu's criterion on the
        logarithm); where many are alike, across a gap, the middle of them.
        """
        counts = self.counts
        total = self.total
        least = max(_LEAST_WINDOWS, int(LEAST_SHARE * total))
        if total < 2 * least:
            return None
        smooth = self._smooth()
        peak_right = array("I", [0] * (BINS + 1))  # the highest from i on
        for i in range(BINS - 1, -1, -1):
            peak_right[i] = max(peak_right[i + 1], smooth[i])
        moment = 0
        for i in range(BINS):
            moment += i * counts[i]
        below = below_moment = peak_left = 0
        best = 0.0
        first = last = -1
        for i in range(BINS - 1):
            below += counts[i]
            below_moment += i * counts[i]
            peak_left = max(peak_left, smooth[i])
            rest = total - below
            if below < least or rest < least:
                continue
            peak = min(peak_left, peak_right[i + 1])
            if smooth[i] + smooth[i + 1] > 2 * VALLEY * peak:
                continue
            apart = (moment - below_moment) / rest - below_moment / below
            between = apart * apart * (below / total) * (rest / total)
            if between > best * 1.0001:
                best = between
                first = last = i
            elif last == i - 1 and between > best * 0.9999:
                last = i
        if first < 0:
            return None
        cut = (first + last) / 2 + 1  # the edge between bins
        low, high = self.sides(level_of(cut))
        if bin_of(high[0]) - bin_of(low[0]) < _APART_BINS:
            return None
        return level_of(cut)

    def sides(self, above: float) -> tuple:
        """((median, windows) below `above`, the same for the rest); LOWEST where none are."""
        edge = bin_of(above)
        low = 0
        for i in range(edge):
            low += self.counts[i]
        high = self.total - low
        medians = [
            level_of(self._place(first + count // 2) + 0.5) if count else LOWEST
            for first, count in ((0, low), (low, high))
        ]
        return (medians[0], low), (medians[1], high)

    def median(self) -> float:
        """The level that half of the windows reach; LOWEST without any."""
        return level_of(self._place(self.total // 2) + 0.5) if self.total else LOWEST

    def _place(self, rank: int) -> int:
        """The bin of the window with this rank, 0 for the lowest."""
        passed = 0
        for i in range(BINS):
            passed += self.counts[i]
            if passed > rank:
                return i
        return BINS - 1

    def _smooth(self):  # noqa: ANN202 - an array, which device code cannot name as a type
        """Counts joined with their neighbours, a third of an octave wide: at most 1/9 is lost."""
        smooth = array("I", [0] * BINS)
        for i in range(BINS):
            total = 0
            for k in range(5):
                j = i + k - 2
                if 0 <= j < BINS:
                    total += _KERNEL[k] * self.counts[j]
            smooth[i] = total
        return smooth
