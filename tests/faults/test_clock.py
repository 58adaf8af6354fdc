"""Fault 13: a system clock that starts in 1970, learns the truth late, and is set wrong and back.

A real gateway process under libfaketime, real devices at ptys. Truth is the clock of this machine,
which the test alone sees: a record's right time is when its device ended it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clampgateway.model import RECORD, RESTAMPED, Stored, restamped_range
from clampgateway.store import Store
from support.faketime import FakeClock, need_faketime
from support.faulttable import FaultTable
from support.gatewayprocess import GatewayProcess
from support.mosquitto import Mosquitto
from support.ports import wait_for
from support.ptythread import ThreadedDevice
from support.skips import need_debian

HOUR_S = 3600.0
# An hour of running expires at once what would be older by a wall clock.
STORE = "[store]\ncommit_interval_s = 0.05\nretention_h = 1\n"


class Shop:
    """Two devices at a gateway whose system clock the test sets."""

    def __init__(self, folder: Path, toml: str = "") -> None:
        self.clock = FakeClock(need_faketime(), folder)
        self.gateway = GatewayProcess(folder, STORE + toml, self.clock.env)
        self.devices = [ThreadedDevice(self.gateway.ports, name) for name in ("lathe", "mill")]
        self.zeros_ms: dict[str, float] = {}
        self.longest_pause_s = 0.0
        self._kept_by = 0
        self._kept_s = 0.0

    def start(self) -> None:
        for device in self.devices:
            device.plug()
        self.gateway.start()
        self._kept_s = time.monotonic()

    def run(self, seconds: float) -> None:
        """Let it work, and see that it does."""
        self._kept_by, self._kept_s = self.acknowledged(), time.monotonic()
        until_s = self._kept_s + seconds
        while time.monotonic() < until_s:
            self._look()
            time.sleep(0.02)

    def _look(self) -> None:
        now = self.acknowledged()
        if now > self._kept_by:
            self._kept_by, self._kept_s = now, time.monotonic()
        self.longest_pause_s = max(self.longest_pause_s, time.monotonic() - self._kept_s)
        for device in self.devices:
            zero_ms = 1000 * time.time() - device.model.now_us / 1000
            self.zeros_ms[device.model.device] = min(
                zero_ms, self.zeros_ms.get(device.model.device, zero_ms)
            )

    def acknowledged(self) -> int:
        return sum(len(device.acknowledged()) for device in self.devices)

    def stats(self, part: str) -> dict:
        return self.gateway.get("/api/v1/stats")[part]

    def known_by(self, *words: str) -> None:
        wait_for(lambda: self.stats("clock")["known_by"] in words, 20, f"UTC {words}")

    def settled(self) -> None:
        """Nothing has been corrected for a while."""
        last = [(-1.0, 0.0)]

        def quiet() -> bool:
            now = (float(self.stats("store")["restamped"]), time.monotonic())
            if now[0] != last[0][0]:
                last[0] = now
            return now[1] - last[0][1] > 3

        wait_for(quiet, 60, "an end of correcting")

    def stop(self) -> None:
        for device in self.devices:
            device.unplug()
        if self.gateway.process is not None:
            assert self.gateway.end() == 0

    def log(self) -> list[Stored]:
        store = Store(self.gateway.state / "store.db")
        try:
            assert store.stats()["unsound"] == 0
            return store.read_after(0, 1_000_000)
        finally:
            store.close()

    def close(self) -> None:
        """Leave nothing running, whatever failed."""
        for device in self.devices:
            device.unplug()
        if self.gateway.process is not None:
            self.gateway.process.kill()
            self.gateway.process.wait()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    one = Shop(tmp_path)
    yield one
    one.close()


def account(shop: Shop, found: list[Stored]) -> tuple[int, int, int, float]:
    """(records lost, there twice, without a time, most that a time is off in s)."""
    rows = [one.item for one in found if one.item.kind == RECORD]
    names = [row[:3] for row in rows]
    acked = {
        (device.model.device, *name) for device in shop.devices for name in device.acknowledged()
    }
    off_s = [
        abs(row.utc_ms - shop.zeros_ms[row.device] - row.end_ms) / 1000
        for row in rows
        if row.synced
    ]
    undated = sum(not row.synced for row in rows)
    return len(acked - set(names)), len(names) - len(set(names)), undated, max(off_s)


def told(found: list[Stored]) -> set[tuple[str, int, int]]:
    """The names that were told as corrected."""
    out = set()
    for _id, one in found:
        if one.kind == RESTAMPED:
            boot, first, last = restamped_range(one)
            out |= {(one.device, boot, seq) for seq in range(first, last + 1)}
    return out


def in_order(found: list[Stored]) -> None:
    """By (boot, ticks), time rises for every device."""
    for key in ("lathe", "mill"):
        rows = sorted(one.item for one in found if one.item.kind == RECORD)
        rows = [row for row in rows if row.device == key]
        assert len(rows) > 100
        for before, after in itertools.pairwise(rows):
            assert after.end_ms > before.end_ms
            assert after.utc_ms > before.utc_ms


def test_1970_then_the_truth_then_an_hour_wrong_and_back(
    shop: Shop, faults: FaultTable, report_line: Callable[[str], None]
) -> None:
    shop.clock.set_to_1970()
    shop.start()
    shop.run(3)
    shop.known_by("unknown")
    assert "UTC is not known" in shop.gateway.get("/healthz")["reasons"][0]["text"]
    with contextlib.closing(sqlite3.connect(shop.gateway.state / "store.db")) as db:
        dates = db.execute("SELECT DISTINCT utc_ms, synced FROM items").fetchall()
    assert dates == [(0, 0)]
    shop.clock.set(0)  # minute ten
    shop.run(2)
    shop.known_by("set", "synchronised")
    for number, step_s in enumerate((HOUR_S, 0, -HOUR_S, 0), 2):
        shop.clock.set(step_s)
        shop.run(2)
        wait_for(lambda number=number: shop.stats("clock")["steps"] == number, 20, "the step")
    begun_s = time.monotonic()
    shop.settled()
    store = shop.stats("store")
    shop.stop()
    found = shop.log()
    lost, twice, undated, off_s = account(shop, found)
    assert (undated, store["expired"], store["dropped"]) == (0, 0, 0)
    assert off_s < 1
    in_order(found)
    revised = {one.item[:3] for one in found if one.item.kind == RECORD and one.item.rev}
    assert len(revised) > 100
    assert revised <= told(found)
    assert max(one.item.rev for one in found) <= 5
    assert shop.longest_pause_s < 10, "a step of the clock stopped the commits"
    assert "Traceback" not in shop.gateway.log()
    faults.add("UTC from 1970, +1 h, -1 h", 5, lost, twice, 0, time.monotonic() - begun_s)
    report_line(
        f"clock: {len(revised)} records corrected after 5 steps, off by {1000 * off_s:.0f} ms at"
        f" most, longest pause of commits {shop.longest_pause_s:.2f} s"
    )


def test_steps_around_kills_of_the_gateway(shop: Shop, faults: FaultTable) -> None:
    """Killed in 1970, while the clock is wrong, and in the middle of correcting."""
    shop.clock.set_to_1970()
    shop.start()
    shop.run(2)
    for step_s, pause_s in ((None, 1.0), (HOUR_S, 2.0), (0.0, 0.15)):
        if step_s is not None:
            shop.clock.set(step_s)
            shop.run(pause_s)
        process = shop.gateway.process
        assert process is not None
        process.kill()
        process.wait()
        shop.gateway.start()
        shop.run(1)
    shop.clock.set(-HOUR_S)  # and while it is away
    shop.run(1)
    process = shop.gateway.process
    assert process is not None
    process.kill()
    process.wait()
    shop.clock.set(0)
    shop.gateway.start()
    begun_s = time.monotonic()
    shop.run(2)
    shop.settled()
    shop.stop()
    found = shop.log()
    lost, twice, undated, off_s = account(shop, found)
    assert undated == 0
    assert off_s < 1
    in_order(found)
    revised = {one.item[:3] for one in found if one.item.kind == RECORD and one.item.rev}
    assert revised <= told(found)
    assert "Traceback" not in shop.gateway.log()
    faults.add("UTC steps around 4 kill -9", 8, lost, twice, 0, time.monotonic() - begun_s)


def test_a_subscriber_ends_with_the_right_times(
    tmp_path: Path, faults: FaultTable, report_line: Callable[[str], None]
) -> None:
    """What came in `data` with a wrong time comes again in `history`, with `rev`."""
    listener = need_debian("mosquitto-clients", "mosquitto_sub")
    broker = Mosquitto(need_debian("mosquitto"), tmp_path)
    broker.start()
    heard = tmp_path / "heard"
    command = [listener, "-p", str(broker.port), "-q", "1", "-t", "#", "-F", "%t %p"]
    with heard.open("wb") as file:
        subscriber = subprocess.Popen(command, stdout=file)
    shop = Shop(tmp_path, f"[mqtt]\nport = {broker.port}\n")
    try:
        shop.clock.set_to_1970()
        shop.start()
        shop.run(3)
        shop.clock.set(HOUR_S)
        shop.run(2)
        begun_s = time.monotonic()
        shop.clock.set(0)
        shop.run(2)
        shop.settled()
        names = set.union(*(
            {(device.model.device, *name) for name in device.acknowledged()}
            for device in shop.devices
        ))  # fmt: skip

        def arrived() -> bool:
            latest, _first = messages(heard)
            return names <= set(latest) and all(
                abs(told["t"] - right_ms(shop, name)) < 1000 for name, told in latest.items()
            )

        wait_for(arrived, 60, "all records with their right times")
        took_s = time.monotonic() - begun_s
        latest, lanes = messages(heard)
        shop.stop()
    finally:
        shop.close()
        subscriber.kill()
        subscriber.wait()
        broker.kill()
    revised = [told for told in latest.values() if told.get("rev")]
    assert len(revised) > 80
    assert all("unsynced" not in told["f"] for told in latest.values())
    assert not any(told.get("rev") for topic, told in lanes if topic == "data")
    assert {told["rev"] for told in revised} <= {1, 2}
    faults.add("UTC steps, seen by MQTT", 2, len(names - set(latest)), 0, 0, took_s)
    report_line(f"clock: a subscriber had {len(revised)} times corrected, {took_s:.1f} s after it")


Name = tuple[str, int, int]


def messages(heard: Path) -> tuple[dict[Name, dict], list[tuple[str, dict]]]:
    """(each record with its highest `rev`, all as they came with their lane)."""
    latest: dict[Name, dict] = {}
    lanes = []
    for line in heard.read_text().splitlines(keepends=True):
        topic, _, payload = line.partition(" ")
        lane = topic.rpartition("/")[2]
        if lane not in ("data", "history") or not payload.endswith("\n"):
            continue
        said = json.loads(payload)
        for told in said if isinstance(said, list) else [said]:
            if "ch" not in told:
                continue  # an event or a gap between them
            name = (topic.split("/")[-2], told["boot"], told["seq"])
            lanes.append((lane, told))
            if told.get("rev", 0) >= latest.get(name, {}).get("rev", 0):
                latest[name] = told
    return latest, lanes


def right_ms(shop: Shop, name: Name) -> float:
    """When the device ended this record, by its own book."""
    device = next(one for one in shop.devices if one.model.device == name[0])
    made = device.model.made[name[1:]]
    end_ms = int.from_bytes(made[9:14], "little")
    return shop.zeros_ms[name[0]] + end_ms
