"""Whether two sensors that recorded the same motion agree on how strong it was.

Owns the limit and the evidence without which nothing is said. Levels are those that the firmware
measured of each sensor by itself; they are set against each other and never averaged, since a
mean of a right and a wrong sensor is a third number, and wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clamptools.recording import Recording

# Larger level to smaller. Two calibrated sensors on one body differ by a percent or a few; a gain
# that was never set, or a wrong range (a factor of 2 or more), is beyond this.
LIMIT = 1.1
# The samples have to follow each other at least so far, or they are no evidence of a gain: two
# sensors at rest have each its own noise, and that may differ by any factor.
CORRELATION = 0.5
# Windows that count: those in which the geometric mean of both levels is at least this part of its
# largest; and so many of them, a second, are evidence.
STRONG = 0.5
WINDOWS_MIN = 5
_LAG_S = 0.02  # clocks of two sensors may differ by so much
_CORRELATED = 5  # windows that are looked at sample by sample


@dataclass(frozen=True)
class Comparison:
    """Two sensors of one motion.

    Attributes:
        columns: Their names in the recording.
        rms: Median of each one's level over the strong windows, in the recording's unit.
        windows: How many windows these are.
        ratio: Median of the windows' ratios, the larger to the smaller; NaN where one is silent.
        limit: LIMIT.
        correlation: Of the samples, at the best lag within 20 ms.
        agree: None where there is no evidence.
        why: In words.
    """

    columns: tuple[str, str]
    rms: tuple[float, float]
    windows: int
    ratio: float
    limit: float
    correlation: float
    agree: bool | None
    why: str

    def as_json(self) -> dict[str, Any]:
        """For one line of JSON: numbers of 7 digits, null for what there is not."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    def text(self, unit: str) -> str:
        """The line that a person reads."""
        verdict = {True: "agree", False: "DISAGREE", None: "are not compared"}[self.agree]
        levels = " and ".join(f"{rms:.4g}" for rms in self.rms)
        return f"{' and '.join(self.columns)} {verdict}: {levels} {unit} RMS; {self.why}"


def compare(
    recordings: tuple[Recording, Recording],
    rates_hz: tuple[float, float],
    levels: tuple[Sequence[float], Sequence[float]],
    window_s: float,
) -> Comparison:
    """Sets two sensors against each other.

    Args:
        recordings: Of the two, begun at the same time and in the same unit.
        rates_hz: Samples a second of each.
        levels: RMS of each window of each, as the firmware has it, from the start.
        window_s: Length of a window.
    """
    columns = (recordings[0].column, recordings[1].column)
    count = min(map(len, levels))
    a, b = (np.asarray(level[:count], dtype=np.float64) for level in levels)
    both = np.sqrt(a * b)
    strong = np.flatnonzero((both > 0) & (both >= STRONG * both.max(initial=0)))
    if strong.size < WINDOWS_MIN:
        rms = (float(np.median(a)), float(np.median(b))) if count else (np.nan, np.nan)
        few = f"both vibrate in {strong.size} windows, {WINDOWS_MIN} are needed"
        return Comparison(columns, rms, int(strong.size), np.nan, LIMIT, np.nan, None, few)
    rms = (float(np.median(a[strong])), float(np.median(b[strong])))
    ratio = float(np.median(a[strong] / b[strong]))
    ratio = max(ratio, 1 / ratio)
    chosen = strong[np.linspace(0, strong.size - 1, min(_CORRELATED, strong.size)).astype(int)]
    near = float(
        np.median([_correlation(recordings, rates_hz, w * window_s, window_s) for w in chosen])
    )
    agree = None if near < CORRELATION else ratio <= LIMIT
    over = f"median of {strong.size} windows, correlation {near:.2f}"
    if agree is None:
        why = f"they do not follow each other ({over}): noise, or not the same motion"
    elif agree:
        why = f"ratio {ratio:.3f}, limit {LIMIT:g} ({over})"
    else:
        why = (
            f"ratio {ratio:.3f}, limit {LIMIT:g} ({over}). They follow the same motion, so gain, "
            "range or direction of one is wrong; which, they cannot say. Not averaged: calibrate "
            "both"
        )
    return Comparison(columns, rms, int(strong.size), ratio, LIMIT, near, agree, why)


def _correlation(
    recordings: tuple[Recording, Recording],
    rates_hz: tuple[float, float],
    start_s: float,
    length_s: float,
) -> float:
    """Largest of a window of the first with the second at lags up to _LAG_S, 0 to 1.

    Negative correlation counts as well: an axis may point the other way.
    """
    first, second = recordings
    begin, end = (round(t * rates_hz[0]) for t in (start_s, start_s + length_s))
    x = first.samples[begin:end] - np.mean(first.samples[begin:end])
    t_s = np.arange(begin, begin + x.size) / rates_hz[0]
    other_s = np.arange(second.samples.size) / rates_hz[1]
    lags_s = np.arange(-_LAG_S, _LAG_S, 1 / max(rates_hz))
    best = 0.0
    for lag_s in lags_s:
        y = np.interp(t_s + lag_s, other_s, second.samples)
        y = y - np.mean(y)
        size = float(np.linalg.norm(x) * np.linalg.norm(y))
        if size:
            best = max(best, abs(float(x @ y)) / size)
    return best


def _plain(value: Any) -> Any:  # noqa: ANN401 - of any field
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.7g}") if np.isfinite(value) else None
    return value
