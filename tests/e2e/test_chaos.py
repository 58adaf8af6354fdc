"""The demo under chaos: what the gateway took reaches the subscriber once, whatever is harmed.

Issue E, shows 2. Seed and length are chosen so that each kind of fault has its turn, and that the
broker is killed while it has acknowledged messages in its queue for a subscriber that is away.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from clamptools.demo.chaosrun import CALM_END_S
from clamptools.demo.plans import plans
from clamptools.demo.schedule import KINDS, schedule
from e2e.running import DemoProcess
from support.skips import need_debian

SEED = 89
SECONDS = 30
DEVICES = 3


@pytest.mark.timeout(180)
def test_chaos_loses_nothing_in_silence(
    tmp_path: Path, report_line: Callable[[str], None]
) -> None:
    need_debian("mosquitto")
    demo = DemoProcess(
        "--chaos", "--seed", str(SEED), "--for", str(SECONDS), "--devices", str(DEVICES),
        "--json", folder=tmp_path,
    )  # fmt: skip
    end = demo.wait(160)
    result = end.result
    assert end.code == 0, end.stderr[-4000:]
    assert (result["lost"], result["duplicates"], result["ok"]) == (0, 0, True)
    assert result["content_mismatches"] == result["modbus_mismatches"] == 0
    assert result["ledger_mismatches"] == 0
    chaos = result["chaos"]
    # What was injected is what the seed says, and all of it.
    names = [plan.board["name"] for plan in plans(DEVICES)]
    wanted = list(schedule(SEED, names, KINDS, SECONDS - CALM_END_S))
    done = sorted(chaos["actions"], key=lambda action: action["at_s"])
    assert [(a["at_s"], a["kind"], a["target"], a["for_s"]) for a in done] == [
        (a.at_s, a.kind, a.target, a.for_s) for a in wanted
    ]
    assert set(chaos["injected"]) == {kind.name for kind in KINDS}
    assert all(a["ended_s"] > a["began_s"] >= a["at_s"] - 0.01 for a in done)
    assert chaos["spoiled_chunks"] > 0
    assert chaos["swallowed_bytes"] > 0
    assert chaos["refused_connects"] > 0
    # Without a replay these would be missing.
    assert chaos["replays"]["replayed"] > 0
    cut = {power_cut["device"] for power_cut in result["power_cuts"]}
    assert cut
    assert all(gap["reason"] == "power_cut" and gap["device"] in cut for gap in result["gaps"])
    for power_cut in result["power_cuts"]:
        assert power_cut["lost_records"] <= power_cut["allowed_s"]
    chaos = {**chaos, "actions": len(done)}
    report_line(f"chaos of {SECONDS} s: {json.dumps({**result, 'chaos': chaos})}")
