"""The mains frequency of one series of samples, from the waveform itself, once a record.

Owns the tracking of the fundamental from 45 to 65 Hz. The samples run through a resonator near
the mains (the kernel `goertzel`), which is read and emptied every 20 ms; the phase by which its
readings advance is the frequency. First from one reading to the next, which is rough and without
ambiguity within 25 Hz, then between the two halves of the record, each weighted by a Hann window.
Harmonics, a half-wave's even ones and a residual offset fall near the zeros of 20 ms.

Withheld (None) with a gap, where the fundamental's amplitude is less than five times the noise
(there 0.02 Hz would not be kept), less than a third of the current or without a steady phase (a
variable-frequency drive), outside 45 to 65 Hz, and for the record in which the resonator stood
elsewhere: it moves there for the next one.
"""

import math
from array import array

LOWEST_HZ = 45.0
HIGHEST_HZ = 65.0
_EDGE_HZ = 0.1  # mains at either end are told, whichever way their readings err
PIECE_S = 0.02
RECORD_S = 1.0

_LEAST_RATE_HZ = 400.0
_TRUST_HZ = 2.5  # from the resonator: beyond it, an image of another frequency may look like one
_RETUNE_HZ = 0.25
_FUNDAMENTAL_SHARE = 0.3
_OF_NOISE = 5.0
_LEAST_NOISE_LSB = 0.3  # the rounding to whole codes
_COHERENCE = 0.8
_TURN = 2 * math.pi


