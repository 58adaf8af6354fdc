"""Scores the learned states against truth: simulated machines, and recordings with labels.

A board without thresholds runs in the firmware's own chain, faster than time, and each window of
200 ms is compared with what the machine did. Printed are seconds by truth and by what was told,
the share that was right once the device had learned, and how long that took.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from clamptools.boards import read_board
from clamptools.interpreter import Interpreter, find_interpreter
from clamptools.machines import MACHINES, board_of, scenario
from clamptools.replay import ENVELOPE_RATE_HZ, envelope, range_above
from clampwire import messages

EXAMPLE = """
clampwork bench states
clampwork bench states --json
clampwork bench states --umich umich_cncmill_10hz.npz
"""
WINDOW_S = 0.2
SECONDS = 600
SEEDS = (1, 2, 3)
WINDOWS = 300
STATES = tuple(word for _code, word in sorted(messages.MACHINE_STATES))
_STATE_KIND = messages.code_of(messages.EVENT_KINDS, "state")
# What the machine does in a phase of the scenario; a printer works while its axes move.
_IDLE_WAVES = {"standby", "spindle", "idle", "rest"}
# The spindle's drive of the mill: its current at standstill is a few tenths of an ampere.
MILL_COLUMN = 2
MILL_VELOCITY_COLUMN = 10
MILL_TURNING = 5.0
MILL_RATE_HZ = 10.0
MILL_RUNS = 18
# The whole chain in a PC's objects, which are twice as wide as a chip's.
HEAP = "512k"


@dataclass
class Score:
    """One run against its truth.

    Attributes:
        name: Machine, seed and sensors, or recording and labels.
        told: State by window, as a code.
        truth: The same.
        why: What the device answers to `why` at the end.
        learned_s: When idle or working was first told, None if never.
    """

    name: str
    told: np.ndarray
    truth: np.ndarray
    why: Mapping[str, Any] = field(default_factory=dict)
    learned_s: float | None = None

    def confusion(self) -> np.ndarray:
        """Seconds, rows by truth, columns by what was told, in the order of STATES."""
        size = len(STATES)
        counts = np.zeros((size, size))
        np.add.at(counts, (self.truth, self.told), WINDOW_S)
        return counts

    @property
    def right(self) -> float:
        """Share of the windows that are right, from the first told idle or working on."""
        if self.learned_s is None:
            return 0.0
        first = round(self.learned_s / WINDOW_S)
        return float(np.mean(self.told[first:] == self.truth[first:]))

    @property
    def balanced(self) -> float:
        """Mean over the states of the share that is right in each, since it was learned."""
        if self.learned_s is None:
            return 0.0
        first = round(self.learned_s / WINDOW_S)
        truth, told = self.truth[first:], self.told[first:]
        return float(np.mean([np.mean(told[truth == code] == code) for code in np.unique(truth)]))

    def content(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "learned_s": self.learned_s,
            "right": round(self.right, 4),
            "balanced": round(self.balanced, 4),
            "states": list(STATES),
            "seconds_by_truth_and_told": self.confusion().round(1).tolist(),
            "working": self.why.get("working", []),
        }


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object a run")
    parser.add_argument(
        "--umich", type=Path, metavar="FILE", help="the recording of the CNC mill, with labels"
    )
    parser.add_argument(
        "--seconds", type=int, default=SECONDS, metavar="N", help="of each machine (default 600)"
    )


def run(args: argparse.Namespace) -> int:
    interpreter = find_interpreter()
    for score in _all(args, interpreter):
        print(json.dumps(score.content()) if args.json else text_of(score), flush=True)
    return 0


def _all(args: argparse.Namespace, interpreter: Interpreter) -> Iterator[Score]:
    for machine in MACHINES:
        for vibration in (True, False):
            for seed in SEEDS:
                yield machine_score(machine, seed, vibration, args.seconds, interpreter)
    if args.umich is not None:
        yield from mill_scores(args.umich, interpreter)


def text_of(score: Score) -> str:
    """A run as a person reads it."""
    if score.learned_s is None:
        head = f"{score.name}: nothing learned"
    else:
        head = (
            f"{score.name}: learned after {score.learned_s:.0f} s, then {100 * score.right:.1f} % "
            f"right ({100 * score.balanced:.1f} % balanced)"
        )
    table = score.confusion()
    lines = [head, "  truth     told " + "".join(f"{state:>9}" for state in STATES)]
    for row, state in zip(table, STATES, strict=True):
        if row.any():
            lines.append(f"  {state:14} " + "".join(f"{value:9.1f}" for value in row))
    return "\n".join(lines)


def learning_board(machine: str, vibration: bool = True) -> dict[str, Any]:
    """A simulated board that has no thresholds, with or without its accelerometer."""
    board = read_board(board_of(machine))
    board["state"] = {"learn": {"windows": WINDOWS}}
    if not vibration:
        del board["sources"]["accelerometer"]
        board["channels"] = [c for c in board["channels"] if c["quantity"] != "vibration"]
    return board


def machine_score(
    machine: str, seed: int, vibration: bool, seconds: float, interpreter: Interpreter
) -> Score:
    """Runs a simulated machine; truth is the phase of its scenario."""
    plan = scenario(machine, seed)
    job = {"board": learning_board(machine, vibration), "scenario": plan, "seconds": seconds}
    sensors = "current and vibration" if vibration else "current alone"
    lines = simulate(job, interpreter)
    return scored(f"{machine} {seed}, {sensors}", lines, lambda count: phases(plan, count))


def phases(plan: Mapping[str, Any], windows: int) -> np.ndarray:
    """What the machine does in the middle of each window, as codes."""
    ends_ms = np.cumsum([phase["ms"] for phase in plan["timeline"]])
    middle_ms = (np.arange(windows) + 0.5) * 1000 * WINDOW_S
    index = np.searchsorted(ends_ms, middle_ms % ends_ms[-1], side="right")
    codes = np.array([STATES.index(phase_state(plan, phase)) for phase in plan["timeline"]])
    return codes[index]


def phase_state(plan: Mapping[str, Any], phase: Mapping[str, Any]) -> str:
    """Off, idle or working: what the one who wrote the scenario means by the phase."""
    if phase["wave"] == "off":
        return "off"
    if phase["wave"] in _IDLE_WAVES:
        return "idle"
    if plan["machine"] == "printer":
        return "working" if phase["levels"].get("vibration1") else "idle"
    return "working"


def mill_scores(path: Path, interpreter: Interpreter) -> Iterator[Score]:
    """The spindle current of all experiments in a row, against the spindle and the labels."""
    with np.load(path) as data:
        runs = [f"exp{number:02d}" for number in range(1, MILL_RUNS + 1)]
        values = np.concatenate([data[run] for run in runs])
        labels = np.concatenate([data[f"{run}_process"] for run in runs])
    current_a = np.abs(values[:, MILL_COLUMN]).astype(np.float64)
    full_scale = range_above(float(current_a.max()) * 2**0.5)
    bits = 12
    lsb_per_a = 2 ** (bits - 1) / full_scale
    channel = {"key": "current1", "quantity": "current", "slot": 0, "a_per_v": 2 * full_scale}
    # No better than the rounding to codes: 1 / sqrt(12) LSB.
    channel["noise_floor"] = 12**-0.5 / lsb_per_a
    adc = {"rate_hz": ENVELOPE_RATE_HZ, "slots": 1, "bits": bits, "vref_v": 1.0, "zero_lsb": 2048}
    board = {
        "board": "bench", "chip": "sim", "name": "mill", "sources": {"adc": adc},
        "channels": [channel], "state": {"learn": {"windows": WINDOWS}},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-") as folder:
        file = Path(folder) / "samples"
        with file.open("wb") as out:
            for block in envelope(current_a, MILL_RATE_HZ):
                out.write(block.astype("<f4").tobytes())
        recording = {"file": str(file), "rate_hz": ENVELOPE_RATE_HZ, "lsb_per_unit": lsb_per_a}
        seconds = current_a.size / MILL_RATE_HZ
        lines = simulate({"board": board, "recording": recording, "seconds": seconds}, interpreter)
    turning = values[:, MILL_VELOCITY_COLUMN] > MILL_TURNING
    cutting = np.char.startswith(labels, "Layer")
    for name, truth in (("spindle turns", turning), ("process label", cutting)):
        codes = np.where(truth, STATES.index("working"), STATES.index("idle"))
        yield scored(
            f"mill, {name}",
            lines,
            lambda count, codes=codes: codes[1 :: round(MILL_RATE_HZ * WINDOW_S)][:count],
        )


def best_limit(current_a: np.ndarray, truth: np.ndarray) -> float:
    """The best balanced share that any one limit on the current can reach, knowing the truth."""
    limits = np.quantile(current_a, np.linspace(0, 1, 201))
    return max(
        float((np.mean(current_a[truth] >= x) + np.mean(current_a[~truth] < x)) / 2)
        for x in limits
    )


def simulate(job: Mapping[str, Any], interpreter: Interpreter) -> list[list[Any]]:
    """The lines of device/clampdevice/simulate.py. Raises UserError with the firmware's words."""
    with tempfile.TemporaryDirectory(prefix="clampwork-bench-") as folder:
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        lines = interpreter.lines("simulate.py", str(path), heap=HEAP)
    return [[*json.loads(line), job["seconds"]] for line in lines]


def scored(name: str, lines: Sequence[Sequence[Any]], truth: Callable[[int], np.ndarray]) -> Score:
    """What was told by window, against `truth` of so many windows."""
    windows = int(lines[-1][-1] / WINDOW_S)
    codes = truth(windows)
    told = np.zeros(codes.size, dtype=int)
    learned_s = None
    for line in lines:
        if line[0] == "event" and line[3] == _STATE_KIND:
            at_ms, code = line[1], line[4]
            first = round(at_ms / (1000 * WINDOW_S))
            told[first:] = code
            if learned_s is None and STATES[code] in ("idle", "working"):
                learned_s = at_ms / 1000
    why = next((line[1] for line in lines if line[0] == "why"), {})
    return Score(name, told, codes, why, learned_s)
