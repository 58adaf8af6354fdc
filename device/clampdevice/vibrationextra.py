"""Features of a vibration that cost memory or need a declaration; loaded where one is asked for.

- `pp_x`: the largest peak to peak of a window; `clipped`: samples at a rail, of all axes.
- `band1` to `band8`: RMS of the acceleration vector in a band, as `a`; `band1_x`: of one axis. The
  bands are the channel's `bands`, [low, high] in Hz; without, octaves up to half of the rate.
- `frequency_x` in Hz and `fa_x`, the amplitude (peak, not RMS) of the dominant line of an axis.
- `ratio`: to the baseline, see `baseline.py`; `zone`: 1 for A to 4 for D, see `severity.py`.
- `temperature` of the sensor, where it has one.

Owns their keys, scales and values. Spectra are `spectrum.py`.
"""

from math import sqrt

from clampdevice.feature import unsigned
from clampdevice.severity import zone
from clampdevice.vibrationnames import BANDS
from clampdevice.window import FRAC_BITS

RATIO_MOST = 100
_ONE = 1 << FRAC_BITS


class Extra:
    """Of one accelerometer.

    Args:
        config: the channel's part of board.json: optional `bands`, `spectrum_points`, `severity`.
        features: the keys that were asked for.
        axes: a letter an axis.
        source: for `rate_hz`, `slots` and, where it has one, `temperature_c()`.
        kernels: see `clampdevice.kernels`.

    Attributes:
        baseline: set by who knows when the machine works; None without.
        wants_ratio: whether it needs one.
    """

    def __init__(self, config: dict, features: tuple, axes: str, source, kernels) -> None:
        self._names = axes
        self._rate_hz = source.rate_hz
        self._temperature = getattr(source, "temperature_c", None)
        self._limits_mm_s = config.get("severity", {}).get("limits_mm_s")
        self.baseline = None
        self.wants_ratio = "ratio" in features
        self._pp_q = [0] * len(axes)
        self._clipped = self._windows = 0
        self._spectrum = None
        stems = [key.split("_", 1)[0] for key in features]
        if any(stem in BANDS or stem in ("frequency", "fa") for stem in stems):
            from clampdevice.spectrum import DEFAULT_POINTS, SpectrumMeter, octaves

            bands = config.get("bands") or octaves(source.rate_hz)
            points = config.get("spectrum_points", DEFAULT_POINTS)
            self._spectrum = SpectrumMeter(
                kernels, len(axes), source.slots, source.rate_hz, tuple(bands), points
            )

    def describe(self, most_m_s2: float) -> dict:
        """Describe's fields of a feature, by what its key begins with."""
        fields = {
            "pp": unsigned("", "m/s2", 2 * most_m_s2),
            "clipped": ("", "", ord("H"), 1, 0),
            "frequency": unsigned("", "Hz", self._rate_hz / 2),
            "fa": unsigned("", "m/s2", 2 * most_m_s2),
            "ratio": unsigned("", "", RATIO_MOST),
            "zone": ("", "", ord("B"), 1, 0),
            "temperature": ("", "\u00b0C", ord("h"), 10, -3),
        }
        for key in BANDS:
            fields[key] = unsigned("", "m/s2", most_m_s2)
        return fields

    def add(self, buf, first: int, n: int) -> None:
        """Adds `n` frames, the first of which begins at `buf[first]`."""
        if self._spectrum is not None:
            self._spectrum.add(buf, first, n)

    def close(self, gap: bool, windows: list) -> None:
        """Ends a window; `windows` of the axes are closed already."""
        self._windows += 1
        filled = windows[0].n
        for axis, window in enumerate(windows):
            self._pp_q[axis] = max(self._pp_q[axis], window.pp_q)
            self._clipped += window.rails
        if self._spectrum is None:
            return
        if gap or not filled:
            self._spectrum.gap()
        if filled:
            self._spectrum.set_biases([window.mean_q >> FRAC_BITS for window in windows])

    def record(self, features: dict, scales: tuple, floor_m_s2: float) -> None:
        """Adds the features of the record that ends here, and begins the next.

        `scales` are m/s2 a count, one an axis.
        """
        filled = features["a"] is not None
        features["clipped"] = self._clipped if filled else None
        for axis, name in enumerate(self._names):
            pp = self._pp_q[axis] * scales[axis] / _ONE
            features["pp_" + name] = pp if filled else None
        self._pp_q = [0] * len(self._names)
        self._clipped = 0
        features["ratio"] = self.baseline.take_record() if self.baseline is not None else None
        features["zone"] = self._zone(features)
        features["temperature"] = self._temperature_c()
        if self._spectrum is not None:
            spectra = self._spectrum.take_record(floor_m_s2 / scales[0])
            self._add_spectra(features, spectra if filled else None, scales)

    def _add_spectra(self, features: dict, spectra: list | None, scales: tuple) -> None:
        squares = [0.0] * len(BANDS)
        for axis, name in enumerate(self._names):
            bands, line = spectra[axis] if spectra else ((), None)
            features["frequency_" + name] = line[0] if line else None
            features["fa_" + name] = line[1] * scales[axis] if line else None
            for number, key in enumerate(BANDS):
                value = bands[number] * scales[axis] if number < len(bands) else None
                features[key + "_" + name] = value
                squares[number] += value * value if value else 0.0
        count = len(spectra[0][0]) if spectra else 0
        for number, key in enumerate(BANDS):
            features[key] = sqrt(squares[number]) if number < count else None

    def _zone(self, features: dict) -> int | None:
        if self._limits_mm_s is None:
            return None
        return zone([features.get("v_" + name) for name in self._names], self._limits_mm_s)

    def _temperature_c(self) -> float | None:
        """None without a sensor of it, or where it does not answer: its data say so louder."""
        if self._temperature is None:
            return None
        try:
            return self._temperature()
        except OSError:
            return None
