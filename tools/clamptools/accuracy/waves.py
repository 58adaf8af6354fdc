"""Ideal waveforms in float64, in LSB of the converter: what the accuracy is measured against.

Owns the shapes and their own RMS by formula. Nothing here knows the firmware; how a wave gets into
it is `chain.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RATE_HZ = 6400
WINDOW = 1280  # samples in 200 ms
RECORD_S = 1
# 100 % of the range: the peak of the largest sine that fits with the bias off mid-scale.
RANGE_LSB = 2000.0

# Signals are played in steps of this fraction of an LSB, which is noise of 0.00007 LSB.
PLAYED_PER_LSB = 4096

_GOLDEN_TURN = 0.6180339887498949


@dataclass(frozen=True)
class Shape:
    """A periodic wave of peak 1.

    Attributes:
        name: As the document calls it.
        at: Values at an array of turns of the fundamental, for a fundamental in Hz.
        rms: Around the mean, by formula, for a fundamental in Hz.
        mean: By formula.
    """

    name: str
    at: Callable[[np.ndarray, float], np.ndarray]
    rms: Callable[[float], float]
    mean: float = 0.0

    def signal(self, hz: float, peak_lsb: float, seconds: int, case: int) -> np.ndarray:
        """The wave from the bias, shape (seconds * RATE_HZ,); `case` gives it a phase."""
        turns = np.arange(seconds * RATE_HZ) * (hz / RATE_HZ) + _GOLDEN_TURN * (case + 1)
        return peak_lsb * self.at(turns, hz)


def _sine(turns: np.ndarray, _hz: float) -> np.ndarray:
    return np.sin(2 * np.pi * turns)


def _half_wave(turns: np.ndarray, _hz: float) -> np.ndarray:
    return np.maximum(0.0, np.sin(2 * np.pi * turns))


def _phase_cut(angle_deg: float) -> Shape:
    """A sine that conducts from `angle_deg` to the zero crossing of each half."""
    share = angle_deg / 180

    def at(turns: np.ndarray, _hz: float) -> np.ndarray:
        return np.where((2 * turns) % 1.0 >= share, np.sin(2 * np.pi * turns), 0.0)

    angle = math.radians(angle_deg)
    rms = math.sqrt((math.pi - angle + math.sin(2 * angle) / 2) / (2 * math.pi))
    peak = 1.0 if angle_deg <= 90 else math.sin(angle)
    return Shape(
        f"phase-cut at {angle_deg:g}°",
        lambda turns, hz: at(turns, hz) / peak,
        lambda _hz: rms / peak,
    )


def _pulses(turns: np.ndarray, _hz: float) -> np.ndarray:
    """A rectifier with a capacitor: a crest of 60 degrees in each half."""
    from_crest = ((2 * turns) % 1.0 - 0.5) * np.pi
    crest = np.where(np.abs(from_crest) < np.pi / 6, np.cos(3 * from_crest), 0.0)
    return np.where(turns % 1.0 < 0.5, crest, -crest)


# Parts of the fundamental's amplitude. What lies above the band is left out, as by a filter.
_DRIVE = ((1, 1.0), (5, 0.20), (7, 0.12), (11, 0.06), (13, 0.04))
_RIPPLE = (2450.0, 0.05)
_BAND_HZ = 3000.0


def _drive_lines(hz: float) -> list[tuple[float, float]]:
    lines = [(h * hz, a) for h, a in _DRIVE if h * hz < _BAND_HZ]
    return [*lines, _RIPPLE]


def _drive(turns: np.ndarray, hz: float) -> np.ndarray:
    total = sum(
        (a * np.sin(2 * np.pi * turns * (f / hz) + f) for f, a in _drive_lines(hz)),
        start=np.zeros(turns.size),
    )
    return total / sum(a for _f, a in _drive_lines(hz))


def _drive_rms(hz: float) -> float:
    lines = _drive_lines(hz)
    return math.sqrt(sum(a * a for _f, a in lines) / 2) / sum(a for _f, a in lines)


SINE = Shape("sine", _sine, lambda _hz: math.sqrt(0.5))
HALF_WAVE = Shape(
    "half-wave", _half_wave, lambda _hz: math.sqrt(0.25 - 1 / math.pi**2), 1 / math.pi
)
PHASE_CUT = (_phase_cut(90), _phase_cut(135))
PULSES = Shape("rectifier's pulses", _pulses, lambda _hz: math.sqrt(1 / 6))
DRIVE = Shape("drive", _drive, _drive_rms)

MAINS_HZ = (45.0, 49.97, 50.0, 50.5, 53.7, 55.0, 60.0, 65.0)
DRIVE_HZ = (5.0, 7.3, 16.7, 50.0, 123.0, 400.0)


def window_rms(x: np.ndarray) -> np.ndarray:
    """RMS around its own mean of each window of 200 ms, shape (windows,)."""
    return np.std(x.reshape(-1, WINDOW), axis=1)


def record_rms(x: np.ndarray) -> np.ndarray:
    """The mean square of the windows of each second, as a root, shape (seconds,)."""
    return np.sqrt(np.mean(window_rms(x).reshape(-1, RATE_HZ // WINDOW) ** 2, axis=1))


def codes(x: np.ndarray, zero_lsb: float) -> np.ndarray:
    """What an ideal converter of 12 bits makes of the signal as it is played: the nearest code."""
    played = np.rint(x * PLAYED_PER_LSB) / PLAYED_PER_LSB
    return np.clip(np.floor(played + zero_lsb + 0.5), 0, 4095)


def ramp(lsb_per_s: float, seconds: int) -> np.ndarray:
    """A drift of the bias from 0 on."""
    return lsb_per_s / RATE_HZ * np.arange(seconds * RATE_HZ)


def step(lsb: float, at_s: float, seconds: int) -> np.ndarray:
    """A jump of the bias."""
    return np.where(np.arange(seconds * RATE_HZ) >= at_s * RATE_HZ, lsb, 0.0)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """One after the other."""
    return np.concatenate(list(parts))
