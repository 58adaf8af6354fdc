"""Plain reference of the block kernels: sums, extremes, moments, products, roots, byte stuffing.

Owns the meaning of every kernel: viper.py and thumb.py must return the same bits. Runs on
CPython and on MicroPython with arbitrary-precision integers, so nothing here can wrap. Owns no
buffer and no state, and knows nothing of units. The filters are in reference_filter.py.
"""

ACC_WORDS = 8
MOM_WORDS = 8
CROSS_WORDS = 4

_M32 = 0xFFFFFFFF
_M64 = 0xFFFFFFFFFFFFFFFF


def clear_acc(acc) -> None:
    """Empties an accumulator, array('I') of `ACC_WORDS`.

    Words: S_lo, S_hi, Q_lo, Q_hi (sum and sum of squares, 64 bit each), min, max, rails, n.
    The minimum of nothing is 0xFFFF, everything else 0.
    """
    for i in range(ACC_WORDS):
        acc[i] = 0
    acc[4] = 0xFFFF


def _add64(words, at: int, value: int) -> None:
    total = (words[at] | words[at + 1] << 32) + value & _M64
    words[at] = total & _M32
    words[at + 1] = total >> 32


def sums(buf, first: int, n: int, stride: int, acc) -> None:
    """Adds S, Q and n of the samples `buf[first + i * stride]`, i < n, exactly.

    Args:
        buf: array('H') or a view of one, samples of up to 16 bits, offset binary or plain.
        first: index of the first sample, so the slot in a round-robin frame.
        n: number of samples; S and Q hold 64 bits, so 2**32 full-scale samples fit.
        stride: step from sample to sample, so the number of slots in a frame.
        acc: see `clear_acc`; min, max and rails stay as they are.

    The caller answers for `first + (n - 1) * stride < len(buf)`: the compiled forms do not check.
    """
    s = q = 0
    for i in range(first, first + n * stride, stride):
        x = buf[i]
        s += x
        q += x * x
    _add64(acc, 0, s)
    _add64(acc, 2, q)
    acc[7] += n


def sums12(buf, first: int, n: int, stride: int, acc) -> None:
    """`sums` for samples that are known to be below 4096; the compiled forms are faster so.

    A larger sample is the caller's error and gives a wrong sum without notice.
    """
    sums(buf, first, n, stride, acc)


def sums_extremes(buf, first: int, n: int, stride: int, acc, rail_lo: int, rail_hi: int) -> None:
    """`sums`, and min, max and the number of samples `<= rail_lo` or `>= rail_hi`."""
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
    sums(buf, first, n, stride, acc)


def read_acc(acc) -> tuple:
    """Returns (S, Q, n) as Python integers; allocates, so once a window and not once a block."""
    return acc[0] | acc[1] << 32, acc[2] | acc[3] << 32, acc[7]


def isqrt(x: int) -> int:
    """Returns floor(sqrt(x)) for 0 <= x < 2**64, exactly.

    Raises:
        ValueError: x is negative.
    """
    if x < 0:
        raise ValueError(f"isqrt of the negative number {x}")
    if x < 2:
        return x
    root = 1 << 32 if x >> 32 else 1 << 16
    while True:  # Newton from above falls monotonically onto the floor
        better = (root + x // root) >> 1
        if better >= root:
            return root
        root = better


def rms_q(acc, frac_bits: int) -> int:
    """AC RMS of what is in `acc`, in LSB with `frac_bits` fractional bits, rounded to nearest.

    sqrt(Q/n - (S/n)**2) * 2**frac_bits from integers alone: the nearest integer to the exact
    root (half up), not the root of a rounded variance. 0 for an empty accumulator.

    Args:
        acc: n at most 65535 samples of up to 16 bits.
        frac_bits: 0 to 12.
    """
    s, q, n = read_acc(acc)
    if not n:
        return 0
    # round(z) = (floor(2z) + 1) >> 1 and floor(sqrt(y)) = isqrt(floor(y)): no error is added.
    return (isqrt(((n * q - s * s) << (2 * frac_bits + 2)) // (n * n)) + 1) >> 1


def moments(buf, first: int, n: int, stride: int, mean: int, mom) -> None:
    """Adds the second, third and fourth moment around the integer `mean`, exactly.

    `mean` is the point of reference, 0 to 65535. `mom` is array('I') of `MOM_WORDS`, zeroed by
    the caller: M2 (2 words), M3 (2 words, two's complement), M4 (3 words), n. The rest is as in
    `sums`.

    Exact for every 16-bit sample and every mean. M2 holds 2**32 samples at a deviation of
    65535, M3 32,768 and M4 2**32.
    """
    m2 = m3 = m4 = 0
    for i in range(first, first + n * stride, stride):
        d = buf[i] - mean
        s = d * d
        m2 += s
        m3 += s * d
        m4 += s * s
    _add64(mom, 0, m2)
    _add64(mom, 2, m3)
    m4 += mom[4] | mom[5] << 32 | mom[6] << 64
    mom[4] = m4 & _M32
    mom[5] = (m4 >> 32) & _M32
    mom[6] = (m4 >> 64) & _M32
    mom[7] += n


def read_moments(mom) -> tuple:
    """Returns (M2, M3, M4, n) as Python integers: sums of powers, not divided by n."""
    m3 = mom[2] | mom[3] << 32
    if m3 >> 63:
        m3 -= 1 << 64
    return mom[0] | mom[1] << 32, m3, mom[4] | mom[5] << 32 | mom[6] << 64, mom[7]


def cross(buf, first_a: int, first_b: int, n: int, stride: int, out) -> None:
    """Adds the sum of products a * b of two slots of one frame to `out`, exactly.

    `out` is array('I') of `CROSS_WORDS`, zeroed by the caller: P_lo, P_hi, n, 0. Real power needs the mean taken off: P = sum(a*b)/n - (S_a/n)*(S_b/n).
    """
    p = 0
    b = first_b
    for a in range(first_a, first_a + n * stride, stride):
        p += buf[a] * buf[b]
        b += stride
    _add64(out, 0, p)
    out[2] += n


def stuff(src, n: int, dst, at: int, mask: int) -> int:
    """Copies `src[0:n]` to `dst[at:]` with byte stuffing, and returns the end in `dst`.

    0x7E and 0x7D become 0x7D and the byte ^ 0x20; with `mask & 1` so do 0x03 and 0x04 (towards
    a device a raw 0x03 would interrupt MicroPython). `dst` must have room for 2 * n bytes.
    """
    for i in range(n):
        b = src[i]
        if b == 0x7E or b == 0x7D or (mask & 1 and (b == 3 or b == 4)):
            dst[at] = 0x7D
            at += 1
            b ^= 0x20
        dst[at] = b
        at += 1
    return at
