"""Third and fourth moments in viper, on every chip.

As viper.py, to which see for how integers of 32 and 64 bits are kept apart. A board that reports
no kurtosis does not load it.
"""

import micropython


@micropython.viper
def moments(buf: ptr16, first: int, n: int, stride: int, mean: int, mom: ptr32) -> object:
    limbs = ptr16(mom)
    mom[7] = int(mom[7]) + n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    left = n
    while left:
        block = 128 if left > 128 else left
        left -= block
        # Near the mean, |d| <= 4095, d * d = high * 2**12 + low: 128 * 4095**2 < 2**31 each.
        m2 = 0
        m3_low = 0
        m3_high = 0
        m4_low = 0
        m4_mid = 0
        m4_high = 0
        # Further away d * d = high * 2**16 + low; halves of products: 128 * 2**17 < 2**24 each.
        a_0 = 0
        a_1 = 0
        b_0 = 0
        b_1 = 0
        b_2 = 0
        c_0 = 0
        c_1 = 0
        c_2 = 0
        c_3 = 0
        while block:
            first = int(buf[0]) - mean
            buf = ptr16(uint(buf) + stride)
            block -= 1
            n = first * first
            if first <= 4095 and first >= -4095:
                m2 += n
                t = n & 0xFFF
                n >>= 12
                m3_low += first * t
                m3_high += first * n
                m4_low += t * t
                m4_mid += n * t
                m4_high += n * n
            else:
                t = n & 0xFFFF
                n = (n >> 16) & 0xFFFF
                a_0 += t
                a_1 += n
                sign = 1
                if first < 0:
                    first = 0 - first
                    sign = -1
                u = first * t
                b_0 += sign * (u & 0xFFFF)
                b_1 += sign * ((u >> 16) & 0xFFFF)
                u = first * n
                b_1 += sign * (u & 0xFFFF)
                b_2 += sign * ((u >> 16) & 0xFFFF)
                u = t * t
                c_0 += u & 0xFFFF
                c_1 += (u >> 16) & 0xFFFF
                u = n * t
                c_1 += (u & 0xFFFF) << 1
                c_2 += ((u >> 16) & 0xFFFF) << 1
                u = n * n
                c_2 += u & 0xFFFF
                c_3 += (u >> 16) & 0xFFFF
        t = int(limbs[0]) + (m2 & 0xFFFF) + a_0
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (m2 >> 16) + a_1
        limbs[1] = t
        mom[1] = int(mom[1]) + (t >> 16)
        # M3 is signed: >> is arithmetic, so negative carries come out right
        t = int(limbs[4]) + (m3_low & 0xFFFF) + ((m3_high & 0xF) << 12) + b_0
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + (m3_low >> 16) + ((m3_high >> 4) & 0xFFFF) + b_1
        limbs[5] = t
        mom[3] = int(mom[3]) + (t >> 16) + (m3_high >> 20) + b_2
        # M4: high * 2**24, mid * 2**13 and low, in limbs
        t = int(limbs[8]) + (m4_low & 0xFFFF) + ((m4_mid & 7) << 13) + c_0
        limbs[8] = t
        t = (t >> 16) + int(limbs[9]) + (m4_low >> 16) + ((m4_mid >> 3) & 0xFFFF) + c_1
        t += (m4_high & 0xFF) << 8
        limbs[9] = t
        t = (t >> 16) + int(limbs[10]) + (m4_mid >> 19) + ((m4_high >> 8) & 0xFFFF) + c_2
        limbs[10] = t
        t = (t >> 16) + int(limbs[11]) + (m4_high >> 24) + c_3
        limbs[11] = t
        mom[6] = int(mom[6]) + (t >> 16)
