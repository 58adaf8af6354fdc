"""The last stage of a simulated source: whole codes, by an ideal converter or by a chip's own.

Owns the difference between the two for who makes the values; a chip's errors are `errors.py`.
"""

from array import array


class Converter:
    """How a source turns the sum of signal, offset and noise into codes.

    The source makes whole numbers of which `scale`, 1 << `shift`, are an LSB, rounded to the
    nearest after `rounding` was added and cut at `rails`; `finish` makes codes of them.

    Args:
        name: a model, or None for an ideal converter.
        rails: its lowest and highest code.

    Raises:
        ValueError: no such model, or it has other rails.
    """

    def __init__(self, name: str | None, rails: tuple) -> None:
        self.shift = 0
        self.rounding = 0.0
        self.rails = rails
        self._model = None
        if name is not None:
            # Loaded where it is wanted: the curves of ten boards take room.
            from clampdevice.hal.sim import errors

            if rails != (0, errors.CODES - 1):
                raise ValueError(f"the ADC model {name} is of 12 bits, its rails are not {rails}")
            self.shift = errors.VOLTAGE_BITS
            self.rounding = -0.5  # a voltage is compared, not rounded
            self.rails = (0, 0xFFFF)
            self._model = errors.converter(name)
            self._quantise = errors.quantise
        self.scale = 1 << self.shift

    def finish(self, buf: array, n: int) -> None:
        """Makes codes of the first `n` values of the buffer, in place."""
        if self._model is not None:
            self._quantise(buf, 0, n, 1, self._model)
