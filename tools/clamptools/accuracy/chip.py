"""Through the error model of a chip's own converter, with and without the table.

Owns the sections on RP2040 and RP2350: all waves through the chip's mean curve, the single boards
from which that mean was made, and where the bias should sit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from clamptools.accuracy.chain import ZERO_LSB, Reading, Setup, measure
from clamptools.accuracy.ideal import NOISE_LSB, WAVES
from clamptools.accuracy.report import Section, Verdict, Worst, fixed, percent, span, whole
from clamptools.accuracy.waves import RANGE_LSB, SINE, record_rms

TARGET_PCT = 0.1
# RMS of a sine with a peak of 40 LSB; a window of such a sine may hold a little less.
FROM_LSB = 40 * SINE.rms(50.0) * 0.99
_LEVELS_PCT = (2, 5, 10, 50, 100)
PEAKS_LSB = (20, 40, 80, 160, 320, 640, 1000, 1500, 1900)
ZEROS_LSB = (2048.0, 2070.0, 2110.0, 2150.0, 2200.0, 2304.0)
GOOD_ZERO_LSB = 2150.0
CALIBRATED_AT = 1000
BOARDS = 5
_BOARD_HZ = 49.97
_WAVE_S = 2
_BOARD_S = 3


def waves() -> Section:
    """All waves, at all levels, through three converters."""
    section = Section("An RP2040: all waves through its mean curve")
    section.say(
        f"""
        The converter is the mean curve of five boards (`clampdevice.linear`), the same from which
        the table is made: this shows what the table can do on a chip that it fits, the next
        sections what it does on others. {NOISE_LSB:g} LSB of noise, as those boards have (0.47 to
        0.56), with a noise floor that knows of it; bias at code {ZERO_LSB:g}, no
        calibration. RMS over {_WAVE_S} s against float64 of the same samples before the
        converter, worst of each wave's frequencies, in % of the reading. Levels are of the peak;
        in brackets what is smaller than a sine of 40 LSB.
        """
    )
    cases = [(shape, hz, pct) for shape, all_hz in WAVES for hz in all_hz for pct in _LEVELS_PCT]
    signals = [
        shape.signal(hz, RANGE_LSB * pct / 100, _WAVE_S, i)
        for i, (shape, hz, pct) in enumerate(cases)
    ]
    setups = (
        ("ideal", Setup(noise_lsb=NOISE_LSB)),
        ("without table", Setup("rp2040", noise_lsb=NOISE_LSB)),
        ("with table", Setup("rp2040", "rp2040", NOISE_LSB)),
    )
    errors: dict[tuple[str, str, int], Worst] = {}
    verdict = Worst()
    told = measure([setup for _name, setup in setups], signals)
    for (name, _setup), readings in zip(setups, told, strict=True):
        for (shape, hz, pct), signal, reading in zip(cases, signals, readings, strict=True):
            error, true = _error(reading, signal)
            errors.setdefault((shape.name, name, pct), Worst()).take(error, f"{hz:g} Hz")
            if name == "with table" and true >= FROM_LSB:
                verdict.take(error, f"{shape.name}, {pct} %, {hz:g} Hz")
    rows = []
    for shape, all_hz in WAVES:
        for name, _setup in setups:
            row = [shape.name, name]
            for pct in _LEVELS_PCT:
                small = min(RANGE_LSB * pct / 100 * shape.rms(hz) for hz in all_hz) < FROM_LSB
                text = fixed(errors[shape.name, name, pct].value)
                row.append(f"({text})" if small else text)
            rows.append(row)
    section.table(("wave", "converter", *(f"{pct} %" for pct in _LEVELS_PCT)), rows)
    what = "RP2040's mean curve with the table, all waves above the RMS of a sine of 40 LSB"
    section.verdicts.append(Verdict(what, TARGET_PCT, verdict.value, "%", verdict.where))
    return section


def boards(chip: str, zero_lsb: float) -> Section:
    """Sines through the curves of single boards."""
    name = chip.upper()
    section = Section(f"Five {name} boards, bias at code {zero_lsb:g}")
    section.say(
        f"""
        The curve of each of the {BOARDS} boards (`clampdevice.hal.sim.errors`) instead of their
        mean: what the table is worth on a board it does not know. Sines of {_BOARD_HZ:g} Hz,
        {NOISE_LSB:g} LSB of noise, {_BOARD_S} s. *As it is*: no calibration, so that the gain of
        the board is in it. *Calibrated*: divided by the same board's reading at a peak of
        {CALIBRATED_AT} LSB. Error in % of the reading, lowest to highest of the boards; the mean
        curve beside it.
        """
    )
    tables = ("none", chip)
    found = _errors(chip, tables, [zero_lsb])
    rows = []
    worst = Worst()
    for i, peak in enumerate(PEAKS_LSB):
        row = [f"{peak}"]
        for table in tables:
            mean, single = found[table, zero_lsb][0], found[table, zero_lsb][1:]
            calibrated = _calibrated(single)[:, i]
            row += [fixed(float(mean[i]), 2, sign=True), span(single[:, i]), span(calibrated)]
        rows.append(row)
        if peak >= 40:
            single = found[chip, zero_lsb][1:]
            worst.take(_calibrated(single)[:, i], f"peak {peak} LSB")
    section.table(
        (
            "peak, LSB", "without table: mean", "as it is", "calibrated",
            "with table: mean", "as it is", "calibrated",
        ),
        rows,
    )  # fmt: skip
    what = f"five {name} boards with the table, calibrated, sine from 40 LSB, bias {zero_lsb:g}"
    section.verdicts.append(Verdict(what, TARGET_PCT, worst.value, "%", worst.where))
    return section


def bias(chip: str) -> Section:
    """Where the bias should sit."""
    section = Section(f"Where the bias of an {chip.upper()} should sit")
    peaks = (40, 80, 160, 320, CALIBRATED_AT)
    section.say(
        f"""
        A small sine stays near the bias: it meets the step at 2,048 or it does not, and boards
        differ most in the height of their steps; also in that of bit 8, which turns at 2,304.
        Largest error of the {BOARDS} boards with the table, calibrated at {CALIBRATED_AT} LSB, in
        % of the reading. Between the two is the place; with a reference of 3.3 V, code 2,150 is
        1.73 V and leaves a peak of 1,945 codes above it.
        """
    )
    rows = []
    for (_table, zero_lsb), errors in _errors(chip, [chip], ZEROS_LSB, peaks).items():
        worst = np.max(np.abs(_calibrated(errors[1:], peaks)), axis=0)
        rows.append((f"{zero_lsb:g}", *(fixed(float(w), 2) for w in worst[:-1])))
    section.table(("bias, code", *(f"peak {peak} LSB" for peak in peaks[:-1])), rows)
    return section


def _error(reading: Reading, signal: np.ndarray) -> tuple[float, float]:
    """Error of the whole signal's RMS in %, and the RMS."""
    true = whole(record_rms(signal))
    return (whole(reading.record_values()) / true - 1) * 100, true


