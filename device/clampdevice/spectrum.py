"""Bands and the dominant line of a vibration, from the spectrum of blocks.

Owns the blocks: `points` frames in a row, Hann window, no overlap, one FFT an axis. A band is the
root of the mean square between its edges. A line leaks into the two bins beside its own, so
within two bins of an edge it counts for both sides in part; a burst counts by its place in the
block, from nothing at the ends to 8/3 in the middle, and right on the average. The dominant line
is the highest of the strongest block of a record, between bins by the ratio of the highest two.

A record has the blocks that ended in it; where none did, or samples are missing, it has none.
"""

import math
from array import array

from clampdevice.powers import add_powers, largest

BANDS_MOST = 8
DEFAULT_POINTS = 1024
POINTS = (256, 512, 1024, 2048)
LOWEST_HZ = 5.0  # of the dominant line; below are drift and what is left of gravity
# A line counts if its square is so many times the mean of the noise in a bin: the highest of
# 1,500 bins of noise alone reaches 20 times once in 300,000 records.
_OF_NOISE = 20.0
_HANN_SQUARE = 0.375  # mean of the window's square


def octaves(rate_hz: float) -> tuple:
    """Eight bands of an octave each, up to half of the rate, lowest first."""
    top = rate_hz / 2
    return tuple((top / (1 << k + 1), top / (1 << k)) for k in range(BANDS_MOST - 1, -1, -1))


class SpectrumMeter:
    """Spectra of all axes of one sensor. `add` allocates nothing but two views a block.

    Args:
        kernels: see `clampdevice.kernels`.
        axes: number of axes, the first slots of a frame.
        stride: values a frame.
        rate_hz: frames a second.
        bands: pairs (low, high) in Hz, at most `BANDS_MOST`.
        points: frames a block, one of `POINTS`.
    """

    def __init__(
        self, kernels, axes: int, stride: int, rate_hz: float, bands: tuple, points: int
    ) -> None:  # fmt: skip
        self._kernels = kernels
        self._axes = axes
        self._stride = stride
        self._points = points
        self.hz_per_bin = rate_hz / points
        half = points // 2
        self._edges = tuple(
            (
                min(half, max(1, math.ceil(low / self.hz_per_bin))),
                min(half, max(1, math.ceil(high / self.hz_per_bin))),
            )
            for low, high in bands
        )
        self._lowest = max(2, math.ceil(LOWEST_HZ / self.hz_per_bin))
        self._table = kernels.fft_table(points)
        self._fft = kernels.fft
        self._work = array("i", bytes(4 * points))
        self._out = array("I", bytes(4 * (half + 1)))
        self._block = array("H", bytes(2 * points * stride))
        self._view = memoryview(self._block)
        self._halves = array("I", [0, 0])
        self._filled = 0
        self._biases = [0] * axes
        self._clear()

    def _clear(self) -> None:
        self._blocks = 0
        self._squares = [[0.0] * len(self._edges) for _ in range(self._axes)]
        self._lines = [(0.0, 0.0)] * self._axes  # (amplitude in LSB, bins) of the strongest block

    def set_biases(self, biases: list) -> None:
        """About the mean of each axis, so that gravity does not take the arithmetic's range."""
        self._biases = biases

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        source = memoryview(buf)
        stride = self._stride
        while n:
            count = min(n, self._points - self._filled)
            at = self._filled * stride
            self._view[at : at + count * stride] = source[first : first + count * stride]
            first += count * stride
            n -= count
            self._filled += count
            if self._filled == self._points:
                self._filled = 0
                self._end_block()

    def gap(self) -> None:
        """Samples are missing: the block begun is dropped."""
        self._filled = 0

    def _end_block(self) -> None:
        self._blocks += 1
        points = self._points
        out = self._out
        half = points // 2
        for axis in range(self._axes):
            exponent = self._fft(
                self._block, axis, points, self._stride, self._biases[axis], 1, self._table,
                self._work, out,
            )  # fmt: skip
            scale = 2 * 4.0**exponent / (_HANN_SQUARE * points * points)
            squares = self._squares[axis]
            for band, (begin, end) in enumerate(self._edges):
                halves = self._halves
                halves[0] = halves[1] = 0
                add_powers(out, begin, end, halves)
                squares[band] += scale * (halves[0] + 65536.0 * halves[1])
            peak = largest(out, self._lowest, half)
            line = self._line(peak, exponent)
            if line[0] > self._lines[axis][0]:
                self._lines[axis] = line

    def _line(self, peak: int, exponent: int) -> tuple:
        """(amplitude in LSB, place in bins) of the line around bin `peak`."""
        out = self._out
        power = out[peak]
        if not power:
            return 0.0, 0.0
        side = 1 if out[peak + 1] > out[peak - 1] else -1
        ratio = math.sqrt(out[peak + side] / power)
        off = min(0.5, max(0.0, (2 * ratio - 1) / (ratio + 1)))
        amplitude = self._kernels.fft_amplitude(power, exponent, self._points, 1)
        if off > 1e-3:
            amplitude *= math.pi * off * (1 - off * off) / math.sin(math.pi * off)
        return amplitude, peak + side * off

    def take_record(self, noise_lsb: float = 0.0) -> list | None:
        """Of each axis (bands, line) over the record that ends here; None without a block.

        `bands`: RMS in LSB, the noise's share taken off in quadrature, 0 where less than that is
        left. `line`: (Hz, amplitude in LSB), None where nothing stands out of the noise.

        Args:
            noise_lsb: RMS of the noise of one axis, white up to half the rate.
        """
        blocks, squares, lines = self._blocks, self._squares, self._lines
        self._clear()
        if not blocks:
            return None
        noise = noise_lsb * noise_lsb
        least = math.sqrt(_OF_NOISE * noise / _HANN_SQUARE * 2.25 / self._points)
        result = []
        for axis in range(self._axes):
            bands = []
            for square, (begin, end) in zip(squares[axis], self._edges):
                share = noise * 2 * (end - begin) / self._points
                rest = square / blocks - share
                bands.append(math.sqrt(rest) if rest > share else 0.0)
            amplitude, place = lines[axis]
            line = (place * self.hz_per_bin, amplitude) if amplitude > least else None
            result.append((bands, line))
        return result
