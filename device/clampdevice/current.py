"""A current channel: one slot of an ADC to amperes.

Owns the scale from codes to A, the noise floor and the features of a current. Sums are
`window.py`, the table that straightens the ADC's codes is `linear.py`.
"""

from math import nan

from clampdevice.feature import PEAK_OF_NOISE, signed, unsigned, without_noise
from clampdevice.window import FRAC_BITS, Window
from clampwire.values import BELOW_FLOOR, CLIPPED, GAP

DEFAULT_FEATURES = ("rms", "peak")
FEATURES = ("rms", "peak", "mean", "crest")

_ONE = 1 << FRAC_BITS
_SQRT2 = 1.4142136


def a_per_v(config: dict) -> float:
    """Primary amperes of one volt at the ADC's pin.

    A transformer with current output has `ct_ratio` (2000 for 100 A : 50 mA) and `burden_ohm`;
    one with voltage output and a burden of its own has `a_per_v`.
    """
    if "a_per_v" in config:
        return config["a_per_v"]
    return config["ct_ratio"] / config["burden_ohm"]


class CurrentChannel:
    """Features of one current transformer.

    `rms` is around the window's mean, noise taken off in quadrature: 0 with the flag below_floor
    where less than the noise itself is left. `peak` is max |x - mean|, 0 below the floor unless
    it stands out of the noise. `mean` is the DC part against the nominal zero, `crest` peak / rms,
    withheld below the floor.

    Args:
        config: the channel's part of board.json; `slot`, the scale (see `a_per_v`), and optional
            `noise_floor` in A, `rated_a` (the sensor's range, A RMS), `features`.
        adc: the source's part of board.json: `bits`, `vref_v`, optional `zero_lsb`, the code of
            0 A, half of the range if absent.
        source: for its `rate_hz` and `slots`.
        kernels: see `clampdevice.kernels`.
        lut: the ADC's table, see `linear.table`; None for codes as they are.
    """

    source_name = "adc"

    def __init__(self, config: dict, adc: dict, source, kernels, lut=None) -> None:
        self.config = config
        self.key = config["key"]
        codes = 1 << adc["bits"]
        self._a_per_lsb = a_per_v(config) * adc["vref_v"] / codes
        self._swing_a = codes * self._a_per_lsb
        self._zero_q = int(adc.get("zero_lsb", codes / 2) * _ONE)
        self._floor_a = config.get("noise_floor", 0.0)
        self._rate_hz = source.rate_hz
        self._features = tuple(config.get("features", DEFAULT_FEATURES))
        self._window = Window(kernels, config["slot"], source.slots, 0, codes - 1, lut)
        self.add = self._window.add
        self._gap = False
        self.level = None  # of the window closed last: A RMS, None without samples

    def describe(self) -> tuple:
        """Describe's fields from `key` on. full_scale: RMS of the largest sine, at most rated."""
        full_scale = self._swing_a / 2 / _SQRT2
        limits = {
            "rms": unsigned("rms", "A", self._swing_a / 2),
            "peak": unsigned("peak", "A", self._swing_a),
            "mean": signed("mean", "A", self._swing_a),
            "crest": ("crest", "", ord("H"), 10, -4),
        }
        config = self.config
        return (
            self.key,
            "current",
            "A",
            config.get("sensor", ""),
            self._rate_hz,
            min(full_scale, config.get("rated_a", full_scale)),
            self._floor_a or nan,
            config.get("uncertainty_pct", nan),
            config.get("calibration", ""),
            tuple(limits[key] for key in self._features),
        )

    def close(self, gap: bool) -> None:
        """Ends a window; `gap` says that samples of it are missing."""
        window = self._window
        window.close()
        self._gap = self._gap or gap
        self.level = self._rms_a(window.rms_q) if window.n else None

    def window_features(self) -> dict:
        """Features of the window closed last; None where there are no samples."""
        window = self._window
        state = (window.n, window.rms_q, window.mean_q, window.peak_q, window.rails)
        features = self._values(state)
        features["clipped"] = window.rails
        return features

    def record(self) -> tuple:
        """(flags, values) of the record that ends here, and begins the next."""
        state = self._window.take_record()
        flags = 0
        if state[0] and self._floor_a and not self._rms_a(state[1]):
            flags |= BELOW_FLOOR
        if state[4]:
            flags |= CLIPPED
        if self._gap:
            flags |= GAP
        self._gap = False
        features = self._values(state)
        return flags, [features[key] for key in self._features]

    def _rms_a(self, rms_q: int) -> float:
        return without_noise(rms_q * self._a_per_lsb / _ONE, self._floor_a)

    def _values(self, state: tuple) -> dict:
        n, rms_q, mean_q, peak_q, _rails = state
        if not n:
            return dict.fromkeys(FEATURES)
        rms_a = self._rms_a(rms_q)
        peak_a = peak_q * self._a_per_lsb / _ONE
        crest = peak_a / rms_a if rms_a else None
        if not rms_a and peak_a < PEAK_OF_NOISE * self._floor_a:
            peak_a = 0.0
        mean_a = (mean_q - self._zero_q) * self._a_per_lsb / _ONE
        return {"rms": rms_a, "peak": peak_a, "mean": mean_a, "crest": crest}
