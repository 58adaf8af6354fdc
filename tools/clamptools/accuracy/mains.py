"""Frequency, harmonics and power, on the mains.

Owns the sections on features that need more than sums: their truth is the formula of the wave
itself, since a frequency or a harmonic is not that of a window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from clamptools.accuracy.chain import Setup, measure
from clamptools.accuracy.ideal import NOISE_LSB
from clamptools.accuracy.report import Section, Verdict, Worst, fixed
from clamptools.accuracy.waves import HALF_WAVE, PHASE_CUT, RANGE_LSB, SINE, Shape

FREQUENCY_TARGET_HZ = 0.02
_HZ = (45.0, 49.5, 49.97, 50.5, 53.7, 60.04, 65.0)
_LEVELS_PCT = (2, 10, 100)
_THD_HZ = (49.97, 50.5, 60.0)
# A device looks for the frequency once; then wave follows wave, and the first second of each is
# left out, for what reaches over from the one before.
_SEARCH_S = 5
_SECONDS = 3

# Orders with their parts of the fundamental, in %, and an angle in turns.
Spectrum = tuple[tuple[int, float, float], ...]
_SPECTRA: tuple[tuple[str, Spectrum], ...] = (
    ("sine", ()),
    ("3rd 10 %, 5th 4 %", ((3, 10, 0.2), (5, 4, 0.6))),
    ("5th 1 %", ((5, 1, 0.3),)),
    ("rectifier", ((3, 74, 0.486), (5, 42, -0.03), (7, 19, 0.444), (9, 8, 0.4), (11, 7, 0.9))),
    ("2nd to 15th, 2 % each", tuple((h, 2, (h * h * 0.37) % 1) for h in range(2, 16))),
)
CONVERTERS: tuple[tuple[str, Setup], ...] = (
    ("ideal", Setup(noise_lsb=NOISE_LSB)),
    ("RP2040", Setup("rp2040", noise_lsb=NOISE_LSB)),
    ("RP2040 with table", Setup("rp2040", "rp2040", NOISE_LSB)),
)


def spectrum(name: str, parts: Spectrum) -> Shape:
    """A fundamental of peak 1 with harmonics, scaled so that the largest possible peak is 1."""
    lines = ((1, 100.0, 0.0), *parts)
    total = sum(part for _h, part, _t in lines)

    def at(turns: np.ndarray, _hz: float) -> np.ndarray:
        wave = sum(
            (part * np.sin(2 * np.pi * (h * turns + t)) for h, part, t in lines),
            start=np.zeros(turns.size),
        )
        return wave / total

    rms = math.sqrt(sum(part * part for _h, part, _t in lines) / 2) / total
    return Shape(name, at, lambda _hz: rms)


SPECTRA = tuple((spectrum(name, parts), parts) for name, parts in _SPECTRA)
_ORDERS = [f"h{order}" for order in range(1, 16)]
SINE_ALONE = SPECTRA[0][0]
_CHANNEL: dict[str, Any] = {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 1.0}


@dataclass(frozen=True)
class _Case:
    shape: Shape
    pct: int
    hz: float


def _play(
    converters: Sequence[tuple[str, Setup]],
    shapes: Sequence[Shape],
    all_hz: Sequence[float],
    features: list[str],
) -> Iterator[tuple[str, _Case, dict[str, np.ndarray]]]:
    """Yields converter, case and its features, an array of records each."""
    cases: list[_Case | None] = []
    signals: list[np.ndarray] = []
    for hz in all_hz:
        cases.append(None)
        signals.append(SINE.signal(hz, RANGE_LSB / 2, _SEARCH_S, 0))
        for i, (shape, pct) in enumerate(itertools.product(shapes, _LEVELS_PCT)):
            cases.append(_Case(shape, pct, hz))
            signals.append(shape.signal(hz, RANGE_LSB * pct / 100, _SECONDS, i))
    channels = [{**_CHANNEL, "features": features}]
    told = measure([setup for _name, setup in converters], signals, channels)
    for (name, _setup), readings in zip(converters, told, strict=True):
        for case, reading in zip(cases, readings, strict=True):
            if case is not None:
                yield name, case, {key: reading.record_values(key)[1:] for key in features}


def frequency() -> Section:
    """The mains frequency of distorted currents."""
    section = Section("Mains frequency")
    section.say(
        f"""
        Of the current itself, once a record, at {", ".join(f"{hz:g}" for hz in _HZ)}
        Hz, with {NOISE_LSB:g} LSB of noise, once it was found. Largest error in Hz, and in
        brackets how many records were withheld, where any were. Levels are of the peak.
        """
    )
    shapes = (SINE, SPECTRA[3][0], SPECTRA[4][0], HALF_WAVE, *PHASE_CUT)
    found: dict[tuple[str, int, str], tuple[Worst, list[int]]] = {}
    verdict, missing = Worst(), 0
    setups = (CONVERTERS[0], CONVERTERS[2])
    for converter, case, features in _play(setups, shapes, _HZ, ["frequency"]):
        told = features["frequency"]
        key = (case.shape.name, case.pct, converter)
        worst, withheld = found.setdefault(key, (Worst(), [0, 0]))
        withheld[0] += int(np.sum(np.isnan(told)))
        withheld[1] += told.size
        errors = told[~np.isnan(told)] - case.hz
        if errors.size:
            worst.take(errors, "")
            where = f"{case.shape.name}, {case.pct} %, {case.hz:g} Hz, {converter}"
            verdict.take(errors, where)
    rows = []
    for shape in shapes:
        for converter, _setup in setups:
            row = [shape.name, converter]
            for pct in _LEVELS_PCT:
                worst, (withheld, of) = found[shape.name, pct, converter]
                missing += withheld
                more = f" ({withheld} of {of} withheld)" if withheld else ""
                row.append(fixed(worst.value, 4) + more)
            rows.append(row)
    section.table(("wave", "converter", *(f"{pct} %" for pct in _LEVELS_PCT)), rows)
    what = f"mains frequency, 45 to 65 Hz; {missing} records withheld"
    limit = FREQUENCY_TARGET_HZ
    section.verdicts.append(Verdict(what, limit, verdict.value, "Hz", verdict.where))
    return section


def harmonics() -> Section:
    """Harmonics and THD."""
    section = Section("Harmonics and THD")
    found: dict[tuple[str, str, int], tuple[Worst, Worst]] = {}
    spectra = {shape.name: parts for shape, parts in SPECTRA}
    shapes = [shape for shape, _parts in SPECTRA]
    floor = Worst()
    for converter, case, told in _play(CONVERTERS, shapes, _THD_HZ, ["thd", *_ORDERS]):
        name = case.shape.name
        thd, single = found.setdefault((name, converter, case.pct), (Worst(), Worst()))
        true = {1: 100.0, **{h: part for h, part, _t in spectra[name]}}
        distortion = math.sqrt(sum(part**2 for h, part in true.items() if h > 1))
        thd.take(told["thd"] - distortion, "")
        for h, order in enumerate(_ORDERS, 1):
            single.take(told[order] / told["h1"] * 100 - true.get(h, 0.0), "")
            if case.shape is SINE_ALONE and case.pct == _LEVELS_PCT[0] and h > 1:
                floor.take(told[order], "")
    section.say(
        f"""
        Spectra of known orders at {", ".join(f"{hz:g}" for hz in _THD_HZ)} Hz, with
        {NOISE_LSB:g} LSB of noise, once the frequency was found, against the formula of the wave.
        Largest error of the THD in percentage points, and of any single order in % of the
        fundamental. Levels are of the largest possible peak. What an order errs by does not fall
        with the level: it is the rounding of the resonators, up to {fixed(floor.value, 1)} LSB
        RMS at 2 %, and makes the THD of a small current too high.
        """
    )
    rows = []
    for name in spectra:
        for converter, _setup in CONVERTERS:
            row = [name, converter]
            for pct in _LEVELS_PCT:
                row += [fixed(worst.value, 2) for worst in found[name, converter, pct]]
            rows.append(row)
    header = ["spectrum", "converter"]
    for pct in _LEVELS_PCT:
        header += [f"{pct} %: THD", "any order"]
    section.table(header, rows)
    return section
