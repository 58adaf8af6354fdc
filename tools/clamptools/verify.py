"""Compares what a subscriber kept with what devices made, item by item, and says what lacks.

Devices that are simulated note each item beside the link before anybody hears of it (made.jsonl).
A subscriber's file is SQLite with a table that has the columns topic and payload, or has one JSON
object a line: with topic and payload, or a payload alone. The exit code is 0 only if nothing is
lost, kept twice, altered or invented; what a gap or a condensed record stands for is not lost.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from clampgateway.model import GAP_REASONS
from clamptools.demo.account import RECORD, Account, GapSeen, Key
from clamptools.demo.devices import SIDE_FILE, Made, SideFile
from clamptools.errors import UserError
from clampwire import messages
from clampwire.codec import Codec

EXAMPLE = """
clampwork verify --subscriber records.db --made devices/
clampwork verify --raw --subscriber captured.jsonl --made lathe/made.jsonl --json
"""
SHOWN = 20
_KINDS = ("data", "history", "event")
_OF_GATEWAY = {word for _code, word in GAP_REASONS[len(messages.GAP_REASONS) :]}
_ESCAPED = re.compile("%([0-9A-F]{2})")
_SQLITE = b"SQLite format 3\0"
_MS_A_WINDOW = messages.WINDOW_MS


class Message(NamedTuple):
    """One item as it was kept; `device` is empty where the file does not name it."""

    device: str
    kind: str
    content: dict[str, Any]


@dataclass
class Findings:
    """What came out for one file. Keys are (device, boot, seq)."""

    items_made: int = 0
    items_received: int = 0
    records_made: int = 0
    records_received: int = 0
    condensed: int = 0
    covered_by_gaps: int = 0
    restamped: int = 0
    lost: list[Key] = field(default_factory=list)
    doubled: list[Key] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    never_made: list[Key] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.altered or self.never_made)

    def counts(self) -> dict[str, int | bool]:
        """For JSON: lists by their lengths."""
        told = {name: value for name, value in vars(self).items() if isinstance(value, int)}
        lists = {name: len(value) for name, value in vars(self).items() if isinstance(value, list)}
        return {**told, **lists, "ok": self.good}

    def lines(self) -> Iterator[str]:
        """For people, worst first."""
        for name in ("lost", "altered", "doubled", "never_made"):
            found: list[Any] = getattr(self, name)
            word = name.replace("_", " ")
            yield from (f"{word}: {_named(each)}" for each in found[:SHOWN])
            if len(found) > SHOWN:
                yield f"{word}: and {len(found) - SHOWN} more"
        yield (
            f"{self.items_made} items made, {self.items_received} kept, "
            f"{self.condensed} condensed, {self.covered_by_gaps} told by gaps, "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, "
            f"{len(self.altered)} altered, {len(self.never_made)} never made"
        )


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--subscriber", type=Path, action="append", required=True, metavar="FILE",
        help="what a subscriber kept; given more than once, each is judged alone",
    )  # fmt: skip
    parser.add_argument(
        "--made", type=Path, nargs="+", required=True, metavar="DIR|FILE",
        help=f"side files of devices, or folders with a {SIDE_FILE} somewhere below",
    )  # fmt: skip
    parser.add_argument(
        "--raw", action="store_true", help="the file is what came, so repeats are no fault"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Raises UserError for files that are not there or hold something else."""
    made = list(side_files(args.made))
    results = {}
    for path in args.subscriber:
        results[str(path)] = verify(read(path), made, raw=args.raw)
    good = all(findings.good for findings in results.values())
    if args.json:
        counts = {path: findings.counts() for path, findings in results.items()}
        print(json.dumps({"ok": good, "subscribers": counts}))
    else:
        for path, findings in results.items():
            for line in findings.lines():
                print(f"{path}: {line}" if len(results) > 1 else line)
    return 0 if good else 1


def side_files(places: Iterable[Path]) -> Iterator[Path]:
    """The side files. Raises UserError where there is none."""
    for place in places:
        files = sorted(place.rglob(SIDE_FILE)) if place.is_dir() else [place]
        if not files or not files[0].exists():
            raise UserError(f"{place}: no {SIDE_FILE} there")
        yield from files


def verify(
    messages_kept: Iterable[Message], made: Iterable[Path], *, raw: bool = False
) -> Findings:
    """Compares one subscriber's items with what all devices made.

    Args:
        messages_kept: In the order they were kept.
        made: Side files.
        raw: Whether an item may be there more than once.

    Raises:
        UserError: A side file is none, or items without a device are of more than one.
    """
    account = Account()
    devices = _read_made(account, made)
    books = _Books(account, devices)
    for message in messages_kept:
        books.take(message)
    return books.findings(raw=raw)


def _read_made(account: Account, made: Iterable[Path]) -> list[str]:
    devices: list[str] = []
    for path in made:
        side = SideFile(path)
        try:
            items = side.read()
            for power_up in side.power_ups:
                account.add_power_up(power_up)
                devices.append(power_up.device)
            for item in items:
                account.add_made(side.power_ups[item.power_up].device, item)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise UserError(f"{path}: no side file of a device: {error!r}") from error
    return sorted(set(devices))


