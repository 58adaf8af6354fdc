"""A channel that is one slot of an ADC: what current and voltage have in common.

Owns the way from codes to a reading: the nominal scale, noise floor, calibration, RMS and its
kin, frequency and harmonics where asked for, uncertainty. Sums are `window.py`; what is a
current's alone is `current.py`. A feature that nobody asked for costs nothing.
"""

from math import nan

from clampdevice.calibration import NONE, Calibration
from clampdevice.clamp import OPEN, ClampWatch
from clampdevice.feature import PEAK_OF_NOISE, is_harmonic, signed, unsigned, without_noise
from clampdevice.quiet import QuietMeter
from clampdevice.uncertainty import Budget, rounded
from clampdevice.window import FRAC_BITS, Window
from clampwire.values import BAD, BELOW_FLOOR, CLIPPED, GAP

_ONE = 1 << FRAC_BITS
_SQRT2 = 1.4142136
_GAIN_ROOM = 1.25


class AnalogChannel:
    """Features of one slot, in the unit of the quantity.

    `rms` is around the window's mean, noise taken off in quadrature: 0 with the flag below_floor
    where less than the noise itself is left. `min` and `max` are that of the smallest and the
    largest window of the record. `peak` is max |x - mean|, 0 below the floor unless it stands out
    of the noise. `mean` is the DC part against the nominal zero, `crest` peak / rms, withheld
    below the floor; `clipped_pct` the share of samples at a rail. `frequency`, `thd` (percent)
    and `h1` to `h15` (RMS) are those of the mains; `uncertainty` is the expanded one of `rms`.

    Args:
        config: the channel's part of board.json; `slot`, and optional `noise_floor`, `rated_a` or
            `rated_v` (the sensor's range, RMS), `features`, `mains_hz`, `coupling`, and what
            `uncertainty.Budget` reads.
        adc: the source's part of board.json: `bits`, `vref_v`, optional `zero_lsb`, the code of
            0, half of the range if absent, `lowpass_hz`, the corner of the RC at the pin.
        source: for its `rate_hz` and `slots`.
        kernels: see `clampdevice.kernels`.
        lut: the ADC's table, see `linear.table`; None for codes as they are.
        per_v: the channel's unit for one volt at the pin.

    Attributes:
        level: RMS of the window closed last; None without samples.
        window, stride, rate_hz, per_unit, full_scale: for who pairs two channels: the sums, values
            a frame, frames a second, the channel's unit a step of the samples, and the RMS of the
            largest sine at the nominal scale.
    """

    source_name = "adc"
    quantity = ""
    unit = ""
    default_features: tuple = ("rms", "peak")

    def __init__(self, config: dict, adc: dict, source, kernels, lut, per_v: float) -> None:
        self.config = config
        self.key = config["key"]
        codes = 1 << adc["bits"]
        self._per_lsb = per_v * adc["vref_v"] / codes
        self._swing = codes * self._per_lsb
        zero = adc.get("zero_lsb", codes / 2)
        self._zero_q = int(zero * _ONE)
        self.rate_hz = source.rate_hz
        self._features = tuple(config.get("features", self.default_features))
        self._rated = config.get("rated_" + self.unit.lower(), self._swing)
        self.full_scale = min(self._swing / 2 / _SQRT2, self._rated)
        self._budget = Budget(config, adc, self._per_lsb, self.full_scale)
        self.window = Window(kernels, config["slot"], source.slots, 0, codes - 1, lut)
        self.stride = source.slots
        self._kernels = kernels
        self._linearise = None
        self._lut = lut
        # What takes no table gets its samples straightened in place, in the table's unit.
        self._units = 1 << kernels.LUT_FRAC_BITS if lut is not None else 1
        self.per_unit = self._per_lsb / self._units
        self._bias = int(zero * self._units)
        self._mains = self._make_mains(kernels, codes * self._units, adc.get("lowpass_hz", 0.0))
        self.add = self.window.add  # straight to the sums, where there is nothing else
        if self._mains is not None:
            self.leave_straight()
            self.add = self._add
        self._watch = ClampWatch(self.key, codes, zero, config.get("coupling", "ac") == "ac")
        self.quiet = QuietMeter()
        self.calibrate(NONE)
        self._changes: list = []
        self._last: tuple = (0, None, None)  # samples, RMS at the nominal scale, calibrated RMS
        self._gap = False
        self.level = None

    def _make_mains(self, kernels, peak: int, lowpass_hz: float):  # noqa: ANN202 - loaded if used
        harmonics = any(is_harmonic(key) or key == "thd" for key in self._features)
        if not harmonics and "frequency" not in self._features:
            return None
        from clampdevice.mains import Mains

        mains_hz = self.config.get("mains_hz", 50.0)
        series = (self.config["slot"], self.stride, self.rate_hz, peak)
        return Mains(kernels, series, mains_hz, harmonics, lowpass_hz)

    def leave_straight(self) -> None:
        """Others read this slot's samples after it: they find the table's values there."""
        if self._lut is not None:
            self._linearise = self._kernels.linearise
            self.add = self._add

    def _add(self, buf, first: int, n: int) -> None:
        self.window.add(buf, first, n)
        if self._linearise is not None:
            self._linearise(buf, first + self.config["slot"], n, self.stride, self._lut)
        if self._mains is not None:
            self._mains.add(buf, first, n, self._bias)

    def calibrate(self, calibration: Calibration) -> None:
        """Applies a calibration from the next window on."""
        self.calibration = calibration
        floor = calibration.floor
        self._floor = self.config.get("noise_floor", 0.0) if floor is None else floor

    def set_floor(self, floor: float) -> None:
        """Takes a floor that was learned, in the unit at the nominal scale."""
        self._floor = floor

    @property
    def floor(self) -> float:
        """The noise floor in use, at the nominal scale; 0 where it is not known."""
        return self._floor

    def measure_floor(self, share: float) -> float:
        """The floor of the last seconds, with nothing running. Raises FloorError."""
        from clampdevice.floor import noise_q

        full_scale_q = self.full_scale / self._per_lsb * _ONE
        samples = int(self.rate_hz / 5)
        return noise_q(self.quiet, full_scale_q, samples, share) * self._per_lsb / _ONE

    @property
    def reading(self) -> float | None:
        """RMS of the last record at the nominal scale; None without."""
        return self._last[1] if self._last[0] else None

    @property
    def value(self) -> float | None:
        """RMS of the last record; None without."""
        return self._last[2]

    @property
    def uncertainty(self) -> float:
        """Expanded uncertainty of `value`, in its unit; NaN where it is not known."""
        n, _raw, value = self._last
        return self._budget.expanded(value, self._floor, n, self.calibration) if n else nan

    def limits(self) -> dict:
        """Layouts of all features of this channel, by key."""
        unit = self.unit
        # Steps stay as they are for every usual gain: what is spooled is read by them.
        swing = self._swing * max(1.0, self.calibration.largest_factor / _GAIN_ROOM)
        rms = unsigned("", unit, swing / 2)
        found: dict = dict.fromkeys(("rms", "min", "max", "uncertainty"), rms)
        found.update((key, rms) for key in self._features if is_harmonic(key))
        found["peak"] = unsigned("", unit, swing)
        found["mean"] = signed("", unit, swing)
        found["crest"] = ("", "", ord("H"), 10, -4)
        found["clipped_pct"] = ("", "%", ord("H"), 1, -2)
        found["frequency"] = ("", "Hz", ord("H"), 1, -3)
        found["thd"] = ("", "%", ord("H"), 1, -2)
        return found

    def describe(self) -> tuple:
        """Describe's fields from `key` on. full_scale: RMS of the largest sine, at most rated."""
        limits = self.limits()
        config = self.config
        full = self._swing / 2 / _SQRT2 * self.calibration.factor(self.full_scale)
        full = min(full, self._rated)
        n = int(self.rate_hz)
        return (
            self.key,
            self.quantity,
            self.unit,
            config.get("sensor", ""),
            self.rate_hz,
            full,
            self._floor * self.calibration.factor(self._floor) or nan,
            rounded(100 * self._budget.expanded(full, self._floor, n, self.calibration) / full),
            self.calibration.id or config.get("calibration", ""),
            tuple((key,) + limits[key][1:] for key in self._features),
        )

    def close(self, gap: bool) -> None:
        """Ends a window; `gap` says that samples of it are missing."""
        window = self.window
        window.close()
        self._gap = self._gap or gap
        if gap or not window.n:
            self.quiet.clear()
            if self._mains is not None:
                self._mains.gap()
        else:
            self.quiet.note(window.rms_q)
        if window.n:
            self._bias = window.s // window.n
        self.level = self._calibrated(self._raw(window.rms_q)) if window.n else None

    def window_features(self) -> dict:
        """Features of the window closed last; None where there are no samples."""
        window = self.window
        state = (window.n, window.rms_q, window.mean_q, window.peak_q, window.rails)
        features = self._basics(state, window.rms_q, window.rms_q)
        features["clipped"] = window.rails
        return features

    def record(self) -> tuple:
        """(flags, values) of the record that ends here, and begins the next."""
        window = self.window
        state = window.take_record()
        n, rms_q, mean_q, _peak_q, rails = state
        features = self._basics(state, window.low_q, window.high_q)
        raw = self._raw(rms_q)
        below = bool(n and self._floor and not raw)
        if self._mains is not None:
            factor = self.calibration.factor(raw)
            self._mains.take_record(features, raw, self._floor, self.per_unit, factor)
        self._take_more(features, n, raw)
        self._last = (n, raw, features["rms"])
        if n and "uncertainty" in self._features:
            features["uncertainty"] = self.uncertainty
        self._changes = self._watch.record(n, mean_q / _ONE, rails, below, self._running())
        flags = BELOW_FLOOR if below else 0
        if rails:
            flags |= CLIPPED
        if self._gap:
            flags |= GAP
        if self._watch.active[OPEN]:
            flags |= BAD
        self._gap = False
        return flags, [features.get(key) for key in self._features]

    def take_changes(self) -> list:
        """Faults that began or ended with the last record: [(value, begins, text)]."""
        found, self._changes = self._changes, []
        return found

    def _take_more(self, features: dict, n: int, raw: float) -> None:
        """What a quantity adds to its record; `raw` is the RMS at the nominal scale."""

    def _running(self) -> bool:
        """Whether what this channel should see is known to run."""
        return False

    def _raw(self, rms_q: int) -> float:
        return without_noise(rms_q * self._per_lsb / _ONE, self._floor)

    def _calibrated(self, raw: float) -> float:
        return raw * self.calibration.factor(raw)

    def _basics(self, state: tuple, low_q: int, high_q: int) -> dict:
        n, rms_q, mean_q, peak_q, rails = state
        if not n:
            return {"rms": None}
        raw = self._raw(rms_q)
        factor = self.calibration.factor(raw)
        rms = raw * factor
        peak = peak_q * self._per_lsb / _ONE * factor
        crest = peak / rms if rms else None
        if not rms and peak < PEAK_OF_NOISE * self._floor:
            peak = 0.0
        mean = ((mean_q - self._zero_q) * self._per_lsb / _ONE - self.calibration.offset) * factor
        return {
            "rms": rms,
            "peak": peak,
            "mean": mean,
            "crest": crest,
            "min": self._calibrated(self._raw(low_q)),
            "max": self._calibrated(self._raw(high_q)),
            "clipped_pct": 100 * rails / n,
        }