class FrequencyMeter:
    """Frequency of one slot.

    `add` allocates nothing. `hz` is the last frequency found, `mains_hz` before the first.

    Args:
        kernels: see `clampdevice.kernels`.
        slot, stride: place of the series in a frame, and values a frame.
        rate_hz: frames a second, at least 400.
        peak: largest distance of a code from the bias.
        mains_hz: where to look first.

    Raises:
        ValueError: the rate is too low.
    """

    def __init__(
        self, kernels, slot: int, stride: int, rate_hz: float, peak: int, mains_hz: float = 50.0
    ) -> None:
        if rate_hz < _LEAST_RATE_HZ:
            raise ValueError(
                f"frequency of the mains at {rate_hz} samples/s: at least {_LEAST_RATE_HZ:.0f}"
            )
        self._kernels = kernels
        self._goertzel = kernels.goertzel
        self._slot = slot
        self._stride = stride
        self._rate_hz = rate_hz
        self._peak = peak
        self._size = int(rate_hz * PIECE_S + 0.5)  # frames a piece
        pieces = int(RECORD_S * rate_hz / self._size) + 2
        self._s = array("i", [0] * pieces)
        self._d = array("i", [0] * pieces)
        self._coef = array("i", [0] * kernels.GOERTZEL_COEF_WORDS)
        self._state = array("i", [0] * kernels.GOERTZEL_STATE_WORDS)
        self._filled = self._count = 0
        self._whole = True
        self.hz = mains_hz
        self._tune(mains_hz)

    def _tune(self, hz: float) -> None:
        design = self._kernels.goertzel_design(hz, self._rate_hz, self._size, self._peak)
        for i in range(len(self._coef)):
            self._coef[i] = design[i]
        self._e = design[0] / (1 << design[1] + design[2])
        # What the rounded coefficient stands for, in rad a sample.
        self._w = 2 * math.asin(math.sqrt(self._e) / 2)
        self._tuned_hz = self._w * self._rate_hz / _TURN
        self._restart()

    def _restart(self) -> None:
        self._filled = self._count = 0
        self._empty()

    def _empty(self) -> None:
        state = self._state
        state[0] = state[1] = state[2] = 0

    def add(self, buf, first: int, n: int, bias: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`; `bias` is about the mean."""
        at = first + self._slot
        while n:
            piece = self._size - self._filled
            if piece > n:
                piece = n
            self._goertzel(buf, at, piece, self._stride, bias, self._coef, self._state)
            at += piece * self._stride
            n -= piece
            self._filled += piece
            if self._filled == self._size:
                if self._count < len(self._s):
                    self._s[self._count] = self._state[0]
                    self._d[self._count] = self._state[1]
                    self._count += 1
                self._filled = 0
                self._empty()

    def gap(self) -> None:
        """Samples are missing: the phase is lost, and this record's frequency with it."""
        self._whole = False

    def take_record(self, rms_lsb: float, noise_lsb: float = 0.0) -> float | None:
        """The frequency in Hz over the record that ends here; None where it is withheld.

        Args:
            rms_lsb: AC RMS of the record in codes, its noise taken off: 0 if nothing is left.
            noise_lsb: RMS of the noise in codes, 0 where it is not known.
        """
        count, self._count = self._count, 0
        whole, self._whole = self._whole, True
        if not whole:
            self._restart()
            return None
        if count < len(self._s) * 3 // 4 or not rms_lsb:
            return None
        hz, amplitude = self._find(count)
        if not LOWEST_HZ - _EDGE_HZ <= hz <= HIGHEST_HZ + _EDGE_HZ:
            return None
        if amplitude < _FUNDAMENTAL_SHARE * math.sqrt(2) * rms_lsb:
            return None
        if amplitude < _OF_NOISE * max(noise_lsb, _LEAST_NOISE_LSB):
            return None
        trusted = abs(hz - self._tuned_hz) <= _TRUST_HZ
        if abs(hz - self._tuned_hz) > _RETUNE_HZ:
            self._tune(hz)
        if not trusted:
            return None
        self.hz = hz
        return hz

    def _reading(self, k: int) -> tuple:
        """Complex amplitude of piece k, turned to the phase of its last sample."""
        before = self._s[k] - self._d[k]
        return self._d[k] + self._e / 2 * before, math.sin(self._w) * before

    def _find(self, count: int) -> tuple:
        """(Hz, amplitude in codes); 0 Hz if there is no steady phase."""
        advance = self._w * self._size  # of the resonator's own frequency, from piece to piece
        re = im = 0.0
        x0, y0 = self._reading(0)
        for k in range(1, count):
            x, y = self._reading(k)
            re += x * x0 + y * y0
            im += y * x0 - x * y0
            x0, y0 = x, y
        off = (math.atan2(im, re) - advance) % _TURN
        advance += off - _TURN if off > math.pi else off
        half = count // 2
        ax, ay, a_sum = self._turned(0, half, advance)
        bx, by, b_sum = self._turned(half, half, advance)
        a = math.sqrt(ax * ax + ay * ay)
        b = math.sqrt(bx * bx + by * by)
        if a + b < _COHERENCE * (a_sum + b_sum) or 50 * min(a, b) < max(a, b):
            return 0.0, 0.0
        advance += math.atan2(by * ax - bx * ay, bx * ax + by * ay) / half
        hz = advance * self._rate_hz / (_TURN * self._size)
        turns = (hz - self._tuned_hz) * self._size / self._rate_hz
        loss = math.sin(math.pi * turns) / (math.pi * turns) if abs(turns) > 1e-4 else 1.0
        # The weights of each half sum to half / 2, and a resonator gives n / 2 of an amplitude.
        return hz, (a + b) / (half * self._size / 2) / loss

    def _turned(self, begin: int, count: int, advance: float) -> tuple:
        """Sum of `count` readings, each turned back by its advance, and of their magnitudes."""
        x_sum = y_sum = total = 0.0
        for i in range(count):
            weight = math.sin(math.pi * (i + 0.5) / count)
            weight *= weight
            x, y = self._reading(begin + i)
            angle = advance * (begin + i)
            cos = math.cos(angle) * weight
            sin = math.sin(angle) * weight
            x_sum += x * cos + y * sin
            y_sum += y * cos - x * sin
            total += weight * math.sqrt(x * x + y * y)
        return x_sum, y_sum, total
