"""`clampwork why`: the device's answer over a running gateway's API, as a person reads it."""

import asyncio
import json
from pathlib import Path

import pytest

from clampgateway.link.commands import Answer
from clamptools import cli
from clamptools.why import text_of
from support.apiserver import Served, serve

LEARNED = {
    "state": "idle",
    "since_ms": 114400,
    "reason": "vibration1 0.2 m/s2 below 0.917 m/s2 for 0.6 s",
    "mode": "learned",
    "now": "vibration1 0.57 m/s2 below 0.917 m/s2",
    "levels": {"current1": 9.872, "vibration1": None},
    "min_s": {"off": 1.0, "idle": 0.6, "working": 0.2, "unknown": 1.0},
    "on": {"of": "current1", "unit": "A", "above": 0.2268},
    "working": [{"of": "vibration1", "unit": "m/s2", "above": 0.917}],
    "learning": [300, 300],
    "flowed_windows": 573,
    "evidence": {
        "idle": 0.5694,
        "idle_windows": 252,
        "working": 3.83,
        "working_windows": 321,
    },
}


def _run(folder: Path, answer: Answer | None, *arguments: str) -> tuple[int, Served]:
    codes: list[int] = []

    async def scenario(served: Served) -> None:
        served.devices.at("lathe-1")
        served.answer = answer
        line = ["why", *arguments, "--state-dir", str(folder)]
        codes.append(await asyncio.to_thread(cli.main, line))

    served = serve(folder, scenario)
    return codes[0], served


def test_levels_limits_and_evidence_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, served = _run(tmp_path, Answer(1, "ok", LEARNED), "lathe-1")
    assert code == 0
    assert served.commands == [("lathe-1", "why", {})]
    out = capsys.readouterr().out
    assert out.startswith("idle: vibration1 0.2 m/s2 below 0.917 m/s2 for 0.6 s\n")
    for part in (
        "levels of the last window: current1 9.872, vibration1 no samples",
        "working: vibration1 above 0.917 m/s2",
        "something flows: current1 above 0.2268 A",
        "learned from: 300 of 300 windows",
        "working is about 3.83, in 321 windows",
        "working 0.2 s",
    ):
        assert part in out


def test_json_and_relearn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, served = _run(tmp_path, Answer(1, "ok", LEARNED), "lathe-1", "--relearn", "--json")
    assert code == 0
    assert served.commands == [("lathe-1", "relearn", {})]
    assert json.loads(capsys.readouterr().out) == LEARNED


@pytest.mark.parametrize(
    ("device", "answer", "says"),
    [
        ("lathe-1", None, "not connected"),
        ("lathe-2", None, "no device 'lathe-2'"),
        ("lathe-1", Answer(1, "timeout", {"error": "the device did not answer"}), "not answer"),
    ],
)
def test_what_cannot_be_told(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    device: str,
    answer: Answer | None,
    says: str,
) -> None:
    assert _run(tmp_path, answer, device)[0] == 2
    assert says in capsys.readouterr().err


def test_without_a_gateway(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["why", "lathe-1", "--state-dir", str(tmp_path)]) == 2
    assert "no gateway runs" in capsys.readouterr().err


def test_a_board_that_tells_no_state() -> None:
    answer = {"state": "unknown", "reason": "board.json has no state: nothing tells one"}
    assert text_of(answer) == "unknown: board.json has no state: nothing tells one"


def test_each_baseline_is_told_and_what_could_not_be_kept() -> None:
    answer = LEARNED | {
        "baselines": [
            {"of": "vibration1", "level": 2.5, "learning": [300, 300], "failed_saves": 0},
            {"of": "vibration2", "level": None, "learning": [12, 300], "failed_saves": 3},
        ]
    }
    text = text_of(answer)
    assert "baseline of vibration1: 2.5, 300 of 300 windows of work\n" in text
    assert "baseline of vibration2: not learned, 12 of 300 windows of work\n" in text
    assert text.count("not kept over a power cut: 3 writes failed") == 1
