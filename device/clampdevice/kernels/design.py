"""Coefficients of the filters from frequencies, and readings of their results, in floats.

Runs once at start or once a window, never on a block; the same for every form of the kernels.
Single precision (on the chips) is enough everywhere: formulas are chosen without cancellation.
"""

import math
from array import array

CROSS_WORDS = 4
MOM_WORDS = 8
BIQUAD_COEF_WORDS = 5  # a section, after one word for the number of sections
BIQUAD_STATE_WORDS = 6  # a section
GOERTZEL_STATE_WORDS = 3
GOERTZEL_COEF_WORDS = 3


def biquad_design(sections: tuple, rate_hz: float) -> tuple:
    """Designs a chain for `biquad` from sections (kind, frequency in Hz, Q).

    Kinds: `lowpass`, `highpass`, `bandpass` (gain 1 at the centre). The gain at 0 Hz is exact;
    with 14 fractional bits the frequency is met within 2 % only above rate/100.
    Ref: R. Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients.

    Raises:
        ValueError: an unknown kind, or a frequency outside rate/1000 to 0.49 of the rate.
    """
    coef = [len(sections)]
    for kind, frequency_hz, q in sections:
        if not rate_hz / 1000 <= frequency_hz <= 0.49 * rate_hz:
            low = rate_hz / 1000
            raise ValueError(
                f"biquad at {frequency_hz} Hz: {low} to {0.49 * rate_hz} Hz are possible"
            )
        w = 2 * math.pi * frequency_hz / rate_hz
        alpha = math.sin(w) / (2 * q)
        scale = (1 << 14) / (1 + alpha)
        a1 = math.floor(0.5 - 2 * math.cos(w) * scale)
        a2 = math.floor((1 - alpha) * scale + 0.5)
        half = math.sin(w / 2)
        if kind == "lowpass":
            b0 = b2 = int(half * half * scale + 0.5)  # (1 - cos w)/2
            b1 = (1 << 14) + a1 + a2 - 2 * b0
        elif kind == "highpass":
            b0 = b2 = int((1 - half * half) * scale + 0.5)  # (1 + cos w)/2
            b1 = -2 * b0
        elif kind == "bandpass":
            b0 = int(alpha * scale + 0.5)
            b1 = 0
            b2 = -b0
        else:
            raise ValueError(f"biquad of kind {kind!r}: lowpass, highpass, bandpass are known")
        coef += [b0, b1, b2, a1, a2]
    return tuple(coef)


def goertzel_design(frequency_hz: float, rate_hz: float, n: int, peak: int = 32768) -> tuple:
    """Designs the resonator of `goertzel` for n samples of at most `peak` from the bias.

    The frequency is met within 0.01 %, the amplitude within 0.2 % and 0.02 % of the
    largest component, over 1,280 samples.

    Raises:
        ValueError: the frequency is outside rate/1000 to 0.36 of the rate, or n samples could
            pass 32 bits (the message says how many could not).
    """
    if not rate_hz / 1000 <= frequency_hz <= 0.36 * rate_hz:
        raise ValueError(
            f"goertzel at {frequency_hz} Hz: {rate_hz / 1000} to {0.36 * rate_hz} Hz are possible"
        )
    w = 2 * math.pi * frequency_hz / rate_hz
    half = math.sin(w / 2)
    e = 4 * half * half
    shift = 0
    while e * (1 << shift) < 4096:  # 13 bits for the coefficient, 18 for the state
        shift += 1
    # |s| <= peak * n / sin(w); the state is shifted down by at most `shift`
    most = int((1 << min(30, 18 + shift)) * math.sin(w) / peak)
    if n > most:
        raise ValueError(f"goertzel over {n} samples of up to {peak}: at most {most}")
    bound = int(peak * n / math.sin(w))
    before = 0
    while bound >> before >= 1 << 18:
        before += 1
    return (int(e * (1 << shift) + 0.5), before, shift - before)


def goertzel_amplitude(coef, state, n: int) -> float:
    """Peak amplitude in LSB of the component at the design's frequency, over n samples.

    As of a rectangular window: other components leak unless n holds whole periods of them.
    """
    e = coef[0] / (1 << coef[1] + coef[2])
    s = float(state[0])
    d = float(state[1])
    power = d * d + e * s * (s - d)
    return 2 * math.sqrt(power) / n if power > 0 else 0.0


def fft_table(n: int):  # noqa: ANN201 - an array, which device code cannot name as a type
    """Returns the sines that `fft` of n samples reads, array('H') of 3 n / 4 + 1 words.

    16384 + 16384 sin(2 pi k / n); the cosine is the same n / 4 further.

    Raises:
        ValueError: n is not 256, 512, 1024 or 2048.
    """
    if n not in (256, 512, 1024, 2048):
        raise ValueError(f"FFT of {n} samples: 256, 512, 1024 or 2048 are possible")
    table = array("H", bytes(2 * (3 * n // 4 + 1)))
    for k in range(len(table)):
        table[k] = int(16384 + 16384 * math.sin(2 * math.pi * k / n) + 0.5)
    return table


def fft_amplitude(power: int, exponent: int, n: int, hann: int) -> float:
    """Peak amplitude in LSB of a sine in the middle of one bin of `fft` (bins 1 to n/2 - 1)."""
    return math.sqrt(power) * 2.0 ** (exponent + (2 if hann else 1)) / n


def read_moments(mom) -> tuple:
    """Returns (M2, M3, M4, n) as Python integers: sums of powers, not divided by n."""
    m3 = mom[2] | mom[3] << 32
    if m3 >> 63:
        m3 -= 1 << 64
    return mom[0] | mom[1] << 32, m3, mom[4] | mom[5] << 32 | mom[6] << 64, mom[7]
