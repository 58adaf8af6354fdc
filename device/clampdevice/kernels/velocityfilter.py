"""Coefficients of the velocity filter from the sampling rate, in floats.

Runs once at start, in a module of its own so that it need not stay in a board's heap. Single
precision (on the chips) is enough: formulas are chosen without cancellation.
"""

import math

VELOCITY_COEF_WORDS = 4
VELOCITY_FRAC_BITS = 6

_CORNER_HZ = 6.0
_F_BITS = 11  # fraction of the integrators' coefficient
_TOP_HZ = 1000.0


def _velocity_gain(f: float, q1: float, q2: float, b1: float, w: float) -> float:
    """Gain of the whole filter at w rad per sample, relative to the ideal integrator 1/w."""
    half = math.sin(w / 2)
    s = half * half
    gain = w * math.sqrt(1 - 4 * b1 * (1 - b1) * s) / (2 * half)
    for q in (q1, q2):
        # |z D| of the section, D its denominator
        re = f * f - 4 * s + 2 * f * q * s
        im = f * q * math.sin(w)
        gain *= 4 * s / math.sqrt(re * re + im * im)
    return gain


def velocity_design(rate_hz: float) -> tuple:
    """Designs the velocity filter for a true sampling rate of 800 to 6,400 Hz.

    Fourth-order Butterworth high-pass near 6 Hz, then an integrator with a zero. Against
    1/(2 pi f) the gain is right within 0.7 % at 3,200 Hz and above, 1.9 % below, from 10 Hz to
    1000 Hz or 0.4 of the rate, whichever is less.

    Returns:
        coef: what `velocity` takes, four integers: F, q of both sections, the zero.
        scale: mm/s of one output LSB where one input LSB is 1 g; multiply by g per LSB.

    Raises:
        ValueError: the rate is outside 800 to 6,400 Hz (by more than 2 %).
    """
    if not 784 <= rate_hz <= 6528:
        raise ValueError(f"velocity filter for {rate_hz} Hz: 800 to 6400 Hz are possible")
    w0 = 2 * math.pi * _CORNER_HZ / rate_hz
    f_int = int(2 * math.sin(w0 / 2) * (1 << _F_BITS) + 0.5)
    f = f_int / (1 << _F_BITS)
    # Damping of the sections of a 4th-order Butterworth, 2 cos(3 pi/8) and 2 cos(pi/8), less
    # what the discrete integrators add; the well-damped one first keeps the inner peaks small.
    q1_int = int(256 * (1 - math.exp(-1.847759 * f)) / f + 0.5)
    q2_int = int(256 * (1 - math.exp(-0.765367 * f)) / f + 0.5)
    ws = [2 * math.pi * hz / rate_hz for hz in (10, 11.5, 14, 20, 40)]
    top = min(_TOP_HZ, 0.4 * rate_hz) / rate_hz
    ws += [2 * math.pi * top * k / 6 for k in range(1, 7)]
    best = 0
    spread = 1.0
    middle = 1.0
    for b1_int in range(20, 40):  # b0 * b1 = 1/12 at low frequencies, 1/7 at half the rate
        gains = [_velocity_gain(f, q1_int / 256, q2_int / 256, b1_int / 256, w) for w in ws]
        high = max(gains)
        low = min(gains)
        if high - low < spread:
            spread = high - low
            middle = (high + low) / 2
            best = b1_int
    # bp = f * sum(hp); velocity = sum(hp)/rate; the output has 6 fractional bits.
    scale = 9806.65 / (f * rate_hz * (1 << VELOCITY_FRAC_BITS) * middle)
    return (f_int, q1_int, q2_int, best), scale
