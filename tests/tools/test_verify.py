"""`clampwork verify`: every way in which a subscriber's file can differ from what was made."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from clamptools import cli
from clampwire import messages
from clampwire.codec import Codec
from clampwire.values import pack_values
from support.devicelink import CURRENT, LAYOUT

CODEC = Codec()
START_MS = 1_763_750_000_000
DEVICE = "e661"
TOPIC = f"clampwork/hall/{DEVICE}"
NO_CHANNEL = messages.NO_CHANNEL


def made_record(seq: int) -> bytes:
    values = pack_values(LAYOUT, (seq / 10, seq / 5))
    return CODEC.encode("Record", 1, seq, 1000 * seq, 5, 7, b"\0", values)


def write_side_file(path: Path, items: list[bytes], device: str = DEVICE) -> None:
    describe = CODEC.encode("Describe", 7, 7, 1, 0, *CURRENT)
    head = {
        "device": device,
        "start_us": 0,
        "start_utc_ms": START_MS,
        "runtime": "test",
        "describes": [describe.hex()],
    }
    lines = [json.dumps(head)]
    for payload in items:
        boot, seq = (int.from_bytes(payload[at : at + 4], "little") for at in (1, 5))
        end_ms = int.from_bytes(payload[9:14], "little")
        entry = {"boot": boot, "seq": seq, "kind": payload[0], "end_ms": end_ms}
        lines.append(json.dumps({**entry, "crc": zlib.crc32(payload), "payload": payload.hex()}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def data(seq: int, **other: Any) -> dict[str, Any]:  # noqa: ANN401
    channels = {"current1": {"rms": seq / 10, "peak": seq / 5}}
    if seq:
        channels["current1"]["crest"] = 2.0
    head = {"t": START_MS + 1000 * seq, "dur": 1000, "boot": 1, "seq": seq, "q": "good", "f": []}
    return {**head, "ch": channels, **other}


def condensed(seq: int, before: int) -> dict[str, Any]:
    return data(seq, dur=1000 * (before + 1), before=before)


def gap(seq: int, first: int, last: int, reason: str = "spool_full") -> dict[str, Any]:
    head = {"t": 1, "boot": 1, "seq": seq, "kind": "gap", "f": [], "reason": reason}
    times = {"from": None, "to": None, "samples": 0, "of_boot": 1}
    return {**head, "channel": "", "first": first, "last": last, **times}


def run(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    kept: list[tuple[str, Any]],
    *options: str,
    items: list[bytes] | None = None,
) -> tuple[int, dict[str, Any]]:
    """Verify ten records made against what was kept as (kind, payload)."""
    write_side_file(folder / "lathe/made.jsonl", items or [made_record(n) for n in range(10)])
    path = folder / "kept.jsonl"
    lines = [json.dumps({"topic": f"{TOPIC}/{kind}", "payload": each}) for kind, each in kept]
    path.write_text("\n".join(lines) + "\n")
    line = ["verify", "--subscriber", str(path), "--made", str(folder), "--json", *options]
    code = cli.main(line)
    out = json.loads(capsys.readouterr().out)
    assert out["ok"] is (code == 0)
    return code, out["subscribers"][str(path)]


ALL = [("data", data(n)) for n in range(10)]


def test_all_there_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(tmp_path, capsys, [("birth", {"device": DEVICE}), *ALL])
    assert code == 0
    assert (found["items_made"], found["items_received"], found["records_received"]) == (10,) * 3
    assert (found["lost"], found["doubled"], found["altered"], found["never_made"]) == (0,) * 4


OTHER = {"current1": {"rms": 1}}
CASES: list[tuple[str, list[tuple[str, Any]], dict[str, int]]] = [
    ("lost", ALL[:4] + ALL[5:], {"lost": 1}),
    ("doubled", [*ALL, ALL[3]], {"doubled": 1}),
    ("value", [*ALL[:9], ("data", data(9, ch=OTHER))], {"altered": 2}),
    ("length", [*ALL[:9], ("data", data(9, dur=2000))], {"altered": 2}),
    ("other twin", [*ALL, ("data", data(9, q="bad"))], {"doubled": 1, "altered": 1}),
    ("wrong topic", [*ALL[:9], ("event", data(9))], {"altered": 1}),
    ("never made", [*ALL, ("data", data(10))], {"never_made": 1}),
    ("in an array", [*ALL[:7], ("history", [data(n) for n in (7, 8, 9)])], {}),
    ("corrected", [*ALL, ("history", [data(3, t=5, rev=1)])], {"restamped": 1}),
    ("of the gateway", [*ALL[:7], ("event", gap(9, 7, 9, "expired"))], {"covered_by_gaps": 3}),
    (
        "gap too narrow",
        [*ALL[:7], ("event", gap(9, 8, 9, "store_full"))],
        {"covered_by_gaps": 2, "lost": 1},
    ),
    ("condensed", [*ALL[:5], ("history", [condensed(9, 4)])], {"condensed": 5}),
    (
        "condensed too long",
        [*ALL[:5], ("history", [{**condensed(9, 4), "dur": 6000}])],
        {"condensed": 5, "altered": 1},
    ),
    (
        "condensed, not all",
        [*ALL[:5], ("history", [condensed(9, 3)])],
        {"condensed": 4, "lost": 1},
    ),
]


@pytest.mark.parametrize(("kept", "wanted"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_what_differs_is_counted(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    kept: list[tuple[str, Any]],
    wanted: dict[str, int],
) -> None:
    code, found = run(tmp_path, capsys, kept)
    names = ("lost", "doubled", "altered", "never_made")
    told = {name: found[name] for name in (*names, "condensed", "covered_by_gaps", "restamped")}
    assert {name: n for name, n in told.items() if n} == wanted
    assert code == bool(set(wanted) & set(names))


def test_a_gap_of_the_device_is_an_item_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = CODEC.encode("Gap", 1, 10, 10_000, 1, NO_CHANNEL, 4, 6, 4000, 6000, 0)
    items = [*(made_record(n) for n in range(10)), told]
    kept = [*ALL[:4], *ALL[7:], ("event", gap(10, 4, 6))]
    code, found = run(tmp_path, capsys, kept, items=items)
    assert (code, found["covered_by_gaps"], found["items_received"]) == (0, 3, 8)
    code, found = run(tmp_path, capsys, kept[:-1], items=items)
    assert (code, found["lost"]) == (1, 4)


def test_a_capture_may_hold_repeats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, found = run(tmp_path, capsys, [*ALL, *ALL[2:5]], "--raw")
    assert (code, found["doubled"]) == (0, 0)


def test_sqlite_and_payloads_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_side_file(tmp_path / "made.jsonl", [made_record(n) for n in range(10)])
    path = tmp_path / "kept.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE other (x)")
        db.execute("CREATE TABLE items (boot, topic, payload)")
        rows = [(1, f"{TOPIC}/data", json.dumps(data(n))) for n in range(10)]
        db.executemany("INSERT INTO items VALUES (?, ?, ?)", rows)
    alone = tmp_path / "alone.jsonl"
    alone.write_text("\n".join(json.dumps(data(n)) for n in range(9)))
    made = ["--made", str(tmp_path / "made.jsonl")]
    assert cli.main(["verify", "--subscriber", str(path), *made]) == 0
    assert "10 items made, 10 kept" in capsys.readouterr().out
    both = ["--subscriber", str(path), "--subscriber", str(alone)]
    assert cli.main(["verify", *both, *made]) == 1
    out = capsys.readouterr().out
    assert f"{alone}: lost: {DEVICE}, boot 1, seq 9" in out
    write_side_file(tmp_path / "two.jsonl", [made_record(0)], device="other")
    assert cli.main(["verify", *both, *made, str(tmp_path / "two.jsonl")]) == 2
    assert "keep the topic, too" in capsys.readouterr().err


def sqlite_of(path: Path, rows: list[tuple[str, Any]]) -> list[str]:
    """A subscriber's SQLite file, and the command line that verifies it."""
    write_side_file(path.with_name("made.jsonl"), [made_record(n) for n in range(10)])
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE items (topic, payload)")
        db.executemany("INSERT INTO items VALUES (?, ?)", rows)
    made = str(path.with_name("made.jsonl"))
    return ["verify", "--subscriber", str(path), "--made", made]