class _Books:
    """What was kept beside what was made. The account judges plain items; the rest is here."""

    def __init__(self, account: Account, devices: list[str]) -> None:
        self._account = account
        self._devices = devices
        self._gaps: list[GapSeen] = []
        self._condensed: dict[Key, dict[str, Any]] = {}
        self._seen: Counter[tuple[Key, int]] = Counter()
        self._codec = Codec()

    def take(self, message: Message) -> None:
        device = message.device or self._only_device()
        content = message.content
        key = Key(device, content["boot"], content["seq"])
        if content.get("reason") in _OF_GATEWAY:
            # The gateway's own: it has the place of the last number it tells, not one of its own.
            where = (device, content["of_boot"], content["reason"], content["channel"])
            self._gaps.append(GapSeen(*where, content["first"], content["last"], 0.0))
            return
        self._seen[key, content.get("rev", 0)] += 1
        if content.get("before"):
            self._condensed[key] = content
        else:
            self._account.add_received(device, message.kind, content, 0.0)

    def _only_device(self) -> str:
        if len(self._devices) != 1:
            raise UserError(
                f"the payloads name no device and side files are of {len(self._devices)}: "
                "keep the topic, too"
            )
        return self._devices[0]

    def findings(self, *, raw: bool) -> Findings:
        account = self._account
        result = account.result()
        gaps = [*result.gaps, *self._gaps]
        covered = self._covered()
        found = Findings(
            items_made=result.items_made,
            items_received=result.items_received,
            records_made=result.records_made,
            records_received=result.records_received,
            covered_by_gaps=len(result.covered),
            restamped=result.restamped,
            altered=[*result.wrong, *result.duplicates],
        )
        for key in result.lost:
            if key in covered:
                found.condensed += 1
            elif any(gap.covers(key) for gap in gaps):
                found.covered_by_gaps += 1
            else:
                found.lost.append(key)
        for key, content in self._condensed.items():
            found.altered += self._differences(key, content)
        received = {*account.received, *self._condensed}
        found.never_made = sorted(key for key in received if key not in account.made)
        if not raw:
            found.doubled = sorted({key for (key, _rev), n in self._seen.items() if n > 1})
        return found

    def _covered(self) -> set[Key]:
        return {
            Key(key.device, key.boot, seq)
            for key, content in self._condensed.items()
            for seq in range(key.seq - content["before"], key.seq + 1)
        }

    def _differences(self, key: Key, content: dict[str, Any]) -> Iterator[str]:
        """A condensed record lasts as long as the records it stands for."""
        made = self._account.made
        inside = [
            made[name]
            for seq in range(key.seq - content["before"], key.seq + 1)
            if (name := Key(key.device, key.boot, seq)) in made
        ]
        windows = [self._windows(item) for item in inside if item.kind == RECORD]
        duration_ms = _MS_A_WINDOW * sum(windows)
        if key in made and len(inside) == content["before"] + 1 and content["dur"] != duration_ms:
            yield f"{key}: dur is {content['dur']}, its records last {duration_ms}"

    def _windows(self, item: Made) -> int:
        return self._codec.decode(item.payload)[1].windows


def read(path: Path) -> Iterator[Message]:
    """The items of a subscriber's file, as they were kept. Raises UserError."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_SQLITE))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    lines = _rows(path) if head == _SQLITE else _lines(path)
    for place, topic, payload in lines:
        try:
            yield from _messages(topic, payload)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}, {place}: not as docs/topics.md says: {error!r}") from error


def _rows(path: Path) -> Iterator[tuple[str, str, Any]]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(address, uri=True)) as db:
            tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master")]
            for table in tables:
                columns = {row[1] for row in db.execute(f'PRAGMA table_info("{table}")')}
                if {"topic", "payload"} <= columns:
                    chosen = f'SELECT rowid, topic, payload FROM "{table}" ORDER BY rowid'
                    for number, topic, payload in db.execute(chosen):
                        yield f"row {number}", topic, payload
                    return
    except sqlite3.Error as error:
        raise UserError(
            f"{path}: cannot be read as SQLite: {error}; copy it again when its writer is done"
        ) from error
    raise UserError(f"{path}: no table has the columns topic and payload")


def _lines(path: Path) -> Iterator[tuple[str, str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                content = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON: {error}") from error
            place = f"line {number}"
            if isinstance(content, dict) and "topic" in content:
                yield place, content["topic"], content.get("payload")
            else:
                yield place, "", content


def _messages(topic: str, payload: Any) -> Iterator[Message]:  # noqa: ANN401 - JSON
    """The items of one message, text or read already; none of a topic that carries no items."""
    device, kind = "", ""
    if topic:
        *_above, device, kind = topic.split("/")
        if kind not in _KINDS:
            return
        device = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), device)
    if isinstance(payload, (str, bytes)):
        payload = json.loads(payload)
    for content in payload if isinstance(payload, list) else [payload]:
        own = kind or ("event" if "kind" in content else "data")
        yield Message(device, own, {**content, "boot": content["boot"], "seq": content["seq"]})


def _named(found: Key | str) -> str:
    if isinstance(found, Key):
        return f"{found.device}, boot {found.boot}, seq {found.seq}"
    return found
