"""Plain reference of the filters: velocity, biquad chain, Goertzel.

Owns the difference equations; the compiled forms return the same bits as long as the stated
bounds hold. Coefficients come from design.py. See reference.py for the shared arguments.
"""

from .design import BIQUAD_COEF_WORDS, BIQUAD_STATE_WORDS
from .reference import add64


def velocity(buf, first: int, n: int, stride: int, bias: int, coef, state, acc) -> None:
    """Adds the sum of squares of the velocity of `buf[first + i * stride] - bias` to `acc`.

    `bias` is the sample value of 0 g; it need not be exact, the filter takes off what is left,
    but |sample - bias| must not pass 32768. `coef` is array('i') of what `velocity_design`
    returned; `state` is array('i') of `VELOCITY_STATE_WORDS`, all 0 before the first block: the
    first sample then sets the filter as if it had stood there for ever, so that gravity does not
    ring. Of `acc`, Q and n are added to and S stays, so that `rms_q` gives the RMS of the
    velocity.

    State-variable sections in fixed point: low-pass states have 14 fractional bits, band-pass
    states 15, high-pass outputs 4, the velocity 6. The second section's band-pass state is the
    integral of its high-pass output, so the integrator is part of the filter and cannot drift.
    A constant input ends in exactly 0. The arithmetic adds noise of 1.6 mm/s RMS for 1 g per LSB
    (0.006 mm/s at 3.9 mg per LSB), the rounding of samples to LSB itself adds 6 to 17.
    After a step of 1 g less than 1 mm/s is left in 0.3 s, 0.1 mm/s in 0.5 s.
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
        lp1 += f * (bp1 >> 9) >> 3
        hp = ((buf[i] - bias) << 4) - (lp1 + q1 * (bp1 >> 9) >> 10)
        bp1 += f * hp
        lp2 += f * (bp2 >> 9) >> 3
        step = f * (hp - (lp2 + q2 * (bp2 >> 9) >> 10))
        bp2 += step
        v = bp2 - b1 * (step >> 8) >> 9
        q += v * v
    state[0] = lp1
    state[1] = bp1
    state[2] = lp2
    state[3] = bp2
    add64(acc, 2, q)
    acc[7] += n


def biquad(buf, first: int, n: int, stride: int, bias: int, coef, state) -> None:
    """Filters `buf[first + i * stride] - bias` in place by a chain of second-order sections.

    `coef` is array('i'): the number of sections, then b0, b1, b2, a1, a2 of each with 14
    fractional bits, |c| <= 2 and a0 = 1. `state` is array('i') of `BIQUAD_STATE_WORDS` a
    section, zeroed by the caller. Each section rounds to whole LSB and carries the rest over to
    its next sample, so the mean is kept exactly. What leaves 0 to 65535 is clipped there; the
    output of a section before clipping must stay below 131,072 (a gain in the sum of absolute
    impulse response below 4 does it).
    """
    c = 1
    s = 0
    for _ in range(coef[0]):
        x1 = state[s]
        x2 = state[s + 1]
        y1 = state[s + 2]
        y2 = state[s + 3]
        total = state[s + 4]
        for i in range(first, first + n * stride, stride):
            x = buf[i] - bias
            total += coef[c] * x + coef[c + 1] * x1 + coef[c + 2] * x2
            total -= coef[c + 3] * y1 + coef[c + 4] * y2
            x2 = x1
            x1 = x
            y2 = y1
            y1 = (total >> 14) + bias
            total &= 0x3FFF
            if y1 < 0:
                y1 = total = 0
            elif y1 > 0xFFFF:
                y1 = 0xFFFF
                total = 0
            buf[i] = y1
            y1 -= bias
        state[s] = x1
        state[s + 1] = x2
        state[s + 2] = y1
        state[s + 3] = y2
        state[s + 4] = total
        c += BIQUAD_COEF_WORDS
        s += BIQUAD_STATE_WORDS


def goertzel(buf, first: int, n: int, stride: int, bias: int, coef, state) -> None:
    """Runs the samples less `bias` through a resonator at one frequency.

    `coef` is array('i') of what `goertzel_design` returned, `state` is array('i') of
    `GOERTZEL_STATE_WORDS`, zeroed by the caller; any number of blocks may follow each other.
    `goertzel_amplitude` reads the result. The recursion keeps the difference of successive
    values (Reinsch), which is what makes low frequencies exact enough in 32 bits.
    """
    e = coef[0]
    before = coef[1]
    after = coef[2]
    s = state[0]
    d = state[1]
    for i in range(first, first + n * stride, stride):
        d += buf[i] - bias - (e * (s >> before) >> after)
        s += d
    state[0] = s
    state[1] = d
