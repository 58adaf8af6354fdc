"""One number of a channel: how it is described, scaled into a Record, and freed of its noise.

Owns the choice of the step of a scaled integer, and the quadratic subtraction of a noise floor.
Which features a channel has is the channel's business; bytes are `clampwire.values`.
"""

import math

STANDARD_GRAVITY_M_S2 = 9.80665

COUNTERS = ("charge", "energy", "apparent_energy", "run")  # in the order of counters.TOTALS
# What needs the products of a current and a measured voltage.
PAIRED = ("real", "pf", "energy")

# A peak of Gaussian noise in 6,400 samples stays below this multiple of its RMS.
PEAK_OF_NOISE = 5.0


def step_for(limit: float, codes: int) -> tuple:
    """The finest decimal step of two digits with which `codes` steps reach `limit`.

    Args:
        limit: the largest value, in the feature's unit, above 0.
        codes: how many steps the integer has, e.g. 65534 for "H" (65535 means missing).

    Returns:
        (mult, exp): value = raw * mult * 10**exp, mult 10 to 99.
    """
    step = limit / codes
    exp = 0
    while step < 10:
        step *= 10
        exp -= 1
    while step > 99:
        step /= 10
        exp += 1
    mult = int(step)
    if mult < step * 0.9999999:  # single floats on the chips: 26.000001 is 26
        mult += 1
    return mult, exp


def unsigned(key: str, unit: str, limit: float) -> tuple:
    """Describe's fields of a feature from 0 to `limit` in 16 bits."""
    mult, exp = step_for(limit, 65534)
    return (key, unit, ord("H"), mult, exp)


def signed(key: str, unit: str, limit: float) -> tuple:
    """Describe's fields of a feature from -limit to `limit` in 16 bits."""
    mult, exp = step_for(limit, 32767)
    return (key, unit, ord("h"), mult, exp)


def without_noise(rms: float, floor: float) -> float:
    """What is left of an RMS when independent noise of the RMS `floor` is taken off.

    Any unit, the same for both. What is left is not less than the noise, or it is 0: below the
    floor nothing is invented. `floor` is 0 where it is not known.
    """
    if rms <= floor:
        return 0.0
    rest = math.sqrt((rms - floor) * (rms + floor))
    return rest if rest >= floor else 0.0


def is_harmonic(key: str) -> bool:
    """Whether a feature is one of `h1` to `h15`; no other begins so."""
    return key[0] == "h"
