"""Through an ideal converter of 12 bits: what arithmetic and rounding leave of a waveform.

Owns the sections on the ideal converter, on what a window of fixed length is worth, and on drift
and steps.
"""

from __future__ import annotations

import numpy as np

from clamptools.accuracy.chain import ZERO_LSB, Setup, measure
from clamptools.accuracy.report import Section, Verdict, Worst, fixed, percent, span, whole
from clamptools.accuracy.waves import (
    DRIVE,
    DRIVE_HZ,
    HALF_WAVE,
    MAINS_HZ,
    PHASE_CUT,
    PULSES,
    RANGE_LSB,
    SINE,
    Shape,
    codes,
    ramp,
    record_rms,
    step,
    window_rms,
)
from clampwire.values import BELOW_FLOOR

LEVELS_PCT = (2, 3, 5, 10, 20, 50, 100)
LOW_LSB = (0, 0.4, 1, 2, 5, 10, 20, 30)
NOISE_LSB = 0.5
TARGET_PCT = 0.05
WAVES: tuple[tuple[Shape, tuple[float, ...]], ...] = (
    (SINE, MAINS_HZ),
    *((shape, (49.97, 50.0, 53.7, 60.0)) for shape in (HALF_WAVE, *PHASE_CUT, PULSES)),
    (DRIVE, DRIVE_HZ),
)
_SECONDS = 2
_LONG_S = 10
_STEPS = (1, 10, 100)
_DRIFT_PEAKS = (40.0, 400.0, 1600.0)


def ideal_sine() -> Section:
    """Sines of 2 to 100 % of the range."""
    section = Section("An ideal converter: sines from 2 to 100 % of the range")
    section.say(
        """
        Windows of 200 ms at 45, 49.97, 50, 50.5, 53.7, 55, 60 and 65 Hz, no noise; the worst of
        each level, against float64 of the same samples before the converter, in % of the reading.
        *Rounding* is what float64 makes of the codes of the ideal converter: the part that no
        arithmetic can take away. *Theory* is what it should be: one LSB / √12 in quadrature, and
        beside it the standard deviation of 1,280 independent roundings; exactly 50 and 60 Hz
        repeat 128 and 320 phases in a window, so theirs scatter three times and twice as much.
        *Firmware* is the difference of the firmware to float64 of the codes. *Sent* is the record
        after its 16-bit integer on the wire, whose step of 0.032 LSB adds up to half of itself.
        """
    )
    cases = [(pct, hz) for pct in LEVELS_PCT for hz in MAINS_HZ]
    signals = [
        SINE.signal(hz, RANGE_LSB * pct / 100, _SECONDS, case)
        for case, (pct, hz) in enumerate(cases)
    ]
    (readings,) = measure([Setup()], signals)
    rows = []
    beyond, firmware = Worst(), Worst()
    for pct in LEVELS_PCT:
        total, rounding, own, sent = Worst(), Worst(), Worst(), Worst()
        for (level, hz), signal, reading in zip(cases, signals, readings, strict=True):
            if level != pct:
                continue
            where = f"{pct} %, {hz:g} Hz"
            true, of_codes = window_rms(signal), window_rms(codes(signal, ZERO_LSB))
            told = reading.window_values()
            total.take(percent(told, true), where)
            rounding.take(percent(of_codes, true), where)
            own.take(percent(told, of_codes), where)
            firmware.take(percent(told, of_codes), where)
            left = np.abs(told - true) - np.abs(of_codes - true)
            beyond.take(np.maximum(0, left) / true * 100, where)
            sent.take(percent(reading.sent_values(), record_rms(signal)), where)
        rms = RANGE_LSB * pct / 100 * SINE.rms(50.0)
        quadrature = (np.hypot(rms, 12**-0.5) / rms - 1) * 100
        scatter = (12 * 1280) ** -0.5 / rms * 100
        rows.append(
            (
                f"{pct} %",
                fixed(rms, 1),
                f"+{fixed(quadrature, 4)} ± {fixed(scatter, 4)}",
                fixed(rounding.value),
                fixed(total.value),
                fixed(own.value, 4),
                fixed(sent.value),
            )
        )
    section.table(
        ("peak", "RMS, LSB", "theory", "rounding", "total", "firmware", "sent"),
        rows,
    )
    what = "ideal converter, sine, 2 to 100 % of range, 45 to 65 Hz: beyond rounding"
    section.verdicts.append(Verdict(what, TARGET_PCT, beyond.value, "%", beyond.where))
    return section


