"""Plain reference of the velocity filter, and the design of its coefficients.

Owns the difference equations; viper_filter.py must return the same bits. The design functions
are used by every form, run once at start and are the only place here with floats.
"""

import math

from .reference import _add64

VELOCITY_COEF_WORDS = 4
VELOCITY_STATE_WORDS = 8
VELOCITY_FRAC_BITS = 8

_CORNER_HZ = 6.0
_F_BITS = 11  # fraction of the integrators' coefficient
_TOP_HZ = 1000.0


def _velocity_gain(f: float, q1: float, q2: float, b1: float, w: float) -> float:
    """Gain of the whole filter at w rad per sample, relative to the ideal integrator 1/w."""
    half = math.sin(w / 2)
    s = half * half
    gain = w * math.sqrt(1 - 4 * b1 * (1 - b1) * s) / (2 * half)
    for q in (q1, q2):
        # |z D| of the section, in the form without cancellation (single floats on the chips)
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
    # bp = f * sum(hp); velocity = sum(hp)/rate; the output has 8 fractional bits.
    scale = 9806.65 / (f * rate_hz * (1 << VELOCITY_FRAC_BITS) * middle)
    return (f_int, q1_int, q2_int, best), scale


def velocity(buf, first: int, n: int, stride: int, bias: int, coef, state, acc) -> None:
    """Adds the sum of squares of the velocity of `buf[first + i * stride] - bias` to `acc`.

    `bias` is the sample value of 0 g; it need not be exact, the filter takes off what is left,
    but |sample - bias| must not pass 32768. `coef` is array('i') of what `velocity_design`
    returned; `state` is array('i') of `VELOCITY_STATE_WORDS`, all 0 before the first block: the
    first sample then sets the filter as if it had stood there for ever, so that gravity does not
    ring. Of `acc`, Q and n are added to and S stays, so that `rms_q` gives the RMS of the
    velocity. The rest is as in `sums`.

    State-variable sections in fixed point: band-pass state with 14 fractional bits, high-pass
    with 3. The second section's band-pass state is the integral of its high-pass output, so
    the integrator is part of the filter and cannot drift.
    """
    f = coef[0]
    q1 = coef[1]
    q2 = coef[2]
    b1 = coef[3]
    lp1 = state[0]
    bp1 = state[1]
    lp2 = state[2]
    bp2 = state[3]
    if not state[4] and n:
        state[4] = 1
        lp1 = (buf[first] - bias) << 14
    q = 0
    for i in range(first, first + n * stride, stride):
        lp1 += f * (bp1 >> 8) >> 3
        hp = ((buf[i] - bias) << 3) - ((lp1 >> 3) + q1 * (bp1 >> 11) >> 8)
        bp1 += f * hp
        lp2 += f * (bp2 >> 8) >> 3
        hp -= (lp2 >> 3) + q2 * (bp2 >> 11) >> 8
        step = f * hp
        bp2 += step
        v = bp2 - b1 * (step >> 8) >> 6
        q += v * v
    state[0] = lp1
    state[1] = bp1
    state[2] = lp2
    state[3] = bp2
    _add64(acc, 2, q)
    acc[7] += n
