"""The velocity filter in viper, for chips without assembler.

As viper.py, to which see for how integers of 32 and 64 bits are kept apart. State words are
loaded with their sign restored, because a viper load of 32 bits is zero-extended on a 64-bit PC:
(w ^ 2**31) - 2**31 is w on a chip as well. 2**31 comes from a shift of a variable, since as a
literal it is no small integer on a chip.
"""

import micropython


@micropython.viper
def velocity(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32, acc: ptr32
) -> object:
    acc[7] = int(acc[7]) + n
    buf = ptr16(uint(buf) + 2 * first)
    if n and not state[4]:
        state[4] = 1
        state[0] = (int(buf[0]) - bias) << 14
    left = n
    stride *= 2
    f = int(coef[0])
    q1 = int(coef[1])
    q2 = int(coef[2])
    b1 = int(coef[3])
    sign = 1
    sign <<= 31
    # |buf - bias| <= 32768: the states stay below 2**31 by the L1 norms of their responses
    lp1 = (int(state[0]) ^ sign) - sign
    bp1 = (int(state[1]) ^ sign) - sign
    lp2 = (int(state[2]) ^ sign) - sign
    bp2 = (int(state[3]) ^ sign) - sign
    limbs = ptr16(acc)
    while left:
        # |v| < 2**24 is split at bit 12: 64 products of 12 bits each < 2**30
        block = 64 if left > 64 else left
        left -= block
        high = 0
        mid = 0
        low = 0
        while block:
            lp1 += f * (bp1 >> 9) >> 3
            first = ((int(buf[0]) - bias) << 4) - (lp1 + q1 * (bp1 >> 9) >> 10)
            buf = ptr16(uint(buf) + stride)
            bp1 += f * first
            lp2 += f * (bp2 >> 9) >> 3
            first = f * (first - (lp2 + q2 * (bp2 >> 9) >> 10))
            bp2 += first
            first = bp2 - b1 * (first >> 8) >> 9
            if first < 0:
                first = 0 - first
            n = first >> 12
            first &= 0xFFF
            high += n * n
            mid += n * first
            low += first * first
            block -= 1
        # to Q: high * 2**24, mid * 2**13 and low, in limbs
        n = int(limbs[4]) + (low & 0xFFFF) + ((mid & 7) << 13)
        limbs[4] = n
        n = (n >> 16) + int(limbs[5]) + (low >> 16) + ((mid >> 3) & 0xFFFF)
        n += (high & 0xFF) << 8
        limbs[5] = n
        acc[3] = int(acc[3]) + (n >> 16) + (mid >> 19) + (high >> 8)
    state[0] = lp1
    state[1] = bp1
    state[2] = lp2
    state[3] = bp2