def test_what_carries_no_items_need_not_be_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[tuple[str, Any]] = [(f"{TOPIC}/data", json.dumps(data(n))) for n in range(10)]
    path = tmp_path / "kept #1.db"
    assert cli.main(sqlite_of(path, [(f"{TOPIC}/availability", b"online"), *rows])) == 0
    assert "10 items made, 10 kept" in capsys.readouterr().out
    path.unlink()
    assert cli.main(sqlite_of(path, [*rows, (f"{TOPIC}/data", b"{")])) == 2
    assert f"{path}, row 11: not as docs/topics.md says" in capsys.readouterr().err


@pytest.mark.parametrize("size", [100, 8192 - 1, 65536])
def test_a_damaged_sqlite_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """A header alone, not quite two pages, and rows that end somewhere."""
    path = tmp_path / "kept.db"
    rows = [(f"{TOPIC}/data", json.dumps(data(n % 10))) for n in range(2000)]
    line = sqlite_of(path, rows)
    content = path.read_bytes()
    assert len(content) > 2 * size
    path.write_bytes(content[:size])
    assert cli.main(line) == 2
    said = capsys.readouterr().err
    assert f"{path}: cannot be read as SQLite: " in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("kept", "made", "said"),
    [
        ("no json", "good", "line 1: not JSON"),
        ('{"topic": "a/b/data", "payload": {"seq": 4}}', "good", "line 1: not as docs/topics.md"),
        ('{"topic": "a/b/data", "payload": "{"}', "good", "line 1: not as docs/topics.md"),
        ("", "none", "no made.jsonl there"),
        ("", "junk", "no side file of a device"),
    ],
)
def test_files_that_are_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kept: str, made: str, said: str
) -> None:
    write_side_file(tmp_path / "good", [made_record(0)])
    (tmp_path / "none").mkdir()
    (tmp_path / "junk").write_text('{"boot": 1}\n')
    (tmp_path / "kept.jsonl").write_text(kept)
    line = ["verify", "--subscriber", str(tmp_path / "kept.jsonl"), "--made", str(tmp_path / made)]
    assert cli.main(line) == 2
    assert said in capsys.readouterr().err


def test_as_a_process(tmp_path: Path) -> None:
    write_side_file(tmp_path / "made.jsonl", [made_record(n) for n in range(3)])
    (tmp_path / "kept.jsonl").write_text(
        "\n".join(json.dumps({"topic": f"{TOPIC}/data", "payload": data(n)}) for n in (0, 2))
    )
    command = [sys.executable, "-m", "clamptools.cli", "verify"]
    command += ["--subscriber", str(tmp_path / "kept.jsonl"), "--made", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines()[0] == f"lost: {DEVICE}, boot 1, seq 1"
