"""Harmonics of the mains, RMS of each, over windows of whole cycles.

Owns the windows of 10 cycles (12 near 60 Hz), cut at the measured frequency and independent of
the record's own, and the bank of resonators, one an order. Ref: IEC 61000-4-7, whose window and
aggregation by mean square this follows; groups of interharmonics it does not. Total distortion
is that of orders 2 to 15 against the fundamental.

A record has those windows that ended in it, four or five. They are withheld (None) until the
frequency is known, and in a record with a gap. On a drive's output there is no mains frequency,
so nothing is told there.
"""

import math
from array import array

from clampdevice.names import ORDERS

WINDOW_S = 0.2
_WINDOWS = 6  # that may end in one record
# Retuning costs the window begun; at 0.02 Hz order 15 is 0.06 cycles off in 200 ms: 0.6 %.
_RETUNE_HZ = 0.02
_TOP_SHARE = 0.36  # of the rate, up to which `goertzel_design` goes


class HarmonicsMeter:
    """Harmonics 1 to 15 of one slot. `add` allocates nothing.

    Args:
        kernels: see `clampdevice.kernels`.
        slot, stride: place of the series in a frame, and values a frame.
        rate_hz: frames a second; orders at or above 0.36 of it are never told.
        peak: largest distance of a code from the bias.
    """

    def __init__(self, kernels, slot: int, stride: int, rate_hz: float, peak: int) -> None:
        self._kernels = kernels
        self._goertzel = kernels.goertzel
        self._slot = slot
        self._stride = stride
        self._rate_hz = rate_hz
        self._peak = peak
        self._bank: tuple = ()  # (coef, state) of each order
        words = kernels.GOERTZEL_STATE_WORDS
        self._spare = tuple(
            (array("i", [0] * kernels.GOERTZEL_COEF_WORDS), array("i", [0] * words))
            for _ in range(ORDERS)
        )
        self._ended = array("i", [0] * (2 * ORDERS * _WINDOWS))
        self._reading = array("i", [0] * words)
        self._size = self._filled = self._count = 0
        self._whole = True
        self.hz = 0.0

    def tune(self, hz: float) -> None:
        """Sets the fundamental; does nothing if it is there already."""
        if abs(hz - self.hz) < _RETUNE_HZ:
            return
        self.hz = hz
        cycles = int(WINDOW_S * hz + 0.5)
        self._size = int(cycles * self._rate_hz / hz + 0.5)
        orders = 0
        while orders < ORDERS and (orders + 1) * hz < _TOP_SHARE * self._rate_hz:
            design = self._kernels.goertzel_design(
                (orders + 1) * hz, self._rate_hz, self._size, self._peak
            )
            coef = self._spare[orders][0]
            for i in range(len(coef)):
                coef[i] = design[i]
            orders += 1
        self._bank = self._spare[:orders]
        self._restart()

    def _restart(self) -> None:
        self._filled = self._count = 0
        for _coef, state in self._bank:
            state[0] = state[1] = state[2] = 0

    def add(self, buf, first: int, n: int, bias: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`; `bias` is about the mean."""
        if not self._size:
            return
        at = first + self._slot
        while n:
            piece = self._size - self._filled
            if piece > n:
                piece = n
            for coef, state in self._bank:
                self._goertzel(buf, at, piece, self._stride, bias, coef, state)
            at += piece * self._stride
            n -= piece
            self._filled += piece
            if self._filled == self._size:
                self._end_window()

    def _end_window(self) -> None:
        """Sets the readings aside: floats would allocate, and this may be within a block."""
        at = 2 * ORDERS * self._count
        if self._count < _WINDOWS:
            self._count += 1
        else:
            at -= 2 * ORDERS
        for _coef, state in self._bank:
            self._ended[at] = state[0]
            self._ended[at + 1] = state[1]
            at += 2
            state[0] = state[1] = state[2] = 0
        self._filled = 0

    def gap(self) -> None:
        """Samples are missing: windows of this record are not told."""
        self._whole = False

    def take_record(self, noise_lsb: float = 0.0) -> list | None:
        """RMS in codes of orders 1 to 15 over the record that ends here, None for those above
        half the rate; None altogether without a window.

        Args:
            noise_lsb: RMS of the noise in codes; its share of each order is taken off.
        """
        count, self._count = self._count, 0
        whole, self._whole = self._whole, True
        if not whole:
            self._restart()
            return None
        if not count:
            return None
        # White noise of the RMS s gives each order s * sqrt(2 / n).
        noise = 2 * noise_lsb * noise_lsb / self._size
        result: list = [None] * ORDERS
        reading = self._reading
        for order in range(len(self._bank)):
            square = 0.0
            for window in range(count):
                at = 2 * (ORDERS * window + order)
                reading[0] = self._ended[at]
                reading[1] = self._ended[at + 1]
                amplitude = self._kernels.goertzel_amplitude(
                    self._bank[order][0], reading, self._size
                )
                square += amplitude * amplitude / 2
            result[order] = math.sqrt(max(0.0, square / count - noise))
        return result

    @staticmethod
    def thd_pct(harmonics: list) -> float | None:
        """Total harmonic distortion in percent of the fundamental; None without one."""
        if not harmonics[0]:
            return None
        square = sum(each * each for each in harmonics[1:] if each)
        return 100 * math.sqrt(square) / harmonics[0]
