"""Plays ideal motion through the firmware's accelerometer, and hands back what it measured.

Owns the sensors and the job for `clampdevice.replay`; running it and reading its lines are
`chain.py`. Motion is in g along the axes of the sensor. Knows nothing of tables or targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clamptools.accuracy.chain import Reading, parted, run_jobs

# Ref: CGPM 1901, the standard acceleration of gravity.
G_M_S2 = 9.80665


@dataclass(frozen=True)
class Sensor:
    """An accelerometer, and how the firmware is told to treat it.

    Attributes:
        name: As the document calls it.
        lsb_per_g: Counts of 1 g.
        bits: Of a count.
        noise_lsb: RMS of the noise of an axis, white; the firmware is told of it and of the
            rounding as the noise floor, if there is any.
        rate_hz: Samples a second, a multiple of 5.
    """

    name: str
    lsb_per_g: float
    bits: int
    noise_lsb: float = 0.0
    rate_hz: int = 3200

    @property
    def floor_m_s2(self) -> float:
        """RMS of one axis at rest; 0 where no noise was asked for."""
        lsb = float(np.hypot(self.noise_lsb, 12**-0.5)) if self.noise_lsb else 0.0
        return lsb / self.lsb_per_g * G_M_S2


FINE = Sensor("16 bits", 2048.0, 16)
COARSE = Sensor("13 bits, noise", 256.0, 13, 4.0)


def shake(
    sensor: Sensor,
    signals: Sequence[np.ndarray],
    features: Sequence[str],
    axes: str = "x",
    bands: Sequence[Sequence[float]] | None = None,
) -> list[Reading]:
    """Plays signals one after another through one device, and parts what it says.

    Args:
        sensor: What hears them.
        signals: Each of whole seconds, in g; (samples,) or (samples, axes).
        features: Of the channel `vibration1`, as in board.json.
        axes: A letter an axis.
        bands: Pairs (low, high) in Hz; None for octaves.

    Returns:
        A reading of each signal, as `chain.measure` has it.

    Raises:
        UserError: The firmware refused; with its words.
        ValueError: A signal is not of whole seconds.
    """
    seconds = [signal.shape[0] / sensor.rate_hz for signal in signals]
    if any(s != int(s) or not s for s in seconds):
        raise ValueError(f"signals are of whole seconds, not {seconds}")
    channel: dict[str, Any] = {
        "key": "vibration1",
        "quantity": "vibration",
        "axes": axes,
        "features": list(features),
        **({"bands": bands} if bands else {}),
    }
    if sensor.floor_m_s2:
        channel["noise_floor"] = sensor.floor_m_s2
    job = {
        "kind": "board",
        "channels": [channel],
        "accelerometer": {
            "rate_hz": sensor.rate_hz,
            "slots": len(axes),
            "bits": sensor.bits,
            "lsb_per_g": sensor.lsb_per_g,
        },
        "noise_lsb": sensor.noise_lsb,
        "seed": 1,
    }
    (lines,) = run_jobs([job], [signal * sensor.lsb_per_g for signal in signals])
    return parted(lines, [int(s) for s in seconds])


def sine(sensor: Sensor, hz: float, peak_g: float, seconds: int, case: int = 0) -> np.ndarray:
    """A sine in g, shape (seconds * rate,); `case` gives it a phase."""
    turns = np.arange(seconds * sensor.rate_hz) * (hz / sensor.rate_hz)
    return peak_g * np.sin(2 * np.pi * (turns + 0.618034 * (case + 1)))


def velocity_mm_s(hz: float, peak_g: float) -> float:
    """RMS of the velocity of a sine, by the integral."""
    return 1000 * G_M_S2 * peak_g / np.sqrt(2) / (2 * np.pi * hz)
