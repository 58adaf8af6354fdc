"""Plays a recording through the firmware's own sampler and windows: a script for the PC.

    micropython device/clampdevice/replay.py JOB.json ...  (with device/ on MICROPYPATH)
    python device/clampdevice/replay.py JOB.json ...       (with device/ on PYTHONPATH)

Owns the job and the lines it prints. The file of the recording is one column of float32; how it
came out of a user's file, and what a person is shown, is the tools'.

A job is an object: `kind` "current" or "vibration", `file`, `rate_hz`, `full_scale` (largest
magnitude the converter takes, in the recording's unit); optional `unit` of a vibration ("g" or
"m/s2"), `bits` (12 for a current, 16 for a vibration), `noise_lsb`, `offset_lsb` (from mid-scale,
current only), `seed`.

Printed is one JSON object a line and a window of 200 ms, in the recording's unit: `t` (s, the
window's end), `rms` (around the mean), `mean`, `peak` (from the mean), `crest`, `clipped` (samples
at a rail); for a vibration also `kurtosis` and `velocity_rms_mm_s`, null in the first second and
at a rate below 784 or above 6,528 Hz. What is left after the last whole window is dropped.

A job of `kind` "board" plays all slots of an ADC, or all axes of an accelerometer: `file` holds
frames of int32, in 1/4096 LSB from the bias; `channels`, and `adc` or `accelerometer`, are as in
board.json; optional `model` (errors of a chip's own converter), `own` (its curve, see
`linear.table_for`), `noise_lsb`, `seed`. Printed are objects of one member: `describe`, the list
of what each channel's describe() says, NaN as null; `window`, a list of `t`, channel and features,
where a channel has any; `record`, a list of `t`, flags and values.

A job of `kind` "curve" plays nothing: `file` holds the counts of 512 bins as uint32, see
`codedensity.count`, of a `chip`; printed is `curve`, stretches and weights by
`refinement.refine`. Of `kind` "thresholds": those of a `model` or of `own`, by `linear`.
"""

import json
import math
import sys
from array import array

from clampdevice import board, kernels, linear
from clampdevice.borrow import loading
from clampdevice.feature import STANDARD_GRAVITY_M_S2
from clampdevice.hal.sim.errors import curve_of
from clampdevice.hal.sim.playback import Playback
from clampdevice.measure import Measurement

_UNIT_M_S2 = {"g": STANDARD_GRAVITY_M_S2, "m/s2": 1.0}
_NUMBERS = ("rate_hz", "full_scale")


class JobError(ValueError):
    """The job cannot be run; the message says why."""


def run(job: dict, file, write) -> int:
    """Plays the open binary `file` and gives `write` each line's object. Returns how many.

    Raises:
        JobError: a key is missing or wrong.
    """
    if job.get("kind") == "board":
        return _run_board(job, file, write)
    if job.get("kind") == "curve":
        from clampdevice.refinement import refine

        made = refine(array("I", file.read()), job["chip"])
        write({"curve": [made.stretches, made.weights]})
        return 1
    if job.get("kind") == "thresholds":
        own = job.get("own") or curve_of(job["model"])
        write({"thresholds": list(linear.thresholds(*own))})
        return 1
    for key in _NUMBERS:
        if not isinstance(job.get(key), (int, float)) or job[key] <= 0:
            raise JobError(f"{key} must be a number above 0, not {job.get(key)!r}")
    kind = job.get("kind")
    if kind == "current":
        measure, source = _current(job, file)
        convert = _current_line
    elif kind == "vibration":
        measure, source = _vibration(job, file)
        unit = _UNIT_M_S2[job.get("unit", "g")]

        def convert(features: dict) -> dict:
            return _vibration_line(features, unit)
    else:
        raise JobError(f"kind must be current or vibration, not {kind!r}")
    count = 0

    def on_window(_channel: int, end_us: int, features: dict) -> None:
        nonlocal count
        count += 1
        line = {"t": end_us / 1000000}
        line.update(convert(features))
        write(line)

    measure.on_window = on_window
    _play(measure, source)
    return count


def _play(measure: Measurement, source: Playback) -> None:
    loading(False)
    measure.start(0)
    while measure.poll(measure.window_end_us):
        pass
    if not source.finished:
        raise JobError("the recording stopped before its end")


