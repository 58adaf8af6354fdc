"""Tables refined on the board itself: what they leave of the single boards' errors.

Owns the section, and the signal that the boards are refined by. The estimate is the firmware's
(`clampdevice.refinement`); its counts are made here, all at once, as `codedensity.count` would.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clamptools.accuracy.chain import Setup, measure
from clamptools.accuracy.chip import BOARDS, CALIBRATED_AT, GOOD_ZERO_LSB, PEAKS_LSB, TARGET_PCT
from clamptools.accuracy.ideal import NOISE_LSB
from clamptools.accuracy.report import Section, Verdict, Worst, percent, span, whole
from clamptools.accuracy.waves import RATE_HZ, SINE, record_rms
from clamptools.interpreter import find_interpreter

# As of clampdevice.refine, codedensity and linear.
SECONDS = 1800
BIN_BITS, BINS = 3, 512
CODES, _GRID = 4096, 128

CASES = (("rp2040", 2070.0), ("rp2040", GOOD_ZERO_LSB), ("rp2350", GOOD_ZERO_LSB))
PEAK_LSB = 1900.0
# Parts of the fundamental and phases of a bad mains voltage; its frequency and amplitude wander.
MAINS = ((3, 0.03, 1.0), (5, 0.025, 2.0), (7, 0.012, 0.3))
IMPURE = ((3, 0.0005, 1.0),)
_HZ, _WANDER_HZ, _WANDER_S = 49.97, 0.02, 47.3
_SWING, _SWING_S = 0.01, 13.1
_SIGNAL_HZ, _SIGNAL_S = 49.97, 3
_CHUNK = 1 << 20
_EDGES = slice(300 >> BIN_BITS, (3900 >> BIN_BITS) + 1)


Curve = tuple[tuple[tuple[int, ...], ...], tuple[int, ...]]  # stretches, weights


def _ask(jobs: Sequence[dict[str, Any]], contents: Sequence[bytes] = ()) -> list[Any]:
    """What the firmware says to jobs of `clampdevice.replay` that have one line each.

    Raises:
        UserError: It refused one; with its words.
    """
    interpreter = find_interpreter()
    with tempfile.TemporaryDirectory(prefix="clampwork-curves-") as name:
        paths = [Path(name) / f"job{number}.json" for number in range(len(jobs))]
        for i, (path, job) in enumerate(zip(paths, jobs, strict=True)):
            file = path.with_suffix(".bin")
            file.write_bytes(contents[i] if contents else b"")
            path.write_text(json.dumps({**job, "file": str(file)}))
        lines = interpreter.lines("replay.py", *map(str, paths), heap="2m")
    return [next(iter(json.loads(line).values())) for line in lines]


def thresholds(jobs: Sequence[dict[str, Any]]) -> list[np.ndarray]:
    """T(k) in LSB of each `model` or `own` curve, shape (4096,) each."""
    told = _ask([{"kind": "thresholds", **job} for job in jobs])
    return [np.array(levels, dtype=float)[::-1] / _GRID for levels in told]


def refine(seen: Sequence[np.ndarray], chip: str) -> list[Curve]:
    """The curves that the firmware makes of counts."""
    jobs = [{"kind": "curve", "chip": chip}] * len(seen)
    told = _ask(jobs, [numbers.astype("<u4").tobytes() for numbers in seen])
    return [(tuple(map(tuple, stretches)), tuple(weights)) for stretches, weights in told]


def counts(models: list[str], harmonics: tuple, wanders: bool, seconds: int) -> list[np.ndarray]:
    """Counts of each board's bins for one signal, shape (512,) each.

    Args:
        models: Names of boards.
        harmonics: Order, part of the fundamental, phase in radians of each.
        wanders: Whether frequency and amplitude move, as they do on a mains.
        seconds: Of the signal, at 6,400 samples/s, around GOOD_ZERO_LSB.
    """
    bins = [_bins(levels) for levels in thresholds([{"model": model} for model in models])]
    found = [np.zeros(BINS, dtype=np.int64) for _model in models]
    for volts in _signal(harmonics, wanders, seconds):
        at = np.clip(np.floor(volts * _GRID), 0, bins[0].size - 1).astype(np.int64)
        for own, total in zip(bins, found, strict=True):
            np.add(total, np.bincount(own[at], minlength=BINS), out=total)
    return found


def _bins(levels: np.ndarray) -> np.ndarray:
    """The bin of each voltage in steps of 1/128 LSB, found bit by bit as the chip does."""
    volts = (np.arange(CODES * _GRID) + 0.5) / _GRID
    code = np.zeros(volts.size, dtype=np.int64)
    for bit in range(11, -1, -1):
        tried = code | 1 << bit
        code = np.where(volts >= levels[tried], tried, code)
    return code >> BIN_BITS


def _signal(harmonics: tuple, wanders: bool, seconds: int) -> Iterator[np.ndarray]:
    noise = np.random.RandomState(1)  # the one whose numbers are the same everywhere
    total = 1 + sum(part for _order, part, _phase in harmonics)
    for start in range(0, seconds * RATE_HZ, _CHUNK):
        t_s = np.arange(start, min(start + _CHUNK, seconds * RATE_HZ)) / RATE_HZ
        turns = _HZ * t_s
        swing = 1.0
        if wanders:
            pace = 2 * np.pi / _WANDER_S
            turns = turns - _WANDER_HZ / pace * np.cos(pace * t_s)
            swing = (1 + _SWING * np.sin(2 * np.pi * t_s / _SWING_S)) / (1 + _SWING)
        angle = 2 * np.pi * turns
        wave = np.sin(angle)
        for order, part, phase in harmonics:
            wave += part * np.sin(order * angle + phase)
        yield GOOD_ZERO_LSB + PEAK_LSB / total * swing * wave + noise.normal(0, 0.5, t_s.size)


def own_curves(chip: str) -> list[Curve]:
    """The five boards' curves, from a mains voltage."""
    models = [f"{chip}-{number}" for number in range(1, BOARDS + 1)]
    return refine(counts(models, MAINS, True, SECONDS), chip)