def below() -> Section:
    """From nothing to 2 % of the range, in LSB."""
    section = Section("An ideal converter: below 2 % of the range")
    section.say(
        f"""
        Absolute, in LSB, records of 1 s at 49.97 Hz; 2 % of the range are 28.3 LSB RMS. Without
        noise a converter of whole codes does not see what is smaller than half a step, and
        nothing can be done about it; with {NOISE_LSB:g} LSB of noise and a noise floor that is
        known, the noise is taken off in quadrature, and what is below it is 0 and flagged.
        """
    )
    signals = [SINE.signal(49.97, peak, 10, i) for i, peak in enumerate(LOW_LSB)]
    plain, noisy = measure([Setup(), Setup(noise_lsb=NOISE_LSB)], signals)
    rows = []
    worst = Worst()
    for peak, signal, one, other in zip(LOW_LSB, signals, plain, noisy, strict=True):
        true = record_rms(signal)
        rounded = record_rms(codes(signal, ZERO_LSB))
        told, told_noisy = one.record_values(), other.record_values()
        flagged = sum(bool(flags[0] & BELOW_FLOOR) for flags in other.flags)
        left = np.maximum(0, np.abs(told - true) - np.abs(rounded - true))
        worst.take(left, f"peak {peak:g} LSB")
        rows.append(
            (
                f"{peak:g}",
                fixed(float(true[0])),
                fixed(whole(told)),
                span(told - true, 3),
                span(rounded - true, 3),
                fixed(whole(told_noisy)),
                span(told_noisy - true, 3),
                f"{flagged} of {len(other.flags)}",
            )
        )
    section.table(
        (
            "peak, LSB", "RMS, LSB", "told", "error", "of it rounding", "told with noise", "error",
            "below_floor",
        ),
        rows,
    )  # fmt: skip
    limit = TARGET_PCT / 100 * 0.02 * RANGE_LSB * SINE.rms(50.0)
    what = "ideal converter, below 2 % of range: beyond rounding, 0.05 % of the RMS at 2 %"
    section.verdicts.append(Verdict(what, round(limit, 4), worst.value, "LSB", worst.where))
    return section


def windows() -> Section:
    """What a window of fixed length is worth against the wave's own RMS."""
    section = Section("A window of fixed length against the wave itself")
    section.say(
        f"""
        All other sections compare with float64 over the same samples. Where 200 ms do not hold
        whole half-cycles, they differ from the wave's own RMS by formula, and so does any meter
        with windows of fixed time: a single window of a sine moves by up to 1 / (4 π f T), a
        record less, since five windows average; and the mean of a window that is taken off holds
        a part of a slow wave, so that its RMS reads low by up to half of sinc²(f T): 2.4 % at 7.2
        Hz, 0.8 % at 12.5 Hz, below 0.1 % from 35 Hz on. A wave with an edge is sampled at the
        same places of its cycle if it runs exactly with the sampling, and the edge is then off by
        a part of a sample's time, always the same; a filter at the pin rounds such edges, here
        they are as sharp as can be. Largest deviation in %, peak at 100 % of the range, over
        {_LONG_S} s; *{_LONG_S} s* is the RMS of all.
        """
    )
    rows = []
    cases = [(shape, hz) for shape, all_hz in WAVES for hz in all_hz]
    signals = [shape.signal(hz, RANGE_LSB, _LONG_S, i) for i, (shape, hz) in enumerate(cases)]
    (readings,) = measure([Setup()], signals)
    for (shape, hz), signal, reading in zip(cases, signals, readings, strict=True):
        own = RANGE_LSB * shape.rms(hz)
        records = reading.record_values()
        deviations = (
            percent(reading.window_values(), own),
            percent(records, own),
            percent(np.array([whole(records)]), own),
            percent(reading.window_values(), window_rms(signal)),
        )
        rows.append(
            (shape.name, f"{hz:g}", *(fixed(float(np.max(np.abs(d)))) for d in deviations))
        )
    section.table(("wave", "Hz", "window", "record", f"{_LONG_S} s", "same samples"), rows)
    return section


def drift() -> Section:
    """Offset drift and steps."""
    section = Section("Drift and steps of the bias")
    section.say(
        """
        The mean is taken off in each window by itself, so nothing is remembered: a step is over
        with the window in which it falls, and a steady offset costs nothing. Within a window of
        T = 200 ms a drift by d adds d² / 12 to the mean square, and beside a sine with peak A up
        to A d / (π f T), of either sign; a step by d in its middle adds d² / 4. Error of a
        sine of 49.97 Hz in %: the most by these formulas; found in the third of ten windows, in
        whose middle the steps are; and the worst of the other nine. What was found has the
        rounding to whole codes in it.
        """
    )
    kinds = [
        (
            f"drift of {rate} LSB/s",
            ramp(rate, 2),
            (0.2 * rate) ** 2 / 12,
            0.2 * rate / (10 * np.pi),
        )
        for rate in _STEPS
    ]
    kinds += [(f"step of {lsb} LSB", step(lsb, 0.5, 2), lsb**2 / 4, 0.0) for lsb in _STEPS]
    sines = [(peak, SINE.signal(49.97, peak, 2, i)) for i, peak in enumerate(_DRIFT_PEAKS)]
    signals = [sine + kind[1] for kind in kinds for _peak, sine in sines]
    readings = iter(measure([Setup()], signals)[0])
    rows = []
    for name, _signal, added, with_sine in kinds:
        row = [name]
        for peak, sine in sines:
            error = percent(next(readings).window_values(), window_rms(sine))
            formula = (np.sqrt(1 + 2 * (added + with_sine * peak) / peak**2) - 1) * 100
            row += [
                fixed(float(formula), sign=True),
                fixed(float(error[2]), sign=True),
                fixed(float(np.max(np.abs(np.delete(error, 2))))),
            ]
        rows.append(row)
    header = [""]
    for peak in _DRIFT_PEAKS:
        header += [f"peak {peak:g} LSB: at most", "third", "others"]
    section.table(header, rows)
    return section
