"""`quantise_plain` of errors.py in viper, the same codes."""

import micropython


@micropython.viper
def quantise(buf: ptr16, first: int, n: int, stride: int, model: ptr16) -> object:
    while n > 0:
        at = (int(buf[first]) << 4) + (((first * 40503) & 0xFFFF) >> 12) + 65536
        code = 0
        bit = 2048
        while bit:
            code += bit
            low = code & 511
            high = 512 + (code >> 9)
            line = int(model[high]) + (((int(model[high + 8]) - 32768) * low) >> 9)
            if at < (code << 7) + int(model[low]) + line:
                code -= bit
            bit >>= 1
        buf[first] = code
        first += stride
        n -= 1
