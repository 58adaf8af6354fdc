"""The fixed-point FFT against discrete Fourier sums in floats."""

import math
from array import array

from clampdevice import kernels

SIZES = (256, 512, 1024, 2048)


def spectrum(buf, first, n, stride, bias, hann):
    table = kernels.fft_table(n)
    work = array("i", [0] * n)
    out = array("I", [0] * (n // 2 + 1))
    return out, kernels.fft(buf, first, n, stride, bias, hann, table, work, out)


def dft_power(values, k):
    n = len(values)
    re = im = 0.0
    for i in range(n):
        re += values[i] * math.cos(2 * math.pi * k * i / n)
        im += values[i] * math.sin(2 * math.pi * k * i / n)
    return re * re + im * im


def windowed(buf, first, n, stride, bias, hann):
    found = []
    for i in range(n):
        x = buf[first + i * stride] - bias
        found.append(x * math.sin(math.pi * i / n) ** 2 if hann else x)
    return found


def tones(n, bias, parts):
    found = array("H", bytes(2 * n))
    for i in range(n):
        x = bias + 0.5
        for k, amplitude in parts:
            x += amplitude * math.sin(2 * math.pi * k * i / n + 1)
        found[i] = int(x)
    return found


def test_amplitudes_of_all_sizes():
    for n in SIZES:
        for bias, peak in ((2048, 1500.0), (32768, 24000.0)):
            buf = tones(n, bias, ((19, peak), (50, peak / 100), (n // 2 - 9, peak / 10)))
            for hann in (0, 1):
                out, exponent = spectrum(buf, 0, n, 1, bias, hann)
                for k, wanted in ((19, peak), (50, peak / 100), (n // 2 - 9, peak / 10)):
                    found = kernels.fft_amplitude(out[k], exponent, n, hann)
                    assert abs(found - wanted) < 0.001 * wanted + peak * 2e-4, (n, hann, k, found)


def test_every_bin_of_noise():
    n, bias = 256, 32768
    seed = 5
    buf = array("H", bytes(2 * 3 * n + 4))
    for i in range(len(buf)):
        seed = (seed * 1664525 + 1013904223) % (1 << 32)
        buf[i] = seed >> 16
    for first, stride, hann in ((0, 1, 0), (2, 3, 1)):
        out, exponent = spectrum(buf, first, n, stride, bias, hann)
        values = windowed(buf, first, n, stride, bias, hann)
        largest = max([dft_power(values, k) for k in range(0, n // 2 + 1, 16)])
        for k in range(n // 2 + 1):
            wanted = math.sqrt(dft_power(values, k))
            found = math.sqrt(out[k]) * 2.0**exponent
            assert abs(found - wanted) < 4e-4 * math.sqrt(largest), (k, found, wanted)


def test_silence_full_scale_and_the_smallest_signal():
    n = 256
    out, _exponent = spectrum(array("H", [2048] * n), 0, n, 1, 2048, 0)
    assert max(out) == 0
    out, exponent = spectrum(array("H", [65535] * n), 0, n, 1, 32768, 0)
    assert abs(math.sqrt(out[0]) * 2.0**exponent / (32767.0 * n) - 1) < 1e-3
    square = array("H", [65535 if i & 1 else 0 for i in range(n)])
    out, exponent = spectrum(square, 0, n, 1, 32768, 0)
    assert abs(math.sqrt(out[n // 2]) * 2.0**exponent / (32767.5 * n) - 1) < 1e-3
    one = array("H", [2048] * n)
    one[3] = 2049
    out, exponent = spectrum(one, 0, n, 1, 2048, 0)
    for k in range(n // 2 + 1):
        assert abs(math.sqrt(out[k]) * 2.0**exponent - 1) < 0.01, k


def test_table_refuses_other_sizes():
    for n in (0, 128, 1000, 4096):
        try:
            kernels.fft_table(n)
        except ValueError as error:
            assert str(n) in str(error)
        else:
            raise AssertionError(n)