def _run_board(job: dict, file, write) -> int:
    name = "adc" if "adc" in job else "accelerometer"
    part = job[name]
    codes = 1 << part["bits"]
    zero_lsb, rails = part.get("zero_lsb"), (0, codes - 1)
    if name == "accelerometer":
        zero_lsb, rails = 0x8000, (0x8000 - codes // 2, 0x8000 + codes // 2 - 1)
    config = board.check(
        {
            "board": "replay",
            "chip": "sim",
            "name": "replay",
            "sources": {name: part},
            "channels": job["channels"],
        }
    )
    source = Playback(
        file, part["rate_hz"], part["slots"], None, zero_lsb, rails,
        job.get("noise_lsb", 0), job.get("seed", 0), job.get("model"),
    )  # fmt: skip
    lut = linear.table_for(config, job["own"]) if "own" in job else None
    measure = Measurement(config, {name: source}, lut=lut)
    count = 0

    def on_window(channel: int, end_us: int, features: dict) -> None:
        nonlocal count
        count += 1
        write({"window": [end_us / 1000000, channel, features]})

    def on_record(end_ms: int, _windows: int, flags: list, values: list) -> None:
        nonlocal count
        count += 1
        write({"record": [end_ms / 1000, flags, values]})

    measure.on_window = on_window
    measure.on_record = on_record
    told = [
        [None if isinstance(field, float) and math.isnan(field) else field for field in fields]
        for fields in (channel.describe() for channel in measure.channels)
    ]
    write({"describe": told})
    _play(measure, source)
    return count


def _current(job: dict, file) -> tuple:
    bits = job.get("bits", 12)
    codes = 1 << bits
    zero_lsb = codes / 2 + job.get("offset_lsb", 0)
    full_scale = job["full_scale"]
    source = Playback(
        file, job["rate_hz"], 1, codes / 2 / full_scale, zero_lsb, (0, codes - 1),
        job.get("noise_lsb", 0), job.get("seed", 0),
    )  # fmt: skip
    channel = {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 2 * full_scale}
    adc = {"bits": bits, "vref_v": 1.0, "zero_lsb": zero_lsb}
    config = {"channels": [channel], "sources": {"adc": adc}}
    return Measurement(config, {"adc": source}), source


def _vibration(job: dict, file) -> tuple:
    unit = job.get("unit", "g")
    if unit not in _UNIT_M_S2:
        raise JobError(f"unit of a vibration must be g or m/s2, not {unit!r}")
    bits = job.get("bits", 16)
    half = 1 << (bits - 1)
    lsb_per_unit = half / job["full_scale"]
    source = Playback(
        file, job["rate_hz"], 1, lsb_per_unit, 0x8000, (0x8000 - half, 0x8000 + half - 1),
        job.get("noise_lsb", 0), job.get("seed", 0),
    )  # fmt: skip
    features = ["a", "kurtosis_x"]
    try:
        kernels.velocity_design(job["rate_hz"])
        features.append("v_x")
    except ValueError:
        pass  # told as null
    channel = {"key": "vibration1", "quantity": "vibration", "axes": "x", "features": features}
    lsb_per_g = lsb_per_unit * STANDARD_GRAVITY_M_S2 / _UNIT_M_S2[unit]
    config = {
        "channels": [channel],
        "sources": {"accelerometer": {"bits": bits, "lsb_per_g": lsb_per_g}},
    }
    return Measurement(config, {"accelerometer": source}), source


def _current_line(features: dict) -> dict:
    return {key: features[key] for key in ("rms", "mean", "peak", "crest", "clipped")}


def _vibration_line(features: dict, unit_m_s2: float) -> dict:
    line = {
        "rms": features["a"] / unit_m_s2,
        "mean": features["mean_x"] / unit_m_s2,
        "peak": features["peak_x"] / unit_m_s2,
    }
    for key in ("crest", "kurtosis"):
        line[key] = features[key + "_x"]
    line["clipped"] = features["clipped"]
    line["velocity_rms_mm_s"] = features["v_x"]
    return line


def main(path: str) -> int:
    """Runs the job in the file `path`; 2 if it cannot be run."""
    loading(True)  # of sources, as here, more is left behind than of what a board has
    try:
        with open(path) as file:
            job = json.load(file)
        with open(job["file"], "rb") as file:
            run(job, file, lambda line: print(json.dumps(line)))
    except (OSError, ValueError, KeyError) as error:
        print(f"replay: {path}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(max(main(path) for path in sys.argv[1:]))
