"""docs/accuracy.md: how near the firmware's numbers are to the ideal waveform.

Owns the order of the sections and the words above them. What is measured is the firmware's own
code, run by `chain.py`; waves and truth are `waves.py`, the sections `ideal.py`, `chip.py`,
`mains.py` and `power.py`. Needs no data but its own: the document is the same wherever it is made.
"""

from __future__ import annotations

from clamptools.accuracy import chip, ideal, mains, power
from clamptools.accuracy.report import summary

_HEAD = """# Accuracy

Generated from `clamptools.accuracy` by `make docs`; do not edit.

How near the firmware's numbers are to float64 of the ideal waveform, before the converter. The
firmware is the real one: sampler, windows, channel, record, as they run on a board, fed with the
codes of a simulated converter. One slot at 6,400 samples/s, 12 bits, windows of 200 ms, records of
1 s; the bias is at code 2070 unless a section says otherwise, and 100 % of the range is a peak of
2,000 LSB. What a transformer, its burden and the reference add is not in here, nor is anything
that only silicon shows; what was measured on real chips is the curve of their converter, which
five RP2040 and five RP2350 boards gave (source in `device/clampdevice/linear.py`).

A target that is missed is listed as missed. No number here is adjusted."""

_ROOM = """## Not in here yet

- A table refined on the board itself, which would take the differences between boards away."""


def render() -> str:
    """The whole document."""
    sections = [
        ideal.ideal_sine(),
        ideal.below(),
        chip.waves(),
        chip.boards("rp2040", 2070.0),
        chip.boards("rp2040", chip.GOOD_ZERO_LSB),
        chip.bias("rp2040"),
        chip.boards("rp2350", chip.GOOD_ZERO_LSB),
        ideal.windows(),
        ideal.drift(),
        mains.frequency(),
        mains.harmonics(),
        power.power(),
    ]
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    parts = [_HEAD, summary(verdicts), *(section.text() for section in sections), _ROOM]
    return "\n\n".join(parts) + "\n"
