"""Real power of a current and a voltage that are sampled one after the other in a frame.

Owns the products, at three lags a frame apart, and the interpolation between them to the lag that
takes off both the skew of the slots and the phase error of the transformers. Between three lags a
parabola is right within 0.001 % of the fundamental's power at 128 samples a cycle, 2 % of order
15's. Products are exact integers around the means of the very samples that were paired, across
the ends of blocks and windows, so nothing is lost or counted twice there.

A transformer's phase error is positive where its output leads (IEC 61869-2); the current belongs
to a later voltage then. Loaded only where a channel asks for power.
"""

from array import array

from clampdevice.window import FRAC_BITS

LAGS = 3
# Frames by which the lag may move with the current's level, from the middle of the three.
REACH = 1.5


def lag_frames(slot: int, v_slot: int, slots: int, rate_hz: float, deg: float, hz: float) -> float:
    """Frames by which the voltage must be taken later than the current it belongs to.

    Of `slots` in a frame they have `slot` and `v_slot`, at `rate_hz` frames a second; `deg` is the
    phase error of the current less that of the voltage at `hz`, the mains, positive for a lead.
    """
    return (slot - v_slot) / slots + deg / 360 * rate_hz / hz


class PowerMeter:
    """Mean product of two slots of a frame. `add` allocates nothing.

    Args:
        kernels: see `clampdevice.kernels`.
        slot, v_slot: of current and voltage.
        stride: values a frame.
        lag: see `lag_frames`, at a usual current; the three lags lie around it.
    """

    def __init__(self, kernels, slot: int, v_slot: int, stride: int, lag: float) -> None:
        self._cross = kernels.cross
        self._slot = slot
        self._v_slot = v_slot
        self._stride = stride
        self.lag = round(lag)  # the middle of the three
        self._out = tuple(array("I", [0] * kernels.CROSS_WORDS) for _ in range(LAGS))
        self._reach = max(abs(self.lag - 1), abs(self.lag + 1))
        # The last frames of what went before and the first of what comes, current and voltage.
        self._edge = array("H", [0] * (4 * self._reach))
        self._before = array("H", [0] * (2 * self._reach))
        self._primed = False
        self._clear_record()

    def _clear_record(self) -> None:
        self._products = [0] * LAGS
        self._n = self._v_square = 0

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        a = first + self._slot
        b = first + self._v_slot
        stride = self._stride
        reach = self._reach
        self._copy(buf, a, b, n if n < reach else reach, 2 * reach)
        lag = self.lag - 1
        for out in self._out:
            apart = lag if lag > 0 else -lag
            inside = n - apart
            across = apart if apart < n else n
            if lag >= 0:
                if inside > 0:
                    self._cross(buf, a, b + lag * stride, inside, stride, out)
                if across:
                    self._cross(self._edge, 2 * (reach - lag), 2 * reach + 1, across, 2, out)
            else:
                if inside > 0:
                    self._cross(buf, a + apart * stride, b, inside, stride, out)
                if across:
                    self._cross(self._edge, 2 * reach, 2 * (reach - apart) + 1, across, 2, out)
            lag += 1
        if n >= reach:
            skip = (n - reach) * stride
            self._copy(buf, a + skip, b + skip, reach, 0)
        else:
            edge = self._edge
            for i in range(2 * reach):
                edge[i] = edge[i + 2 * n]

    def _copy(self, buf, a: int, b: int, n: int, at: int) -> None:
        edge = self._edge
        for _ in range(n):
            edge[at] = buf[a]
            edge[at + 1] = buf[b]
            at += 2
            a += self._stride
            b += self._stride

    def close(self, current, voltage, gap: bool) -> None:
        """Ends a window, after the `Window` of both has ended; one with a gap is left out."""
        n = current.n
        good = self._primed and not gap and n and n == voltage.n
        lag = self.lag - 1
        for i in range(LAGS):
            out = self._out[i]
            if good:
                product = out[0] | out[1] << 32
                # The earlier one of each pair stands `lag` frames before its window.
                s, v_s = current.s, voltage.s
                if lag > 0:
                    s += self._shift(lag, 0)
                elif lag < 0:
                    v_s += self._shift(-lag, 1)
                self._products[i] += product - s * v_s // n
            out[0] = out[1] = out[2] = 0
            lag += 1
        if good:
            self._n += n
            self._v_square += voltage.rms_q * voltage.rms_q * n
        for i in range(2 * self._reach):
            self._before[i] = self._edge[i]
        self._primed = bool(n) and not gap

    def _shift(self, frames: int, which: int) -> int:
        """The last `frames` before the window less the last of the window itself."""
        total = 0
        for i in range(self._reach - frames, self._reach):
            total += self._before[2 * i + which] - self._edge[2 * i + which]
        return total

    def take_record(self, lag: float) -> tuple | None:
        """(mean product, RMS of the voltage) over the record that ends here; None without any.

        The product is in units squared of what was paired, the voltage in codes.
        """
        products, n, v_square = self._products, self._n, self._v_square
        self._clear_record()
        if not n:
            return None
        a = max(-REACH, min(REACH, lag - self.lag))
        early, middle, late = products
        mean = middle / n * (1 - a * a) + early / n * a * (a - 1) / 2 + late / n * a * (a + 1) / 2
        return mean, (v_square / n) ** 0.5 / (1 << FRAC_BITS)


class Pair:
    """A current with its voltage, for real power."""

    def __init__(self, current, voltage, kernels) -> None:
        self._current = current
        self._voltage = voltage
        voltage.leave_straight()
        current.leave_straight()
        self._add_current = current.add
        self._slots = (current.config["slot"], voltage.config["slot"], current.stride)
        lag = self._lag(current.full_scale / 4)
        self._meter = PowerMeter(kernels, self._slots[0], self._slots[1], self._slots[2], lag)

    def add(self, buf, first: int, n: int) -> None:
        """The voltage channel has had its turn before."""
        self._add_current(buf, first, n)
        self._meter.add(buf, first, n)

    def close(self, gap: bool) -> None:
        self._meter.close(self._current.window, self._voltage.window, gap)

    def _lag(self, raw: float) -> float:
        current, voltage = self._current, self._voltage
        deg = current.calibration.phase_deg(raw)
        deg -= voltage.calibration.phase_deg(voltage.level or 0.0)
        slot, v_slot, slots = self._slots
        return lag_frames(slot, v_slot, slots, current.rate_hz, deg, voltage.mains_hz)

    def take_record(self, raw: float) -> tuple:
        """(W, V) over the record that ends here, (None, None) without; `raw` is the RMS in A."""
        taken = self._meter.take_record(self._lag(raw))
        if taken is None:
            return None, None
        product, v_rms = taken
        current, voltage = self._current, self._voltage
        a_per_unit = current.calibration.factor(raw) * current.per_unit
        return product * a_per_unit * voltage.factor, voltage.volts(v_rms)
