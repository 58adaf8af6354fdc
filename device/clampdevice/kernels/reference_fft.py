"""Plain reference of the fixed-point FFT of real samples.

n real samples go through a complex transform of n/2 points with block floating point: values
keep 17 bits, and before each stage all are halved as often as the stage could overflow them.
viper_fft.py returns the same bits. See reference.py for the shared arguments.
"""


def fft(buf, first: int, n: int, stride: int, bias: int, hann: int, table, work, out) -> int:
    """Power spectrum of the n samples less `bias`.

    |X[k]|**2 = out[k] * 4**exponent for k of 0 to n/2, X the plain discrete Fourier transform;
    `fft_amplitude` turns one into the amplitude of a sine. The largest bin is right within 0.1 %
    and the noise of the arithmetic lies 80 dB and more below it.

    n is 256, 512, 1024 or 2048; |sample - bias| at most 32768. With `hann` 1 the samples are
    windowed by sin(pi i / n)**2, with 0 they are not. `table` is `fft_table(n)`, `work` array('i')
    of n words for the kernel's own use, `out` array('I') of n/2 + 1 words.

    Returns:
        The exponent, about -10 to 12.
    """
    half_n = n >> 1
    quarter = n >> 2
    top = 0
    for i in range(first, first + n * stride, stride):
        x = buf[i] - bias
        top |= x ^ (x >> 31)
    up = 0
    while up < 15 and top << up < 1 << 15:
        up += 1
    exponent = -up
    place = 0  # i with its bits reversed
    for i in range(n):
        x = buf[first + i * stride] - bias
        if hann:
            angle = i if i <= half_n else n - i
            x = x * (32768 - table[angle + quarter]) >> (15 - up)
        else:
            x <<= up
        work[2 * place + (i & 1)] = x
        if i & 1:
            bit = quarter
            while place & bit:
                place ^= bit
                bit >>= 1
            place |= bit
    top = 0
    half = 1
    while half < half_n:
        down = 2 if top >> 17 else 1 if top >> 16 else 0
        exponent += down
        top = _stage(table, work, n, half, down)
        half <<= 1
    down = 0
    while top >> down >= 1 << 14:
        down += 1
    _powers(table, work, n, down, out)
    return exponent + down


def _stage(table, work, n: int, half: int, down: int) -> int:
    """Butterflies of distance `half`; returns a word with the top bit of the largest value."""
    carry = (1 << down) >> 1
    top = 0
    for k in range(half):
        angle = k * (n >> 1) // half
        sine = table[angle] - 16384
        cosine = table[angle + (n >> 2)] - 16384
        for a in range(2 * k, n, 4 * half):
            b = a + 2 * half
            x = (work[b] + carry) >> down
            y = (work[b + 1] + carry) >> down
            if k:
                t = (x * cosine + y * sine + 8192) >> 14
                y = (y * cosine - x * sine + 8192) >> 14
                x = t
            re = (work[a] + carry) >> down
            im = (work[a + 1] + carry) >> down
            for at, v in ((a, re + x), (a + 1, im + y), (b, re - x), (b + 1, im - y)):
                work[at] = v
                top |= v ^ (v >> 31)
    return top


def _powers(table, work, n: int, down: int, out) -> None:
    """Separates the spectra of even and odd samples, joins them, and squares."""
    half_n = n >> 1
    carry = (1 << down) >> 1
    x = (work[0] + carry) >> down
    y = (work[1] + carry) >> down
    out[0] = (x + y) * (x + y)
    out[half_n] = (x - y) * (x - y)
    for k in range(1, (n >> 2) + 1):
        other = half_n - k
        x = (work[2 * k] + carry) >> down
        y = (work[2 * k + 1] + carry) >> down
        u = (work[2 * other] + carry) >> down
        v = (work[2 * other + 1] + carry) >> down
        sine = table[k] - 16384
        cosine = table[k + (n >> 2)] - 16384
        re = (cosine * (y + v) - sine * (x - u) + 8192) >> 14
        im = (cosine * (u - x) - sine * (y + v) + 8192) >> 14
        x += u
        y -= v
        out[k] = ((x + re) >> 1) * ((x + re) >> 1) + ((y + im) >> 1) * ((y + im) >> 1)
        out[other] = ((x - re) >> 1) * ((x - re) >> 1) + ((y - im) >> 1) * ((y - im) >> 1)
