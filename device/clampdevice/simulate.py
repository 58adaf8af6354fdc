"""Runs a board on a scenario or a recording, faster than time, and prints what it tells.

    micropython -X heapsize=256k device/clampdevice/simulate.py JOB.json
    python device/clampdevice/simulate.py JOB.json

Owns the job and the lines. The signal chain is the firmware's own; link and spool are left out.

A job is an object: `board`, the content of board.json; `seconds`; and either `scenario`, the
content of scenario.json, or `recording`, an object with `file` (float32, one series), `rate_hz`
and `lsb_per_unit`, which plays it as the only slot of the ADC; optional `records` (true: they are
told too). Printed is one JSON array a line: ["event", at_ms, channel, kind, value, text],
["record", end_ms, flags, values], and at the end ["why", answer of the command `why`].
"""

import json
import sys

from clampdevice import board
from clampdevice.borrow import loading

STEP_US = 20000


def run(job: dict, write) -> None:
    """Runs the job and gives `write` each line's array.

    Raises:
        ValueError: the board cannot be used.
    """
    config = board.check(job["board"])
    loading(True)
    from clampdevice.measure import Measurement

    until_us = int(1000000 * job["seconds"])
    if "scenario" in job:
        from clampdevice.hal.sim.sources import make_sources

        _run(config, make_sources(config, job["scenario"]), until_us, job, write, Measurement)
    else:
        from clampdevice.hal.sim.playback import Playback

        part = job["recording"]
        adc = config["sources"]["adc"]
        with open(part["file"], "rb") as file:
            source = Playback(
                file, part["rate_hz"], 1, part["lsb_per_unit"], adc["zero_lsb"],
                (0, (1 << adc["bits"]) - 1), part.get("noise_lsb", 0), part.get("seed", 0),
            )  # fmt: skip
            _run(config, {"adc": source}, until_us, job, write, Measurement)


def _run(config: dict, sources: dict, until_us: int, job: dict, write, make) -> None:
    measure = make(config, sources)
    loading(False)
    measure.on_event = lambda *fields: write(["event"] + list(fields))
    if job.get("records"):
        measure.on_record = lambda end_ms, _n, flags, values: write(
            ["record", end_ms, flags, values]
        )
    measure.start(0)
    now_us = 0
    if "recording" in job:
        while measure.window_end_us <= until_us and measure.poll(measure.window_end_us):
            pass
    while "scenario" in job and now_us < until_us:
        now_us += STEP_US
        while measure.poll(now_us):
            pass
    if measure.status is not None:
        write(["why", measure.status.machine.why()])


def main(path: str) -> int:
    """Runs the job in the file `path`; 2 if it cannot be run."""
    try:
        with open(path) as file:
            job = json.load(file)
        run(job, lambda line: print(json.dumps(line)))
    except (OSError, ValueError, KeyError) as error:
        print(f"simulate: {path}: {type(error).__name__}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
