"""Frequency and harmonics of one slot, in the channel's unit: loaded only where asked for.

Owns what the two share, and the correction of the low-pass filter at the pin. The measuring is
`frequency.py` and `harmonics.py`.
"""

from math import sqrt

from clampdevice.frequency import FrequencyMeter
from clampdevice.names import HARMONICS


class Mains:
    """The features `frequency`, and with `harmonics` also `thd` and `h1` to `h15`.

    Args:
        kernels: see `clampdevice.kernels`.
        series: (slot, stride, rate_hz, peak), see `FrequencyMeter`.
        mains_hz: where to look first.
        harmonics: whether they are asked for.
        lowpass_hz: corner of the RC at the pin, whose damping is made good; 0 for none.
    """

    def __init__(
        self, kernels, series: tuple, mains_hz: float, harmonics: bool, lowpass_hz: float
    ) -> None:
        slot, stride, rate_hz, peak = series
        self._frequency = FrequencyMeter(kernels, slot, stride, rate_hz, peak, mains_hz)
        self._harmonics = None
        if harmonics:
            from clampdevice.harmonics import HarmonicsMeter

            self._harmonics = HarmonicsMeter(kernels, slot, stride, rate_hz, peak)
        self._lowpass_hz = lowpass_hz

    @property
    def hz(self) -> float:
        """The last frequency found."""
        return self._frequency.hz

    def add(self, buf, first: int, n: int, bias: int) -> None:
        """See `FrequencyMeter.add`."""
        self._frequency.add(buf, first, n, bias)
        if self._harmonics is not None:
            self._harmonics.add(buf, first, n, bias)

    def gap(self) -> None:
        """Samples are missing."""
        self._frequency.gap()
        if self._harmonics is not None:
            self._harmonics.gap()

    def take_record(
        self, features: dict, raw: float, floor: float, per_unit: float, factor: float
    ) -> None:
        """Puts what the record that ends here has into `features`.

        RMS `raw` and noise `floor` are in the channel's unit, `per_unit` of which is a step of
        the samples; what comes out is multiplied by the calibration's `factor`.
        """
        noise = floor / per_unit
        hz = features["frequency"] = self._frequency.take_record(raw / per_unit, noise)
        meter = self._harmonics
        if meter is None:
            return
        found = meter.take_record(noise)
        at_hz = meter.hz
        if hz is None:
            return
        meter.tune(hz)
        if found is None:
            return
        for order in range(len(found)):
            if found[order] is not None:
                found[order] *= factor * per_unit * self._undamped((order + 1) * at_hz)
        features["thd"] = meter.thd_pct(found)
        features.update(zip(HARMONICS, found))

    def _undamped(self, hz: float) -> float:
        if not self._lowpass_hz:
            return 1.0
        ratio = hz / self._lowpass_hz
        return sqrt(1 + ratio * ratio)
