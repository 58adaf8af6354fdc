"""`clampwork refine`: the device's steps over a running gateway's API, as a person reads them."""

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from clampgateway.link.commands import Answer
from clamptools import cli, refine
from support.apiserver import Served, serve

COUNTING = {"state": "counting", "channel": "voltage1", "seconds": 1800, "left_s": 12.5}
REFINED = {
    "state": "refined",
    "chip": "rp2040",
    "chip_id": "e66118604b2f4c2a",
    "date": "2026-11-22",
    "samples": 11520000,
    "steps": [512, 1536, 2048, 2560, 3584],
    "step_lsb": 0.103,
    "rough_lsb": 0.0,
    "linearity_lsb": 0.334,
}


class _Answers:
    """One answer after another; the last one stays."""

    def __init__(self, bodies: list[dict[str, Any]]) -> None:
        self._bodies = bodies

    def __call__(self) -> Answer:
        return Answer(1, "ok", self._bodies.pop(0) if len(self._bodies) > 1 else self._bodies[0])


def _run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bodies: list[dict[str, Any]], *arguments: str
) -> tuple[int, Served, list[float]]:
    codes: list[int] = []
    pauses: list[float] = []
    answers = _Answers(bodies)

    async def scenario(served: Served) -> None:
        served.devices.at("lathe-1")

        def step(seconds: float) -> None:
            pauses.append(seconds)

        real = refine.apiclient.command

        def command(
            args: argparse.Namespace, device: str, name: str, given: dict[str, Any] | None = None
        ) -> dict[str, Any]:
            served.answer = answers()
            return real(args, device, name, given)

        monkeypatch.setattr(refine.apiclient, "command", command)
        monkeypatch.setattr(refine.run, "__defaults__", (step,))
        line = ["refine", *arguments, "--state-dir", str(folder)]
        codes.append(await asyncio.to_thread(cli.main, line))

    served = serve(folder, scenario)
    return codes[0], served, pauses


def test_it_counts_keeps_and_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [COUNTING, {**COUNTING, "left_s": 2.0}, {**REFINED, "state": "kept"}, REFINED]
    code, served, pauses = _run(
        tmp_path, monkeypatch, bodies, "lathe-1", "--channel", "voltage1", "--seconds", "1800"
    )
    assert code == 0
    assert [args for _device, _name, args in served.commands] == [
        {"channel": "voltage1", "seconds": 1800}, {}, {}, {},
    ]  # fmt: skip
    assert pauses == [5.0, 3.0]
    shown = capsys.readouterr()
    assert "counting codes of voltage1: 12 s to go" in shown.err
    for part in ("own curve (e66118604b2f4c2a), of 2026-11-22", "11,520,000", "0.10 LSB", "0.33"):
        assert part in shown.out


def test_json_forget_and_what_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mean = {"state": "mean", "chip": "rp2040"}
    code, served, _pauses = _run(tmp_path, monkeypatch, [mean], "lathe-1", "--forget", "--json")
    assert code == 0
    assert served.commands == [("lathe-1", "refine", {"forget": True})]
    assert json.loads(capsys.readouterr().out) == mean
    assert refine.text_of(mean) == "in use: the mean curve of the rp2040"
    told = refine.text_of({**REFINED, "steps": [2048], "linearity_lsb": None, "date": ""})
    assert "not all steps were seen" in told
    assert "an unknown day" in told


def test_without_a_channel_it_only_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, served, pauses = _run(tmp_path, monkeypatch, [COUNTING], "lathe-1")
    assert (code, pauses, len(served.commands)) == (0, [], 1)
    assert "12 s to go" in capsys.readouterr().out


def test_a_device_that_was_restarted_and_seconds_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bodies = [COUNTING, {"state": "mean", "chip": "rp2040"}]
    code, _served, _pauses = _run(tmp_path, monkeypatch, bodies, "lathe-1", "--slot", "0")
    assert code == 2
    assert "restarted" in capsys.readouterr().err
    assert cli.main(["refine", "lathe-1", "--seconds", "60"]) == 2
    assert "goes with --channel" in capsys.readouterr().err
