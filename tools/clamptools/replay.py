"""Plays a recording through the firmware's own sampler and windows, and prints what it measures.

The samples pass a simulated 12-bit ADC (current) or 16-bit accelerometer (vibration), then the
firmware's own code under MicroPython. One line is printed for each window of 200 ms, in the
recording's unit: RMS and peak are around the window's mean. `--as envelope` takes a series of RMS
values and plays it as the RMS of a 50 Hz sine. Where a file holds a second sensor of the same
vibration, that is played too, and a last line says whether the two agree.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from clamptools.data import device_dir
from clamptools.errors import UserError
from clamptools.interpreter import Interpreter, find_interpreter
from clamptools.recording import Recording, read_recording
from clamptools.twosensors import Comparison, compare

EXAMPLE = """
clampwork replay motor.npz --kind current --column "ITSC_HLT[0,:,0]"
clampwork replay shaker.npz --kind vibration --column "piezo[:,0]" --json
clampwork replay hall.wav --kind current --column channel1 --full-scale 50
clampwork replay meter.csv --kind current --column I --rate 1 --as envelope
"""
WINDOW_S = 0.2
# A window of fewer samples is no waveform: the record of a meter, or a wrong rate.
WINDOW_SAMPLES_MIN = 10
ENVELOPE_RATE_HZ = 6400.0
ENVELOPE_HZ = 50.0
# Of a printed number: more than any converter here resolves.
DIGITS = 7
ENVELOPE_BLOCK = 1 << 18
# Ranges are chosen so that the largest sample stays this much below the end.
HEADROOM = 1.05
# What a kind is measured in; the first is meant where a file says nothing.
UNITS = {"current": ("A", "mA"), "vibration": ("g", "m/s2")}
_COLUMNS = {
    "current": ("rms", "mean", "peak", "crest", "clipped"),
    "vibration": (
        "rms", "mean", "peak", "crest", "clipped", "velocity_rms_mm_s", "kurtosis",
    ),
}  # fmt: skip


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="a recording: .npz, .csv or .wav")
    parser.add_argument("--kind", choices=tuple(_COLUMNS), required=True, help="what was recorded")
    parser.add_argument(
        "--rate", type=float, metavar="HZ", help="samples a second, where the file does not say"
    )
    parser.add_argument(
        "--column",
        metavar="NAME[I,:,J]",
        help="which array, with an index if it has several dimensions",
    )
    parser.add_argument(
        "--full-scale",
        type=float,
        metavar="X",
        help="largest magnitude the simulated converter takes, in the recording's unit (default: "
        "the next of 1, 2, 5, 10, ... that holds it); for a .wav or integers, what the largest "
        "code means",
    )
    parser.add_argument(
        "--unit",
        choices=[unit for units in UNITS.values() for unit in units],
        help="of the samples, where the file does not say it well",
    )
    parser.add_argument(
        "--as",
        dest="played_as",
        choices=("waveform", "envelope"),
        default="waveform",
        help="samples of the waveform, or a series of RMS values (default %(default)s)",
    )
    parser.add_argument(
        "--against",
        metavar="NAME[I,:,J]",
        help="column of another sensor of the same vibration, or none (default: the same column "
        "of the second array, where a file has two with rates of their own)",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="one JSON object a window, and one with the member sensors where two are compared",
    )


def run(args: argparse.Namespace) -> int:
    """Raises UserError for a file or an option that cannot be used."""
    recording = read_recording(args.file, args.column)
    other = _other(recording, args)
    blocks, job = _prepared(recording, args)
    interpreter = find_interpreter()
    unit = job["unit"]
    print(
        f"{recording.name} as {args.played_as} at {job['rate_hz']:g} Hz, range "
        f"{job['full_scale']:g} {unit}, under {interpreter.text}",
        file=sys.stderr,
    )
    levels: list[float] = []
    for line in play(blocks, job, interpreter):
        chosen = {key: _short(line[key]) for key in ("t", *_COLUMNS[args.kind])}
        print(json.dumps(chosen) if args.json else text_of(chosen, unit))
        levels.append(line["rms"])
    if not levels:
        raise UserError(
            f"{recording.name} is shorter than a window of 200 ms at {job['rate_hz']:g} Hz"
        )
    if other is not None:
        said = _compared((recording, other), job, levels, args, interpreter)
        print(json.dumps({"sensors": said.as_json()}) if args.json else said.text(unit))
    return 0


def _other(recording: Recording, args: argparse.Namespace) -> Recording | None:
    """The sensor that the recording is set against, None for none."""
    if args.against == "none" or args.kind != "vibration":
        if args.against not in (None, "none"):
            raise UserError("--against needs --kind vibration: two clamps hear two conductors")
        return None
    column = args.against or recording.beside
    if not column:
        return None
    if column == recording.column:
        raise UserError(f"--against {column} is the column that is played: choose another")
    return read_recording(args.file, column)


def _compared(
    recordings: tuple[Recording, Recording],
    job: Mapping[str, Any],
    levels: list[float],
    args: argparse.Namespace,
    interpreter: Interpreter,
) -> Comparison:
    """Plays the second sensor, too; `job` and `levels` are the first one's."""
    # The range that was stated is the first one's, unless codes need one.
    stated = args.full_scale if recordings[1].full_code is not None else None
    options = argparse.Namespace(**{**vars(args), "full_scale": stated})
    blocks, other_job = _prepared(recordings[1], options)
    if other_job["unit"] != job["unit"]:
        units = f"{job['unit']} and {other_job['unit']}"
        raise UserError(f"{args.file}: sensors in {units} are not compared: see --unit")
    others = [line["rms"] for line in play(blocks, other_job, interpreter)]
    rates_hz = (job["rate_hz"], other_job["rate_hz"])
    return compare(recordings, rates_hz, (levels, others), WINDOW_S)


