"""A vibration channel: the axes of an accelerometer to m/s2 and mm/s.

Owns the scale from counts, the noise floor and the features of a vibration: acceleration RMS
without gravity, peak, crest factor, kurtosis, and velocity RMS from 10 to 1000 Hz. Sums are
`window.py`, filter and moments the kernels'.
"""

from array import array
from math import nan, pi, sqrt

from clampdevice.borrow import Borrowed
from clampdevice.feature import STANDARD_GRAVITY_M_S2, signed, unsigned, without_noise
from clampdevice.vibrationnames import is_extra
from clampdevice.window import FRAC_BITS, Window
from clampwire.values import BELOW_FLOOR, CLIPPED, GAP

# Sources give counts in offset binary of 16 bits, whatever the sensor's resolution.
ZERO = 0x8000
# Windows in which the velocity filter (high-pass of 4th order at 6 Hz) forgets what came before:
# after 1 s less than a millionth is left of a step.
SETTLING_WINDOWS = 5

_ONE = 1 << FRAC_BITS
_PER_AXIS = ("a", "mean", "peak", "crest", "kurtosis", "v")
_V_LIMIT_MM_S = 655.34  # at a step of 0.01 mm/s


class _Axis:
    """One axis: its window, and on request its velocity and its moments."""

    def __init__(self, kernels, slot: int, stride: int, half: int, filter_design) -> None:
        self._kernels = kernels
        self._slot = slot
        self._stride = stride
        self.window = Window(kernels, slot, stride, ZERO - half, ZERO + half - 1)
        self.coef = None
        if filter_design:
            self.coef = array("i", filter_design[0])
            self.v_scale = filter_design[1]
            self._state = array("i", [0] * kernels.VELOCITY_STATE_WORDS)
            self._v_acc = array("I", [0] * kernels.ACC_WORDS)
            kernels.clear_acc(self._v_acc)
            self._velocity = kernels.velocity
        self.v_q = self.v_n = 0  # sum of squares of the window closed last, and its samples
        self.record_v_q = self.record_v_n = 0
        self.mom = array("I")
        self._reference = ZERO
        self.m2 = self.m4 = self.m_n = 0  # central, of the window closed last
        self.record_m2 = self.record_m4 = 0

    def want_moments(self) -> None:
        self.mom = array("I", [0] * self._kernels.MOM_WORDS)
        self._moments = self._kernels.moments

    def add(self, buf, first: int, n: int) -> None:
        self.window.add(buf, first, n)
        first += self._slot
        if self.coef is not None:
            self._velocity(buf, first, n, self._stride, ZERO, self.coef, self._state, self._v_acc)
        if self.mom:
            self._moments(buf, first, n, self._stride, self._reference, self.mom)

    def close(self, settled: bool) -> None:
        self.window.close()
        if self.coef is not None:
            _s, q, n = self._kernels.read_acc(self._v_acc)
            self._kernels.clear_acc(self._v_acc)
            self.v_q, self.v_n = (q, n) if settled else (0, 0)
            if settled:
                self.record_v_q += q
                self.record_v_n += n
        if self.mom:
            self._close_moments()

    def _close_moments(self) -> None:
        """Moves the moments from the reference (an old mean) to the window's own mean."""
        mom = self.mom
        m2, m3, m4, n = self._kernels.read_moments(mom)
        for i in range(self._kernels.MOM_WORDS):
            mom[i] = 0
        self.m_n = n
        if not n:
            return
        d1 = self.window.s - n * self._reference  # n * (mean - reference), exact
        # Central moments times n**2 and n**4, in integers: nothing cancels.
        self.m2 = n * m2 - d1 * d1
        self.m4 = n * (n * (n * m4 - 4 * d1 * m3) + 6 * d1 * d1 * m2) - 3 * d1 * d1 * d1 * d1
        self.record_m2 += self.m2 // n
        self.record_m4 += self.m4 // (n * n * n)
        self._reference = (self.window.s + (n >> 1)) // n


