"""Sums of one series of samples: over the window being filled, and over the record so far.

Owns the exact integers of a window (200 ms) and their aggregation by mean square to a record;
results are fixed-point integers in LSB. What an LSB is worth is the channel's business, where a
window ends the sampler's.
"""

from array import array

FRAC_BITS = 12
_M2_BITS = 8  # of the sum of squared deviations: (d2 << 8) // n loses less than 1/256 LSB**2


class Window:
    """One slot of a frame, or one axis of a sensor.

    `add` allocates nothing and may be called for any number of pieces; `close` ends the window
    and adds it to the record. After `close`, in LSB with `FRAC_BITS` fractional bits: `rms_q`
    around the window's own mean, `mean_q` of the codes as they are, `peak_q` = max |x - mean|;
    `rails` is the number of samples at a rail, `n` of all samples, 0 for an empty window.

    Args:
        kernels: the module `clampdevice.kernels`, or what stands for it.
        slot: place of the series in a frame.
        stride: values a frame.
        rail_lo, rail_hi: codes at or beyond which a sample counts as clipped.
    """

    def __init__(self, kernels, slot: int, stride: int, rail_lo: int, rail_hi: int) -> None:
        self._kernels = kernels
        self._sums = kernels.sums_extremes
        self._slot = slot
        self._stride = stride
        self._rail_lo = rail_lo
        self._rail_hi = rail_hi
        self._acc = array("I", [0] * kernels.ACC_WORDS)
        kernels.clear_acc(self._acc)
        self.n = self.rms_q = self.mean_q = self.peak_q = self.rails = 0
        self.s = 0
        self._clear_record()

    def _clear_record(self) -> None:
        self._record_n = self._record_s = self._record_m2 = 0
        self._record_peak_q = self._record_rails = 0

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        self._sums(
            buf, first + self._slot, n, self._stride, self._acc, self._rail_lo, self._rail_hi
        )

    def close(self) -> None:
        """Ends the window: its results are in the attributes, and in the record."""
        acc = self._acc
        s, q, n = self._kernels.read_acc(acc)
        self.n = n
        self.s = s
        if not n:
            self.rms_q = self.mean_q = self.peak_q = self.rails = 0
            return
        self.rms_q = self._kernels.rms_q(acc, FRAC_BITS)
        self.mean_q = ((s << FRAC_BITS) + (n >> 1)) // n
        self.peak_q = max((acc[5] << FRAC_BITS) - self.mean_q, self.mean_q - (acc[4] << FRAC_BITS))
        self.rails = acc[6]
        self._record_n += n
        self._record_s += s
        self._record_m2 += ((n * q - s * s) << _M2_BITS) // n
        self._record_peak_q = max(self._record_peak_q, self.peak_q)
        self._record_rails += self.rails
        self._kernels.clear_acc(acc)

    def take_record(self) -> tuple:
        """(n, rms_q, mean_q, peak_q, rails) of all windows since the last call; n 0 for none.

        The RMS is the root of the mean square around each window's own mean, weighted by its
        samples, so a window that lost some counts for what it has; the peak is the highest of
        the windows.
        """
        n = self._record_n
        rms_q = mean_q = 0
        if n:
            square = (self._record_m2 << (2 * FRAC_BITS + 2 - _M2_BITS)) // n
            rms_q = (self._kernels.isqrt(square) + 1) >> 1
            mean_q = ((self._record_s << FRAC_BITS) + (n >> 1)) // n
        result = (n, rms_q, mean_q, self._record_peak_q, self._record_rails)
        self._clear_record()
        return result