def _prepared(
    recording: Recording, args: argparse.Namespace
) -> tuple[Iterable[np.ndarray], dict[str, Any]]:
    """What `play` takes. Raises UserError for what cannot be played."""
    rate_hz = _rate(recording, args.rate)
    unit = args.unit or _unit(recording, args.kind)
    samples, full_scale = _scaled(recording, args.full_scale)
    peak = float(np.max(np.abs(samples)))
    blocks: Iterable[np.ndarray] = (samples,)
    if args.played_as == "envelope":
        if args.kind != "current":
            raise UserError("--as envelope needs --kind current: a vibration has no one frequency")
        if np.min(samples) < 0:
            raise UserError(f"{recording.name}: {np.min(samples):g} is no RMS: it is negative")
        blocks = envelope(samples, rate_hz)
        peak *= math.sqrt(2)
        rate_hz = ENVELOPE_RATE_HZ
    elif rate_hz * WINDOW_S < WINDOW_SAMPLES_MIN:
        raise UserError(
            f"{recording.name}: {rate_hz:g} Hz is {rate_hz * WINDOW_S:g} samples a window of "
            "200 ms, too few for a waveform; for a series of RMS values there is --as envelope"
        )
    job = {
        "kind": args.kind,
        "rate_hz": rate_hz,
        "full_scale": full_scale or range_above(peak),
        "unit": unit,
    }
    return blocks, job


