"""Velocity RMS: over frequency, rate, amplitude and direction, against the integral of the sine.

Owns the section on velocity. Truth is by formula, `a / (2 pi f)`, so it knows nothing of the
filter that is judged.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from clamptools.accuracy.report import Section, Verdict, Worst, fixed, percent
from clamptools.accuracy.shaken import COARSE, FINE, Sensor, shake, sine, velocity_mm_s

TARGET_PCT = 2.0
FROM_MM_S = 1.0
HZ = (10.0, 20.0, 50.0, 100.0, 500.0, 1000.0)
RATES_HZ = (800, 1600, 3200, 6400)
PEAKS_G = (0.02, 0.1, 1.0, 10.0)
DIRECTIONS = ((1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 2, 3))
_AXES = "xyz"
_SECONDS = 3
_SETTLED = 1  # records until the filter has forgotten the signal before


def rates() -> Section:
    """The filter's own error over frequency."""
    section = Section("Velocity RMS over frequency and sampling rate")
    section.say(
        f"""
        An accelerometer of 16 bits, 2,048 LSB/g, no noise; sines with a peak of 1 g along one
        axis. Records of 1 s after {_SETTLED} s of settling against the integral of the sine, worst
        of {_SECONDS - _SETTLED}, in % of the reading: what the filter makes of it. At rates below
        2,500 Hz the upper end is 0.4 of the rate; in brackets what is above that.
        """
    )
    worst = Worst()
    found: dict[tuple[int, float], str] = {}
    for rate_hz in RATES_HZ:
        sensor = dataclasses.replace(FINE, rate_hz=rate_hz)
        signals = [
            sine(sensor, hz, 1.0, _SECONDS, i) for i, hz in enumerate(HZ) if hz < rate_hz / 2
        ]
        for hz, reading in zip(HZ, shake(sensor, signals, ["v_x"]), strict=False):
            told = reading.record_values("v_x", "vibration1")[_SETTLED:]
            errors = percent(told, velocity_mm_s(hz, 1.0))
            text = fixed(_signed(errors), 2, sign=True)
            if hz <= 0.4 * rate_hz:
                worst.take(errors, f"{hz:g} Hz at {rate_hz:,} Hz")
            else:
                text = f"({text})"
            found[rate_hz, hz] = text
    section.table(
        ("sine, Hz", *(f"{rate_hz:,} Hz" for rate_hz in RATES_HZ)),
        ((f"{hz:g}", *(found.get((rate_hz, hz), "–") for rate_hz in RATES_HZ)) for hz in HZ),
    )
    what = "velocity RMS of a sine of 1 g, 10 to 1000 Hz, at 800 to 6,400 Hz"
    section.verdicts.append(Verdict(what, TARGET_PCT, worst.value, "%", worst.where))
    return section


def amplitudes() -> Section:
    """Amplitudes, on a sensor without noise and on one like an ADXL345."""
    section = Section("Velocity RMS over amplitude")
    section.say(
        f"""
        Sines along x of three axes at 3,200 Hz, 1 g of gravity on z. *{FINE.name}* is as above;
        *{COARSE.name}* has the 256 LSB/g of an ADXL345 and {COARSE.noise_lsb:g} LSB of noise, with
        a noise floor that knows of it. *True* is the velocity, in mm/s; then the worst of
        {_SECONDS - _SETTLED} records, in % of it. In brackets what is below {FROM_MM_S:g} mm/s: a
        weak sine of a high frequency is a small velocity, and the noise has one of its own: of a
        second of it, a part is always left that taking off its mean square does not reach.
        """
    )
    cases = [(hz, peak) for peak in PEAKS_G for hz in HZ]
    told = {}
    verdicts = {}
    for sensor in (FINE, COARSE):
        signals = [_still(sensor, hz, peak, i) for i, (hz, peak) in enumerate(cases)]
        worst = verdicts[sensor.name] = Worst()
        for case, reading in zip(cases, shake(sensor, signals, ["v_x"], _AXES), strict=True):
            true = velocity_mm_s(*case)
            errors = percent(reading.record_values("v_x", "vibration1")[_SETTLED:], true)
            text = fixed(_signed(errors), 2, sign=True)
            if true >= FROM_MM_S:
                worst.take(errors, f"{case[0]:g} Hz, {case[1]:g} g")
                told[(sensor.name, *case)] = text
            else:
                told[(sensor.name, *case)] = f"({text})"
    rows = []
    for hz, peak in cases:
        texts = [told[sensor.name, hz, peak] for sensor in (FINE, COARSE)]
        rows.append((f"{peak:g}", f"{hz:g}", fixed(velocity_mm_s(hz, peak)), *texts))
    section.table(("peak, g", "Hz", "true", FINE.name, COARSE.name), rows)
    for name, worst in verdicts.items():
        what = f"velocity RMS of sines of 0.02 to 10 g from {FROM_MM_S:g} mm/s, {name}"
        section.verdicts.append(Verdict(what, TARGET_PCT, worst.value, "%", worst.where))
    return section


def directions() -> Section:
    """A motion that is along no axis."""
    section = Section("Velocity RMS off-axis")
    section.say(
        """
        The same motion, peak 1 g, along a direction of three axes of 16 bits, with gravity on z.
        Error of √(v_x² + v_y² + v_z²) in %; *an axis*, the largest error of an axis that moves
        against its share; *a still axis*, the largest velocity told of one that does not move, in
        mm/s.
        """
    )
    worst = Worst()
    rows = []
    for direction in DIRECTIONS:
        unit = np.array(direction) / np.linalg.norm(direction)
        signals = []
        for i, hz in enumerate(HZ):
            frames = sine(FINE, hz, 1.0, _SECONDS, i)[:, None] * unit
            frames[:, 2] += 1.0
            signals.append(frames)
        features = ["v_" + axis for axis in _AXES]
        row = [" ".join(map(str, direction))]
        axis_worst, still = Worst(), Worst()
        for hz, reading in zip(HZ, shake(FINE, signals, features, _AXES), strict=True):
            v = np.array([reading.record_values(key, "vibration1")[_SETTLED:] for key in features])
            true = velocity_mm_s(hz, 1.0)
            where = f"{hz:g} Hz along {row[0]}"
            errors = percent(np.sqrt(np.sum(v**2, axis=0)), true)
            worst.take(errors, where)
            row.append(fixed(_signed(errors), 2, sign=True))
            for share, values in zip(unit, v, strict=True):
                if share:
                    worst.take(axis_worst.take(percent(values, share * true), where), where)
                else:
                    still.take(values, where)
        rows.append((*row, fixed(axis_worst.value, 2), fixed(still.value, 3)))
    header = ("along", *(f"{hz:g} Hz" for hz in HZ), "an axis", "a still axis")
    section.table(header, rows)
    what = "velocity RMS of a sine of 1 g off-axis: each axis, and the vector"
    section.verdicts.append(Verdict(what, TARGET_PCT, worst.value, "%", worst.where))
    return section


def _still(sensor: Sensor, hz: float, peak_g: float, case: int) -> np.ndarray:
    frames = np.zeros((_SECONDS * sensor.rate_hz, len(_AXES)))
    frames[:, 0] = sine(sensor, hz, peak_g, _SECONDS, case)
    frames[:, 2] = 1.0
    return frames


def _signed(errors: np.ndarray) -> float:
    """The error of the largest magnitude."""
    return float(errors[np.argmax(np.abs(np.nan_to_num(errors, nan=np.inf)))])
