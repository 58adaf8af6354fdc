"""Real power and power factor, with current and voltage sampled one after the other.

Owns the section on power. Its truth is float64 of both waves at the instants of the current's own
samples, over the same windows, before the converter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clamptools.accuracy.chain import measure
from clamptools.accuracy.ideal import NOISE_LSB
from clamptools.accuracy.mains import CONVERTERS
from clamptools.accuracy.report import Section, Worst, fixed
from clamptools.accuracy.waves import RATE_HZ, RECORD_S, WINDOW, record_rms

SLOTS = 4
_SECONDS = 2
_HZ = (49.97, 53.7, 60.0)
_V_PEAK = 1500.0
# Orders with their parts of the fundamental, and angles in turns.
_V_LINES = ((1, 1.0, 0.0), (5, 0.03, 0.5))
_SINE = ((1, 1.0, 0.0),)
_RECTIFIER = ((1, 1.0, 0.0), (3, 0.74, 0.486), (5, 0.42, -0.03), (7, 0.19, 0.444))


@dataclass(frozen=True)
class _Load:
    """A current: its lines, its peak if all lines met, and how far it lags, in degrees."""

    name: str
    lines: tuple[tuple[int, float, float], ...]
    peak_lsb: float
    lag_deg: float


_LOADS = tuple(
    _Load(f"{name}, peak {peak:g} LSB", lines, peak, lag)
    for peak in (1000.0, 100.0)
    for name, lines, lag in (
        ("in phase", _SINE, 0.0),
        ("lagging 60°", _SINE, 60.0),
        ("leading 60°", _SINE, -60.0),
        ("lagging 84°", _SINE, 84.3),
        ("rectifier", _RECTIFIER, 0.0),
    )
)
_CURRENT = {
    "key": "current1", "quantity": "current", "slot": 0, "a_per_v": 1.0, "voltage": "voltage1",
    "features": ["rms", "real", "pf"],
}  # fmt: skip
_VOLTAGE = {
    "key": "voltage1", "quantity": "voltage", "v_per_v": 1.0, "features": ["rms", "frequency"],
}  # fmt: skip


def _wave(
    t_s: np.ndarray, hz: float, lines: tuple[tuple[int, float, float], ...], lag_deg: float
) -> np.ndarray:
    return sum(
        (
            part * np.sin(2 * np.pi * (order * (hz * t_s - lag_deg / 360) + turns))
            for order, part, turns in lines
        ),
        start=np.zeros(t_s.size),
    )


def _current(load: _Load, hz: float, t_s: np.ndarray) -> np.ndarray:
    total = sum(part for _order, part, _turns in load.lines)
    return load.peak_lsb / total * _wave(t_s, hz, load.lines, load.lag_deg)


def _voltage(hz: float, t_s: np.ndarray) -> np.ndarray:
    return _V_PEAK * _wave(t_s, hz, _V_LINES, 0.0)


def _products(current: np.ndarray, voltage: np.ndarray) -> np.ndarray:
    """Mean product around the means of each window, aggregated to records."""
    i, v = (x.reshape(-1, WINDOW) for x in (current, voltage))
    windows = np.mean(i * v, axis=1) - np.mean(i, axis=1) * np.mean(v, axis=1)
    return windows.reshape(-1, RECORD_S * RATE_HZ // WINDOW).mean(axis=1)


def power() -> Section:
    """Real power and power factor with the skew between slots."""
    section = Section("Real power and power factor")
    section.say(
        f"""
        A voltage with 3 % of 5th order at a peak near {_V_PEAK:g} LSB, one and two slots of four
        after its current: 39 and 78 µs, 0.7 and 1.4 degrees at 50 Hz. At
        {", ".join(f"{hz:g}" for hz in _HZ)} Hz, with {NOISE_LSB:g} LSB of noise. Largest error of
        the real power of a record in % of the apparent power, and of the power factor. *Skew* is
        what the products of each frame, as they come, would err by: the firmware takes it off by
        interpolation between three lags.
        """
    )
    found: dict[tuple[str, int, str], tuple[Worst, Worst]] = {}
    skewed: dict[tuple[str, int], Worst] = {}
    for slot in (1, 2):
        channels = [{**_VOLTAGE, "slot": slot}, _CURRENT]
        for hz in _HZ:
            t_s = np.arange(_SECONDS * RATE_HZ) / RATE_HZ
            late_s = t_s + slot / SLOTS / RATE_HZ
            signals = []
            for load in _LOADS:
                frames = np.zeros((t_s.size, SLOTS))
                frames[:, 0] = _current(load, hz, t_s)
                frames[:, slot] = _voltage(hz, late_s)
                signals.append(frames)
            told = measure([setup for _name, setup in CONVERTERS], signals, channels, SLOTS)
            for (converter, _setup), readings in zip(CONVERTERS, told, strict=True):
                for load, frames, reading in zip(_LOADS, signals, readings, strict=True):
                    pair = (load.name, slot)
                    true = _products(frames[:, 0], _voltage(hz, t_s))[1:]
                    naive = _products(frames[:, 0], frames[:, slot])[1:]
                    apparent = (record_rms(frames[:, 0]) * record_rms(frames[:, slot]))[1:]
                    watts = reading.record_values("real")[1:]
                    factor = reading.record_values("pf")[1:]
                    worst = found.setdefault((*pair, converter), (Worst(), Worst()))
                    worst[0].take((watts - true) / apparent * 100, "")
                    worst[1].take(factor - true / apparent, "")
                    skewed.setdefault(pair, Worst()).take((naive - true) / apparent * 100, "")
    rows = []
    for load in _LOADS:
        for slot in (1, 2):
            row = [load.name, str(slot), fixed(skewed[load.name, slot].value, 2)]
            for converter, _setup in CONVERTERS:
                watts, factor = found[load.name, slot, converter]
                row += [fixed(watts.value), fixed(factor.value, 4)]
            rows.append(row)
    header = ["current", "slots apart", "skew"]
    for converter, _setup in CONVERTERS:
        header += [f"{converter}: real", "pf"]
    section.table(header, rows)
    return section