def play(
    blocks: Iterable[np.ndarray], job: Mapping[str, Any], interpreter: Interpreter
) -> Iterator[dict[str, Any]]:
    """Plays samples through the firmware.

    Args:
        blocks: The samples, one array after another, in the job's unit.
        job: See device/clampdevice/replay.py, without `file`.
        interpreter: What runs the firmware.

    Yields:
        One object a window of 200 ms, while it plays.

    Raises:
        UserError: The firmware refused the job; with its words.
    """
    with tempfile.TemporaryDirectory(prefix="clampwork-replay-") as name:
        folder = Path(name)
        with (folder / "samples").open("wb") as file:
            for block in blocks:
                file.write(block.astype("<f4").tobytes())
        (folder / "job.json").write_text(json.dumps({**job, "file": str(folder / "samples")}))
        script = device_dir() / "clampdevice" / "replay.py"
        with (
            (folder / "errors").open("w+") as errors,
            subprocess.Popen(
                interpreter.command(script, str(folder / "job.json")),
                env=interpreter.environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                if line.startswith("{"):
                    yield json.loads(line)
                else:
                    said += line  # MicroPython tells of an exception on its standard output
            if process.wait() != 0:
                errors.seek(0)
                words = (errors.read() + said).strip().splitlines()
                raise UserError(f"the firmware refused it: {words[-1] if words else 'no word'}")


def envelope(rms: np.ndarray, rate_hz: float) -> Iterator[np.ndarray]:
    """A 50 Hz sine at 6,400 Hz whose RMS is `rms`, each value held for its 1 / `rate_hz`."""
    total = int(rms.size * ENVELOPE_RATE_HZ / rate_hz)
    for first in range(0, total, ENVELOPE_BLOCK):
        frames = np.arange(first, min(first + ENVELOPE_BLOCK, total), dtype=np.float64)
        held = np.minimum((frames * rate_hz / ENVELOPE_RATE_HZ).astype(int), rms.size - 1)
        yield (
            math.sqrt(2) * rms[held] * np.sin(2 * np.pi * ENVELOPE_HZ * frames / ENVELOPE_RATE_HZ)
        )


def range_above(peak: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, ... (and 0.5, 0.2, ...) that holds `peak` with headroom."""
    if peak == 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(peak))
    steps = (step * decade for step in (1, 2, 5, 10, 20))
    return next(step for step in steps if step >= HEADROOM * peak)


def text_of(line: Mapping[str, Any], unit: str) -> str:
    """A window as a person reads it; what is not known is left out."""
    units = {"t": "s", "rms": unit, "mean": unit, "peak": unit}
    parts: list[str] = []
    for key, value in line.items():
        if key == "t":
            parts.append(f"{value:8.2f} s")
        elif key == "velocity_rms_mm_s":
            parts.append("velocity " + ("–" if value is None else f"{value:.3f} mm/s"))
        elif key == "clipped":
            parts.append(f"clipped {value}")
        else:
            shown = "–" if value is None else f"{value:.4f} {units.get(key, '')}".rstrip()
            parts.append(f"{key} {shown}")
    return "  ".join(parts)


def _short(value: float | None) -> float | None:
    """A number with the digits that it is worth."""
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _rate(recording: Recording, stated_hz: float | None) -> float:
    rate_hz = recording.rate_hz if stated_hz is None else stated_hz
    if rate_hz is None:
        raise UserError(f"{recording.name} does not say its rate: give it with --rate HZ")
    if not 0 < rate_hz < math.inf:
        raise UserError(f"the rate is {rate_hz:g} Hz, must be above 0")
    return rate_hz


def _unit(recording: Recording, kind: str) -> str:
    """The unit of the samples: the file's if it is one of the kind's, else what is usual."""
    units = UNITS[kind]
    if not recording.unit or recording.full_code is not None:
        return units[0]
    word = re.split(r"[\s,;(]", recording.unit.strip(), maxsplit=1)[0].replace("²", "2")
    if word not in units:
        raise UserError(
            f"{recording.name} is in {recording.unit!r}, a {kind} is in {' or '.join(units)}: "
            "say which with --unit"
        )
    return word


def _scaled(recording: Recording, full_scale: float | None) -> tuple[np.ndarray, float | None]:
    """Samples in their unit, and the range if it was stated."""
    if full_scale is not None and not 0 < full_scale < math.inf:
        raise UserError(f"--full-scale is {full_scale:g}, must be above 0")
    if recording.full_code is None:
        return recording.samples, full_scale
    if full_scale is None:
        raise UserError(
            f"{recording.name} holds codes of a converter: say with --full-scale what its "
            "largest code means"
        )
    return recording.samples * (full_scale / recording.full_code), full_scale