def refined() -> Section:
    """Errors of single boards with their own tables, and by which signal these are made."""
    section = Section("Tables refined on the board")
    section.say(
        f"""
        The same boards after `clampwork refine` (docs/calibration.md): {SECONDS} s of a mains
        voltage with {100 * sum(part for _order, part, _phase in MAINS):.1f} % of harmonics at a
        peak of {PEAK_LSB:g} LSB, whose frequency wanders by ± {_WANDER_HZ:g} Hz and whose
        amplitude by ± {100 * _SWING:g} %. Sines of {_SIGNAL_HZ:g} Hz, {NOISE_LSB:g} LSB of noise,
        {_SIGNAL_S} s, calibrated at a peak of {CALIBRATED_AT} LSB; error in % of the reading,
        lowest to highest of the {BOARDS} boards.
        """
    )
    curves = {chip: own_curves(chip) for chip in sorted({chip for chip, _zero in CASES})}
    signals = [SINE.signal(_SIGNAL_HZ, peak, _SIGNAL_S, i) for i, peak in enumerate(PEAKS_LSB)]
    columns = []
    for chip, zero_lsb in CASES:
        for owns in ([None] * BOARDS, curves[chip]):
            setups = [
                Setup(
                    f"{chip}-{number}", chip, NOISE_LSB, zero_lsb,
                    own=own,
                )
                for number, own in enumerate(owns, 1)
            ]  # fmt: skip
            columns.append(_calibrated(setups, signals))
        worst = Worst()
        for i, peak in enumerate(PEAKS_LSB):
            if peak >= 40:
                worst.take(columns[-1][:, i], f"peak {peak} LSB")
        what = f"five {chip.upper()} boards with tables refined on them, calibrated"
        section.verdicts.append(
            Verdict(
                f"{what}, sine from 40 LSB, bias {zero_lsb:g}", TARGET_PCT, worst.value, "%",
                worst.where,
            )
        )  # fmt: skip
    header = ["peak, LSB"]
    for chip, zero_lsb in CASES:
        header += [f"{chip.upper()}, bias {zero_lsb:g}: mean curve", "refined"]
    rows = [
        [f"{peak}", *(span(column[:, i]) for column in columns)]
        for i, peak in enumerate(PEAKS_LSB)
    ]
    section.table(header, rows)
    _compare(section)
    return section


def _calibrated(setups: list[Setup], signals: list[np.ndarray]) -> np.ndarray:
    """Errors in % of each board, calibrated at CALIBRATED_AT; shape (boards, peaks)."""
    ratios = np.array(
        [
            [
                whole(reading.record_values()) / whole(record_rms(signal))
                for reading, signal in zip(readings, signals, strict=True)
            ]
            for readings in measure(setups, signals)
        ]
    )
    return percent(ratios, ratios[:, [PEAKS_LSB.index(CALIBRATED_AT)]])


def _compare(section: Section) -> None:
    """The classical sine histogram beside it, by the error of the transition levels."""
    section.say(
        """
        Why not the histogram test of IEEE Std 1241 as it stands: it takes the signal's density
        from the formula of a sine, T = C - A cos(π H / N) for the share H / N of samples below a
        code, so what is not sine in the signal becomes an error of the table. What is used here
        takes the density from the neighbours of each code. Largest error of a transition level at
        a multiple of eight from code 300 to 3,900 in LSB, beside the straight line that fits best,
        of the five RP2040 boards. The mains voltage does not pass smoothly over the step at 512,
        so that of the mean curve stays: most of what is left there.
        """
    )
    models = [f"rp2040-{number}" for number in range(1, BOARDS + 1)]
    true = thresholds([{"model": model} for model in models])
    (mean,) = thresholds([{"model": "rp2040"}])
    rows = []
    for name, harmonics, wanders in (
        ("a pure sine", (), False),
        ("a sine with 0.05 % of third harmonic", IMPURE, False),
        ("the mains voltage above", MAINS, True),
    ):
        sine, own, before = Worst(), Worst(), Worst()
        seen = counts(models, harmonics, wanders, SECONDS)
        made = thresholds([{"own": curve} for curve in refine(seen, "rp2040")])
        for numbers, wanted, levels in zip(seen, true, made, strict=True):
            below = np.concatenate(([0], np.cumsum(numbers)))[:-1] / numbers.sum()
            sine.take(_bend(-np.cos(np.pi * below), wanted), "")
            own.take(_bend(levels[:: 1 << BIN_BITS], wanted), "")
            before.take(_bend(mean[:: 1 << BIN_BITS], wanted), "")
        rows.append(
            [name, *(f"{worst.value:.2f}" for worst in (before, sine, own))],
        )
    header = ("signal", "mean curve", "sine histogram", "neighbours")
    section.table(header, rows)


def _bend(levels: np.ndarray, true: np.ndarray) -> np.ndarray:
    """What levels at multiples of eight, in any unit, differ from the true ones, in LSB."""
    wanted = true[:: 1 << BIN_BITS][_EDGES]
    given = levels[_EDGES]
    line = np.polyfit(given, wanted, 1)
    return np.polyval(line, given) - wanted
