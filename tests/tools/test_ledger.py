"""`clampwork ledger`: the gateway's answer as a table, as lines and as it is."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from clampgateway.ledger import Content, Day, Missing
from clamptools import cli
from support.apiserver import Served, serve

DAY = Day("2026-11-22", 1000, 900, 50, 7, 30, 20, 12, 3)
DAY.lost_ranges = [Missing(4, 100, 129, 30, "spool_full")]
DAY.pending_ranges = [Missing(4, 500, 600, 20, "")]
DAY.more = 2
FULL = Day("2026-11-23", 10, 10)


def _run(folder: Path, contents: list[Content], *arguments: str) -> tuple[int, Served]:
    codes: list[int] = []

    async def scenario(served: Served) -> None:
        served.contents = contents
        line = ["ledger", *arguments, "--state-dir", str(folder)]
        codes.append(await asyncio.to_thread(cli.main, line))

    served = serve(folder, scenario)
    return codes[0], served


def test_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    contents = [Content("lathe", [DAY, FULL]), Content("a\x1b[2Jb", [FULL])]
    code, served = _run(tmp_path, contents, "--from", "2026-11-22", "--ranges")
    assert code == 0
    assert served.asked == [(None, 20779, None)]
    out = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in out.splitlines() if "2026-11-2" in line]
    assert " ".join(rows[0]) == "lathe 2026-11-22 1000 900 50 7 30 20 12 3 95.00"
    assert " ".join(rows[1]) == "lathe 2026-11-23 10 10 0 0 0 0 0 0 100.00"
    assert rows[2][0] == "a?[2Jb"
    assert "\x1b" not in out
    assert "lathe 2026-11-22: boot 4, 100 to 129: lost, spool_full" in out
    assert "lathe 2026-11-22: boot 4, 500 to 600, 20 of them: pending" in out


def test_100_percent_is_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nearly = Day("2026-11-22", 1_000_000, 999_999, pending=1)
    code, _served = _run(tmp_path, [Content("lathe", [nearly])])
    assert code == 0
    assert "99.99" in capsys.readouterr().out


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, served = _run(tmp_path, [Content("lathe", [DAY])], "--json", "--device", "lathe")
    assert code == 0
    assert served.asked == [("lathe", None, None)]
    said = json.loads(capsys.readouterr().out)
    assert said["devices"][0]["days"][0]["lost_ranges"][0]["reason"] == "spool_full"


def test_nothing_yet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(tmp_path, [])[0] == 0
    assert "no device has sent anything" in capsys.readouterr().out


def test_a_wrong_day_is_the_gateways_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, [], "--to", "today")[0] == 2
    assert "to is 'today': a UTC day" in capsys.readouterr().err


def test_as_a_process_without_a_gateway(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "clamptools.cli", "ledger", "--state-dir", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"no gateway runs with the state folder {tmp_path}" in done.stderr
