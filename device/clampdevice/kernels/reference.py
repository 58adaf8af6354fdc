"""Plain reference of the block kernels: sums, extremes, tables, products and the root.

Owns the meaning of every kernel: the compiled forms return the same bits. Runs on CPython and on
MicroPython with arbitrary-precision integers, so nothing here can wrap. Owns no buffer and no
state, and knows no units. Moments and byte stuffing are in reference_block.py, filters in
reference_filter.py and reference_fft.py.

Arguments that all kernels share: `buf` is array('H') or a view of one; the samples are
`buf[first + i * stride]` for i < n, so a slot of a round-robin frame is first=slot and
stride=slots (at most 31). n is at most 65,536 a call. `acc` is described at `words.clear_acc`.
The caller answers for indices within the buffer and for arrays of the stated length: the
compiled forms do not check, as they may be called from anywhere and must not allocate.
"""

from .words import ACC_WORDS, isqrt, read_acc

_M32 = 0xFFFFFFFF
_M64 = 0xFFFFFFFFFFFFFFFF


def add64(words, at: int, value: int) -> None:
    """Adds a signed value to the 64-bit number in two words, lower word first."""
    total = (words[at] | words[at + 1] << 32) + value & _M64
    words[at] = total & _M32
    words[at + 1] = total >> 32


def sums(buf, first: int, n: int, stride: int, acc) -> None:
    """Adds S, Q and n exactly, for samples of up to 16 bits; min, max and rails stay."""
    s = q = 0
    for i in range(first, first + n * stride, stride):
        x = buf[i]
        s += x
        q += x * x
    add64(acc, 0, s)
    add64(acc, 2, q)
    acc[7] += n


def sums12(buf, first: int, n: int, stride: int, acc) -> None:
    """`sums` for samples known to be below 4096: the compiled forms are faster so.

    A larger sample is the caller's error and gives a wrong sum without notice.
    """
    sums(buf, first, n, stride, acc)


def _extremes(buf, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int) -> None:
    low = acc[4]
    high = acc[5]
    rails = 0
    for i in range(first, first + n * stride, stride):
        x = buf[i]
        if x < low:
            low = x
        if x > high:
            high = x
        if x <= rail_lo or x >= rail_hi:
            rails += 1
    acc[4] = low
    acc[5] = high
    acc[6] += rails


def sums_extremes(buf, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int) -> None:
    """`sums`, and min, max and the number of samples `<= rail_lo` or `>= rail_hi`.

    rail_lo is -1 (no lower rail) to 65,534, rail_hi 1 to 65,536 (no upper rail).
    """
    _extremes(buf, first, n, stride, acc, rail_lo, rail_hi)
    sums(buf, first, n, stride, acc)


def sums12_extremes(buf, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int) -> None:
    """`sums_extremes` for samples known to be below 4096, as `sums12`."""
    sums_extremes(buf, first, n, stride, acc, rail_lo, rail_hi)


def sums_lut(buf, first: int, n: int, stride: int, lut, acc) -> None:
    """`sums` of `lut[sample]`, for samples below 4096.

    `lut` is array('H') of 4096 entries below 16,384: two fractional bits of a 12-bit code.
    """
    s = q = 0
    for i in range(first, first + n * stride, stride):
        x = lut[buf[i]]
        s += x
        q += x * x
    add64(acc, 0, s)
    add64(acc, 2, q)
    acc[7] += n


def sums_lut_extremes(
    buf, first: int, n: int, stride: int, lut, acc, rail_lo: int, rail_hi: int
) -> None:
    """`sums_lut`, and min, max and rails of the samples themselves.

    The table rises, so `lut[min]` and `lut[max]` are the extremes of what was summed.
    """
    _extremes(buf, first, n, stride, acc, rail_lo, rail_hi)
    sums_lut(buf, first, n, stride, lut, acc)


def linearise(buf, first: int, n: int, stride: int, lut) -> None:
    """Replaces the samples by `lut[sample]` in place, for kernels that take no table."""
    for i in range(first, first + n * stride, stride):
        buf[i] = lut[buf[i]]


def cross(buf, first_a: int, first_b: int, n: int, stride: int, out) -> None:
    """Adds the sum of products a * b of two slots of one frame to `out`, exactly.

    `out` is array('I') of `CROSS_WORDS`, zeroed by the caller: P_lo, P_hi, n, one unused. Real
    power needs the means taken off: P = sum(a * b)/n - (S_a/n) * (S_b/n).
    """
    p = 0
    b = first_b
    for a in range(first_a, first_a + n * stride, stride):
        p += buf[a] * buf[b]
        b += stride
    add64(out, 0, p)
    out[2] += n


def rms_q(acc, frac_bits: int) -> int:
    """AC RMS of what is in `acc`: sqrt(Q/n - (S/n)**2) in LSB with `frac_bits` fractional bits.

    From integers alone, rounded to nearest: the error is below 0.5 + 2**-30 of the value, in
    units of the result, so two neighbours may both be right only above 2**20. 0 when empty.

    frac_bits is 0 to 14; n * RMS must stay below 2**31: n to 65,536 for 16-bit samples, to
    2**20 for 12-bit ones.
    """
    s, q, n = read_acc(acc)
    v = n * q - s * s
    if not v:
        return 0
    # The root of v as a number of 31 bits: v * 4**j lies in [2**60, 2**62).
    exponent = frac_bits + 1
    while v < 1 << 60:
        v <<= 2
        exponent -= 1
    root = isqrt(v)
    twice = (root << exponent if exponent >= 0 else root >> -exponent) // n
    return (twice + 1) >> 1


def rms12(buf, n: int, frac_bits: int) -> int:
    """`rms_q` of the first n samples of `buf`, known to be below 4096, n at least 1.

    A whole window in one call, for the shortest way from samples to a number.
    """
    acc = [0] * ACC_WORDS
    sums12(buf, 0, n, 1, acc)
    return rms_q(acc, frac_bits)