def _errors(
    chip: str, tables: Sequence[str], zeros: Sequence[float], peaks: tuple[int, ...] = PEAKS_LSB
) -> dict[tuple[str, float], np.ndarray]:
    """Errors in % of sines by table and bias, shape (1 + BOARDS, peaks), the mean curve first."""
    models = (chip, *(f"{chip}-{number}" for number in range(1, BOARDS + 1)))
    keys = [(table, zero) for table in tables for zero in zeros]
    signals = [SINE.signal(_BOARD_HZ, peak, _BOARD_S, i) for i, peak in enumerate(peaks)]
    setups = [Setup(model, table, NOISE_LSB, zero) for table, zero in keys for model in models]
    errors = [
        [_error(r, s)[0] for r, s in zip(readings, signals, strict=True)]
        for readings in measure(setups, signals)
    ]
    shaped = np.array(errors).reshape(len(keys), len(models), len(peaks))
    return dict(zip(keys, shaped, strict=True))


def _calibrated(errors: np.ndarray, peaks: tuple[int, ...] = PEAKS_LSB) -> np.ndarray:
    """The errors of boards whose gain was set at CALIBRATED_AT; shape as given."""
    gain = 1 + errors[:, [peaks.index(CALIBRATED_AT)]] / 100
    return percent(1 + errors / 100, gain)
