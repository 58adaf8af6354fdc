"""The block kernels of reference.py in viper: sums, extremes, moments, products, byte stuffing.

Compiled on the board from source (there it has one register more than from mpy-cross). A viper
int has 32 bits on the chips and 64 on a PC, so no intermediate result here passes 32 bits: each
accumulator's bound stands where it is cleared, and 64-bit words are added in limbs of 16 bits.
Words that are loaded are masked before their sign or size matters. Imported under MicroPython
only.
"""

import micropython


@micropython.viper
def sums(buf: ptr16, first: int, n: int, stride: int, acc: ptr32) -> object:
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    left = n
    limbs = ptr16(acc)
    while left:
        # 16384 samples: s, q_lo, q_hi <= 16384 * 65535 < 2**30
        block = 16384 if left > 16384 else left
        left -= block
        s = 0
        q_lo = 0
        q_hi = 0
        while block:
            x = p[0]
            p = ptr16(uint(p) + step)
            s += x
            x *= x
            q_lo += x & 0xFFFF
            q_hi += (x >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (q_lo & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + (q_lo >> 16) + (q_hi & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16) + (q_hi >> 16)
    acc[7] = int(acc[7]) + n


@micropython.viper
def sums12(buf: ptr16, first: int, n: int, stride: int, acc: ptr32) -> object:
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    left = n
    limbs = ptr16(acc)
    while left:
        # 256 samples below 4096: s < 2**20, q <= 256 * 4095**2 < 2**32, its bits read unsigned
        block = 256 if left > 256 else left
        left -= block
        s = 0
        q = 0
        while block:
            x = p[0]
            p = ptr16(uint(p) + step)
            s += x
            q += x * x
            block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (q & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + ((q >> 16) & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16)
    acc[7] = int(acc[7]) + n


@micropython.viper
def sums_extremes(
    buf: ptr16, first: int, n: int, stride: int, acc: ptr32, rail_lo: int, rail_hi: int
) -> object:
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    left = n
    limbs = ptr16(acc)
    low = int(limbs[8])
    high = int(limbs[10])
    rails = 0
    # A sample strictly inside (inner_lo, inner_hi) changes neither extremes nor rails.
    inner_lo = low if low > rail_lo else rail_lo + 1
    inner_hi = high if high < rail_hi else rail_hi - 1
    while left:
        # bounds as in `sums`
        block = 16384 if left > 16384 else left
        left -= block
        s = 0
        q_lo = 0
        q_hi = 0
        while block:
            x = p[0]
            p = ptr16(uint(p) + step)
            s += x
            if x < inner_lo or x > inner_hi:
                if x < low:
                    low = x
                if x > high:
                    high = x
                if x <= rail_lo or x >= rail_hi:
                    rails += 1
                inner_lo = low if low > rail_lo else rail_lo + 1
                inner_hi = high if high < rail_hi else rail_hi - 1
            x *= x
            q_lo += x & 0xFFFF
            q_hi += (x >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (q_lo & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + (q_lo >> 16) + (q_hi & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16) + (q_hi >> 16)
    acc[4] = low
    acc[5] = high
    acc[6] = int(acc[6]) + rails
    acc[7] = int(acc[7]) + n


@micropython.viper
def cross(buf: ptr16, first_a: int, first_b: int, n: int, stride: int, out: ptr32) -> object:
    a = ptr16(uint(buf) + 2 * first_a)
    b = ptr16(uint(buf) + 2 * first_b)
    step = 2 * stride
    left = n
    limbs = ptr16(out)
    while left:
        # 16384 products: lo, hi <= 16384 * 65535 < 2**30
        block = 16384 if left > 16384 else left
        left -= block
        lo = 0
        hi = 0
        while block:
            x = int(a[0]) * int(b[0])
            a = ptr16(uint(a) + step)
            b = ptr16(uint(b) + step)
            lo += x & 0xFFFF
            hi += (x >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + (lo & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (lo >> 16) + (hi & 0xFFFF)
        limbs[1] = t
        out[1] = int(out[1]) + (t >> 16) + (hi >> 16)
    out[2] = int(out[2]) + n


@micropython.viper
def stuff(src: ptr8, n: int, dst: ptr8, at: int, mask: int) -> int:
    i = 0
    out = at
    towards_device = mask & 1
    while i < n:
        b = int(src[i])
        i += 1
        # One comparison passes most bytes: the four escaped ones are 3, 4 and 0x7D, 0x7E.
        if b < 5 or b > 0x7C:
            if b == 0x7E or b == 0x7D or (towards_device and (b == 3 or b == 4)):
                dst[out] = 0x7D
                out += 1
                b ^= 0x20
        dst[out] = b
        out += 1
    return out
