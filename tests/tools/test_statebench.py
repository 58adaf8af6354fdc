"""The learned states against truth: simulated machines in the firmware's own chain, and a mill."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clamptools.interpreter import Interpreter
from clamptools.machines import MACHINES, scenario
from clamptools.statebench import (
    MILL_COLUMN,
    MILL_RUNS,
    STATES,
    WINDOW_S,
    WINDOWS,
    Score,
    best_limit,
    learning_board,
    machine_score,
    mill_scores,
    scored,
    simulate,
    text_of,
)
from support.micropython import need_micropython

SECONDS = 300
UNKNOWN, OFF, IDLE, WORKING = range(4)


@pytest.fixture(scope="module")
def interpreter() -> Interpreter:
    return Interpreter(need_micropython(), "MicroPython", micropython=True)


def _told_before(score: Score, seconds: float) -> set[str]:
    return {STATES[code] for code in score.told[: round(seconds / WINDOW_S)]}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_learned_from_its_current_and_vibration(
    machine: str, interpreter: Interpreter, report_line: Callable[[str], None]
) -> None:
    score = machine_score(machine, 1, True, SECONDS, interpreter)
    for line in text_of(score).splitlines():
        report_line(line)
    assert STATES == ("unknown", "off", "idle", "working")
    # No state before evidence: so many windows in which something flows are a minute at least.
    assert score.learned_s is not None
    assert score.learned_s >= WINDOWS * WINDOW_S
    assert score.learned_s < 90
    assert _told_before(score, score.learned_s) <= {"unknown", "off"}
    assert score.right > 0.97
    assert score.balanced > 0.94
    table = score.confusion()
    assert table[OFF, WORKING] == table[WORKING, OFF] == 0
    assert score.why["working"][0]["of"] == "vibration1"


def test_current_alone_tells_two_levels_if_not_always_the_right_two(
    interpreter: Interpreter, report_line: Callable[[str], None]
) -> None:
    for machine, least in (("laser", 0.97), ("lathe", 0.7), ("printer", 0.55)):
        score = machine_score(machine, 1, False, SECONDS, interpreter)
        report_line(text_of(score).splitlines()[0])
        assert score.right > least, text_of(score)
        assert score.confusion()[OFF, IDLE] < 3


def test_a_state_of_a_third_of_a_second_is_an_event(
    interpreter: Interpreter, report_line: Callable[[str], None]
) -> None:
    plan = copy.deepcopy(scenario("lathe", 1))
    loop_ms = sum(phase["ms"] for phase in plan["timeline"])
    bursts_ms: list[int] = []
    phases: list[dict[str, Any]] = plan["timeline"]
    cut = next(phase for phase in phases if phase["wave"] == "cut")
    idle = next(phase for phase in phases if phase["wave"] == "standby")
    at_ms = loop_ms
    for number in range(20):
        wait_ms = 3000 + 37 * number  # at every phase of the windows
        phases.append({**idle, "ms": wait_ms})
        phases.append({**cut, "ms": 300, "inputs": {}})
        bursts_ms.append(at_ms + wait_ms)
        at_ms += wait_ms + 300
    phases.append({**idle, "ms": 3000})
    job = {"board": learning_board("lathe"), "scenario": plan, "seconds": at_ms // 1000 + 3}
    events = [line for line in simulate(job, interpreter) if line[0] == "event" and line[2] == 255]
    told = [at for _e, at, _c, _k, code, *_ in events if code == WORKING and at > loop_ms]
    assert len(told) == len(bursts_ms)
    late_ms = [at - burst for at, burst in zip(told, bursts_ms, strict=True)]
    assert all(-200 <= late <= 200 for late in late_ms), late_ms
    ended = [at for _e, at, _c, _k, code, *_ in events if code == IDLE and at > bursts_ms[0]]
    lasted_ms = [end - begin for begin, end in zip(told, ended, strict=True)]
    assert all(200 <= lasted <= 600 for lasted in lasted_ms), lasted_ms
    report_line(
        f"states of 300 ms: {len(told)} of {len(bursts_ms)} told, begin {min(late_ms)} to "
        f"{max(late_ms)} ms off, {min(lasted_ms)} to {max(lasted_ms)} ms long"
    )


def test_the_mill_from_its_spindle_current(
    shared_dir: Path, interpreter: Interpreter, report_line: Callable[[str], None]
) -> None:
    path = shared_dir / "data/umich_cncmill_10hz.npz"
    by_name = {score.name: score for score in mill_scores(path, interpreter)}
    spindle, label = by_name["mill, spindle turns"], by_name["mill, process label"]
    for score in (spindle, label):
        for line in text_of(score).splitlines():
            report_line(line)
        assert score.learned_s is not None
        assert score.learned_s >= WINDOWS * WINDOW_S
        assert _told_before(score, score.learned_s) == {"unknown"}
    assert spindle.right > 0.96
    assert spindle.balanced > 0.94
    # The labels do not follow the spindle: no limit on this current could do much better.
    with np.load(path) as data:
        runs = [f"exp{number:02d}" for number in range(1, MILL_RUNS + 1)]
        current_a = np.abs(np.concatenate([data[run][:, MILL_COLUMN] for run in runs]))
        labels = np.concatenate([data[f"{run}_process"] for run in runs])
    best = best_limit(current_a, np.char.startswith(labels, "Layer"))
    report_line(f"  process label: the best limit there is would be {100 * best:.1f} % balanced")
    assert label.balanced > best - 0.05


def test_scores_are_of_what_was_told() -> None:
    lines = [
        ["event", 400, 255, 1, 2, "idle", 2.0],
        ["event", 1000, 255, 1, 3, "working", 2.0],
        ["event", 1200, 3, 2, 1, "an input", 2.0],
        ["why", {"state": "working"}, 2.0],
    ]
    truth = np.array([2, 2, 2, 2, 2, 2, 3, 3, 3, 3])
    score = scored("bench", lines, lambda count: truth[:count])
    assert score.told.tolist() == [0, 0, 2, 2, 2, 3, 3, 3, 3, 3]
    assert score.learned_s == 0.4
    assert score.right == pytest.approx(7 / 8)
    assert score.balanced == pytest.approx((3 / 4 + 1) / 2)
    table = score.confusion()
    assert table[IDLE].tolist() == pytest.approx([0.4, 0, 0.6, 0.2])
    assert table[WORKING].tolist() == pytest.approx([0, 0, 0, 0.8])
    nothing = scored("bench", [["why", {}, 2.0]], lambda count: truth[:count])
    assert (nothing.learned_s, nothing.right) == (None, 0.0)
    assert "nothing learned" in text_of(nothing)
