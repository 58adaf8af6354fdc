"""Sums of one series of samples: over the window being filled, and over the record so far.

Owns the exact integers of a window (200 ms) and their aggregation by mean square to a record;
results are fixed-point integers in LSB. What an LSB is worth is the channel's business, where a
window ends the sampler's.

A board closes dozens of windows a second. What a window ends with is made of integers below 2**30
and of single floats, since every larger integer is two objects on a chip's heap, and what they
leave behind is most of what the collector is called for.
"""

from array import array
from math import sqrt

from clampdevice.kernels.words import mean_q, read_sum

FRAC_BITS = 12
_ONE = 1 << FRAC_BITS


class Window:
    """One slot of a frame, or one axis of a sensor.

    `add` allocates nothing and may be called for any number of pieces; `close` ends the window
    and adds it to the record. After `close`, in LSB with `FRAC_BITS` fractional bits: `rms_q`
    around the window's own mean, `mean_q` as it is, `peak_q` = max |x - mean|, `pp_q` = max -
    min; `rails` is the number of samples at a rail, `n` of all samples, 0 for an empty window.

    Args:
        kernels: the module `clampdevice.kernels`, or what stands for it.
        slot: place of the series in a frame.
        stride: values a frame.
        rail_lo, rail_hi: codes at or beyond which a sample counts as clipped.
        lut: the table that straightens the converter's codes, see `linear.table`, or None. Codes
            that it cannot tell from the lowest or the highest are clipped too.
    """

    def __init__(
        self, kernels, slot: int, stride: int, rail_lo: int, rail_hi: int, lut=None
    ) -> None:  # fmt: skip
        self._kernels = kernels
        self._frac_bits = FRAC_BITS  # of the sums' unit: an LSB, or what the table holds
        self._lut = lut
        if lut is None:
            self._sums = kernels.sums_extremes
        else:
            self._sums_lut = kernels.sums_lut_extremes
            self._frac_bits -= kernels.LUT_FRAC_BITS
            while lut[rail_lo + 1] == lut[rail_lo]:
                rail_lo += 1
            while lut[rail_hi - 1] == lut[rail_hi]:
                rail_hi -= 1
        self._slot = slot
        self._stride = stride
        self._rail_lo = rail_lo
        self._rail_hi = rail_hi
        self._rms_q = kernels.rms_q
        self._acc = array("I", [0] * kernels.ACC_WORDS)
        kernels.clear_acc(self._acc)
        self.n = self.rms_q = self.mean_q = self.peak_q = self.pp_q = self.rails = 0
        self.s = 0
        self.low_q = self.high_q = 0
        self._clear_record()

    def _clear_record(self) -> None:
        self._record_n = self._record_s = 0
        self._record_square = 0.0
        self._record_peak_q = self._record_rails = 0
        self._record_low_q = -1
        self._record_high_q = 0

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        at = first + self._slot
        if self._lut is None:
            self._sums(buf, at, n, self._stride, self._acc, self._rail_lo, self._rail_hi)
        else:
            self._sums_lut(
                buf, at, n, self._stride, self._lut, self._acc, self._rail_lo, self._rail_hi
            )

    def close(self) -> None:
        """Ends the window: its results are in the attributes, and in the record."""
        acc = self._acc
        self.n = n = acc[7]
        self.s = s = read_sum(acc)
        if not n:
            self.rms_q = self.mean_q = self.peak_q = self.pp_q = self.rails = 0
            return
        bits = self._frac_bits
        low, high = acc[4], acc[5]
        if self._lut is not None:
            low, high = self._lut[low], self._lut[high]
        self.rms_q = self._rms_q(acc, bits)
        self.mean_q = mean_q(s, n, bits)
        self.pp_q = (high - low) << bits
        self.peak_q = max((high << bits) - self.mean_q, self.mean_q - (low << bits))
        self.rails = acc[6]
        self._record_n += n
        self._record_s += s
        rms = self.rms_q / _ONE
        self._record_square += rms * rms * n
        self._record_peak_q = max(self._record_peak_q, self.peak_q)
        self._record_rails += self.rails
        if self._record_low_q < 0 or self.rms_q < self._record_low_q:
            self._record_low_q = self.rms_q
        self._record_high_q = max(self._record_high_q, self.rms_q)
        self._kernels.clear_acc(acc)

    def take_record(self) -> tuple:
        """(n, rms_q, mean_q, peak_q, rails) of all windows since the last call; n 0 for none.

        The RMS is the root of the mean square around each window's own mean, weighted by its
        samples, so a window that lost some counts for what it has; to a millionth, by the chip's
        single floats. The peak is the highest of the windows. `low_q` and `high_q` then are the
        smallest and the largest RMS of a window.
        """
        n = self._record_n
        rms_q = mean = 0
        if n:
            rms_q = int(sqrt(self._record_square / n) * _ONE + 0.5)
            mean = mean_q(self._record_s, n, self._frac_bits)
        result = (n, rms_q, mean, self._record_peak_q, self._record_rails)
        self.low_q, self.high_q = self._record_low_q, self._record_high_q
        self._clear_record()
        return result
