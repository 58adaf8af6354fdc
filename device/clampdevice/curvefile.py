"""The file of a chip's own ADC curve: what was refined on this board, for this chip alone.

Owns its form and what is let in: a line of JSON, then the CRC-32 of that line as eight hex digits.
`chip_id` says which chip it is of: a file that came along with another board is refused, so is a
damaged one, and the mean curve of the chip type is used. Loaded at start if there is such a file.
"""

import binascii
import json
from math import sqrt

from clampdevice import linear

FILE = "adccurve.json"
PER_LSB = 64
_FARTHEST = 16 * PER_LSB  # of a curve from its type's mean
_HEAVIEST = 4 * PER_LSB  # of a low bit
# What the model of steps and bits leaves of a single board's curve (linear.py), LSB RMS.
_FIT_LSB = 0.13
# RMS of a sine moves by this part of a step that lies at its middle: sqrt(2) / pi.
_OF_STEP = 0.45
_COVERAGE = 2


class CurveError(ValueError):
    """A file that is not this chip's curve; the message says why."""


def linearity_lsb(steps: int, step_lsb: float) -> float:
    """Limit of what a refined curve leaves of an RMS, in LSB, about 95 %.

    The steps' errors are independent, each of `step_lsb` from the counts and of what the model
    leaves of any curve; a sine has `steps` of them at most at its middle.
    """
    return _COVERAGE * _OF_STEP * sqrt(steps * (step_lsb * step_lsb + _FIT_LSB * _FIT_LSB))


def pack(chip: str, chip_id: str, date: str, made) -> bytes:
    """The content for a `refinement.Refinement`."""
    told = {
        "chip": chip,
        "chip_id": chip_id,
        "date": date,
        "samples": made.samples,
        "steps": made.steps,
        "step_lsb": made.step_lsb,
        "rough_lsb": made.rough_lsb,
        "stretches": [list(part[1:]) for part in made.stretches],
        "weights": list(made.weights),
    }
    line = json.dumps(told).encode()
    return line + b"\n%08x\n" % binascii.crc32(line)


def unpack(data: bytes, chip: str, chip_id: str) -> dict:
    """The content; `stretches` and `weights` as `linear.fill` takes them.

    Raises:
        CurveError: damaged, or of another chip.
    """
    line, _, crc = data.partition(b"\n")
    if crc != b"%08x\n" % binascii.crc32(line):
        raise CurveError(FILE + " is damaged: the mean curve is used; refine again")
    try:
        told = json.loads(line.decode())
        _check(told, chip, chip_id)
        mean = linear.curve(chip)[0]
        told["stretches"] = tuple(
            (mean[i][0],) + tuple(told["stretches"][i]) for i in range(len(mean))
        )
        told["weights"] = tuple(told["weights"])
    except CurveError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CurveError(FILE + ": " + repr(error))
    return told


def _check(told: dict, chip: str, chip_id: str) -> None:
    for key, here in (("chip", chip), ("chip_id", chip_id)):
        if told[key] != here:
            raise CurveError(
                f"{FILE} is of {key} {told[key]}, this is {here}: the mean curve is used"
            )
    mean, weights = linear.curve(chip)
    pairs = told["stretches"]
    if len(pairs) != len(mean) or len(told["weights"]) != len(weights):
        raise CurveError(FILE + ": another number of stretches or weights")
    for i in range(len(mean)):
        for k in (0, 1):
            if abs(pairs[i][k] - mean[i][k + 1]) > _FARTHEST:
                raise CurveError(f"{FILE}: {pairs[i][k]} is far from the mean curve")
    for weight in told["weights"]:
        if abs(weight) > _HEAVIEST:
            raise CurveError(f"{FILE}: a weight of {weight}")


def remaining_lsb(told: dict, chip: str) -> float | None:
    """`linearity_lsb` of a curve, None unless every step of it was seen on this chip."""
    steps = len(linear.curve(chip)[0]) - 1
    if len(told["steps"]) < steps:
        return None
    return linearity_lsb(steps, told["step_lsb"])
