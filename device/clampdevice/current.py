"""A current channel: what a current has beside other slots of an ADC, and its scale.

Owns the transformer's scale, power with a voltage channel or a nominal voltage, the counters'
intake, and what else must run when this current flows. RMS, frequency, harmonics, calibration
are `analog.py`.
"""

from clampdevice.analog import AnalogChannel
from clampdevice.feature import COUNTERS, PAIRED, signed, step_for, unsigned

DEFAULT_FEATURES = ("rms", "peak")
# A counter's four bytes hold this many hours at full scale: ten years.
_HOURS = 87660
_STEPS = 4294967294


def a_per_v(config: dict) -> float:
    """Primary amperes of one volt at the ADC's pin.

    A transformer with current output has `ct_ratio` (2000 for 100 A : 50 mA) and `burden_ohm`;
    one with voltage output and a burden of its own has `a_per_v`.
    """
    if "a_per_v" in config:
        return config["a_per_v"]
    return config["ct_ratio"] / config["burden_ohm"]


class CurrentChannel(AnalogChannel):
    """Features of one current transformer; see `AnalogChannel` for most.

    `apparent` (VA) is rms times the RMS of the voltage channel, or else times the nominal
    `voltage_v`: the latter is as uncertain as the mains are steady. `real` (W) and `pf` need a
    voltage channel; `real` is negative where power flows back, or the clamp sits the wrong way
    round (`invert` turns it). `charge` (Ah), `energy` (Wh), `apparent_energy` (VAh) and `run` (s)
    are counters that never fall; see `counters.py`.

    Args:
        config: the channel's part of board.json: also the scale (see `a_per_v`), optional
            `rated_a` (the sensor's range, A RMS), `voltage` (key of the voltage channel) or
            `voltage_v`, `invert`, `run_above` (A, from which on it counts as running; the noise
            floor if absent), `runs_with` (keys of channels without which it should not be 0).
        adc, source, kernels, lut: see `AnalogChannel`.
    """

    quantity = "current"
    unit = "A"
    default_features = DEFAULT_FEATURES

    def __init__(self, config: dict, adc: dict, source, kernels, lut=None) -> None:
        AnalogChannel.__init__(self, config, adc, source, kernels, lut, a_per_v(config))
        self._pair = self._voltage = None
        self._companions: tuple = ()
        self._sign = -1 if config.get("invert") else 1
        self._rate_mhz = int(1000 * source.rate_hz + 0.5)
        self.counter = None

    @property
    def counts(self) -> bool:
        """Whether anybody asked for a counter of this channel."""
        return any(key in COUNTERS for key in self._features)

    def count_with(self, counter) -> None:
        """Adds every record to a `counters.Counter` from now on."""
        self.counter = counter

    def join(self, channels: tuple) -> None:
        """Finds its voltage and its companions among the channels of the device."""
        names = self.config.get("runs_with", ())
        self._companions = tuple(channel for channel in channels if channel.key in names)
        for channel in channels:
            if channel.key == self.config.get("voltage"):
                self._voltage = channel
        if self._voltage is not None and any(key in self._features for key in PAIRED):
            from clampdevice.power import Pair

            self._pair = Pair(self, self._voltage, self._kernels)
            self.add = self._pair.add

    def limits(self) -> dict:
        """Layouts of all features of this channel, by key."""
        found = AnalogChannel.limits(self)
        volts = self.config.get("voltage_v", 0.0)
        if self._voltage is not None:
            volts = self._voltage.full_scale
        if volts:
            va = self.full_scale * volts
            found["apparent"] = unsigned("", "VA", 2 * va)
            found["real"] = signed("", "W", 2 * va)
            found["pf"] = ("", "", ord("h"), 1, -4)
            found["energy"] = _counter("Wh", va)
            found["apparent_energy"] = _counter("VAh", va)
        found["charge"] = _counter("Ah", self.full_scale)
        found["run"] = ("", "s", ord("I"), 1, 0)
        return found

    def close(self, gap: bool) -> None:
        """Ends a window, after that of the voltage; `gap`: samples of it are missing."""
        AnalogChannel.close(self, gap)
        if self._pair is not None:
            self._pair.close(gap)

    def _running(self) -> bool:
        for channel in self._companions:
            if channel.quantity == "input":
                if channel.state:
                    return True
            elif channel.level:
                return True
        return False

    def _take_more(self, features: dict, n: int, raw: float) -> None:
        rms = features["rms"]
        watts = apparent = None
        volts = self.config.get("voltage_v")
        if self._pair is not None:
            watts, volts = self._pair.take_record(raw)
        elif self._voltage is not None:
            volts = self._voltage.level
        if n and volts is not None:
            apparent = rms * volts
        if watts is not None:
            watts *= self._sign
        features["real"] = watts
        features["apparent"] = apparent
        if watts is not None and apparent:
            features["pf"] = max(-1.0, min(1.0, watts / apparent))
        counter = self.counter
        if counter is None:
            return
        if n:
            on = rms > self.config.get("run_above", 0.0)
            counter.add(n, self._rate_mhz, rms, watts, apparent, on)
        limits = None
        for key in COUNTERS:
            if key in self._features:
                limits = limits or self.limits()
                _key, _unit, _code, mult, exp = limits[key]
                features[key] = (counter.steps(key, mult, exp),)


def _counter(unit: str, full_scale: float) -> tuple:
    mult, exp = step_for(full_scale * _HOURS, _STEPS)
    if exp > 0:
        mult, exp = mult * 10**exp, 0
    return ("", unit, ord("I"), mult, exp)
