"""docs/accuracy.md: how near the firmware's numbers are to the ideal waveform.

Owns the order of the sections and the words above them. What is measured is the firmware's own
code, run by `chain.py`; waves and truth are `waves.py`, the sections `ideal.py`, `chip.py`,
`refined.py`, `mains.py` and `power.py`. Of a vibration, motion and sensor are `shaken.py`, the
sections `velocity.py` and `shape.py`. Needs no data but its own: the document is the same wherever
it is made.
"""

from __future__ import annotations

from clamptools.accuracy import chip, ideal, mains, power, refined, shape, velocity
from clamptools.accuracy.report import summary
from clamptools.errors import UserError
from clamptools.interpreter import find_interpreter

_HEAD = """# Accuracy

Generated from `clamptools.accuracy` by `make docs`; do not edit.

How near the firmware's numbers are to float64 of the ideal waveform, before the converter. The
firmware is the real one: sampler, windows, channel, record, as they run on a board, under
MicroPython, fed with the codes of a simulated converter. One slot at 6,400 samples/s, 12 bits,
windows of 200 ms, records of 1 s; the bias is at code 2070 unless a section says otherwise, and
100 % of the range is a peak of 2,000 LSB. What a transformer, its burden and the reference add is
not in here, nor is anything that only silicon shows; what was measured on real chips is the curve
of their converter, which five RP2040 and five RP2350 boards gave (source in
`device/clampdevice/linear.py`). The sections on vibration name their sensor.

A target that is missed is listed as missed. No number here is adjusted."""


def render() -> str:
    """The whole document.

    Raises:
        UserError: There is no MicroPython: numbers of another interpreter are not the firmware's.
    """
    interpreter = find_interpreter()
    if not interpreter.micropython:
        raise UserError(
            f"the accuracy is measured under MicroPython, and this is {interpreter.text}: "
            "make docs installs one, or name one with MICROPYTHON"
        )
    sections = [
        ideal.ideal_sine(),
        ideal.below(),
        chip.waves(),
        chip.boards("rp2040", 2070.0),
        chip.boards("rp2040", chip.GOOD_ZERO_LSB),
        chip.bias("rp2040"),
        chip.boards("rp2350", chip.GOOD_ZERO_LSB),
        refined.refined(),
        ideal.windows(),
        ideal.drift(),
        mains.frequency(),
        mains.harmonics(),
        power.power(),
        velocity.rates(),
        velocity.amplitudes(),
        velocity.directions(),
        shape.kurtosis(),
        shape.bands(),
        shape.lines(),
    ]
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    parts = [_HEAD, summary(verdicts), *(section.text() for section in sections)]
    return "\n\n".join(parts) + "\n"