class VibrationChannel:
    """Features of one accelerometer.

    `a` is the RMS of the acceleration vector without its mean, so without gravity: the root of
    the sum of the axes' variances, noise taken off in quadrature, 0 with the flag below_floor
    where less than the noise is left. Per axis, as `a_x`: `a`, `mean` (gravity), `peak` (from the
    mean), `crest`, `kurtosis` (Pearson, 3 for a Gaussian) and `v`, the velocity RMS. Crest factor
    and kurtosis are withheld below the floor, velocity in the first second after start and after
    a gap. What `vibrationextra.py` owns comes only where it is asked for.

    Args:
        config: the channel's part of board.json: optional `axes` ("xyz"; an axis of the sensor a
            letter, in the order of the frame), `noise_floor` in m/s2 RMS of one axis, `features`;
            `gain` and `offset_m_s2`, one an axis, as `clampdevice.gravity` has found them.
        sensor: the source's part of board.json: `bits` and `lsb_per_g`.
        source: for its `rate_hz` and `slots`.
        kernels: see `clampdevice.kernels`.

    Raises:
        ValueError: velocity is asked for at a rate for which the filter has no design; gain or
            offset are not one an axis.
    """

    quantity = "vibration"
    source_name = "accelerometer"

    def __init__(self, config: dict, sensor: dict, source, kernels) -> None:
        self.config = config
        self.key = config["key"]
        axes = config.get("axes", "xyz")
        self._names = axes
        self._features = tuple(config.get("features", ["a"] + ["v_" + name for name in axes]))
        m_s2_per_lsb = STANDARD_GRAVITY_M_S2 / sensor["lsb_per_g"]
        gains = config.get("gain") or (1.0,) * len(axes)
        offsets = config.get("offset_m_s2") or (0.0,) * len(axes)
        if len(gains) != len(axes) or len(offsets) != len(axes):
            raise ValueError(f"{self.key}: gain and offset_m_s2 are one each of {axes!r}")
        self._scales = tuple(m_s2_per_lsb * gain for gain in gains)
        self._zeros = tuple(gain * offset for gain, offset in zip(gains, offsets))
        half = 1 << (sensor["bits"] - 1)
        self._range_m_s2 = half * m_s2_per_lsb
        self._rate_hz = source.rate_hz
        velocity = any(key.startswith("v_") or key == "zone" for key in self._features)
        design = None
        if velocity:
            with Borrowed():
                design = kernels.velocity_design(source.rate_hz)
        self._axes = tuple(
            _Axis(kernels, slot, source.slots, half, design) for slot in range(len(axes))
        )
        if any(key.startswith("kurtosis_") for key in self._features):
            for axis in self._axes:
                axis.want_moments()
        # What a record needs: (key, place in `_PER_AXIS`, number of the axis).
        self._wanted = tuple(self._plan(self._features))
        if "zone" in self._features:
            self._wanted = tuple(self._plan(["v_" + name for name in axes])) + self._wanted
        self._kernels = kernels
        self._axis_floor = config.get("noise_floor", 0.0)
        self._floor = self._axis_floor * sqrt(len(axes))
        self._v_floor_mm_s = _velocity_of_noise(self._axis_floor, source.rate_hz)
        self._settling = SETTLING_WINDOWS
        self._gap = False
        self.extra = None
        if any(is_extra(key) for key in self._features):
            from clampdevice.vibrationextra import Extra

            self.extra = Extra(config, self._features, axes, source, kernels)
        self.level = None  # of the window closed last: `a`, m/s2; None without samples

    def _plan(self, keys: list | tuple) -> list:
        """What `_values` reads for those of `keys` that are an axis's own."""
        found = []
        for key in keys:
            stem, _, axis = key.partition("_")
            if stem in _PER_AXIS and axis:
                found.append((key, _PER_AXIS.index(stem), self._names.index(axis)))
        return found

    def describe(self) -> tuple:
        """Describe's fields from `key` on. full_scale: the sensor's range of one axis, peak."""
        most = self._range_m_s2
        per_axis = {
            "a": unsigned("", "m/s2", most),
            "mean": signed("", "m/s2", most),
            "peak": unsigned("", "m/s2", 2 * most),
            "crest": ("", "", ord("H"), 10, -4),
            "kurtosis": ("", "", ord("H"), 10, -4),
            "v": unsigned("", "mm/s", _V_LIMIT_MM_S),
        }
        if self.extra is not None:
            per_axis.update(self.extra.describe(most))
        features = []
        for key in self._features:
            _key, unit, code, mult, exp = per_axis[key.split("_")[0]]
            features.append((key, unit, code, mult, exp))
        config = self.config
        return (
            self.key,
            "vibration",
            "m/s2",
            config.get("sensor", ""),
            self._rate_hz,
            most,
            self._floor or nan,
            config.get("uncertainty_pct", nan),
            config.get("calibration", ""),
            tuple(features),
        )

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        i = 0
        while i < len(self._axes):  # `for` would need more than the chip's stack gives a call
            self._axes[i].add(buf, first, n)
            i += 1
        if self.extra is not None:
            self.extra.add(buf, first, n)

    def close(self, gap: bool) -> None:
        """Ends a window; `gap` says that samples of it are missing."""
        if gap:
            self._settling = SETTLING_WINDOWS + 1  # this one, and a full second after it
        settled = not self._settling
        if self._settling:
            self._settling -= 1
        square = 0.0
        for axis, scale in zip(self._axes, self._scales):
            axis.close(settled)
            square += (axis.window.rms_q * scale) ** 2
        self._gap = self._gap or gap
        if self.extra is not None:
            self.extra.close(gap, [axis.window for axis in self._axes])
        filled = self._axes[0].window.n
        self.level = without_noise(sqrt(square) / _ONE, self._floor) if filled else None

    def window_features(self) -> dict:
        """Every feature of the window closed last, and `clipped`, the samples at a rail."""
        states = []
        for axis in self._axes:
            window = axis.window
            n = window.n
            moments = None
            if axis.mom and n:
                moments = (axis.m2 / n, axis.m4 / n / n / n)
            sums = (n, window.rms_q, window.mean_q, window.peak_q, window.rails)
            states.append((sums, axis.v_q, axis.v_n, moments))
        every = [stem + "_" + name for name in self._names for stem in _PER_AXIS]
        features, _below = self._values(states, self._plan(every))
        features["clipped"] = sum(state[0][4] for state in states)
        return features

    def record(self) -> tuple:
        """(flags, values) of the record that ends here, and begins the next."""
        states = []
        for axis in self._axes:
            moments = (axis.record_m2, axis.record_m4)  # zeros where nobody asked for them
            states.append((axis.window.take_record(), axis.record_v_q, axis.record_v_n, moments))
            axis.record_v_q = axis.record_v_n = axis.record_m2 = axis.record_m4 = 0
        features, below = self._values(states, self._wanted)
        if self.extra is not None:
            self.extra.record(features, self._scales, self._axis_floor)
        flags = BELOW_FLOOR if below else 0
        if any(state[0][4] for state in states):
            flags |= CLIPPED
        if self._gap:
            flags |= GAP
        self._gap = False
        return flags, [features[key] for key in self._features]

    def _values(self, states: list, wanted: list | tuple) -> tuple:
        """(features by key, whether `a` is below the floor) of one state an axis.

        A state is ((n, rms_q, mean_q, peak_q, rails), v_q, v_n, (sum of squares, sum of fourth
        powers) around the mean, or None).
        """
        features: dict = {"a": None}
        below = False
        if states[0][0][0]:
            square = 0.0
            for state, scale in zip(states, self._scales):
                square += (state[0][1] * scale) ** 2
            features["a"] = without_noise(sqrt(square) / _ONE, self._floor)
            below = bool(self._floor) and not features["a"]
        if wanted:
            axes = [self._axis_values(i, states[i], below) for i in range(len(states))]
            for key, place, number in wanted:
                features[key] = axes[number][place]
        return features, below

    def _axis_values(self, number: int, state: tuple, below: bool) -> tuple:
        """Values in the order of `_PER_AXIS`."""
        (n, rms_q, mean_q, peak_q, _rails), v_q, v_n, moments = state
        if not n:
            return (None,) * len(_PER_AXIS)
        scale = self._scales[number]
        a = without_noise(rms_q * scale / _ONE, self._axis_floor)
        peak = peak_q * scale / _ONE
        crest = kurtosis = v = None
        if a and not below:
            crest = peak / a
            if moments is not None and moments[0]:
                kurtosis = n * moments[1] / (moments[0] * moments[0])
        if v_n:
            v = sqrt(v_q / v_n) * self._axes[number].v_scale * scale / STANDARD_GRAVITY_M_S2
            v = without_noise(v, self._v_floor_mm_s)
        mean = (mean_q - ZERO * _ONE) * scale / _ONE - self._zeros[number]
        return (a, mean, peak, crest, kurtosis, v)


def _velocity_of_noise(noise_m_s2: float, rate_hz: float) -> float:
    """Velocity RMS from 10 to 1000 Hz, mm/s, of white noise up to half the rate.

    The density 2 sigma**2 / rate, divided by (2 pi f)**2 and integrated.
    """
    top = min(1000.0, 0.4 * rate_hz)
    return 1000 * noise_m_s2 / (2 * pi) * sqrt(2 / rate_hz * (1 / 10 - 1 / top))
