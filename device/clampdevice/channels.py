"""From an entry of board.json to its channel object, and the chip's own temperature.

Owns the choice of the class by the quantity: a new quantity is one class and one name here.
"""

# Ref: RP2040 datasheet, ADC and temperature sensor: T = 27 - (ADC_voltage - 0.706) / 0.001721
_TEMPERATURE_V_27 = 0.706
_TEMPERATURE_V_PER_K = 0.001721


class Temperature:
    """Reads the chip's temperature from its slot: a few frames a block are enough."""

    FRAMES = 16

    def __init__(self, adc: dict, kernels, lut) -> None:
        from array import array

        self._kernels = kernels
        self._sums = kernels.sums if lut is None else kernels.sums_lut
        self._lut = lut
        self._slot = adc["temperature_slot"]
        self._stride = adc["slots"]
        self._v_per_unit = adc["vref_v"] / (1 << adc["bits"])
        if lut is not None:
            self._v_per_unit /= 1 << kernels.LUT_FRAC_BITS
        self._acc = array("I", [0] * kernels.ACC_WORDS)
        kernels.clear_acc(self._acc)

    def add(self, buf, first: int, n: int) -> None:
        first += self._slot
        n = min(n, self.FRAMES)
        if self._lut is None:
            self._sums(buf, first, n, self._stride, self._acc)
        else:
            self._sums(buf, first, n, self._stride, self._lut, self._acc)

    def take_c(self) -> float:
        """Degrees Celsius since the last call; NaN without samples."""
        s, _q, n = self._kernels.read_acc(self._acc)
        self._kernels.clear_acc(self._acc)
        if not n:
            return float("nan")
        volts = s / n * self._v_per_unit
        return 27 - (volts - _TEMPERATURE_V_27) / _TEMPERATURE_V_PER_K


def make_channel(config: dict, board: dict, sources: dict, kernels, lut=None):  # noqa: ANN201
    """The channel object for one entry of board.json's `channels`; `lut` is the ADC's table.

    Raises:
        ValueError: no such quantity, or its source is not there.
    """
    quantity = config["quantity"]
    if quantity == "input":
        from clampdevice.status import InputChannel

        return InputChannel(config)
    if quantity not in ("current", "voltage", "vibration"):
        raise ValueError(f"{config['key']}: no channel for the quantity {quantity!r}")
    name = "accelerometer" if quantity == "vibration" else "adc"
    if name not in sources:
        raise ValueError(f"{config['key']} needs the source {name}, which this board has not")
    settings = board["sources"][name]
    if quantity == "vibration":
        from clampdevice.vibration import VibrationChannel

        return VibrationChannel(config, settings, sources[name], kernels)
    if quantity == "current":
        from clampdevice.current import CurrentChannel

        return CurrentChannel(config, settings, sources[name], kernels, lut)
    from clampdevice.voltage import VoltageChannel

    return VoltageChannel(config, settings, sources[name], kernels, lut)
