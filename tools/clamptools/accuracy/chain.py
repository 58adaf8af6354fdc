"""Plays ideal waveforms through the firmware's own chain, and hands back what it measured.

Owns the job for `clampdevice.replay` and the reading of its lines. One LSB of the converter is
made one ampere, so that numbers are in LSB throughout. Knows nothing of tables or targets.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clamptools.accuracy.waves import PLAYED_PER_LSB, RATE_HZ, WINDOW
from clamptools.errors import UserError
from clamptools.interpreter import find_interpreter
from clampwire import values

# Numbers are looked for here, not what fits: the heap of a device is tested elsewhere.
_HEAP = "2m"
# The bias in codes: off mid-scale, where the RP2040 has a step.
ZERO_LSB = 2070.0
CURRENT = ({"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 1.0},)


@dataclass(frozen=True)
class Setup:
    """A converter, and how the firmware is told to treat it.

    Attributes:
        model: Errors of a chip's own converter by name, or None for an ideal one.
        linearise: Name of the table, or "none".
        noise_lsb: RMS of the converter's noise. The firmware is told of it, and of the rounding,
            as the noise floor, if there is any noise.
        zero_lsb: The bias in codes.
        seed: Of the noise.
        own: Stretches and weights of the table instead of what `linearise` names.
    """

    model: str | None = None
    linearise: str = "none"
    noise_lsb: float = 0.0
    zero_lsb: float = ZERO_LSB
    seed: int = 1
    own: tuple[tuple[tuple[int, ...], ...], tuple[int, ...]] | None = None

    @property
    def floor_lsb(self) -> float:
        return float(np.hypot(self.noise_lsb, 12**-0.5)) if self.noise_lsb else 0.0


@dataclass(frozen=True)
class Reading:
    """What the firmware said of one signal, by channel.

    Attributes:
        windows: Features of each window, by channel; absent for channels without windows.
        records: Features of each record by (channel, feature), as measured.
        sent: The same after the scaled integers of a Record.
        flags: Of each record, one a channel.
    """

    windows: dict[str, list[dict[str, float | None]]]
    records: list[dict[tuple[str, str], float | None]]
    sent: list[dict[tuple[str, str], float | None]]
    flags: list[tuple[int, ...]]

    def window_values(self, feature: str = "rms", channel: str = "current1") -> np.ndarray:
        """One feature of all windows, NaN where there is none."""
        return _array([window[feature] for window in self.windows[channel]])

    def record_values(self, feature: str = "rms", channel: str = "current1") -> np.ndarray:
        """One feature of all records as measured, NaN where there is none."""
        return _array([record[channel, feature] for record in self.records])

    def sent_values(self, feature: str = "rms", channel: str = "current1") -> np.ndarray:
        """One feature of all records as sent, NaN where there is none."""
        return _array([record[channel, feature] for record in self.sent])


def measure(
    setups: Sequence[Setup],
    signals: Sequence[np.ndarray],
    channels: Sequence[dict[str, Any]] = CURRENT,
    slots: int = 1,
) -> list[list[Reading]]:
    """Plays signals one after another through one device a setup, and parts what it says.

    Args:
        setups: The converters; all hear the same signals.
        signals: Each of whole seconds, in LSB from the bias; (samples,) or (samples, slots).
        channels: As in board.json; a current needs `a_per_v` 1 for amperes that are LSB.
        slots: Of the ADC, each with RATE_HZ.

    Returns:
        A reading of each signal, for each setup.

    Raises:
        UserError: The firmware refused; with its words.
        ValueError: A signal is not of whole seconds.
    """
    seconds = [signal.shape[0] / RATE_HZ for signal in signals]
    if any(s != int(s) or not s for s in seconds):
        raise ValueError(f"signals are of whole seconds, not {seconds}")
    told = run_jobs([_job(setup, channels, slots) for setup in setups], signals)
    return [parted(lines, [int(s) for s in seconds]) for lines in told]


def _job(setup: Setup, channels: Sequence[dict[str, Any]], slots: int) -> dict[str, Any]:
    parts = [dict(part) for part in channels]
    if setup.floor_lsb:
        for part in parts:
            part["noise_floor"] = setup.floor_lsb
    return {
        "kind": "board",
        "channels": parts,
        "adc": {
            "rate_hz": RATE_HZ,
            "slots": slots,
            "bits": 12,
            "vref_v": 4096.0,
            "zero_lsb": setup.zero_lsb,
            "linearise": setup.linearise,
        },
        "noise_lsb": setup.noise_lsb,
        "seed": setup.seed,
        **({"model": setup.model} if setup.model else {}),
        **(
            {"own": dict(zip(("stretches", "weights"), setup.own, strict=True))}
            if setup.own
            else {}
        ),
    }


def run_jobs(
    jobs: Sequence[dict[str, Any]], signals: Sequence[np.ndarray]
) -> list[list[tuple[str, Any]]]:
    """The lines of each job as (kind, content); one process for all, since starting costs."""
    interpreter = find_interpreter()
    with tempfile.TemporaryDirectory(prefix="clampwork-accuracy-") as name:
        folder = Path(name)
        with (folder / "samples").open("wb") as file:
            for signal in signals:
                file.write(np.rint(signal * PLAYED_PER_LSB).astype("<i4").tobytes())
        paths = [folder / f"job{number}.json" for number in range(len(jobs))]
        for path, job in zip(paths, jobs, strict=True):
            path.write_text(json.dumps({**job, "file": str(folder / "samples")}))
        lines = interpreter.lines("replay.py", *map(str, paths), heap=_HEAP)
    told: list[list[tuple[str, Any]]] = []
    for line in lines:
        ((kind, content),) = json.loads(line).items()
        if kind == "describe":  # the first line of a job
            told.append([])
        told[-1].append((kind, content))
    return told


def parted(lines: list[tuple[str, Any]], seconds: list[int]) -> list[Reading]:
    """What was said of each signal of so many `seconds`. Raises UserError for lost records."""
    channels: list[list[Any]] = []
    windows: dict[str, list[dict[str, float | None]]] = {}
    records: list[tuple[tuple[int, ...], tuple[float | None, ...]]] = []
    for kind, content in lines:
        if kind == "describe":
            channels = content
        elif kind == "window":
            windows.setdefault(channels[content[1]][0], []).append(content[2])
        else:
            records.append((tuple(content[1]), tuple(content[2])))
    if len(records) != sum(seconds):
        raise UserError(f"{len(records)} records of {sum(seconds)} seconds: the chain lost some")
    layout = tuple(tuple(feature[2:]) for channel in channels for feature in channel[9])
    names = [(channel[0], feature[0]) for channel in channels for feature in channel[9]]
    found: list[Reading] = []
    at = 0
    for length in seconds:
        mine = records[at : at + length]
        sent = [values.unpack_values(layout, values.pack_values(layout, v)) for _f, v in mine]
        per_s = RATE_HZ // WINDOW
        found.append(
            Reading(
                {key: rows[at * per_s : (at + length) * per_s] for key, rows in windows.items()},
                [dict(zip(names, numbers, strict=True)) for _flags, numbers in mine],
                [dict(zip(names, numbers, strict=True)) for numbers in sent],
                [flags for flags, _numbers in mine],
            )
        )
        at += length
    return found


def _array(numbers: list[float | None]) -> np.ndarray:
    return np.array([np.nan if number is None else number for number in numbers])
