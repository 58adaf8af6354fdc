"""Records that had no time at first, and what subscribers heard of them, by revision.

The records 1 to COUNT of each device are committed before anybody knows UTC, later ones with it.
Truth is the line of `datedlog`. docs/topics.md tells subscribers to keep the highest revision.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from clampgateway.model import Item
from support import readings
from support.bridging import BASE
from support.datedlog import right_ms
from support.readings import CURRENT
from support.subscriber import Subscriber

DEVICES = ("aaa", "bbb")
ABOUT = {device: readings.description(device, (CURRENT,)) for device in DEVICES}
BOOT, COUNT, ERA = 17, 300, 2


def record(device: str, seq: int, *, dated: bool = False) -> Item:
    """A record without a time, or with the right one."""
    numbers = {"current1": {"rms": seq % 600, "peak": seq % 600}}
    one = readings.record(ABOUT[device], seq, numbers, boot=BOOT, utc_ms=0, synced=False)
    return one._replace(utc_ms=right_ms(one), synced=ERA) if dated else one


def records(first: int, last: int, *, dated: bool = False) -> list[Item]:
    made = range(first, last + 1)
    return [record(device, seq, dated=dated) for seq in made for device in DEVICES]


class Heard:
    """What came, by (device, seq, rev)."""

    def __init__(self, *parts: Subscriber) -> None:
        self.times: Counter[tuple[str, int, int]] = Counter()
        self.lanes: dict[tuple[str, int, int], set[str]] = {}
        self.contents: dict[tuple[str, int, int], set[str]] = {}
        self.wrong: list[dict[str, Any]] = []
        for each in (message for part in parts for message in part.messages):
            device, _, lane = each.topic.removeprefix(f"{BASE}/").partition("/")
            if lane in ("data", "history"):
                for one in each.content if lane == "history" else [each.content]:
                    self._take(device, lane, one)

    def _take(self, device: str, lane: str, one: dict[str, Any]) -> None:
        seq, rev = one["seq"], one.get("rev", 0)
        self.times[device, seq, rev] += 1
        self.lanes.setdefault((device, seq, rev), set()).add(lane)
        self.contents.setdefault((device, seq, rev), set()).add(json.dumps(one))
        dated = rev == 1 or seq > COUNT
        right = right_ms(record(device, seq)) if dated else None
        level = float(seq % 600)
        good = (one["t"], one["boot"], one["ch"]["current1"]["rms"]) == (right, BOOT, level)
        if not good or ("unsynced" in one["f"]) is dated:
            self.wrong.append(one)

    def of(self, rev: int) -> set[tuple[str, int]]:
        return {(device, seq) for device, seq, each in self.times if each == rev}

    @property
    def again(self) -> int:
        """Copies that a subscriber has to drop."""
        return self.times.total() - len(self.times)

    @property
    def two_faced(self) -> int:
        """Revisions of records that came with two contents."""
        return sum(len(each) > 1 for each in self.contents.values())


def account(heard: Heard, last: int) -> tuple[int, int]:
    """(records that did not come as they have to, wrong ones); 1 to COUNT had no time at first."""
    undated = {(device, seq) for device in DEVICES for seq in range(1, COUNT + 1)}
    dated = {(device, seq) for device in DEVICES for seq in range(COUNT + 1, last + 1)}
    lost = len(undated - heard.of(1)) + len(dated - heard.of(0))
    assert heard.of(1) <= undated, "nothing else was corrected"
    return lost, len(heard.wrong)
