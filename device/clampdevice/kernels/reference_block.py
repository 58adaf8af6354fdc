"""Plain reference of moments and byte stuffing. See reference.py for the shared arguments."""

from .reference import add64

_M32 = 0xFFFFFFFF


def moments(buf, first: int, n: int, stride: int, mean: int, mom) -> None:
    """Adds the second, third and fourth moment around the integer `mean`, exactly.

    `mean` is the point of reference, 0 to 65535. `mom` is array('I') of `MOM_WORDS`, zeroed by
    the caller: M2 (2 words), M3 (2 words, two's complement), M4 (3 words), n.

    Exact for every 16-bit sample and every mean; the compiled forms take about twice the time
    for samples further than 4095 from the mean. M3 holds 32,768 samples at a deviation of
    65,535, M2 and M4 hold 2**32.
    """
    m2 = m3 = m4 = 0
    for i in range(first, first + n * stride, stride):
        d = buf[i] - mean
        s = d * d
        m2 += s
        m3 += s * d
        m4 += s * s
    add64(mom, 0, m2)
    add64(mom, 2, m3)
    m4 += mom[4] | mom[5] << 32 | mom[6] << 64
    mom[4] = m4 & _M32
    mom[5] = (m4 >> 32) & _M32
    mom[6] = (m4 >> 64) & _M32
    mom[7] += n


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
