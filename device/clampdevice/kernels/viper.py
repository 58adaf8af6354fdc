"""The sums of reference.py in viper, shipped as source.

A viper int has 32 bits on the chips and 64 on a PC, so no intermediate result passes 32 bits:
the bound of each accumulator stands where it is cleared, and 64-bit words are added in limbs of
16 bits. What is loaded from 32-bit words is used by its low bits only. The first three locals of
a function live in registers (two when mpy-cross compiles), and those are the first parameters:
hence the reuse of `first` and `n`. Imported under MicroPython only.
"""

import micropython


@micropython.viper
def sums(buf: ptr16, first: int, n: int, stride: int, acc: ptr32) -> object:
    limbs = ptr16(acc)
    acc[7] = int(acc[7]) + n
    left = n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    while left:
        # 16384 samples: every sum <= 16384 * 65535 < 2**30
        block = 16384 if left > 16384 else left
        left -= block
        s = 0
        n = 0
        high = 0
        while block:
            first = buf[0]
            buf = ptr16(uint(buf) + stride)
            s += first
            first *= first
            n += first & 0xFFFF
            high += (first >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (n & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + (n >> 16) + (high & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16) + (high >> 16)


@micropython.viper
def sums12(buf: ptr16, first: int, n: int, stride: int, acc: ptr32) -> object:
    limbs = ptr16(acc)
    acc[7] = int(acc[7]) + n
    left = n
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    while left:
        # 256 samples: s <= 256 * 4095 < 2**20, squares <= 256 * 4095**2 < 2**32, read unsigned
        block = 256 if left > 256 else left
        first = 0
        s = 0
        if stride == 2 and block >= 32 and not int(buf) & 2:
            block &= 0x1E0
            left -= block
            while block:
                # two samples a word: 16 words <= 65520 in both halves
                t = (
                    int(ptr32(buf)[0])
                    + int(ptr32(buf)[1])
                    + int(ptr32(buf)[2])
                    + int(ptr32(buf)[3])
                    + int(ptr32(buf)[4])
                    + int(ptr32(buf)[5])
                    + int(ptr32(buf)[6])
                    + int(ptr32(buf)[7])
                    + int(ptr32(buf)[8])
                    + int(ptr32(buf)[9])
                    + int(ptr32(buf)[10])
                    + int(ptr32(buf)[11])
                    + int(ptr32(buf)[12])
                    + int(ptr32(buf)[13])
                    + int(ptr32(buf)[14])
                    + int(ptr32(buf)[15])
                )
                s += (t & 0xFFFF) + ((t >> 16) & 0xFFFF)
                n = buf[0]
                first = n * n + first
                n = buf[1]
                first = n * n + first
                n = buf[2]
                first = n * n + first
                n = buf[3]
                first = n * n + first
                n = buf[4]
                first = n * n + first
                n = buf[5]
                first = n * n + first
                n = buf[6]
                first = n * n + first
                n = buf[7]
                first = n * n + first
                n = buf[8]
                first = n * n + first
                n = buf[9]
                first = n * n + first
                n = buf[10]
                first = n * n + first
                n = buf[11]
                first = n * n + first
                n = buf[12]
                first = n * n + first
                n = buf[13]
                first = n * n + first
                n = buf[14]
                first = n * n + first
                n = buf[15]
                first = n * n + first
                n = buf[16]
                first = n * n + first
                n = buf[17]
                first = n * n + first
                n = buf[18]
                first = n * n + first
                n = buf[19]
                first = n * n + first
                n = buf[20]
                first = n * n + first
                n = buf[21]
                first = n * n + first
                n = buf[22]
                first = n * n + first
                n = buf[23]
                first = n * n + first
                n = buf[24]
                first = n * n + first
                n = buf[25]
                first = n * n + first
                n = buf[26]
                first = n * n + first
                n = buf[27]
                first = n * n + first
                n = buf[28]
                first = n * n + first
                n = buf[29]
                first = n * n + first
                n = buf[30]
                first = n * n + first
                n = buf[31]
                first = n * n + first
                buf = ptr16(uint(buf) + 64)
                block -= 32
        else:
            if stride == 2 and block >= 32:
                block = 1  # to the next word
            left -= block
            while block:
                n = buf[0]
                buf = ptr16(uint(buf) + stride)
                s += n
                first = n * n + first
                block -= 1
        t = int(limbs[0]) + (s & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (s >> 16)
        limbs[1] = t
        acc[1] = int(acc[1]) + (t >> 16)
        t = int(limbs[4]) + (first & 0xFFFF)
        limbs[4] = t
        t = (t >> 16) + int(limbs[5]) + ((first >> 16) & 0xFFFF)
        limbs[5] = t
        acc[3] = int(acc[3]) + (t >> 16)


@micropython.viper
def linearise(buf: ptr16, first: int, n: int, stride: int, lut: ptr16) -> object:
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    while n:
        buf[0] = lut[int(buf[0])]
        buf = ptr16(uint(buf) + stride)
        n -= 1


@micropython.viper
def cross(buf: ptr16, first_a: int, first_b: int, n: int, stride: int, out: ptr32) -> object:
    limbs = ptr16(out)
    out[2] = int(out[2]) + n
    other = ptr16(uint(buf) + 2 * first_b)
    buf = ptr16(uint(buf) + 2 * first_a)
    stride *= 2
    while n:
        # 16384 products: both sums <= 16384 * 65535 < 2**30
        block = 16384 if n > 16384 else n
        n -= block
        low = 0
        high = 0
        while block:
            first_a = int(buf[0]) * int(other[0])
            buf = ptr16(uint(buf) + stride)
            other = ptr16(uint(other) + stride)
            low += first_a & 0xFFFF
            high += (first_a >> 16) & 0xFFFF
            block -= 1
        t = int(limbs[0]) + (low & 0xFFFF)
        limbs[0] = t
        t = (t >> 16) + int(limbs[1]) + (low >> 16) + (high & 0xFFFF)
        limbs[1] = t
        out[1] = int(out[1]) + (t >> 16) + (high >> 16)
