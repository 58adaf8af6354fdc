"""A voltage channel: one slot of an ADC behind an isolating transformer or module, to volts.

Owns its scale, and what the currents that belong to it ask of it. The rest is `analog.py`.
"""

from clampdevice.analog import AnalogChannel


class VoltageChannel(AnalogChannel):
    """Features of one voltage; see `AnalogChannel`.

    Args:
        config: the channel's part of board.json: also `v_per_v`, volts of the mains for one volt
            at the pin, and optional `rated_v`, the largest RMS.
        adc, source, kernels, lut: see `AnalogChannel`.
    """

    quantity = "voltage"
    unit = "V"
    default_features = ("rms",)

    def __init__(self, config: dict, adc: dict, source, kernels, lut=None) -> None:
        AnalogChannel.__init__(self, config, adc, source, kernels, lut, config["v_per_v"])

    @property
    def mains_hz(self) -> float:
        """Frequency of the mains as far as it is known."""
        if self._mains is not None:
            return self._mains.hz
        return self.config.get("mains_hz", 50.0)

    @property
    def factor(self) -> float:
        """V a step of the samples at the present voltage, calibrated."""
        return self.per_unit * self.calibration.factor(self.level or 0.0)

    def volts(self, rms_lsb: float) -> float:
        """V of an RMS in codes, noise taken off, calibrated."""
        return self._calibrated(self._raw(int(rms_lsb * 4096 + 0.5)))
