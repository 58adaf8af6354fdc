"""The noise floor of a channel: measured by command with nothing running, or learned when off.

Owns the judgement whether the last windows (`quiet.py`) are noise. Noise stands still:
over windows of n samples its RMS moves by a part in sqrt(2 n), a load or a motor that runs down
by far more. What flows steadily cannot be told from noise this way, so a floor is bounded to a
share of the range, and is learned only where board.json says so.
"""

from math import sqrt

_LEAST_WINDOWS = 10
# Largest floor, as a share of full scale.
MOST_SHARE = 0.02
LEARN_SHARE = 0.005
# Mains hum and a clock of its own make noise less steady than chance alone does.
_SPREAD = 3.0
CHANGE = 0.2  # a learned floor takes effect when it differs by this share


class FloorError(ValueError):
    """No floor can be measured now; the message says why."""


def noise_q(meter, full_scale_q: float, samples: int, share: float = MOST_SHARE) -> float:
    """RMS of the noise in the last windows, in 1/4096 code.

    Args:
        meter: see `quiet.QuietMeter`.
        full_scale_q: RMS of the largest sine, in the same unit.
        samples: in a window.
        share: largest floor, of full scale.

    Raises:
        FloorError: too few windows, too much, or not steady.
    """
    if meter.windows < _LEAST_WINDOWS:
        have = meter.windows
        raise FloorError(f"{have} windows of 200 ms so far, {_LEAST_WINDOWS} needed: wait")
    square = 0.0
    low = high = meter.rms_q[0]
    for i in range(meter.windows):
        each = meter.rms_q[i]
        low = min(low, each)
        high = max(high, each)
        square += float(each) * each
    found_q = sqrt(square / meter.windows)
    if found_q > share * full_scale_q:
        pct = 100 * found_q / full_scale_q
        raise FloorError(
            f"{pct:.2g} % of full scale is no noise (at most {100 * share:.2g} %): "
            "switch the machine off, or look for hum"
        )
    # Of 25 Gaussian values the range is about 4 standard deviations.
    bound = _SPREAD * 4 / sqrt(2 * samples) * found_q + 41  # 0.01 code for the rounding
    if high - low > bound:
        lsb = 4096.0
        raise FloorError(
            f"not steady: {low / lsb:.3g} to {high / lsb:.3g} codes in 5 s; something runs"
        )
    return found_q


def learn(channels: list) -> list:
    """Takes the noise of channels that read nothing as their floors.

    Args:
        channels: (index, channel) of each.

    Returns:
        The indices of those whose floor has changed.
    """
    changed = []
    for index, channel in channels:
        try:
            found = channel.measure_floor(LEARN_SHARE)
        except FloorError:
            continue  # it is not quiet, and nobody asked
        if abs(found - channel.floor) > CHANGE * channel.floor:
            channel.set_floor(found)
            changed.append(index)
    return changed
