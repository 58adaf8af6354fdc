"""Sums with extremes and rails, and through a table, in viper. As viper.py, to which see."""

import micropython


@micropython.viper
def sums_extremes(
    buf: ptr16,
    first: int,
    n: int,
    stride: int,
    acc: ptr32,
    rail_lo: int,
    rail_hi: int,
) -> object:
    limbs = ptr16(acc)
    acc[7] = int(acc[7]) + n
    left = n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    low = int(limbs[8])
    high = int(limbs[10])
    # A sample in [inner_lo, inner_hi] changes neither extremes nor rails.
    inner_lo = low if low > rail_lo else rail_lo + 1
    inner_hi = high if high < rail_hi else rail_hi - 1
    while left:
        # 16384 samples: every sum <= 16384 * 65535 < 2**30
        block = 16384 if left > 16384 else left
        left -= block
        s = 0
        q_lo = 0
        q_hi = 0
        while block:
            first = buf[0]
            buf = ptr16(uint(buf) + stride)
            if first < inner_lo or first > inner_hi:
                if first < low:
                    low = first
                if first > high:
                    high = first
                if first <= rail_lo or first >= rail_hi:
                    limbs[12] = int(limbs[12]) + 1
                    if not limbs[12]:
                        limbs[13] = int(limbs[13]) + 1
                inner_lo = low if low > rail_lo else rail_lo + 1
                inner_hi = high if high < rail_hi else rail_hi - 1
            s += first
            first *= first
            q_lo += first & 0xFFFF
            q_hi += (first >> 16) & 0xFFFF
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
    limbs[8] = low
    limbs[10] = high


@micropython.viper
def sums_lut(buf: ptr16, first: int, n: int, stride: int, lut: ptr16, acc: ptr32) -> object:
    limbs = ptr16(acc)
    acc[7] = int(acc[7]) + n
    left = n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    while left:
        # 16 entries below 16384: squares <= 16 * 16383**2 < 2**32, read unsigned; s < 2**18
        block = 16 if left > 16 else left
        left -= block
        s = 0
        n = 0
        while block:
            first = lut[int(buf[0])]
            buf = ptr16(uint(buf) + stride)
            s += first
            n = first * first + n
            block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (n & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + ((n >> 16) & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16)


@micropython.viper
def sums_lut_extremes(
    buf: ptr16,
    first: int,
    n: int,
    stride: int,
    lut: ptr16,
    acc: ptr32,
    rail_lo: int,
    rail_hi: int,
) -> object:
    limbs = ptr16(acc)
    acc[7] = int(acc[7]) + n
    left = n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    low = int(limbs[8])
    high = int(limbs[10])
    # A sample in [inner_lo, inner_hi] changes neither extremes nor rails.
    inner_lo = low if low > rail_lo else rail_lo + 1
    inner_hi = high if high < rail_hi else rail_hi - 1
    while left:
        # 16384 samples: every sum <= 16384 * 65535 < 2**30
        block = 16384 if left > 16384 else left
        left -= block
        s = 0
        q_lo = 0
        q_hi = 0
        while block:
            first = buf[0]
            buf = ptr16(uint(buf) + stride)
            if first < inner_lo or first > inner_hi:
                if first < low:
                    low = first
                if first > high:
                    high = first
                if first <= rail_lo or first >= rail_hi:
                    limbs[12] = int(limbs[12]) + 1
                    if not limbs[12]:
                        limbs[13] = int(limbs[13]) + 1
                inner_lo = low if low > rail_lo else rail_lo + 1
                inner_hi = high if high < rail_hi else rail_hi - 1
            first = lut[first]
            s += first
            first *= first
            q_lo += first & 0xFFFF
            q_hi += (first >> 16) & 0xFFFF
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
    limbs[8] = low
    limbs[10] = high


sums12_extremes = sums_extremes
