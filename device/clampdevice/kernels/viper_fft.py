"""The FFT of reference_fft.py in viper, bit for bit the same.

As viper.py, to which see. Values are stored in `work` with 2**20 added, so that a load is never
negative and needs no sign on a 64-bit PC; they stay below 2**18 (halved in time), products with
15-bit sines below 2**31. Three functions, because one would have too many locals for speed.
"""

import micropython


@micropython.viper
def _load(
    buf: ptr16, first: int, n: int, stride: int, bias: int, hann: int, table: ptr16, work: ptr32
) -> int:
    buf = ptr16(uint(buf) + 2 * first)
    stride *= 2
    first = 0
    start = uint(buf)
    left = n
    while left:
        x = int(buf[0]) - bias
        first |= x ^ (x >> 31)
        buf = ptr16(uint(buf) + stride)
        left -= 1
    up = 0
    while up < 15 and first << up < 1 << 15:
        up += 1
    down = 15 - up
    buf = ptr16(start)
    half_n = n >> 1
    quarter = n >> 2
    place = 0
    i = 0
    while i < n:
        x = int(buf[0]) - bias
        buf = ptr16(uint(buf) + stride)
        if hann:
            first = i if i <= half_n else n - i
            x = x * (32768 - int(table[first + quarter])) >> down
        else:
            x <<= up
        work[2 * place + (i & 1)] = x + (1 << 20)
        if i & 1:
            first = quarter
            while place & first:
                place ^= first
                first >>= 1
            place |= first
        i += 1
    return up


@micropython.viper
def _stage(work: ptr32, n: int, half: int, step: int, down: int, table: ptr16) -> int:
    carry = ((1 << down) >> 1) - (1 << 20)
    offset = 1 << 20
    quarter = n >> 2
    distance = 8 * half
    start = uint(work)
    end = start + 4 * n
    last = start + distance
    angle = 0
    top = 0
    while start < last:
        sine = int(table[angle]) - 16384
        cosine = int(table[angle + quarter]) - 16384
        work = ptr32(start)
        while uint(work) < end:
            other = ptr32(uint(work) + distance)
            n = (int(other[0]) + carry) >> down
            half = (int(other[1]) + carry) >> down
            if angle:
                t = (n * cosine + half * sine + 8192) >> 14
                half = (half * cosine - n * sine + 8192) >> 14
            else:
                t = n
            n = (int(work[0]) + carry) >> down
            other[0] = n - t + offset
            top |= (n - t) ^ ((n - t) >> 31)
            n += t
            work[0] = n + offset
            top |= n ^ (n >> 31)
            n = (int(work[1]) + carry) >> down
            other[1] = n - half + offset
            top |= (n - half) ^ ((n - half) >> 31)
            n += half
            work[1] = n + offset
            top |= n ^ (n >> 31)
            work = ptr32(uint(other) + distance)
        angle += step
        start += 8
    return top


@micropython.viper
def _powers(table: ptr16, work: ptr32, n: int, down: int, out: ptr32) -> object:
    carry = ((1 << down) >> 1) - (1 << 20)
    half_n = n >> 1
    quarter = n >> 2
    x = (int(work[0]) + carry) >> down
    y = (int(work[1]) + carry) >> down
    out[0] = (x + y) * (x + y)
    out[half_n] = (x - y) * (x - y)
    k = 1
    while k <= quarter:
        other = half_n - k
        x = (int(work[2 * k]) + carry) >> down
        y = (int(work[2 * k + 1]) + carry) >> down
        u = (int(work[2 * other]) + carry) >> down
        v = (int(work[2 * other + 1]) + carry) >> down
        sine = int(table[k]) - 16384
        cosine = int(table[k + quarter]) - 16384
        re = (cosine * (y + v) - sine * (x - u) + 8192) >> 14
        im = (cosine * (u - x) - sine * (y + v) + 8192) >> 14
        x += u
        y -= v
        u = (x + re) >> 1
        v = (y + im) >> 1
        out[k] = u * u + v * v
        u = (x - re) >> 1
        v = (y - im) >> 1
        out[other] = u * u + v * v
        k += 1


def fft(buf, first: int, n: int, stride: int, bias: int, hann: int, table, work, out) -> int:
    """See reference_fft.fft."""
    exponent = -_load(buf, first, n, stride, bias, hann, table, work)
    top = 0
    half = 1
    step = n >> 1  # of the angle, from butterfly to butterfly
    while step > 1:
        down = 2 if top >> 17 else 1 if top >> 16 else 0
        exponent += down
        top = _stage(work, n, half, step, down, table)
        half <<= 1
        step >>= 1
    down = 0
    while top >> down >= 1 << 14:
        down += 1
    _powers(table, work, n, down, out)
    return exponent + down
