"""How far off an RMS may be: the budget of its uncertainty from what the board's file states.

Owns the components and their sum. Ref: JCGM 100:2008 (GUM), 5.1.2: independent components add in
quadrature; 4.3.7: a limit of +-a without more knowledge has the standard uncertainty a / sqrt(3);
6.2: told is the expanded uncertainty U = 2 u, about 95 %; 7.2.6: with at most two digits.

    u(I)**2 = (r I)**2 + s**2 / n + (FLOOR_SHARE s**2 / I)**2 + q**2 / n + (l / sqrt(3))**2

r: of the scale, relative. From the calibration's `uncertainty_pct` / 2, else the board file's
`uncertainty_pct` / 2, else from limits that the board file states: `ct_class` or `ct_error_pct`,
`burden_tolerance_pct` (with a burden), `vref_tolerance_pct` of the ADC, each / sqrt(3), all of
them together. What is not stated is not invented: without transformer and reference voltage the
uncertainty is not known (NaN).
s: the noise floor, which goes into an RMS over n samples by chance (first term), and as far as
it is not known itself, 10 % of it for time and temperature (second: s**2 is what is subtracted).
q: quantisation, LSB / sqrt(12); contained in a noise floor, so counted only without one, where its
square also stays in the reading: q**2 / (2 I).
l: `linearity_lsb` of the ADC, the limit of what its curve leaves of an RMS, in A.
Below the floor, told as 0, the value lies between 0 and the floor: u = s / sqrt(3).
"""

from math import nan, sqrt

from clampdevice.calibration import interpolate

_COVERAGE = 2
FLOOR_SHARE = 0.1
_SQRT3 = 1.7320508


class Budget:
    """The budget of one channel.

    Args:
        config, adc: the channel's and the source's parts of board.json.
        per_lsb: the channel's unit a code.
        rated: rated current, for the class.
    """

    def __init__(self, config: dict, adc: dict, per_lsb: float, rated: float) -> None:
        self._stated_pct = config.get("uncertainty_pct")
        self._rated = rated
        self._class = None
        if "ct_class" in config:
            from clampdevice.ctclass import ct_limits

            self._class = ct_limits(config["ct_class"])
        self._error_pct = config.get("ct_error_pct")
        self._tolerances = []  # percent; None: not stated
        self._tolerances.append(adc.get("vref_tolerance_pct"))
        if "burden_ohm" in config:
            self._tolerances.append(config.get("burden_tolerance_pct"))
        self._step = per_lsb / sqrt(12)
        self._linearity = adc.get("linearity_lsb", 0.0) * per_lsb / _SQRT3

    def scale(self, value: float, calibration) -> float:
        """Relative standard uncertainty of the scale at a value; NaN where it is not known."""
        if calibration.scales and calibration.uncertainty_pct is not None:
            return calibration.uncertainty_pct / 100 / _COVERAGE
        if self._stated_pct is not None:
            return self._stated_pct / 100 / _COVERAGE
        if self._class is not None:
            share_pct = 100 * value / self._rated
            if share_pct < self._class[0][0]:
                return nan
            limit = interpolate(self._class, share_pct)
        elif self._error_pct is not None:
            limit = self._error_pct
        else:
            return nan
        square = limit * limit
        for tolerance in self._tolerances:
            if tolerance is None:
                return nan
            square += tolerance * tolerance
        return sqrt(square) / 100 / _SQRT3

    def expanded(self, value: float, floor: float, n: int, calibration) -> float:
        """U of an RMS `value` over `n` samples, in its unit; NaN where it is not known."""
        if not value:
            return _COVERAGE * floor / _SQRT3 if floor else nan
        scale = self.scale(value, calibration) * value
        square = scale * scale + self._linearity * self._linearity
        noise = floor if floor > self._step else self._step
        square += noise * noise / n
        if floor:
            rest = FLOOR_SHARE * floor * floor / value
        else:
            rest = self._step * self._step / value / 2
        return _COVERAGE * sqrt(square + rest * rest)


def rounded(value: float) -> float:
    """To two digits; NaN and 0 stay."""
    if not value or value != value:
        return value
    step = 1.0
    while value < 10 * step:
        step /= 10
    while value >= 100 * step:
        step *= 10
    whole = int(value / step + 0.5)
    return whole * step if step >= 1 else whole / int(1 / step + 0.5)
