"""The filters of reference_filter.py and the moments in viper, bit for bit the same.

Imported under MicroPython only. State words are loaded with their sign restored, because a
viper load of 32 bits is zero-extended on a 64-bit PC; bounds are stated at each accumulator.
"""

import micropython


@micropython.viper
def velocity(
    buf: ptr16, first: int, n: int, stride: int, bias: int, coef: ptr32, state: ptr32, acc: ptr32
) -> object:
    sign = 1
    sign <<= 31  # not a literal: 2**31 is no small integer on a chip
    f = coef[0]
    q1 = coef[1]
    q2 = coef[2]
    b1 = coef[3]
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    if n and not state[4]:
        state[4] = 1
        state[0] = (int(p[0]) - bias) << 14
    # |buf - bias| <= 32768: every state < 2**31 by the L1 norms of its impulse response
    lp1 = (int(state[0]) ^ sign) - sign
    bp1 = (int(state[1]) ^ sign) - sign
    lp2 = (int(state[2]) ^ sign) - sign
    bp2 = (int(state[3]) ^ sign) - sign
    limbs = ptr16(acc)
    left = n
    while left:
        # |v| < 2**26: three products of 13 bits each, 32 of them < 2**31
        block = 32 if left > 32 else left
        left -= block
        hh = 0
        hl = 0
        ll = 0
        while block:
            lp1 += f * (bp1 >> 8) >> 3
            hp = ((int(p[0]) - bias) << 3) - ((lp1 >> 3) + q1 * (bp1 >> 11) >> 8)
            p = ptr16(uint(p) + step)
            bp1 += f * hp
            lp2 += f * (bp2 >> 8) >> 3
            hp -= (lp2 >> 3) + q2 * (bp2 >> 11) >> 8
            hp = f * hp
            bp2 += hp
            v = bp2 - b1 * (hp >> 8) >> 6
            if v < 0:
                v = 0 - v
            h = v >> 13
            v &= 0x1FFF
            hh += h * h
            hl += h * v
            ll += v * v
            block -= 1
        # Q += hh << 26 + hl << 14 + ll, by limbs of 16 bits
        t = int(limbs[4]) + (ll & 0xFFFF) + ((hl & 3) << 14)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + (ll >> 16) + ((hl >> 2) & 0xFFFF) + ((hh & 0x3F) << 10)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16) + (hl >> 18) + (hh >> 6)
    state[0] = lp1
    state[1] = bp1
    state[2] = lp2
    state[3] = bp2
    acc[7] = int(acc[7]) + n


@micropython.viper
def moments(buf: ptr16, first: int, n: int, stride: int, mean: int, mom: ptr32) -> object:
    p = ptr16(uint(buf) + 2 * first)
    step = 2 * stride
    left = n
    limbs = ptr16(mom)
    while left:
        block = 128 if left > 128 else left
        left -= block
        # Sums of the products of 16-bit halves, split again into halves: |d| <= 65535,
        # d*d = h * 2**16 + l; 128 halves < 2**23. c_*: d**3 with sign; f_*: d**4.
        s_l = 0
        s_h = 0
        c_0 = 0
        c_1 = 0
        c_2 = 0
        f_0 = 0
        f_1 = 0
        f_2 = 0
        f_3 = 0
        while block:
            d = int(p[0]) - mean
            p = ptr16(uint(p) + step)
            a = d if d > 0 else 0 - d
            s = a * a
            h = (s >> 16) & 0xFFFF
            s &= 0xFFFF
            s_l += s
            s_h += h
            t = a * s
            u = a * h
            if d < 0:
                c_0 -= t & 0xFFFF
                c_1 -= ((t >> 16) & 0xFFFF) + (u & 0xFFFF)
                c_2 -= (u >> 16) & 0xFFFF
            else:
                c_0 += t & 0xFFFF
                c_1 += ((t >> 16) & 0xFFFF) + (u & 0xFFFF)
                c_2 += (u >> 16) & 0xFFFF
            t = s * s
            f_0 += t & 0xFFFF
            f_1 += (t >> 16) & 0xFFFF
            t = s * h
            f_1 += (t & 0xFFFF) << 1
            f_2 += ((t >> 16) & 0xFFFF) << 1
            t = h * h
            f_2 += t & 0xFFFF
            f_3 += (t >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + s_l
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + s_h
        limbs[1] = t
        mom[1] = int(mom[1]) + (t >> 16)
        # d**3: the carries are signed, >> is arithmetic
        t = int(limbs[4]) + c_0
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + c_1
        limbs[5] = t
        mom[3] = int(mom[3]) + (t >> 16) + c_2
        t = int(limbs[8]) + f_0
        limbs[8] = t
        t = (t >> 16) + int(limbs[9]) + f_1
        limbs[9] = t
        t = (t >> 16) + int(limbs[10]) + f_2
        limbs[10] = t
        t = (t >> 16) + int(limbs[11]) + f_3
        limbs[11] = t
        mom[6] = int(mom[6]) + (t >> 16)
    mom[7] = int(mom[7]) + n
